"""A neuron of an equation file, fed by the channels of a detailed cell: compartments and a linear readout of all.

    y_t = W (v_t + 67.7 mV)/10 mV + b            logit of a spike and scaled voltage

    v_t  voltage of every compartment at the end of step t, from the equations of the file
    W, b the readout: the logit is that of escape noise, which grows with the voltages (Gerstner et al. 2014, ch. 9)

A compartment X is what the file gives the events X_excitation and X_inhibition and the state X_v. A channel reaches the
compartment that stands for its part of the cell (fitting/models/routing.py), excitatory channels the former event,
inhibitory ones the latter. What the file marks `fit: true` is learned, within its bounds, beside the readout: by
gradients through the torch backend, whose spikes have a surrogate's, or without (fitting/evolution.py).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from fitting import closed_form
from fitting.events import Events, check_input
from fitting.models.routing import compartments
from fitting.settings import SettingError, require
from fitting.space import Space
from fitting.tasks.neuronio import gather, scale_voltage
from sims import equations
from sims.arrivals import input_events
from sims.backends.torch import Neuron
from sims.neuronio import SKIP_MS

OFFSET_MV, SCALE = 67.7, 0.1  # as the task scales its target
FIRST_WINDOWS, FIRST_MS = 512, 500  # that the first readout is solved for on
EXCITATION, INHIBITION = "_excitation", "_inhibition"


@dataclass(frozen=True)
class Settings:
    """equations: the file.  dendrites: how many of the part `dendrite` it is to have, from 0."""

    equations: str = "equations/neuron_reduced.yaml"
    dendrites: int = 2
    dt_ms: float = 1.0

    def __post_init__(self):
        require(self.dendrites >= 0, "dendrites", self.dendrites, "at least 0")
        require(self.dt_ms > 0 and (1 / self.dt_ms).is_integer(), "dt_ms", self.dt_ms, "1 ms or a whole part of it")

    def read(self):
        """The Model.  Raises EquationError, or SettingError where it has no compartments."""
        model = equations.read(Path(self.equations), {"dendrite": self.dendrites})
        Compartments.of(model)
        return model


@dataclass(frozen=True)
class Compartments:
    """names: of a model's compartments, such as soma, dendrite1."""

    names: tuple

    @classmethod
    def of(cls, model):
        """Those of a Model.  Raises SettingError where it has none, or events that reach no compartment."""
        events = input_events(model)
        names = tuple(event.removesuffix(EXCITATION) for event in events if event.endswith(EXCITATION))
        found = cls(names)
        if not names or sorted(events) != sorted(found.events) or not set(found.voltages) <= set(model.states):
            raise SettingError(
                f"{model.path}: found the events {', '.join(events) or 'none'}, expected X{EXCITATION} and "
                f"X{INHIBITION} for every compartment X with a voltage X_v"
            )
        return found

    def __len__(self):
        return len(self.names)

    @property
    def events(self):
        """Names of the events, two for each compartment."""
        return [name + kind for name in self.names for kind in (EXCITATION, INHIBITION)]

    @property
    def voltages(self):
        """Names of the voltages."""
        return [f"{name}_v" for name in self.names]


def scaled(voltage):
    """A voltage in V as the readout sees it."""
    return voltage * (1e3 * SCALE) + OFFSET_MV * SCALE


class EquationNeuron(nn.Module):
    """The model; see the module."""

    Settings = Settings
    task = "neuronio"
    takes_events = True
    windows_at_once = 256

    def __init__(self, settings, num_input, num_output):
        super().__init__()
        require(num_output == 2, "number of outputs", num_output, "2, the logit of a spike and the voltage")
        require(num_input % 2 == 0, "number of input channels", num_input, "as many inhibitory as excitatory ones")
        self.settings, self.num_input = settings, num_input
        self.model = settings.read()
        self.compartments, self.space = Compartments.of(self.model), Space(self.model)
        self.neuron = Neuron(self.model, settings.dt_ms, tuple(self.compartments.events))
        self.point = nn.Parameter(torch.from_numpy(self.space.start))
        self.readout = nn.Linear(len(self.compartments), 2, dtype=torch.float64)
        # Until it sees the channels' places, neighbours in the table share a compartment.
        near = np.arange(num_input // 2) * len(self.compartments) // (num_input // 2)
        self.register_buffer("compartment", torch.from_numpy(np.tile(near, 2)))
        self.register_buffer("digest", torch.tensor(list(bytes.fromhex(self.model.digest)), dtype=torch.uint8))

    def place(self, data):
        """Have each channel reach the compartment of its place.  data: Recordings of the task."""
        where = compartments(data.region, data.path_distance, len(self.compartments))
        self.compartment.copy_(torch.from_numpy(where))

    def start(self, data):
        """Place the channels, and take the readout that suits the file's own values best, in closed form."""
        self.place(data)
        longest = int(data.duration.min()) - SKIP_MS
        length, burn_in = min(FIRST_MS, longest), min(FIRST_MS, longest) * 3 // 10
        simulations = np.arange(FIRST_WINDOWS) % len(data)
        starts = SKIP_MS + np.arange(FIRST_WINDOWS) * (longest - length) // FIRST_WINDOWS
        ms = (data.first_ms[simulations] + starts)[:, None] + np.arange(burn_in, length)
        with torch.no_grad():
            found = scaled(self.voltages(gather(data, simulations, starts, length))[:, burn_in:])
            features = np.concatenate([np.ones((1, ms.size)), found.reshape(ms.size, -1).T.numpy()])
            weights, _ = closed_form.least_squares(features, scale_voltage(data.voltage[ms]).ravel().astype(float))
            self.read_by(np.stack([closed_form.logistic(features, data.spike[ms].ravel() > 0), weights]))

    def read_by(self, weights):
        """Take readout weights, [2, 1 + compartment], constant first."""
        with torch.no_grad():
            self.readout.bias.copy_(torch.as_tensor(weights[:, 0]))
            self.readout.weight.copy_(torch.as_tensor(weights[:, 1:]))

    def forward(self, inputs):
        """inputs: Events or a tensor [batch, time, num_input], ±1 for each event.  Returns [batch, time, 2], float32.

        Raises InputError where the number of channels is another or a tensor holds what is not finite.
        """
        check_input(inputs, self.num_input)
        return self.readout(scaled(self.voltages(inputs))).float()

    def voltages(self, inputs):
        """The compartments' voltages at the end of each step, float64 [batch, time, compartment], V."""
        arriving = self.arriving(inputs)
        parameters = self.neuron.parameters((len(arriving),), self.space.values(reflected(self.point)), check=False)
        state, found = self.neuron.start(parameters), []
        substeps = round(1 / self.settings.dt_ms)
        for given in arriving.unbind(1):
            for substep in range(substeps):
                # All events of a millisecond arrive in its first step.
                columns = given.unbind(-1) if substep == 0 else [torch.zeros_like(given[:, 0])] * given.shape[1]
                inputs = dict(zip(self.compartments.events, columns, strict=True))
                state, _ = self.neuron.step(state, parameters, inputs)
            found.append(torch.stack([state[name] for name in self.compartments.voltages], dim=-1))
        return torch.stack(found, dim=1)

    def arriving(self, inputs):
        """How many events reach each of the neuron's, float64 [batch, time, event]."""
        event = event_of(self.compartment.numpy())
        if isinstance(inputs, Events):
            return torch.from_numpy(inputs.counts(event, len(self.compartments.events)))
        return (
            inputs.abs().double()
            @ nn.functional.one_hot(torch.from_numpy(event), len(self.compartments.events)).double()
        )

    def flops_per_step(self):
        """Additions and multiplications of one time step on dense input: sums of channels, equations, readout."""
        return 2 * self.num_input + self.neuron.operations + 4 * len(self.compartments)

    def _load_from_state_dict(self, state_dict, prefix, *arguments):
        stored = state_dict.get(f"{prefix}digest")
        if stored is not None and not torch.equal(stored, self.digest):
            raise SettingError(
                f"{self.settings.equations}: found the digest {self.model.digest[:16]}, expected "
                f"{bytes(stored.tolist()).hex()[:16]}, that of the equations which were fitted"
            )
        super()._load_from_state_dict(state_dict, prefix, *arguments)


def event_of(compartment):
    """Which of a neuron's events each channel is, int64 [channels].  compartment: of each channel."""
    inhibitory = np.arange(len(compartment)) >= len(compartment) // 2
    return 2 * compartment + inhibitory


def scale(voltage):
    """Make a voltage in V, a NumPy array, what `scaled` gives."""
    voltage *= 1e3 * SCALE
    voltage += OFFSET_MV * SCALE


def reflected(point):
    """A point within 0 to 1: beyond a bound, the way goes back, so that a gradient never vanishes there."""
    return 1 - (1 - point.remainder(2)).abs()
