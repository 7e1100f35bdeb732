"""How hard each hypothesis is to imitate: AUC and voltage RMSE against the number of memories, and the time constants
that the largest neuron learned."""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from workflow.figures import style


def draw(found):
    """found: the hypotheses of workflow.tables.hypotheses that run."""
    figure, (auc, rmse, taus) = plt.subplots(1, 3, figsize=(style.WIDTH, 3.2))
    for place, (each, colour) in enumerate(zip(found, style.colours(len(found)), strict=True)):
        sized = sorted((m for m in each["models"] if m["d_m"]), key=lambda model: model["d_m"])
        for axes, name in ((auc, "auc"), (rmse, "voltage_rmse_mV")):
            rows = [(m["d_m"], *m[name]) for m in sized if m[name][0] is not None]
            if rows:
                d_m, mean, low, high = np.array(rows, float).T
                if axes is auc:
                    mean, low, high = 1 - mean, 1 - high, 1 - low
                spread = np.maximum(0, [mean - low, high - mean])
                x = d_m * 1.03 ** (place - len(found) / 2)
                axes.errorbar(x, mean, spread, color=colour, marker="o", ms=3, capsize=2, label=each["name"])
        learned = [m for m in sized if m["tau_m_ms"]]
        if learned:
            values = learned[-1]["tau_m_ms"]
            taus.plot(values, np.full(len(values), -place), "|", ms=9, color=colour)
    auc.set(ylabel="AUC of the spikes")
    if auc.has_data():
        style.scale_auc(auc)
    rmse.set(ylabel="voltage RMSE (mV)")
    for axes in (auc, rmse):
        axes.set(xscale="log", xlabel="memories, $d_m$")
        sizes = sorted({model["d_m"] for each in found for model in each["models"] if model["d_m"]})
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.set_xticks([], minor=True)
    taus.set(xscale="log", xlabel="time constants (ms)", yticks=[-k for k in range(len(found))])
    taus.set_yticklabels([each["name"] for each in found], fontsize=6)
    figure.legend(*rmse.get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON of workflow.tables.hypotheses")
    parser.add_argument("--shards", nargs="+", help="not needed here; every figure of the study is given them")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    found = json.loads(arguments.table.read_text())["hypotheses"]
    style.save(draw([each for each in found if each["runs"]]), arguments.out)


if __name__ == "__main__":
    main()
