"""Where spoken digits come from: who is heard in which split, and that a seed says all."""

import hashlib
import io
import tarfile
import wave
import zipfile

import h5py
import numpy as np
import pytest

from sims.stimuli import cochlea, digit_sources, digits, fsdd, shd, speech
from sims.stimuli.digits import DigitsError


def archive(path, recordings):
    """A tar archive of wave files: {name: (Hz, samples)}, or bytes."""
    with tarfile.open(path, "w") as file:
        for name, content in recordings.items():
            if not isinstance(content, bytes):
                image = io.BytesIO()
                with wave.open(image, "wb") as sound:
                    sound.setnchannels(1)
                    sound.setsampwidth(2)
                    sound.setframerate(content[0])
                    sound.writeframes(np.asarray(content[1], "<i2").tobytes())
                content = image.getvalue()
            member = tarfile.TarInfo(f"recordings/{name}.wav")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def said():
    """One shard of synthetic speech's tests."""
    return digit_sources.generate("espeak", "test", takes=1, shard=0, shards=10)


@pytest.mark.parametrize("takes", [1, 10, 40])
def test_every_take_is_in_one_split_and_two_speakers_are_never_learnt_from(takes):
    split = digit_sources.synthetic(takes)
    everyone = [who for part in split.values() for who in part]
    assert len(everyone) == len(set(everyone)) == 12 * 20 * takes
    for name in ("train", "valid"):
        assert not {speaker for speaker, _, _ in split[name]} & set(speech.TEST_ONLY)
    others = [who for who in split["test"] if who[0] not in speech.TEST_ONLY]
    assert len(others) == pytest.approx(0.05 * 10 * 20 * takes, rel=0.01)
    assert {speaker for speaker, _, _ in others} == set(range(12)) - set(speech.TEST_ONLY)


def test_people_are_tested_on_the_official_takes():
    recorded = [(speaker, digit, take) for speaker in range(6) for digit in range(10) for take in range(50)]
    split = digit_sources.recorded_by_people(recorded, 20)
    assert {take for _, _, take in split["test"]} == set(range(5)) and len(split["test"]) == 300
    assert {take for name in ("train", "valid") for _, _, take in split[name]} == set(range(5, 20))
    assert not set(split["train"]) & set(split["valid"])


def test_no_two_voices_and_no_two_takes_sound_alike():
    voices = [speech.say(label, speaker, 50, 170, 1).tobytes() for speaker in speech.SPEAKERS for label in (0, 7, 13)]
    takes = [speech.take(0, 1, 7, number).tobytes() for number in range(10)]
    assert len(set(voices)) == len(voices) and len(set(takes)) == len(takes)
    assert len(set(speech._pitches_and_rates(0, 3, 5, speech.TAKES))) == speech.TAKES


def test_a_take_does_not_depend_on_what_was_said_before():
    first = speech.take(0, 2, 4, 1)
    speech.take(0, 8, 14, 0)
    assert np.array_equal(first, speech.take(0, 2, 4, 1)) and not np.array_equal(first, speech.take(1, 2, 4, 1))


def test_spikes_of_synthetic_digits_are_like_the_published_ones_in_number_and_place(said):
    length = [said.events(i)[0].max() for i in range(len(said))]
    assert 0.15 < min(length) and max(length) < cochlea.LONGEST
    assert 3000 < np.diff(said.start).mean() < 13000  # SHD: 8000 in 0.7 s
    per_channel = np.bincount(said.pooled(140).channel, minlength=140) / len(said) / 5
    assert per_channel.min() > 0 and per_channel.max() < 60
    assert set(said.speaker) >= set(speech.TEST_ONLY) and set(said.label) <= set(range(20))


def test_the_same_seed_gives_the_same_bytes_whatever_else_is_made(said, tmp_path):
    again = digit_sources.generate("espeak", "test", takes=1, shard=0, shards=50)
    first = said.chosen(np.arange(0, len(said), 5))
    for name, made in (("a.h5", first), ("b.h5", again)):
        digits.write(made, tmp_path / name)
    a, b = (hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in ("a.h5", "b.h5"))
    assert a == b
    other = digit_sources.generate("espeak", "test", takes=1, seed=1, shard=0, shards=50)
    assert not np.array_equal(other.time, again.time)


def test_a_take_that_is_an_earlier_one_but_for_noise_is_dropped():
    # 198 and 199 words a minute are the same speed to espeak-ng.
    pairs = speech._pitches_and_rates(0, 1, 0, 16)
    assert pairs[3] == (62, 198) and pairs[15] == (62, 199)
    assert speech.repeats(0, 1, 0, 15) and not speech.repeats(0, 1, 0, 3)
    chosen = digit_sources.synthetic(40)
    split = next(name for name in chosen if (1, 0, 15) in chosen[name])
    shards = len(chosen[split]) // 2
    shard = chosen[split].index((1, 0, 15)) % shards
    expected = [who[:2] for who in chosen[split][shard::shards] if who != (1, 0, 15)]
    made = digit_sources.generate("espeak", split, shard=shard, shards=shards)
    assert list(zip(made.speaker, made.label, strict=True)) == expected


@pytest.mark.slow
def test_no_two_recordings_of_the_whole_set_are_one_but_for_noise():
    said = set()
    for speaker, voice in enumerate(speech.SPEAKERS):
        for label in range(len(speech.WORDS)):
            pairs = speech._pitches_and_rates(0, speaker, label, speech.TAKES)
            kept = [pair for take, pair in enumerate(pairs) if not speech.repeats(0, speaker, label, take)]
            waves = {speech.say(label, voice, pitch, rate, seed=1).tobytes() for pitch, rate in kept}
            assert len(waves) == len(kept) > 35 and not waves & said
            said |= waves


def test_people_who_say_the_very_same_are_heard_once(tmp_path):
    tone = 8000 * np.sin(np.arange(4000))
    same = {f"3_theo_{take}": (8000, tone) for take in (0, 7)} | {"4_theo_1": (8000, tone / 2)}
    assert list(fsdd.read(archive(tmp_path / "some.tar", same))) == [(0, 3, 0), (0, 4, 1)]


def test_the_command_writes_a_file_and_says_what_it_cost(command, tmp_path):
    run = command(
        "stimuli", "digits", tmp_path / "out.h5", "--source=espeak", "--takes=1", "--split=valid", "--shards=5"
    )
    assert run.code == 0 and "CPU s for each" in run.stdout
    assert len(digits.read(tmp_path / "out.h5")) == len(digit_sources.synthetic(1)["valid"][::5])


@pytest.mark.parametrize(
    "options, message",
    [
        (("--source=voice",), "--source: found 'voice', expected one of: espeak, fsdd, shd"),
        (("--source=espeak", "--split=all"), "--split: found 'all'"),
        (("--source=espeak", "--takes=41"), "--takes: found 41, expected 1 to 40"),
        (("--source=espeak", "--shard=2", "--shards=2"), "--shard: found 2, expected 0 to 1"),
        (("--source=shd", "--takes=10"), "--takes: found it for shd"),
        (
            ("--source=espeak", "--takes=1", "--split=valid", "--shard=499", "--shards=500"),
            "--shards: found 500, so many that shard 499 holds no recording",
        ),
    ],
)
def test_what_is_not_on_offer_is_refused(command, tmp_path, options, message):
    run = command("stimuli", "digits", tmp_path / "out.h5", *options)
    assert run.code == 2 and message in run.stderr and not (tmp_path / "out.h5").exists()


def test_real_speech_is_read_and_heard(tmp_path, monkeypatch):
    tone = 8000 * np.sin(np.arange(4000))
    archive(
        tmp_path / fsdd.ARCHIVE, {"3_theo_0": (8000, tone), "9_anna_2": (8000, tone + 1), "4_anna_6": (8000, tone + 2)}
    )
    monkeypatch.setattr(fsdd, "FOLDER", tmp_path)
    made = digit_sources.generate("fsdd", "test", takes=10)
    assert list(zip(made.speaker, made.label, strict=True)) == [(0, 9), (1, 3)] and made.start[-1] > 100
    assert made.time.max() < 0.6


@pytest.mark.parametrize(
    "recordings, message",
    [
        ({}, "found no recordings"),
        ({"3_theo_0": (8000, [])}, "3_theo_0.wav: found audio of zero length"),
        ({"3_theo_0": (44100, [1, 2])}, "3_theo_0.wav: found 44100 Hz, 1 channels"),
        ({"3_theo_0": b"no sound"}, "3_theo_0.wav: cannot be read .*expected a wave file"),
    ],
)
def test_recordings_that_are_wrong_are_refused(tmp_path, recordings, message):
    with pytest.raises(DigitsError, match=f"some.tar.*{message}"):
        fsdd.read(archive(tmp_path / "some.tar", recordings))


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / "some.tar").write_bytes(b"zero one two" * 100)
    with pytest.raises(DigitsError, match="some.tar: cannot be read .*expected a tar archive"):
        fsdd.read(tmp_path / "some.tar")


def test_silent_audio_is_refused_by_its_name(tmp_path, monkeypatch):
    archive(tmp_path / fsdd.ARCHIVE, {"3_theo_0": (8000, np.zeros(800))})
    monkeypatch.setattr(fsdd, "FOLDER", tmp_path)
    with pytest.raises(cochlea.SoundError, match="fsdd, speaker 0, digit 3, take 0: found .* samples of silence"):
        digit_sources.generate("fsdd", "test", takes=10)


def test_the_published_archive_is_checked_and_read_unchanged(tmp_path, monkeypatch):
    draw, image = np.random.default_rng(0), io.BytesIO()
    times = [draw.uniform(0, 1, 20).astype(np.float16) for _ in range(20)]
    with h5py.File(image, "w") as file:
        stored = file.create_dataset("spikes/times", (20,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (20,), h5py.vlen_dtype(np.uint16))
        for k in range(20):
            stored[k], units[k] = times[k], np.arange(20) * 30
        file["labels"] = np.arange(20)
    for split in ("train", "test"):
        with zipfile.ZipFile(tmp_path / f"shd_{split}.h5.zip", "w") as whole:
            whole.writestr(f"shd_{split}.h5", image.getvalue())
        monkeypatch.setitem(shd.MD5, split, hashlib.md5((tmp_path / f"shd_{split}.h5.zip").read_bytes()).hexdigest())
    monkeypatch.setattr(shd, "FOLDER", tmp_path)
    tested = digit_sources.generate("shd", "test")
    for k in range(20):
        assert np.array_equal(tested.events(k)[0], np.sort(times[k]).astype(np.float32))
    learnt, checked = (digit_sources.generate("shd", split) for split in ("train", "valid"))
    assert len(learnt) == 18 and len(checked) == 2 and not set(learnt.label) & set(checked.label)

    monkeypatch.setitem(shd.MD5, "test", "0" * 32)
    with pytest.raises(DigitsError, match="shd_test.h5.zip: found .* bytes with md5 .*, expected 0000"):
        digit_sources.generate("shd", "test")
