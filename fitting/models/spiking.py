"""Two layers of spiking neurons, feed-forward, that classify what they heard some time ago.

    channels → 64 neurons of equations/neuron_lif.yaml → 20 neurons of another file → linear readout

| model               | second layer                       | time constants of current-based neurons         |
|---------------------|------------------------------------|-------------------------------------------------|
| lif_network         | equations/neuron_lif.yaml          | learnt, up to tau_max_ms (50 ms is physiology)  |
| nmda_network        | equations/neuron_memory.yaml       | first layer: learnt, up to 50 ms                |
| nmda_linear_network | equations/neuron_memory_linear.yaml| first layer: learnt, up to 50 ms                |

Spikes of a step arrive in the same step, after thresholds (sims/backends/torch.py), so a replay in Brian2 needs no
delay. The readout is linear in each neuron's rate over the last readout_ms: after a delay nothing else is left to read.

Choices where the source is silent: tonic glutamate, the window's constants and the coupling stand in the equation
files. Each dendrite's weight starts between the folds of its file's constants (sims/analysis/nmda.py), w = w_low +
(w_high - w_low) σ(p) at σ(p) of 0.2 to 0.6, and stays there whatever is learnt. `start` scales the weights that reach a
neuron so that the median trial's peak is `drive` times what lifts it: a dendrite from w to w_high, a LIF from rest to
threshold.

Gradients: a spike's is SuperSpike's; one through a plateau is a Plateau's (sims/backends/torch_step.py), since the
exact one is 3e-5 of itself after half an input length; `gradient = exact` keeps that.

Source: Kayser, Wybo & Bouhadjar, "NMDA receptor dynamics enable single-neuron working memory in spiking neural
networks" (abstract).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from fitting import kernels
from fitting.events import check_input
from fitting.kernels import neurons
from fitting.kernels.synapses import gather
from fitting.settings import SettingError, require
from sims import equations
from sims.analysis.nmda import Dendrite
from sims.backends.torch import Neuron
from sims.backends.torch_step import Plateau, Surrogate

_PROJECT = Path(__file__).resolve().parents[2]
_LIF = "equations/neuron_lif.yaml"
_SMALLEST_TAU_MS = 1.0
# Windows beside the bistable one, for controls: no plateau, and nothing but the plateau.
_CONTROLS = {"below": (4.0, 6.0), "above": (34.0, 38.0)}


@dataclass(frozen=True)
class Settings:
    """hidden, units: neurons of the first and of the second layer, fewer than 100 in all.
    second: the latter's equation file.  dt_ms: the step.
    tau_max_ms: the longest time constant that a current-based neuron may learn.
    tau_start: where they start, physiological (the file's) or slow (100 to 1000 ms, or the longest there may be).
    signed: whether weights may be negative.
    learn_weights: whether synaptic weights are learnt, or only the readout and the neurons' own numbers.
    drive: of the median trial's peak at the start, see the module.
    slope: of the surrogate, per 20 mV.  reset_gradient: whether gradients go through a reset.
    readout_ms: what the readout sees."""

    hidden: int = 64
    units: int = 20
    second: str = _LIF
    dt_ms: float = 10.0
    tau_max_ms: float = 3000.0
    tau_start: Literal["physiological", "slow"] = "physiological"
    signed: bool = True
    learn_weights: bool = True
    drive: float = 1.5
    slope: float = 5.0
    reset_gradient: bool = False
    readout_ms: float = 100.0

    def __post_init__(self):
        for name in ("hidden", "units"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.hidden + self.units < 100, "hidden + units", self.hidden + self.units, "fewer than 100 neurons")
        for name in ("dt_ms", "drive", "slope"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a finite number above 0")
        require(
            _SMALLEST_TAU_MS < self.tau_max_ms < math.inf, "tau_max_ms", self.tau_max_ms, f"above {_SMALLEST_TAU_MS} ms"
        )
        require(self.readout_ms >= self.dt_ms, "readout_ms", self.readout_ms, f"at least a step of {self.dt_ms:g} ms")


@dataclass(frozen=True)
class MemorySettings(Settings):
    """Those of every spiking network, and of the dendrites.

    window: where their weights lie, inside the bistable window or, as controls, below it or above it.
    gradient: through their plateaus, see the module.  tonic: times the file's tonic glutamate."""

    second: str = "equations/neuron_memory.yaml"
    tau_max_ms: float = 50.0
    window: Literal["inside", "below", "above"] = "inside"
    gradient: Literal["plateau", "exact"] = "plateau"
    tonic: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.tonic < math.inf, "tonic", self.tonic, "a finite number from 0")


@dataclass(frozen=True)
class LinearSettings(MemorySettings):
    """Those of nmda_network with the linearised dendrites."""

    second: str = "equations/neuron_memory_linear.yaml"


class LIFLayer(nn.Module):
    """Current-based neurons; raw weights are in units of the distance from rest to threshold."""

    def __init__(self, path, count, num_input, members, settings):
        super().__init__()
        self.settings, self.shape = settings, (members, count)
        self.model = _read(path, "tau_m", "tau_s", "v_threshold", "E_L", "du")
        values = self.model.values()
        self.distance, self.unit = values["v_threshold"] - values["E_L"], values["du"]
        self.inputs = ("presynaptic",)
        self.raw = nn.Parameter(torch.randn(members, 1, num_input, count) / math.sqrt(num_input))
        self.log_tau_m, self.log_tau_s = (nn.Parameter(self._log_tau(values[name])) for name in ("tau_m", "tau_s"))
        self._neurons = {}

    def _log_tau(self, value):
        if self.settings.tau_start == "slow":
            low, high = (min(tau, self.settings.tau_max_ms * 1e-3) for tau in (0.1, 1.0))
            return math.log(low) + torch.rand(self.shape) * math.log(high / low)
        return torch.full(self.shape, math.log(value))

    def time_constants(self):
        """{name: [members, neurons], s}"""
        low, high = (math.log(tau * 1e-3) for tau in (_SMALLEST_TAU_MS, self.settings.tau_max_ms))
        return {
            "tau_m": self.log_tau_m.clamp(low, high).exp(),
            "tau_s": self.log_tau_s.clamp(low, high).exp(),
        }

    def weights(self):
        """{event: [members, inputs, neurons]}, in units of the file's du."""
        return {"presynaptic": self.distance / self.unit * _effective(self.raw, self.settings)[:, 0]}

    def neuron(self, dtype):
        """The Neuron of a type of numbers."""
        if dtype not in self._neurons:
            surrogate = Surrogate(self.settings.slope, reset_gradient=self.settings.reset_gradient)
            self._neurons[dtype] = Neuron(self.model, self.settings.dt_ms, self.inputs, surrogate, dtype)
        return self._neurons[dtype]

    def changes(self):
        """{parameter: [neurons of all members]}, SI."""
        return {name: tau.flatten() for name, tau in self.time_constants().items()}

    def peaks(self, arriving):
        """[members, 1, neurons]: the median trial's peak in units of what lifts a neuron.

        arriving: {event: [steps, batch, neurons of all members]}.
        """
        neuron = self.neuron(arriving["presynaptic"].dtype)
        traces = _traces(neuron, self.changes() | {"v_threshold": 1e3}, arriving)["v"]
        return ((traces.amax(0).median(0).values - self.model.values()["E_L"]) / self.distance).view(
            self.shape[0], 1, -1
        )


class MemoryLayer(nn.Module):
    """Neurons with NMDA dendrites; raw weights are what a spike adds to s."""

    def __init__(self, path, count, num_input, members, settings):
        super().__init__()
        self.settings, self.shape = settings, (members, count)
        self.model = _read(path, "dendrite_eta", "dendrite_gamma", "dendrite_E_L", "dendrite_E_N", "dendrite_s_tonic")
        self.dendrites = [name[:-2] for name in self.model.states if re.fullmatch(r"dendrite\d*_v", name)]
        self.inputs = tuple(f"{name}_presynaptic" for name in self.dendrites)
        values = self.model.values()
        dendrite = Dendrite(
            values["dendrite_eta"], values["dendrite_gamma"] * 1e-3,
            values["dendrite_E_L"] * 1e3, values["dendrite_E_N"] * 1e3,
        )  # fmt: skip
        self.folds = dendrite.folds()
        if self.folds is None:
            raise SettingError(f"setting second: {path} has no bistable window, expected one: {dendrite.condition}")
        self.middle = dendrite.cusp * 1e-3
        self.bistable = all(f"{name}_v" in self.model.needs([f"{name}_B"]) for name in self.dendrites)
        inside = self.folds.w_low, self.folds.w_high
        self.low, self.high = _CONTROLS.get(settings.window, inside)
        share = 0.2 + 0.4 * torch.rand(members, len(self.dendrites), count)
        self.p = nn.Parameter(torch.logit(share))
        self.raw = nn.Parameter(torch.randn(members, len(self.dendrites), num_input, count) / math.sqrt(num_input))
        self._neurons = {}

    def dendritic_weights(self):
        """w, [members, dendrites, neurons], in units of the leak conductance."""
        return self.low + (self.high - self.low) * torch.sigmoid(self.p)

    def weights(self):
        """{event: [members, inputs, neurons]}, in units of s."""
        return dict(zip(self.inputs, _effective(self.raw, self.settings).unbind(1), strict=True))

    def neuron(self, dtype):
        """The Neuron of a type of numbers."""
        if dtype not in self._neurons:
            surrogate = Surrogate(self.settings.slope, reset_gradient=self.settings.reset_gradient)
            plateaus = None
            if self.bistable and self.settings.gradient == "plateau":
                plateaus = {
                    f"{name}_v": Plateau(f"{name}_w*{name}_s", self.folds.w_high, self.middle)
                    for name in self.dendrites
                }
            self._neurons[dtype] = Neuron(
                self.model, self.settings.dt_ms, self.inputs, surrogate, dtype, plateaus=plateaus
            )
        return self._neurons[dtype]

    def changes(self, tonic=1.0):
        """{parameter: [neurons of all members]}, SI.  tonic: number or [members], times the file's."""
        values = self.dendritic_weights().transpose(0, 1).flatten(1)
        tonic = torch.as_tensor(tonic, dtype=values.dtype).expand(self.shape[0]).repeat_interleave(self.shape[1])
        tonic = self.model.values()["dendrite_s_tonic"] * self.settings.tonic * tonic
        return {f"{name}_w": w for name, w in zip(self.dendrites, values, strict=True)} | {"dendrite_s_tonic": tonic}

    def peaks(self, arriving):
        """[members, dendrites, neurons]: the median trial's peak in units of what lifts a neuron.

        A dendrite that can hold a plateau is lifted where w s reaches w_high; one that cannot, where equal input to all
        dendrites makes its neuron fire.
        """
        neuron, changes = self.neuron(arriving[self.inputs[0]].dtype), self.changes()
        traces, tonic = _traces(neuron, changes, arriving), changes["dendrite_s_tonic"]
        found = []
        for name in self.dendrites:
            if self.bistable:
                lifted = (self.folds.w_high / changes[f"{name}_w"]).clamp(min=1.2)
            else:
                lifted = self._firing(neuron, changes)
            peak = traces[f"{name}_s"].amax(0).median(0).values
            found.append((peak - tonic) / (lifted - tonic).clamp(min=0.2))
        return torch.stack(found).unflatten(1, self.shape).transpose(0, 1)

    def _firing(self, neuron, changes):
        """[neurons of all members]: the least s, of a grid, that makes a neuron fire within half a second."""
        n = changes["dendrite_s_tonic"].numel()
        grid = torch.logspace(0, math.log10(self.model.values()["dendrite_s_max"]), 64, dtype=neuron.dtype)
        given = changes | {"dendrite_s_tonic": grid[:, None].expand(64, n)}
        given = {name: value if value.ndim == 2 else value.expand(64, n) for name, value in given.items()}
        silent = {name: torch.zeros(round(500 / self.settings.dt_ms), 64, n) for name in self.inputs}
        fires = neuron.run(neuron.parameters((64, n), given, check=False), silent)[1].amax(0) > 0
        return torch.where(fires.any(0), grid[fires.to(torch.uint8).argmax(0)], grid[-1])


class SpikingNetwork(nn.Module):
    """See the module.

    members: how many networks of these settings run side by side, each with parameters of its own, [members, …].
    Buffers for a population: tonic, slope, [members], times the settings' and in place of it.
    """

    Settings = Settings
    Second = LIFLayer
    takes_events = True
    task = "delayed_digits"

    def __init__(self, settings, num_input, num_output, members=1):
        super().__init__()
        self.settings, self.num_input, self.num_output, self.members = settings, num_input, num_output, members
        self.first = LIFLayer(_LIF, settings.hidden, num_input, members, settings)
        self.second = self.Second(settings.second, settings.units, settings.hidden, members, settings)
        for layer in (self.first, self.second):
            layer.raw.requires_grad_(settings.learn_weights)
        self.read_weight = nn.Parameter(torch.randn(members, settings.units, num_output) / math.sqrt(settings.units))
        self.read_bias = nn.Parameter(torch.zeros(members, num_output))
        self.register_buffer("tonic", torch.ones(members))
        self.register_buffer("slope", torch.full((members,), float(settings.slope)))

    def forward(self, inputs):
        """The answer after the last step.

        inputs: Events or a tensor [batch, time, num_input].
        Returns [batch, 1, num_output], of several members [members, batch, 1, num_output].
        Raises InputError where the number of channels is another or a tensor holds what is not finite.
        """
        return self.answers(inputs, [inputs.shape[1] - 1])

    def answers(self, inputs, at):
        """As `forward`, after each of the steps `at`: [batch, len(at), num_output] or [members, …]."""
        found = self.read(self.spikes(inputs)[1], inputs.shape[0], at)
        return found[0] if self.members == 1 else found

    def read(self, second, batch, at):
        """[members, batch, len(at), num_output] from the second layer's spikes."""
        steps = round(self.settings.readout_ms / self.settings.dt_ms)
        rate = torch.stack([second[:, max(0, t + 1 - steps) : t + 1].mean(1) for t in at], dim=2).flatten(0, 1)
        rate = rate[:batch].unflatten(2, (self.members, -1)).movedim(2, 0)
        return rate @ self.read_weight[:, None] + self.read_bias[:, None, None]

    def spikes(self, inputs):
        """Spikes of both layers, each [block, time, window, members × neurons]."""
        check_input(inputs, self.num_input)
        table = self.first.weights()["presynaptic"].transpose(0, 1).flatten(1)
        first = self._run(self.first, {"presynaptic": gather(inputs, table)})
        return first, self._run(self.second, self._arriving(first))

    def _arriving(self, first):
        """{event: [block, time, window, members × neurons]} that the second layer receives."""
        weights = self.second.weights()
        if self.members == 1:  # a product of two matrices is faster than one of two stacks
            return {event: first @ weight[0] for event, weight in weights.items()}
        rows = first.flatten(0, 2).unflatten(1, (self.members, -1)).transpose(0, 1)
        return {
            event: (rows @ weight).transpose(0, 1).reshape(*first.shape[:3], -1) for event, weight in weights.items()
        }

    def _run(self, layer, arriving):
        dtype = next(iter(arriving.values())).dtype
        neuron, n = layer.neuron(dtype), self.members * layer.shape[1]
        changes = layer.changes(self.tonic) if isinstance(layer, MemoryLayer) else layer.changes()
        slope = self.slope.repeat_interleave(layer.shape[1])
        return neurons.run(neuron, neuron.parameters((n,), changes, check=False, slope=slope), arriving)

    @torch.no_grad()
    def start(self, data):
        """Scale the weights by what trials bring, see the module; a neuron that they only hold down is turned round.

        data: with `typical()`, inputs of some trials.
        """
        inputs = data.typical()
        table = self.first.weights()["presynaptic"].transpose(0, 1).flatten(1)
        for layer, arriving in ((self.first, {"presynaptic": gather(inputs, table)}), (self.second, None)):
            if arriving is None:
                arriving = self._arriving(self.spikes(inputs)[0])
            arriving = {event: kernels.from_blocks(x, inputs.shape[0]).transpose(0, 1) for event, x in arriving.items()}
            peaks, sign = layer.peaks(arriving), 1.0
            if self.settings.signed:
                turned = layer.peaks({event: -x for event, x in arriving.items()})
                sign, peaks = torch.where(turned > peaks, -1.0, 1.0), torch.maximum(peaks, turned)
            layer.raw *= (sign * self.settings.drive / peaks.clamp(min=1e-3))[:, :, None]

    def flops_per_step(self):
        """Additions and multiplications of a step on dense input, all weights in use, those within neurons left out."""
        settings = self.settings
        per_unit = self.num_input * settings.hidden + settings.units * self.num_output
        return 2 * (per_unit + settings.hidden * settings.units * len(self.second.inputs))


class LIFNetwork(SpikingNetwork):
    """Both layers of current-based neurons."""


class NMDANetwork(SpikingNetwork):
    """A second layer with NMDA dendrites."""

    Settings = MemorySettings
    Second = MemoryLayer


class LinearNMDANetwork(NMDANetwork):
    """A second layer with dendrites whose magnesium block does not move."""

    Settings = LinearSettings


def _read(path, *names):
    """The Model of an equation file; raises SettingError where it lacks a parameter."""
    model = equations.read(_PROJECT / path)
    for name in names:
        if name not in model.parameters:
            raise SettingError(f"setting second: {path} has no parameter '{name}', expected one")
    return model


def _effective(raw, settings):
    return raw if settings.signed else raw.abs()


def _traces(neuron, changes, arriving):
    """{state: [steps, batch, n]} of a run.  arriving: {event: [steps, batch, n]}."""
    shape = next(iter(arriving.values())).shape[1:]
    return neuron.run(neuron.parameters(shape, changes, check=False), arriving)[0]
