"""Loss, 1 - F1, against what a network of delays is and has to remember, beside the published numbers."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import NullFormatter

from workflow.figures import style

LABELS = {"N": "neurons", "D": "delays", "T": "steps of a pattern", "M": "patterns", "p_A": "spike probability"}
FLOOR = 1e-5  # where a loss of 0 is drawn


def draw(table, published):
    """table: of workflow.tables.recall, sweeps only.  published: the source's numbers."""
    parameters = [name for name in LABELS if name in set(table["parameter"])]
    figure, panels = plt.subplots(1, len(parameters), figsize=(style.WIDTH, 2.4), sharey=True, squeeze=False)
    methods = list(dict.fromkeys(table["method"]))
    for panel, parameter in zip(panels[0], parameters, strict=True):
        rows = table[table["parameter"] == parameter]
        for method, colour in zip(methods, style.colours(len(methods)), strict=True):
            losses = rows[rows["method"] == method].groupby("value")["loss"].mean().clip(lower=FLOOR)
            panel.plot(losses.index, losses, "o-", ms=3, color=colour, label=method)
        theirs = published[published["parameter"] == parameter].sort_values("value")
        panel.plot(theirs["value"], theirs["loss"].clip(lower=FLOOR), "o--", ms=4, mfc="none", color=style.GREY, lw=0.7)
        panel.set(xscale="log", yscale="log", ylim=(FLOOR / 2, 1.5), xlabel=LABELS[parameter])
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter(NullFormatter())
    panels[0][0].set_ylabel("1 - F1")
    panels[0][0].plot([], [], "o--", ms=4, mfc="none", color=style.GREY, lw=0.7, label="published")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=len(methods) + 1)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.recall")
    parser.add_argument("--published", required=True, help="CSV of the source's numbers")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.metrics)
    style.save(draw(table[table["groups"] == "sweep"], pd.read_csv(arguments.published)), arguments.out)


if __name__ == "__main__":
    main()
