"""What more training data and more steps are worth: the test score of whole fits, and how each went in validation."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import LogLocator, NullFormatter

from workflow.figures import style

CURVES = {"curve_data": ("hours", "hours of training data"), "curve_steps": ("steps", "steps of the whole fit")}


def draw(table, histories):
    """table: of workflow.tables.metrics.  histories: {model: [history of each seed]}."""
    member = table["groups"].str.split()
    there = {group: table[member.map(lambda groups, group=group: group in groups)] for group in CURVES}
    there = {group: rows for group, rows in there.items() if len(rows)}
    figure, grid = plt.subplots(2, len(there), figsize=(style.WIDTH, 4.6), squeeze=False)
    for (score, course), (group, rows) in zip(grid.T, there.items(), strict=True):
        column, label = CURVES[group]
        fits = rows.groupby("name").agg({column: "first", "auc_few_spikes": ["mean", "std"]})
        fits.columns = ["x", "mean", "sd"]
        fits = fits.sort_values("x")
        colours = plt.colormaps["viridis"].resampled(len(fits) + 1).colors
        score.plot(fits["x"], fits["mean"], color=style.GREY, lw=0.8, zorder=0)
        for (name, fit), colour in zip(fits.iterrows(), colours, strict=False):
            score.errorbar(
                fit["x"], fit["mean"], fit["sd"] if fit["sd"] > 0 else 0, color=colour, marker="o", capsize=2
            )
            label_once = f"{fit['x']:.3g} h" if column == "hours" else f"{fit['x']:,.0f}"
            for history in histories[name]:
                course.plot(history["step"], history["valid_loss"], color=colour, label=label_once)
                label_once = None
        score.set(xscale="log", xlabel=label, ylabel="AUC, test")
        course.set(xscale="log", yscale="log", xlabel="step", ylabel="loss, validation")
        course.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        course.yaxis.set_major_formatter("{x:g}")
        for axis in (course.xaxis, course.yaxis):
            axis.set_minor_formatter(NullFormatter())
        course.legend(fontsize=7)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.metrics")
    parser.add_argument("--histories", required=True, nargs="+", help="…/MODEL/seedN/history.csv of the fits drawn")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    groups = style.by_model(arguments.histories)
    histories = {model: [pd.read_csv(path) for path in paths] for model, paths in groups.items()}
    style.save(draw(pd.read_csv(arguments.metrics), histories), arguments.out)


if __name__ == "__main__":
    main()
