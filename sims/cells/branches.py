"""Random binary trees of dendrites whose lengths are fitted to totals."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from sims.cells.morphology import SEGMENT_LENGTH

SHORTEST = 2.0  # µm
LENGTH_MARGIN = 0.5  # µm that a length keeps from the next number of segments
TIPS_ARE_LONGER = 0.7  # how much rather a tip gets a long section, on a scale where 1 makes it certain


@dataclass(eq=False)
class Branch:
    """A section while it is being drawn: its kind, the number of tips it feeds, its lengths and diameters (µm)."""

    kind: str
    tips: int
    children: list = field(default_factory=list)
    length: float = 0.0
    start: float = 0.0  # path from the middle of the soma
    parent: "Branch | None" = None
    places: np.ndarray | None = None  # of its points, µm from its start
    diameters: np.ndarray | None = None  # at its points

    def subtree(self):
        """This branch and all that grows from it, in the order of the file."""
        yield self
        for child in self.children:
            yield from child.subtree()

    def place(self, start):
        """Set the path distances of the subtree."""
        self.start = start
        for child in self.children:
            child.place(start + self.length)


def shares(rng, total, parts):
    """Split a number of tips among trees, at least one each."""
    return 1 + rng.multinomial(total - parts, np.full(parts, 1 / parts))


def drawn_tree(rng, kind, tips):
    """A binary tree in which every split of the tips is equally likely."""
    if tips == 1:
        return Branch(kind, 1)
    left = int(rng.integers(1, tips))
    return Branch(kind, tips, [drawn_tree(rng, kind, left), drawn_tree(rng, kind, tips - left)])


def lateral_area(branch, start=0.0, end=np.inf):
    """Area (µm²) of a branch between two places on it, as NEURON measures it: cones between the points."""
    inside = branch.places[(start < branch.places) & (branch.places < end)]
    places = np.concatenate([[start], inside, [min(end, branch.length)]])
    d = np.interp(places, branch.places, branch.diameters)
    return float(np.sum(np.pi / 2 * (d[1:] + d[:-1]) * np.hypot(np.diff(places), np.diff(d) / 2)))


def deal_lengths(rng, trees, sections, total, reach=None):
    """Give every branch that has no length one, the longer ones rather to tips.

    sections: {number of segments: number of sections}.  total: sum of the lengths dealt, µm.
    reach: the longest path from the trees' start to a tip, µm, if it matters.
    Returns whether it was possible: sum and reach are met, and every section has the segments it was dealt.
    """
    branches = [branch for tree in trees for branch in tree.subtree() if not branch.length]
    eager = rng.random(len(branches)) + TIPS_ARE_LONGER * np.array([not branch.children for branch in branches])
    segments = np.empty(len(branches), int)
    segments[np.argsort(eager)] = np.sort(np.repeat(list(sections), list(sections.values())))
    low = np.maximum((segments - 1) / 2 * SEGMENT_LENGTH + LENGTH_MARGIN, SHORTEST)
    high = (segments + 1) / 2 * SEGMENT_LENGTH - LENGTH_MARGIN
    draws = rng.random(len(branches))
    farthest = None

    def lengths(bend):
        bent = low + (high - low) * draws**bend
        if farthest is not None:
            bent[farthest] = branches[farthest].length
        return bent

    def excess(bend):
        return lengths(bend).sum() - total

    # Bending the draws meets the sum but moves the tips; stretching the farthest tip meets the reach but moves the sum.
    for _ in range(30):
        if excess(0.4) * excess(2.5) > 0:
            return False
        for branch, length in zip(branches, lengths(brentq(excess, 0.4, 2.5, xtol=1e-13)), strict=True):
            branch.length = float(length)
        for tree in trees:
            tree.place(0.0)
        if reach is None:
            return True
        tip = int(np.argmax([branch.start + branch.length for branch in branches]))
        missing = reach - branches[tip].start - branches[tip].length
        if abs(missing) < 1e-6:
            return bool(low[tip] <= branches[tip].length <= high[tip])
        if farthest not in (None, tip):
            return False
        farthest = tip
        branches[tip].length += missing
    return False
