"""The cell: a projection of its tree, lines as wide as the dendrites, with the nexus and the calcium hot zone."""

import argparse

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from sims.cells import l5pc, morphology
from workflow.figures import style

COLOURS = {"basal": style.BLUE, "apical": style.GREY, "axon": style.GREEN}
HOT_CHANNEL = "Ca_LVAst"
SCALE_BAR = 100  # µm


def draw(tree, hot):
    """tree: a Morphology.  hot: {section index: [(start, end), …]}, fractions of the section inside the hot zone."""
    left, bottom, right, top = extent(tree)
    height, margin = 6.5, 0.22 * (top - bottom)  # inches; µm for the legend, to the right of the trunk
    figure, axes = plt.subplots(figsize=(height * (right - left + margin) / (top - bottom), height))
    for index, section in enumerate(tree.sections):
        if section.region == "soma":
            soma(axes, section)
            continue
        lines(axes, section.points, COLOURS[section.region], zorder=2)
        for start, end in hot.get(index, []):
            lines(axes, between(section.points, start, end), style.ORANGE, zorder=3)
    nexus = morphology.nexus(tree)
    x, y = between(tree.sections[nexus.section].points, nexus.x, nexus.x)[0, :2]
    axes.plot(x, y, "o", ms=7, mfc="white", mec=style.VERMILLION, mew=1.8, zorder=5)
    axes.annotate("nexus", (x, y), (10, 0), textcoords="offset points", va="center", color=style.VERMILLION)

    scale_bar(axes, tree)
    names = {"apical": "apical dendrite", "basal": "basal dendrites", "axon": "axon (stub)"}
    handles = [
        Line2D([], [], color=COLOURS[region], lw=2, label=name) for region, name in names.items() if tree.of(region)
    ]
    if hot:
        handles.insert(1, Line2D([], [], color=style.ORANGE, lw=2, label="calcium hot zone"))
    handles.append(Line2D([], [], color=style.BLACK, marker="o", lw=0, ms=6, label="soma"))
    axes.legend(handles=handles, loc="center right", bbox_to_anchor=(1, 0.56), handlelength=1.2)
    axes.set(aspect="equal", xlim=(left - 20, right + margin), ylim=(bottom - 95, top + 20))
    axes.axis("off")
    return figure


def hot_zone(cell, tree):
    """Where the calcium channel is dense: {section index: [(start, end), …]}, at more than half its largest density.

    cell: a Cell.  Empty where the cell has no such channel, or the same everywhere.
    """
    segments = morphology.segments(tree)
    placed = cell.placements(segments).get(HOT_CHANNEL)
    if placed is None or "gbar" not in placed.values:
        return {}
    density = np.zeros(len(segments))
    density[placed.segments] = placed.values["gbar"]
    density[segments.region != "apical"] = 0
    hot = {}
    if density.max() > 0 and (density[segments.region == "apical"] < density.max() / 2).any():
        for segment in np.flatnonzero(density > density.max() / 2):
            section, centre = int(segments.section[segment]), segments.x[segment]
            half = 0.5 / np.count_nonzero(segments.section == section)
            hot.setdefault(section, []).append((centre - half, centre + half))
    return hot


def extent(tree):
    """(left, bottom, right, top) of a Morphology's projection, µm."""
    everything = np.concatenate([section.points[:, :2] for section in tree.sections])
    return *everything.min(axis=0), *everything.max(axis=0)


def scale_bar(axes, tree):
    """A bar of SCALE_BAR below a Morphology, to the left."""
    left, bottom, right, _ = extent(tree)
    bar = left + 0.02 * (right - left)
    axes.plot([bar, bar + SCALE_BAR], [bottom - 40] * 2, color=style.BLACK, lw=2, solid_capstyle="butt")
    axes.text(bar + SCALE_BAR / 2, bottom - 50, f"{SCALE_BAR} µm", ha="center", va="top")


def soma(axes, section):
    """A disc as wide as the soma."""
    centre = section.points[:, :2].mean(axis=0)
    axes.add_patch(Circle(centre, section.points[:, 3].max() / 2, color=style.BLACK, lw=0, zorder=4))


def lines(axes, points, colour, zorder):
    """Pieces of a section as lines; a dendrite of 1 µm is 0.9 points wide, so that twigs stay visible."""
    pieces = np.stack([points[:-1, :2], points[1:, :2]], axis=1)
    width = 0.9 * np.clip((points[:-1, 3] + points[1:, 3]) / 2, 0.5, None)
    axes.add_collection(LineCollection(pieces, linewidths=width, colors=colour, capstyle="round", zorder=zorder))


def between(points, start, end):
    """The points of a section from one fraction of its length to another, interpolated at both ends."""
    along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points[:, :3], axis=0), axis=1))])
    along /= along[-1]
    inside = along[(along > start) & (along < end)]
    places = np.concatenate([[start], inside, [end]])
    return np.column_stack([np.interp(places, along, column) for column in points.T])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cell", help="stylised, cell1, or the path of a .asc or .swc file")
    parser.add_argument("equations", help="the cell's equation file, for the hot zone")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    tree = morphology.with_axon_stub(morphology.load(morphology.find(arguments.cell)))
    style.save(draw(tree, hot_zone(l5pc.read(arguments.equations), tree)), arguments.out)


if __name__ == "__main__":
    main()
