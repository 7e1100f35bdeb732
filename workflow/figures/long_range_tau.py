"""Accuracy of ELM neurons against the longest memory time constant that they start with."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style


def draw(table):
    """table: of workflow.tables.long_range, the ablation's fits only."""
    figure, panel = plt.subplots(figsize=(style.WIDTH / 2, 2.6))
    tasks = list(dict.fromkeys(table["task"]))
    for task, colour in zip(tasks, style.colours(len(tasks)), strict=True):
        rows = table[table["task"] == task]
        means = rows.groupby("tau_m_max")[["accuracy", "low", "high"]].mean()
        error = [means["accuracy"] - means["low"], means["high"] - means["accuracy"]]
        panel.errorbar(
            means.index, means["accuracy"], yerr=error, fmt="o-", ms=3, elinewidth=0.7, color=colour, label=task
        )
        panel.axhline(rows["chance"].mean(), color=colour, lw=0.7, ls=":")
    panel.set(xscale="log", xlabel="longest τ_m (ms, or steps)", ylabel="accuracy")
    panel.legend(fontsize=6)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.long_range")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    table = pd.read_csv(arguments.metrics)
    chosen = table["groups"].fillna("").str.split().map(lambda groups: "tau" in groups)
    style.save(draw(table[chosen]), arguments.out)


if __name__ == "__main__":
    main()
