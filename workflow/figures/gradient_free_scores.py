"""AUC of the spikes and error of the voltage against parameters, with gradients and without, on one set of data."""

import argparse

import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style

COLUMNS = {"auc": ["mean", "std"], "voltage_rmse_mV": ["mean", "std"]}


def series(table):
    """{label: its fits, in the order of their parameters, with mean and SD over seeds}.

    A label is a model, or an equation file and how it was fitted.
    """
    files = table["equations"].fillna("").str.extract(r"([^/]+)\.ya?ml$")[0]
    label = table["model"].where(files.isna(), files + ", " + table["method"])
    means = table.assign(label=label).groupby(["label", "name"], sort=False).agg({"parameters": "first"} | COLUMNS)
    means.columns = ["parameters", "auc", "auc_sd", "rmse", "rmse_sd"]
    return {name: rows.sort_values("parameters") for name, rows in means.groupby(level="label", sort=False)}


def draw(table):
    """table: of workflow.tables.gradient_free."""
    figure, (auc, rmse) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.2), sharex=True)
    found = series(table)
    for (label, rows), colour in zip(found.items(), style.colours(len(found)), strict=True):
        marker = "s" if label.endswith(", gradient") else "o"
        for axes, values, spread in ((auc, 1 - rows["auc"], rows["auc_sd"]), (rmse, rows["rmse"], rows["rmse_sd"])):
            axes.errorbar(rows["parameters"], values, spread.fillna(0), fmt=f"{marker}-", ms=4, capsize=2, color=colour,
                          label=label if axes is auc else None)  # fmt: skip
    auc.set(ylabel="AUC of the spikes")
    style.scale_auc(auc)
    rmse.set(ylabel="voltage RMSE (mV)")
    for axes in (auc, rmse):
        axes.set(xscale="log", xlabel="parameters")
    figure.legend(loc="outside upper center", ncols=3, fontsize=7)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.gradient_free")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(pd.read_csv(arguments.metrics)), arguments.out)


if __name__ == "__main__":
    main()
