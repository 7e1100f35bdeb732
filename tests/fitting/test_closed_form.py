import numpy as np
import pytest
from scipy.optimize import minimize

from fitting import closed_form


@pytest.fixture
def samples():
    """(features [3, 4000], logit): rare positives, as spikes are."""
    draw = np.random.default_rng(1)
    features = np.stack([np.ones(4000), draw.normal(size=4000), draw.normal(2, 3, 4000)])
    return features, np.array([-3.0, 1.5, -0.4]) @ features


def test_least_squares_are_those_of_numpy_with_their_error(samples):
    features, _ = samples
    targets = np.array([0.3, -2, 0.7]) @ features + np.random.default_rng(2).normal(size=features.shape[1])
    weights, error = closed_form.least_squares(features, targets)
    np.testing.assert_allclose(weights, np.linalg.lstsq(features.T, targets)[0], rtol=1e-4)
    assert error == pytest.approx(np.mean((weights @ features - targets) ** 2), rel=1e-9)


def test_logistic_regression_finds_the_least_cross_entropy(samples):
    features, logit = samples
    positive = np.random.default_rng(3).random(len(logit)) < 1 / (1 + np.exp(-logit))
    weights = closed_form.logistic(features, positive)
    least = minimize(lambda w: closed_form.cross_entropy(w @ features, positive), np.zeros(3), tol=1e-12)
    assert closed_form.cross_entropy(weights @ features, positive) == pytest.approx(least.fun, abs=1e-6)
    np.testing.assert_allclose(weights, [-3, 1.5, -0.4], atol=0.3)


def test_some_of_the_negatives_may_stand_for_all(samples):
    features, logit = samples
    positive = np.random.default_rng(3).random(len(logit)) < 1 / (1 + np.exp(-logit))
    kept = np.concatenate([np.flatnonzero(positive), np.flatnonzero(~positive)[::2]])
    half = closed_form.logistic(features[:, kept], positive[kept], np.where(positive[kept], 1.0, 2.0))
    np.testing.assert_allclose(half, closed_form.logistic(features, positive), atol=0.25)


@pytest.mark.parametrize("positive", [np.zeros(50, bool), np.ones(50, bool), np.arange(50) > 25])
def test_what_can_be_told_apart_exactly_or_never_happens_still_has_finite_weights(positive):
    features = np.stack([np.ones(50), np.arange(50.0), np.full(50, 3.0)])
    assert np.isfinite(closed_form.logistic(features, positive)).all()
