"""Membrane mechanisms in the form that a fixed step wants: states that relax, currents with their slope.

A simulator that takes fixed steps advances a state by the exact exponential, for which it needs the resting value and
the rate, and solves for the voltage with currents made linear, for which it needs dI/dv.
"""

import ast

import sympy
from brian2.parsing.sympytools import str_to_sympy, sympy_to_str

from sims.equations import EquationError
from sims.expressions import expression

V = sympy.Symbol("v", real=True)


def names_in(tree):
    """The variables, units and constants in a syntax tree; functions do not count."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in functions}


def refuse_calcium_without_shell(cell, region):
    """Raise EquationError where a mechanism of a Cell's region reads calcium and the region has no shell to keep it."""
    models = {name: cell.mechanisms[name] for name in cell.regions[region].mechanisms}
    if any(model.kind == "shell" for model in models.values()):
        return
    for name, model in models.items():
        equations = (*model.states.values(), *model.subexpressions.values())
        reads = set().union(*(e.expression.names for e in equations)) & {"Ca_i", "E_Ca"}
        if reads:
            raise EquationError(
                f"{cell.path}:1: '{name}' in region '{region}' reads {' and '.join(sorted(reads))}, "
                "but the region has no calcium shell"
            )


def linear_form(equation, dimensions, simulator):
    """The resting value and the rate of a state, all else held: dx/dt = (rest - x) rate.

    equation: the differential Equation.  dimensions: {name: Dimension} of all that it reads.  simulator: for messages.
    Returns two Expressions.  Raises EquationError, naming the place, where the equation is not linear in its state.
    """
    right = str_to_sympy(equation.expression.text)
    symbol = _symbol(equation.name)
    rate = sympy.simplify(-sympy.diff(right, symbol))
    if rate == 0 or rate.has(symbol):
        raise equation.node.error(
            f"{simulator} cannot run this equation: d{equation.name}/dt must be linear in {equation.name}"
        )
    rest = sympy.simplify(right.subs(symbol, 0) / rate)
    return tuple(expression(sympy_to_str(part), dimensions) for part in (rest, rate))


def with_slope(equation, follows_v, functions=()):
    """A current I and its slope dI/dv at constant states.

    equation: the Equation of the current.  follows_v: {name: Equation} of the subexpressions behind it that depend on
    the voltage, in order; they are put in their places before I is differentiated, but for those named in `functions`,
    whose own slopes go by the name slope_of(name).
    Returns (common, I, dI/dv): what both share as a list of (name, syntax tree), then the trees of the two.
    """
    current = _substituted(equation, follows_v, functions)
    slope = sympy.diff(current, V)
    for name in functions:
        slope += sympy.diff(current, _symbol(name)) * _symbol(slope_of(name))
    if not follows_v:
        return [], equation.expression.tree, _tree(slope)
    common, parts = sympy.cse([current, slope], symbols=sympy.numbered_symbols("common", real=True))
    return [(str(symbol), _tree(part)) for symbol, part in common], *map(_tree, parts)


def slope_of(name):
    """The name of the slope of a function of the voltage."""
    return f"{name}_slope"


def slope_tree(equation, follows_v):
    """The syntax tree of a subexpression's derivative by the voltage; follows_v as in `with_slope`."""
    return _tree(sympy.diff(_substituted(equation, follows_v), V))


def _symbol(name):
    return sympy.Symbol(name, real=True)


def _substituted(equation, follows_v, functions=()):
    symbolic = str_to_sympy(equation.expression.text)
    for name in reversed(follows_v):
        if name not in functions:
            symbolic = symbolic.subs(_symbol(name), str_to_sympy(follows_v[name].expression.text))
    return symbolic


def _tree(symbolic):
    return ast.parse(sympy_to_str(symbolic), mode="eval").body
