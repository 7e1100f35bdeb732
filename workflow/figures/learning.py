"""Learning curves: loss in training and validation, and validation AUC, over the steps of every fit."""

import argparse
import math

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from workflow.figures import style

LEGEND_COLUMNS = 5


def draw(histories):
    """histories: {model: [table of each seed]} with the columns step, loss, valid_loss and valid_auc."""
    height = 2.8 + 0.17 * math.ceil((len(histories) + 2) / LEGEND_COLUMNS)
    figure, (loss, auc) = plt.subplots(1, 2, figsize=(style.WIDTH, height), sharex=True)
    lines = []
    for (model, tables), colour in zip(histories.items(), style.colours(len(histories)), strict=True):
        for table in tables:
            loss.plot(table["step"], table["loss"], color=colour, lw=0.9, ls=(0, (3, 2)), alpha=0.8)
            loss.plot(table["step"], table["valid_loss"], color=colour)
            auc.plot(table["step"], table["valid_auc"], color=colour)
        lines.append(Line2D([], [], color=colour, label=model))
    kinds = [
        Line2D([], [], color=style.GREY, label="validation"),
        Line2D([], [], color=style.GREY, lw=0.9, ls=(0, (3, 2)), label="training"),
    ]
    loss.set(xlabel="step", ylabel="loss (spikes and voltage, half each)", yscale="log", xlim=(0, None))
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter("{x:g}")
    loss.yaxis.set_minor_formatter(NullFormatter())
    figure.legend(handles=lines + kinds, loc="outside upper center", ncols=LEGEND_COLUMNS)
    auc.set(xlabel="step", ylabel="AUC in validation")
    if all(table["valid_auc"].isna().all() for tables in histories.values() for table in tables):
        auc.set(yticks=[], ylim=(0, 1))
        auc.text(0.5, 0.6, "undefined: no spikes", transform=auc.transAxes, ha="center", color=style.GREY)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", nargs="+", help="history.csv of each fit, …/MODEL/seedN/history.csv")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    groups = style.by_model(arguments.histories)
    style.save(draw({model: [pd.read_csv(path) for path in paths] for model, paths in groups.items()}), arguments.out)


if __name__ == "__main__":
    main()
