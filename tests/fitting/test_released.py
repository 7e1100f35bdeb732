"""Neurons published with the ELM paper's code, here with random numbers under the published names."""

import json
import math
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from fitting import gradient, models, released
from fitting.__main__ import app
from fitting.settings import SettingError

CONFIG = {
    "input_to_synapse_routing": "neuronio_routing", "learn_memory_tau": False, "memory_tau_max": 150.0,
    "memory_tau_min": 1.0, "num_branch": 4, "num_input": 40, "num_memory": 5, "num_output": 2,
    "num_synapse_per_branch": 12,
}  # fmt: skip
PLAIN = {"num_input": 40, "num_output": 2, "num_memory": 5, "memory_tau_max": 150}


def routing(channels, branches, size):
    """(channel, mask) of every synapse: windows over interleaved excitatory and inhibitory channels."""
    interleaved = [half * channels // 2 + i for i in range(channels // 2) for half in (0, 1)]
    places = [k * math.ceil(channels / branches) + j for k in range(branches) for j in range(size)]
    mask = [int(place < channels) for place in places]
    return torch.tensor([interleaved[min(place, channels - 1)] for place in places]), torch.tensor(mask)


def published(config, version=1, tau_s=None):
    """A state dict with the published names and shapes."""
    n, d_m, layers = config["num_input"], config["num_memory"], config.get("mlp_num_layers", 1)
    branches, size = config.get("num_branch", n), config.get("num_synapse_per_branch", 1)
    hidden = [config.get("mlp_hidden_size", 2 * d_m)] * layers
    widths = [branches + d_m, *hidden, d_m]
    state = {"_proto_w_s": torch.randn(branches * size), "_proto_tau_m": torch.randn(d_m)}
    if "input_to_synapse_routing" in config:
        state["input_to_synapse_indices"], state["valid_indices_mask"] = routing(n, branches, size)
    for number, (into, out) in enumerate(zip(widths[:-1], widths[1:], strict=True)):
        state[f"mlp.network.{2 * number}.weight"] = torch.randn(out, into) / math.sqrt(into)
        state[f"mlp.network.{2 * number}.bias"] = torch.randn(out)
    state |= {"w_y.weight": torch.randn(config["num_output"], d_m), "w_y.bias": torch.randn(config["num_output"])}
    name, count = ("tau_b", branches) if version == 2 else ("tau_s", branches * size)
    return state | {name: torch.full((count,), 5.0) if tau_s is None else tau_s[:count]}


def equations(state, config, x):
    """The outputs [time, num_output] for the input x [time, channels], step by step from the paper's equations."""
    p = {name: tensor.double().numpy() for name, tensor in state.items()}
    branches = config.get("num_branch", config["num_input"])
    lower, upper = config["memory_tau_min"] if "memory_tau_min" in config else 1.0, config["memory_tau_max"]
    tau_m = lower + (upper - lower) / (1 + np.exp(-p["_proto_tau_m"]))
    kappa_m, lam = np.exp(-1 / tau_m), config.get("lambda_value", 5.0)
    gain = 1 - np.exp(-lam / tau_m) if "tau_b" in p else lam * (1 - kappa_m)
    phi = (lambda h: h / (1 + np.exp(-h))) if config.get("mlp_activation") == "silu" else (lambda h: np.maximum(h, 0))
    synapse, branch, memory, outputs = 0.0, 0.0, np.zeros(len(tau_m)), []
    for x_t in x:
        routed = x_t
        if "input_to_synapse_indices" in p:
            routed = x_t[p["input_to_synapse_indices"].astype(int)] * p["valid_indices_mask"]
        driven = np.maximum(p["_proto_w_s"], 0) * routed
        if "tau_b" in p:
            branch = np.exp(-1 / p["tau_b"]) * branch + driven.reshape(branches, -1).sum(1)
        else:
            synapse = np.exp(-1 / p["tau_s"]) * synapse + driven
            branch = synapse.reshape(branches, -1).sum(1)
        h, layer = np.concatenate([branch, kappa_m * memory]), 0
        while f"mlp.network.{layer}.weight" in p:
            h = p[f"mlp.network.{layer}.weight"] @ (phi(h) if layer else h) + p[f"mlp.network.{layer}.bias"]
            layer += 2
        memory = kappa_m * memory + gain * 1.7159 * np.tanh(2 * h / 3)
        outputs.append(p["w_y.weight"] @ memory + p["w_y.bias"])
    return np.array(outputs)


@pytest.fixture
def write(tmp_path):
    """Writer of the two files."""

    def write(state, config):
        torch.save(state, tmp_path / "state.pt")
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        return tmp_path / "state.pt", tmp_path / "config.json"

    return write


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "config, variant",
    [
        (CONFIG, {}),
        (CONFIG | {"mlp_activation": "silu", "lambda_value": 10}, {"version": 2}),
        (CONFIG | {"mlp_num_layers": 2, "mlp_hidden_size": 7}, {}),
        (CONFIG | {"learn_memory_tau": True}, {"version": 2}),
        (CONFIG, {"tau_s": torch.linspace(2, 9, 48)}),
        (CONFIG, {"version": 2, "tau_s": torch.linspace(2, 9, 48)}),
        (PLAIN, {}),
        (PLAIN | {"learn_memory_tau": True, "memory_tau_min": 0.5}, {}),
    ],
)
def test_a_published_neuron_computes_the_papers_equations(config, variant, write):
    state, x = published(config, **variant), torch.randn(60, 40)
    name, model = released.read(*write(state, config))
    with torch.no_grad():
        found = model(x[None])[0].numpy()
    expected = equations(state, config, x.numpy())
    assert name == ("branch_elm" if "num_branch" in config else "elm")
    assert np.abs(found - expected).max() <= 1e-12 * np.abs(expected).max()


@pytest.mark.parametrize("learnt", [False, True])
def test_time_constants_at_the_ends_of_their_range_are_read(write, learnt):
    config = CONFIG | {"learn_memory_tau": learnt}
    state = published(config) | {"_proto_tau_m": torch.tensor([-math.inf, -2.0, 0.0, 2.0, math.inf])}
    _, model = released.read(*write(state, config))
    assert model.tau_m()[0] == 1 and model.tau_m()[2] == 75.5 and model.tau_m()[4] == 150


def test_a_published_neuron_is_imported_and_scored(write, shards, tmp_path):
    state, config = write({"state_dict": published(CONFIG)}, CONFIG)
    out = tmp_path / "neuron"
    run = CliRunner().invoke(app, ["import-elm", str(state), str(config), str(out)])
    assert run.exit_code == 0, run.output
    metrics = tmp_path / "metrics.json"
    arguments = ["evaluate", out, "--data", shards["valid"], "--out", metrics]
    run = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    scored = json.loads(metrics.read_text())
    assert scored["model_settings"]["d_brch"] == 12 and scored["simulations"] == 6
    fitted, _ = gradient.load(out, models.find)
    assert torch.equal(fitted.w_s.flatten(), torch.load(state, weights_only=True)["state_dict"]["_proto_w_s"])
    again = CliRunner().invoke(app, ["import-elm", str(state), str(config), str(out)])
    assert again.exit_code == 2 and "finished fit" in again.stderr


def test_safetensors_are_read_as_well(write, tmp_path):
    state, config = published(CONFIG), write({}, CONFIG)[1]
    safetensors.torch.save_file(state, tmp_path / "state.safetensors")
    _, model = released.read(tmp_path / "state.safetensors", config)
    assert torch.equal(model.readout.bias, state["w_y.bias"])


def changed(**entries):
    state = published(CONFIG) | entries
    return {name: tensor for name, tensor in state.items() if tensor is not None}


@pytest.mark.parametrize(
    "entries, config, complaint",
    [
        ({"w_y.bias": None}, CONFIG, "found no w_y.bias"),
        ({"w_z": torch.zeros(1)}, CONFIG, "found w_z, which this neuron does not have"),
        (
            {"w_y.bias": torch.zeros(3)},
            CONFIG,
            r"w_y.bias is torch.float32 of shape \(3,\), expected numbers of \(2,\)",
        ),
        ({"w_y.bias": torch.full((2,), math.inf)}, CONFIG, "w_y.bias holds numbers that are not finite"),
        ({"_proto_tau_m": torch.full((5,), math.nan)}, CONFIG, "_proto_tau_m holds numbers that are not finite"),
        ({"w_y.bias": torch.zeros(2, dtype=torch.complex64)}, CONFIG, "w_y.bias is torch.complex64"),
        ({"tau_s": torch.zeros(48)}, CONFIG, "synaptic time constant of 0 ms"),
        ({"valid_indices_mask": torch.ones(48)}, CONFIG, r"synapse 46 is on channel 39 \(valid: 1\), expected -1"),
        ({"w_y.bias": "text"}, CONFIG, "found no dict of tensors"),
        ({}, "{", "cannot be read as JSON"),
        ({}, "[]", "found no JSON object"),
        ({}, {"num_input": 40}, "found no num_output"),
        ({}, CONFIG | {"num_input": 0}, "num_input is 0, expected at least 1"),
        ({}, CONFIG | {"num_memory": 10**9}, "config.json: describes [0-9]+ numbers, .*state.pt holds"),
        ({}, CONFIG | {"input_to_synapse_routing": "random_routing"}, "random_routing, expected neuronio_routing"),
    ],
)
def test_a_wrong_entry_is_named(entries, config, complaint, write):
    with pytest.raises(released.ReleasedError, match=complaint):
        released.read(*write(changed(**entries), config))


@pytest.mark.parametrize("wrong", [{"num_memory": "5"}, {"colour": 1}, {"mlp_activation": "gelu"}, {"lambda_value": 0}])
def test_a_wrong_setting_is_named(wrong, write):
    with pytest.raises(SettingError, match=next(iter(wrong))):
        released.read(*write(published(CONFIG), CONFIG | wrong))


class _Attack:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_not_executed(write, tmp_path):
    state, config = write({"_proto_w_s": _Attack(tmp_path / "executed")}, CONFIG)
    with pytest.raises(released.ReleasedError, match="cannot be read as tensors"):
        released.read(state, config)
    state.write_bytes(pickle.dumps(_Attack(tmp_path / "executed")))
    with pytest.raises(released.ReleasedError, match="cannot be read as tensors"):
        released.read(state, config)
    assert not (tmp_path / "executed").exists()


def test_nothing_is_left_of_a_neuron_that_cannot_be_read(write, tmp_path):
    state, config = write(changed(tau_s=None), CONFIG)
    run = CliRunner().invoke(app, ["import-elm", str(state), str(config), str(tmp_path / "neuron")])
    assert run.exit_code == 2 and "found no tau_s" in run.stderr and not (tmp_path / "neuron").exists()
