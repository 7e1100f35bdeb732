"""A morphology as Brian2 takes it, cut into the compartments that NEURON cuts.

Brian2 solves a tree of sections, each a row of compartments, that meet in nodes without area at their ends. Left to
itself it derives areas and axial conductances from one truncated cone a compartment, and lets branches grow from
ends, or from the middle of a soma, only. NEURON integrates area and ∫dx/A over all 3-D points inside a compartment.
Here every section of Brian2's is given NEURON's numbers (sims/cells/cable_tree.py):

* a row goes on until its compartment branches or ends in a node without area, which becomes the section's end;
* between neighbours in a row, half of the resistance lies on either side of their border: only the sum matters;
* where branches grow from the middle of a compartment, as all do from the soma's, the section ends in that middle. As
  in Brian2's own Soma, a resistance of 1 Ω stands for none: it is 1e-5 and less of a dendrite's.
* a node without area beside such branches becomes a compartment of 1e-6 µm².

Resistivities may differ between regions, and Brian2 has one: it is 1 Ω m, and the conductances contain the true one.
"""

import numpy as np
from brian2 import Section, meter

MIDDLE = 1.0  # m: with a resistivity of 1 Ω m, what leads from a compartment's middle to branches that grow there
VANISHING = 1e-18  # m²


class Compartments(Section):
    """A section of compartments whose area and axial conductances are given, whatever their shape.

    length, distance, area, towards_start, towards_end: [n], SI; distance is the path from the soma to the middle, the
    last two are conductances times the resistivity, m.
    """

    def __init__(self, length, distance, area, towards_start, towards_end):
        diameter = np.resize(area / (np.pi * length), len(length) + 1)  # Brian2 shows it and computes nothing from it
        super().__init__(diameter * meter, n=len(length), length=length * meter)
        self._given = {"distance": distance * meter, "area": area * meter**2}
        self._given |= {"r_length_1": towards_start * meter, "r_length_2": towards_end * meter}

    area = property(lambda self: self._given["area"])
    distance = property(lambda self: self._given["distance"])
    r_length_1 = property(lambda self: self._given["r_length_1"])
    r_length_2 = property(lambda self: self._given["r_length_2"])


def brian_tree(nodes, segments, resistivity):
    """A Brian2 Morphology.

    nodes: a CableTree.  segments: the Segments that it was cut into.  resistivity: [segments], Ω cm.
    Returns (morphology, node): node is int [compartments], the node of the tree that each compartment of Brian2's is,
    in Brian2's order.
    """
    of_section = np.zeros(nodes.section.max() + 1)
    of_section[segments.section] = resistivity
    conductance = 1 / (nodes.axial * of_section[nodes.section])[1:]  # to the parent
    conductance = np.append(conductance.max(), conductance)  # nothing flows beyond the root: any number will do
    length, distance = np.full((2, len(nodes)), np.nan)
    length[nodes.node], distance[nodes.node] = segments.length * 1e-6, segments.soma_distance * 1e-6
    area = np.full(len(nodes), VANISHING)
    area[nodes.node] = segments.area * 1e-12
    joint = np.ones(len(nodes), bool)
    joint[nodes.node] = False
    children = [[] for _ in range(len(nodes))]
    for node, parent in enumerate(nodes.parent[1:].tolist(), 1):
        children[parent].append(node)
    order = []

    def section(node):
        row = [node]
        while len(children[row[-1]]) == 1 and not joint[children[row[-1]][0]]:
            row += children[row[-1]]
        branches = children[row[-1]]
        if len(branches) > 1:
            end = MIDDLE
        elif branches:
            end, branches = conductance[branches[0]], children[branches[0]]
        else:
            end = conductance[row[-1]]  # nor beyond a tip
        order.extend(row)
        start = np.concatenate([conductance[row[:1]], 2 * conductance[row[1:]]])
        made = Compartments(length[row], distance[row], area[row], start, np.append(2 * conductance[row[1:]], end))
        for number, branch in enumerate(branches, 1):
            made.children.add(f"branch{number}", section(branch))
        return made

    return section(0), np.array(order)
