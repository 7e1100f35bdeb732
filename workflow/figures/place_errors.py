"""Errors by reference memory over learning, with those by working memory, and against α for each number of maps."""

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style


def draw(histories, table):
    """histories: {fit: [table of each seed]}.  table: of workflow.tables.place_cells."""
    figure, (course, final) = plt.subplots(1, 2, figsize=(style.WIDTH, 2.8), width_ratios=(1.3, 1))
    inset = course.inset_axes((0.66, 0.1, 0.33, 0.3))
    for (name, seeds), colour in zip(histories.items(), style.colours(len(histories)), strict=True):
        steps = seeds[0]["step"]
        for axes, column, line in (
            (course, "valid_rm_error", "-"),
            (course, "valid_rm_novel", ":"),
            (inset, "valid_wm_novel", "-"),
        ):
            found = np.array([seed[column] for seed in seeds], float)
            axes.plot(steps, found.mean(0), line, color=colour, label=name if column == "valid_rm_error" else None)
            axes.fill_between(steps, *_band(found), color=colour, alpha=0.15, lw=0)
    course.set(xlabel="step", ylabel="RM error", ylim=(0, 1))
    course.legend(fontsize=6, loc="lower left")
    inset.set_ylim(0, None)
    inset.set_title("WM error, novel maps", fontsize=6)
    inset.tick_params(labelsize=6)
    kept = table[~table["swept"] & (table["activation"] == "nmda")]
    groups = list(kept.groupby("maps"))
    for (maps, rows), colour in zip(groups, style.colours(len(groups)), strict=True):
        found = rows.groupby("alpha")["rm_error"].agg(["mean", "std"])
        final.errorbar(
            found.index, found["mean"], found["std"].fillna(0), fmt="o-", ms=3, color=colour, label=f"N {maps}"
        )
    final.set_xscale("symlog", linthresh=0.01)
    final.set(xlabel="α", ylabel="RM error, training maps")
    final.legend(fontsize=7)
    return figure


def _band(found):
    """Mean less and plus the standard deviation over seeds."""
    spread = found.std(0, ddof=1) if len(found) > 1 else 0
    return found.mean(0) - spread, found.mean(0) + spread


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", nargs="+", help="…/FIT/seedN/history.csv")
    parser.add_argument("--metrics", required=True, help="CSV of workflow.tables.place_cells")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    histories = {
        name: [pd.read_csv(path) for path in paths] for name, paths in style.by_model(arguments.histories).items()
    }
    style.save(draw(histories, pd.read_csv(arguments.metrics)), arguments.out)


if __name__ == "__main__":
    main()
