"""Neurons as the ELM paper's code publishes them, read as fits of ours.

The code (github.com/AaronSpieler/elmneuron, MIT) leaves two files: the state dict of its module, and as JSON the
arguments that the module was built with. Names and shapes, for S synapses, d_tree branches, d_m memories, L layers:

    _proto_w_s [S]     w_s before its rectification; S = d_tree d_brch, by branch (a plain ELM: one a channel)
    tau_s [S]          ms, version 1, whose gain is λ (1 - κ_m); or
    tau_b [d_tree]     ms, version 2, whose low-pass sits on branches and whose gain is 1 - exp(-λ Δt/τ_m)
    _proto_tau_m [d_m] p of τ_m = min + (max - min) σ(p), learnt or not
    input_to_synapse_indices, valid_indices_mask [S]           channel of each synapse, and 0 where there is none
    mlp.network.2l.weight, .bias                               layers l = 0..L of the MLP
    w_y.weight [num_output, d_m], w_y.bias                     readout
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import safetensors.torch
import torch

from fitting.models import MODELS
from fitting.settings import restore
from sims.mistakes import Mistake


class ReleasedError(Mistake):
    """A published file that cannot be read as a neuron; its text names the file and the entry."""


@dataclass(frozen=True)
class Config:
    """The published module's arguments, with its defaults; times in ms."""

    num_input: int
    num_output: int
    num_memory: int = 100
    lambda_value: float = 5.0
    mlp_num_layers: int = 1
    mlp_hidden_size: int | None = None
    mlp_activation: Literal["relu", "silu"] = "relu"
    tau_s_value: float = 5.0
    tau_b_value: float = 5.0
    memory_tau_min: float = 1.0
    memory_tau_max: float = 1000.0
    learn_memory_tau: bool = False
    w_s_value: float = 0.5
    num_branch: int | None = None
    num_synapse_per_branch: int = 1
    input_to_synapse_routing: Literal["neuronio_routing", "random_routing"] | None = None
    delta_t: float = 1.0


def read(state_path, config_path):
    """A published neuron, from its state dict (torch's format, or safetensors) and its configuration.

    Nothing in the files is executed.
    Returns (name of the model, the model).
    Raises ReleasedError or SettingError where a file or an entry is not what it should be, and where synapses were put
    on channels at random, which no setting of ours repeats.
    """
    config, state = _read_config(Path(config_path)), _State(Path(state_path))
    if config.input_to_synapse_routing == "random_routing":
        raise ReleasedError(
            f"{config_path}: input_to_synapse_routing is random_routing, expected neuronio_routing or null"
        )
    name = "branch_elm" if config.input_to_synapse_routing else "elm"
    kind, branches = MODELS[name], config.num_branch or config.num_input
    synapses = branches * config.num_synapse_per_branch
    if _size(config, branches, synapses) > state.size:
        raise ReleasedError(
            f"{config_path}: describes {_size(config, branches, synapses)} numbers, {state_path} holds {state.size}"
        )
    version_2 = "tau_b" in state.tensors
    tau_s = state.take("tau_b", branches) if version_2 else state.take("tau_s", synapses)
    if tau_s.min() <= 0:
        raise ReleasedError(f"{state_path}: found a synaptic time constant of {tau_s.min():g} ms, expected above 0")
    uniform = bool((tau_s == tau_s[0]).all())

    settings = {
        "d_m": config.num_memory,
        "d_mlp": config.mlp_hidden_size or None,
        "mlp_layers": config.mlp_num_layers,
        "lambda_value": config.lambda_value,
        "gain": "v2" if version_2 else "v1",
        "activation": config.mlp_activation,
        "tau_s": float(tau_s[0]),
        "tau_s_of_each_synapse": not uniform,
        "dt_ms": config.delta_t,
        **_tau_m(config),
    }
    if name == "branch_elm":
        settings |= {"d_tree": branches, "d_brch": config.num_synapse_per_branch}
    elif synapses != config.num_input:
        raise ReleasedError(
            f"{config_path}: found {synapses} synapses and no routing, expected one for each of "
            f"{config.num_input} inputs"
        )
    model = kind(restore(kind.Settings, settings, config_path), config.num_input, config.num_output)
    if name == "branch_elm":
        _check_channels(state, model.channel.flatten())
    with torch.no_grad():
        model.w_s.copy_(state.take("_proto_w_s", synapses).view_as(model.w_s))
        proto = state.take("_proto_tau_m", config.num_memory)
        if config.learn_memory_tau:
            model.proto_tau_m.copy_(proto)
        else:
            lower, upper = config.memory_tau_min, config.memory_tau_max
            model.fixed_tau_m.copy_(lower + (upper - lower) * torch.sigmoid(proto.double()))
        if not uniform:
            model.tau_s.copy_(tau_s.repeat_interleave(synapses // len(tau_s)).view_as(model.tau_s))
        for number, layer in enumerate(model.layers()):
            _fill(layer, state, f"mlp.network.{2 * number}")
        _fill(model.readout, state, "w_y")
    state.refuse_the_rest()
    return name, model


def _tau_m(config):
    """Settings of the memory's time constants. Learnt ones never reach the ends between which they are learnt, and ours
    must start within."""
    lower, upper = config.memory_tau_min, config.memory_tau_max
    if not config.learn_memory_tau:
        return {"tau_m_min": lower, "tau_m_max": upper}
    inside = 1e-6 * (upper - lower)
    bounds = {"tau_m_lower": lower, "tau_m_upper": upper}
    return {"learn_tau_m": True, "tau_m_min": lower + inside, "tau_m_max": upper - inside, **bounds}


def _read_config(path):
    try:
        values = json.loads(path.read_text())
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ReleasedError(f"{path}: cannot be read as JSON ({error}), expected a published configuration") from error
    if not isinstance(values, dict):
        raise ReleasedError(f"{path}: found no JSON object, expected a published configuration")
    for name in ("num_input", "num_output"):
        if name not in values:
            raise ReleasedError(f"{path}: found no {name}, expected a published configuration")
    config = restore(Config, values, path)
    for name in ("num_input", "num_output", "num_memory", "num_branch", "num_synapse_per_branch"):
        value = getattr(config, name)
        if value is not None and value < 1:
            raise ReleasedError(f"{path}: {name} is {value}, expected at least 1")
    return config


def _size(config, branches, synapses):
    """How many weights the neuron has: a mistyped size is found before it fills the memory."""
    hidden = [config.mlp_hidden_size or 2 * config.num_memory] * config.mlp_num_layers
    layers = [branches + config.num_memory, *hidden, config.num_memory, config.num_output]
    return synapses + sum(into * out for into, out in zip(layers[:-1], layers[1:], strict=True))


class _State:
    """A state dict whose entries are taken one by one, so that none is left over unseen."""

    def __init__(self, path):
        self.path = path
        try:
            if path.suffix == ".safetensors":
                found = safetensors.torch.load_file(path)
            else:
                found = torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # whatever torch's reader makes of a file that is not one of its own
            raise ReleasedError(
                f"{path}: cannot be read as tensors ({' '.join(str(error).split())[:200]}), expected a state dict"
            ) from error
        if isinstance(found, dict) and isinstance(found.get("state_dict"), dict):
            found = found["state_dict"]
        if not isinstance(found, dict) or not all(isinstance(entry, torch.Tensor) for entry in found.values()):
            raise ReleasedError(f"{path}: found no dict of tensors, expected a state dict")
        self.tensors = dict(found)
        self.size = sum(entry.untyped_storage().nbytes() // entry.itemsize for entry in found.values())

    def take(self, name, *shape):
        """The numbers called `name`, whose shape is `shape`, checked and gone from the rest."""
        if name not in self.tensors:
            raise ReleasedError(f"{self.path}: found no {name}, expected a tensor of shape {shape}")
        tensor = self.tensors.pop(name)
        if tuple(tensor.shape) != shape or tensor.is_complex() or tensor.layout != torch.strided:
            raise ReleasedError(
                f"{self.path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)}, expected numbers of {shape}"
            )
        # Published in float32, p of a time constant at an end of its range is infinite.
        if tensor.isnan().any() or (name != "_proto_tau_m" and not tensor.isfinite().all()):
            raise ReleasedError(f"{self.path}: {name} holds numbers that are not finite")
        return tensor

    def refuse_the_rest(self):
        if self.tensors:
            raise ReleasedError(
                f"{self.path}: found {', '.join(sorted(self.tensors))}, which this neuron does not have"
            )


def _check_channels(state, expected):
    """expected: the channel of each synapse, -1 where there is none."""
    channel = state.take("input_to_synapse_indices", len(expected))
    mask = state.take("valid_indices_mask", len(expected))
    differs = torch.where(mask != 0, channel, -1) != expected
    if differs.any():
        synapse = int(differs.int().argmax())
        raise ReleasedError(
            f"{state.path}: synapse {synapse} is on channel {channel[synapse]:g} (valid: {mask[synapse]:g}), "
            f"expected {expected[synapse]} by NeuronIO's routing"
        )


def _fill(layer, state, name):
    layer.weight.copy_(state.take(f"{name}.weight", *layer.weight.shape))
    layer.bias.copy_(state.take(f"{name}.bias", *layer.bias.shape))
