"""ROC curves of the surrogates: the neuron's spikes they find against their false alarms, in 1-ms bins."""

import argparse
import math

import numpy as np
from matplotlib import pyplot as plt

from workflow.figures import style

SMALLEST_RATE = 1e-4
LEGEND_COLUMNS = 3


def draw(curves):
    """curves: {model: [(false positive rate, true positive rate) of each seed]}; an undefined curve is empty."""
    height = 3.4 + 0.17 * math.ceil(len(curves) / LEGEND_COLUMNS)
    figure, (whole, low) = plt.subplots(1, 2, figsize=(style.WIDTH, height))
    chance = np.geomspace(SMALLEST_RATE, 1, 200)
    for axes in (whole, low):
        axes.plot(chance, chance, color=style.GREY, lw=0.8, ls=(0, (4, 3)))
        axes.set(ylim=(0, 1.01), xlabel="false alarms per silent millisecond")
    whole.text(0.52, 0.46, "chance", color=style.GREY, fontsize=8)
    for (model, seeds), colour in zip(curves.items(), style.colours(len(curves)), strict=True):
        label = f"{model}  {_area(seeds)}"
        for false_positive, true_positive in seeds:
            for axes in (whole, low):
                axes.plot(false_positive, true_positive, color=colour, label=label)
            label = None
    whole.set(xlim=(0, 1), ylabel="spikes found", aspect="equal")
    handles, labels = whole.get_legend_handles_labels()
    title = {"title": "area under the curve", "title_fontsize": 8, "alignment": "left"}
    figure.legend(handles, labels, loc="outside lower left", ncols=LEGEND_COLUMNS, **title)
    low.set(xscale="log", xlim=(SMALLEST_RATE, 1), box_aspect=1, yticklabels=[])
    return figure


def _area(seeds):
    areas = [np.trapezoid(found, alarms) for alarms, found in seeds if len(alarms)]
    return f"{np.mean(areas):.4f}" if areas else "undefined (no spikes)"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", help="predictions.npz of each fit, …/MODEL/seedN/predictions.npz")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    curves = {}
    for model, paths in style.by_model(arguments.predictions).items():
        for path in paths:
            with np.load(path) as arrays:
                curve = (arrays["roc_false_positive"], arrays["roc_true_positive"])
            curves.setdefault(model, []).append(curve)
    style.save(draw(curves), arguments.out)


if __name__ == "__main__":
    main()
