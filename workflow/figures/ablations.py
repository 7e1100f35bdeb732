"""What changing one thing of one neuron does to its AUC: a panel for each group of ablations that was fitted."""

import argparse
import json
import math

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from workflow import study
from workflow.figures import style

COLUMNS = 4
LABELS = {
    "ablation_d_m": "memory units",
    "ablation_mlp_layers": "hidden layers",
    "ablation_lambda": "gain λ of an update",
    "ablation_tau_m": "one τ for all memories (ms)",
    "ablation_tau_m_range": "range of τ (ms)",
    "ablation_d_tree": "branches × synapses",
    "ablation_d_brch": "synapses on a branch",
}


def panels(table, models):
    """{group: [(value as text, AUC of each seed, steps, whether the neuron is unchanged)]}, by rising values.

    table: of workflow.tables.metrics.  models: workflow.study.models.
    """
    found = {}
    for group, settings in study.ABLATIONS.items():
        members = [fitted for fitted in models if group in fitted["groups"]]
        members.sort(key=lambda fitted: [fitted["settings"][name] for name in settings])
        for fitted in members:
            rows = table[table["name"] == fitted["name"]]
            point = (
                _text(fitted["settings"], settings),
                rows["auc_few_spikes"],
                rows["steps"].iloc[0],
                not fitted["own"],
            )
            found.setdefault(group, []).append(point)
    return found


def _text(settings, names):
    """The value of a panel's settings: 5, 1–150 or 35 × 65."""
    values = (
        dict.fromkeys(f"{settings[name]:g}" for name in names)
        if names[0] == "tau_m_min"
        else [f"{settings[name]:g}" for name in names]
    )
    return ("–" if names[0] == "tau_m_min" else " × ").join(values)


def draw(found):
    """found: what `panels` gives."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    size = (style.WIDTH, 2.3 * rows)
    figure, grid = plt.subplots(rows, columns, figsize=size, squeeze=False, sharey=True)
    for axes, (group, points) in zip(grid.flat, found.items(), strict=False):
        for place, (_, scores, _, unchanged) in enumerate(points):
            colour = style.VERMILLION if unchanged else style.BLUE
            axes.errorbar(place, scores.mean(), np.nan_to_num(scores.std()), color=colour, marker="o", ms=4, capsize=2)
        axes.plot([scores.mean() for _, scores, _, _ in points], color=style.BLUE, lw=0.8, zorder=0)
        axes.set_xticks(range(len(points)), [text for text, *_ in points], rotation=45, fontsize=7)
        steps = sorted({steps for _, _, steps, _ in points})
        axes.set(xlabel=LABELS[group], title=" and ".join(f"{n:,}" for n in steps) + " steps")
        axes.margins(x=0.1)
    for axes in grid[:, 0]:
        axes.set_ylabel("AUC")
    for axes in grid.flat[len(found) :]:
        axes.set_axis_off()
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("metrics", help="CSV of workflow.tables.metrics")
    parser.add_argument("--models", required=True, type=json.loads, help="workflow.study.models, as JSON")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(panels(pd.read_csv(arguments.metrics), arguments.models)), arguments.out)


if __name__ == "__main__":
    main()
