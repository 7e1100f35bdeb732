"""Where the input arrives: the mean rate of the excitatory and the inhibitory channel of every segment, on the tree."""

import argparse

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize

from sims import neuronio
from sims.cells import morphology
from workflow.figures import cell, style

SIGNS = {1: "excitatory", -1: "inhibitory"}
# Without the yellow end, which is lost on white.
COLOURS = LinearSegmentedColormap.from_list("rates", plt.colormaps["plasma"](np.linspace(0, 0.88, 256)))


def gather(paths, name, channels):
    """Mean rate of each channel over shards, [channel] Hz, and the channels' signs; one shard is in memory at a time.

    name, channels: of the morphology, the latter two for each dendritic segment.
    Raises ShardError where a shard is of another cell.
    """
    events, seconds = 0, 0
    for path in paths:
        shard = neuronio.read(path)
        if (shard.attributes["cell"], shard.channels) != (name, channels):
            found = f"{shard.channels} channels of the cell {shard.attributes['cell']}"
            raise neuronio.ShardError(f"{path}: found {found}, expected {channels} of {name}")
        events += np.bincount(shard.event_channel, minlength=channels)
        seconds += shard.simulations * shard.duration_ms / 1000
    return events / seconds, shard.sign


def draw(tree, segments, rate, sign):
    """tree: a Morphology.  segments: its Segments.  rate, sign: [channel], Hz and ±1."""
    left, bottom, right, top = cell.extent(tree)
    height = 5.5  # inches
    width = 2 * max(1.2, height * (right - left + 40) / (top - bottom + 115)) + 0.9
    figure, panels = plt.subplots(1, 2, figsize=(width, height))
    # The few shortest and longest segments would take most of the scale.
    low, high = np.percentile(rate, (1, 99))
    scale = ScalarMappable(Normalize(low, max(high, low + 1e-9)), COLOURS)
    for axes, (kind, name) in zip(panels, SIGNS.items(), strict=True):
        here = rate[sign == kind]
        for section in map(tree.sections.__getitem__, tree.of("soma")):
            cell.soma(axes, section)
        for segment, colour in zip(segments.dendritic, scale.to_rgba(here), strict=True):
            section, centre = int(segments.section[segment]), segments.x[segment]
            half = 0.5 / np.count_nonzero(segments.section == section)
            points = cell.between(tree.sections[section].points, centre - half, centre + half)
            cell.lines(axes, points, colour, zorder=2)
        axes.set_title(f"{name}\n{here.mean():.1f} Hz on average", loc="center")
        axes.set(aspect="equal", xlim=(left - 20, right + 20), ylim=(bottom - 95, top + 20))
        axes.axis("off")
    cell.scale_bar(panels[0], tree)
    figure.colorbar(scale, ax=panels, shrink=0.5, aspect=25, extend="both", label="mean rate of a channel (Hz)")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="stylised, cell1, or the path of a .asc or .swc file")
    parser.add_argument("shards", nargs="+", help="shards of one data set of this cell")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    tree = morphology.with_axon_stub(morphology.load(morphology.find(arguments.cell)))
    segments = morphology.segments(tree)
    rate, sign = gather(arguments.shards, tree.name, 2 * len(segments.dendritic))
    style.save(draw(tree, segments, rate, sign), arguments.out)


if __name__ == "__main__":
    main()
