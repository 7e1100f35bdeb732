"""Place-cell scores of hand-made rate maps, and rate maps of known activations."""

import numpy as np
import pytest

from sims.analysis.place_cells import RateMaps, place_scores


def score(rates):
    return place_scores(np.array([rates], float))[0]


def test_a_delta_scores_one_wherever_it_is():
    maps = np.eye(25).reshape(25, 5, 5)
    assert (place_scores(maps) == 1).all()


def test_a_uniform_map_scores_one_over_the_number_of_cells():
    assert score(np.full((5, 5), 3.7)) == pytest.approx(1 / 25)


def test_two_equal_peaks_far_apart_score_a_half():
    rates = np.zeros((5, 5))
    rates[0, 0] = rates[4, 4] = 2
    assert score(rates) == pytest.approx(1 / 2)


def test_the_slopes_of_a_peak_count_to_it_but_discount_it():
    """3 2 1 0: sub is all four, the leaf is the 0, so 2 of 8 cells are between."""
    rates = np.zeros((2, 4))
    rates[0] = 3, 2, 1, 0
    assert score(rates) == pytest.approx(1 - 2 / 8)


def test_descent_is_strict_and_never_climbs_to_a_second_peak():
    """From 5 down to 1; 4 is behind a valley, and the two 1s are not joined."""
    rates = np.zeros((2, 5))
    rates[0] = 5, 1, 1, 4, 0
    # 5 → 1 → 0 below it; 5 → 0 below it: the first 1 goes on, so it is between.
    assert score(rates) == pytest.approx((1 - 1 / 10) * 6 / 11)


def test_scores_follow_a_search_by_the_definition():
    def searched(rates):
        size = rates.shape[0]
        top = np.unravel_index(rates.argmax(), rates.shape)
        stack, sub, leaves = [top], set(), set()
        while stack:
            i, j = here = stack.pop()
            if here in sub:
                continue
            sub.add(here)
            around = [(i - 1, j), (i + 1, j), (i, j - 1), (i, j + 1)]
            lower = [p for p in around if 0 <= min(p) and max(p) < size and rates[p] < rates[here]]
            if not lower:
                leaves.add(here)
            stack += lower
        between = sub - {top} - leaves
        return (1 - len(between) / rates.size) * sum(rates[p] for p in sub) / rates.sum()

    maps = np.random.default_rng(0).integers(0, 9, (40, 6, 6)).astype(float)
    assert np.allclose(place_scores(maps), [searched(rates) for rates in maps], rtol=1e-12)


def test_a_silent_neuron_has_no_score_and_a_negative_rate_is_refused():
    assert np.isnan(score(np.zeros((3, 3))))
    with pytest.raises(ValueError, match="rates below 0"):
        score(-np.eye(3))


def test_rates_are_means_by_place_under_either_convention():
    """Two neurons, three cells of which the last is never visited."""
    gathered = RateMaps(2, 3)
    gathered.add(np.array([[1.0, -1.0], [3.0, -3.0]]), np.array([0, 0]))
    gathered.add(np.array([[-2.0, 1.0], [4.0, 1.0]]), np.array([1, 1]))
    assert np.allclose(gathered.rates("clipped"), [[2, 2, 0], [0, 1, 0]])
    assert np.allclose(gathered.rates("shifted"), [[1, 0, 0], [0, 3, 0]])
    with pytest.raises(ValueError, match="expected one of: clipped, shifted"):
        gathered.rates("squared")
