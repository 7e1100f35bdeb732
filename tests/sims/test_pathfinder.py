import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy import ndimage

from sims import sealed
from sims.stimuli import image_files, pathfinder
from sims.stimuli.image_files import ImageError
from sims.stimuli.pathfinder import DRAWINGS, Drawing

IMAGES = 1200


@pytest.fixture(scope="module")
def drawn():
    return pathfinder.images(DRAWINGS[32], 7, 0, IMAGES)


def markers(image):
    """Centres (x, y) of the two disks of an image of 128 pixels: what is left where lines are worn away."""
    labels, count = ndimage.label(ndimage.binary_erosion(image > 200, np.ones((3, 3))))
    return np.array(ndimage.center_of_mass(labels > 0, labels, range(1, count + 1)))[:, ::-1]


def test_the_same_number_gives_the_same_image_whatever_else_is_drawn(drawn):
    image, label = pathfinder.images(DRAWINGS[32], 7, 100, 5)
    assert np.array_equal(image, drawn[0][100:105]) and np.array_equal(label, drawn[1][100:105])
    other, _ = pathfinder.images(DRAWINGS[32], 8, 100, 5)
    assert not np.array_equal(image, other)


@pytest.mark.parametrize("first, count", [(0, 50), (13, 20)])
def test_classes_are_balanced_in_any_even_run_of_images(drawn, first, count):
    assert drawn[1][first : first + count].mean() == 0.5


def test_who_only_counts_pixels_stays_at_chance(drawn):
    """A threshold on an image's ink, on its bright pixels or on its variance, learnt on one half, tested on another."""
    image, label = drawn
    flat, half = image.reshape(len(image), -1).astype(float), len(image) // 2
    for feature in (flat.sum(axis=1), (flat > 200).sum(axis=1), flat.var(axis=1)):
        order = np.argsort(feature[:half])
        hits = np.cumsum(2.0 * label[:half][order] - 1)
        best = int(np.argmax(np.abs(hits)))
        threshold, sign = feature[:half][order][best], -np.sign(hits[best])
        accuracy = np.mean((sign * (feature[half:] - threshold) > 0) == label[half:])
        assert abs(accuracy - 0.5) < 3 * 0.5 / np.sqrt(half)


@pytest.mark.parametrize("size, most", [(32, 0.6), (128, 0.7)])
def test_who_only_measures_the_distance_of_the_markers_learns_little(size, most):
    """Of ends of one snake and of two: the best threshold there is."""
    random, numbers = np.random.default_rng(0), pathfinder._Numbers(**asdict(DRAWINGS[size]))
    dashes, ends, found = np.empty((2 * 14 + 7 * 4, 4)), np.empty((4, 2)), []
    while len(found) < 400:
        if pathfinder._place(random, numbers, dashes, ends):
            found.append([np.hypot(*(ends[2 + end] - ends[0])) for end in range(2)])
    one, two = np.array(found).T
    accuracy = [(np.mean(one < limit) + np.mean(two >= limit)) / 2 for limit in np.linspace(0, size, 200)]
    assert max(*accuracy, 1 - min(accuracy)) < most


def test_a_positive_image_has_its_markers_on_one_snake_and_a_negative_one_on_two():
    """With gaps and distractors closed, what is connected is a snake."""
    drawing = replace(DRAWINGS[128], gap=0.0, distractors=3, continuity=2.5)
    image, label = pathfinder.images(drawing, 3, 0, 40)
    agree = 0
    for one, positive in zip(image, label, strict=True):
        snakes, _ = ndimage.label(one > 40, structure=np.ones((3, 3)))
        centres = markers(one)
        assert len(centres) == 2
        (x0, y0), (x1, y1) = centres.round().astype(int)
        agree += (snakes[y0, x0] == snakes[y1, x1]) == bool(positive)
    assert agree >= 39  # snakes keep two pixels apart, which soft edges may bridge


def test_snakes_start_at_the_distance_asked_for_and_turn_less_with_more_continuity():
    drawing, angles = replace(DRAWINGS[32], size=64), {}
    for continuity in (0.5, 1.0, 1.8):
        random = np.random.default_rng(0)
        angles[continuity] = np.array([pathfinder._turn(random, continuity) for _ in range(4000)])
    spread = [angles[continuity].std() for continuity in angles]
    assert spread == sorted(spread, reverse=True)
    # Of the density cos a: variance π²/4 - 2.
    assert angles[1.0].var() == pytest.approx(np.pi**2 / 4 - 2, rel=0.05)
    dashes, ends = np.empty((2 * 14 + 5 * 4, 4)), np.empty((4, 2))
    numbers = pathfinder._Numbers(**asdict(drawing))
    placed = sum(pathfinder._place(random, numbers, dashes, ends) for _ in range(50))
    assert placed > 0
    while not pathfinder._place(random, numbers, dashes, ends):
        pass
    assert np.hypot(*(ends[0] - ends[1])) == pytest.approx(7)
    lengths = np.hypot(dashes[:, 2] - dashes[:, 0], dashes[:, 3] - dashes[:, 1])
    assert lengths == pytest.approx(2)
    chained = np.hypot(dashes[1:14, 0] - dashes[:13, 2], dashes[1:14, 1] - dashes[:13, 3])
    assert chained == pytest.approx(1)
    apart = [pathfinder._apart(dashes[i], dashes[j]) for i in range(14) for j in range(14, 28)]
    assert min(apart) >= 1.5


def test_two_segments_that_cross_are_not_apart():
    cross = np.array([0.0, 0, 10, 10]), np.array([0.0, 10, 10, 0])
    assert pathfinder._apart(*cross) == 0
    assert pathfinder._apart(np.array([0.0, 0, 4, 0]), np.array([1.0, 3, 2, 3])) == pytest.approx(3)


def test_images_are_drawn_fast():
    pathfinder.draw(DRAWINGS[32], 0, 0)
    start = time.process_time()
    pathfinder.images(DRAWINGS[32], 1, 0, 200)
    assert time.process_time() - start < 1  # 200 a second


def test_compiled_code_draws_what_the_same_lines_draw_as_plain_python(drawn):
    program = (
        "import sys, numpy as np; from sims.stimuli.pathfinder import DRAWINGS, images;"
        "sys.stdout.buffer.write(images(DRAWINGS[32], 7, 0, 6)[0].tobytes())"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    run = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    plain = np.frombuffer(run.stdout, np.uint8).reshape(6, 32, 32)
    # Compilers may round a sum of products once where Python rounds twice.
    assert np.abs(plain.astype(int) - drawn[0][:6]).max() <= 1


def test_a_file_gives_back_its_images_and_says_how_they_were_made(tmp_path):
    path = tmp_path / "images.npz"
    pathfinder.write(path, DRAWINGS[32], 7, 3, 4)
    image, label = image_files.read(path, 32)
    assert np.array_equal(image, pathfinder.images(DRAWINGS[32], 7, 3, 4)[0]) and list(label) == [0, 1, 0, 1]
    with np.load(path) as archive:
        made = json.loads(str(archive["made"]))
    assert (made["seed"], made["first"], made["contour"]) == (7, 3, 14)
    before = path.read_bytes()
    pathfinder.write(path, DRAWINGS[32], 7, 3, 4)
    assert path.read_bytes() == before


@pytest.mark.faults
def test_a_cut_an_altered_and_a_foreign_file_are_refused(tmp_path):
    path = tmp_path / "images.npz"
    pathfinder.write(path, DRAWINGS[32], 7, 0, 2)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match="images.npz.*cut short"):
        image_files.read(path, 32)
    path.write_bytes(whole[:90] + b"x" + whole[91:])
    with pytest.raises(ImageError, match="altered or damaged"):
        image_files.read(path, 32)
    sealed.write(path, b"no archive")
    with pytest.raises(ImageError, match="expected an archive of images"):
        image_files.read(path, 32)


def test_images_of_another_size_are_refused(tmp_path):
    pathfinder.write(tmp_path / "images.npz", DRAWINGS[32], 7, 0, 2)
    with pytest.raises(ImageError, match="found images of 32 x 32 pixels, expected 128 x 128"):
        image_files.read(tmp_path / "images.npz", 128)
    with pytest.raises(ImageError, match="--size: found 64, expected one of: 32, 128"):
        pathfinder.find(64)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"contour": 0}, "contour: found 0"),
        ({"dash": float("nan")}, "dash: found nan"),
        ({"seed_distance": 40.0}, "seed_distance: found 40.0, expected at most 29"),
    ],
)
def test_a_drawing_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(ImageError, match=message):
        Drawing(**change)


def test_where_there_is_no_room_the_image_is_named():
    with pytest.raises(ImageError, match="image 5: found no room for all snakes"):
        pathfinder.draw(Drawing(size=16, distractors=9), 0, 5)
