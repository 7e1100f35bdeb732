import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from fitting import gradient, models
from fitting.__main__ import app
from fitting.benchmarks import long_range
from sims import neuronio

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
        ("spiking", {"over_eager", "over_eager_lif", "over_eager_nmda", "over_snntorch"}),
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


def test_the_benchmark_of_long_sequences_ends_with_its_figures(monkeypatch):
    for name, small in (("BATCH", 3), ("SPIKES", 90), ("BINS", 20), ("PIXELS", 30), ("LONGEST", 40)):
        monkeypatch.setattr(long_range, name, small)
    result = call("benchmark", "long_range")
    assert result.exit_code == 0, result.output
    expected = {"shd_2ms_dm100", "dense_1024_dm150", "pathfinder_x_rss_mb", "pathfinder_x_step_s"}
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
        ({"more": ["--set", "depth=2"]}, "--set depth=2: found no setting called 'depth', expected one of: d_m"),
        ({"more": ["--set", "skip_ms=1400"]}, "train.nc: simulations last 1500 ms, expected at least 1900 ms"),
        ({"more": ["--set", "burn_in_ms=500"]}, "burn_in_ms: found 500, expected from 0 to below window_ms = 500"),
        ({"model": "elm", "more": ["--set", f"d_m={10**12}"]}, "beyond this memory"),
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


def write_unchecked(monkeypatch, shard, path):
    """A shard file with a valid seal that the writer would have refused."""
    with monkeypatch.context() as careless:
        careless.setattr(neuronio, "_check", lambda *_: None)
        neuronio.write(shard, path)
    return path


def spoilt(shard, name, value):
    array = getattr(shard, name).copy()
    array.flat[-1] = value
    return replace(shard, **{name: array})


def without_simulations(shard):
    nothing = {name: getattr(shard, name)[:0] for name in ("event_time", "event_channel", "spike_time", "soma_voltage")}
    return replace(shard, **nothing, event_start=shard.event_start[:1], spike_start=shard.spike_start[:1])


@pytest.mark.parametrize("role", ["data", "valid", "evaluate"])
@pytest.mark.parametrize(
    "spoil, complaint",
    [
        (lambda shard: spoilt(shard, "soma_voltage", np.nan), "soma_voltage holds NaN or infinity, expected finite mV"),
        (lambda shard: spoilt(shard, "soma_voltage", -np.inf), "soma_voltage holds NaN or infinity, expected finite"),
        (
            lambda shard: spoilt(shard, "spike_time", np.nan),
            "spike_time spans nan to nan ms, expected 0 <= time < 1500",
        ),
        (without_simulations, "dimension simulation is empty, expected at least one entry"),
    ],
)
def test_data_that_is_not_numbers_or_not_there_is_refused(
    role, spoil, complaint, fitted, shards, make_shard, tmp_path, monkeypatch
):
    bad = write_unchecked(monkeypatch, spoil(make_shard(0, 6, 1500, 20)), tmp_path / "bad.nc")
    if role == "evaluate":
        result = call("evaluate", fitted, "--data", bad, "--out", tmp_path / "metrics.json")
    else:
        result = call(*fit_arguments({**shards, {"data": "train"}.get(role, role): bad}, tmp_path / "fit"))
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {bad}: {complaint}"), result.output
    assert result.stderr.count("\n") == 1 and [path.name for path in tmp_path.iterdir()] == ["bad.nc"]


@pytest.mark.parametrize("role", ["train", "valid"])
def test_training_and_validation_data_of_other_channels_are_refused(role, shards, make_shard, tmp_path):
    neuronio.write(make_shard(0, 2, 1500, 3), tmp_path / "six.nc")
    result = call(*fit_arguments({**shards, role: tmp_path / "six.nc"}, tmp_path / "fit"))
    found, expected = ("(40, 2)", "(6, 2)") if role == "train" else ("(6, 2)", "(40, 2)")
    assert result.exit_code == 2 and f"found (inputs, outputs) {found}, expected {expected} as in" in result.stderr
    assert not (tmp_path / "fit").exists()


def copied(fitted, folder, **changes):
    """A copy of a fit whose config.yaml says other things; None takes a line away."""
    shutil.copytree(fitted, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text())
    for name, value in changes.items():
        *owners, name = name.split("__")
        holder = config[owners[0]] if owners else config
        holder[name] = value
        if value is None:
            del holder[name]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize(
    "changes, complaint",
    [
        ({"model": "elm"}, "config.yaml: found the unknown setting 'd_brch', expected some of: activation"),
        ({"model": ["elm"]}, "config.yaml: MODEL: found '['elm']', expected one of: elm"),
        ({"model_settings__d_m": 7}, "model.safetensors: found the shape"),
        ({"model_settings__d_m": "6"}, "config.yaml: d_m is '6', expected a whole number"),
        ({"model_settings__d_m": 10**12}, "beyond this memory"),
        ({"model_settings__d_tree": 41}, "config.yaml: setting d_tree: found 41, expected fewer branches"),
        ({"task": {"a": 1}}, "config.yaml: TASK: found '{'a': 1}', expected one of: neuronio"),
        ({"task": None}, "config.yaml: found no 'task', expected the settings of a fit"),
        ({"task_settings__window_ms": 0}, "config.yaml: setting window_ms: found 0, expected at least 1"),
        ({"training": 3}, "config.yaml: training is 3, expected settings"),
        ({"num_input": 39}, "config.yaml: setting number of input channels: found 39, expected an even number"),
    ],
)
def test_a_fit_whose_files_do_not_belong_together_is_refused(changes, complaint, fitted, shards, tmp_path):
    folder = copied(fitted, tmp_path / "fit", **changes)
    result = call("evaluate", folder, "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and complaint in result.stderr and result.stderr.count("\n") == 1, result.output
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("text", ["", "{" * 5000, "a: b: c", "!!python/object/apply:os.abort []"])
def test_a_config_that_is_no_settings_is_refused(text, fitted, shards, tmp_path):
    folder = copied(fitted, tmp_path / "fit")
    (folder / "config.yaml").write_text(text)
    result = call("evaluate", folder, "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and result.stderr.startswith(f"error: {folder / 'config.yaml'}: "), result.output
    assert result.stderr.count("\n") == 1


def test_weights_that_are_not_numbers_are_refused(fitted, shards, tmp_path):
    model, config = gradient.load(fitted, models.find)
    with torch.no_grad():
        model.readout.bias[1] = math.nan
    gradient.keep(tmp_path / "fit", config, model.state_dict())
    result = call("evaluate", tmp_path / "fit", "--data", shards["valid"], "--out", tmp_path / "metrics.json")
    assert result.exit_code == 2 and f"{tmp_path / 'fit'}: the loss is nan, expected weights with a" in result.stderr
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize(
    "text", ["", "step,valid_loss\n", "step,valid_loss\n20,\n", "step\n20\n", "step,valid_loss\n20,x\n"]
)
def test_a_history_without_losses_is_refused(text, fitted, shards, tmp_path):
    folder = copied(fitted, tmp_path / "fit")
    (folder / "history.csv").write_text(text)
    result = call(*fit_arguments(shards, folder), "--resume")
    assert result.exit_code == 2 and "history.csv: " in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["elk"], "MODEL: found 'elk', expected one of: elm"),
        (["elm", "--set", "d_m=0"], "setting d_m: found 0, expected at least 1"),
        (["elm", "--set", "d_m=100000000000"], "beyond this memory"),
        (["elm", "--inputs", "100000000000"], "beyond this memory"),
        (["branch_elm", "--inputs", "7"], "setting number of input channels: found 7, expected an even number"),
        (["tcn", "--set", "layers=0"], "setting layers: found 0, expected at least 1"),
    ],
)
def test_a_model_that_cannot_be_described_is_refused(arguments, complaint):
    result = call("describe", *arguments)
    assert result.exit_code == 2 and complaint in result.stderr and result.stderr.count("\n") == 1, result.output


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
