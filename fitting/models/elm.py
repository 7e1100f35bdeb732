"""Branch-ELM: the Expressive Leaky Memory neuron with a dendritic tree.

Per time step of Δt ms, for one neuron:

    s_t  = κ_s s_{t-1} + relu(w_s) ⊙ x_t          synapses    [d_tree, d_brch]     κ_s = exp(-Δt/τ_s)
    b_t  = sum of s_t within each branch          branches    [d_tree]
    Δm_t = tanh'(W_2 φ(W_1 [b_t, κ_m ⊙ m_{t-1}] + c_1) + c_2)                      tanh'(u) = 1.7159 tanh(2u/3)
    m_t  = κ_m ⊙ m_{t-1} + g ⊙ Δm_t               memory      [d_m]                κ_m = exp(-Δt/τ_m)
    y_t  = W_y m_t + b_y                          output      [num_output]

    x_t  input of each synapse: its channel's value (events: +1 excitatory, -1 inhibitory), dimensionless
    w_s  synaptic weight, 0.5 at first            τ_s  synaptic time constant, ms        φ  ReLU (or SiLU)
    W_1  [d_mlp, d_tree + d_m]  c_1 [d_mlp]       W_2  [d_m, d_mlp]  c_2 [d_m]
    W_y  [num_output, d_m]  b_y [num_output]      all with torch's first values for linear layers
    τ_m  memory time constants, ms [d_m]          λ    gain of an update                 m_0 = s_0 = 0
    g    "v1": λ (1 - κ_m);  "v2": 1 - exp(-λ Δt/τ_m), which stays below 1 where v1 does not (λ = 10, τ_m = 1 ms: 6.32)

Routing: channels are interleaved, excitatory i then inhibitory i + num_input/2; branch k holds d_brch consecutive
places from k stride, with stride = ceil(num_input/d_tree) (29 for NeuronIO's 1278 channels and 45 branches). Places
beyond the last channel hold synapses that nothing reaches: 218 of 4500. They are parameters all the same, so that
counts and released weights match.

What makes it fast: τ_s is the same everywhere, so the low-pass commutes with the sum over a branch and with the
weights. The synapses are one matrix [num_input, d_tree] applied to all time steps at once, 45 branches are filtered
instead of 4500 synapses, their share of the hidden layer is one product for all t, and only the memory is a loop over
time.

Source: Spieler, Rahaman, Martius, Schölkopf & Levina, "The ELM Neuron", arXiv 2306.16922 v1 (gain v1) and v3 (gain v2).
The rule for the stride at other sizes than NeuronIO's is inferred.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from fitting.settings import as_plain, require

# What the paper prints where everything else is at its default: 5 d_m + 2 parameters more than the equations have.
_PRINTED = {10: "5.9K", 15: "6.9K", 20: "8104", 25: "9.5K", 30: "11.1K", 40: "14.9K", 50: "19.5K"}
_FILTER_BLOCK = 128


@dataclass(frozen=True)
class Settings:
    """Sizes, constants and variants; symbols as in the module's equations.

    d_mlp: None means 2 d_m.  tau_m_min, tau_m_max: ms, the ends of the first time constants (d_m = 1 takes tau_m_min).
    learn_tau_m: learn τ_m = lower + (upper - lower) sigmoid(p) within tau_m_lower..tau_m_upper ms.
    """

    d_m: int = 20
    d_mlp: int | None = None
    d_tree: int = 45
    d_brch: int = 100
    lambda_value: float = 5.0
    tau_s: float = 5.0
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
        for name in ("d_m", "d_tree", "d_brch"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.d_mlp is None or self.d_mlp >= 1, "d_mlp", self.d_mlp, "at least 1, or none for 2 d_m")
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


class BranchELM(nn.Module):
    """A Branch-ELM neuron; see the module for its equations."""

    Settings = Settings

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        self.settings, self.num_input = settings, num_input
        channel = torch.from_numpy(route(num_input, settings.d_tree, settings.d_brch))
        branch = torch.arange(settings.d_tree)[:, None].expand_as(channel)
        live = channel >= 0
        # Where each live synapse stands in w_s, and where it adds in the folded [num_input, d_tree] matrix.
        self.register_buffer("live_synapse", live.flatten().nonzero().squeeze(1), persistent=False)
        self.register_buffer("folded_place", (channel * settings.d_tree + branch)[live], persistent=False)

        self.w_s = nn.Parameter(torch.full((settings.d_tree, settings.d_brch), 0.5))
        hidden = settings.d_mlp or 2 * settings.d_m
        self.mlp_in = nn.Linear(settings.d_tree + settings.d_m, hidden)
        self.mlp_out = nn.Linear(hidden, settings.d_m)
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

    def tau_m(self):
        """Memory time constants, ms [d_m]."""
        if not self.settings.learn_tau_m:
            return self.fixed_tau_m
        return self.settings.tau_m_lower + (self.settings.tau_m_upper - self.settings.tau_m_lower) * torch.sigmoid(
            self.proto_tau_m
        )

    def branch_weights(self):
        """The synapses as one matrix [num_input, d_tree]: what an event on a channel adds to each branch."""
        flat = self.w_s.new_zeros(self.num_input * self.settings.d_tree)
        weights = torch.relu(self.w_s).flatten()[self.live_synapse]
        return flat.index_add(0, self.folded_place, weights).view(self.num_input, self.settings.d_tree)

    def forward(self, x):
        """x: [batch, time, num_input].  Returns [batch, time, num_output]."""
        settings = self.settings
        arriving = (x @ self.branch_weights()).transpose(0, 1)
        branches = low_pass(arriving, math.exp(-settings.dt_ms / settings.tau_s))
        tau_m = self.tau_m()
        kappa = torch.exp(-settings.dt_ms / tau_m)
        if settings.gain == "v1":
            gain = settings.lambda_value * (1 - kappa)
        else:
            gain = -torch.expm1(-settings.lambda_value * settings.dt_ms / tau_m)
        from_branches, from_memory = self.mlp_in.weight.split([settings.d_tree, settings.d_m], dim=1)
        drive = nn.functional.linear(branches, from_branches, self.mlp_in.bias)
        memory = remember(drive, from_memory, self.mlp_out.weight, self.mlp_out.bias, kappa, gain, settings.activation)
        return self.readout(memory).transpose(0, 1)

    def dead_parameters(self):
        """Synapses that no channel reaches."""
        return self.w_s.numel() - len(self.live_synapse)

    def printed_count(self):
        """The paper's parameter count for these settings as printed, None where it prints none."""
        if self.num_input != 1278 or self.readout.out_features != 2:
            return None
        sizes = as_plain(self.settings)
        default = as_plain(Settings())
        differing = {
            name for name in ("d_m", "d_mlp", "d_tree", "d_brch", "learn_tau_m") if sizes[name] != default[name]
        }
        if differing == {"d_tree", "d_brch"} and (sizes["d_tree"], sizes["d_brch"]) == (35, 65):
            return "5479"
        return _PRINTED.get(sizes["d_m"]) if differing <= {"d_m"} else None


def route(num_input, d_tree, d_brch):
    """The channel that each synapse listens to, int64 [d_tree, d_brch], -1 where there is none.

    Raises SettingError where channels do not come in excitatory-inhibitory pairs or a branch would hold no live
    synapse.
    """
    require(
        num_input % 2 == 0,
        "number of input channels",
        num_input,
        "an even number, as many inhibitory as excitatory channels",
    )
    stride = math.ceil(num_input / d_tree)
    require(
        (d_tree - 1) * stride < num_input,
        "d_tree",
        d_tree,
        f"fewer branches: at stride {stride} the last ones have none of {num_input} channels",
    )
    place = np.arange(d_tree)[:, None] * stride + np.arange(d_brch)
    interleaved = np.arange(num_input).reshape(2, -1).T.ravel()
    return np.where(place < num_input, interleaved[np.minimum(place, num_input - 1)], -1)


def low_pass(u, kappa):
    """s_t = kappa s_{t-1} + u_t from s_0 = 0 for all t at once.  u: [time, ...]; kappa: number in (0, 1).  Returns the
    shape of u.

    One product with a lower triangular matrix of powers of kappa for each block of time; blocks pass on their last
    value.
    """
    time = torch.arange(min(_FILTER_BLOCK, len(u)))
    lag = time[:, None] - time
    response = torch.where(lag >= 0, kappa ** lag.clamp(min=0).to(u), 0.0).to(u)
    flat = u.reshape(len(u), -1)
    filtered, last = [], None
    for block in flat.split(_FILTER_BLOCK):
        here = response[: len(block), : len(block)] @ block
        if last is not None:
            here = here + kappa * response[: len(block), :1] * last
        filtered.append(here)
        last = here[-1]
    return torch.cat(filtered).view(u.shape)


def remember(drive, from_memory, out_weight, out_bias, kappa, gain, activation):
    """The one sequential part: m_t = κ m_{t-1} + g tanh'(W_2 φ(drive_t + W_m κ m_{t-1}) + c_2) from m_0 = 0.

    drive: [time, batch, d_mlp], the hidden layer's input but for the memory's share.  from_memory: W_m [d_mlp, d_m].
    out_weight: W_2 [d_m, d_mlp].  out_bias: c_2 [d_m].  kappa, gain: [d_m].  activation: "relu" or "silu".
    Returns m [time, batch, d_m].
    """
    phi = {"relu": torch.relu, "silu": nn.functional.silu}[activation]
    # tanh's two constants go into what does not change with time: every operation in the loop costs more than its
    # arithmetic.
    from_memory, out_weight, out_bias, gain = from_memory.T, out_weight.T * (2 / 3), out_bias * (2 / 3), gain * 1.7159
    memory = drive.new_zeros(drive.shape[1], len(kappa))
    memories = []
    for drive_t in drive.unbind(0):
        kept = kappa * memory
        hidden = phi(torch.addmm(drive_t, kept, from_memory))
        memory = torch.addcmul(kept, gain, torch.tanh(torch.addmm(out_bias, hidden, out_weight)))
        memories.append(memory)
    return torch.stack(memories)
