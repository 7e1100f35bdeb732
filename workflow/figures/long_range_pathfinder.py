"""A contact sheet of Pathfinder: eight images whose markers are on one snake, eight whose markers are on two."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from sims.stimuli import image_files
from workflow.figures import style

COLUMNS, SIZE = 8, 32


def draw(image, label):
    """image: uint8 [image, size, size].  label: 1 for one snake."""
    figure, panels = plt.subplots(2, COLUMNS, figsize=(style.WIDTH, 2.1))
    for row, kind, title in ((0, 1, "one snake"), (1, 0, "two snakes")):
        shown = np.flatnonzero(label == kind)[:COLUMNS]
        for panel in panels[row]:
            panel.axis("off")
        for panel, place in zip(panels[row], shown, strict=False):
            panel.imshow(image[place], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        panels[row][0].set_title(title, loc="left", fontsize=7)
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", type=Path, help="file of sims.stimuli.pathfinder")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(*image_files.read(arguments.images, SIZE)), arguments.out)


if __name__ == "__main__":
    main()
