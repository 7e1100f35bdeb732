"""Simulations of the layer-5 cell from the command line: what they give, and what they refuse."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sims import neuronio

PROJECT = Path(__file__).resolve().parents[2]
# The reference: 800 simulations of 6 s of the published cell; soma voltage after 500 ms.
RATE, MEAN, SD, SD_OF_CAPPED = 1.223, -66.973, 4.20, 3.30


def sims(*arguments, **environment):
    """Run `python -m sims …` as a user would."""
    run = subprocess.run(
        [sys.executable, "-m", "sims", *map(str, arguments)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture
def refusal(command):
    """Runner of `python -m sims …` that is refused: what it says."""

    def run(*arguments):
        found = command(*arguments)
        assert found.code == 2 and "Traceback" not in found.stderr, found.stderr
        return found.stderr

    return run


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    path = tmp_path_factory.mktemp("shard") / "shard.nc"
    sims("neuronio", "generate", path, "--seed", 3, "--simulations", 2, "--seconds", 1, "--dt", 0.1)
    return path


def test_a_shard_says_what_it_was_made_from(shard):
    found = neuronio.read(shard)
    assert found.soma_voltage.shape == (2, 1000) and found.channels == 1278
    assert found.attributes["cell"] == "l5_stylised" and found.attributes["dt_ms"] == 0.1
    assert found.attributes["backend"] == "cable" and found.attributes["precision"] == "float32"
    assert found.soma_voltage[:, 0] == pytest.approx(-76)
    assert (found.event_time > 0).all()


def test_a_simulation_is_the_same_in_any_shard_and_on_any_number_of_cores(shard, tmp_path):
    alone = tmp_path / "alone.nc"
    settings = ("--seed", 3, "--seconds", 1, "--dt", 0.1)
    sims("neuronio", "generate", alone, *settings, "--simulations", 1, "--first", 1, OMP_NUM_THREADS="2")
    two, one = neuronio.read(shard), neuronio.read(alone)
    np.testing.assert_array_equal(two.soma_voltage[1], one.soma_voltage[0])
    np.testing.assert_array_equal(two.events(1), one.events(0))
    again = tmp_path / "again.nc"
    sims("neuronio", "generate", again, *settings, "--simulations", 2, OMP_NUM_THREADS="2")
    assert again.read_bytes() == shard.read_bytes()


@pytest.mark.parametrize(
    "options, words",
    [
        (["--cell", "purkinje"], "purkinje"),
        (["--seconds", -1], "--seconds: found -1"),
        (["--seconds", 66], "at most 65"),
        (["--simulations", 0], "--simulations: found 0"),
        (["--dt", -0.1], "--dt: found -0.1"),
        (["--dt", "nan"], "--dt: found nan"),
        (["--dt", 0], "--dt: found 0.0, expected a fixed step"),
        (["--precision", "float16"], "--precision: found 'float16'"),
        (["--backend", "neuron", "--precision", "float32"], "NEURON computes in float64 only"),
        (["--backend", "neuron", "--tables"], "only the cable solver has them"),
        (["--precision", "float64", "--tables"], "--tables: found with --precision float64"),
        (["--simd", "mmx"], "--simd: found 'mmx'"),
        (["--backend", "abacus"], "--backend: found 'abacus'"),
        (["--equations", "nowhere.yaml"], "nowhere.yaml"),
        (["--inputs", "equations/l5pc/cell.yaml"], "cell.yaml"),
    ],
)
def test_impossible_options_are_refused_before_anything_is_simulated(tmp_path, options, words, refusal):
    message = refusal("neuronio", "generate", tmp_path / "out.nc", "--simulations", 1, "--seconds", 1, *options)
    assert words in message and not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_simulated(tmp_path, refusal):
    (tmp_path / "file").write_text("in the way")
    message = refusal("neuronio", "generate", tmp_path / "file" / "out.nc", "--simulations", 1, "--seconds", 1)
    assert "out.nc" in message and "simulated" not in message


def test_given_events_are_answered_by_given_formats(tmp_path):
    events, out = tmp_path / "events.npz", tmp_path / "out.npz"
    time = np.arange(100, 130)
    np.savez(
        events, event_time_ms=np.tile(time, 20), event_channel=np.repeat(np.arange(0, 600, 30), 30), note="ignored"
    )
    sims("l5pc", events, out, "--dt", 0.1, "--duration", 200)
    with np.load(out) as found:
        assert found["soma_voltage"].shape == found["nexus_voltage"].shape == (1, 200)
        assert found["soma_voltage"][0, 150] > found["soma_voltage"][0, 95] + 1
        assert found["spike_time_ms"].shape == found["spike_trial"].shape


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({"event_time_ms": [1]}, "no array 'event_channel'"),
        ({"event_time_ms": [1, 2], "event_channel": [0]}, "shape"),
        ({"event_time_ms": [-1], "event_channel": [0]}, "spans -1"),
        ({"event_time_ms": [1], "event_channel": [1278]}, "expected 0 to 1277"),
        ({"event_time_ms": [1], "event_channel": [-1]}, "expected 0 to 1277"),
        ({"event_time_ms": [1.5], "event_channel": [0]}, "whole numbers"),
        ({"event_time_ms": [float("nan")], "event_channel": [0]}, "whole numbers"),
        ({"event_time_ms": ["a"], "event_channel": [0]}, "whole numbers"),
        ({"event_time_ms": np.array([None]), "event_channel": [0]}, "plain arrays"),
    ],
)
def test_events_that_cannot_be_are_refused(tmp_path, arrays, words, refusal):
    np.savez(tmp_path / "events.npz", **{name: np.asarray(values) for name, values in arrays.items()})
    assert words in refusal("l5pc", tmp_path / "events.npz", tmp_path / "out.npz")
    assert not (tmp_path / "out.npz").exists()


def test_both_simulators_answer_the_same_events_alike(tmp_path):
    rng = np.random.default_rng(1)
    events = {"event_time_ms": rng.integers(1, 60, 500), "event_channel": rng.integers(0, 1278, 500)}
    np.savez(tmp_path / "events.npz", **events, event_trial=rng.integers(0, 3, 500))
    found = []
    for backend in ("cable", "neuron"):
        sims("l5pc", tmp_path / "events.npz", tmp_path / "out.npz", "--backend", backend, "--duration", 60)
        with np.load(tmp_path / "out.npz") as recordings:
            found.append(recordings["soma_voltage"])
    assert found[0].shape == (3, 60)
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-6)


def test_a_file_that_is_no_archive_is_refused(tmp_path, refusal):
    (tmp_path / "events.npz").write_text("1 2 3")
    assert "NumPy archive" in refusal("l5pc", tmp_path / "events.npz", tmp_path / "out.npz")


def test_the_variable_step_agrees_with_the_fixed_one_below_threshold(tmp_path):
    events = tmp_path / "events.npz"
    rng = np.random.default_rng(1)
    np.savez(events, event_time_ms=np.sort(rng.integers(1, 150, 400)), event_channel=rng.integers(0, 1278, 400))
    voltages = {}
    for dt in (0.025, 0):
        sims("l5pc", events, tmp_path / f"{dt}.npz", "--backend", "neuron", "--dt", dt, "--duration", 150)
        with np.load(tmp_path / f"{dt}.npz") as found:
            voltages[dt] = found["soma_voltage"][0]
    assert np.ptp(voltages[0]) > 1 and np.sqrt(np.mean((voltages[0] - voltages[0.025]) ** 2)) < 0.02


def statistics(shards):
    """(rate Hz, mean, SD, SD of the capped voltage in mV) of simulations after 500 ms."""
    voltage = np.concatenate([shard.soma_voltage for shard in shards])[:, 500:].astype(float)
    spikes = sum(int((shard.spike_time >= 500).sum()) for shard in shards)
    return spikes / (voltage.size / 1e3), voltage.mean(), voltage.std(), np.minimum(voltage, -55).std()


def generated(tmp_path, cell, simulations, *options):
    """Two shards made by two processes side by side."""
    paths = [tmp_path / f"{k}.nc" for k in range(2)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "sims", "neuronio", "generate", path, "--cell", cell, "--seed", "100512"]
            + ["--simulations", str(simulations // 2), "--first", str(k * simulations // 2), *options],
            cwd=PROJECT,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for k, path in enumerate(paths)
    ]
    assert [process.wait() for process in processes] == [0, 0]
    return [neuronio.read(path) for path in paths]


def check_reference(shards, n):
    rate, mean, sd, capped = statistics(shards)
    print(f"{n} simulations of 6 s: {rate:.3f} Hz, {mean:.3f} mV, SD {sd:.3f} mV, SD capped at -55 mV {capped:.3f} mV")
    assert rate == pytest.approx(RATE, abs=3 * 1.49 / np.sqrt(n))
    assert mean == pytest.approx(MEAN, abs=3 * 0.8 / np.sqrt(n))
    # The SD's own standard error: from the reference's two samples (4.20 of 800, 4.95 of 32), 0.75 at 32 simulations.
    assert sd == pytest.approx(SD, abs=3 * 0.75 * np.sqrt(32 / n))


@pytest.mark.slow
def test_cell1_lands_in_the_reference_statistics(tmp_path, cell1_path):
    check_reference(generated(tmp_path, cell1_path, 256), 256)


@pytest.mark.slow
def test_cell1_in_neuron_lands_in_the_reference_statistics(tmp_path, cell1_path):
    check_reference(generated(tmp_path, cell1_path, 8, "--backend", "neuron"), 8)


@pytest.mark.slow
def test_the_stylised_cell_lives(tmp_path):
    rate, mean, sd, _ = statistics(generated(tmp_path, "stylised", 128))
    print(f"128 simulations of 6 s: {rate:.3f} Hz, {mean:.3f} mV, SD {sd:.3f} mV")
    assert 0.5 <= rate <= 4
