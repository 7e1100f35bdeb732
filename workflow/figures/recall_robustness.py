"""What recall withstands: spikes of the cue that moved or are missing, silenced neurons, noise while it runs."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from fitting.tasks.recall import PERTURBATIONS
from workflow.figures import style

LABELS = {
    "moved": "cue's spikes moved",
    "cut": "cue left out at its end",
    "silenced": "neurons silenced",
    "noise": "noise in the free run",
}


def draw(found):
    """found: {fit: arrays of its evaluation}."""
    figure, panels = plt.subplots(1, len(PERTURBATIONS), figsize=(style.WIDTH, 2.3), sharey=True)
    for panel, name in zip(panels, PERTURBATIONS, strict=True):
        for (fit, arrays), colour in zip(found.items(), style.colours(len(found)), strict=True):
            panel.plot(arrays[f"{name}_amount"], arrays[f"{name}_f1"], "o-", ms=3, color=colour, label=fit)
        panel.set(xlabel=LABELS[name], ylim=(-0.03, 1.03))
        if name == "noise":
            panel.set_xscale("symlog", linthresh=PERTURBATIONS[name][1])
            panel.set_xlim(-PERTURBATIONS[name][1] / 10, 1.5 * PERTURBATIONS[name][-1])
    panels[0].set_ylabel("F1")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=7, loc="outside upper center", ncols=6)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", help="…/FIT/seedN/predictions.npz, the first seed of each fit")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    found = {Path(path).parent.parent.name: np.load(path) for path in arguments.predictions}
    style.save(draw(found), arguments.out)


if __name__ == "__main__":
    main()
