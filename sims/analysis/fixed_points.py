"""Fixed points of a neuron file with one voltage: where dv/dt vanishes while every other state is at rest.

Every state but v must be linear in itself, so that it has one resting value at a given v; the search is then
one-dimensional and finds every crossing that a grid of 0.05 mV separates. Stability follows from the eigenvalues of the
Jacobian.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq

from sims.equations import EquationError

LOWEST, HIGHEST, GRID = -0.150, 0.100, 5001  # V
DIFFERENCE = 1e-6  # relative step of the numerical Jacobian


@dataclass(frozen=True)
class FixedPoint:
    """v: volt.

    stable: bool.  states: {state: SI value}.  largest_euler_step: s, above which explicit Euler diverges here.
    """

    v: float
    stable: bool
    states: dict
    largest_euler_step: float


def fixed_points(model):
    """The fixed points of a Model of kind neuron, in order of v.

    Raises EquationError where the model has no state v, or a state that is not linear in itself.
    """
    if "v" not in model.states:
        raise EquationError(f"{model.path}:1: fixed points need a state v; this file has {', '.join(model.states)}")
    grid = np.linspace(LOWEST, HIGHEST, GRID)
    slope = _drift(model, grid)
    points = []
    for i in np.flatnonzero(np.sign(slope[:-1]) * np.sign(slope[1:]) <= 0):
        if slope[i] == 0 and slope[i + 1] == 0:
            continue
        v = grid[i] if slope[i] == 0 else brentq(lambda x: float(_drift(model, x)), grid[i], grid[i + 1], xtol=1e-12)
        if points and abs(points[-1].v - v) < 1e-9:
            continue
        points.append(_classified(model, v))
    return points


def _at_rest(model, v):
    """{state: value} with all states but v at rest; found in as many rounds as states may wait for one another."""
    values = model.values(v=v, t=0.0) | {name: np.zeros_like(v) for name in model.states if name != "v"}
    for _ in model.states:
        for name in model.states:
            if name == "v":
                continue
            offset, above, below = (
                model.derivative(name, {**values, name: np.full_like(v, x)}) for x in (0.0, 1.0, -1.0)
            )
            rate = above - offset
            if not np.allclose(rate, offset - below, rtol=1e-9, atol=0) or np.any(rate == 0):
                node = model.states[name].node
                raise node.error(f"d{name}/dt is not linear in {name}, so that it has no single resting value")
            values[name] = -offset / rate
    return values


def _drift(model, v):
    v = np.asarray(v, float)
    return model.derivative("v", _at_rest(model, v)) + np.zeros_like(v)


def _classified(model, v):
    values = {name: float(value) for name, value in _at_rest(model, np.asarray(v)).items()}
    names = list(model.states)
    jacobian = np.empty((len(names), len(names)))
    for column, name in enumerate(names):
        step = DIFFERENCE * max(abs(values[name]), 1e-3)
        up, down = ({**values, name: values[name] + sign * step} for sign in (1, -1))
        for row, other in enumerate(names):
            jacobian[row, column] = (model.derivative(other, up) - model.derivative(other, down)) / (2 * step)
    eigenvalues = np.linalg.eigvals(jacobian)
    decaying = eigenvalues[eigenvalues.real < 0]
    limit = float(np.min(-2 * decaying.real / np.abs(decaying) ** 2)) if len(decaying) else float("inf")
    return FixedPoint(float(v), bool(np.all(eigenvalues.real < 0)), {name: values[name] for name in names}, limit)
