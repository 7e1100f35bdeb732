"""The input generator in Brian2 against the vectorised one: the same rates, the same statistics of spikes.

Given the rates, bins and channels are independent, so a count has at most the variance of its mean, and the difference
of two counts a and b at most a + b on average. Bins are nearly empty: it is less by a hundredth.
"""

import numpy as np
import pytest
from scipy.stats import ks_2samp

from sims.cells import morphology
from sims.documents import EquationError
from sims.stimuli import l5, l5_brian

SIMULATIONS, MILLISECONDS, CHANNELS = 6, 2000, 1278
SIGNS = {"excitation": slice(0, 639), "inhibition": slice(639, None)}


@pytest.fixture(scope="module")
def segments():
    return morphology.segments(morphology.with_axon_stub(morphology.load(morphology.find("stylised"))))


def raster(time, channel, milliseconds=MILLISECONDS):
    found = np.zeros((CHANNELS, milliseconds), bool)
    found[channel, time] = True
    return found


@pytest.fixture(scope="module")
def rasters(segments):
    """{generator: [simulation, channel, ms]} of the published file."""
    inputs = l5.read()
    return {
        name: np.array([raster(*draw(inputs, segments, MILLISECONDS, 7, k)) for k in range(SIMULATIONS)])
        for name, draw in (("brian", l5_brian.draw), ("vectorised", l5.draw))
    }


def excess(a, b):
    """Mean of (a - b)²/(a + b) over counts, in standard errors above the 1 that is expected of two Poisson counts."""
    a, b = (x.ravel().astype(float) for x in (a, b))
    some = a + b > 0
    ratio = (a - b)[some] ** 2 / (a + b)[some]
    return (ratio.mean() - 1) / (ratio.std() / np.sqrt(some.sum()))


@pytest.mark.parametrize("sign", SIGNS)
def test_mean_rates_agree(rasters, sign):
    a, b = (rasters[name][:, SIGNS[sign]].sum() for name in ("brian", "vectorised"))
    assert min(a, b) > 50_000 and abs(a - b) < 4 * np.sqrt(a + b)


def test_every_channel_and_every_stretch_of_time_agrees(rasters):
    brian, vectorised = rasters["brian"], rasters["vectorised"]
    assert abs(excess(brian.sum(axis=2), vectorised.sum(axis=2))) < 4
    for channels in SIGNS.values():
        a, b = (x[:, channels].reshape(SIMULATIONS, -1, MILLISECONDS // 50, 50).sum(axis=(1, 3))
                for x in (brian, vectorised))  # fmt: skip
        assert abs(excess(a, b)) < 4


def test_counts_of_other_rates_do_not_agree(rasters):
    """What the claim above would miss if it were blind: the next simulation's rates, or one channel's in another."""
    brian, vectorised = (rasters[name].sum(axis=2) for name in ("brian", "vectorised"))
    assert excess(brian, np.roll(vectorised, 1, axis=0)) > 20 and excess(brian, np.roll(vectorised, 1, axis=1)) > 20


@pytest.mark.parametrize("window", [20, 100, 400])
def test_variance_and_synchrony_of_counts_agree(rasters, window):
    """A channel's Fano factor, and the correlation between halves of the channels that their common drive makes."""
    found = {}
    for name, spikes in rasters.items():
        counts = spikes.reshape(SIMULATIONS, CHANNELS, -1, window).sum(axis=3)
        fano = counts.var(axis=2).mean(axis=1) / counts.mean(axis=(1, 2))
        halves = [[np.corrcoef(c[:639:2].sum(axis=0), c[1:639:2].sum(axis=0))[0, 1]] for c in counts]
        found[name] = np.column_stack([fano, halves])
    difference = found["brian"] - found["vectorised"]
    assert (found["vectorised"].mean(axis=0) > 0.7).all()
    error = difference.std(axis=0, ddof=1) / np.sqrt(SIMULATIONS)
    assert (np.abs(difference.mean(axis=0)) < 4 * error).all()


def test_intervals_between_spikes_are_drawn_from_one_distribution(rasters):
    """One interval of each channel and simulation, its middle one, so that they are independent."""
    found = {}
    for name, spikes in rasters.items():
        trains = [np.diff(np.flatnonzero(train)) for train in spikes.reshape(-1, MILLISECONDS)]
        found[name] = np.array([intervals[len(intervals) // 2] for intervals in trains if len(intervals) > 4])
    assert len(found["brian"]) > 5000 and ks_2samp(*found.values()).pvalue > 1e-3


def test_the_first_bin_is_empty_and_a_simulation_is_the_same_again(segments):
    inputs = l5.read()
    time, channel = l5_brian.draw(inputs, segments, 300, 7, 3)
    state = np.random.get_state()[1].copy()
    again = l5_brian.draw(inputs, segments, 300, 7, 3)
    np.testing.assert_array_equal(np.random.get_state()[1], state)
    np.testing.assert_array_equal(np.stack([time, channel]), np.stack(again))
    assert time.min() >= 1 and time.max() < 300 and time.dtype == channel.dtype == np.uint16
    key = time.astype(int) * CHANNELS + channel
    assert (np.diff(key) > 0).all()


def test_a_changed_probability_changes_what_brian_draws(segments, tmp_path):
    (tmp_path / "inputs.yaml").write_text(
        f"extends: {l5.PUBLISHED}\nparameters: {{share: 0.5}}\nequations: |\n"
        "  kept = share*rate*dt : 1\n  probability = clip(kept, 0, 1) : 1\n"
    )
    halved = l5.read(tmp_path / "inputs.yaml")
    found, expected, whole = (
        len(draw(inputs, segments, 1000, 7, 0)[0])
        for draw, inputs in ((l5_brian.draw, halved), (l5.draw, halved), (l5_brian.draw, l5.read()))
    )
    assert abs(found - expected) < 4 * np.sqrt(found + expected) and found < 0.6 * whole


@pytest.mark.parametrize(
    "equations, words",
    [
        ("rate = -drive*gain*weight/total_weight : Hz", r"inputs.yaml:\d+: rates reach from -"),
        (
            "odds_post = rate*dt : 1\n  probability = odds_post : 1",
            r"inputs.yaml:\d+: Brian2 cannot run this: 'odds_post'",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_its_line(segments, tmp_path, equations, words):
    (tmp_path / "inputs.yaml").write_text(f"extends: {l5.PUBLISHED}\nequations: |\n  {equations}\n")
    with pytest.raises(EquationError, match=words):
        l5_brian.draw(l5.read(tmp_path / "inputs.yaml"), segments, 200, 7, 0)
