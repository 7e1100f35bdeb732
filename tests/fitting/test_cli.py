import csv
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module

import numpy as np
import pytest
from typer.testing import CliRunner

from fitting import models
from fitting.__main__ import app

SMALL = ["--set", "d_m=6", "--set", "d_tree=4", "--set", "d_brch=12", "--set", "window_ms=150"]
SMALL += ["--set", "burn_in_ms=50", "--validate-every", "20", "--learning-rate", "3e-2"]


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit_arguments(shards, out, steps=60):
    return ["fit", "neuronio", "branch_elm", "--data", shards["train"], "--valid", shards["valid"], "--out", out,
            "--steps", steps, *SMALL]  # fmt: skip


@pytest.fixture(scope="module")
def fitted(shards, tmp_path_factory):
    out = tmp_path_factory.mktemp("fits") / "fit"
    result = call(*fit_arguments(shards, out))
    assert result.exit_code == 0, result.output
    return out


def test_a_fit_learns_the_leaky_cell(fitted):
    with open(fitted / "history.csv", newline="") as file:
        *_, last = csv.DictReader(file)
    assert float(last["valid_variance_explained"]) > 0.5


@pytest.mark.slow
def test_a_longer_fit_finds_the_spikes_too(shards, tmp_path):
    assert call(*fit_arguments(shards, tmp_path / "fit", steps=250)).exit_code == 0
    with open(tmp_path / "fit" / "history.csv", newline="") as file:
        assert max(float(row["valid_auc"]) for row in csv.DictReader(file)) > 0.75


def test_evaluate_writes_metrics_and_arrays_for_figures(fitted, shards, tmp_path):
    metrics, arrays = tmp_path / "metrics.json", tmp_path / "predictions.npz"
    result = call("evaluate", fitted, "--data", shards["valid"], "--out", metrics, "--predictions", arrays)
    assert result.exit_code == 0, result.output
    scores = json.loads(metrics.read_text())
    assert scores["variance_explained"] > 0.3 and scores["simulations"] == 6
    with open(fitted / "history.csv", newline="") as file:
        best = min(float(row["valid_loss"]) for row in csv.DictReader(file))
    assert scores["loss"] == best
    with np.load(arrays) as loaded:
        area = np.trapezoid(loaded["roc_true_positive"], loaded["roc_false_positive"])
        assert area == pytest.approx(scores["auc"])
        assert len(loaded["trace_time_ms"]) == len(loaded["trace_predicted_voltage_mV"]) == 950


def test_describe_prints_our_count_next_to_the_papers():
    result = call("describe", "branch_elm", "--set", "d_m=20", "--json")
    assert "trainable 8002, live 7784, printed in the paper 8104" in result.output
    last = json.loads(result.output.splitlines()[-1])
    assert (last["trainable"], last["live"], last["printed"]) == (8002, 7784, "8104")


@pytest.mark.parametrize("model", models.MODELS)
def test_describe_counts_parameters_and_operations_of_every_model(model):
    result = call("describe", model, "--json")
    figures = json.loads(result.output.splitlines()[-1])
    assert result.exit_code == 0 and figures["trainable"] >= figures["live"] > 0
    assert figures["flops_per_step"] >= 2 * 1278 and f"inference   {figures['flops_per_step']}" in result.output


def test_a_steps_operations_are_those_of_the_equations():
    result = call("describe", "branch_elm", "--set", "d_m=3", "--set", "d_tree=4", "--set", "d_brch=5", "--json",
                  "--inputs", 16)  # fmt: skip
    synapses, branches, memory = 3 * 4 * 5, 4 * 5, 3 * 3
    layers = 2 * ((4 + 3) * 6 + 6 * 3 + 3 * 2)
    assert json.loads(result.output.splitlines()[-1])["flops_per_step"] == synapses + branches + memory + layers


def test_describe_knows_the_elm_too():
    result = call("describe", "elm", "--json")
    assert "trainable 54100, live 54100, printed in the paper 52.92K" in result.output


@pytest.mark.parametrize("model, size", [("elm", "d_m=4"), ("lstm", "hidden=4"), ("chrono_lstm", "hidden=4")])
def test_every_other_model_is_fitted_and_evaluated_too(shards, tmp_path, model, size):
    sizes = [argument for name in (size, "window_ms=150", "burn_in_ms=50") for argument in ("--set", name)]
    data = ["--data", shards["train"], "--valid", shards["valid"], "--steps", 5]
    result = call("fit", "neuronio", model, *data, "--out", tmp_path / "fit", *sizes)
    assert result.exit_code == 0, result.output
    result = call("evaluate", tmp_path / "fit", "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "name, expected",
    [
        ("elm", {"branch_elm_batch8", "elm_batch8", "branch_elm_batch64", "branch_elm_batch8_loader_ms"}),
        ("lstm", {"lstm_15", "lstm_50", "lstm_100", "lstm_50_torch_ms"}),
    ],
)
def test_a_benchmark_ends_with_its_figures(monkeypatch, name, expected):
    def measure_nothing(*works, **how_often):
        works[0]()
        return [1.0 + i for i in range(len(works))]

    monkeypatch.setattr(import_module(f"fitting.benchmarks.{name}"), "cpu_ms", measure_nothing)
    result = call("benchmark", name, "--seed", 3)
    assert result.exit_code == 0, result.output
    assert expected <= json.loads(result.output.splitlines()[-1]).keys()


def test_a_benchmark_that_does_not_exist_is_refused():
    result = call("benchmark", "elk")
    assert result.exit_code == 2 and "NAME: found 'elk', expected one of: elm" in result.stderr


def test_a_second_fit_into_the_same_folder_is_refused(fitted, shards):
    refused = call(*fit_arguments(shards, fitted))
    assert refused.exit_code == 2 and "found a finished fit, expected an empty folder" in refused.stderr
    assert call(*fit_arguments(shards, fitted), "--resume").exit_code == 0
    other = call(*fit_arguments(shards, fitted), "--resume", "--seed", "9")
    assert other.exit_code == 2 and "training.seed = 0, found 9" in other.stderr


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"task": "digit"}, "TASK: found 'digit', expected one of: neuronio"),
        ({"model": "elephant"}, "MODEL: found 'elephant', expected one of: elm, branch_elm"),
        ({"data": "absent.nc"}, "absent.nc: cannot be read (No such file or directory); expected a NeuronIO shard"),
        ({"more": ["--set", "d_m=many"]}, "--set d_m=many: found 'many', expected a whole number"),
        ({"more": ["--learning-rate", "-1"]}, "learning_rate: found -1.0, expected a finite number above 0"),
    ],
)
def test_bad_input_is_one_line_that_names_it_and_leaves_nothing(shards, tmp_path, change, complaint):
    result = call("fit", change.get("task", "neuronio"), change.get("model", "branch_elm"),
                  "--data", change.get("data", shards["train"]), "--valid", shards["valid"], "--out", tmp_path / "fit",
                  *change.get("more", []))  # fmt: skip
    assert result.exit_code == 2
    assert complaint in result.stderr and result.stderr.count("\n") == 1
    assert not (tmp_path / "fit").exists()


def test_evaluating_what_is_not_a_finished_fit_is_refused(fitted, shards, tmp_path):
    result = call("evaluate", tmp_path, "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and "config.yaml" in result.stderr
    result = call("evaluate", fitted, "--data", shards["valid"], "--out", tmp_path)
    assert result.exit_code == 2 and f"{tmp_path}: cannot be written: Is a directory" in result.stderr


@pytest.mark.faults
def test_altered_weights_are_refused(fitted, shards, tmp_path):
    folder = tmp_path / "altered"
    folder.mkdir()
    (folder / "config.yaml").write_bytes((fitted / "config.yaml").read_bytes())
    whole = (fitted / "model.safetensors").read_bytes()
    for altered in (whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:], whole[: len(whole) // 2], b""):
        (folder / "model.safetensors").write_bytes(altered)
        result = call("evaluate", folder, "--data", shards["valid"], "--out", tmp_path / "metrics.json")
        assert result.exit_code == 2 and "model.safetensors" in result.stderr
        assert not (tmp_path / "metrics.json").exists()


def test_weights_of_another_model_are_refused(fitted, shards, tmp_path):
    larger, folder = tmp_path / "larger", tmp_path / "mixed"
    assert call(*fit_arguments(shards, larger, steps=2), "--set", "d_mlp=3").exit_code == 0
    folder.mkdir()
    (folder / "config.yaml").write_bytes((fitted / "config.yaml").read_bytes())
    (folder / "model.safetensors").write_bytes((larger / "model.safetensors").read_bytes())
    result = call("evaluate", folder, "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "found the shape (3,) for mlp_in.bias, expected the shape (12,) by config.yaml (branch_elm)" in result.stderr


def test_a_model_of_other_channels_is_refused(fitted, make_shard, tmp_path):
    from sims import neuronio

    neuronio.write(make_shard(0, 1, 1000, 3), tmp_path / "six.nc")
    result = call("evaluate", fitted, "--data", tmp_path / "six.nc", "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and "six.nc: found (inputs, outputs) (6, 2), expected (40, 2)" in result.stderr


@pytest.mark.faults
def test_a_process_killed_in_the_middle_goes_on_to_the_same_weights(fitted, shards, tmp_path):
    command = [sys.executable, "-m", "fitting", *map(str, fit_arguments(shards, tmp_path / "fit")), "--resume"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "fit" / "checkpoint.pt").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    result = call(*fit_arguments(shards, tmp_path / "fit"), "--resume")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "fit" / "model.safetensors").read_bytes() == (fitted / "model.safetensors").read_bytes()
