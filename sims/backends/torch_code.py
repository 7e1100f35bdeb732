"""Expressions as torch code: sympy trees → a straight-line function of tensors (a torch.fx graph).

Equal expressions are computed once. What holds nothing but fixed names goes to another function, which is called once
for many steps: in B g_L s w, with B and s alone changing, the product g_L w. So its gradient is summed over the steps
before it goes further back.
"""

import operator
from functools import reduce

import sympy
import torch
from brian2.core.namespace import DEFAULT_UNITS
from brian2.parsing.sympytools import str_to_sympy
from sympy.core.function import Application
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanAtom, BooleanFunction

from sims.expressions import ExpressionError


def exprel(x):
    """(exp(x) - 1)/x and 1 at 0; a series near 0, where the derivative of the quotient would lose its digits."""
    near = x.abs() < 1e-3
    away = torch.where(near, 1.0, x)
    series = 1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5)))
    return torch.where(near, series, torch.expm1(away) / away)


def clip(*parts):
    """clip(x, low, high), each a number or a tensor."""
    like = next(part for part in parts if isinstance(part, torch.Tensor))
    x, low, high = (torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in parts)
    return torch.minimum(torch.maximum(x, low), high)


# By the names of sympy's classes; where a function has a step, its gradient is 0.
FUNCTIONS = {
    "exp": torch.exp, "log": torch.log, "log10": torch.log10, "expm1": torch.expm1, "log1p": torch.log1p,
    "sqrt": torch.sqrt, "exprel": exprel, "sin": torch.sin, "cos": torch.cos, "tan": torch.tan, "asin": torch.asin,
    "acos": torch.acos, "atan": torch.atan, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh,
    "Abs": torch.abs, "sign": torch.sign, "ceiling": torch.ceil, "floor": torch.floor, "int_": torch.trunc,
    "clip": clip, "Mod": torch.remainder, "Not": torch.logical_not, "And": torch.logical_and, "Or": torch.logical_or,
    "StrictGreaterThan": operator.gt, "GreaterThan": operator.ge, "StrictLessThan": operator.lt,
    "LessThan": operator.le, "Equality": operator.eq, "Unequality": operator.ne,
}  # fmt: skip


def symbol(name):
    """The symbol that stands for a name of the file."""
    return sympy.Symbol(name, real=True)


def symbolic(text, names):
    """The sympy expression of a checked text, in SI units; names as for `in_si`.

    Raises ExpressionError where sympy or torch has no counterpart for a part of it.
    """
    try:
        found = in_si(str_to_sympy(text), names)
    except SyntaxError as error:  # Brian2's word for whatever sympy says
        raise ExpressionError(f"torch cannot compute '{text}': {str(error).splitlines()[0]}") from None
    for part in found.atoms(Application, Relational, BooleanAtom):
        if not names_in(part):
            raise ExpressionError(f"torch cannot compute '{text}': '{part}' is the same at all times; write its value")
        if type(part).__name__ not in FUNCTIONS:
            raise ExpressionError(f"torch cannot compute '{text}': it has no counterpart of {type(part).__name__}")
    if found.has(sympy.zoo, sympy.nan, sympy.oo, sympy.I):
        raise ExpressionError(f"torch cannot compute '{text}': a part of it is no finite real number")
    return found


def in_si(found, names):
    """An expression with other symbols.

    names: {name: its symbol, or a number} of variables; what is not among them is a unit, and becomes a number.
    """
    return found.xreplace(
        {s: names[s.name] if s.name in names else sympy.Float(float(DEFAULT_UNITS[s.name])) for s in found.free_symbols}
    )


def names_in(found):
    """The names that an expression reads."""
    return {s.name for s in found.free_symbols}


class Writer:
    """Writes a function of tensors.

    definitions: {name: expression} of subexpressions, in an order in which they can be computed; each is computed where
    it is first read.  dtype: of numbers made of comparisons.  arguments: what the function takes, dictionaries or
    tuples.  once: the Writer of what reads nothing but `fixed` names; its results come in the argument `once`.
    Attributes: graph; hoisted, what was written to `once`, in the order in which it must come back.
    """

    def __init__(self, definitions, dtype, arguments=(), once=None, fixed=frozenset()):
        self.graph, self.definitions, self.dtype = torch.fx.Graph(), dict(definitions), dtype
        self.once, self.fixed, self.hoisted, self.known = once, fixed, [], {}
        self.arguments = {name: self.graph.placeholder(name) for name in arguments}

    def call(self, function, *arguments):
        """The value of a function of values, nodes or numbers."""
        return self.graph.call_function(function, arguments)

    def read(self, argument, key):
        """The value of an entry of an argument that is a dictionary."""
        return self.call(operator.getitem, self.arguments[argument], key)

    def assign(self, name, value):
        """Give a variable a value, and forget what was computed from the one before."""
        changed = {name}
        for other, definition in self.definitions.items():
            if names_in(definition) & changed:
                changed.add(other)
        self.known = {found: node for found, node in self.known.items() if not names_in(found) & changed}
        self.known[symbol(name)] = value

    def hold(self, name):
        """Compute a subexpression now, for good."""
        value = self.value(symbol(name))
        del self.definitions[name]
        self.assign(name, value)

    def value(self, found):
        """The value of an expression: a node, or a number where it holds no names."""
        if found.is_number:
            return float(found)
        if found not in self.known:
            once = self.once is not None and names_in(found) <= self.fixed
            self.known[found] = self._taken(found) if once else self._written(found)
        return self.known[found]

    def function(self, *results):
        """The function that has been written, which returns these values."""
        self.graph.output(results)
        self.graph.eliminate_dead_code()
        return torch.fx.GraphModule(torch.nn.Module(), self.graph).forward

    def _taken(self, found):
        self.hoisted.append(self.once.value(found))
        return self.call(operator.getitem, self.arguments["once"], len(self.hoisted) - 1)

    def _written(self, found):
        match found:
            case sympy.Symbol(name=name):
                return self.value(self.definitions[name])
            case sympy.Add():
                return self._sum(*self._split(found))
            case sympy.Mul():
                return self._product(*self._split(found))
            case sympy.Pow(base=base, exp=exponent):
                return self._power(base, exponent)
        name, parts = type(found).__name__, [self.value(part) for part in found.args]
        if name == "int_" and isinstance(found.args[0], Relational | BooleanFunction):
            return self.graph.call_method("to", (parts[0], self.dtype))
        if name in ("And", "Or"):
            return reduce(lambda a, b: self.call(FUNCTIONS[name], a, b), parts)
        return self.call(FUNCTIONS[name], *parts)

    def _split(self, found):
        """The fixed terms or factors of an expression as one expression, and the others."""
        fixed = [part for part in found.args if names_in(part) <= self.fixed]
        return found.func(*fixed), [part for part in found.args if part not in fixed]

    def _sum(self, fixed, terms):
        total = None if fixed == 0 else self.value(fixed)
        for term in terms:
            sign, size = (-1, -term) if term.is_Mul and term.args[0] == -1 else (1, term)
            if total is None:
                total = self.value(term)
            else:
                total = self.call(operator.sub if sign < 0 else operator.add, total, self.value(size))
        return total

    def _product(self, fixed, factors):
        below = [1 / part for part in factors if part.is_Pow and part.exp.is_number and part.exp < 0]
        above = [part for part in factors if not (part.is_Pow and 1 / part in below)]
        if below:
            total = self.value(sympy.Mul(fixed, *above))
            return self.call(operator.truediv, total, self.value(sympy.Mul(*below)))
        if fixed == 1:
            return reduce(lambda a, b: self.call(operator.mul, a, b), map(self.value, above))
        together = sympy.Mul(*above)
        if together.is_Add and together not in self.known and self._scaled(together):
            return self.value(sympy.Add(*(fixed * term for term in together.args)))
        return self.call(operator.mul, self.value(fixed), self.value(together))

    def _scaled(self, found):
        """Whether all terms of a sum but one have fixed factors, so that one factor more costs nothing."""
        return sum(not any(names_in(part) <= self.fixed for part in sympy.Mul.make_args(t)) for t in found.args) <= 1

    def _power(self, base, exponent):
        power = float(exponent) if exponent.is_number else None
        if power is not None and power < 0:
            return self.call(torch.reciprocal, self.value(base**-exponent))
        if power == 2:
            return self.call(operator.mul, *[self.value(base)] * 2)
        if power == 0.5:
            return self.call(torch.sqrt, self.value(base))
        return self.call(torch.pow, self.value(base), self.value(exponent))
