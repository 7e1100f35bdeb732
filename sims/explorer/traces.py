"""What a neuron does under an input that a person chooses: a train of events, and a parameter that steps."""

from dataclasses import dataclass, field

import numpy as np
from brian2.units import amp, volt
from brian2.units.fundamentalunits import DIMENSIONLESS

from sims.arrivals import Arrivals
from sims.backends.floats import Single
from sims.expressions import unit_name
from sims.mistakes import RequestError

MOST_STEPS, MOST_EVENTS = 20_000, 10_000  # what a page still draws at once


@dataclass(frozen=True)
class Train:
    """Input events: their name (empty: none), the first and the interval in ms, how many, the weight of each."""

    event: str = ""
    first: float = 100.0
    interval: float = 10.0
    count: float = 20
    weight: float = 5.0

    @property
    def times(self):
        """float [count], ms."""
        return self.first + self.interval * np.arange(int(self.count) if self.event else 0)


@dataclass(frozen=True)
class Step:
    """A parameter (empty: none) that has another value, in its own unit, from `onset` on for `length` ms."""

    parameter: str = ""
    value: float = 0.0
    onset: float = 500.0
    length: float = 200.0


@dataclass(frozen=True)
class Protocol:
    """What a simulation is given; duration and step of time in ms."""

    train: Train = field(default_factory=Train)
    step: Step = field(default_factory=Step)
    duration: float = 1000.0
    dt: float = 0.5

    def check(self):
        """Raise RequestError where a number is missing or makes no sense."""
        numbers = {
            "first event": self.train.first, "interval": self.train.interval, "events": self.train.count,
            "weight of each": self.train.weight, "step from": self.step.onset, "step for": self.step.length,
            "step to": self.step.value, "simulate": self.duration, "step of time": self.dt,
        }  # fmt: skip
        for name, number in numbers.items():
            if number is None or not np.isfinite(number):
                raise RequestError(f"input: '{name}' is empty, expected a number")
            if number < 0 and name != "step to":
                raise RequestError(f"input: '{name}' is {number:g}, expected 0 or more")
        if not 0 < self.dt <= self.duration or self.duration > MOST_STEPS * self.dt:
            raise RequestError(
                f"input: found {self.duration:g} ms in steps of {self.dt:g} ms, expected 1 to {MOST_STEPS} steps"
            )
        if self.train.count > MOST_EVENTS:
            raise RequestError(f"input: 'events' is {self.train.count:g}, expected at most {MOST_EVENTS}")
        return self


def scale(dimension):
    """(how many make one in SI, name) of the unit in which a state is shown."""
    if dimension is volt.dim:
        return 1e3, "mV"
    return 1.0, "" if dimension is DIMENSIONLESS else unit_name(dimension)


def steppable(model):
    """The parameters that a Step may be of, currents first."""
    return sorted(model.parameters, key=lambda name: model.parameters[name].value.dimension is not amp.dim)


class Rehearsal:
    """Simulations of one file's neuron; what follows from its equations alone is worked out once."""

    def __init__(self, model):
        self.model, self.known = model, {}

    def run(self, protocol, values, sizes):
        """One simulation.

        values: {parameter: SI} of what differs from the file.  sizes: {parameter: its unit in SI}.
        Returns ({"time_ms": [step], state: [step] …, in the units of `scale`}, spike times in ms).
        Raises EquationError, ArrivalsError or RequestError.
        """
        protocol.check()
        train, step, model, dt = protocol.train, protocol.step, self.model, protocol.dt
        count = round(protocol.duration / dt)
        inputs = {}
        if train.event:
            times = train.times
            names, weights = np.full(len(times), train.event), np.full(len(times), train.weight)
            events = Arrivals(times, np.zeros(len(times), int), names, weights).check(model, 1)
            inputs[train.event] = events.weights(train.event, 1, count, dt)[:, 0]
        time = np.arange(count) * dt
        if step.parameter:
            inside = (time >= step.onset - dt / 2) & (time < step.onset + step.length - dt / 2)
            given = model.values(**values)[step.parameter]
            inputs[step.parameter] = np.where(inside, step.value * sizes[step.parameter], given)
        traces, spikes = self._neuron(dt, tuple(inputs)).run(values, inputs, count)
        shown = {name: trace * scale(model.states[name].dimension)[0] for name, trace in traces.items()}
        return {"time_ms": time, **shown}, time[:0] if spikes is None else time[spikes]

    def _neuron(self, dt, inputs):
        if (dt, inputs) not in self.known:
            self.known = {(dt, inputs): Single(self.model, dt, inputs)}
        return self.known[dt, inputs]
