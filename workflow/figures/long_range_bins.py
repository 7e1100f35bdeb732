"""Accuracy on spoken digits, and on the sum of two, against the size of a time bin, beside the published numbers."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter

from workflow.figures import style

TITLES = {"shd": "which digit", "shd_adding": "sum of two digits"}
COLOURS = {"elm": style.VERMILLION, "branch_elm": style.ORANGE, "lstm": style.BLUE, "snn": style.GREEN}


def draw(table, published):
    """table: of workflow.tables.long_range, fits with bins only.  published: the source's numbers."""
    tasks = [task for task in TITLES if task in set(table["task"])]
    figure, panels = plt.subplots(1, len(tasks), figsize=(style.WIDTH, 2.8), sharey=True, squeeze=False)
    for panel, task in zip(panels[0], tasks, strict=True):
        rows = table[table["task"] == task]
        for (model, method), found in rows.groupby(["model", "method"], sort=False):
            means = found.groupby("bin_ms")[["accuracy", "low", "high"]].mean()
            colour = COLOURS.get(model, style.GREEN)
            panel.errorbar(
                means.index,
                means["accuracy"],
                yerr=[means["accuracy"] - means["low"], means["high"] - means["accuracy"]],
                fmt="o-",
                ms=3,
                lw=1.2,
                elinewidth=0.7,
                color=colour,
                label=method,
            )
        for model, theirs in published[published["task"] == task].groupby("model", sort=False):
            panel.plot(theirs["bin_ms"], theirs["accuracy"], "--", color=COLOURS.get(model, style.GREEN), lw=0.7)
        panel.axhline(rows["chance"].mean(), color=style.GREY, lw=0.7, ls=":")
        panel.set(xscale="log", xlabel="bin (ms)", title=TITLES[task], ylim=(0, 1))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.legend(fontsize=6)
    panels[0][0].set_ylabel("accuracy")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.long_range")
    parser.add_argument("--published", required=True, help="CSV of the source's numbers")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.metrics)
    chosen = table[table["groups"].fillna("").str.split().map(lambda groups: "bins" in groups)]
    style.save(draw(chosen, pd.read_csv(arguments.published)), arguments.out)


if __name__ == "__main__":
    main()
