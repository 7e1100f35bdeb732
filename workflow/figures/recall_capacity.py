"""How many patterns a network of delays holds: F1 against their number, and the theory's limit.

The limit is Gardner's (1988, doi 10.1088/0305-4470/21/1/030) for N D weights of a neuron that must be active in a share
f = p_A of random steps, M (T - D) in all, with no margin and the best threshold:

    M (T - D)/(N D) = 1/min_x [f G(x) + (1 - f) G(-x)],    G(x) = ∫ (x + t)² φ(t) dt over t > -x

Contexts here are neither dense nor independent from step to step, so it is a landmark and no bound.
"""

import argparse

import pandas as pd
from matplotlib import pyplot as plt
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from workflow.figures import style

ENOUGH = 0.99


def limit(N, D, T, p_A):
    """M at the limit; see the module."""

    def cost(x):
        return p_A * _second(x) + (1 - p_A) * _second(-x)

    return N * D / (T - D) / minimize_scalar(cost, bounds=(0, 10), method="bounded").fun


def _second(x):
    return (1 + x**2) * norm.cdf(x) + x * norm.pdf(x)


def draw(table):
    """table: of workflow.tables.recall, capacities only."""
    figure, (curve, most) = plt.subplots(1, 2, figsize=(style.WIDTH, 2.8))
    groups = list(table.groupby("sweep", sort=False))
    for (name, rows), colour in zip(groups, style.colours(len(groups)), strict=True):
        first, f1 = rows.iloc[0], rows.groupby("M")["f1"].mean()
        theory = limit(*(first[key] for key in ("N", "D", "T", "p_A")))
        curve.plot(f1.index, f1, "o-", ms=3, color=colour, label=name)
        if (f1 >= ENOUGH).any():
            most.plot(theory, f1.index[f1 >= ENOUGH].max(), "o", color=colour, label=name)
    curve.axhline(ENOUGH, color=style.GREY, lw=0.6)
    curve.set(xscale="log", xlabel="patterns", ylabel="F1")
    low, high = most.get_xlim()
    most.plot([low, high], [low, high], color=style.GREY, lw=0.6)
    most.set(xscale="log", yscale="log", xlabel="patterns at the theory's limit", ylabel=f"most at F1 ≥ {ENOUGH:g}")
    curve.legend(fontsize=6)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.recall")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.metrics)
    style.save(draw(table[table["groups"] == "capacity"]), arguments.out)


if __name__ == "__main__":
    main()
