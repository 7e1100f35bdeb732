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
    figure, (auc, rmse) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.5))
    ours, printed = averages(table, against), theirs(published, against)
    handles = []
    for model, (family, colour) in FAMILIES.items():
        handles += [Line2D([], [], color=colour, marker="o", ms=4, label=family)] if model in ours else []
        for (source, marker), rows in printed[printed["model"] == model].groupby(printed["source"].map(_mark)):
            for axes, values in ((auc, 1 - rows["auc"]), (rmse, rows["voltage_rmse_mV"])):
                line = {"ls": (0, (1, 2)) if source == "printed" else "none", "lw": 0.8, "ms": 4, "mfc": "none"}
                axes.plot(rows["x"], values, marker, color=colour, alpha=0.7, **line)
        if model in ours:
            rows = ours[model]
            for axes, values, spread in ((auc, 1 - rows["auc"], rows["auc_sd"]), (rmse, rows["rmse"], rows["rmse_sd"])):
                axes.errorbar(rows["x"], values, spread.fillna(0), color=colour, marker="o", ms=4, capsize=2)
    auc.axhline(1 - SUFFICIENT_AUC, color=style.GREY, lw=0.8)
    auc.annotate(
        f"{SUFFICIENT_AUC}", (1, 1 - SUFFICIENT_AUC), xycoords=("axes fraction", "data"), fontsize=7, ha="right"
    )
    # Logarithmic in the distance from perfection, which is what differs between good models.
    auc.set(yscale="log", ylabel="AUC of the spikes")
    low, high = auc.get_ylim()
    ticks = [tick for tick in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005) if low <= tick <= high]
    auc.set_yticks(ticks, [f"{1 - tick:g}" for tick in ticks])
    auc.set_yticks([], minor=True)
    auc.invert_yaxis()
    rmse.set(ylabel="voltage RMSE (mV)")
    for axes in (auc, rmse):
        axes.set(xscale="log", xlabel=ABSCISSAE[against])
    handles += [
        Line2D([], [], color=style.GREY, marker=marker, ls="none", mfc="none", ms=4, label=label)
        for marker, label in (("s", "printed, for the papers' own data"), ("x", "released weights, the same"))
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def _mark(source):
    return ("released", "x") if source == "released weights" else ("printed", "s")


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
