"""What a morphology file must say before NEURON's Import3d is allowed to see it.

Import3d was written for files that are right: it loops on a cycle, allocates by the largest identifier and reads past
what is missing. The checks here turn such a file into one sentence for the person who has it.
"""

import re
from typing import NamedTuple

import numpy as np

from sims.mistakes import Mistake

LARGEST_COORDINATE = 1e5  # µm; ten centimetres, beyond any neuron and still exact enough in NEURON's single precision
SMALLEST_RADIUS = 1e-4  # µm; thinner than a membrane
LONGEST_LINE = 10_000  # characters; Import3d's time grows with the square
SOMA_CONTOURS = {"CellBody", "Cell Body", "Soma"}  # names that Import3d takes for the soma
SWC_TYPES = {1: "soma", 2: "axon", 3: "basal", 4: "apical"}

# The words of Neurolucida's ASCII format, in the order in which they must be tried.
_TOKEN = re.compile(
    r'\s+|;[^\n]*|(?P<string>"[^"\n]*")|(?P<mark>[()<>|,])|(?P<word>[^\s;"()<>|,]+)|(?P<other>.)', re.DOTALL
)


class MorphologyError(Mistake):
    """A morphology that cannot be used: names the file, the line if there is one, what was found, what was expected."""


class SwcPoint(NamedTuple):
    """One line of an SWC file.

    identifier, parent: whole numbers, parent -1 at the root.  kind: 1 soma, 2 axon, 3 basal, 4 apical.
    x, y, z, radius: µm.  line: its number in the file.
    """

    identifier: int
    kind: int
    x: float
    y: float
    z: float
    radius: float
    parent: int
    line: int


class Contour(NamedTuple):
    """A soma's contour in a Neurolucida file: the line of its name, its depth in parentheses, its points in µm."""

    line: int
    depth: int
    points: list


def checked_swc(text, path):
    """The points of an SWC text, sorted by identifier, when they form one tree that grows from one soma.

    text: the file's content.  path: its name, for messages.   Returns a list of SwcPoint.
    Raises MorphologyError for a line that is not seven numbers, an unknown type, a radius that is not positive, a
    repeated identifier, a parent that is absent, a cycle, several roots, or a tree whose root is not the soma.
    """
    points = [
        _swc_point(line, number, path)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not points:
        raise MorphologyError(f"{path}: no points found, expected lines of 'id type x y z radius parent'")
    by_identifier = {}
    for point in points:
        if point.identifier in by_identifier:
            raise MorphologyError(
                f"{path}, line {point.line}: identifier {point.identifier} was already used in line "
                f"{by_identifier[point.identifier].line}, expected each only once"
            )
        by_identifier[point.identifier] = point
    for point in points:
        if point.parent != -1 and point.parent not in by_identifier:
            raise MorphologyError(
                f"{path}, line {point.line}: parent {point.parent} does not exist, expected the identifier "
                "of another point, or -1 for the root"
            )
    _refuse_cycles(points, by_identifier, path)
    roots = [point for point in points if point.parent == -1]
    if len(roots) > 1:
        raise MorphologyError(
            f"{path}, line {roots[1].line}: a second root (the first is in line {roots[0].line}), expected one tree"
        )
    if roots[0].kind != 1:
        found = (
            "the root is of type " + SWC_TYPES[roots[0].kind] if any(p.kind == 1 for p in points) else "no soma found"
        )
        raise MorphologyError(f"{path}, line {roots[0].line}: {found}, expected a tree whose root is the soma (type 1)")
    for point in points:
        if point.kind == 1 and point.parent != -1 and by_identifier[point.parent].kind != 1:
            raise MorphologyError(
                f"{path}, line {point.line}: a soma point grows from type "
                f"{SWC_TYPES[by_identifier[point.parent].kind]}, expected one connected soma"
            )
        if point.parent > point.identifier:
            raise MorphologyError(
                f"{path}, line {point.line}: parent {point.parent} is larger than the identifier "
                f"{point.identifier}, expected parents to be numbered before their children"
            )
    return sorted(points)


def checked_neurolucida(text, path):
    """The same text, when it is Neurolucida ASCII with balanced parentheses, finite numbers and a soma's contour.

    text: the file's content.  path: its name, for messages.   Raises MorphologyError otherwise.
    """
    if not text.strip():
        raise MorphologyError(f"{path}: the file is empty, expected Neurolucida ASCII")
    open_lines, numbers, contour, somata = [], [], None, 0
    for line, token in _tokens(text, path):
        if token["mark"] == "(":
            open_lines.append(line)
            numbers = []
        elif token["mark"] == ")":
            if not open_lines:
                raise MorphologyError(f"{path}, line {line}: ')' found without its '('")
            open_lines.pop()
            if contour and len(open_lines) == contour.depth and len(numbers) >= 3:
                contour.points.append(numbers[:3])
            elif contour and len(open_lines) < contour.depth:
                _refuse_flat_contour(contour, path)
                contour, somata = None, somata + 1
            numbers = []
        elif not open_lines:
            raise MorphologyError(f"{path}, line {line}: {token[0][:40]!r} found outside parentheses, expected '('")
        elif token["string"] and token["string"].strip('"') in SOMA_CONTOURS:
            contour = Contour(line, len(open_lines), [])
        elif token["word"]:
            numbers += _numbers(token["word"], line, path)
    if open_lines:
        raise MorphologyError(f"{path}: the file ends before the '(' of line {open_lines[-1]} is closed")
    if not somata:
        raise MorphologyError(f'{path}: no soma found, expected a contour named "CellBody" or "Soma"')
    return text


def _tokens(text, path):
    """Each (line number, match) of a Neurolucida text that is not a comment or blank."""
    for line, content in enumerate(text.split("\n"), 1):
        if len(content.partition(";")[0]) > LONGEST_LINE:
            raise MorphologyError(
                f"{path}, line {line}: {len(content)} characters found, expected at most {LONGEST_LINE}"
            )
        for token in _TOKEN.finditer(content):
            if token["other"] or not (token[0].isprintable() or token[0].isspace() or token[0].startswith(";")):
                raise MorphologyError(f"{path}, line {line}: {token[0][:40]!r} found, expected Neurolucida ASCII")
            if token.lastgroup:
                yield line, token


def _refuse_flat_contour(contour, path):
    """Import3d crashes on a soma without extent."""
    points = np.array(contour.points).reshape(-1, 3)
    extent = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) if len(points) >= 3 else np.zeros(2)
    if extent[1] < SMALLEST_RADIUS:
        raise MorphologyError(
            f"{path}, line {contour.line}: a soma's contour of {len(points)} points without area found, "
            "expected at least three points around the soma"
        )


def _swc_point(line, number, path):
    where = f"{path}, line {number}"
    fields = line.split()
    if len(fields) != 7:
        raise MorphologyError(
            f"{where}: {len(fields)} fields found ({line.strip()[:60]!r}), expected 7: id type x y z radius parent"
        )
    try:
        identifier, kind, parent = (_integer(fields[i]) for i in (0, 1, 6))
        x, y, z, radius = (float(field) for field in fields[2:6])
    except ValueError:
        raise MorphologyError(
            f"{where}: {line.strip()[:60]!r} found, "
            "expected 7 numbers (id, type and parent whole): id type x y z radius parent"
        ) from None
    if identifier < 0:
        raise MorphologyError(f"{where}: identifier {identifier} found, expected a number from 0 up")
    if kind not in SWC_TYPES:
        raise MorphologyError(f"{where}: type {kind} found, expected 1 (soma), 2 (axon), 3 (basal) or 4 (apical)")
    if not all(abs(value) <= LARGEST_COORDINATE for value in (x, y, z)):
        raise MorphologyError(f"{where}: position {x:g} {y:g} {z:g} found, expected µm within ±{LARGEST_COORDINATE:g}")
    if not SMALLEST_RADIUS <= radius <= LARGEST_COORDINATE:
        raise MorphologyError(
            f"{where}: radius {radius:g} found, expected µm, positive and at least {SMALLEST_RADIUS:g}"
        )
    if parent < -1:
        raise MorphologyError(
            f"{where}: parent {parent} found, expected the identifier of another point, or -1 for the root"
        )
    return SwcPoint(identifier, kind, x, y, z, radius, parent, number)


def _integer(field):
    """Whole numbers, also when a program wrote them as 3.0."""
    value = float(field)
    if not value.is_integer() or abs(value) > 2**53:
        raise ValueError(field)
    return int(value)


def _refuse_cycles(points, by_identifier, path):
    reached_in = {}
    for walk, point in enumerate(points):
        while point.identifier not in reached_in:
            reached_in[point.identifier] = walk
            if point.parent == -1:
                break
            if reached_in.get(point.parent) == walk:
                raise MorphologyError(
                    f"{path}, line {point.line}: point {point.identifier} is its own ancestor, "
                    "expected a tree without cycles"
                )
            point = by_identifier[point.parent]


def _numbers(word, line, path):
    """A word's value in a list that is empty where the word is no number."""
    try:
        value = float(word)
    except ValueError:
        return []
    if not abs(value) <= LARGEST_COORDINATE:
        raise MorphologyError(
            f"{path}, line {line}: the number {word} found, expected µm within ±{LARGEST_COORDINATE:g}"
        )
    return [value]
