"""The temporal convolutional network (TCN) of Beniaguev, Segev & London 2021.

    x^0_t = input of all channels
    x^l_t = N_l(relu(c_l + Σ_k W_l[k] x^{l-1}_{t-k}))      layer l = 1..layers      k = 0..filter - 1, causal
    y_t   = W_y x^layers_t + b_y                           output [num_output]

    W_l[k]  [width, channels or width]      c_l  [width]      x before the first step is 0
    N_l     batch normalisation of each unit, a u + b with u of mean 0 and variance 1 over batch and time; where it is
            evaluated, by running means and variances

The first layer's filter has first_filter taps, the others' have filter: the published network of seven layers sees
51 + 6 · 17 = 153 steps back. First values: normal with SD first_weights, cut at two SDs, as published; normalisation
makes up for their size. The published training had Nadam and an L2 penalty of 1e-8; here every model is trained alike
(fitting/gradient.py). Its filters of the layers after the first are inferred from the field and the count.

What makes it fast: the first layer has most of the weights and nearly always nothing to multiply them with. From events
it is a table, of which an event adds its channel's row, the filters of all units, to the steps that follow: at 1.2 % a
hundredth of the operations.

Source: Beniaguev, Segev & London 2021, "Single cortical neurons as deep artificial neural networks", Neuron 109:2727.
"""

import math
from dataclasses import dataclass

import numpy as np
from torch import nn
from torch.nn import functional

from fitting import kernels
from fitting.events import Events, check_input
from fitting.kernels.synapses import gather
from fitting.settings import as_plain, require


@dataclass(frozen=True)
class Settings:
    """Sizes, in layers, units and steps; first_weights: SD of the first values."""

    layers: int = 7
    width: int = 128
    first_filter: int = 51
    filter: int = 18
    first_weights: float = 0.002

    def __post_init__(self):
        for name in ("layers", "width", "first_filter", "filter"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(0 < self.first_weights < math.inf, "first_weights", self.first_weights, "a finite number above 0")


class TCN(nn.Module):
    """A TCN with a linear readout; see the module for its equations."""

    Settings = Settings
    takes_events = True

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        self.settings, self.num_input = settings, num_input
        filters = [settings.first_filter, *[settings.filter] * (settings.layers - 1)]
        inputs = [num_input, *[settings.width] * (settings.layers - 1)]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, settings.width, steps) for channels, steps in zip(inputs, filters, strict=True)
        )
        self.normalisations = nn.ModuleList(nn.BatchNorm1d(settings.width) for _ in filters)
        self.readout = nn.Linear(settings.width, num_output)
        for layer in (*self.convolutions, self.readout):
            spread = settings.first_weights
            nn.init.trunc_normal_(layer.weight, std=spread, a=-2 * spread, b=2 * spread)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs):
        """inputs: Events or a tensor [batch, time, num_input].  Returns [batch, time, num_output].

        Raises InputError where the number of channels is another or a number is not finite.
        """
        check_input(inputs, self.num_input)
        x = inputs if isinstance(inputs, Events) else inputs.transpose(1, 2)
        for convolution, normalisation in zip(self.convolutions, self.normalisations, strict=True):
            x = normalisation(functional.relu(self._filtered(x, convolution)))
        return self.readout(x.transpose(1, 2))

    def _filtered(self, x, convolution):
        """A causal convolution.  x: [batch, channels, time] or Events.  Returns [batch, units, time]."""
        units, channels, steps = convolution.weight.shape
        if not isinstance(x, Events):
            return convolution(functional.pad(x, (steps - 1, 0)))
        earlier = Events(x.channel, np.pad(x.bounds, ((0, 0), (steps - 1, 0)), mode="edge"), x.value)
        table = convolution.weight.permute(1, 2, 0).reshape(channels, steps * units)
        rows = gather(earlier, table)
        blocks, time, windows, n = rows.shape
        # Step t adds up tap j of the row of step t + j, counted with the empty steps before the first: in memory
        # windows * n + units numbers from one to the next.
        strides = (time * windows * n, windows * n, n, windows * n + units, 1)
        taps = rows.as_strided((blocks, time - steps + 1, windows, steps, units), strides)
        return kernels.from_blocks(taps.sum(3) + convolution.bias, x.shape[0]).transpose(1, 2)

    def flops_per_step(self):
        """Multiplications and additions of the equations in one step on a dense input, normalisation by running means
        included."""
        weights = sum(convolution.weight.numel() for convolution in self.convolutions) + self.readout.weight.numel()
        return 2 * weights + 2 * self.settings.layers * self.settings.width

    def printed_count(self):
        """The paper's parameter count for these settings as printed, None where it prints none."""
        published = as_plain(self.settings) == as_plain(Settings()) and self.num_input == 1278
        return "~10M" if published and self.readout.out_features == 2 else None
