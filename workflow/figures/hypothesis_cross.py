"""The neuron fitted to one hypothesis, tested on another, as two matrices."""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from workflow.figures import style

PANELS = (("auc", "AUC of the spikes", "viridis", ".3f"), ("voltage_rmse_mV", "voltage RMSE (mV)", "viridis_r", ".2f"))


def draw(cross):
    """cross: of workflow.tables.hypotheses."""
    names = cross["names"]
    figure, panels = plt.subplots(1, 2, figsize=(style.WIDTH, 1.6 + 0.25 * max(4, len(names))), sharey=True)
    for axes, (score, title, colours, digits) in zip(panels, PANELS, strict=True):
        values = np.array(cross[score], float).reshape(len(names), len(names))
        axes.set_title(title)
        axes.set(xlabel="tested on", xticks=range(len(names)), yticks=range(len(names)))
        axes.set_xticklabels(names, rotation=45, ha="right", fontsize=7)
        axes.set_yticklabels(names, fontsize=7)
        if np.isfinite(values).any():
            image = axes.imshow(values, cmap=colours)
            figure.colorbar(image, ax=axes, shrink=0.8)
            for (row, column), value in np.ndenumerate(values):
                if np.isfinite(value):
                    dark = image.norm(value) < 0.5
                    colour = "white" if dark == (colours == "viridis") else "black"
                    axes.text(column, row, f"{value:{digits}}", ha="center", va="center", fontsize=6, color=colour)
    panels[0].set(ylabel="fitted to")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON of workflow.tables.hypotheses")
    parser.add_argument("--shards", nargs="+", help="not needed here; every figure of the study is given them")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(json.loads(arguments.table.read_text())["cross"]), arguments.out)


if __name__ == "__main__":
    main()
