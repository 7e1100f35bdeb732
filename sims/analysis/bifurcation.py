"""How a neuron file's fixed points move with one of its parameters: branches, stability, folds.

With every state but v at rest the fixed points are the curve F(v, p) = dv/dt = 0 in the plane of v and the parameter p.
Marching squares find it, all its pieces at once, where continuation would have to be started on each. On a line of
constant v the crossing is exact if F is linear in p, as it is in a conductance; a few steps along the gradient of F
bring every other point onto the curve. Folds are where ∂F/∂v changes sign along it, solved to rounding if sympy can
differentiate F and to about 1e-8 mV otherwise. Stability follows from the eigenvalues of all states' Jacobian.

The strength of a conductance that a gate opens, w in w s B(v) (E - v), is drawn at an open gate, s = 1: where dv/dt
depends on nothing but the product of the two, p stands for w s, and the file's own place on that axis is its w times
the resting value of s.
"""

import re
from dataclasses import dataclass

import contourpy
import numpy as np
from brian2.units.fundamentalunits import DIMENSIONLESS
from scipy.optimize import brentq

from sims import expressions
from sims.analysis import nmda, symbolic
from sims.analysis.fixed_points import HIGHEST, LOWEST, at_rest, check_voltage, classified, drift, fixed_points
from sims.expressions import ExpressionError, quantity, unit_name
from sims.mistakes import Mistake

DEFAULT = "w"
UNIT = re.compile(r"\s*[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*([*/].*)")
VOLTAGES, VALUES = 1251, 301  # the grid of marching squares: 0.2 mV, and the parameter's range in 300 steps
NEWTON_STEPS = 4
ROOM = 1.2  # a fold lies at most at 1/ROOM of the range drawn


class AnalysisError(Mistake):
    """What cannot be analysed; its text names the option or the file."""


@dataclass(frozen=True)
class Fold:
    """A saddle-node: parameter, SI, and v, volt."""

    parameter: float
    v: float


@dataclass(frozen=True)
class Branch:
    """Neighbouring fixed points of one stability: parameter (n,), SI, and v (n,), volt."""

    parameter: np.ndarray
    v: np.ndarray
    stable: bool


@dataclass(frozen=True)
class Diagram:
    """model, parameter: what was varied.  low, high: over which range, SI.

    gate: the state that is held at 1, or None.  value: the file's own parameter, times the gate's resting value.
    branches, folds: tuples, the folds in order of the parameter.
    windows: the intervals ((lowest, highest), …) with two stable voltages or more, within the range.
    dendrite: the closed form at the file's values, where the file is an NMDA dendrite; None elsewhere.
    exact: whether the folds come from it.
    """

    model: object
    parameter: str
    low: float
    high: float
    gate: str | None
    value: float
    branches: tuple
    folds: tuple
    windows: tuple
    dendrite: nmda.Dendrite | None
    exact: bool

    @property
    def label(self):
        """The name of the axis, such as w·s."""
        return f"{self.parameter}·{self.gate}" if self.gate else self.parameter

    @property
    def bistable(self):
        """Whether two stable voltages face each other anywhere in the range."""
        return bool(self.windows)

    @property
    def bistable_here(self):
        """Whether they do at the file's own value."""
        return any(low < self.value < high for low, high in self.windows)

    @property
    def condition(self):
        """In words and numbers: what decides."""
        if self.exact and not self.dendrite.bistable:
            return self.dendrite.condition
        stretches = self.windows or ((self.low, self.high),)
        where = " and ".join(f"{low / self.unit[0]:.5g} to {self.shown(high)}" for low, high in stretches)
        verdict = f"bistable for {'' if self.bistable else 'no '}{self.label} from {where}"
        return f"{self.dendrite.condition}; {verdict}" if self.exact else f"{verdict} (found numerically)"

    @property
    def unit(self):
        """(size in SI, name) of the unit in which the file writes the parameter; the name of no unit is empty."""
        return written_unit(self.model.parameters[self.parameter])

    def shown(self, value):
        """A value of the parameter in that unit, as text."""
        size, name = self.unit
        return f"{value / size:.5g} {name}".strip()

    def given(self, value):
        """The values that `fixed_points` takes for one place on the axis."""
        return {self.parameter: value, **self.held}

    @property
    def held(self):
        """{gate: 1}, or nothing where there is none."""
        return {self.gate: 1.0} if self.gate else {}


def written_unit(parameter):
    """(size in SI, name) of the unit in which a file writes a parameter; the name of no unit is empty."""
    value = parameter.value
    if written := UNIT.match(value.text):
        size = quantity(f"1{written[1]}").si
        return size, written[1].removeprefix("*") if written[1].startswith("*") else f"1{written[1]}"
    return 1.0, "" if value.dimension is DIMENSIONLESS else unit_name(value.dimension)


def diagram(model, parameter=DEFAULT, low=None, high=None):
    """The bifurcation diagram of a neuron file.

    low, high: the range of the parameter, as text with its unit; by default its bounds, or 0 to twice its value,
    widened to hold the file's value and the folds of the closed form.
    Returns a Diagram.  Raises AnalysisError where the parameter or its range does not fit, EquationError as
    `fixed_points` does.
    """
    check_voltage(model)
    if parameter not in model.parameters:
        raise AnalysisError(
            f"--parameter: found '{parameter}', expected a parameter of {model.path}: {', '.join(model.parameters)}"
        )
    gate = _gate(model, parameter)
    given = {gate: 1.0} if gate else {}
    rest = at_rest(model, np.asarray(LOWEST), {})
    value = float(rest[parameter] * (rest[gate] if gate else 1.0))
    form = nmda.recognise(model)
    dendrite = form and form.dendrite(rest)
    unit = form.weight_per(parameter, {**rest, **given}) if dendrite else None
    closed = dendrite.folds() if unit else None
    folds = ()
    if closed:
        folds = (Fold(closed.w_low / unit, closed.v_low / 1e3), Fold(closed.w_high / unit, closed.v_high / 1e3))
    low, high = _range(model.parameters[parameter], value, [fold.parameter for fold in folds], low, high)
    reduced = Reduced(model, parameter, given)
    curves = [_refined(reduced, *curve) for curve in _curves(reduced, low, high)]
    if not unit:
        found = [Fold(float(p[i]), float(v[i])) for p, v, turns in curves for i in turns]
        folds = tuple(sorted(found, key=lambda fold: fold.parameter))
    branches = tuple(branch for curve in curves for branch in _branches(model, parameter, given, *curve))
    return Diagram(
        model=model,
        parameter=parameter,
        low=low,
        high=high,
        gate=gate,
        value=value,
        branches=branches,
        folds=folds,
        windows=_windows(model, parameter, given, low, high, branches, folds),
        dendrite=dendrite or None,
        exact=bool(unit),
    )


def figures(diagram):
    """A Diagram's results as plain data: parameters in SI units, w at s = 1, voltages in mV."""
    name = diagram.parameter
    return {
        "file": str(diagram.model.path),
        "parameter": name,
        "axis": diagram.label,
        "range": [diagram.low, diagram.high],
        "value": diagram.value,
        "bistable": diagram.bistable,
        "bistable_at_value": diagram.bistable_here,
        "windows": [list(window) for window in diagram.windows],
        "folds": [{name: fold.parameter, "v_mV": fold.v * 1e3} for fold in diagram.folds],
        "condition": diagram.condition,
        "closed_form": diagram.exact,
        "cusp_v_mV": diagram.dendrite.cusp if diagram.exact else None,
        "fixed_points": [{"v_mV": point.v * 1e3, "stable": point.stable} for point in fixed_points(diagram.model)],
    }


def table(diagram):
    """The same for people."""
    here = "" if diagram.gate is None else f", its {diagram.parameter} times the resting {diagram.gate}"
    lines = [f"{diagram.model.path}: {'bistable' if diagram.bistable else 'not bistable'}", f"  {diagram.condition}"]
    lines += [
        f"  fold at {diagram.label} = {diagram.shown(fold.parameter)}, v = {fold.v * 1e3:.3f} mV"
        for fold in diagram.folds
    ]
    lines.append(f"  at this file's {diagram.label} = {diagram.shown(diagram.value)}{here}:")
    lines += [
        f"  {'stable  ' if point.stable else 'unstable'} v = {point.v * 1e3:8.3f} mV"
        for point in fixed_points(diagram.model)
    ]
    return "\n".join(lines)


class Reduced:
    """F(v, p) = dv/dt with every other state at rest, and its derivatives; arguments broadcast, SI.

    given: {state: value} of the states held elsewhere.
    """

    def __init__(self, model, parameter, given):
        self.model, self.parameter, self.given = model, parameter, given
        self.scale = abs(model.parameters[parameter].value.si) or 1.0
        self.trees = _trees(model, parameter, tuple(given))

    def drift(self, v, p):
        return self._evaluated(0, v, p) if self.trees else drift(self.model, *self._numeric(v, p))

    def by_v(self, v, p):
        if self.trees:
            return self._evaluated(1, v, p)
        step = 1e-7  # V: the error of truncation, relative, is of the order (step/10 mV)²
        return (self.drift(v + step, p) - self.drift(v - step, p)) / (2 * step)

    def by_parameter(self, v, p):
        if self.trees:
            return self._evaluated(2, v, p)
        step = 1e-5 * self.scale
        return (self.drift(v, p + step) - self.drift(v, p - step)) / (2 * step)

    def _evaluated(self, which, v, p):
        values = self.model.values() | self.given | {"v": v, "t": 0.0, self.parameter: p}
        with np.errstate(all="ignore"):
            return expressions.evaluate(self.trees[which], values) + np.zeros(np.broadcast(v, p).shape)

    def _numeric(self, v, p):
        v, p = np.broadcast_arrays(np.asarray(v, float), p)
        return v, {**self.given, self.parameter: p}


@symbolic.of_equations
def _trees(model, parameter, held):
    """The syntax trees of F and its derivatives by v and the parameter; None where sympy cannot have them."""
    found = symbolic.resting_drift(model, held)
    return found and tuple(
        symbolic.tree(part) for part in (found, *(found.diff(symbolic.symbol(name)) for name in ("v", parameter)))
    )


def _gate(model, parameter):
    """The state that dv/dt knows only as a factor of the parameter, and that neither follows; None if there is none."""
    v = np.linspace(-0.09, 0.01, 11)
    for name, equation in model.states.items():
        behind = model.needs(equation.expression.names)
        if name == "v" or equation.dimension is not DIMENSIONLESS or behind & {"v", parameter}:
            continue
        base = at_rest(model, v, {}) | {name: 0.7, parameter: model.values()[parameter] or 1.0}
        doubled = [model.derivative("v", {**base, x: 2 * base[x]}) for x in (name, parameter)]
        if np.allclose(*doubled, rtol=1e-9, atol=0) and not np.allclose(doubled[0], model.derivative("v", base)):
            return name
    return None


def _range(parameter, value, folds, low, high):
    bounds = [bound.si for bound in parameter.bounds] if parameter.bounds else [0.0, 2 * value]
    inside = [*bounds, value, *(ROOM * fold for fold in folds)]
    low = min(inside) if low is None else _limit("--low", parameter, low)
    high = max(inside) if high is None else _limit("--high", parameter, high)
    if not low < high:
        raise AnalysisError(
            f"--low, --high: found the range {low:g} to {high:g} of '{parameter.name}', expected one that ascends"
        )
    return low, high


def _limit(option, parameter, text):
    try:
        found = quantity(text)
    except ExpressionError as error:
        raise AnalysisError(f"{option}: {error}") from None
    if found.dimension is not parameter.value.dimension:
        raise AnalysisError(
            f"{option}: found the unit {unit_name(found.dimension)}, expected that of '{parameter.name}', "
            f"{unit_name(parameter.value.dimension)}"
        )
    return found.si


def _curves(reduced, low, high):
    """The pieces of F = 0 in the range, as arrays (p, v)."""
    v, p = np.linspace(LOWEST, HIGHEST, VOLTAGES), np.linspace(low, high, VALUES)
    heights = np.ma.masked_invalid(reduced.drift(v[:, None], p[None, :]))
    for line in contourpy.contour_generator(p, v, heights).lines(0.0):
        yield _onto_the_curve(reduced, *line.T, high - low)


def _onto_the_curve(reduced, p, v, width):
    """Points moved along the gradient of F, in units of the range drawn, until F vanishes."""
    for _ in range(NEWTON_STEPS):
        height = reduced.drift(v, p)
        up, right = reduced.by_v(v, p) * (HIGHEST - LOWEST), reduced.by_parameter(v, p) * width
        step = height / np.maximum(up**2 + right**2, np.finfo(float).tiny)
        p, v = p - step * right * width, v - step * up * (HIGHEST - LOWEST)
    return p, v


def _refined(reduced, p, v):
    """A curve with its folds put in: arrays p and v, and where in them the folds are."""
    slope = reduced.by_v(v, p)
    turns = np.flatnonzero(np.sign(slope[:-1]) * np.sign(slope[1:]) < 0)
    folds = np.array([_fold(reduced, p[i : i + 2], v[i : i + 2]) for i in turns]).reshape(-1, 2)
    return *(np.insert(x, turns + 1, folds[:, k]) for k, x in enumerate((p, v))), turns + 1 + np.arange(len(turns))


def _fold(reduced, p, v):
    """The fold (p, v) between two neighbouring points: near it p is a function of v, on which ∂F/∂v vanishes."""

    def place(share):
        at, value = v[0] + share * (v[1] - v[0]), p[0] + share * (p[1] - p[0])
        for _ in range(NEWTON_STEPS):
            value = value - float(reduced.drift(at, value)) / float(reduced.by_parameter(at, value))
        return at, value

    at, value = place(brentq(lambda share: float(reduced.by_v(*place(share))), 0, 1, xtol=1e-15, rtol=1e-15))
    return value, at


def _branches(model, parameter, given, p, v, turns):
    """Runs of points of one stability; the point at which it changes, such as a fold, belongs to both."""
    _, stable, _ = classified(model, v, {**given, parameter: p})
    stable[turns] = stable[turns - 1]  # at a fold an eigenvalue is zero, of either sign after rounding
    ends = [0, *(np.flatnonzero(stable[1:] != stable[:-1]) + 1), len(v)]
    for start, stop in zip(ends[:-1], ends[1:], strict=True):
        reach = slice(max(start - 1, 0), stop)
        yield Branch(p[reach], v[reach], bool(stable[start]))


def _windows(model, parameter, given, low, high, branches, folds):
    """The stretches of the range in which two stable fixed points or more face each other."""
    ends = {end for branch in branches for end in (branch.parameter[0], branch.parameter[-1]) if branch.stable}
    places = sorted({low, high, *(fold.parameter for fold in folds), *(e for e in ends if low < e < high)})
    windows = []
    for start, stop in zip(places[:-1], places[1:], strict=True):
        if stop - start <= 1e-9 * (high - low):
            continue
        points = fixed_points(model, **given, **{parameter: (start + stop) / 2})
        if sum(point.stable for point in points) < 2:
            continue
        if windows and abs(windows[-1][1] - start) <= 1e-9 * (high - low):
            windows[-1] = windows[-1][0], stop
        else:
            windows.append((start, stop))
    return tuple(windows)
