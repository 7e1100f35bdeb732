"""The Expressive Leaky Memory neuron: ELM, and Branch-ELM, whose synapses are summed on dendritic branches.

Per time step of Δt ms, for one neuron:

    s_t  = κ_s s_{t-1} + relu(w_s) ⊙ x_t          synapses                         κ_s = exp(-Δt/τ_s)
    b_t  = sum of s_t within each branch          branches    [d_tree]             (ELM: b_t = s_t, a synapse a channel)
    Δm_t = tanh'(MLP([b_t, κ_m ⊙ m_{t-1}]))       update      [d_m]                tanh'(u) = 1.7159 tanh(2u/3)
    m_t  = κ_m ⊙ m_{t-1} + g ⊙ Δm_t               memory      [d_m]                κ_m = exp(-Δt/τ_m)
    y_t  = W_y m_t + b_y                          output      [num_output]

    x_t  input of each synapse: its channel's value (events: +1 excitatory, -1 inhibitory), dimensionless
    w_s  synaptic weight, 0.5 at first            τ_s  synaptic time constant, ms
    MLP  mlp_layers hidden layers of d_mlp units with activation ReLU or SiLU, then a linear one; all with bias and
         torch's first values for linear layers, as W_y and b_y. No hidden layer: linear.
    τ_m  memory time constants, ms [d_m]          λ    gain of an update                 m_0 = s_0 = 0
    g    "v1": λ (1 - κ_m);  "v2": 1 - exp(-λ Δt/τ_m), which stays below 1 where v1 does not (λ = 10, τ_m = 1 ms: 6.32)

What makes it fast: τ_s is the same everywhere, so the low-pass commutes with weights, branches and the MLP's first
layer. What an event on a channel adds to that layer is one row of a table; the rows of a step's events are summed,
as many numbers as the layer has are filtered instead of thousands of synapses (fitting/kernels/synapses.py), and only
the memory is a loop over time (fitting/kernels/memory.py). `equations` is the model as it stands above.

What keeps memory bounded: of an input too long to keep all that its adjoint needs, the states are kept at the borders
of stretches, and a stretch is run again when its adjoint comes (Chen et al. 2016, arXiv 1604.06174).

Source: Spieler, Rahaman, Martius, Schölkopf & Levina, "The ELM Neuron", arXiv 2306.16922 v1 (gain v1) and v3 (gain v2).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from fitting import kernels
from fitting.events import Events, between, check_input
from fitting.kernels.memory import ACTIVATIONS, remember
from fitting.kernels.synapses import Wiring, project
from fitting.models import routing
from fitting.settings import as_plain, require

_TANH_SCALE = 1.7159
# Numbers that a batch may leave behind for its adjoint, and those of a stretch where they are more: 256 and 64 MiB.
_MOST_KEPT, _STRETCH_KEPT = 1 << 26, 1 << 24


@dataclass(frozen=True)
class Settings:
    """Sizes, constants and variants; symbols as in the module's equations.

    d_mlp: None means 2 d_m.  tau_m_min, tau_m_max: ms, the ends of the first time constants (d_m = 1 takes tau_m_min).
    learn_tau_m: learn τ_m = lower + (upper - lower) sigmoid(p) within tau_m_lower..tau_m_upper ms.
    tau_s: ms.  tau_s_of_each_synapse: keep a τ_s for every synapse, tau_s at first, with the weights, as released
    neurons do; the model is then computed by its equations, slowly.
    """

    d_m: int = 20
    d_mlp: int | None = None
    mlp_layers: int = 1
    lambda_value: float = 5.0
    tau_s: float = 5.0
    tau_s_of_each_synapse: bool = False
    tau_m_min: float = 1.0
    tau_m_max: float = 150.0
    tau_m_spacing: Literal["log", "linear"] = "log"
    learn_tau_m: bool = False
    tau_m_lower: float = 0.0
    tau_m_upper: float = 500.0
    gain: Literal["v1", "v2"] = "v1"
    activation: Literal["relu", "silu"] = "relu"
    dt_ms: float = 1.0

    def __post_init__(self):
        require(self.d_m >= 1, "d_m", self.d_m, "at least 1")
        require(self.d_mlp is None or self.d_mlp >= 1, "d_mlp", self.d_mlp, "at least 1, or none for 2 d_m")
        require(0 <= self.mlp_layers <= 3, "mlp_layers", self.mlp_layers, "0 to 3")
        for name in ("lambda_value", "tau_s", "tau_m_min", "dt_ms"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a finite number above 0")
        require(
            self.tau_m_min <= self.tau_m_max < math.inf,
            "tau_m_max",
            self.tau_m_max,
            f"at least tau_m_min = {self.tau_m_min}, finite",
        )
        if self.learn_tau_m:
            require(
                0 <= self.tau_m_lower < self.tau_m_min,
                "tau_m_lower",
                self.tau_m_lower,
                f"from 0 to below tau_m_min = {self.tau_m_min}",
            )
            require(
                self.tau_m_max < self.tau_m_upper < math.inf,
                "tau_m_upper",
                self.tau_m_upper,
                f"above tau_m_max = {self.tau_m_max}",
            )


@dataclass(frozen=True)
class BranchSettings(Settings):
    """Those of an ELM, and the tree's. routing: see fitting/models/routing.py; routing_seed: of the random one."""

    d_tree: int = 45
    d_brch: int = 100
    routing: Literal["neuronio", "random"] = "neuronio"
    routing_seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        for name in ("d_tree", "d_brch"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.routing_seed >= 0, "routing_seed", self.routing_seed, "at least 0")


class ELM(nn.Module):
    """An ELM neuron; see the module for its equations."""

    Settings = Settings
    takes_events = True
    # The paper's counts where all but d_m is at its default: 5 d_m + 2 more than the equations have, and without w_s.
    PRINTED = {
        10: "26.06K",
        15: "39.39K",
        20: "52.92K",
        25: "66.65K",
        35: "94.71K",
        50: "138.3K",
        75: "215K",
        100: "297K",
    }

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        self.settings, self.num_input = settings, num_input
        channel = self._channels()
        self.wiring = Wiring(channel.reshape(len(channel), -1), num_input)
        self.w_s = nn.Parameter(torch.full(channel.shape, 0.5))
        sizes = [settings.d_m, *[settings.d_mlp or 2 * settings.d_m] * settings.mlp_layers, settings.d_m]
        self.mlp_in = nn.Linear(len(channel) + sizes[0], sizes[1])
        self.mlp_hidden = nn.ModuleList(nn.Linear(d_mlp, d_mlp) for d_mlp in sizes[2:-1])
        self.mlp_out = nn.Linear(sizes[-2], sizes[-1]) if settings.mlp_layers else None
        self.readout = nn.Linear(settings.d_m, num_output)

        space = np.geomspace if settings.tau_m_spacing == "log" else np.linspace
        tau_m = torch.tensor(
            space(settings.tau_m_min, settings.tau_m_max, settings.d_m), dtype=torch.get_default_dtype()
        )
        if settings.learn_tau_m:
            fraction = (tau_m - settings.tau_m_lower) / (settings.tau_m_upper - settings.tau_m_lower)
            self.proto_tau_m = nn.Parameter(torch.logit(fraction))
        else:
            self.register_buffer("fixed_tau_m", tau_m)
        if settings.tau_s_of_each_synapse:
            self.register_buffer("tau_s", torch.full(channel.shape, settings.tau_s))

    def _channels(self):
        """The channel of every synapse, in the shape of w_s; the first axis is that of b."""
        return np.arange(self.num_input)

    def tau_m(self):
        """Memory time constants, ms [d_m]."""
        if not self.settings.learn_tau_m:
            return self.fixed_tau_m
        return self.settings.tau_m_lower + (self.settings.tau_m_upper - self.settings.tau_m_lower) * torch.sigmoid(
            self.proto_tau_m
        )

    def memory_constants(self):
        """(κ_m, 1.7159 g), both [d_m]."""
        settings, tau_m = self.settings, self.tau_m()
        kappa = torch.exp(-settings.dt_ms / tau_m)
        if settings.gain == "v1":
            return kappa, (1 - kappa) * (settings.lambda_value * _TANH_SCALE)
        return kappa, torch.expm1(-settings.lambda_value * settings.dt_ms / tau_m) * -_TANH_SCALE

    def layers(self):
        """The MLP's linear layers, first to last."""
        return [self.mlp_in, *self.mlp_hidden, *([self.mlp_out] if self.mlp_out else [])]

    def forward(self, inputs):
        """inputs: Events or a tensor [batch, time, num_input].  Returns [batch, time, num_output].

        Raises InputError where the number of channels is another or a tensor holds what is not finite.
        """
        check_input(inputs, self.num_input)
        if self.settings.tau_s_of_each_synapse:
            return self.equations(inputs)
        steps = self._stretch_steps(inputs.shape)
        if steps >= inputs.shape[1]:
            return self._respond(inputs)[0]
        outputs, states = [], self._silence(inputs)
        for first in range(0, inputs.shape[1], steps):
            stretch = between(inputs, first, first + steps)
            if torch.is_grad_enabled():
                options = {"use_reentrant": False, "preserve_rng_state": False}
                output, *states = checkpoint(self._respond, stretch, *states, **options)
            else:
                output, *states = self._respond(stretch, *states)
            outputs.append(output)
        return torch.cat(outputs, dim=1)

    def _stretch_steps(self, shape):
        """Steps that go through time in one piece, for inputs of a shape [batch, time, channels]."""
        kept = shape[0] * (sum(layer.out_features for layer in self.layers()) + self.settings.d_m)
        return shape[1] if kept * shape[1] <= _MOST_KEPT else max(1, _STRETCH_KEPT // kept)

    def _silence(self, inputs):
        """Filter and memory before the first step, [block, window, n] each."""
        blocks = kernels.in_blocks(inputs.shape[0])
        filtered = self.mlp_in.out_features if self._goes_straight(type(inputs)) else len(self.w_s)
        return self.w_s.new_zeros(*blocks, filtered), self.w_s.new_zeros(*blocks, self.settings.d_m)

    def _respond(self, inputs, filtered=None, memory=None):
        """(y, filter, memory) of a stretch of time, the latter two after its last step, from those before its first;
        without these the stretch is all there is, and y is all that is of use."""
        settings, layers = self.settings, self.layers()
        weight = layers[0].weight
        from_branches, from_memory = weight.split([weight.shape[1] - settings.d_m, settings.d_m], dim=1)
        drive, filtered = self._drive(inputs, from_branches, math.exp(-settings.dt_ms / settings.tau_s), filtered)
        others = [(layer.weight, layer.bias) for layer in (*layers[1:], self.readout)]
        first, constants = (from_memory, layers[0].bias), self.memory_constants()
        found = remember(drive, [first, *others], *constants, settings.activation, inputs.shape[0], memory)
        return (found,) if memory is None else (found[0], filtered, found[1])

    def _drive(self, inputs, from_branches, kappa, filtered):
        """(share of b in the first layer's sums [block, time, window, d_mlp], filter after the last step)."""
        w_s, straight = torch.relu(self.w_s), self._goes_straight(type(inputs))
        mixing = from_branches if straight else torch.eye(from_branches.shape[1]).to(w_s)
        sums = project(inputs, w_s, mixing, self.wiring, kappa)
        if filtered is not None:
            decay = kappa ** torch.arange(1, sums.shape[1] + 1).to(sums)
            sums = sums + decay[:, None, None] * filtered[:, None]
        return sums if straight else sums @ from_branches.T, sums[:, -1]

    def _goes_straight(self, kind):
        """Whether inputs of a kind go straight to the first layer, or by way of the branches where these are so few
        that a product over all steps is the cheaper way: measured for events (45 branches, d_mlp of 40 to 300), counted
        for tensors."""
        d_mlp, branches = self.mlp_in.out_features, len(self.w_s)
        return d_mlp <= (3 * branches if kind is Events else branches)

    def equations(self, inputs):
        """`forward` as the module's equations stand, synapse by synapse and step by step: the reference for it, a
        hundred times slower."""
        return self.trace(inputs)[-1]

    def trace(self, inputs):
        """What the neuron does by its equations: (b [batch, time, branches], m [batch, time, d_m], y)."""
        x = inputs.dense(self.w_s.dtype, self.w_s.device) if isinstance(inputs, Events) else inputs
        tau_s = self.tau_s if self.settings.tau_s_of_each_synapse else torch.full_like(self.w_s, self.settings.tau_s)
        kappa_s, w_s = torch.exp(-self.settings.dt_ms / tau_s), self._live_weights()
        phi, (kappa, gain) = ACTIVATIONS[self.settings.activation], self.memory_constants()
        synapses, memory, steps = x.new_zeros(len(x), *w_s.shape), x.new_zeros(len(x), len(kappa)), []
        for x_t in x.unbind(1):
            synapses = kappa_s * synapses + w_s * self._route(x_t)
            branches, kept = self._branches(synapses), kappa * memory
            h = self.mlp_in(torch.cat([branches, kept], dim=1))
            for layer in self.layers()[1:]:
                h = layer(phi(h))
            memory = kept + gain * torch.tanh(2 / 3 * h)
            steps.append((branches, memory, self.readout(memory)))
        return tuple(torch.stack(values, dim=1) for values in zip(*steps, strict=True))

    def _live_weights(self):
        return torch.relu(self.w_s)

    def _route(self, x_t):
        """What each synapse receives, [batch, *shape of w_s].  x_t: [batch, num_input]."""
        return x_t

    def _branches(self, synapses):
        """b from s."""
        return synapses

    def dead_parameters(self):
        """Synapses that no channel reaches."""
        return self.w_s.numel() - len(self.wiring.live)

    def flops_per_step(self):
        """Multiplications and additions of the equations in one step on a dense input, without activations: three for
        each synapse and each memory (its decay, what comes in, their sum), one for a synapse in its branch's sum, two
        for each weight of a linear layer."""
        linear = sum(layer.weight.numel() for layer in (*self.layers(), self.readout))
        summed = self.w_s.numel() if self.w_s.dim() == 2 else 0
        return 3 * self.w_s.numel() + summed + 3 * self.settings.d_m + 2 * linear

    def printed_count(self):
        """The paper's parameter count for these settings as printed, None where it prints none."""
        if (self.num_input, self.readout.out_features) != (1278, 2):
            return None
        sizes, default = as_plain(self.settings), as_plain(self.Settings())
        names = {"d_m", "d_mlp", "mlp_layers", "d_tree", "d_brch", "learn_tau_m"} & sizes.keys()
        return self._printed({name: sizes[name] for name in names if sizes[name] != default[name]})

    def _printed(self, changed):
        """changed: the settings that the count depends on and that are not at their defaults."""
        return self.PRINTED.get(self.settings.d_m) if changed.keys() <= {"d_m"} else None


class BranchELM(ELM):
    """A Branch-ELM neuron; see the module for its equations."""

    Settings = BranchSettings
    PRINTED = {10: "5.9K", 15: "6.9K", 20: "8104", 25: "9.5K", 30: "11.1K", 40: "14.9K", 50: "19.5K"}

    def _channels(self):
        settings = self.settings
        if settings.routing == "neuronio":
            channel = routing.neuronio(self.num_input, settings.d_tree, settings.d_brch)
        else:
            channel = routing.random(self.num_input, settings.d_tree, settings.d_brch, settings.routing_seed)
        self.register_buffer("channel", torch.from_numpy(channel), persistent=False)
        return channel

    def _live_weights(self):
        return torch.relu(self.w_s) * (self.channel >= 0)

    def _route(self, x_t):
        return x_t[:, self.channel]

    def _branches(self, synapses):
        return synapses.sum(2)

    def _printed(self, changed):
        return "5479" if changed == {"d_tree": 35, "d_brch": 65} else super()._printed(changed)
