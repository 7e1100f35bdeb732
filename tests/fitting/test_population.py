"""Populations: the worst become altered copies of the best."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fitting import gradient, models
from fitting.models.spiking import LIFNetwork
from fitting.population import BOUNDS, FACTORS, Population, fit, read_lineages
from fitting.settings import SettingError, as_plain
from fitting.tasks.delayed_digits import DelayedDigits, Settings
from tests.fitting.test_cli import call

HOW = Population(members=4, steps=9, every=3, batch_size=32, learning_rate=0.03)
MODEL = LIFNetwork.Settings(hidden=12, units=10)
TASK = DelayedDigits(Settings(input_ms=200.0, channels=70))


@pytest.fixture(scope="module")
def data(spoken):
    return TASK.read([spoken["train"]]), TASK.read([spoken["valid"]])


def config(model=MODEL):
    plain = {"task_settings": as_plain(TASK.settings), "model_settings": as_plain(model)}
    return {"task": "delayed_digits", "model": "lif_network", "num_input": 70, "num_output": 10, **plain}


def run(data, out, how=HOW, **options):
    return fit(LIFNetwork, MODEL, TASK, *data, how, out, config(), show_progress=False, **options)


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("population") / "fit"
    return out, run(data, out)


def rounds(lineages):
    return [lineages[start : start + 4] for start in range(0, len(lineages), 4)]


def test_each_round_the_worst_take_the_place_of_copies_of_the_best_with_other_numbers(trained):
    _, lineages = trained
    assert len(lineages) == 12 and [row["parent"] for row in lineages[:4]] == [0, 1, 2, 3]
    for before, after in zip(rounds(lineages)[:-1], rounds(lineages)[1:], strict=True):
        losses = [row["valid_loss"] for row in before]
        worst, best = int(np.argmax(losses)), int(np.argmin(losses))
        assert after[worst]["parent"] == best
        assert all(row["parent"] == row["member"] for row in after if row["member"] != worst)
        for name in BOUNDS:
            factor = after[worst][name] / before[best][name]
            assert any(factor == pytest.approx(f) for f in FACTORS), name
            assert all(after[m][name] == before[m][name] for m in range(4) if m != worst)


def test_it_learns(trained):
    _, lineages = trained
    assert min(row["valid_loss"] for row in lineages[-4:]) < min(row["valid_loss"] for row in lineages[:4])


def test_the_best_member_is_left_as_a_fit(trained, data):
    out, lineages = trained
    model, kept = gradient.load(out, models.find)
    metrics, _ = TASK.evaluate(model, data[1])
    assert metrics["loss"] == pytest.approx(min(row["valid_loss"] for row in lineages[-4:]), rel=1e-4)
    assert kept["population"]["members"] == 4 and not (out / "checkpoint.pt").exists()
    assert read_lineages(out / "lineages.csv") == lineages


def test_an_interrupted_population_goes_on_to_the_same_bytes(trained, data, tmp_path, monkeypatch):
    from fitting import population

    calls, before = [], population._Run.exploit_and_explore

    def killed(self):
        calls.append(self.step)
        if len(calls) == 2:
            raise KeyboardInterrupt
        before(self)

    monkeypatch.setattr(population._Run, "exploit_and_explore", killed)
    with pytest.raises(KeyboardInterrupt):
        run(data, tmp_path / "fit")
    monkeypatch.setattr(population._Run, "exploit_and_explore", before)
    run(data, tmp_path / "fit", resume=True)
    for name in ("lineages.csv", "model.safetensors", "config.yaml"):
        assert (tmp_path / "fit" / name).read_bytes() == (trained[0] / name).read_bytes(), name


def test_a_finished_population_is_not_run_again(trained, data):
    out, lineages = trained
    assert run(data, out, resume=True) == lineages
    with pytest.raises(gradient.FitError, match="finished fit"):
        run(data, out)
    with pytest.raises(gradient.FitError, match="population.steps"):
        run(data, out, replace(HOW, steps=12), resume=True)


def test_members_learn_the_same_whether_side_by_side_or_not(data):
    from fitting.population import _Run

    alone, together = (_Run(LIFNetwork, MODEL, TASK, *data, replace(HOW, together=n)) for n in (1, 4))
    alone._set_weights(together.weights())
    for this in (alone, together):
        this.learn(2, lambda: None)
    for name, weights in together.weights().items():
        assert torch.allclose(alone.weights()[name], weights, atol=1e-3), name


@pytest.mark.parametrize("how", [{"members": 3}, {"every": 0}, {"together": 0}, {"learning_rate": 0.0}])
def test_populations_that_cannot_be_are_refused(how):
    with pytest.raises(SettingError, match=next(iter(how))):
        replace(HOW, **how)


def test_the_command_trains_one(spoken, tmp_path):
    data = ["--data", spoken["train"], "--valid", spoken["valid"], "--out", tmp_path / "fit"]
    how = ["--members", 4, "--steps", 2, "--every", 1, "--batch-size", 16]
    sizes = ["--set", "input_ms=200", "--set", "channels=70", "--set", "hidden=8"]
    result = call("population", "delayed_digits", "nmda_network", *data, *how, *sizes)
    assert result.exit_code == 0 and "2 rounds of 4 members" in result.output, result.output
    result = call("evaluate", tmp_path / "fit", "--data", spoken["valid"], "--out", tmp_path / "m.json")
    assert result.exit_code == 0 and "accuracy_delay_4" in json.loads((tmp_path / "m.json").read_text())
    result = call("population", "neuronio", "elm", *data)
    assert result.exit_code == 2 and "do not fit" in result.stderr
