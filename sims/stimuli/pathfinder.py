"""Pathfinder: two markers in a tangle of dashed snakes, do they mark the ends of one snake or of two?

An image holds two long snakes and several short ones that distract. A snake is a chain of dashes: dash k starts at p_k
and runs for `dash` pixels along a direction that turns from dash to dash by an angle a with density

    p(a) ∝ cos(a)^(continuity²),     -90° < a < 90°,         p_{k+1} = p_k + (dash + gap) · direction_k

so that a larger continuity makes straighter snakes. The long ones start at two points a fixed distance apart. Dashes of
different snakes, those of one snake but neighbours, and the markers' surroundings keep clear of one another. Both kinds
of image are drawn by the same rules: positive ones have disks on both ends of the first long snake, negative ones on
the start of the first and on the end of the second, and every second image is positive. Lengths are in pixels.

Images depend on the seed and on their number alone.

Sources: Linsley et al. 2018 (arXiv 1805.08315), the task; Tay et al. 2021 (arXiv 2011.04006), its sizes in the Long
Range Arena. The generator is this project's own: segments keep exact distances where theirs mask pixels.
"""

import math
from collections import namedtuple
from dataclasses import asdict, dataclass, fields

import numba
import numpy as np

from sims.stimuli import image_files
from sims.stimuli.image_files import ImageError
from sims.streams import stream

_DASH_TRIES, _SNAKE_TRIES, _IMAGE_TRIES = 12, 40, 1000
_COUNTS = ("size", "contour", "distractor_contour", "antialias")


@dataclass(frozen=True)
class Drawing:
    """What images look like; symbols as in the module, lengths in pixels.

    size: of the square image.  contour: dashes of a long snake.  seed_distance: between the starts of the long snakes.
    distractors, distractor_contour: how many short snakes, of so many dashes.  margin: kept free at the border, and
    between the edges of dashes.  marker: radius of a disk.  antialias: samples a pixel in each direction.
    contrast: grey value of a dash's middle, clipped at 1.
    """

    size: int = 32
    contour: int = 14
    dash: float = 2.0
    gap: float = 1.0
    thickness: float = 0.5
    margin: float = 1.0
    marker: float = 1.5
    seed_distance: float = 7.0
    continuity: float = 1.0
    distractors: int = 5
    distractor_contour: int = 4
    antialias: int = 2
    contrast: float = 1.5

    def __post_init__(self):
        for name, value in asdict(self).items():
            least = 1 if name in _COUNTS else 0
            if not (math.isfinite(value) and value >= least):
                raise ImageError(f"{name}: found {value}, expected a finite number of at least {least}")
        if self.seed_distance > self.size - 2 * self.marker:
            raise ImageError(
                f"seed_distance: found {self.seed_distance}, expected at most {self.size - 2 * self.marker:g}, so that "
                f"two markers fit into an image of {self.size} pixels"
            )


# The same as numba takes it.
_Numbers = namedtuple("_Numbers", [field.name for field in fields(Drawing)])
# The hard split of the Long Range Arena, and Path-X.
DRAWINGS = {
    32: Drawing(),
    128: Drawing(
        size=128,
        dash=5.0,
        thickness=1.5,
        margin=2.0,
        marker=3.0,
        seed_distance=20.0,
        continuity=1.8,
        distractors=7,
        contrast=0.9,
    ),
}


def find(size):
    """The drawing of a size; raises ImageError where there is none."""
    if size not in DRAWINGS:
        raise ImageError(f"--size: found {size}, expected one of: {', '.join(map(str, DRAWINGS))}")
    return DRAWINGS[size]


def draw(drawing, seed, index):
    """One image: (uint8 [size, size], its label, 1 where the markers are on one snake).

    Raises ImageError where a thousand attempts did not fit all snakes in.
    """
    label = 1 - index % 2
    image = np.empty((drawing.size, drawing.size), np.uint8)
    random = stream(seed, f"pathfinder {drawing.size}", index)
    if not _draw(random, _Numbers(**asdict(drawing)), label, image):
        raise ImageError(
            f"image {index}: found no room for all snakes in {_IMAGE_TRIES} attempts, expected a larger image or fewer"
        )
    return image, label


def images(drawing, seed, first, count, advance=lambda count: None):
    """Images first to first + count - 1: (uint8 [count, size, size], uint8 [count] labels).

    advance: called with 1 for every image.   Raises ImageError as `draw`.
    """
    image, label = np.empty((count, drawing.size, drawing.size), np.uint8), np.empty(count, np.uint8)
    for i in range(count):
        image[i], label[i] = draw(drawing, seed, first + i)
        advance(1)
    return image, label


def write(path, drawing, seed, first, count, advance=lambda count: None):
    """Draw images into a file as of sims/stimuli/image_files.py; arguments as of `images`."""
    made = {"generator": "pathfinder", "seed": seed, "first": first, **asdict(drawing)}
    image_files.write(path, *images(drawing, seed, first, count, advance), made)


@numba.njit(cache=True)
def _draw(random, drawing, label, image):
    """Fill `image`; False where all attempts failed."""
    dashes = np.empty((2 * drawing.contour + drawing.distractors * drawing.distractor_contour, 4))
    ends = np.empty((4, 2))  # starts of the long snakes, then their ends
    for _ in range(_IMAGE_TRIES):
        if _place(random, drawing, dashes, ends):
            # Which of the two was placed first must not show: a later one has less room.
            first = 0 if random.random() < 0.5 else 1
            _render(drawing, dashes, ends, first, 2 + (first if label else 1 - first), image)
            return True
    return False


@numba.njit(cache=True)
def _place(random, drawing, dashes, ends):
    """Find room for all snakes, the long ones first; False where there is none."""
    inside, angle = drawing.size - 2 * drawing.marker, 2 * math.pi * random.random()
    ends[0, 0], ends[0, 1] = drawing.marker + inside * random.random(), drawing.marker + inside * random.random()
    ends[1, 0] = ends[0, 0] + drawing.seed_distance * math.cos(angle)
    ends[1, 1] = ends[0, 1] + drawing.seed_distance * math.sin(angle)
    if not _within(drawing, ends[1, 0], ends[1, 1], drawing.marker):
        return False
    placed, known = 0, 2
    for snake in range(2 + drawing.distractors):
        length = drawing.contour if snake < 2 else drawing.distractor_contour
        grown = False
        for _ in range(_SNAKE_TRIES):
            if snake < 2:
                x, y = ends[snake, 0], ends[snake, 1]
            else:
                x, y = drawing.size * random.random(), drawing.size * random.random()
            if _grow(random, drawing, dashes, placed, length, x, y, ends, known, snake):
                grown = snake > 1 or _ends_freely(drawing, dashes, placed + length - 1, ends, known)
            if grown:
                break
        if not grown:
            return False
        placed += length
        if snake < 2:
            ends[known, 0], ends[known, 1] = dashes[placed - 1, 2], dashes[placed - 1, 3]
            known += 1
    return True


@numba.njit(cache=True)
def _grow(random, drawing, dashes, placed, length, x, y, ends, known, snake):
    """Write a snake's dashes from (x, y) behind those placed; False where it got stuck."""
    clear, heading = drawing.margin + drawing.thickness, 0.0
    for k in range(length):
        dash, free = dashes[placed + k], False
        for _ in range(_DASH_TRIES):
            turned = heading + _turn(random, drawing.continuity) if k else 2 * math.pi * random.random()
            dash[0], dash[1] = x, y
            dash[2], dash[3] = x + drawing.dash * math.cos(turned), y + drawing.dash * math.sin(turned)
            free = _within(drawing, x, y, drawing.margin) and _within(drawing, dash[2], dash[3], drawing.margin)
            for place in range(known):
                # A snake's first two dashes are near its start, which is a place of its own.
                if free and (place != snake or k > 1):
                    free = _to_dash(ends[place, 0], ends[place, 1], dash) >= drawing.marker + clear
            for other in range(placed + max(0, k - 1)):
                if not free:
                    break
                free = _apart(dash, dashes[other]) >= clear
            if free:
                break
        if not free:
            return False
        heading = turned
        x += (drawing.dash + drawing.gap) * math.cos(turned)
        y += (drawing.dash + drawing.gap) * math.sin(turned)
    return True


@numba.njit(cache=True)
def _turn(random, continuity):
    """An angle of density ∝ cos(a)^(continuity²) between -90° and 90°."""
    while True:
        angle = math.pi * (random.random() - 0.5)
        if random.random() < math.cos(angle) ** (continuity * continuity):
            return angle


@numba.njit(cache=True)
def _ends_freely(drawing, dashes, last, ends, known):
    """Whether a marker fits on the end of the dash `last`."""
    x, y = dashes[last, 2], dashes[last, 3]
    if not _within(drawing, x, y, drawing.marker):
        return False
    for place in range(known):
        if math.hypot(ends[place, 0] - x, ends[place, 1] - y) < 2 * drawing.marker + drawing.margin:
            return False
    for other in range(last - 1):  # the one before it is as near as the second dash is to the start
        if _to_dash(x, y, dashes[other]) < drawing.marker + drawing.margin + drawing.thickness:
            return False
    return True


@numba.njit(cache=True)
def _within(drawing, x, y, margin):
    return margin <= min(x, y) and max(x, y) <= drawing.size - margin


@numba.njit(cache=True)
def _to_dash(x, y, dash):
    """Distance from a point to a segment."""
    dx, dy = dash[2] - dash[0], dash[3] - dash[1]
    along = ((x - dash[0]) * dx + (y - dash[1]) * dy) / max(dx * dx + dy * dy, 1e-12)
    along = min(1.0, max(0.0, along))
    return math.hypot(x - dash[0] - along * dx, y - dash[1] - along * dy)


@numba.njit(cache=True)
def _apart(one, other):
    """Distance between two segments; 0 where they cross."""
    crosses = _side(one, other[0], other[1]) * _side(one, other[2], other[3]) < 0
    if crosses and _side(other, one[0], one[1]) * _side(other, one[2], one[3]) < 0:
        return 0.0
    near = min(_to_dash(one[0], one[1], other), _to_dash(one[2], one[3], other))
    return min(near, _to_dash(other[0], other[1], one), _to_dash(other[2], other[3], one))


@numba.njit(cache=True)
def _side(dash, x, y):
    return (dash[2] - dash[0]) * (y - dash[1]) - (dash[3] - dash[1]) * (x - dash[0])


@numba.njit(cache=True)
def _render(drawing, dashes, ends, start, end, image):
    """Grey values: the share of each pixel that dashes cover, times their contrast; disks on two of the ends."""
    fine, radius = drawing.antialias, drawing.thickness / 2
    canvas = np.zeros((fine * drawing.size, fine * drawing.size))
    shape = np.empty(4)
    round_end = min(0.5, radius / drawing.dash)  # round caps belong to the dash, else they would close the gaps
    for dash in dashes:
        for i in range(4):
            shape[i] = dash[i] + round_end * (dash[(i + 2) % 4] - dash[i])
        _paint(canvas, fine, shape, radius, drawing.contrast)
    for place in (start, end):
        for i in range(4):
            shape[i] = ends[place, i % 2]
        _paint(canvas, fine, shape, drawing.marker, 1.0)
    for row in range(drawing.size):
        for column in range(drawing.size):
            grey = 0.0
            for i in range(fine * fine):
                grey += canvas[row * fine + i // fine, column * fine + i % fine]
            image[row, column] = int(255 * grey / (fine * fine) + 0.5)


@numba.njit(cache=True)
def _paint(canvas, fine, shape, radius, contrast):
    """Raise samples within `radius` of a segment to `contrast`, softly over the width of a sample."""
    reach, size = radius + 1 / fine, len(canvas)
    for row in range(max(0, int((min(shape[1], shape[3]) - reach) * fine)), size):
        y = (row + 0.5) / fine
        if y > max(shape[1], shape[3]) + reach:
            break
        for column in range(max(0, int((min(shape[0], shape[2]) - reach) * fine)), size):
            x = (column + 0.5) / fine
            if x > max(shape[0], shape[2]) + reach:
                break
            covered = min(1.0, max(0.0, 0.5 + (radius - _to_dash(x, y, shape)) * fine))
            canvas[row, column] = max(canvas[row, column], min(1.0, contrast * covered))
