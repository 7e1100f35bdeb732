"""The generator of input spikes against the statistics that it is meant to have.

`plain` is its readable twin: the smoothed rate in every bin and the file's probability of a spike there.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import fftconvolve

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


def changed(folder, change):
    """The published inputs with a change, as YAML."""
    (folder / "inputs.yaml").write_text(f"extends: {FILE}\n{change}\n")
    return l5.read(folder / "inputs.yaml")


def plain(inputs, rate, hold, kernel, milliseconds):
    """[channel, bin]: the probability of a spike, from rates [channel, piece] in Hz that are held, then smoothed."""
    held = np.repeat(rate, hold, axis=1)[:, :milliseconds]
    smoothed = fftconvolve(held, kernel[None], axes=1)[:, len(kernel) // 2 :][:, :milliseconds].clip(min=0)
    with np.errstate(divide="ignore"):
        probability = inputs.model.compute(inputs.model.values(rate=smoothed, dt=1e-3), ["probability"])["probability"]
    probability = np.clip(probability, 0, 1)
    probability[:, 0] = 0
    return probability


def standard_score(found, mean, variance):
    return (found - mean) / np.sqrt(variance)


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


@pytest.mark.parametrize("hold, width, milliseconds", [(30, 25, 500), (7, 60, 300), (450, 6, 1000), (40, 30, 40)])
def test_the_smoothed_rate_is_the_convolution_of_held_rates(hold, width, milliseconds):
    rng = np.random.default_rng(0)
    rate = rng.random((2, -(-milliseconds // hold)))
    size = 7 * width // 2 * 2 + 1
    kernel = np.exp(-0.5 * ((np.arange(size) - size // 2) / width) ** 2)
    held = np.repeat(rate, hold, axis=1)[:, :milliseconds]
    expected = [np.convolve(row, kernel / kernel.sum())[size // 2 :][:milliseconds] for row in held]
    channel, time = np.divmod(np.arange(2 * milliseconds), milliseconds)
    found = l5._smoothed(rate, hold, l5._kernel(width, 7), milliseconds, time, channel)
    np.testing.assert_allclose(found, np.concatenate(expected), rtol=1e-12)


# Rising expressions of any shape are drawn exactly, not the published one alone.
PROBABILITIES = {
    "published": "rate*dt*(1 - exp(-1/(rate*dt)))",
    "half": "0.5*rate*dt*(1 - exp(-1/(rate*dt)))",
    "spontaneous": "0.05 + 0.3*rate*dt",
    "squared": "(rate*dt)**2",
    "a threshold": "0.4*int(rate > 200*Hz)",
    "certain": "clip(1.3*rate*dt - 0.1, 0, 1)",
}


@pytest.mark.parametrize("expression", PROBABILITIES.values(), ids=PROBABILITIES)
@pytest.mark.parametrize("thinned", [True, False], ids=["thinned", "plain"])
def test_spikes_are_those_of_a_coin_toss_in_every_bin(tmp_path, expression, thinned):
    # High rates, a silent stretch, channels that are silent throughout, and an end amid a piece.
    inputs = changed(tmp_path, f"equations: |\n  probability = {expression} : 1")
    runs = 400 if "clip" in expression else 2500  # spikes that are certain take forty points each
    hold, milliseconds, rng = 30, 140, np.random.default_rng(0)
    kernel = l5._kernel(8, 7)
    rate = np.concatenate([rng.uniform(0, 700, (3, 5)), rng.uniform(0, 20, (2, 5)), np.zeros((4, 5))])
    rate[0, 2:4], rate[1, 1:3] = 0, 900
    probability = plain(inputs, rate, hold, kernel, milliseconds)
    if thinned:
        spikes = np.zeros((runs, *probability.shape), bool)
        time, channel = l5._spikes(rng, inputs, np.tile(rate, (runs, 1)), hold, kernel, milliseconds)
        spikes[*np.divmod(channel, len(rate)), time] = True
        spikes[..., 0] = False
    else:
        spikes = rng.random((runs, *probability.shape)) < probability
    variance = probability * (1 - probability)

    # Every bin of every channel has its probability …
    assert not spikes[:, probability < 1e-12].any() and spikes[:, probability > 1 - 1e-12].all()
    open_ = variance > 5 / runs
    square = standard_score(spikes.sum(axis=0), runs * probability, runs * variance.clip(min=1e-30))[open_] ** 2
    assert abs(standard_score(square.sum(), open_.sum(), 2 * open_.sum())) < 4
    # … and neither later bins nor other channels know of it.
    deviation = spikes - probability
    for apart in (1, 2, 30):
        pairs = (variance[:, apart:] * variance[:, :-apart]).sum()
        found = (deviation[..., apart:] * deviation[..., :-apart]).sum()
        assert abs(standard_score(found, 0, runs * pairs)) < 4
    between = (deviation[:, 0] * deviation[:, 1]).sum()
    assert abs(standard_score(between, 0, runs * (variance[0] * variance[1]).sum())) < 4
    # A channel's count over a run spreads as a sum of independent tosses does.
    expected = variance.sum(axis=1)
    many = expected > 1
    assert many.sum() >= 2
    spread = deviation.sum(axis=2).var(axis=0)[many] / expected[many]
    assert abs(spread - 1).max() < 4.5 * np.sqrt(2 / runs)


def test_whole_simulations_have_the_plain_methods_counts_by_channel_and_by_time(monkeypatch, inputs, segments):
    drawn, spikes = [], l5._spikes

    def remember(rng, inputs, *arguments):
        drawn.append(arguments)
        return spikes(rng, inputs, *arguments)

    monkeypatch.setattr(l5, "_spikes", remember)
    regions = segments.region[segments.dendritic]
    channels = {tree: np.flatnonzero(np.tile(regions == tree, 2)) for tree in ("basal", "apical")}
    by_channel, by_time = np.zeros((3, 1278)), np.zeros((3, 1500))
    for k in range(10):
        drawn.clear()
        time, channel = l5.draw(inputs, segments, 1500, 3, k)
        expected = np.empty((1278, 1500))
        for tree, arguments in zip(("basal", "apical"), drawn, strict=True):
            expected[channels[tree]] = plain(inputs, *arguments)
        for table, numbers, axis in ((by_channel, channel, 1), (by_time, time, 0)):
            table[0] += np.bincount(numbers, minlength=table.shape[1])
            table[1] += expected.sum(axis=axis)
            table[2] += (expected * (1 - expected)).sum(axis=axis)
    for table in (by_channel, by_time[:, 1:]):
        score = standard_score(*table)
        assert abs(score.sum() / np.sqrt(len(score))) < 4
        assert abs(standard_score((score**2).sum(), len(score), 2 * len(score))) < 4
    for group in np.array_split(np.arange(1278), 18):
        assert abs(standard_score(*by_channel[:, group].sum(axis=1))) < 4


def test_half_the_probability_halves_the_counts(tmp_path, inputs, segments, counts):
    half = changed(tmp_path, f"equations: |\n  probability = {PROBABILITIES['half']} : 1")
    for k in range(4):
        found, whole = len(l5.draw(half, segments, 6000, 7, k)[0]), counts[k].sum()
        assert abs(standard_score(found, whole / 2, whole * 3 / 4)) < 4


def test_nearly_all_points_are_kept_without_a_look_at_their_rate(inputs):
    below_100_hz = np.searchsorted(l5.RATES, 100)
    assert inputs.thinning.slope[below_100_hz] < 1.06e-3 and inputs.thinning.floor[below_100_hz] > 0.94


def test_a_simulation_does_not_depend_on_the_process_or_its_threads(inputs, segments):
    code = (
        "import sys; import numpy as np; from sims.cells import morphology as m; from sims.stimuli import l5;"
        "s = m.segments(m.with_axon_stub(m.load(m.find('stylised'))));"
        "sys.stdout.buffer.write(np.concatenate(l5.draw(l5.read(), s, 2000, 7, 1)).tobytes())"
    )
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "3")
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=FILE.parents[1], env=os.environ | threads, capture_output=True
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout == np.concatenate(l5.draw(inputs, segments, 2000, 7, 1)).tobytes()


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
    other = changed(tmp_path, change)
    assert other.digest != inputs.digest
    before, after = l5.draw(inputs, segments, 1500, 7, 0), l5.draw(other, segments, 1500, 7, 0)
    assert len(before[0]) != len(after[0]) or not np.array_equal(before[1], after[1])


def test_changing_the_drive_of_one_tree_leaves_the_other_alone(tmp_path, inputs, segments):
    other = changed(tmp_path, "trees: {apical: {excitation: [0*Hz, 4000*Hz]}}")
    before, after = (l5.draw(file, segments, 1500, 7, 0) for file in (inputs, other))
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


IMPOSSIBLE = {
    "a probability that falls": ("equations: |\n  probability = rate*dt*exp(-100*rate*dt) : 1", "never falls"),
    "a probability that falls from the start": ("equations: |\n  probability = exp(-rate*dt) : 1", "never falls"),
    "a rate below zero": ("equations: |\n  rate = drive*gain*weight/total_weight - 1*kHz : Hz", "none below 0"),
    "a rate without bounds": ("equations: |\n  rate = 1e6*drive*gain*weight/total_weight : Hz", "above 1e+06 Hz"),
    "spikes in every bin": ("equations: |\n  probability = clip(1 + rate*dt, 0, 1) : 1", "stays below 1"),
}


@pytest.mark.parametrize("text, words", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_rates_and_probabilities_that_cannot_be_drawn_are_refused_by_file_line_and_cause(
    tmp_path, segments, text, words
):
    with pytest.raises(EquationError, match=r"inputs.yaml:\d+: ") as error:
        l5.draw(changed(tmp_path, text), segments, 1000, 7, 0)
    assert words in str(error.value)


def test_a_probability_may_fall_where_no_rate_reaches(tmp_path, segments):
    falling = changed(tmp_path, "equations: |\n  probability = rate*dt*exp(-rate*dt) : 1")
    assert len(l5.draw(falling, segments, 1000, 7, 0)[0]) > 0


@pytest.mark.parametrize("milliseconds", [1, 2, 50])
def test_a_simulation_may_be_shorter_than_a_hold(inputs, segments, milliseconds):
    time, channel = l5.draw(inputs, segments, milliseconds, 7, 0)
    assert len(time) == len(channel) and (time >= 1).all() and (time < milliseconds).all()
