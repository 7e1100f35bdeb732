"""The task of recalling spike patterns: its data, its score, and fits from the command line."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fitting import gradient
from fitting.__main__ import app
from fitting.tasks.recall import PERTURBATIONS, Recall, TaskError
from sims import sealed
from sims.backends.compiled import PROJECT
from sims.equations import EquationError

FILE = PROJECT / "equations" / "delays.yaml"
TASK = Recall(Recall.Settings())


@pytest.fixture
def network_file(tmp_path):
    """Maker of a network file with changed lines."""

    def make(parameters="{N: 128, T: 200, M: 4, p_A: 0.004}", more=""):
        path = tmp_path / "network.yaml"
        path.write_text(f"extends: {FILE}\nparameters: {parameters}\n{more}")
        return path

    return make


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def fit(file, out, *options):
    result = call("fit", "recall", "delay_network", "--data", file, "--valid", file, "--out", out, *options)
    assert result.exit_code == 0, result.output
    return gradient.read_history(out / "history.csv")


def test_patterns_are_those_that_the_simulator_draws(network_file):
    data = TASK.read([network_file()])
    assert data.spikes.shape == (4, 200, 128) and TASK.sizes(data) == (128, 128)
    events = data.events()
    assert events.shape == data.spikes.shape and np.array_equal(events.dense().numpy() > 0, data.spikes)


def test_a_batch_imposes_noise_and_cue_and_leaves_the_rest_free(network_file):
    data = TASK.read([network_file()])
    imposed, (wanted, first) = TASK.batch(data, np.random.default_rng(0), 2)
    assert imposed.shape == (2, 300, 128) and (imposed[:, :91] >= 0).all() and (imposed[:, 91:] == -1).all()
    assert first == 91 and wanted.shape == (2, 159, 128)
    again, _ = TASK.batch(data, np.random.default_rng(1), 4)
    assert len(again) == 4 and np.array_equal(again[:, 50:91].numpy() > 0, data.spikes[:, :41])
    assert not torch.equal(again[:, :50], torch.from_numpy(data.imposed(range(4)))[:, :50])


def test_the_loss_is_one_minus_f1_of_the_scored_steps():
    wanted = torch.zeros(1, 4, 2, dtype=torch.bool)
    wanted[0, :, 0] = True
    outputs = torch.ones(1, 10, 2)
    assert TASK.loss(outputs, (wanted, 3)).item() == pytest.approx(1 - 2 * 4 / (8 + 4))
    outputs[0, :, 1] = 0
    assert TASK.loss(outputs, (wanted, 3)).item() == 0
    assert TASK.loss(0 * outputs, (wanted, 3)).item() == 1


def test_a_step_as_long_as_it_is_told_repairs_a_recall_that_dies_out(network_file, tmp_path):
    """θ .5: F1 .85 before training, because chains of spikes die; backpropagation through the free run revives them."""
    file = network_file("{N: 128, T: 200, M: 4, p_A: 0.004, theta: 0.5, alpha: 60}")
    options = "--steps", 60, "--optimizer", "normalised", "--learning-rate", 0.1, "--validate-every", 10
    first, *_, last = fit(file, tmp_path / "fit", *options)
    assert first["step"] == 0 and 0.8 < first["valid_f1"] < 0.9
    assert last["valid_f1"] == 1


def test_margins_leave_a_finished_fit_that_recalls_and_withstands_a_little(network_file, tmp_path):
    file, out = network_file(), tmp_path / "fit"
    (only,) = fit(file, out, "--steps", 0, "--set", "first=random", "--set", "margin=0.3")
    assert only["valid_f1"] == 1 and fit(
        file, out, "--steps", 0, "--set", "first=random", "--set", "margin=0.3", "--resume"
    )
    metrics, arrays = tmp_path / "metrics.json", tmp_path / "arrays.npz"
    result = call("evaluate", out, "--data", file, "--out", metrics, "--predictions", arrays)
    assert result.exit_code == 0, result.output
    scores = json.loads(metrics.read_text())
    assert scores["f1"] == 1 and scores["perfect"] == scores["patterns"] == 4 and scores["ran_away"] == 0
    with np.load(arrays) as found:
        assert (found["course_recall"] == 1).all()
        for name, amounts in PERTURBATIONS.items():
            scored = found[f"{name}_f1"]
            assert len(scored) == len(amounts) and scored[0] == 1 and scored[1] > 0.9
        assert found["moved_f1"][-1] < 0.5


def test_a_killed_start_is_not_repeated(network_file, tmp_path, monkeypatch):
    """What `start` made is in a checkpoint before the first step."""
    file, out, write = network_file(), tmp_path / "fit", sealed.write
    arguments = ("fit", "recall", "delay_network", "--data", file, "--valid", file, "--out", out, "--steps", 2)

    def killed(path, data):
        write(path, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(sealed, "write", killed)
    assert call(*arguments).exit_code != 0 and (out / "checkpoint.pt").exists()
    monkeypatch.setattr(sealed, "write", write)
    monkeypatch.setattr("fitting.models.delay_network.DelayNetwork.start", lambda *_: pytest.fail("started again"))
    result = call(*arguments, "--resume")
    assert result.exit_code == 0, result.output
    assert [row["step"] for row in gradient.read_history(out / "history.csv")] == [0, 1, 2]


def test_data_that_say_nothing_to_learn_are_refused(network_file):
    with pytest.raises(TaskError, match="found 2 files, expected one"):
        TASK.read([FILE, FILE])
    with pytest.raises(EquationError, match="expected one that can learn"):
        TASK.read([network_file(more="events: {presynaptic: u += 2}\n")])
    with pytest.raises(EquationError, match="is of kind neuron; expected network"):
        TASK.read([FILE.with_name("soma_lif.yaml")])


def test_an_unknown_optimizer_is_refused(network_file, tmp_path):
    file = network_file()
    arguments = ("--data", file, "--valid", file, "--out", tmp_path / "fit", "--optimizer", "newton")
    result = call("fit", "recall", "delay_network", *arguments)
    assert result.exit_code == 2 and "optimizer: found newton, expected adam or adamax or normalised" in result.output


@pytest.mark.parametrize(
    "task, model, expected",
    [
        ("recall", "elm", "expected delay_network for the task recall"),
        ("neuronio", "delay_network", "expected the task recall for delay_network"),
    ],
)
def test_a_network_of_delays_and_recall_go_only_together(network_file, tmp_path, task, model, expected):
    file = network_file()
    result = call("fit", task, model, "--data", file, "--valid", file, "--out", tmp_path / "fit")
    assert result.exit_code == 2 and expected in " ".join(result.output.split())
