"""Digits asked for after a silence."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from fitting import gradient, tasks
from fitting.models.spiking import NMDANetwork
from fitting.settings import SettingError
from fitting.tasks.delayed_digits import DELAYS, DelayedDigits, Settings
from sims.stimuli import digits
from sims.streams import stream
from tests.fitting.test_cli import call

SMALL = {"input_ms": 200.0, "channels": 70}
ARGUMENTS = [argument for setting in ("input_ms=200", "channels=70") for argument in ("--set", setting)]


def task(**settings):
    return DelayedDigits(Settings(**SMALL | settings))


@pytest.fixture
def written(tmp_path):
    """Two recordings, of 30 ms and of 310 ms."""
    events = [(np.array([0.001, 0.031]), np.array([5, 699])), (np.array([0.0, 0.115, 0.31]), np.array([0, 10, 20]))]
    digits.write(digits.gather(events, [3, 7], [0, 1]), tmp_path / "two.h5")
    return tmp_path / "two.h5"


def test_the_last_spike_falls_into_the_last_bin_and_what_is_too_early_is_cut(written):
    data = task().read([written])
    x = data.events([0, 1]).dense()
    assert x.shape == (2, 20, 70) and x[0].sum() == 2 and x[1].sum() == 2
    assert x[0, 19, 69] == 1 and x[0, 16, 0] == 1
    assert x[1, 19, 2] == 1 and x[1].nonzero()[0, 1] == 1  # the spike at 0 ms came 310 ms before the end


def test_silence_follows_the_input_and_holds_nothing(spoken):
    this = task()
    data = this.read([spoken["train"]])
    x = data.events(np.arange(5), this.settings.silence(2.0)).dense()
    assert x.shape[1] == 20 + 40 + 10 and x[:, 20:].sum() == 0 and x.max() == 1
    assert 5 * 30 < x[:, :20].sum() <= 5 * 120


def test_a_batch_keeps_a_share_of_the_spikes_that_counts_as_all(spoken):
    this = task(keep=0.5, shift=0)
    data = this.read([spoken["train"]])
    inputs, labels = this.batch(data, stream(0, "test"), 100)
    assert len(labels) == 100 and np.allclose(inputs.value, 2)
    assert len(inputs.channel) / len(data.channel) == pytest.approx(0.5 * 100 / 120, rel=0.05)


def test_recordings_move_by_up_to_so_many_channels_and_none_wraps_round(spoken):
    this = task(keep=1.0, shift=3)
    data = this.read([spoken["train"]])
    chosen = stream(0, "test").permutation(len(data))[:60]
    inputs, _ = this.batch(data, stream(0, "test"), 60)
    before = data.events(chosen).dense().sum(1)
    after = inputs.dense().sum(1)
    moves = {
        next(m for m in range(-3, 4) if torch.equal(torch.roll(one, m)[8:-8], other[8:-8]))
        for one, other in zip(before, after, strict=True)
    }
    assert len(moves) == 7


def test_batches_are_a_function_of_the_generator(spoken):
    this = task(delay=1.0)
    data = this.read([spoken["train"]])
    one, other = (this.batch(data, stream(0, "test", 3), 16) for _ in range(2))
    assert np.array_equal(one[0].channel, other[0].channel) and np.array_equal(one[0].bounds, other[0].bounds)
    lengths = {this.batch(data, stream(0, "test", step), 2)[0].shape[1] for step in range(60)}
    assert min(lengths) >= 30 and max(lengths) <= 50 and len(lengths) > 10


class Remembers(nn.Module):
    """Knows the digit from the channels for so many steps after the last spike."""

    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def forward(self, x):
        classes = x.unflatten(2, (10, -1)).sum(3).cumsum(1)
        last = (x.sum(2) > 0).float().cumsum(1).argmax(1)
        known = torch.arange(x.shape[1])[None] <= last[:, None] + self.steps
        return classes * known[:, :, None]


def test_a_score_says_after_which_silence_a_model_still_knows(spoken):
    this = task()
    data = this.read([spoken["valid"]])
    metrics, predictions = this.evaluate(Remembers(35), data)  # 100 ms to answer, and 250 ms
    assert [metrics[f"accuracy_delay_{d:g}"] for d in (0, 0.25, 0.5, 1)] == [1.0] * 4
    assert [metrics[f"accuracy_delay_{d:g}"] for d in (2, 4)] == [0.1, 0.1] and metrics["recordings"] == 40
    arrays = predictions()
    assert arrays["answer"].shape == (len(DELAYS), 40) and np.array_equal(arrays["label"], data.label)


def test_english_digits_alone_are_ten_classes_and_the_first_logits_are_their_frequencies(spoken):
    this = task()
    data = this.read([spoken["train"]])
    assert this.sizes(data) == (70, 10) and this.known(data) == {"dt_ms": 10.0}
    assert torch.allclose(this.typical_output(data).exp(), torch.full((10,), 0.1))


@pytest.mark.parametrize("settings", [{"keep": 0.0}, {"delay": -1.0}, {"input_ms": 1.0}, {"shift": 70}, {"dt_ms": 0.0}])
def test_settings_that_cannot_be_are_refused(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        task(**settings)


def test_the_task_is_registered_and_a_file_that_is_none_is_refused(tmp_path):
    assert tasks.find("delayed_digits") is DelayedDigits
    (tmp_path / "no.h5").write_bytes(b"no HDF5")
    with pytest.raises(digits.DigitsError, match="no.h5"):
        task().read([tmp_path / "no.h5"])


@pytest.fixture(scope="module")
def fitted(spoken, tmp_path_factory):
    """Folder of a small network with NMDA dendrites that has learnt without delay."""
    out = tmp_path_factory.mktemp("fit") / "nmda"
    data = ["--data", spoken["train"], "--valid", spoken["valid"], "--out", out]
    training = ["--steps", 40, "--batch-size", 64, "--learning-rate", 0.03, "--clip", 1]
    result = call("fit", "delayed_digits", "nmda_network", *data, *training, *ARGUMENTS)
    assert result.exit_code == 0, result.output
    return out


def test_a_network_with_plateaus_learns_without_delay_and_knows_after_four_lengths(fitted, spoken, tmp_path):
    result = call("evaluate", fitted, "--data", spoken["valid"], "--out", tmp_path / "m.json")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["accuracy_delay_0"] > 0.6 and metrics["accuracy_delay_4"] > metrics["accuracy_delay_0"] - 0.15


def test_brian2_replays_a_fit_spike_by_spike(fitted, spoken, tmp_path):
    arguments = ["--recordings", 10, "--delay", 1, "--out", tmp_path / "replay.json"]
    result = call("replay", fitted, "--data", spoken["valid"], *arguments)
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "replay.json").read_text())
    assert found["spikes"] > 1000 and found["second_layer_spikes"] > 100
    assert found["equal_spikes"] >= 0.999 and found["equal_second_layer_spikes"] >= 0.999
    assert found["accuracy"] == found["brian2_accuracy"] and found["equal_answers"] == 1


def test_a_fit_of_another_task_is_no_replay(fitted, spoken, tmp_path):
    (tmp_path / "fit").mkdir()
    text = (fitted / "config.yaml").read_text().replace("task: delayed_digits", "task: neuronio")
    (tmp_path / "fit" / "config.yaml").write_text(text)
    (tmp_path / "fit" / "model.safetensors").write_bytes((fitted / "model.safetensors").read_bytes())
    result = call("replay", tmp_path / "fit", "--data", spoken["valid"], "--out", tmp_path / "replay.json")
    assert result.exit_code == 2 and "found a fit to neuronio" in result.stderr


def learnt(spoken, out, **settings):
    """Accuracy of a small NMDA network that is always asked 600 ms after the digit."""
    this = task(answer_ms=600.0)
    train, valid = (this.read([spoken[split]]) for split in ("train", "valid"))
    training = gradient.Training(steps=60, batch_size=64, learning_rate=0.03, clip=1.0, validate_every=60)
    model = gradient.build(NMDANetwork, NMDANetwork.Settings(hidden=16, units=10, **settings), 70, 10, training)
    gradient.fit(
        model,
        lambda generator, size: this.batch(train, generator, size),
        this.loss,
        lambda model: {"loss": this.evaluate(model, valid)[0]["loss"]},
        training,
        out,
        {},
        show_progress=False,
        start=lambda: model.start(train),
    )
    return this.evaluate(model, valid)[0]["accuracy_delay_0"]


def test_what_the_exact_gradient_costs_after_a_silence(spoken, tmp_path):
    surrogate, exact, frozen = (
        learnt(spoken, tmp_path / str(i), **settings)
        for i, settings in enumerate([{}, {"gradient": "exact"}, {"learn_weights": False}])
    )
    assert surrogate > 0.95 and exact < surrogate - 0.2
    assert exact - frozen < surrogate - exact  # it is nearer to weights that are never learnt
