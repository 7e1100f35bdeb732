"""Grids of letters, and random walks on them.

A map is a K × K grid whose cells hold one of `letters` letters each, independent and equally likely. A walker stays or
moves up, down, left or right, every move that the walls allow as likely as any other: its transition matrix is A + I
with every row divided by its sum, A the adjacency of the grid. A world has as many novel maps, which nothing is trained
on, as training maps. Cells are numbered row by row; maps depend on the seed and their number alone.

Source: "Transformer needs NMDA receptor nonlinearity for long-term memory", section 2 and appendix A.1.
"""

import functools
import io
import zipfile
from dataclasses import dataclass

import numpy as np

from sims import sealed
from sims.mistakes import Mistake
from sims.streams import stream

ACTIONS = ("up", "down", "left", "right", "stay")
_MOVES = np.array([(-1, 0), (1, 0), (0, -1), (0, 1), (0, 0)])
_LARGEST, _MOST_LETTERS, _MOST_MAPS, _LONGEST = 64, 26, 100_000, 4096


class WorldError(Mistake):
    """A world that cannot be, or a file of one that cannot be used."""


@dataclass(frozen=True, eq=False)
class World:
    """training, novel: uint8 [map, K, K], the letter of each cell.  letters: how many there are.
    segment: steps of a segment of a walk; what lies more than two segments back counts as unvisited."""

    training: np.ndarray
    novel: np.ndarray
    letters: int
    segment: int

    def __post_init__(self):
        shape, (least, most) = self.training.shape, (2, _LARGEST)
        for name, maps in (("training", self.training), ("novel", self.novel)):
            if maps.dtype != np.uint8 or maps.ndim != 3 or maps.shape != shape:
                raise WorldError(
                    f"{name} maps: found {maps.dtype} {maps.shape}, expected uint8 and {shape} [map, K, K]"
                )
        for name, found, low, high in (
            ("maps", len(self.training), 1, _MOST_MAPS),
            ("size", shape[1], least, most),
            ("size", shape[2], shape[1], shape[1]),
            ("letters", self.letters, 2, _MOST_LETTERS),
            ("segment", self.segment, 1, _LONGEST),
        ):
            if not low <= found <= high:
                raise WorldError(f"{name}: found {found}, expected {low} to {high}")
        if max(self.training.max(), self.novel.max()) >= self.letters:
            raise WorldError(
                f"maps: found a letter above {self.letters - 1}, expected numbers of {self.letters} letters"
            )

    @property
    def size(self):
        """K."""
        return self.training.shape[1]

    @property
    def recent(self):
        """Steps within which a cell counts as visited: 64 with the published segments of 32."""
        return 2 * self.segment


def draw(size=11, maps=32, letters=10, segment=32, seed=0):
    """A World; defaults are the published ones.  Raises WorldError."""
    for name, found in (("size", size), ("maps", maps), ("letters", letters), ("segment", segment)):
        if found < 1:
            raise WorldError(f"{name}: found {found}, expected at least 1")
    if size > _LARGEST or maps > _MOST_MAPS:
        raise WorldError(f"size and maps: found {size} and {maps}, expected at most {_LARGEST} and {_MOST_MAPS}")
    kinds = (
        np.array([stream(seed, f"{kind} maps", index).integers(letters, size=(size, size)) for index in range(maps)])
        for kind in ("training", "novel")
    )
    return World(*(kind.astype(np.uint8) for kind in kinds), letters, segment)


def write(path, world):
    """Write a World as a sealed NumPy archive, whole or not at all."""
    file = io.BytesIO()
    np.savez_compressed(
        file,
        training=world.training,
        novel=world.novel,
        letters=np.int64(world.letters),
        segment=np.int64(world.segment),
    )
    sealed.write(path, file.getvalue())


def read(path):
    """The World of a file.  Raises SealError where it was altered, WorldError where it holds no world."""
    try:
        with np.load(io.BytesIO(sealed.read(path)), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in ("training", "novel", "letters", "segment")}
            return World(found["training"], found["novel"], int(found["letters"]), int(found["segment"]))
    except (KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise WorldError(f"{path}: cannot be read ({error}), expected a world of `sims stimuli grid-world`") from error
    except WorldError as error:
        raise WorldError(f"{path}: {error}") from error
    except ValueError as error:
        if isinstance(error, Mistake):
            raise
        raise WorldError(f"{path}: cannot be read ({error}), expected a world of `sims stimuli grid-world`") from error


@functools.cache
def _moves(size):
    """How many actions a cell allows, which these are [cell, 5], and where an action leads [cell, action]."""
    place = np.stack(np.divmod(np.arange(size**2), size), axis=1)
    led = place[:, None] + _MOVES
    allowed = ((led >= 0) & (led < size)).all(axis=2)
    to = np.where(allowed, led[..., 0] * size + led[..., 1], -1)
    return allowed.sum(axis=1), np.argsort(~allowed, axis=1, kind="stable"), to


def transitions(size):
    """The walk's transition matrix, float64 [from, to]: A + I, every row divided by its sum."""
    count, _, to = _moves(size)
    matrix = np.zeros((size**2, size**2))
    for cell, led in enumerate(to):
        matrix[cell, led[led >= 0]] = 1 / count[cell]
    return matrix


def walk(size, walks, steps, random):
    """Independent random walks, each from a cell of its own, all as likely.

    random: a NumPy generator.  Returns (cells int64 [walk, step], actions int64 [walk, step]); an action led to the
    cell of its step, and the first is stay, which led nowhere.
    """
    count, allowed, to = _moves(size)
    allowed, to = allowed.ravel(), to.ravel()
    cells, actions = np.empty((steps, walks), np.int64), np.empty((steps, walks), np.int64)
    cells[0], actions[0] = random.integers(size**2, size=walks), ACTIONS.index("stay")
    draws = random.random((steps, walks))
    for step in range(1, steps):
        here = cells[step - 1]
        choice = (draws[step] * count[here]).astype(np.int64)
        actions[step] = allowed[here * len(ACTIONS) + choice]
        cells[step] = to[here * len(ACTIONS) + actions[step]]
    return cells.T, actions.T


def visited(cells, recent):
    """Whether the walker was at its cell at any of the `recent` steps before: bool of the shape of cells.

    cells: int [walk, step].
    """
    walks, steps = cells.shape
    last = np.full((walks, cells.max() + 1), -recent - 1)
    found, every = np.empty(cells.shape, bool), np.arange(walks)
    for step in range(steps):
        here = cells[:, step]
        found[:, step] = step - last[every, here] <= recent
        last[every, here] = step
    return found
