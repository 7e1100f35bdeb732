"""How much like a place cell a neuron is, from its rate at every place.

The score of a rate map ρ on the cells V of a grid is

    γ Σ_sub ρ / Σ_V ρ,    γ = 1 - |V*|/|V|

sub holds the cell of the highest rate and all that are reached from it by steps to one of the four neighbours whose
rate is strictly lower; V* is sub without that cell and without the leaves, from which no such step goes on. A neuron
that fires at one cell scores 1, one that fires everywhere alike 1/|V|, and a silent one has no score (nan).

Rates cannot be negative, activations can, and the text says not what then. Both conventions are here: `clipped`, an
activation below zero is no firing; `shifted`, each neuron's lowest mean activation is its rate of zero.

Source: "Transformer needs NMDA receptor nonlinearity for long-term memory", equation 2, made exact where it is open.
"""

import numpy as np

CONVENTIONS = ("clipped", "shifted")


class RateMaps:
    """Mean activations by place, gathered in pieces.  neurons, cells: how many there are."""

    def __init__(self, neurons, cells):
        self._visits, self._sum, self._fired = np.zeros(cells), np.zeros((cells, neurons)), np.zeros((cells, neurons))

    def add(self, activation, cell):
        """activation: [sample, neuron].  cell: int [sample]."""
        order = np.argsort(cell, kind="stable")
        there, starts = np.unique(cell[order], return_index=True)
        activation = activation[order].astype(float)
        self._visits += np.bincount(cell, minlength=len(self._visits))
        self._sum[there] += np.add.reduceat(activation, starts)
        self._fired[there] += np.add.reduceat(np.maximum(activation, 0), starts)

    def rates(self, convention):
        """Rates [neuron, cell] by one of CONVENTIONS; cells that were never visited have rate 0.

        Raises ValueError for another convention.
        """
        if convention not in CONVENTIONS:
            raise ValueError(f"convention: found {convention!r}, expected one of: {', '.join(CONVENTIONS)}")
        there, visits = self._visits > 0, np.maximum(self._visits, 1)[:, None]
        if convention == "clipped":
            return (self._fired / visits).T
        mean = (self._sum / visits).T
        return np.where(there, mean - mean[:, there].min(axis=1, keepdims=True), 0)


def place_scores(rates):
    """Scores of rate maps, float [neuron], nan where silent; see the module.

    rates: [neuron, K, K], not negative.  Raises ValueError where one is negative or not finite.
    """
    rates = np.asarray(rates, float)
    if rates.ndim != 3 or not np.isfinite(rates).all() or (rates < 0).any():
        raise ValueError(f"rates: found the shape {rates.shape} or rates below 0, expected [neuron, K, K] from 0")
    neurons, height, width = rates.shape
    reached = np.zeros(rates.shape, bool)
    top = rates.reshape(neurons, -1).argmax(axis=1)
    reached.reshape(neurons, -1)[np.arange(neurons), top] = True
    # [to, from] of the four directions of a step
    ahead, behind, whole = slice(1, None), slice(None, -1), slice(None)
    steps = [
        ((whole, *to), (whole, *start))
        for to, start in (
            ((ahead, whole), (behind, whole)),
            ((behind, whole), (ahead, whole)),
            ((whole, ahead), (whole, behind)),
            ((whole, behind), (whole, ahead)),
        )
    ]
    descends = [rates[to] < rates[start] for to, start in steps]
    before = -1
    while (count := np.count_nonzero(reached)) != before:
        before = count
        for (to, start), down in zip(steps, descends, strict=True):
            reached[to] |= reached[start] & down
    goes_on = np.zeros(rates.shape, bool)
    for (_, start), down in zip(steps, descends, strict=True):
        goes_on[start] |= down
    between = reached & goes_on
    between.reshape(neurons, -1)[np.arange(neurons), top] = False
    discount = 1 - between.sum(axis=(1, 2)) / (height * width)
    total = rates.sum(axis=(1, 2))
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, discount * np.where(reached, rates, 0).sum(axis=(1, 2)) / total, np.nan)
