"""A stylised thick-tufted layer-5 pyramidal cell: python -m sims.cells.stylised OUT.swc [--seed N].

The tree is drawn by rule, not traced: random binary trees for the basal dendrites, the obliques along a tapering trunk
and three tuft branches, whose diameters follow a power of the number of tips they feed (Rall 1959: 2/3). Lengths and
diameters are then fitted to the table of the published cell (Hay et al. 2011), so that both have the same segments,
channels, path lengths and areas, and nearly the same electrotonic structure.
"""

import argparse
import itertools
import os
from pathlib import Path

import numpy as np
from scipy.optimize import brentq

from sims.cells.branches import Branch, deal_lengths, drawn_tree, lateral_area, shares
from sims.cells.morphology import NEXUS_DISTANCE, segments_per_section

# The published cell's table (Hay et al. 2011, measured in NEURON): µm and µm².
SOMA_LENGTH, SOMA_DIAMETER, SOMA_AREA = 23.1694, 13.4715, 1131.39
BASAL_LENGTH, BASAL_AREA, BASAL_REACH = 5133.492, 8862.96, 293.711
APICAL_LENGTH, APICAL_REACH = 7440.906, 1312.118
OBLIQUE_LENGTH, OBLIQUE_AREA, TRUNK_AREA, TUFT_AREA = 3246.43, 6968.33, 5773.84, 8267.16
HOT_ZONE, HOT_SEGMENTS, HOT_AREA = (685.0, 885.0), 29, 2437.74  # distances from the start of the apical dendrite
LATE_OBLIQUE_SEGMENTS = 80  # obliques that come after the tuft in the order of the channels

# Sections by their number of segments.
BASAL_SECTIONS = {1: 41, 3: 15, 5: 14, 7: 10, 9: 4}
TRUNK_SECTIONS = {1: 3, 3: 6}  # below the obliques' last branch point; above it one section of 13
OBLIQUE_SECTIONS = {1: 32, 3: 8, 5: 9, 7: 5, 9: 3}
# Besides the three primary branches and the piece that two of them share.
TUFT_SECTIONS = {1: 16, 3: 7, 5: 6, 7: 4, 9: 4, 11: 1}
BASAL_TREES, BASAL_TIPS = 8, 46
OBLIQUE_TREES, OBLIQUE_TIPS = 9, 33
TUFT_TIPS = 22

SEED = 1
STEP = 8.0  # µm between the points of a section, at most
SOMA_POINTS = 21
RALL, OBLIQUE_EXPONENT = 2 / 3, 0.35  # diameter ~ tips**exponent; obliques hardly taper
INNER_TAPER, TIP_TAPER = (1.08, 0.92), (1.5, 0.4)  # diameter at a section's two ends over its mean
UP = np.array([0.0, 1.0, 0.0])
GOLDEN_ANGLE = np.radians(137.508)  # between successive basal trees, so that they lie on all sides
FLATNESS = 0.5  # of the arbour across the plane of the drawing
# Parent and child: the angle between them in degrees, mean and deviation.
FORK_ANGLES = {
    ("basal", "basal"): (32, 8),
    ("trunk", "trunk"): (3, 2),
    ("trunk", "oblique"): (65, 10),
    ("oblique", "oblique"): (30, 8),
    ("trunk", "tuft"): (20, 4),
    ("tuft", "tuft"): (24, 7),
}
# How much a step turns at random, upwards and outwards.
WANDERING = {
    "basal": (0.12, 0.0, 0.04),
    "trunk": (0.03, 0.05, 0.0),
    "oblique": (0.1, 0.02, 0.05),
    "tuft": (0.1, 0.06, 0.02),
}
SWC_TYPE = {"basal": 3, "trunk": 4, "oblique": 4, "tuft": 4}


def stylised_cell(seed):
    """Draw the cell.

    seed: a whole number from 0 up; the same one gives the same text.   Returns the content of an SWC file.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    basal = drawn_basal(rng)
    trunk = drawn_apical(rng)
    scale_diameters(basal, trunk)
    return written(rng, basal, trunk, seed)


def drawn_basal(rng):
    """Eight binary trees with the table's sections, total length and reach."""
    while True:
        trees = [drawn_tree(rng, "basal", tips) for tips in shares(rng, BASAL_TIPS, BASAL_TREES)]
        if deal_lengths(rng, trees, BASAL_SECTIONS, BASAL_LENGTH, BASAL_REACH - SOMA_LENGTH / 2):
            return trees


def drawn_apical(rng):
    """Trunk, obliques and tuft with the table's sections, lengths, reach and calcium hot zone.

    The trunk forks about 50 µm below the nexus, and one of the two daughters forks again just above it; three primary
    branches run through the hot zone. Obliques leave the trunk at its branch points below the fork.
    """
    shared = rng.uniform(50, 70)
    # The centre of the last of the shared piece's three segments is the nexus.
    trunk_length = NEXUS_DISTANCE - SOMA_LENGTH / 2 - shared * 5 / 6
    trunk = drawn_trunk(rng, trunk_length)
    tuft = drawn_tuft(rng, trunk_length, shared, APICAL_LENGTH - OBLIQUE_LENGTH - trunk_length)
    early, late = drawn_obliques(rng)
    return joined(rng, trunk, tuft, early, late)


def drawn_trunk(rng, length):
    """Ten sections in a row; the last, above all obliques, takes two fifths of the length."""
    while True:
        last = Branch("trunk", 1, length=rng.uniform(242, 278))
        rest = [Branch("trunk", 1) for _ in range(sum(TRUNK_SECTIONS.values()))]
        if deal_lengths(rng, rest, TRUNK_SECTIONS, length - last.length):
            return [*rest, last]


def drawn_tuft(rng, fork, shared, length):
    """The two branches at the trunk's end: one primary branch, and a short piece that forks into the other two."""
    while True:
        primary = [drawn_tree(rng, "tuft", 4 + extra) for extra in shares(rng, TUFT_TIPS - 12, 3)]
        for branch, (low, high) in zip(primary, ((242, 278), (202, 238), (202, 238)), strict=True):
            branch.length = rng.uniform(low, high)
        piece = Branch("tuft", primary[1].tips + primary[2].tips, primary[1:], shared)
        tuft = Branch("trunk", TUFT_TIPS, [primary[0], piece], fork)
        rest = length - shared - sum(branch.length for branch in primary)
        if (
            deal_lengths(rng, [tuft], TUFT_SECTIONS, rest, APICAL_REACH - SOMA_LENGTH / 2)
            and hot_zone(tuft)[0] == HOT_SEGMENTS
        ):
            return tuft.children


def drawn_obliques(rng):
    """Nine binary trees, in two sets: those before the tuft in the order of the channels, and those after it."""
    while True:
        trees = [drawn_tree(rng, "oblique", tips) for tips in shares(rng, OBLIQUE_TIPS, OBLIQUE_TREES)]
        if not deal_lengths(rng, trees, OBLIQUE_SECTIONS, OBLIQUE_LENGTH):
            continue
        segments = [sum(segments_per_section(branch.length) for branch in tree.subtree()) for tree in trees]
        for count in (4, 6):
            for late in itertools.combinations(range(OBLIQUE_TREES), count):
                if sum(segments[i] for i in late) == LATE_OBLIQUE_SEGMENTS:
                    return [t for i, t in enumerate(trees) if i not in late], [trees[i] for i in late]


def joined(rng, trunk, tuft, early, late):
    """Hang the obliques on the trunk's branch points and the tuft on its end; returns the trunk's first section."""
    obliques = [(tree, True) for tree in early] + [(tree, False) for tree in late]
    order = rng.permutation(len(obliques))
    for section, following, i in zip(trunk, trunk[1:], order, strict=False):
        tree, before = obliques[i]
        section.children = [tree, following] if before else [following, tree]
    trunk[-1].children = tuft
    trunk[0].place(0.0)
    return trunk[0]


def hot_zone(apical):
    """Number and area (µm²) of the segments in the calcium hot zone, by the published rule: the last one by its end."""
    count, area = 0, 0.0
    for branch in apical.subtree():
        segments = segments_per_section(branch.length)
        edges = branch.length * np.arange(segments + 1) / segments
        places = branch.start + (edges[:-1] + edges[1:]) / 2
        places[-1] = branch.start + branch.length
        for i in np.flatnonzero((HOT_ZONE[0] < places) & (places < HOT_ZONE[1])):
            count += 1
            area += lateral_area(branch, edges[i], edges[i + 1]) if branch.places is not None else 0.0
    return count, area


def scale_diameters(basal, trunk):
    """Set every diameter: the trunk's by distance, the trees' by the tips they feed, each group scaled to its area.

    The tuft's exponent is the one that gives the hot zone its area.
    """
    apical = list(trunk.subtree())

    def fit(branches, area, exponent):
        def excess(scale):
            for branch in branches:
                set_diameters(branch, scale, exponent)
            return sum(map(lateral_area, branches)) - area

        excess(brentq(excess, 0.05, 10.0, xtol=1e-10))

    def of(kind):
        return [branch for branch in apical if branch.kind == kind]

    def hot_excess(exponent):
        fit(of("tuft"), TUFT_AREA, exponent)
        return hot_zone(trunk)[1] - HOT_AREA

    for branch in [*apical, *(b for tree in basal for b in tree.subtree())]:
        first = min(STEP, branch.length / 2) if branch.kind == "trunk" else min(1.0, branch.length / 4)
        steps = int(np.ceil((branch.length - first) / STEP))
        branch.places = np.concatenate([[0.0], np.linspace(first, branch.length, steps + 1)])
        for child in branch.children:
            child.parent = branch
    fit([b for tree in basal for b in tree.subtree()], BASAL_AREA, RALL)
    fit(of("trunk"), TRUNK_AREA, None)
    fit(of("oblique"), OBLIQUE_AREA, OBLIQUE_EXPONENT)
    hot_excess(brentq(hot_excess, 0.0, 1.5, xtol=1e-10))


def set_diameters(branch, scale, exponent):
    """Diameters of a branch at its points: its parent's at its start, its own from a micrometre on."""
    if branch.kind == "trunk":
        path = branch.start + branch.places
        branch.diameters = scale * (3.3 - path / 900 + 6.0 * np.exp(-path / 12))
        return
    ends = INNER_TAPER if branch.children else TIP_TAPER
    branch.diameters = scale * branch.tips**exponent * np.interp(branch.places, [0.0, branch.length], ends)
    if branch.parent is not None:
        branch.diameters[0] = branch.parent.diameters[-1]


def soma_points():
    """A spindle along y with the table's length, mean diameter and area: [n, 4] x, y, z, diameter; its middle is 0."""
    place = np.linspace(-1, 1, SOMA_POINTS)
    parabola = 1 - place**2
    soma = Branch("soma", 0, length=SOMA_LENGTH, places=(place + 1) / 2 * SOMA_LENGTH)

    def excess(end):
        height = (SOMA_DIAMETER - end) / np.mean((parabola[1:] + parabola[:-1]) / 2)
        soma.diameters = end + height * parabola
        return lateral_area(soma) - SOMA_AREA

    excess(brentq(excess, 1.0, 8.0, xtol=1e-12))
    return np.stack([0 * place, place * SOMA_LENGTH / 2, 0 * place, soma.diameters], axis=1)


def written(rng, basal, trunk, seed):
    """The SWC text of the cell: points laid out in space, every step exactly as long as on the branch."""
    lines = [
        f"# Stylised layer-5 pyramidal cell, made by python -m sims.cells.stylised --seed {seed}",
        "# id type(1 soma, 3 basal, 4 apical) x y z radius parent; micrometres",
    ]

    def point(kind, position, diameter, parent):
        number = len(lines) - 1
        x, y, z = np.round(position, 4) + 0.0  # adding zero turns -0 into 0
        lines.append(f"{number} {kind} {x:.4f} {y:.4f} {z:.4f} {diameter / 2:.5f} {parent}")
        return number

    def grow(branch, position, direction, parent):
        if parent == middle:
            parent = point(SWC_TYPE[branch.kind], position, branch.diameters[0], middle)
        for step, diameter in zip(np.diff(branch.places), branch.diameters[1:], strict=True):
            direction = bent(rng, branch.kind, position, direction)
            position = position + step * direction
            parent = point(SWC_TYPE[branch.kind], position, diameter, parent)
        for child, heading in zip(branch.children, fork(rng, branch, direction), strict=True):
            grow(child, position, heading, parent)

    soma = soma_points()
    for n, (*position, diameter) in enumerate(soma):
        point(1, position, diameter, n or -1)
    middle = len(soma) // 2 + 1
    azimuths = rng.uniform(0, 2 * np.pi) + np.arange(len(basal)) * GOLDEN_ANGLE
    for tree, azimuth in zip(basal, azimuths, strict=True):
        polar = np.radians(rng.uniform(30, 110))  # from straight down
        heading = np.array([np.sin(polar) * np.cos(azimuth), -np.cos(polar), np.sin(polar) * np.sin(azimuth)])
        grow(tree, SOMA_DIAMETER / 2 * heading, heading, middle)
    grow(trunk, np.array([0.0, SOMA_LENGTH / 2, 0.0]), UP, middle)
    return "\n".join(lines) + "\n"


def fork(rng, branch, direction):
    """Directions of a branch's two children: to either side of its own, in a random plane."""
    side = perpendicular(rng, direction)
    headings = []
    for child, sign in zip(branch.children, (1, -1), strict=False):
        angle = np.radians(rng.normal(*FORK_ANGLES[branch.kind, child.kind]))
        headings.append(np.cos(angle) * direction + sign * np.sin(angle) * side)
    return headings


def bent(rng, kind, position, direction):
    """The next step's direction: wandering, drawn upwards and away from the trunk (basal dendrites: from the soma)."""
    outward = unit(position * (1.0, 1.0 if kind == "basal" else 0.0, 1.0))
    wander, up, out = WANDERING[kind]
    return unit(direction + wander * rng.normal(size=3) * (1.0, 1.0, FLATNESS) + up * UP + out * outward)


def perpendicular(rng, direction):
    """A random direction across another, rather in the plane of the drawing (x, y)."""
    across = rng.normal(size=3) * (1.0, 1.0, FLATNESS)
    return unit(across - across @ direction * direction)


def unit(vector):
    return vector / max(np.linalg.norm(vector), 1e-9)


def main():
    parser = argparse.ArgumentParser(prog="python -m sims.cells.stylised", description=__doc__.partition("\n\n")[2])
    parser.add_argument("out", type=Path, metavar="OUT.swc")
    parser.add_argument(
        "--seed", type=int, default=SEED, help="another cell with the same table (default: %(default)s)"
    )
    arguments = parser.parse_args()
    if arguments.seed < 0:
        parser.error(f"--seed {arguments.seed}: expected a whole number from 0 up")
    text = stylised_cell(arguments.seed)
    unfinished = arguments.out.with_name(arguments.out.name + ".part")
    try:
        unfinished.write_text(text, encoding="ascii", newline="\n")
        os.replace(unfinished, arguments.out)
    except OSError as error:
        parser.error(f"{arguments.out} cannot be written: {error.strerror}")


if __name__ == "__main__":
    main()
