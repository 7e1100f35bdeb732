"""Spoken digits in SHD's layout: what is written is read, and what is not such a file is refused by name."""

import hashlib

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sims import sealed
from sims.stimuli import digits
from sims.stimuli.digits import Digits, DigitsError


def recordings(count=25, seed=0):
    """Digits of random recordings; number 7 is silent."""
    draw = np.random.default_rng(seed)
    events = [
        (draw.uniform(0, 1.1, size), draw.integers(700, size=size))
        for size in (0 if k == 7 else 50 + k for k in range(count))
    ]
    return digits.gather(events, np.arange(count) % 20, np.arange(count) % 12)


def official(path, count=6):
    """A file as the published ones are: no seal, keys as fixed strings, events in no order."""
    draw = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (count,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (count,), h5py.vlen_dtype(np.uint16))
        for k in range(count):
            times[k], units[k] = draw.uniform(0, 1.2, 30), draw.integers(700, size=30)
        file["labels"] = np.arange(count, dtype=np.uint16)
        file["extra/speaker"] = np.full(count, 4, np.uint16)
        file["extra/keys"] = np.array(digits.KEYS, "S")
        file["extra/meta_info/age"] = np.full(12, 30)
    return path


def test_what_is_written_is_read_back_with_shds_rounding(tmp_path):
    whole = recordings()
    digits.write(whole, tmp_path / "out.h5")
    found = digits.read(tmp_path / "out.h5")
    assert isinstance(found, Digits) and len(found) == 25 and found.keys == digits.KEYS and found.channels == 700
    for name in ("start", "label", "speaker"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert np.array_equal(found.time, whole.time.astype(np.float16).astype(np.float32))
    assert not len(found.events(7)[0]) and (np.diff(found.events(3)[0]) >= 0).all()
    assert np.array_equal(np.sort(found.events(3)[1]), np.sort(whole.events(3)[1]))


def test_the_same_digits_give_the_same_bytes(tmp_path):
    for name in ("a.h5", "b.h5"):
        digits.write(recordings(), tmp_path / name)
    first, second = ((tmp_path / name).read_bytes() for name in ("a.h5", "b.h5"))
    assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest()


def test_the_official_layout_is_read_as_it_is(tmp_path):
    found = digits.read(official(tmp_path / "shd.h5"))
    with h5py.File(tmp_path / "shd.h5") as file:
        for k in range(6):
            order = np.lexsort((file["spikes/units"][k], file["spikes/times"][k]))
            assert np.array_equal(found.events(k)[0], file["spikes/times"][k][order].astype(np.float32))
            assert np.array_equal(found.events(k)[1], file["spikes/units"][k][order])
    assert list(found.label) == list(range(6)) and set(found.speaker) == {4} and found.keys == digits.KEYS


def test_a_file_without_the_extras_has_unknown_speakers(tmp_path):
    with h5py.File(official(tmp_path / "shd.h5"), "a") as file:
        del file["extra"]
    found = digits.read(tmp_path / "shd.h5")
    assert set(found.speaker) == {-1} and found.keys == digits.KEYS


def test_pooling_keeps_every_spike_on_the_place_next_to_it():
    whole = recordings()
    pooled = whole.pooled(140)
    assert pooled.channels == 140 and np.array_equal(pooled.channel, whole.channel // 5)
    assert pooled.time is whole.time
    with pytest.raises(DigitsError, match="channels: found 150, expected a divisor of 700"):
        whole.pooled(150)


def test_recordings_can_be_chosen_and_put_together_again():
    whole = recordings()
    odd, even = whole.chosen(whole.label % 2 == 1), whole.chosen(np.flatnonzero(whole.label % 2 == 0))
    together = digits.concatenate([odd, even])
    assert len(odd) + len(even) == len(whole) and set(odd.label % 2) == {1}
    back = together.chosen(
        np.argsort(np.r_[np.flatnonzero(whole.label % 2 == 1), np.flatnonzero(whole.label % 2 == 0)])
    )
    for name in ("time", "channel", "start", "label", "speaker"):
        assert np.array_equal(getattr(back, name), getattr(whole, name)), name
    with pytest.raises(DigitsError, match="found recordings with 140 channels"):
        digits.concatenate([whole, whole.pooled(140)])


def test_pooled_digits_are_not_written(tmp_path):
    with pytest.raises(DigitsError, match="140 channels, expected 700"):
        digits.write(recordings().pooled(140), tmp_path / "out.h5")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda file: file.__delitem__("labels"), "/labels is absent"),
        (lambda file: file["labels"].__setitem__(3, 20), "recording 3: found label 20, expected 0 to 19"),
        (lambda file: file["spikes/units"].__setitem__(4, np.array([700], np.uint16)), "recording 4: found 30 times"),
        (
            lambda file: file["spikes/units"].__setitem__(4, np.full(30, 700, np.uint16)),
            "recording 4: found channels 700 to 700, expected 0 to 699",
        ),
        (
            lambda file: file["spikes/times"].__setitem__(2, np.full(30, np.nan, np.float16)),
            "recording 2: found times below 0 or not finite",
        ),
        (
            lambda file: (file.__delitem__("labels"), file.__setitem__("labels", np.zeros(4, int))),
            r"/labels has shape \(4,\)",
        ),
        (lambda file: (file.__delitem__("labels"), file.__setitem__("labels", np.zeros(6))), "/labels holds float64"),
        (
            lambda file: (file.__delitem__("spikes/times"), file.__setitem__("spikes/times", np.zeros((6, 3)))),
            "/spikes/times is float64",
        ),
        (
            lambda file: (file.__delitem__("extra/keys"), file.__setitem__("extra/keys", np.array([b"one", b"two"]))),
            "/extra/keys holds 2 names, expected 20",
        ),
    ],
)
def test_a_file_of_another_shape_or_label_is_refused(tmp_path, change, message, monkeypatch):
    monkeypatch.setattr(digits, "_survive", lambda path: None)  # it is whole; a process for each takes long
    with h5py.File(official(tmp_path / "shd.h5"), "a") as file:
        change(file)
    with pytest.raises(DigitsError, match=f"shd.h5.*{message}"):
        digits.read(tmp_path / "shd.h5")


def test_what_is_no_hdf5_or_not_there_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("zero one two")
    with pytest.raises(DigitsError, match="text.h5: cannot be read .*expected spikes in SHD's layout"):
        digits.read(tmp_path / "text.h5")
    with pytest.raises(DigitsError, match="none.h5: cannot be read"):
        digits.read(tmp_path / "none.h5")


@pytest.mark.faults
def test_a_file_that_was_cut_or_altered_is_refused(tmp_path):
    digits.write(recordings(), tmp_path / "out.h5")
    content = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DigitsError, match="out.h5: cannot be read"):
        digits.read(tmp_path / "out.h5")
    altered = bytearray(content)
    altered[3000] ^= 1
    (tmp_path / "out.h5").write_bytes(altered)
    with pytest.raises(DigitsError, match="the file was altered or damaged.*expected spoken digits"):
        digits.read(tmp_path / "out.h5")


@pytest.mark.faults
def test_a_file_that_crashes_hdf5_or_never_ends_is_refused(tmp_path, monkeypatch):
    official(tmp_path / "shd.h5")
    reader = tmp_path / "reader"
    monkeypatch.setattr(digits.sys, "executable", str(reader))
    for script, message in (("kill -SEGV $$", "HDF5 crashes on it, signal 11"), ("exec sleep 60", "did not end")):
        reader.write_text(f"#!/bin/sh\n{script}\n")
        reader.chmod(0o755)
        monkeypatch.setattr(digits, "PATIENCE", 0.5)
        with pytest.raises(DigitsError, match=f"shd.h5: .*{message}"):
            digits.read(tmp_path / "shd.h5")


@pytest.mark.faults
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=4), st.integers(0, 10_000))
def test_damage_under_a_seal_never_reaches_hdf5(tmp_path_factory, changes, cut):
    path = tmp_path_factory.mktemp("digits") / "out.h5"
    digits.write(recordings(3), path)
    content = bytearray(path.read_bytes())
    end = len(sealed.read(path))
    for place, bits in changes:
        content[place % end] ^= bits
    if bytes(content) != path.read_bytes():
        path.write_bytes(content)
        with pytest.raises(DigitsError):
            digits.read(path)
