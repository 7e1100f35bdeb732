"""The generator of input spikes against the statistics that it is meant to have."""

from pathlib import Path

import numpy as np
import pytest

from sims.cells import morphology
from sims.documents import EquationError
from sims.stimuli import l5
from sims.streams import stream

FILE = Path(__file__).resolve().parents[2] / "equations" / "inputs_l5.yaml"
SIMULATIONS = 40


@pytest.fixture(scope="module")
def inputs():
    return l5.read()


@pytest.fixture(scope="module")
def segments():
    return morphology.segments(morphology.with_axon_stub(morphology.load(morphology.find("stylised"))))


@pytest.fixture(scope="module")
def counts(inputs, segments):
    """[simulation, channel]: events in 6 s."""
    drawn = [l5.draw(inputs, segments, 6000, 7, k)[1] for k in range(SIMULATIONS)]
    return np.array([np.bincount(channels, minlength=1278) for channels in drawn])


def test_mean_rates_are_the_published_ones(counts):
    # A simulation's mean rate varies by a fifth, for its drives are few; excitation 12.2 Hz, inhibition 9.5 Hz.
    for channels, rate in ((slice(0, 639), 12.2), (slice(639, None), 9.5)):
        rates = counts[:, channels].mean(axis=1) / 6
        assert rates.mean() == pytest.approx(rate, abs=3 * rates.std(ddof=1) / np.sqrt(SIMULATIONS))


def test_a_channels_share_follows_its_segments_length(counts, segments):
    length, region = segments.length[segments.dendritic], segments.region[segments.dendritic]
    for tree in ("basal", "apical"):
        here = region == tree
        share = counts[:, :639][:, here].sum(axis=0) / counts[:, :639][:, here].sum()
        np.testing.assert_allclose(share, (length[here] + 10) / (length[here] + 10).sum(), rtol=0.25)


def test_every_channel_has_at_most_one_event_a_millisecond_and_none_in_the_first(inputs, segments):
    time, channel = l5.draw(inputs, segments, 3000, 7, 0)
    assert time.min() >= 1 and time.max() < 3000 and channel.max() < 1278
    assert len(np.unique(time.astype(int) * 1278 + channel)) == len(time)
    assert (np.diff(time.astype(int)) >= 0).all()


def test_rates_fall_to_about_half_at_both_ends(inputs, segments):
    total = np.zeros(6000)
    for k in range(SIMULATIONS):
        total += np.bincount(l5.draw(inputs, segments, 6000, 11, k)[0], minlength=6000)
    middle = total[1500:4500].mean()
    assert 0.4 < total[1:6].mean() / middle < 0.65 and 0.4 < total[-5:].mean() / middle < 0.65


def test_a_simulation_depends_on_its_seed_and_number_alone(inputs, segments):
    first = l5.draw(inputs, segments, 1000, 7, 3)
    l5.draw(inputs, segments, 1000, 7, 2)
    for a, b in zip(first, l5.draw(inputs, segments, 1000, 7, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(first[0]) != len(l5.draw(inputs, segments, 1000, 8, 3)[0])


def test_streams_of_different_purpose_are_independent():
    a, b = (stream(1, purpose).random(1000) for purpose in ("inputs", "batches"))
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_smoothing_in_one_product_equals_the_convolution_of_held_rates():
    rng = np.random.default_rng(0)
    hold, width, milliseconds = 30, 25, 500
    pieces = rng.random(-(-milliseconds // hold))
    kernel = np.exp(-0.5 * ((np.arange(175) - 87) / width) ** 2)
    held = np.repeat(pieces, hold)[:milliseconds]
    expected = np.convolve(held, kernel / kernel.sum(), mode="same")
    np.testing.assert_allclose(l5._smoothed_pieces(milliseconds, hold, width, 7) @ pieces, expected, atol=1e-12)


def test_the_probability_is_that_of_an_exponential_threshold(inputs):
    rng = np.random.default_rng(0)
    for rate in (5.0, 200.0, 3000.0):
        expected = (rng.random(400_000) < rng.exponential(rate * 1e-3, 400_000)).mean()
        found = inputs.model.compute(inputs.model.values(rate=rate, dt=1e-3), ["probability"])["probability"]
        assert found == pytest.approx(expected, abs=4 * np.sqrt(expected / 400_000))


# Any line changed, the spikes change.
CHANGES = [
    "choices: {hold: [33*ms]}", "choices: {smoothing: [33*ms]}", "parameters: {length_offset: 20*um}",
    "parameters: {jitter: 40*ms}", "parameters: {gain_low: 0.1}", "parameters: {gain_high: 1.9}",
    "parameters: {taps: 3}",
    "trees: {basal: {excitation: [0*Hz, 4000*Hz]}}", "trees: {apical: {excitation: [0*Hz, 4000*Hz]}}",
    "trees: {basal: {inhibition: [0*Hz, 4000*Hz]}}", "trees: {apical: {inhibition: [0*Hz, 4000*Hz]}}",
    "equations: |\n  weight = length : meter\nparameters: {length_offset: null}",
    "equations: |\n  rate = 2*drive*gain*weight/total_weight : Hz",
    "equations: |\n  probability = 0.5*rate*dt : 1",
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.replace("\n", " ")[:50])
def test_changing_a_line_of_the_input_file_changes_the_spikes(tmp_path, inputs, segments, change):
    (tmp_path / "inputs.yaml").write_text(f"extends: {FILE}\n{change}\n")
    changed = l5.read(tmp_path / "inputs.yaml")
    assert changed.digest != inputs.digest
    before, after = l5.draw(inputs, segments, 1500, 7, 0), l5.draw(changed, segments, 1500, 7, 0)
    assert len(before[0]) != len(after[0]) or not np.array_equal(before[1], after[1])


def test_changing_the_drive_of_one_tree_leaves_the_other_alone(tmp_path, inputs, segments):
    (tmp_path / "inputs.yaml").write_text(f"extends: {FILE}\ntrees: {{apical: {{excitation: [0*Hz, 4000*Hz]}}}}\n")
    before, after = (l5.draw(file, segments, 1500, 7, 0) for file in (inputs, l5.read(tmp_path / "inputs.yaml")))
    basal = np.flatnonzero(segments.region[segments.dendritic] == "basal")
    for (_, a), (_, b) in [(before, after)]:
        np.testing.assert_array_equal(a[np.isin(a, basal)], b[np.isin(b, basal)])


BAD = {
    "no hold": ("choices: {hold: []}", "at least one"),
    "an unknown choice": ("choices: {held: [1*ms]}", "unknown key 'held'"),
    "a hold that is no time": ("choices: {hold: [25*mV]}", "unit"),
    "a negative hold": ("choices: {hold: [-25*ms]}", "positive"),
    "a range that descends": ("trees: {basal: {excitation: [10*Hz, 1*Hz]}}", "ascend"),
    "three bounds": ("trees: {basal: {excitation: [1*Hz, 2*Hz, 3*Hz]}}", "found 3"),
    "an unknown tree": ("trees: {tuft: {}}", "unknown key 'tuft'"),
    "a jitter that is no time": ("parameters: {jitter: 20}", "unit"),
    "a rate in another unit": ("equations: |\n  rate = drive*gain : volt", "expected"),
}


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_an_input_file_that_is_wrong_is_refused_by_file_line_and_cause(tmp_path, text, words):
    path = tmp_path / "inputs.yaml"
    path.write_text(f"extends: {FILE}\n{text}\n")
    with pytest.raises(EquationError, match=r"inputs.yaml:\d+: ") as error:
        l5.read(path)
    assert words in str(error.value)
