"""A neuron file's equations as sympy expressions, in SI units: for derivatives without rounding and for closed forms.

Expressions hold real symbols named as in the file. They are computed by way of sims.expressions, never as Python.
"""

import ast
import functools
from fractions import Fraction

import sympy
from brian2.core.namespace import DEFAULT_UNITS
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str

SMOOTH = {"exp", "log", "log10", "expm1", "log1p", "sqrt", "exprel", "sin", "cos", "tan", "sinh", "cosh", "tanh"}
SMOOTH |= {"arcsin", "arccos", "arctan"}


REMEMBERED = 64  # models, by each function


def of_equations(function):
    """Remember what a function of a Model finds in its equations alone, whatever the values of the parameters.

    The function's other arguments must be hashable."""
    known = {}

    @functools.wraps(function)
    def found(model, *given):
        equations = (*model.subexpressions.values(), *model.states.values())
        texts = tuple((e.name, e.differential, e.expression.text) for e in equations)
        key = texts, tuple(model.parameters), given
        if key not in known:
            if len(known) == REMEMBERED:
                del known[next(iter(known))]
            known[key] = function(model, *given)
        return known[key]

    return found


def symbol(name):
    """The symbol that stands for a name of the file."""
    return sympy.Symbol(name, real=True)


def derivative(model, name):
    """The right-hand side of d name/dt in parameters and states, subexpressions in their places.

    None where it holds a comparison, a remainder or a function with steps or corners.
    """
    needed = [e for n, e in model.subexpressions.items() if n in model.needs(model.states[name].expression.names)]
    equations = [*needed, model.states[name]]
    if not all(map(_smooth, equations)):
        return None
    found = str_to_sympy(equations[-1].expression.text)
    for equation in reversed(needed):
        found = found.subs(symbol(equation.name), str_to_sympy(equation.expression.text))
    known = {*model.parameters, *model.states, "t"}
    units = {s: _unit(s.name) for s in found.free_symbols if s.name not in known}
    return found.subs(units)


def resting_drift(model, held=()):
    """dv/dt as a function of v and the parameters, with every other state at its rest but those named in `held`.

    None where `derivative` has none, or where states wait for one another in a circle.
    """
    others = [name for name in model.states if name != "v" and name not in held]
    sides = {name: derivative(model, name) for name in ("v", *others)}
    if None in sides.values():
        return None
    drift, rests = sides["v"], {}
    for name in others:
        rate = sympy.diff(sides[name], symbol(name))
        if rate == 0 or rate.has(symbol(name)):
            return None
        rests[symbol(name)] = -sides[name].subs(symbol(name), 0) / rate
    for _ in others:
        drift = drift.subs(rests, simultaneous=True)
    return None if drift.free_symbols & set(rests) else drift


def tree(found):
    """The syntax tree of an expression, for sims.expressions.evaluate."""
    return ast.parse(sympy_to_str(found), mode="eval").body


def _smooth(equation):
    parts = list(ast.walk(equation.expression.tree))
    return all(part.func.id in SMOOTH for part in parts if isinstance(part, ast.Call)) and not any(
        isinstance(part, ast.Compare | ast.BoolOp | ast.Mod | ast.Not) for part in parts
    )


def _unit(name):
    size = Fraction(10) ** int(DEFAULT_UNITS[name].scale)
    return sympy.Rational(size.numerator, size.denominator)
