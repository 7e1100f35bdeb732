"""Validation loss against CPU time: one equation file fitted with and without gradients, and neurons beside it."""

import argparse

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt

from workflow.figures import style


def course(history):
    """(CPU s, lowest validation loss so far) of a history, where it was validated."""
    validated = history.dropna(subset="valid_loss")
    return validated["cpu_s"].to_numpy(), np.minimum.accumulate(validated["valid_loss"].to_numpy())


def draw(histories):
    """histories: {fit: [table of each seed]}; a search's tables have generations, a descent's have steps."""
    figure, axes = plt.subplots(figsize=(style.WIDTH, 3.2))
    for (name, seeds), colour in zip(histories.items(), style.colours(len(histories)), strict=True):
        for seed, history in enumerate(seeds):
            evolved = "generation" in history
            x, y = course(history)
            axes.plot(x, y, "-o" if evolved else ":s", ms=2.5, color=colour, label=None if seed else name)
    axes.set(xscale="log", yscale="log", xlabel="CPU time of the fit (s)", ylabel="lowest validation loss so far")
    axes.minorticks_on()
    axes.legend(title="without gradients (solid), with (dotted)", title_fontsize=7, ncols=2, fontsize=7)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("histories", nargs="+", help="…/FIT/seedN/history.csv")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    histories = {
        name: [pd.read_csv(path) for path in paths] for name, paths in style.by_model(arguments.histories).items()
    }
    style.save(draw(histories), arguments.out)


if __name__ == "__main__":
    main()
