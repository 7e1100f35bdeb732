"""What a fixed step needs to know of a neuron's equations: what relaxes, what is held, where each state starts.

Exponential Euler takes every equation as dx/dt = slope x + drive and advances x by the exact exponential, all else held
at the step's start. Subexpressions are put in their places first, but for those that bend with a state whose equation
reads them, such as the magnesium block B(v) in dv/dt: these are held too.
"""

from dataclasses import dataclass

import numpy as np
import sympy
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str
from sympy.core.function import Application
from sympy.core.relational import Relational

from sims.analysis.fixed_points import fixed_points
from sims.equations import EquationError
from sims.expressions import expression
from sims.mistakes import RequestError


@dataclass(frozen=True)
class Linear:
    """slope, drive: {state: sympy expression} of dx/dt = slope x + drive.  held: subexpressions held over a step."""

    slope: dict
    drive: dict
    held: frozenset


def linear(model):
    """The Linear form of a Model's equations.

    Raises EquationError, naming the equation, where one is not linear in its own state.
    """
    held = set()
    for name, equation in model.states.items():
        _written_out(model, equation, held, bends_with=_symbol(name))
    slope, drive = {}, {}
    for name, equation in model.states.items():
        form = _affine(_written_out(model, equation, held), _symbol(name))
        if form is None:
            raise equation.node.error(
                f"exponential Euler cannot take this equation: d{name}/dt must be linear in {name}; give what bends "
                "with it an equation of its own, whose value is held over a step, or write `integration: euler`"
            )
        slope[name], drive[name] = form
    return Linear(slope, drive, frozenset(held))


def starts(model):
    """{state: Expression} of every state's initial value, in an order in which they can be computed.

    None of them reads a subexpression. A state without an initial value starts at rest, all else held.
    Raises EquationError, naming the equation, where a state has no single resting value or states wait for one another.
    """
    found = {}
    for name, equation in model.states.items():
        if name in model.initial:
            text = model.initial[name].text
            if model.initial[name].names & set(model.subexpressions):
                text = sympy_to_str(_written_out(model, model.initial[name], set()))
        else:
            form = _affine(_written_out(model, equation, set()), _symbol(name))
            if form is None or form[0] == 0:
                raise equation.node.error(f"{name} has no single resting value to start at; write `initial: {name}: …`")
            text = sympy_to_str(sympy.simplify(-form[1] / form[0]))
        found[name] = expression(text, model.dimensions)
    ordered = {}
    while len(ordered) < len(found):
        waits = {n: start.names & set(model.states) - set(ordered) for n, start in found.items() if n not in ordered}
        ready = [name for name, others in waits.items() if not others]
        if not ready:
            name = next(iter(waits))
            raise model.states[name].node.error(
                f"where {name} starts depends on {', '.join(sorted(waits[name]))}, and the reverse; "
                f"write `initial: {name}: …`"
            )
        ordered |= {name: found[name] for name in ready}
    return ordered


def time_constants(model):
    """{state: Expression} of the time constants with which states relax, where parameters alone decide them."""
    found = {}
    for name, equation in model.states.items():
        form = _affine(_written_out(model, equation, set()), _symbol(name))
        if form is not None and form[0] != 0:
            tau = expression(sympy_to_str(-1 / form[0]), model.dimensions)
            if tau.names <= set(model.parameters):
                found[name] = tau
    return found


def check(model, taus, values, dt):
    """Raise EquationError or RequestError where values of the parameters make no sense over a step.

    taus: of `time_constants`.  values: {parameter: number or array, SI}.  dt: the step, s.  A state with a negative
    time constant runs away; a refractory time below 0 is none; explicit Euler diverges where a step is too large.
    """
    pause = model.refractory
    if pause is not None and pause.names <= set(values) and np.any(pause.evaluate(values) < 0):
        raise RequestError(f"{model.path}: the refractory time {pause.text} is negative; expected 0 or more")
    for name, expected in taus.items():
        with np.errstate(divide="ignore", invalid="ignore"):
            tau = expected.evaluate(values)
        if not np.all(tau > 0):
            raise model.states[name].node.error(
                f"the time constant of {name}, {expected.text}, is {np.min(tau):.4g} s; expected a positive one"
            )
        if model.integration == "euler" and np.any(dt > 2 * tau):
            raise _too_large(name, 2 * np.min(tau), dt)
    if model.integration == "euler" and "v" in model.states and all(np.ndim(value) == 0 for value in values.values()):
        for point in _fixed_points(model, values):
            if point.stable and dt > point.largest_euler_step:
                raise _too_large(f"v at {point.v * 1e3:.1f} mV", point.largest_euler_step, dt)


def _too_large(what, largest, dt):
    return RequestError(
        f"--dt: found {dt * 1e3:g} ms, but explicit Euler diverges for {what} above {largest * 1e3:.4g} ms; "
        "take a smaller step or write `integration: exponential_euler`"
    )


def _fixed_points(model, values):
    try:
        return fixed_points(model.with_values(values))
    except EquationError:  # more than one voltage, or states that bend: no fixed points to hold the step against
        return []


def _symbol(name):
    return sympy.Symbol(name, real=True)


def _written_out(model, equation, held, bends_with=None):
    """The right-hand side with its subexpressions in their places, but for those in `held`.

    bends_with: a symbol; subexpressions that are not linear in it are added to `held`.
    """
    known = {}

    def place(text, names):
        symbolic = str_to_sympy(text)
        for name in sorted(names & set(model.subexpressions)):
            if name not in held:
                symbolic = symbolic.subs(_symbol(name), subexpression(name))
        return symbolic

    def subexpression(name):
        if name not in known:
            inner = model.subexpressions[name].expression
            known[name] = place(inner.text, inner.names)
            if bends_with is not None and _affine(known[name], bends_with) is None:
                held.add(name)
                known[name] = _symbol(name)
        return known[name]

    right = getattr(equation, "expression", equation)
    return place(right.text, right.names)


def _affine(symbolic, x):
    """(slope, drive) where an expression is slope x + drive, else None."""
    if not symbolic.has(x):
        return sympy.Integer(0), symbolic
    if any(part.has(x) for part in symbolic.atoms(Application, Relational)):
        return None
    slope = sympy.diff(symbolic, x)
    slope = sympy.expand(slope) if slope.has(x) else slope
    return None if slope.has(x) else (slope, symbolic.subs(x, 0))
