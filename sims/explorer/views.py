"""What the page shows of a neuron: traces, nullclines and the bifurcation diagram, as plain arrays in mV and ms.

Each takes a Model with the parameters as they stand, and raises a Mistake where it has nothing to show.
"""

from dataclasses import dataclass

import contourpy
import numpy as np
from brian2.units import volt

from sims import documents, equations
from sims.analysis import bifurcation
from sims.analysis.fixed_points import at_rest, check_voltage, drift, fixed_points
from sims.arrivals import Arrivals, input_events
from sims.backends import torch
from sims.backends.brian import Setup

VOLTAGES_mV = np.linspace(-100.0, 20.0, 241)
LEVELS = 121  # of the other state, in the plane of the nullclines


@dataclass(frozen=True)
class Train:
    """Input events: name, first, interval and duration in ms, count, weight of each; and the step."""

    name: str = ""
    first: float = 100.0
    interval: float = 10.0
    count: int = 20
    weight: float = 2.0
    duration: float = 1000.0
    dt: float = 0.5

    def arrivals(self):
        """The Train as Arrivals at neuron 0."""
        time = self.first + self.interval * np.arange(self.count if self.name else 0)
        return Arrivals(time, np.zeros(len(time), int), np.full(len(time), self.name), np.full(len(time), self.weight))


def trains(model):
    """The events that a Train may be of: those that the file takes from outside."""
    return input_events(model)


def scale(dimension):
    """(how many make one in SI, name) of the unit in which a state is shown."""
    return (1e3, "mV") if dimension is volt.dim else (1.0, "")


def traces(model, train):
    """{"time_ms": [step], state: [step] …, in mV where it is a voltage}, and the times of spikes, ms."""
    setup = Setup(model, 1, train.duration, train.dt)
    found = torch.simulate(setup, None, train.arrivals())
    shown = {name: value[:, 0] * scale(model.states[name].dimension)[0] for name, value in found.values.items()}
    return {"time_ms": found.time_ms, **shown}, found.spike_time_ms


@dataclass(frozen=True)
class Nullclines:
    """Where single states stand still.

    other: the state against which v is drawn, or None, where `voltage` holds dv/dt (mV/ms) instead of a nullcline.
    voltage, gate: lists of (v mV, other state): v's nullcline, and the other's.  points: (v mV, other, stable) of the
    fixed points.
    """

    other: str | None
    voltage: list
    gate: list
    points: list


def nullclines(model):
    """Nullclines in the plane of v and the first other state that v feels, all else at rest; dv/dt where it feels none.

    Raises EquationError where there is no state v.
    """
    check_voltage(model)
    felt = model.needs(model.states["v"].expression.names)
    others = [name for name in model.states if name != "v" and name in felt]
    v, points = VOLTAGES_mV / 1e3, fixed_points(model)
    if not others:
        rate = drift(model, v, {})
        return Nullclines(None, [(VOLTAGES_mV, rate)], [], [(point.v * 1e3, 0.0, point.stable) for point in points])
    other = others[0]
    factor = scale(model.states[other].dimension)[0]
    rest = at_rest(model, v, {})[other]
    places = [point.states[other] for point in points]
    low, high = min([0.0, *np.ravel(rest), *places]), max([1e-9, *np.ravel(rest), *places])
    level = np.linspace(low, low + 1.5 * (high - low), LEVELS)
    grid = at_rest(model, v[None, :], {other: level[:, None]})
    lines = {
        name: contourpy.contour_generator(
            VOLTAGES_mV, level * factor, model.derivative(name, grid) + np.zeros((len(level), len(v)))
        ).lines(0.0)
        for name in ("v", other)
    }
    return Nullclines(
        other,
        *([(line[:, 0], line[:, 1]) for line in lines[name]] for name in ("v", other)),
        [(point.v * 1e3, point.states[other] * factor, point.stable) for point in points],
    )


def diagram(model, parameter, size):
    """Fixed points against a parameter in units of `size`: (stable, unstable, folds, value).

    The former are lists of (parameter, v mV); folds of such points; value: where the file stands.
    """
    found = bifurcation.diagram(model, parameter)
    branches = [
        [(b.parameter / size, b.v * 1e3) for b in found.branches if b.stable == stable] for stable in (True, False)
    ]
    return *branches, [(fold.parameter / size, fold.v * 1e3) for fold in found.folds], found.value / size


def read(path):
    """The Model of an equation file; raises EquationError where it is wrong, or is of another kind than neuron."""
    kind = documents.read(path).value.get("kind")
    if kind is not None and kind.value != "neuron":
        raise kind.error(f"only neurons can be explored; this file is of the kind {kind.value}")
    return equations.read(path)
