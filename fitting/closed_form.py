"""Linear readouts without a search: least squares, and logistic regression by Newton's method.

What a neuron's parameters make of its voltages is not linear, and is searched; how spikes and the soma's voltage are
best read from given voltages is a convex problem with one solution, found in milliseconds.
"""

import numpy as np
import torch

RIDGE = 1e-6  # of a mean square: voltages that never move have no weight of their own
TOLERANCE = 1e-10


def least_squares(features, targets):
    """Weights with the least mean squared error.

    features: float [feature, sample], one of them constant.  targets: [sample].
    Returns (weights [feature], that error, without a second pass over the samples).
    """
    count = len(targets)
    gram, cross = features @ features.T / count, features @ targets / count
    weights = np.linalg.solve(gram + np.diag(_ridge(gram)), cross)
    return weights, float(max(0.0, targets @ targets / count + weights @ (gram @ weights - 2 * cross)))


def logistic(features, positive, counts=1.0, rounds=30):
    """Weights of the logit with the least mean binary cross-entropy.

    features: float [feature, sample], the first constant.  positive: bool [sample].  counts: how many samples each
    stands for, a number or [sample]; where positives are rare, some of the others may stand for all.
    Returns weights [feature].   Source: Newton's method (iteratively reweighted least squares), with halved steps
    where a whole one would not descend.
    """
    counts = np.broadcast_to(np.asarray(counts, float), len(positive))
    total, positive = counts.sum(), np.asarray(positive, float)
    ridge = _ridge(features * counts @ features.T / total)
    share = min(max(counts @ positive / total, 0.5 / total), 1 - 0.5 / total)
    weights = np.zeros(len(features))
    weights[0] = np.log(share / (1 - share)) / features[0, 0]

    def loss(logit, weights):
        return counts @ (softplus(logit) - logit * positive) / total + ridge @ weights**2 / 2

    logit = weights @ features
    least = loss(logit, weights)
    for _ in range(rounds):
        chance = torch.from_numpy(logit).sigmoid().numpy()
        slope = features @ (counts * (chance - positive)) / total + ridge * weights
        bend = (features * (counts * chance * (1 - chance) / total)) @ features.T + np.diag(ridge)
        step, before = np.linalg.solve(bend, slope), least
        for size in 0.5 ** np.arange(12):
            tried = weights - size * step
            logit = tried @ features
            if (least := loss(logit, tried)) <= before:
                weights = tried
                break
        if before - least < TOLERANCE:
            break
    return weights


def cross_entropy(logit, positive):
    """Mean binary cross-entropy of logits [sample] against bool [sample]."""
    return float((softplus(logit).sum() - logit[positive].sum()) / len(logit))


def softplus(x):
    """log(1 + exp(x)), by torch: NumPy has no vector instructions for it."""
    return torch.nn.functional.softplus(torch.from_numpy(x), threshold=50).numpy()


def _ridge(gram):
    return RIDGE * np.maximum(np.diag(gram), np.finfo(float).tiny)
