"""How a neuron could behave: nullclines and the bifurcation diagram, as plain arrays in mV and ms.

Each takes a Model with one voltage, v, and the parameters as they stand, and raises a Mistake where it has nothing to
show.
"""

from dataclasses import dataclass

import contourpy
import numpy as np

from sims.analysis import bifurcation
from sims.analysis.fixed_points import at_rest, check_voltage, drift, fixed_points
from sims.explorer.traces import scale

VOLTAGES_mV = np.linspace(-110.0, 40.0, 301)
LEVELS = 121  # of the other state, in the plane of the nullclines


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


@dataclass(frozen=True)
class Curve:
    """A bifurcation diagram.

    stable, unstable: lists of (parameter, v mV).  folds: of such points.  windows: of (low, high), where two stable
    voltages face each other.  here: where the sliders stand.  label: of the axis.  condition: in words, what decides.
    """

    stable: list
    unstable: list
    folds: list
    windows: list
    here: float
    label: str
    condition: str


def diagram(model, slider):
    """The Curve of fixed points against the parameter of a Slider, in its unit."""
    ends = (None, None) if slider.bounded else (slider.text(slider.low), slider.text(slider.high))
    found, size = bifurcation.diagram(model, slider.name, *ends), slider.size
    stable, unstable = (
        [(b.parameter / size, b.v * 1e3) for b in found.branches if b.stable == stable] for stable in (True, False)
    )
    windows = [(low / size, high / size) for low, high in found.windows]
    where = " and ".join(f"from {low:.4g} to {high:.4g} {slider.unit}".rstrip() for low, high in windows)
    verdict = f"bistable for {found.label} {where}" if windows else f"one stable voltage for every {found.label} drawn"
    return Curve(
        stable,
        unstable,
        [(fold.parameter / size, fold.v * 1e3) for fold in found.folds],
        windows,
        found.value / size,
        found.label,
        f"{verdict}, because {found.dendrite.condition}" if found.exact else verdict,
    )
