"""Place-cell scores of feed-forward and attention neurons: their distributions, and mean scores against RM errors."""

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from sims.analysis.place_cells import CONVENTIONS
from workflow.figures import style
from workflow.tables.place_cells import KINDS

TITLES = {"ffn": "feed-forward", "attention": "attention"}


def draw(found, table, correlations):
    """found: {fit: [arrays of each seed]}.  table, correlations: of workflow.tables.place_cells."""
    figure, panels = plt.subplots(2, 4, figsize=(style.WIDTH, 4.2))
    bins = np.linspace(0, 1, 41)
    shades = dict(zip(found, style.colours(len(found)), strict=True))
    for row, convention in zip(panels, CONVENTIONS, strict=True):
        for i, kind in enumerate(KINDS):
            name = f"{kind}_{convention}"
            for fit, seeds in found.items():
                score = np.concatenate([arrays[f"{name}_score"] for arrays in seeds])
                row[i].hist(score, bins, density=True, histtype="step", color=shades[fit], label=fit)
                rows = table[table["name"] == fit]
                row[2 + i].plot(rows[name], rows["rm_error"], "o", ms=3, color=shades[fit])
            (said,) = correlations[
                (correlations["neurons"] == kind) & (correlations["convention"] == convention)
            ].itertuples()
            row[i].set(title=f"{TITLES[kind]}, {convention}", xlabel="place score")
            title = "" if np.isnan(said.r) else f"r = {said.r:.2f}, p = {said.p:.2g}"
            row[2 + i].set(title=title, xlabel=f"mean score, {TITLES[kind]}", ylabel="RM error")
        row[0].set_ylabel("density")
    panels[0][0].legend(fontsize=5)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", help="…/FIT/seedN/predictions.npz")
    parser.add_argument("--metrics", required=True, help="CSV of workflow.tables.place_cells")
    parser.add_argument("--correlations", required=True, help="CSV of the same")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    found = {name: [np.load(path) for path in paths] for name, paths in style.by_model(arguments.predictions).items()}
    tables = pd.read_csv(arguments.metrics), pd.read_csv(arguments.correlations).astype({"r": float, "p": float})
    style.save(draw(found, *tables), arguments.out)


if __name__ == "__main__":
    main()
