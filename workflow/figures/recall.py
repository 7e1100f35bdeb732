"""What networks of delays recall: one pattern's spikes, and how recall goes on from the cue, for each way to learn."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from workflow.figures import style


def draw(found, shown):
    """found: {fit: arrays of its evaluation}.  shown: the fit whose raster is drawn."""
    figure, (raster, course) = plt.subplots(1, 2, figsize=(style.WIDTH, 2.8), width_ratios=(1.4, 1))
    arrays = found[shown]
    first = arrays["spike_trial"] == 0
    raster.plot(arrays["wanted_step"], arrays["wanted_neuron"], "o", ms=3.4, mfc="none", mec=style.GREY, mew=0.4)
    raster.plot(arrays["spike_step"][first], arrays["spike_neuron"][first], ".", ms=1.6, color=style.BLUE)
    start = arrays["wanted_step"].min()
    cue = start + arrays["course_step"][0]
    raster.axvspan(start, cue, color=style.ORANGE, alpha=0.25, lw=0)
    raster.set(xlabel="step", ylabel="neuron", title=f"{shown}, one pattern")
    for (name, arrays), colour in zip(found.items(), style.colours(len(found)), strict=True):
        scored = 2 / (1 / np.maximum(arrays["course_recall"], 1e-9) + 1 / arrays["course_precision"])
        course.plot(arrays["course_step"], np.nan_to_num(scored), color=colour, label=name)
    course.set(xlabel="step of the pattern", ylabel="F1", ylim=(-0.03, 1.03), title="from the cue on")
    figure.legend(*course.get_legend_handles_labels(), fontsize=7, loc="outside right center")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", help="…/FIT/seedN/predictions.npz, the first seed of each fit")
    parser.add_argument("--shown", required=True, help="the fit whose raster is drawn")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    found = {Path(path).parent.parent.name: dict(np.load(path)) for path in arguments.predictions}
    style.save(draw(found, arguments.shown), arguments.out)


if __name__ == "__main__":
    main()
