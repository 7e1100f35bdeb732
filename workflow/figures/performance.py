"""Scores of the surrogates against what they cost, parameters or operations a step, the published ones beside ours.

Ours are over the test simulations with at most 24 output spikes, voltages aligned, as the papers score theirs; the
papers' are on their own simulations, so that only the shape of the two compares.
"""

import argparse

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D

from workflow.figures import style

SUFFICIENT_AUC = 0.991  # "sufficiently good" (Beniaguev et al. 2021)
SAMPLE_STEPS = 500  # the papers count the operations of a whole sample
MULTIPLES = {"K": 1e3, "M": 1e6}
ABSCISSAE = {"parameters_live": "parameters", "flops_per_step": "floating-point operations a step"}
FAMILIES = {
    "branch_elm": ("Branch-ELM", style.BLUE),
    "elm": ("ELM", style.VERMILLION),
    "lstm": ("LSTM", style.GREEN),
    "chrono_lstm": ("Chrono-LSTM", style.SKY),
    "tcn": ("TCN", style.PURPLE),
    "lif": ("LIF", style.ORANGE),
    "alif": ("adaptive LIF", style.BLACK),
}


def number(printed):
    """What the papers print, "8.1K" or "1286", as a number."""
    text = str(printed)
    return float(text[:-1]) * MULTIPLES[text[-1]] if text[-1] in MULTIPLES else float(text)


def averages(table, against):
    """{model: its sizes in the headline, rising in `against`, with mean and SD over seeds of what is drawn}."""
    headline = table[table["groups"].str.split().map(lambda groups: "performance" in groups)]
    columns = {
        against: "first",
        "auc_few_spikes": ["mean", "std"],
        "voltage_rmse_aligned_mV_few_spikes": ["mean", "std"],
    }
    found = headline.groupby(["model", "name"], sort=False).agg(columns)
    found.columns = ["x", "auc", "auc_sd", "rmse", "rmse_sd"]
    return {model: rows.sort_values("x") for model, rows in found.groupby(level="model", sort=False)}


def theirs(published, against):
    """The published points, with their `x`."""
    if against == "parameters_live":
        return published.assign(x=published["parameters"].map(number))
    return published.assign(x=published["flops"].dropna().map(number) / SAMPLE_STEPS).dropna(subset="x")


def draw(table, published, against):
    """table: of workflow.tables.metrics.  published: the papers' table.  against: column of ABSCISSAE."""
    figure, (auc, rmse) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.5), sharex=True)
    ours, printed = averages(table, against), theirs(published, against)
    printed["error"] = 1 - printed["auc"]
    handles = []
    for model, (family, colour) in FAMILIES.items():
        handles += [Line2D([], [], color=colour, marker="o", ms=4, label=family)] if model in ours else []
        for marker, rows in printed[printed["model"] == model].groupby(printed["source"].map(_marker)):
            # A line joins what varies one thing, as the papers' tables do.
            tabled = rows.dropna(subset="flops")
            for axes, name in ((auc, "error"), (rmse, "voltage_rmse_mV")):
                axes.plot(tabled["x"], tabled[name], color=colour, lw=0.8, ls=(0, (1, 2)), alpha=0.7)
                axes.plot(rows["x"], rows[name], marker, color=colour, ms=4, mfc="none", alpha=0.7)
        if model in ours:
            rows = ours[model]
            for axes, values, spread in ((auc, 1 - rows["auc"], rows["auc_sd"]), (rmse, rows["rmse"], rows["rmse_sd"])):
                axes.errorbar(rows["x"], values, spread.fillna(0), color=colour, marker="o", ms=4, capsize=2)
    auc.axhline(1 - SUFFICIENT_AUC, color=style.GREY, lw=0.8)
    place = {"xycoords": ("axes fraction", "data"), "xytext": (2, 2), "textcoords": "offset points"}
    auc.annotate(f"{SUFFICIENT_AUC}", (0, 1 - SUFFICIENT_AUC), fontsize=7, color=style.GREY, **place)
    auc.set(ylabel="AUC of the spikes")
    style.scale_auc(auc)
    rmse.set(ylabel="voltage RMSE, aligned (mV)")
    for axes in (auc, rmse):
        axes.set(xscale="log", xlabel=ABSCISSAE[against])
    handles += [
        Line2D([], [], color=style.GREY, marker=marker, ls="none", mfc="none", ms=4, label=label)
        for marker, label in (("s", "printed, for the papers' own data"), ("x", "released weights, the same"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _marker(source):
    return "x" if source == "released weights" else "s"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.metrics")
    parser.add_argument("--published", required=True, help="CSV of the papers' numbers")
    parser.add_argument("--against", choices=ABSCISSAE, default="parameters_live")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    tables = pd.read_csv(arguments.metrics), pd.read_csv(arguments.published)
    style.save(draw(*tables, arguments.against), arguments.out)


if __name__ == "__main__":
    main()
