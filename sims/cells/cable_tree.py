"""The tree of nodes between which axial current flows: a morphology, cut into compartments as NEURON cuts it.

A section of n segments has a node at the centre of each and, where other sections grow from its end, one of no area
there. Neighbouring nodes are joined by the cytoplasm between them. Ends from which nothing grows need no node: no
current flows through them.
"""

from dataclasses import dataclass

import numpy as np

from sims.cells import morphology
from sims.cells.morphology import segments_per_section

UNIT_RESISTIVITY = 100.0  # ohm cm, of the probe with which NEURON is asked for the geometry


@dataclass(frozen=True)
class CableTree:
    """Nodes by their depth in the tree, so that parents precede children; node 0 is the soma's first segment.

    Neighbours in this order lie on different branches, and elimination need not wait for one to go on with the next.

    parent: int32 [nodes], -1 for the root.  axial: float64 [nodes], ∫dx/A of the cytoplasm to the parent, 1/cm; a
    resistance once multiplied by a resistivity (ohm cm).  section: int32 [nodes], whose resistivity holds on the way
    to the parent.  node: int32 [segments], the node of each segment of the morphology's table.
    """

    parent: np.ndarray
    axial: np.ndarray
    section: np.ndarray
    node: np.ndarray

    def __len__(self):
        return len(self.parent)


def cable_tree(tree):
    """The CableTree of a Morphology.  Geometry as NEURON measures it from the 3-D points."""
    live = morphology.build(tree)
    for section in live:
        section.Ra = UNIT_RESISTIVITY
    counts = [segments_per_section(section.L) for section in live]
    first_segment = np.concatenate([[0], np.cumsum(counts)])
    children = [[] for _ in live]
    for i, section in enumerate(tree.sections):
        if section.parent >= 0:
            children[section.parent].append(i)
    parent, axial, owner = [], [], []
    node = np.empty(first_segment[-1], np.int32)

    def add(above, segment, section):
        parent.append(above)
        axial.append(segment.ri() * 1e6 / UNIT_RESISTIVITY if above >= 0 else 0.0)
        owner.append(section)
        return len(parent) - 1

    def joint(x, i, start, end):
        """The node of section i from which a child at x grows; start, end: its neighbours on either side."""
        if x == 1:
            return add(end, live[i](1), i)
        if x > 0:
            return node[first_segment[i] + int(x * counts[i])]
        # The root's own start hangs on its first node by half a segment of cytoplasm.
        return start if start >= 0 else add(node[first_segment[i]], live[i](0.5 / counts[i]), i)

    (root,) = (i for i, section in enumerate(tree.sections) if section.parent < 0)
    waiting = [(root, -1)]
    while waiting:
        i, start = waiting.pop()
        above = start
        for n, segment in enumerate(live[i]):
            above = node[first_segment[i] + n] = add(above, segment, i)
        places = {tree.sections[child].parent_x for child in children[i]}
        joints = {x: joint(x, i, start, above) for x in sorted(places)}
        waiting += [(child, joints[tree.sections[child].parent_x]) for child in reversed(children[i])]
    depth = np.zeros(len(parent), int)
    for i in range(1, len(parent)):
        depth[i] = depth[parent[i]] + 1
    order = np.argsort(depth, kind="stable")
    place = np.argsort(order).astype(np.int32)
    parent = np.append(place, np.int32(-1))[np.array(parent)[order]]
    return CableTree(parent, np.array(axial)[order], np.array(owner, np.int32)[order], place[node])
