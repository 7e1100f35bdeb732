"""Spiking point neurons: the leaky integrate-and-fire neuron, LIF, and ALIF, whose threshold its spikes move.

Per time step of Δt ms:

    s_t = κ_s s_{t-1} + (1 - κ_s) Σ_c relu(w_c) x_t,c      synaptic current          κ_s = exp(-Δt/τ_s)
    v_t = κ_m v_{t-1} + (1 - κ_m)(s_t + b) - r z_{t-1}     voltage                   κ_m = exp(-Δt/τ_m)
    θ_t = 1                                                threshold of a LIF
    a_t = κ_a a_{t-1} + z_{t-1},  θ_t = 1 + β a_t          threshold of an ALIF      κ_a = exp(-Δt/τ_a)
    z_t = 1 where v_t >= θ_t, else 0                       spike
    y_t = scale ⊙ (v_t - θ_t, v_t) + offset                logit of a spike and scaled voltage

    x_t  a value for each channel (events: +1 excitatory, -1 inhibitory)       s_0 = v_0 = a_0 = z_0 = 0
    v, s, b, r, β and w in units of the threshold at rest; 0 is the resting voltage

All is learned: w, b, β, the readout, and the logarithms of τ_s, τ_m, τ_a and r, which thereby stay positive. Both
filters have gain 1, so that learning a time constant leaves the mean drive as it is. r is what a spike takes away in
the step after it (1 leads from threshold to rest). β may become negative: a cell that fires bursts has a lower
threshold after a spike.

The neuron itself says 0 or 1 and a score needs a grade: the logit is that of escape noise, a chance of firing that
rises with the distance to threshold (Gerstner et al. 2014, chapter 9). It and the voltage are read before a spike is
subtracted: v is then highest in the step in which the target sits at its cap, and a voltage read after would be low.
The spikes' gradient is a surrogate, and only the sums of a step's events go through time (fitting/kernels/spiking.py).

Sources: Bellec et al. 2018 (arXiv 1803.09574) and 2020 (doi 10.1038/s41467-020-17236-y), for the ALIF and the
subtracted reset; Spieler et al. 2023 (arXiv 2306.16922) compare with a LIF neuron of 1280 parameters.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from fitting import kernels
from fitting.events import check_input
from fitting.kernels.spiking import integrate_and_fire
from fitting.kernels.synapses import Wiring, project
from fitting.settings import require


@dataclass(frozen=True)
class Settings:
    """First values of what is learned, symbols as in the module's equations, and of how it is.

    With them a neuron with NeuronIO's input (639 excitatory channels at 12 Hz, 639 inhibitory ones at 10 Hz) fires
    now and then.
    w: of every channel.  tau_s, tau_m: ms.
    surrogate_width: distance to threshold at which the spike's derivative has fallen to a quarter of its peak. Below
    a quarter of reset, gradients that pass many spikes grow: |κ_m - r/(2 width)| exceeds 1.
    reset_gradient: whether gradients flow through the subtraction of a spike to what caused it.
    """

    w: float = 0.4
    tau_s: float = 5.0
    tau_m: float = 10.0
    bias: float = 0.0
    reset: float = 0.3
    surrogate_width: float = 0.3
    reset_gradient: bool = True
    dt_ms: float = 1.0

    def __post_init__(self):
        for name in ("w", "tau_s", "tau_m", "reset", "surrogate_width", "dt_ms"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a finite number above 0")
        require(math.isfinite(self.bias), "bias", self.bias, "a finite number")


@dataclass(frozen=True)
class AdaptiveSettings(Settings):
    """Those of a LIF, and the first values of its adaptation: tau_a in ms, beta for each spike (0 starts as a LIF)."""

    tau_a: float = 50.0
    beta: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.tau_a < math.inf, "tau_a", self.tau_a, "a finite number above 0")
        require(math.isfinite(self.beta), "beta", self.beta, "a finite number")


class LIF(nn.Module):
    """A leaky integrate-and-fire neuron; see the module for its equations."""

    Settings = Settings
    takes_events = True

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        require(num_output == 2, "number of outputs", num_output, "2, the logit of a spike and the voltage")
        self.settings, self.num_input = settings, num_input
        self.wiring = Wiring(np.arange(num_input)[None], num_input)
        self.w = nn.Parameter(torch.full((num_input,), float(settings.w)))
        self.log_tau = _learned(math.log(settings.tau_s), math.log(settings.tau_m))
        self.bias, self.log_reset = _learned(settings.bias), _learned(math.log(settings.reset))
        self.scale, self.offset = _learned(4.0, 1.0), _learned(0.0, 0.0)

    def forward(self, inputs):
        """inputs: Events or a tensor [batch, time, num_input].  Returns [batch, time, 2].

        Raises InputError where the number of channels is another or a tensor holds what is not finite.
        """
        v, theta = self.membrane(inputs)
        return torch.addcmul(self.offset, self.scale, torch.stack([v - theta, v], dim=-1))

    def membrane(self, inputs):
        """(v, θ), both [batch, time]; the neuron fires where v >= θ.  inputs, errors: as for `forward`."""
        check_input(inputs, self.num_input)
        settings = self.settings
        arriving = project(inputs, torch.relu(self.w), self.w.new_ones(1, 1), self.wiring, kappa=0.0).squeeze(-1)
        constants = torch.cat([self.kappa(self.log_tau), self.bias, self.log_reset.exp(), *self.adaptation()])
        states = integrate_and_fire(arriving, constants, settings.surrogate_width, settings.reset_gradient)
        return tuple(kernels.from_blocks(state, inputs.shape[0]) for state in states)

    def adaptation(self):
        """(κ_a, β), both [1]."""
        return self.w.new_zeros(2).split(1)

    def kappa(self, log_tau):
        """exp(-Δt/τ)."""
        return torch.exp(-self.settings.dt_ms * torch.exp(-log_tau))

    def flops_per_step(self):
        """Additions and multiplications of one time step on dense input; relu(w) stands, and r z is a choice."""
        current, voltage, distance, readout = 2 * self.num_input + 2, 5, 1, 4
        return current + voltage + distance + readout

    def printed_count(self):
        """The paper's parameter count of its LIF on NeuronIO, None at other sizes."""
        return "1280" if self.num_input == 1278 else None


class ALIF(LIF):
    """A LIF neuron whose threshold its spikes move; see the module for its equations."""

    Settings = AdaptiveSettings

    def __init__(self, settings, num_input, num_output):
        super().__init__(settings, num_input, num_output)
        self.log_tau_a, self.beta = _learned(math.log(settings.tau_a)), _learned(settings.beta)

    def adaptation(self):
        return self.kappa(self.log_tau_a), self.beta

    def flops_per_step(self):
        return super().flops_per_step() + 4

    def printed_count(self):
        return None


def _learned(*first):
    return nn.Parameter(torch.tensor(first, dtype=torch.get_default_dtype()))
