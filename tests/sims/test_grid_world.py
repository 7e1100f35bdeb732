"""Walks go where the walls let them, as often as they should, and it is known where they were."""

import io
import time

import numpy as np
import pytest
from typer.testing import CliRunner

from sims import sealed
from sims.__main__ import app
from sims.sealed import SealError
from sims.stimuli import grid_world
from sims.stimuli.grid_world import ACTIONS, WorldError


def adjacency(size):
    place = np.stack(np.divmod(np.arange(size**2), size), axis=1)
    return (np.abs(place[:, None] - place).sum(axis=2) == 1).astype(float)


@pytest.mark.parametrize("size", [2, 3, 7, 11])
def test_transitions_are_the_normalised_rows_of_the_grid_with_loops(size):
    wanted = adjacency(size) + np.eye(size**2)
    assert np.allclose(grid_world.transitions(size), wanted / wanted.sum(axis=1, keepdims=True), rtol=0, atol=1e-15)


def test_walks_move_by_their_actions_with_the_exact_probabilities():
    cells, actions = grid_world.walk(4, 512, 1000, np.random.default_rng(0))
    moved = np.array([-4, 4, -1, 1, 0])[actions[:, 1:]]
    assert np.array_equal(cells[:, :-1] + moved, cells[:, 1:]) and (actions[:, 0] == ACTIONS.index("stay")).all()
    counts = np.zeros((16, 16))
    np.add.at(counts, (cells[:, :-1], cells[:, 1:]), 1)
    wanted, left = grid_world.transitions(4), counts.sum(axis=1, keepdims=True)
    assert (counts[wanted == 0] == 0).all()
    error = np.sqrt(wanted * (1 - wanted) / left)
    assert (np.abs(counts / left - wanted)[wanted > 0] < 4.5 * error[wanted > 0]).all()


def test_places_are_visited_in_proportion_to_the_moves_they_allow():
    cells, _ = grid_world.walk(5, 512, 2000, np.random.default_rng(1))
    wanted = adjacency(5).sum(axis=1) + 1
    found = np.bincount(cells[:, 200:].ravel(), minlength=25) / cells[:, 200:].size
    assert np.allclose(found, wanted / wanted.sum(), rtol=0.03)


@pytest.mark.parametrize("recent", [1, 3, 64])
def test_a_cell_is_visited_if_it_is_among_the_last_steps(recent):
    cells, _ = grid_world.walk(4, 20, 150, np.random.default_rng(2))
    wanted = [[here in walk[max(0, t - recent) : t] for t, here in enumerate(walk)] for walk in cells]
    assert np.array_equal(grid_world.visited(cells, recent), wanted)


def test_a_million_steps_take_a_core_less_than_a_second():
    def work():
        start = time.process_time()
        cells, _ = grid_world.walk(11, 512, 2048, np.random.default_rng(3))
        grid_world.visited(cells, 64)
        return time.process_time() - start

    assert min(work() for _ in range(3)) < 1


def test_letters_are_independent_and_equally_likely():
    world = grid_world.draw(maps=200)
    for maps in (world.training, world.novel):
        counts = np.bincount(maps.ravel(), minlength=10)
        assert (np.abs(counts - maps.size / 10) < 4.5 * np.sqrt(maps.size * 0.09)).all()
    assert abs((world.training == world.novel).mean() - 0.1) < 0.01
    assert np.array_equal(grid_world.draw(maps=3).training, world.training[:3]) and world.recent == 64


def test_a_world_is_read_as_it_was_written_and_the_same_seed_gives_the_same_bytes(tmp_path):
    paths = tmp_path / "a.npz", tmp_path / "b.npz"
    for path in paths:
        options = ("--size", "5", "--maps", "3", "--letters", "4", "--segment", "8", "--seed", "7")
        result = CliRunner().invoke(app, ["stimuli", "grid-world", str(path), *options])
        assert result.exit_code == 0, result.output
    assert paths[0].read_bytes() == paths[1].read_bytes()
    world, wanted = grid_world.read(paths[0]), grid_world.draw(5, 3, 4, 8, 7)
    assert np.array_equal(world.training, wanted.training) and np.array_equal(world.novel, wanted.novel)
    assert (world.letters, world.segment, world.size) == (4, 8, 5)


def _archive(**changed):
    maps, file = np.zeros((2, 4, 4), np.uint8), io.BytesIO()
    np.savez(file, **{"training": maps, "novel": maps, "letters": 3, "segment": 8} | changed)
    return file.getvalue()


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"novel": np.zeros((1, 4, 4), np.uint8)}, "novel maps: found uint8"),
        ({"training": np.zeros((2, 4, 4))}, "training maps: found float64"),
        ({"training": np.full((2, 4, 4), 3, np.uint8)}, "found a letter above 2"),
        ({"training": np.zeros((2, 4, 5), np.uint8), "novel": np.zeros((2, 4, 5), np.uint8)}, "size: found 5"),
        ({"letters": 1}, "letters: found 1, expected 2 to 26"),
        ({"segment": 0}, "segment: found 0"),
        ({"letters": np.zeros(3)}, "cannot be read"),
        ({"training": np.array([{}], object)}, "cannot be read"),
    ],
)
def test_a_file_without_a_world_is_refused(tmp_path, changed, message):
    path = tmp_path / "world.npz"
    sealed.write(path, _archive(**changed))
    with pytest.raises(WorldError, match=message):
        grid_world.read(path)


def test_a_file_that_was_altered_or_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "world.npz"
    grid_world.write(path, grid_world.draw(4, 2, 3, 8))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SealError):
        grid_world.read(path)
    sealed.write(path, b"no archive")
    with pytest.raises(WorldError, match="cannot be read"):
        grid_world.read(path)


@pytest.mark.parametrize("option, value", [("letters", 27), ("maps", 10**9), ("size", 65)])
def test_a_world_beyond_reason_is_refused(option, value):
    with pytest.raises(WorldError, match=option):
        grid_world.draw(**{"size": 4, "maps": 1, option: value})
