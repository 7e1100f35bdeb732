"""Expressions in Brian2's syntax: checked against Brian2's units, evaluated on arrays, rendered for other languages.

Numbers are kept exactly as written: `0.00643/ms` is a fraction, so every backend gets the same rounding in its own
units. Nothing is ever executed: text becomes a syntax tree, of which only arithmetic, comparisons and known functions
are accepted.
"""

import ast
import copy
import warnings
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
from brian2.core.functions import DEFAULT_FUNCTIONS
from brian2.core.namespace import DEFAULT_UNITS
from brian2.parsing.expressions import parse_expression_dimensions
from brian2.parsing.rendering import NodeRenderer
from brian2.units.fundamentalunits import (
    DIMENSIONLESS,
    Dimension,
    DimensionMismatchError,
    Quantity,
    get_unit_for_display,
)

from sims.mistakes import Mistake

LONGEST_EXPRESSION = 2000
LARGEST_EXPONENT = 300
CONSTANTS = {"pi": np.pi}

# How to compute each of Brian2's deterministic functions on arrays.
FUNCTIONS = {
    "exp": np.exp, "log": np.log, "log10": np.log10, "expm1": np.expm1, "log1p": np.log1p, "sqrt": np.sqrt,
    "sin": np.sin, "cos": np.cos, "tan": np.tan, "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh,
    "abs": np.abs, "sign": np.sign, "ceil": np.ceil, "floor": np.floor, "clip": np.clip,
    "int": lambda x: np.asarray(x).astype(np.int64).astype(float),
    "exprel": lambda x: np.where(x == 0, 1.0, np.expm1(x) / np.where(x == 0, 1.0, x)),  # (exp(x) - 1)/x
}  # fmt: skip
ARITHMETIC = {
    ast.Add: np.add, ast.Sub: np.subtract, ast.Mult: np.multiply, ast.Div: np.divide, ast.Pow: np.power,
    ast.Mod: np.mod, ast.USub: np.negative, ast.UAdd: np.positive,
    ast.Lt: np.less, ast.LtE: np.less_equal, ast.Gt: np.greater, ast.GtE: np.greater_equal,
    ast.Eq: np.equal, ast.NotEq: np.not_equal, ast.Not: np.logical_not, ast.And: np.logical_and, ast.Or: np.logical_or,
}  # fmt: skip
RESERVED = frozenset(
    {*FUNCTIONS, *CONSTANTS, *DEFAULT_FUNCTIONS, *DEFAULT_UNITS, "e", "inf", "t", "dt", "xi", "True", "False"}
)


class ExpressionError(Mistake):
    """What is wrong with an expression or a quantity, in words; the caller adds file and line."""


@dataclass(frozen=True)
class ExactQuantity:
    """A number with a unit, free of rounding.

    value: in SI base units (volt, second, metre, …).  dimension: Brian2's.  text: as the author wrote it.
    """

    value: Fraction
    dimension: Dimension
    text: str = field(compare=False, default="")

    @property
    def si(self):
        """The value in SI units, rounded once."""
        return float(self.value)

    def __str__(self):
        return self.text


@dataclass(frozen=True)
class Expression:
    """A checked expression.

    text: as written.  names: the variables it reads (no functions, units or constants).  dimension: Brian2's, of its
    value.
    """

    text: str
    names: frozenset
    dimension: Dimension
    tree: ast.expr = field(compare=False, repr=False)

    def evaluate(self, values):
        """The expression's value in SI units, vectorised.

        values: {name: number or array in SI units} for every name that the expression reads; arrays broadcast.
        """
        with np.errstate(over="ignore"):
            return evaluate(self.tree, values)


def unit_dimension(text):
    """The dimension that a unit names, such as `siemens/meter**2` or `1`.  Raises ExpressionError."""
    return quantity(text).dimension


def quantity(text):
    """Read a number with a unit, such as `-75*mV`, `0.00643/ms` or `3e-5*siemens/cm**2`, exactly.

    Returns an ExactQuantity.  Raises ExpressionError where the text is anything but numbers and units joined by + - * /
    **.
    """
    try:
        value, dimension = _exact(syntax_tree(text), text)
    except RecursionError:
        raise ExpressionError(f"'{_short(text)}' is nested too deeply") from None
    if value != 0 and not 1e-300 < abs(value) < 1e300:
        raise ExpressionError(f"the number '{text}' is too large or too small")
    return ExactQuantity(value, dimension, text)


def expression(text, dimensions):
    """Read and check an expression.

    text: Brian2 syntax.  dimensions: {name: Dimension} of every variable that it may read.
    Returns an Expression.  Raises ExpressionError for syntax that is not allowed, an unknown name or function, or units
    that do not fit together.
    """
    tree = syntax_tree(text)
    variables = {name: Quantity(1.0, dim=dimension) for name, dimension in dimensions.items()}
    variables |= {name: Quantity(value, dim=DIMENSIONLESS) for name, value in CONSTANTS.items()}
    try:
        names = _check(tree, dimensions)
        dimension = parse_expression_dimensions(tree, {**DEFAULT_UNITS, **DEFAULT_FUNCTIONS, **variables}, text)
    except DimensionMismatchError as error:
        raise ExpressionError(
            f"the units do not fit together: {error.desc if hasattr(error, 'desc') else error}"
        ) from None
    except ExpressionError:
        raise
    except RecursionError:
        raise ExpressionError(f"'{_short(text)}' is nested too deeply") from None
    except (SyntaxError, ValueError, TypeError, KeyError, NotImplementedError, ArithmeticError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ExpressionError(f"'{_short(text)}': {reason}") from None
    return Expression(text, names, dimension, tree)


def unit_name(dimension):
    """A dimension in the words of an error message, such as `V` or `1 (no unit)`."""
    return "1 (no unit)" if dimension is DIMENSIONLESS else get_unit_for_display(dimension)


def _short(text):
    return text if len(text) <= 80 else f"{text[:77]}..."


def syntax_tree(text):
    """The syntax tree of an expression; nothing in it is checked yet.  Raises ExpressionError where it is none."""
    if len(text) > LONGEST_EXPRESSION:
        raise ExpressionError(f"an expression of {len(text)} characters is too long (at most {LONGEST_EXPRESSION})")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        reason = getattr(error, "msg", None) or "nested too deeply"
        raise ExpressionError(f"'{_short(text)}' is not an expression: {reason}") from None


def renamed(tree, names):
    """A copy of a syntax tree with variables under other names, {old: new}; functions and units keep theirs."""
    return _Renamed(names).visit(copy.deepcopy(tree))


class _Renamed(ast.NodeTransformer):
    def __init__(self, names):
        self.names = names

    def visit_Name(self, node):
        return ast.Name(self.names.get(node.id, node.id), node.ctx)

    def visit_Call(self, node):
        return ast.Call(node.func, [self.visit(argument) for argument in node.args], node.keywords)


def _number(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool)


def _exact(node, text):
    """(Fraction in SI units, Dimension) of a quantity's syntax tree."""
    match node:
        case ast.Constant() if _number(node):
            written = ast.get_source_segment(text.strip(), node) or repr(node.value)
            if node.value != 0 and not 1e-300 < abs(float(node.value)) < 1e300:
                raise ExpressionError(f"the number '{written}' is too large or too small")
            # A zero may be written with any exponent; its value needs none.
            try:
                return (Fraction(written) if node.value != 0 else Fraction(0)), DIMENSIONLESS
            except ValueError:
                raise ExpressionError(f"'{written}' is not a decimal number") from None
        case ast.Name(id=name):
            if name not in DEFAULT_UNITS:
                raise ExpressionError(f"unknown unit '{name}' in '{text}'")
            unit = DEFAULT_UNITS[name]
            return Fraction(10) ** int(unit.scale), unit.dim
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            value, dimension = _exact(operand, text)
            return (-value if isinstance(node.op, ast.USub) else value), dimension
        case ast.BinOp(op=ast.Pow(), left=base, right=power):
            value, dimension = _exact(base, text)
            exponent, exponent_dimension = _exact(power, text)
            if exponent_dimension is not DIMENSIONLESS or exponent.denominator != 1 or abs(exponent) > LARGEST_EXPONENT:
                raise ExpressionError(f"'{text}': an exponent must be a whole number")
            if value == 0 and exponent < 0:
                raise ExpressionError(f"'{text}' divides by zero")
            if value != 0 and abs(float(exponent) * np.log10(abs(float(value)) or 1.0)) > LARGEST_EXPONENT:
                raise ExpressionError(f"the number '{text}' is too large or too small")
            return value ** int(exponent), dimension ** int(exponent)
        case ast.BinOp(op=op, left=left, right=right):
            a, a_dimension = _exact(left, text)
            b, b_dimension = _exact(right, text)
            match op:
                case ast.Mult():
                    return a * b, a_dimension * b_dimension
                case ast.Div():
                    if b == 0:
                        raise ExpressionError(f"'{text}' divides by zero")
                    return a / b, a_dimension / b_dimension
                case ast.Add() | ast.Sub():
                    if a_dimension is not b_dimension:
                        raise ExpressionError(f"'{text}' adds {unit_name(a_dimension)} and {unit_name(b_dimension)}")
                    return (a + b if isinstance(op, ast.Add) else a - b), a_dimension
    raise ExpressionError(f"'{text}' is not a number with a unit, such as -75*mV")


def _check(node, dimensions):
    """The variables that a syntax tree reads; refuses whatever is not arithmetic on known names."""
    match node:
        case ast.Constant() if _number(node):
            if not -1e300 < node.value < 1e300:
                raise ExpressionError("a number is too large")
            return frozenset()
        case ast.Name(id=name):
            if name in dimensions:
                return frozenset({name})
            if name in CONSTANTS or name in DEFAULT_UNITS:
                return frozenset()
            raise ExpressionError(f"unknown name '{name}'; known here: {', '.join(sorted(dimensions)) or 'nothing'}")
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            if name not in FUNCTIONS:
                raise ExpressionError(f"unknown function '{name}'; known: {', '.join(sorted(FUNCTIONS))}")
            children = arguments
        case ast.BinOp(op=op, left=left, right=right) if type(op) in ARITHMETIC:
            children = [left, right]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in ARITHMETIC:
            children = [operand]
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in ARITHMETIC:
            children = [left, right]
        case ast.BoolOp(values=values):
            children = values
        case _:
            raise ExpressionError(
                f"'{ast.unparse(node)}' is not allowed here; write arithmetic on numbers, names and functions"
            )
    return frozenset().union(*(_check(child, dimensions) for child in children))


def evaluate(node, values):
    """The value of a syntax tree on arrays; a unit counts in SI units unless `values` names it."""
    match node:
        case ast.Constant(value=value):
            return float(value)
        case ast.Name(id=name):
            if name in values:
                return values[name]
            return CONSTANTS[name] if name in CONSTANTS else float(DEFAULT_UNITS[name])
        case ast.Call(func=function, args=arguments):
            return FUNCTIONS[function.id](*(evaluate(argument, values) for argument in arguments))
        case ast.BinOp(op=op, left=left, right=right):
            return ARITHMETIC[type(op)](evaluate(left, values), evaluate(right, values))
        case ast.UnaryOp(op=op, operand=operand):
            return ARITHMETIC[type(op)](evaluate(operand, values))
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return ARITHMETIC[type(op)](evaluate(left, values), evaluate(right, values))
        case ast.BoolOp(op=op, values=operands):
            result = evaluate(operands[0], values)
            for operand in operands[1:]:
                result = ARITHMETIC[type(op)](result, evaluate(operand, values))
            return result


# The coherent system of units in which cable equations have no conversion factors: mV, ms, cm, mA, µmol, K. Its mass
# unit is 1e-11 kg, so that mA·mV is a power; conductances come out in S, concentrations in mM, capacitances in mF,
# charges in µC.
CABLE_UNIT_EXPONENTS = {"m": -2, "kg": -11, "s": -3, "A": -3, "K": 0, "mol": -6, "cd": 0}


def cable_units(exact):
    """An ExactQuantity's value in the cable units (mV, ms, cm, mA, µmol, K), rounded once."""
    return float(exact.value / cable_unit(exact.dimension))


def cable_unit(dimension):
    """The size in SI units of the cable unit of a dimension, a Fraction that is a power of ten."""
    exponent = sum(power * size for power, size in zip(dimension._dims, CABLE_UNIT_EXPONENTS.values(), strict=True))
    if exponent != int(exponent):
        raise ExpressionError(f"a fractional power of a unit, {unit_name(dimension)}, has no exact size")
    return Fraction(10) ** int(exponent)


class CodeRenderer(NodeRenderer):
    """Renders an expression's tree as code in another language, units turned into numbers in the cable system.

    A subclass names the functions of its language; whole powers up to 8 become products, which compilers do not do for
    pow().
    """

    functions = {}

    def render_Constant(self, node):
        return repr(float(node.value))

    def render_Name(self, node):
        if node.id in CONSTANTS:
            return repr(CONSTANTS[node.id])
        if node.id in DEFAULT_UNITS:
            unit = DEFAULT_UNITS[node.id]
            return repr(float(Fraction(10) ** int(unit.scale) / cable_unit(unit.dim)))
        return node.id

    def render_func(self, node):
        if node.id not in self.functions:
            raise ExpressionError(f"the function '{node.id}' has no counterpart in {self.language}")
        return self.functions[node.id]

    def render_BinOp(self, node):
        whole = isinstance(node.right, ast.Constant) and node.right.value in range(2, 9)
        cheap = not any(isinstance(part, ast.Call) for part in ast.walk(node.left))
        if isinstance(node.op, ast.Pow) and whole and cheap:
            return f"({'*'.join([self.render_element_parentheses(node.left)] * int(node.right.value))})"
        return super().render_BinOp(node)
