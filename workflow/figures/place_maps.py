"""Rate maps of the neurons with the highest place-cell scores: attention's of the reference, all feed-forward ones."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from sims.analysis.place_cells import CONVENTIONS
from workflow.figures import style

SHOWN = 12


def draw(found, reference):
    """found: {fit: arrays of its evaluation}.  reference: the fit whose attention neurons are drawn."""
    lines = [
        (f"{fit}, {kind}, {convention}", arrays[f"{kind}_{convention}_map"], arrays[f"{kind}_{convention}_shown"])
        for convention in CONVENTIONS
        for fit, arrays in found.items()
        for kind in (("ffn", "attention") if fit == reference else ("ffn",))
    ]
    size = style.WIDTH / (SHOWN + 3)
    figure, panels = plt.subplots(len(lines), SHOWN, figsize=(style.WIDTH, 1.25 * size * len(lines)), squeeze=False)
    for row, (label, maps, scores) in zip(panels, lines, strict=True):
        # From high to low over all that there are.
        chosen = np.linspace(0, len(maps) - 1, SHOWN).astype(int)
        for axes, index in zip(row, chosen, strict=True):
            axes.imshow(maps[index], cmap="viridis", vmin=0)
            axes.set_title("–" if np.isnan(scores[index]) else f"{scores[index]:.2f}", fontsize=5, pad=1)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(label.replace(", ", "\n"), fontsize=5, rotation=0, ha="right", va="center")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="+", help="…/FIT/seedN/predictions.npz, the first seed of each fit")
    parser.add_argument("--reference", required=True, help="the fit whose attention neurons are drawn too")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    found = {Path(path).parent.parent.name: np.load(path) for path in arguments.predictions}
    style.save(draw(found, arguments.reference), arguments.out)


if __name__ == "__main__":
    main()
