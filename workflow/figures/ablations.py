"""What changing one thing of one neuron does to its AUC: a panel for each group of ablations that was fitted."""

import argparse
import json
import math

import pandas as pd
from matplotlib import pyplot as plt

from workflow import study
from workflow.figures import style

COLUMNS = 4
# What a panel says below, and how it writes a value.
PANELS = {
    "ablation_d_m": ("memory units", "{d_m}"),
    "ablation_mlp_layers": ("hidden layers", "{mlp_layers}"),
    "ablation_lambda": ("gain λ of an update", "{lambda_value:g}"),
    "ablation_tau_m": ("one τ for all (ms)", "{tau_m_min:g}"),
    "ablation_tau_m_range": ("range of τ (ms)", "{tau_m_min:g}–{tau_m_max:g}"),
    "ablation_d_tree": ("branches × synapses", "{d_tree} × {d_brch}"),
    "ablation_d_brch": ("synapses on a branch", "{d_brch}"),
}


def panels(table, models):
    """{group: [(value as text, AUC [seed], steps, whether the neuron is unchanged)]}, by rising values.

    table: of workflow.tables.metrics.  models: workflow.study.models.
    """
    found = {}
    for group, settings in study.ABLATIONS.items():
        members = [fitted for fitted in models if group in fitted["groups"]]
        for fitted in sorted(members, key=lambda fitted: [fitted["settings"][name] for name in settings]):
            rows, text = table[table["name"] == fitted["name"]], PANELS[group][1].format(**fitted["settings"])
            point = (text, rows["auc_few_spikes"].to_numpy(), rows["steps"].iloc[0], not fitted["own"])
            found.setdefault(group, []).append(point)
    return found


def draw(found):
    """found: what `panels` gives."""
    columns = min(COLUMNS, len(found))
    rows = math.ceil(len(found) / columns)
    figure, grid = plt.subplots(rows, columns, figsize=(style.WIDTH, 2.3 * rows), squeeze=False, sharey=True)
    for axes, (group, points) in zip(grid.flat, found.items(), strict=False):
        axes.plot([1 - scores.mean() for _, scores, _, _ in points], color=style.BLUE, lw=0.8, zorder=0)
        for place, (_, scores, _, unchanged) in enumerate(points):
            spread = scores.std(ddof=1) if len(scores) > 1 else 0
            colour = style.VERMILLION if unchanged else style.BLUE
            axes.errorbar(place, 1 - scores.mean(), spread, color=colour, marker="o", ms=4, capsize=2)
        axes.set_xticks(range(len(points)), [text for text, *_ in points], rotation=60, fontsize=7)
        steps = sorted({steps for _, _, steps, _ in points})
        axes.set(xlabel=PANELS[group][0], title=" and ".join(f"{n:,}" for n in steps) + " steps")
        axes.margins(x=0.1)
    style.scale_auc(grid[0, 0])
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
