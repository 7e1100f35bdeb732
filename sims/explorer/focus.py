"""One voltage of a neuron with several: the rest of it held, so that it has nullclines and fixed points of its own."""

import ast
from dataclasses import replace
from fractions import Fraction

from brian2.units import volt

from sims.equations import Parameter
from sims.expressions import ExactQuantity, renamed


def voltages(model):
    """The names of a Model's membrane voltages: v, or those of a composition's parts, such as soma_v."""
    if "v" in model.states:
        return ["v"]
    return [name for name, state in model.states.items() if name.endswith("_v") and state.dimension is volt.dim]


def focused(model, voltage):
    """What one voltage, as v, depends on in a Model, and nothing else; the other voltages are parameters, to be set."""
    if voltage == "v":
        return model
    held = [name for name in voltages(model) if name != voltage]

    def seen(equation):
        right = equation.expression
        tree = renamed(right.tree, {voltage: "v"})
        names = frozenset("v" if name == voltage else name for name in right.names)
        name = "v" if equation.name == voltage else equation.name
        return replace(equation, name=name, expression=replace(right, text=ast.unparse(tree), names=names, tree=tree))

    states = {found.name: found for name, state in model.states.items() if name not in held for found in [seen(state)]}
    found = replace(
        model,
        states=states,
        subexpressions={name: seen(equation) for name, equation in model.subexpressions.items()},
        parameters=model.parameters | {name: Parameter(name, ExactQuantity(Fraction(0), volt.dim)) for name in held},
        events={},
        initial={},
        threshold=None,
        refractory=None,
    )
    names = _behind(found)
    sections = ("states", "subexpressions", "parameters")
    return replace(found, **{part: {n: x for n, x in getattr(found, part).items() if n in names} for part in sections})


def felt(model):
    """The parameters that v depends on, in the file's order."""
    names = _behind(model)
    return [name for name in model.parameters if name in names]


def _behind(model):
    """All names that v depends on, by way of other states too."""
    names, states = {"v"}, set()
    while more := (names & set(model.states)) - states:
        states |= more
        for name in more:
            names |= model.needs(model.states[name].expression.names)
    return names
