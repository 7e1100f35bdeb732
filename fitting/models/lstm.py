"""The long short-term memory network: LSTM, and Chrono-LSTM, whose memories are long from the first step.

Per time step, with n hidden units:

    i_t = σ(x_t W_i + h_{t-1} U_i + b_i)          input gate         [n]      σ the logistic function
    f_t = σ(x_t W_f + h_{t-1} U_f + b_f)          forget gate        [n]
    g_t = tanh(x_t W_g + h_{t-1} U_g + b_g)       candidate          [n]
    o_t = σ(x_t W_o + h_{t-1} U_o + b_o)          output gate        [n]
    c_t = f_t ⊙ c_{t-1} + i_t ⊙ g_t               cell               [n]
    h_t = o_t ⊙ tanh(c_t)                         hidden state       [n]      h_0 = c_0 = 0
    y_t = W_y h_t + b_y                           output             [num_output]

    x_t  input [num_input]      `input_weight` = [W_i W_f W_g W_o] [num_input, 4 n]      `recurrent_weight` = [U_i …]
    b    one bias for a gate, `bias` = [b_i b_f b_g b_o]: the paper's counts are those of one, where torch has two

First values: all uniform in ±1/sqrt(n), as torch's. Chrono-LSTM: but for b_f = log u and b_i = -log u, with u uniform
in t_min..t_max - 1 steps for each unit, whose forget gate alone then keeps a memory for about 1 + u steps.

What makes it fast: an event adds the row of its channel to the sums of all gates, for all steps before the first
(fitting/kernels/synapses.py), and only the recurrence is a loop over time (fitting/kernels/lstm.py).

Sources: Hochreiter & Schmidhuber 1997; Gers, Schmidhuber & Cummins 2000 (forget gate); Tallec & Ollivier 2018 (chrono
initialisation, equation 16); settings and counts of Spieler et al., "The ELM Neuron", arXiv 2306.16922.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from fitting import kernels
from fitting.events import check_input
from fitting.kernels.lstm import recur
from fitting.kernels.synapses import gather
from fitting.settings import require


@dataclass(frozen=True)
class Settings:
    """hidden: units, n in the module's equations."""

    hidden: int = 50

    def __post_init__(self):
        require(self.hidden >= 1, "hidden", self.hidden, "at least 1")


@dataclass(frozen=True)
class ChronoSettings(Settings):
    """Those of an LSTM, and the range of its units' first time scales.

    t_min, t_max: steps. t_max is the paper's but on Path-X, where it is 20000.
    """

    t_min: float = 1.0
    t_max: float = 2000.0

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.t_min < math.inf, "t_min", self.t_min, "a finite number above 0")
        require(
            self.t_min + 1 <= self.t_max < math.inf,
            "t_max",
            self.t_max,
            f"at least t_min + 1 = {self.t_min + 1}, finite",
        )


class LSTM(nn.Module):
    """An LSTM with a linear readout; see the module for its equations."""

    Settings = Settings
    takes_events = True
    PRINTED = {15: "77.67K", 25: "130.45K", 50: "265.9K", 100: "551.8K", 150: "857.7K", 250: "1529.5K"}

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        self.settings, self.num_input, hidden = settings, num_input, settings.hidden
        self.input_weight = nn.Parameter(torch.empty(num_input, 4 * hidden))
        self.recurrent_weight = nn.Parameter(torch.empty(hidden, 4 * hidden))
        self.bias = nn.Parameter(torch.empty(4 * hidden))
        self.readout = nn.Linear(hidden, num_output)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def forward(self, inputs):
        """inputs: Events or a tensor [batch, time, num_input].  Returns [batch, time, num_output].

        Raises InputError where the number of channels is another or a tensor holds what is not finite.
        """
        check_input(inputs, self.num_input)
        hidden = recur(gather(inputs, self.input_weight), self.recurrent_weight, self.bias)
        return kernels.from_blocks(self.readout(hidden), inputs.shape[0])

    def flops_per_step(self):
        """Multiplications and additions of the equations in one step on a dense input, without σ and tanh."""
        hidden, num_output = self.settings.hidden, self.readout.out_features
        return 8 * hidden * (self.num_input + hidden) + 4 * hidden + 2 * hidden * num_output

    def printed_count(self):
        """The paper's parameter count for these settings as printed, None where it prints none."""
        if (self.num_input, self.readout.out_features) != (1278, 2):
            return None
        return self.PRINTED.get(self.settings.hidden)


class ChronoLSTM(LSTM):
    """A Chrono-LSTM with a linear readout; see the module for its first values."""

    Settings = ChronoSettings

    def __init__(self, settings, num_input, num_output):
        super().__init__(settings, num_input, num_output)
        with torch.no_grad():
            bias_i, bias_f, *_ = self.bias.chunk(4)
            bias_f.uniform_(settings.t_min, settings.t_max - 1).log_()
            bias_i.copy_(-bias_f)
