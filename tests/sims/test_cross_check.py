"""Trials of a shard against the same in NEURON: what is compared, what agrees, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sims import cross_check, ground_truth, neuronio
from sims.cells import l5pc
from sims.stimuli import l5

PROJECT = Path(__file__).resolve().parents[2]
ROUNDING = 1e-5  # mV; shards keep voltages to 4e-6


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """Two simulations of a second of the stylised cell, float64 at dt 0.1 ms."""
    path = tmp_path_factory.mktemp("shard") / "shard.nc"
    setup = ground_truth.Setup(dt=0.1)
    neuronio.write(ground_truth.generate(setup, l5.read(), seed=3, simulations=2, seconds=1), path)
    return path


def again(path, simulations=1, seconds=0.15, **files):
    files = {"cell": "stylised", "cell_file": l5pc.PUBLISHED, "input_file": l5.PUBLISHED} | files
    return cross_check.cross_check(path, **files, simulations=simulations, seconds=seconds)


def altered(path, folder, **attributes):
    shard = neuronio.read(path)
    neuronio.write(replace(shard, attributes=shard.attributes | attributes), folder / "altered.nc")
    return folder / "altered.nc"


def test_the_cable_solver_in_float64_agrees_with_neuron_to_what_a_shard_keeps(command, shard, tmp_path):
    """Through the command line."""
    out = tmp_path / "out.json"
    run = command("neuronio", "cross-check", shard, out, "--simulations", 1, "--seconds", 0.2)
    assert run.code == 0, run.stderr
    found = json.loads(out.read_text())
    assert found["shard"] == neuronio.read(shard).attributes and found["seconds"] == 0.2
    (trial,), total = found["trials"], found["total"]
    assert trial["simulation"] == 0 and trial["quiet_ms"] >= 30
    assert total["largest_difference_mV"] <= ROUNDING
    assert total["spikes"] == total["neuron_spikes"] == total["spikes_matched"] > 0


def test_a_shard_with_an_event_too_many_does_not_agree(shard, tmp_path):
    whole = neuronio.read(shard)
    start = np.array([0, 1, 2]) + whole.event_start[[0, 0, 0]]
    without = replace(whole, event_time=whole.event_time[:2], event_channel=whole.event_channel[:2], event_start=start)
    neuronio.write(without, tmp_path / "without.nc")
    assert again(tmp_path / "without.nc", seconds=0.05)["total"]["largest_difference_mV"] > 100 * ROUNDING


def test_a_shard_without_a_step_is_compared_with_the_variable_one(shard, tmp_path):
    found = again(altered(shard, tmp_path, dt_ms=0.0), seconds=0.05)["total"]
    assert ROUNDING < found["largest_difference_mV"] < 1


@pytest.mark.parametrize(
    "attributes, files, words",
    [
        ({"equations_digest": "another"}, {}, "digest another, expected"),
        ({"cell": "cell1"}, {}, "of the cell cell1, expected l5_stylised"),
    ],
)
def test_a_shard_of_other_equations_or_another_cell_is_refused(shard, tmp_path, attributes, files, words):
    with pytest.raises(neuronio.ShardError, match=words):
        again(altered(shard, tmp_path, **attributes), **files)


@pytest.mark.parametrize("name", ["cell_file", "input_file"])
def test_a_changed_equation_file_is_refused(shard, tmp_path, name):
    published, change = {
        "cell_file": (l5pc.PUBLISHED, "v_init: -70*mV"),
        "input_file": (l5.PUBLISHED, "parameters: {taps: 6}"),
    }[name]
    changed = tmp_path / "changed.yaml"
    changed.write_text(f"extends: {published}\n{change}\n")
    with pytest.raises(neuronio.ShardError, match="was made from equations with digest .* and .*"):
        again(shard, **{name: changed})


def test_a_cell_whose_channels_lie_elsewhere_is_refused(shard, tmp_path):
    whole = neuronio.read(shard)
    neuronio.write(replace(whole, path_distance=whole.path_distance + 1), tmp_path / "moved.nc")
    with pytest.raises(neuronio.ShardError, match="its channels lie elsewhere"):
        again(tmp_path / "moved.nc")


@pytest.mark.parametrize(
    "size, words",
    [
        ({"simulations": 3}, "--simulations: found 3, expected 1 to 2"),
        ({"simulations": 0}, "--simulations: found 0"),
        ({"seconds": 2}, "--seconds: found 2, expected 0.001 to 1"),
        ({"seconds": 0}, "--seconds: found 0"),
        ({"seconds": float("nan")}, "--seconds: found nan"),
    ],
)
def test_more_than_the_shard_holds_is_refused(shard, size, words):
    with pytest.raises(ground_truth.RequestError, match=words):
        again(shard, **size)


def test_a_comparison_counts_what_it_says():
    voltage, neuron = np.full((2, 100), -70.0)
    neuron[30] += 0.5
    voltage[60], neuron[60] = 20, -55
    found = cross_check.compare(voltage, np.array([60.0, 70, 90]), neuron, np.array([62.0, 72.1, 91]))
    assert found["quiet_ms"] == 55 and found["largest_difference_mV"] == 0.5
    assert found["rms_difference_mV"] == pytest.approx(0.5 / np.sqrt(55))
    assert found["rms_capped_mV"] == pytest.approx(0.05)
    assert (found["spikes"], found["neuron_spikes"], found["spikes_matched"]) == (3, 3, 2)


def test_a_spike_at_the_start_leaves_nothing_to_lay_over_each_other():
    early = cross_check.compare(np.zeros(10), np.array([3.0]), np.ones(10), np.array([]))
    assert early["quiet_ms"] == 0 and early["largest_difference_mV"] is early["rms_difference_mV"] is None
    quiet = cross_check.compare(np.zeros(10), np.array([]), np.ones(10), np.array([]))
    both, none = cross_check.total([early, quiet]), cross_check.total([early])
    assert both["largest_difference_mV"] == both["rms_difference_mV"] == 1
    assert none["largest_difference_mV"] is none["rms_difference_mV"] is None


@pytest.mark.parametrize(
    "times, others, pairs", [([10, 11], [11], 1), ([10, 11], [11, 13], 2), ([10], [12.5], 0), ([], [1], 0)]
)
def test_a_spike_is_matched_once(times, others, pairs):
    assert cross_check.matched(times, others) == pairs == cross_check.matched(others, times)
