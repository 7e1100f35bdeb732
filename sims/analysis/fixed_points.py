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


def fixed_points(model, **given):
    """The fixed points of a Model of kind neuron, in order of v.

    given: SI values, by name, of parameters that differ from the file's and of states that are held where they are.
    Raises EquationError where the model has no state v, or a state that is not linear in itself.
    """
    check_voltage(model)
    grid = np.linspace(LOWEST, HIGHEST, GRID)
    slope = drift(model, grid, given)
    points = []
    for i in np.flatnonzero(np.sign(slope[:-1]) * np.sign(slope[1:]) <= 0):
        if slope[i] == 0 and slope[i + 1] == 0:
            continue
        exact = slope[i] == 0
        v = grid[i] if exact else brentq(lambda x: float(drift(model, x, given)), grid[i], grid[i + 1], xtol=1e-12)
        if not points or abs(points[-1] - v) >= 1e-9:
            points.append(v)
    if not points:
        return []
    values, stable, steps = classified(model, np.array(points), given)
    return [
        FixedPoint(float(v), bool(stable[i]), {name: float(values[name][i]) for name in model.states}, float(steps[i]))
        for i, v in enumerate(points)
    ]


def check_voltage(model):
    """Raises EquationError where the model has no state v."""
    if "v" not in model.states:
        raise EquationError(f"{model.path}:1: fixed points need a state v; this file has {', '.join(model.states)}")


def at_rest(model, v, given):
    """{name: SI value} of parameters and of all states at rest but for v; found in as many rounds as states may wait
    for one another.  v: volt, array.  given: as for `fixed_points`; its values broadcast with v."""
    resting = [name for name in model.states if name != "v" and name not in given]
    values = model.values(v=v, t=0.0) | given | {name: np.zeros_like(v) for name in resting}
    for _ in resting:
        for name in resting:
            offset, above, below = (
                model.derivative(name, {**values, name: np.full_like(v, x)}) for x in (0.0, 1.0, -1.0)
            )
            rate = above - offset
            if not np.allclose(rate, offset - below, rtol=1e-9, atol=0) or np.any(rate == 0):
                node = model.states[name].node
                raise node.error(f"d{name}/dt is not linear in {name}, so that it has no single resting value")
            values[name] = -offset / rate
    return values


def drift(model, v, given):
    """dv/dt, volt per second, at voltages v with every other state at rest; arguments as for `at_rest`."""
    v = np.asarray(v, float)
    return model.derivative("v", at_rest(model, v, given)) + np.zeros_like(v)


def classified(model, v, given):
    """Stability of fixed points at v, shape (n,); given as for `at_rest`.

    Returns values ({name: (n,)} of the states), stable (n,) and the largest stable steps of explicit Euler (n,), s.
    """
    names = list(model.states)
    values = at_rest(model, v, given)
    values |= {name: values[name] + np.zeros_like(v) for name in names}
    jacobian = np.empty((len(v), len(names), len(names)))
    for column, name in enumerate(names):
        step = DIFFERENCE * np.maximum(np.abs(values[name]), 1e-3)
        up, down = ({**values, name: values[name] + sign * step} for sign in (1, -1))
        for row, other in enumerate(names):
            jacobian[:, row, column] = (model.derivative(other, up) - model.derivative(other, down)) / (2 * step)
    eigenvalues = np.linalg.eigvals(jacobian)
    decaying = eigenvalues.real < 0
    limits = -2 * eigenvalues.real / np.abs(np.where(decaying, eigenvalues, 1)) ** 2
    return values, decaying.all(axis=1), np.where(decaying, limits, np.inf).min(axis=1)
