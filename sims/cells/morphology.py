"""Morphologies: the tree of a neuron from a file, as plain arrays, as live NEURON sections and as a table of segments.

Source of the discretisation: Hay et al. 2011 (PLoS Comput Biol 7:e1002107), as run by Beniaguev, Segev & London 2021.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sims.cells.import3d import PROJECT, imported_sections
from sims.cells.morphology_text import SMALLEST_RADIUS, MorphologyError, checked_neurolucida, checked_swc

# Without this NEURON greets every machine that has no display.
os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")

MORPHOLOGIES = PROJECT / "data" / "morphologies"
CELL1_URL = "https://raw.githubusercontent.com/ModelDBRepository/139653/HEAD/morphologies/cell1.asc"
CELL1_SHA256 = "a8afc0925afec1dd9241528ee6ccfdcb1c321904d876835990592c2573567383"

REGIONS = {"soma": "soma", "dend": "basal", "apic": "apical", "axon": "axon"}  # Import3d's names of the four types
SEGMENT_LENGTH = 40.0  # µm; Hay et al.: one segment more on either side of the middle for every 40 µm
NEXUS_DISTANCE = 690.0  # µm of path from soma(0)
STUB_LENGTH, STUB_DIAMETER = 30.0, 1.0  # µm


@dataclass(frozen=True)
class Section:
    """An unbranched piece of a neuron.

    name: NEURON's, as "apic[50]".  region: soma, basal, apical or axon.  parent: index of the section it grows from in
    Morphology.sections, -1 for the root.  parent_x: where on the parent, 0 to 1.  points: float64 [n, 4], x, y, z and
    diameter in µm.
    """

    name: str
    region: str
    parent: int
    parent_x: float
    points: np.ndarray

    @property
    def length(self):
        """Length along the points, µm."""
        return float(np.linalg.norm(np.diff(self.points[:, :3], axis=0), axis=1).sum())


@dataclass(frozen=True)
class Morphology:
    """A neuron's tree.

    name: the file's stem.  sections: soma, dend[0..], apic[0..], axon[0..]; the soma is the root.
    """

    name: str
    sections: tuple[Section, ...]

    def of(self, region):
        """Indices of the sections of one region, in order."""
        return [i for i, section in enumerate(self.sections) if section.region == region]


class Location(NamedTuple):
    """A place on a morphology: section index, position along the section (0 to 1), and its name as "apic[50](0.9)"."""

    section: int
    x: float
    name: str


@dataclass(frozen=True)
class Segments:
    """Every segment of a morphology, in the order of its sections (soma, basal, apical, axon) and along each of them.

    section: int [n], index into Morphology.sections.  x: [n], centre along the section.  region: str [n].
    length, area: [n], µm and µm².  soma_distance: [n], path from soma(0) to the centre, µm.
    apical_distance: [n], path from apic[0](0) to the centre, µm.
    rule_distance: [n], the d of the published distance rules, µm: as apical_distance, but the last segment of every
    section takes the section's end, because the published assignment visits x = 1 last.
    reach: {"basal", "apical": longest path from soma(0) to a section's end, µm}.
    Source: Hay et al. 2011, as run by Beniaguev et al. 2021.
    """

    section: np.ndarray
    x: np.ndarray
    region: np.ndarray
    length: np.ndarray
    area: np.ndarray
    soma_distance: np.ndarray
    apical_distance: np.ndarray
    rule_distance: np.ndarray
    reach: dict[str, float]

    def __len__(self):
        return len(self.section)

    @cached_property
    def dendritic(self):
        """Indices of the segments that have synapses, in the order of the channels: basal, then apical (639 on cell1).

        The k-th of n holds the excitatory channel k and the inhibitory channel n + k.
        """
        return np.concatenate([np.flatnonzero(self.region == region) for region in ("basal", "apical")])


def find(cell):
    """The file of a cell.

    cell: "stylised" (the project's own), "cell1" (Hay et al. 2011: data/morphologies/, else the folder that
    DENDRITIC_DATA names, else a download from ModelDB 139653), or the path of a .asc or .swc file.   Returns a Path.
    Raises MorphologyError where there is no such file, the download fails, or cell1's checksum differs.
    """
    if str(cell) == "stylised":
        return _existing(MORPHOLOGIES / "l5_stylised.swc", "make it with python -m sims.cells.stylised")
    if str(cell) == "cell1":
        return _checked_cell1(_locate_cell1())
    return _existing(Path(cell), "expected stylised, cell1 or the path of a .asc or .swc file")


def load(path):
    """Read a Neurolucida (.asc) or SWC (.swc) file through NEURON's Import3d.

    path: the file.   Returns a Morphology; nothing stays in NEURON.
    Raises MorphologyError where the file is missing, is not a morphology, or is one that no cell can be built on.
    """
    path = _existing(Path(path), "expected the path of a .asc or .swc file")
    readers = {".asc": ("Import3d_Neurolucida3", _neurolucida_text), ".swc": ("Import3d_SWC_read", _swc_text)}
    if path.suffix.lower() not in readers:
        raise MorphologyError(f"{path}: the ending {path.suffix!r} is unknown, expected .asc (Neurolucida) or .swc")
    reader, checked = readers[path.suffix.lower()]
    try:
        text = checked(path.read_bytes().decode("latin-1"), path)
    except OSError as error:
        raise MorphologyError(f"{path}: cannot be read ({error.strerror})") from None
    found = imported_sections(reader, text, path)
    index = {name: i for i, (name, *_) in enumerate(found)}
    morphology = Morphology(path.stem, tuple(_section(*row, index) for row in found))
    _refuse_unusable(morphology, path)
    return morphology


def with_axon_stub(morphology):
    """The morphology with its axon replaced by two cylinders of 30 µm x 1 µm, the first at soma(0.5), pointing down.

    Raises MorphologyError where a dendrite grows from the axon.   Source: Hay et al. 2011.
    """
    kept = [i for i, section in enumerate(morphology.sections) if section.region != "axon"]
    place = {-1: -1} | {old: new for new, old in enumerate(kept)}
    for i in kept:
        section = morphology.sections[i]
        if section.parent not in place:
            raise MorphologyError(
                f"{morphology.name}: {section.name} grows from {morphology.sections[section.parent].name}, "
                "expected dendrites to grow from the soma or from dendrites, as the axon is replaced"
            )
    sections = [
        Section(s.name, s.region, place[s.parent], s.parent_x, s.points)
        for s in map(morphology.sections.__getitem__, kept)
    ]
    (soma,) = morphology.of("soma")
    points = morphology.sections[soma].points
    # Whole micrometres: NEURON stores single precision, and so the stub's lengths stay exact.
    x, y, z = np.round(points[len(points) // 2, :3])
    for n in range(2):
        top = y - n * STUB_LENGTH
        cylinder = np.array([[x, top, z, STUB_DIAMETER], [x, top - STUB_LENGTH, z, STUB_DIAMETER]])
        parent, parent_x = (place[soma], 0.5) if n == 0 else (len(sections) - 1, 1.0)
        sections.append(Section(f"axon[{n}]", "axon", parent, parent_x, cylinder))
    return Morphology(morphology.name, tuple(sections))


def segments_per_section(length):
    """Number of segments of a section of this length (µm): one, and two more for each full 40 µm; always odd."""
    return 1 + 2 * math.floor(length / SEGMENT_LENGTH)


def build(morphology):
    """Make the morphology in NEURON: named, connected, with nseg set, ready for mechanisms.

    Returns a list of live h.Section in the order of morphology.sections; NEURON forgets them when the list is dropped.
    """
    h = _neuron()
    live = [h.Section(name=section.name) for section in morphology.sections]
    for section, made in zip(morphology.sections, live, strict=True):
        if section.parent >= 0:
            made.connect(live[section.parent](section.parent_x), 0)
        for point in section.points:
            h.pt3dadd(*point, sec=made)
        made.nseg = segments_per_section(made.L)
    return live


def segments(morphology):
    """The table of a morphology's segments, measured by NEURON.

    Returns Segments (639 dendritic ones on cell1 and on the stylised cell; 642 in all with the axon's stub).
    Raises MorphologyError where there is no apical dendrite, whose start is the origin of the distance rules.
    """
    h = _neuron()
    apical = morphology.of("apical")
    if not apical:
        raise MorphologyError(
            f"{morphology.name}: no apical dendrite found, expected one (type 4 in SWC, Apical in Neurolucida)"
        )
    live = build(morphology)
    soma_start, apical_start = live[morphology.of("soma")[0]](0), live[apical[0]](0)
    rows = []
    for i, section in enumerate(live):
        for n, segment in enumerate(section, 1):
            origin = h.distance(apical_start, segment)
            rule = h.distance(apical_start, section(1)) if n == section.nseg else origin
            rows.append(
                (i, segment.x, section.L / section.nseg, segment.area(), h.distance(soma_start, segment), origin, rule)
            )
    index, *columns = np.array(rows).T
    index = index.astype(int)
    region = np.array([morphology.sections[i].region for i in index])
    reach = {
        name: max((h.distance(soma_start, live[i](1)) for i in morphology.of(name)), default=0.0)
        for name in ("basal", "apical")
    }
    x, length, area, soma_distance, apical_distance, rule_distance = columns
    return Segments(index, x, region, length, area, soma_distance, apical_distance, rule_distance, reach)


def nexus(morphology):
    """Where the calcium spike is recorded: the apical segment whose centre lies nearest 690 µm of path from soma(0).

    A tie goes to the segment that comes first in the order of the channels. The place is given as the largest tenth
    inside the segment, or its centre where no tenth is: every x of a segment is the same compartment, and on cell1 this
    is the published apic[50](0.9), whose centre lies at 689.98 µm.   Returns a Location.
    Raises MorphologyError where the morphology has no apical dendrite.
    """
    table = segments(morphology)
    nearest = int(np.argmin(np.where(table.region == "apical", np.abs(table.soma_distance - NEXUS_DISTANCE), np.inf)))
    section, centre = int(table.section[nearest]), float(table.x[nearest])
    half = 0.5 / np.count_nonzero(table.section == section)
    tenth = (math.ceil((centre + half) * 10 - 1e-9) - 1) / 10
    x = tenth if tenth > centre - half + 1e-9 else centre
    return Location(section, x, f"{morphology.sections[section].name}({x:g})")


def _neuron():
    from neuron import h  # half a second, which those who only look for a file need not wait

    return h


def _existing(path, expectation):
    if not path.is_file():
        raise MorphologyError(f"{path}: {'not a file' if path.exists() else 'no such file'}; {expectation}")
    return path


def _locate_cell1():
    here = MORPHOLOGIES / "cell1.asc"
    data = os.environ.get("DENDRITIC_DATA")
    for path in [here] + ([Path(data) / "cell1.asc"] if data else []):
        if path.is_file():
            return path
    import pooch

    try:
        return Path(
            pooch.retrieve(
                CELL1_URL,
                known_hash=CELL1_SHA256,
                fname=here.name,
                path=here.parent,
                downloader=pooch.HTTPDownloader(timeout=30),
            )
        )
    except (OSError, ValueError) as error:  # the network or the disk; ValueError is pooch's word for a wrong checksum
        raise MorphologyError(
            f"cell1.asc could not be downloaded from {CELL1_URL} ({str(error)[:200]}); put the file "
            f"morphologies/cell1.asc of ModelDB 139653 (sha256 {CELL1_SHA256}) at {here}, "
            "or in a folder that DENDRITIC_DATA names"
        ) from None


def _checked_cell1(path):
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != CELL1_SHA256:
        raise MorphologyError(
            f"{path}: sha256 {found} found, expected {CELL1_SHA256}; replace it by the file "
            "morphologies/cell1.asc of ModelDB 139653"
        )
    return path


def _neurolucida_text(text, path):
    return checked_neurolucida(text.replace("\r\n", "\n").replace("\r", "\n"), path)


def _swc_text(text, path):
    """The points renumbered from 1, since Import3d allocates memory by the largest identifier."""
    points = checked_swc(text, path)
    number = {-1: -1} | {point.identifier: n for n, point in enumerate(points, 1)}
    return "".join(
        f"{number[p.identifier]} {p.kind} {p.x!r} {p.y!r} {p.z!r} {p.radius!r} {number[p.parent]}\n" for p in points
    )


def _section(name, parent, parent_x, points, index):
    kind = name.partition("[")[0]
    place = index[parent] if parent else -1
    return Section(name, REGIONS.get(kind, kind), place, parent_x, np.array(points, dtype=float).reshape(-1, 4))


def _refuse_unusable(morphology, path):
    for section in morphology.sections:
        if section.region not in REGIONS.values():
            raise MorphologyError(
                f"{path}: section {section.name} found, expected soma, axon, basal and apical sections only"
            )
    somata = morphology.of("soma")
    if len(somata) != 1:
        raise MorphologyError(f"{path}: {len(somata)} soma sections found, expected exactly one")
    for i, section in enumerate(morphology.sections):
        if (section.parent < 0) != (i == somata[0]):
            raise MorphologyError(
                f"{path}: {section.name} found "
                f"{'without a parent' if section.parent < 0 else 'as the parent of the soma'}, "
                "expected one tree that grows from the soma"
            )
        if len(section.points) < 2 or not section.length > 0:
            raise MorphologyError(
                f"{path}: {section.name} has {len(section.points)} points and no length, expected a length"
            )
        if not (np.isfinite(section.points).all() and (section.points[:, 3] >= SMALLEST_RADIUS).all()):
            raise MorphologyError(
                f"{path}: {section.name} has a diameter of {section.points[:, 3].min():g} µm, "
                "expected positive diameters"
            )
