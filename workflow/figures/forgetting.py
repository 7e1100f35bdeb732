"""Accuracy against the silence between a digit and the answer: networks side by side, and what ingredients are worth.

Points are means over seeds; bars, where there are several, their standard deviation.
"""

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style
from workflow.tables.working_memory import PREFIX


def curves(table, group):
    """{name: (accuracy mean [delay], standard deviation [delay])} of the fits of a group, in the table's order."""
    mine = table[table["groups"].str.split().map(lambda groups: group in groups)]
    columns = [name for name in table if name.startswith(PREFIX)]
    return {
        name: (rows[columns].mean().to_numpy(), rows[columns].std(ddof=1).fillna(0).to_numpy())
        for name, rows in mine.groupby("name", sort=False)
    }


def delays(table):
    """The silences of a table, in lengths of the input."""
    return np.array([float(name.removeprefix(PREFIX)) for name in table if name.startswith(PREFIX)])


def crossing(delay, mine, other):
    """The least silence from which `mine`, accuracies [delay], is above `other` for good; None where there is none.

    Between two delays accuracies are taken as straight lines; 0 where mine is above throughout.
    """
    gap = np.asarray(mine) - np.asarray(other)
    if gap[-1] <= 0:
        return None
    below = np.flatnonzero(gap <= 0)
    if not len(below):
        return 0.0
    k = below[-1]
    return float(delay[k] + (delay[k + 1] - delay[k]) * -gap[k] / (gap[k + 1] - gap[k]))


def draw(table):
    """table: of workflow.tables.working_memory."""
    delay = delays(table)
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 2.9), sharey=True)
    for panel, group, title in zip(axes, ("delays", "ingredients"), ("networks", "ingredients"), strict=True):
        found = curves(table, group)
        for (name, (mean, sd)), colour in zip(found.items(), style.colours(len(found)), strict=True):
            panel.errorbar(np.arange(len(delay)), mean, sd, fmt="o-", ms=3, lw=1, capsize=2, color=colour, label=name)
        panel.set(xlabel="silence, lengths of the input", title=title, ylim=(0, 1))
        panel.set_xticks(np.arange(len(delay)), [f"{value:g}" for value in delay])
        panel.legend(fontsize=6)
    axes[0].set(ylabel="accuracy on the test digits")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.working_memory")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(pd.read_csv(arguments.metrics)), arguments.out)


if __name__ == "__main__":
    main()
