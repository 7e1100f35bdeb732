"""The time constants that networks of current-based neurons learn, beside what is physiological."""

import argparse
from pathlib import Path

import numpy as np
import yaml
from matplotlib import pyplot as plt

from workflow.figures import style
from workflow.tables.working_memory import time_constants

PHYSIOLOGICAL_MS = 50


def draw(paths):
    """paths: of model.safetensors of fits, beside their config.yaml."""
    figure, axes = plt.subplots(1, 2, figsize=(style.WIDTH, 2.6), sharey=True)
    groups = style.by_model(paths)
    for (name, fits), colour in zip(groups.items(), style.colours(len(groups)), strict=True):
        taus = {"tau_m": [], "tau_s": []}
        for path in fits:
            settings = yaml.safe_load((Path(path).parent / "config.yaml").read_text())["model_settings"]
            for layer in time_constants(Path(path).parent, settings).values():
                for tau, values in layer.items():
                    taus[tau].append(values)
        for panel, values in zip(axes, taus.values(), strict=True):
            values = np.sort(np.concatenate(values))
            panel.plot(values, np.arange(1, len(values) + 1) / len(values), lw=1, color=colour, label=name)
    for panel, title in zip(axes, ("membrane", "synapse"), strict=True):
        panel.axvline(PHYSIOLOGICAL_MS, color=style.GREY, lw=0.6)
        panel.set(xscale="log", xlabel="time constant, ms", title=title)
    axes[0].set(ylabel="share of neurons below")
    axes[1].legend(fontsize=6)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("weights", nargs="+", help="model.safetensors of fits, …/FIT/seedN/")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(arguments.weights), arguments.out)


if __name__ == "__main__":
    main()
