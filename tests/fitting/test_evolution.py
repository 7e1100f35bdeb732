import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from typer.testing import CliRunner

from fitting import evolution, models, trials
from fitting.__main__ import app
from fitting.evolution import Evolution, Search, Simulator
from fitting.models.equation_neuron import EquationNeuron
from fitting.models.routing import compartments
from fitting.tasks.neuronio import NeuronIO

NEURON = "equations/neuron_nmda.yaml"
REDUCED = "equations/neuron_reduced.yaml"
# A dendrite alone, which torch simulates in milliseconds.
SMALL = ["--device", "torch", "--set", "neurons=4", "--set", "duration_ms=60", "--set", "dt_ms=1"]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def history(folder):
    with open(folder / "history.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def dendrite(tmp_path_factory):
    """A dendrite with two parameters to find and events that lift it."""
    file = tmp_path_factory.mktemp("files") / "dendrite.yaml"
    file.write_text(f"extends: {os.path.abspath('equations/dendrite_nmda.yaml')}\nparameters: {{ds: 0.3}}\n")
    return file


@pytest.fixture(scope="module")
def windows(shards):
    """(task, training data, validation data) with short windows."""
    task = NeuronIO(NeuronIO.Settings(window_ms=150, burn_in_ms=50))
    return task, task.read([shards["train"]]), task.read([shards["valid"]])


def neuronio_trials(windows, dendrites=1, count=24, dt_ms=1.0):
    task, train, valid = windows
    neuron = EquationNeuron(EquationNeuron.Settings(dendrites=dendrites, dt_ms=dt_ms), *task.sizes(train))
    return trials.NeuronIOTrials(neuron, trials.WindowSettings(windows=count), 0, task, train, valid)


def test_the_parameters_of_a_dendrite_are_recovered_from_its_voltage_to_within_two_percent(dendrite, tmp_path):
    result = call("evolve", dendrite, "recovery", "--out", tmp_path / "fit", "--generations", 40, *SMALL)
    assert result.exit_code == 0, result.output
    assert float(history(tmp_path / "fit")[-1]["error"]) < 0.02
    found = load_file(tmp_path / "fit" / "model.safetensors")
    assert found["w"].item() == pytest.approx(15, rel=0.02) and found["ds"].item() == pytest.approx(0.3, rel=0.02)
    metrics = json.loads((tmp_path / "fit" / "metrics.json").read_text())
    assert metrics["parameters"]["w"] == found["w"].item() and metrics["evaluations"] == 40 * 16


@pytest.mark.slow
def test_the_parameters_of_the_nmda_neuron_are_recovered_from_its_traces(tmp_path):
    result = call("evolve", NEURON, "recovery", "--out", tmp_path / "fit", "--generations", 150)
    assert result.exit_code == 0, result.output
    assert float(history(tmp_path / "fit")[-1]["error"]) < 0.02


@pytest.mark.faults
def test_a_killed_search_goes_on_to_the_same_result(dendrite, tmp_path):
    arguments = ["evolve", dendrite, "recovery", "--generations", 30, *SMALL, "--resume", "--out"]
    assert call(*arguments, tmp_path / "whole").exit_code == 0
    command = [sys.executable, "-m", "fitting", *map(str, arguments), str(tmp_path / "killed")]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "killed" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert call(*arguments, tmp_path / "killed").exit_code == 0
    for name in ("model.safetensors", "config.yaml"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    whole, killed = (history(tmp_path / name) for name in ("whole", "killed"))
    assert [row | {"cpu_s": 0} for row in whole] == [row | {"cpu_s": 0} for row in killed]


def test_what_a_generation_draws_follows_from_the_seed_and_what_was_told():
    searches = [Search(np.full(3, 0.5), Evolution(seed=seed, candidates=6)) for seed in (0, 0, 1)]
    for losses in (np.arange(6.0), np.arange(6.0)[::-1]):
        points = [search.ask() for search in searches]
        np.testing.assert_array_equal(points[0], points[1])
        assert not np.array_equal(points[0], points[2])
        for search in searches:
            search.tell(list(losses))
    assert all(((0 <= point) & (point <= 1)).all() for point in searches[0].ask())


@pytest.mark.parametrize("dt_ms", [1.0, 0.5])
def test_the_loss_of_a_candidate_is_the_tasks_loss_of_the_model_that_the_fit_leaves(windows, dt_ms):
    judged_by = neuronio_trials(windows, dt_ms=dt_ms)
    (judged,) = Simulator(judged_by.setup, "torch").evaluate([{}], judged_by.inputs, judged_by.judge)
    neuron = judged_by.neuron
    neuron.load_state_dict(judged_by.weights(neuron.model.values(), vars(judged)))
    task, train, _ = windows
    inputs, targets = task.batch(train, trials.stream(0, "trials"), 24)
    with torch.no_grad():
        assert float(task.loss(neuron(inputs), targets)) == pytest.approx(judged.loss, rel=1e-5)


def test_candidates_in_one_batch_of_torch_are_judged_as_each_alone(windows):
    judged_by = neuronio_trials(windows)
    simulator = Simulator(judged_by.setup, "torch")
    candidates = [{"soma_tau_ampa": 0.01}, {"dendrite1_w": 50.0}, {}]
    together = simulator.evaluate(candidates, judged_by.inputs, judged_by.judge)
    alone = [simulator.evaluate([one], judged_by.inputs, judged_by.judge)[0] for one in candidates]
    assert [one.loss for one in together] == pytest.approx([one.loss for one in alone], rel=1e-12)
    assert len({one.loss for one in together}) == 3


@pytest.mark.slow
def test_brian2s_program_and_torch_judge_a_candidate_alike(windows):
    judged_by = neuronio_trials(windows, dendrites=2)
    candidates = [{}, {"dendrite1_w": 50.0}]
    losses = [
        [one.loss for one in Simulator(judged_by.setup, device).evaluate(candidates, judged_by.inputs, judged_by.judge)]
        for device in evolution.DEVICES
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-8)


def test_a_fit_to_neuronio_is_a_fit_that_evaluate_takes(shards, tmp_path):
    sizes = ["--set", "window_ms=150", "--set", "burn_in_ms=50", "--set", "windows=24", "--set", "dendrites=1"]
    result = call("evolve", REDUCED, "neuronio", "--data", shards["train"], "--valid", shards["valid"], "--out",
                  tmp_path / "fit", "--generations", 3, "--candidates", 5, "--device", "torch", *sizes)  # fmt: skip
    assert result.exit_code == 0, result.output
    rows = history(tmp_path / "fit")
    assert [int(row["evaluations"]) for row in rows] == [5, 10, 15]
    assert all(float(a["best_loss"]) >= float(b["best_loss"]) for a, b in zip(rows[:-1], rows[1:], strict=True))
    result = call("evaluate", tmp_path / "fit", "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 0, result.output
    scores = json.loads((tmp_path / "metrics.json").read_text())
    assert scores["auc"] == pytest.approx(float(rows[-1]["valid_auc"]), abs=1e-4)
    assert scores["parameters"]["trainable"] == 13 + 2 * 3


def test_a_descent_starts_from_the_readout_that_suits_the_file_best(windows):
    task, train, _ = windows
    neuron = EquationNeuron(EquationNeuron.Settings(dendrites=1), *task.sizes(train))
    neuron.start(train)
    least = task.evaluate(neuron, train)[0]["loss"]
    for row in range(2):
        for change in (-0.5, 0.5):
            weights = torch.cat([neuron.readout.bias[:, None], neuron.readout.weight], 1).detach().clone()
            weights[row, 0] += change
            other = EquationNeuron(neuron.settings, *task.sizes(train))
            other.place(train)
            other.read_by(weights)
            assert task.evaluate(other, train)[0]["loss"] > least


def test_a_fit_is_refused_once_its_equations_have_changed(windows, tmp_path):
    file = tmp_path / "neuron.yaml"
    file.write_text(f"extends: {os.path.abspath(REDUCED)}\n")
    kind = models.find("equation_neuron")
    weights = kind(kind.Settings(equations=str(file)), 40, 2).state_dict()
    file.write_text(f"extends: {os.path.abspath(REDUCED)}\nparameters: {{soma_E_I: -70*mV}}\n")
    with pytest.raises(Exception, match="that of the equations which were fitted"):
        kind(kind.Settings(equations=str(file)), 40, 2).load_state_dict(weights)


def test_a_channel_reaches_the_compartment_of_its_place():
    region = np.tile(np.repeat(["basal", "apical"], [40, 60]), 2)
    distance = np.tile(np.r_[np.linspace(0, 200, 40), np.linspace(50, 1300, 60)], 2)
    for count in range(1, 10):
        found = compartments(region, distance, count)
        assert sorted(set(found)) == list(range(count))
        assert (found[:100] == found[100:]).all()
    tuft = compartments(region, distance, 3) == 2
    assert (region[tuft] == "apical").all() and distance[tuft].min() > distance[~tuft].max() - 1e-9


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        ([NEURON, "recover"], "TASK: found 'recover', expected one of: recovery, neuronio"),
        ([NEURON, "neuronio"], "--data: found no files for neuronio, expected shards"),
        (["equations/soma_lif.yaml", "recovery"], "marks no parameter `fit: true`"),
        ([NEURON, "recovery", "--device", "gpu"], "device: found gpu, expected cpp or torch"),
        ([NEURON, "recovery", "--spread", "0"], "spread: found 0.0, expected a number above 0"),
        ([NEURON, "recovery", "--set", "neuron=2"], "found no setting called 'neuron'"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_a_line(arguments, complaint, tmp_path):
    result = call("evolve", *arguments, "--out", tmp_path / "fit")
    assert result.exit_code == 2 and complaint in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "fit").exists()


def test_a_neuron_without_compartments_is_refused(shards, tmp_path):
    data = ["--data", shards["train"], "--valid", shards["valid"], "--out", tmp_path / "fit"]
    result = call("evolve", NEURON, "neuronio", *data)
    assert result.exit_code == 2 and "expected X_excitation and X_inhibition for every compartment X" in result.stderr


def test_the_same_folder_cannot_hold_another_search(dendrite, tmp_path):
    arguments = ["evolve", dendrite, "recovery", "--out", tmp_path / "fit", *SMALL, "--generations"]
    assert call(*arguments, 2).exit_code == 0
    assert "found a finished fit" in call(*arguments, 2).stderr
    assert call(*arguments, 2, "--resume").exit_code == 0
    assert "evolution.generations = 2, found 3" in call(*arguments, 3, "--resume").stderr
    config = yaml.safe_load((tmp_path / "fit" / "config.yaml").read_text())
    assert config["evolution"]["generations"] == 2 and config["task"] == "recovery"
