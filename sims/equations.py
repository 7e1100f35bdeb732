"""Read an equation file and check it: file → Model.

A Model holds differential equations, subexpressions in the order in which they can be computed, parameters with exact
values, events and initial values. What a model may read without defining it, and what it must provide, follows from its
`kind`:

| kind    | what it is                            | may read                 | must provide                        |
|---------|---------------------------------------|--------------------------|-------------------------------------|
| neuron  | a cell or compartment on its own      | nothing but time         | a differential equation             |
| channel | current through a membrane, per area  | v, E_K, E_Na, E_Ca, Ca_i | one of I, I_K, I_Na, I_Ca, amp/m²   |
| shell   | calcium under the membrane            | v, I_Ca                  | dCa_i/dt and E_Ca                   |
| synapse | current at a point, driven by events  | v                        | I, amp, and the event `presynaptic` |
| inputs  | spike trains for a cell's synapses    | see sims/stimuli/l5.py   | weight, rate and probability        |
| network | neurons that reach all at many delays | nothing but time         | what sims/delays.py asks for        |

Currents of channels and synapses are positive outward, as in NEURON. A neuron may spike: `threshold`, the event `spike`
and `refractory`; it may be composed of `parts` (sims/compositions.py). A network's neurons spike, and are not
refractory. The format is described in equations/README.md.
"""

import ast
import hashlib
import json
import re
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

from brian2.units import amp, meter, mM, second, volt
from brian2.units.fundamentalunits import DIMENSIONLESS, Dimension

from sims import documents
from sims.compositions import counted, flattened
from sims.documents import DEFINITION, EQUATION, SEPARATOR, STATEMENT, EquationError, Node
from sims.expressions import (
    RESERVED,
    ExactQuantity,
    Expression,
    ExpressionError,
    expression,
    quantity,
    unit_dimension,
    unit_name,
)

CURRENT_DENSITY = (amp / meter**2).dim
CONCENTRATION = mM.dim
IONIC_CURRENTS = ("I", "I_K", "I_Na", "I_Ca")
SURROUNDINGS = {
    "neuron": {"t": second.dim},
    "channel": {"v": volt.dim, "E_K": volt.dim, "E_Na": volt.dim, "E_Ca": volt.dim, "Ca_i": CONCENTRATION},
    "shell": {"v": volt.dim, "I_Ca": CURRENT_DENSITY},
    "synapse": {"v": volt.dim},
    "inputs": {
        "length": meter.dim, "total_weight": meter.dim, "drive": (1 / second).dim, "gain": DIMENSIONLESS,
        "dt": second.dim,
    },
    "network": {"t": second.dim},
}  # fmt: skip
MODEL_KEYS = (
    "kind",
    "description",
    "reference",
    "equations",
    "parameters",
    "events",
    "initial",
    "threshold",
    "refractory",
    "integration",
    "bistable",
    "choices",
    "trees",
)
INTEGRATION = ("exponential_euler", "euler", "exact")
UNLESS_REFRACTORY = re.compile(r"\(\s*unless\s+refractory\s*\)\s*$")
SPIKE = "spike"  # the event at a threshold


@dataclass(frozen=True)
class Parameter:
    """A number that a person may change: an exact value, bounds for fitting (or None) and whether it is fitted."""

    name: str
    value: ExactQuantity
    bounds: tuple | None = None
    fit: bool = False
    description: str = ""
    node: Node = field(compare=False, default=None, repr=False)


@dataclass(frozen=True)
class Equation:
    """`d name/dt = expression` where `differential`, else the subexpression `name = expression`;

    dimension: of `name`.  unless_refractory: whether the state stands still while the neuron is refractory.
    """

    name: str
    differential: bool
    expression: Expression
    dimension: Dimension
    unless_refractory: bool = False
    node: Node = field(compare=False, default=None, repr=False)


@dataclass(frozen=True)
class Statement:
    """What an event does to one variable, such as `s += ds`."""

    name: str
    operator: str
    expression: Expression

    def after(self, value, right):
        """What becomes of the variable's value; right: the expression's.  Both may be numbers, arrays or symbols."""
        match self.operator:
            case "=":
                return right
            case "+=":
                return value + right
            case "-=":
                return value - right
            case "*=":
                return value * right
            case "/=":
                return value / right


@dataclass(frozen=True)
class Model:
    """A checked equation file.

    states: differential equations by variable.  subexpressions: by variable, in an order in which they can be computed.
    parameters, events ({event: tuple of Statements}) and initial values ({state: Expression}) by name.
    threshold: the comparison at which the event `spike` happens, or None.  refractory: how long after it there is no
    other, an Expression in seconds, or None.
    bistable: whether the file says that it is meant to have two stable voltages; None where it does not say.
    extra: the sections `choices` and `trees` of input files, as Nodes.
    """

    path: Path = field(compare=False)
    kind: str
    description: str
    reference: str
    states: dict
    subexpressions: dict
    parameters: dict
    events: dict
    initial: dict
    integration: str
    bistable: bool | None
    extra: dict
    threshold: Expression | None = None
    refractory: Expression | None = None

    @cached_property
    def constants(self):
        """Names of the subexpressions that depend on parameters alone; they need computing once."""
        constant = set()
        for name, equation in self.subexpressions.items():
            if equation.expression.names <= constant | set(self.parameters):
                constant.add(name)
        return constant

    @cached_property
    def dimensions(self):
        """{name: Dimension} of all that the equations may read."""
        found = SURROUNDINGS[self.kind] | {name: p.value.dimension for name, p in self.parameters.items()}
        return found | {e.name: e.dimension for e in (*self.states.values(), *self.subexpressions.values())}

    @cached_property
    def names_read(self):
        """All names that an equation, an event, an initial value, the threshold or the refractory time reads."""
        read = [equation.expression for equation in (*self.states.values(), *self.subexpressions.values())]
        read += [statement.expression for body in self.events.values() for statement in body]
        read += [*self.initial.values(), self.threshold, self.refractory]
        return frozenset(name for expression in read if expression for name in expression.names)

    @property
    def digest(self):
        """Hash of all that the model computes; comments, descriptions, bounds and `bistable` do not enter."""
        spiking = {name: getattr(self, name).text for name in ("threshold", "refractory") if getattr(self, name)}
        return content_digest(
            {
                "kind": self.kind,
                "equations": {
                    e.name: [e.differential, e.expression.text] + ["unless refractory"] * e.unless_refractory
                    for e in (*self.states.values(), *self.subexpressions.values())
                },
                "parameters": {p.name: str(p.value.value) for p in self.parameters.values()},
                "events": {
                    name: [[s.name, s.operator, s.expression.text] for s in body] for name, body in self.events.items()
                },
                "initial": {name: start.text for name, start in self.initial.items()},
                "integration": self.integration,
                "extra": {name: plain(node) for name, node in self.extra.items()},
            }
            | spiking
        )

    def values(self, **overrides):
        """Parameters' values in SI units, with overrides by name."""
        return {name: parameter.value.si for name, parameter in self.parameters.items()} | overrides

    def with_values(self, values):
        """The same Model with other values, {parameter: SI number}."""
        changed = {name: ExactQuantity(Fraction(float(x)), self.parameters[name].value.dimension, f"{float(x)!r} (SI)")
                   for name, x in values.items()}  # fmt: skip
        return replace(
            self, parameters={n: replace(p, value=changed.get(n, p.value)) for n, p in self.parameters.items()}
        )

    def compute(self, values, names=None):
        """Evaluate subexpressions.

        values: {name: number or array, SI} of parameters, states and surroundings; a subexpression given here is taken
        as it is. names: which are wanted (default: all).  Returns {name: value} of the wanted subexpressions.
        """
        names = self.subexpressions if names is None else names
        needed, known = self.needs(names, values), dict(values)
        for name, equation in self.subexpressions.items():
            if name in needed and name not in values:
                known[name] = equation.expression.evaluate(known)
        return {name: known[name] for name in names}

    def derivative(self, name, values):
        """The right-hand side of a state's differential equation, SI units; values as for `compute`."""
        right = self.states[name].expression
        return right.evaluate({**values, **self.compute(values, right.names & set(self.subexpressions))})

    def needs(self, names, given=()):
        """All names that a set of names depends on, itself included; nothing is looked up behind what is given."""
        needed = set(names)
        for name in reversed(self.subexpressions):
            if name in needed and name not in given:
                needed |= self.subexpressions[name].expression.names
        return needed


def content_digest(content):
    """SHA-256, hexadecimal, of plain data in canonical JSON."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def plain(node):
    """A Node's content without the places."""
    if isinstance(node.value, dict):
        return {key: plain(entry) for key, entry in node.value.items()}
    if isinstance(node.value, list):
        return [plain(entry) for entry in node.value]
    return node.value


def read(path, counts=None):
    """Read and check an equation file with all that it extends.

    counts: {part: number} where a composition is to have other numbers of its parts than the file says; 0 leaves a part
    out.
    Returns a Model.  Raises EquationError, whose text names file, line and cause.
    """
    document = documents.read(path)
    if counts:
        document = counted(document, counts)
    return model(document)


def model(document):
    """The Model in a document that `documents.read` returned; errors as in `read`."""
    if "parts" in document.mapping("an equation file"):
        document = flattened(document, model)
    entries = document.mapping("an equation file", MODEL_KEYS)
    kind_node = entries.get("kind", Node("neuron", document.path, document.line))
    kind = kind_node.text("the kind of model")
    if kind not in SURROUNDINGS:
        raise kind_node.error(f"unknown kind '{kind}'; expected one of: {', '.join(SURROUNDINGS)}, cell")
    parameters = {
        name: _parameter(name, node) for name, node in _section(entries, "parameters").items() if node.value is not None
    }
    split = {
        name: _split(name, node) for name, node in _section(entries, "equations").items() if node.value is not None
    }
    for name, (node, *_) in split.items():
        if name in parameters:
            raise node.error(f"'{name}' is both an equation and a parameter")
    dimensions = SURROUNDINGS[kind] | {name: p.value.dimension for name, p in parameters.items()}
    dimensions |= {name: dimension for name, (_, _, _, dimension, _) in split.items()}
    equations = {name: _equation(name, *parts, dimensions) for name, parts in split.items()}
    states = {name: equation for name, equation in equations.items() if equation.differential}
    subexpressions = _ordered({name: equation for name, equation in equations.items() if not equation.differential})
    found = Model(
        path=document.path,
        kind=kind,
        description=_text(entries, "description"),
        reference=_text(entries, "reference"),
        states=states,
        subexpressions=subexpressions,
        parameters=parameters,
        events={
            name: _event(name, node, states, dimensions)
            for name, node in _section(entries, "events").items()
            if node.value is not None
        },
        initial={
            name: _initial(name, node, states, dimensions)
            for name, node in _section(entries, "initial").items()
            if node.value is not None
        },
        integration=_integration(entries),
        bistable=_bistable(entries, kind, states),
        extra={name: entries[name] for name in ("choices", "trees") if name in entries and kind == "inputs"},
        threshold=_threshold(entries, dimensions),
        refractory=_refractory(entries, dimensions),
    )
    _check_kind(found, document)
    _check_spikes(found, entries)
    _check_names_are_used(found)
    return found


def located_expression(node, text, dimensions, expected=None, what="the expression"):
    """An Expression whose errors name the place; `expected` is the dimension it must have."""
    try:
        found = expression(text, dimensions)
    except ExpressionError as error:
        raise node.error(str(error)) from None
    if expected is not None and found.dimension is not expected:
        raise node.error(f"{what} has the unit {unit_name(found.dimension)}, expected {unit_name(expected)}")
    return found


def located_quantity(node, what, expected=None):
    """An ExactQuantity whose errors name the place; `expected` is the dimension it must have."""
    try:
        found = quantity(node.text(what))
    except ExpressionError as error:
        raise node.error(f"{what}: {error}") from None
    if expected is not None and found.dimension is not expected:
        raise node.error(f"{what} has the unit {unit_name(found.dimension)}, expected {unit_name(expected)}")
    return found


def _section(entries, name):
    return entries[name].mapping(f"`{name}`") if _given(entries, name) else {}


def _given(entries, name):
    return name in entries and entries[name].value is not None


def _text(entries, name):
    return " ".join(entries[name].text(f"`{name}`").split()) if name in entries else ""


def _check_new_name(name, node):
    if not name.isidentifier() or name.startswith("_"):
        raise node.error(f"'{name}' is not a name; use letters, digits and underscores")
    if name in RESERVED:
        raise node.error(f"'{name}' is a unit, a function or a constant, and cannot name anything else")


def _parameter(name, node):
    _check_new_name(name, node)
    entries = node.mapping(f"parameter '{name}'", ("value", "bounds", "fit", "description"))
    if "value" not in entries:
        raise node.error(f"parameter '{name}' has no value; write {name}: {{value: 15}} with its unit")
    value = located_quantity(entries["value"], f"parameter '{name}'")
    bounds = None
    if "bounds" in entries and entries["bounds"].value is not None:
        pair = entries["bounds"].sequence(f"the bounds of '{name}'")
        if len(pair) != 2:
            raise entries["bounds"].error(f"the bounds of '{name}' must be [lowest, highest], found {len(pair)} values")
        bounds = tuple(located_quantity(entry, f"a bound of '{name}'", value.dimension) for entry in pair)
        if bounds[0].value >= bounds[1].value:
            raise entries["bounds"].error(f"the bounds of '{name}' must ascend, found [{bounds[0]}, {bounds[1]}]")
    fit = entries["fit"].text(f"`fit` of '{name}'") if "fit" in entries else "false"
    if fit not in ("true", "false"):
        raise entries["fit"].error(f"`fit` of '{name}' must be true or false, found '{fit}'")
    if fit == "true" and bounds is None:
        raise entries["fit"].error(f"parameter '{name}' is marked fit but has no bounds")
    return Parameter(name, value, bounds, fit == "true", _text(entries, "description"), node)


def _split(name, node):
    """(node, differential, expression's text, dimension, unless refractory) of one line of the equations block."""
    _check_new_name(name, node)
    text = node.text(f"the equation of '{name}'")
    match, definition = EQUATION.match(text), DEFINITION.match(text)
    if match is None:
        raise node.error(f"expected `{text.split('=')[0].strip()} = expression : unit`, found '{text[:80]}'")
    if definition is None or name not in (definition["state"], definition["name"]):
        raise node.error(f"expected the equation of '{name}', found '{text[:80]}'")
    differential = definition["state"] is not None
    unit, unless_refractory = UNLESS_REFRACTORY.subn("", match["unit"])
    try:
        dimension = unit_dimension(unit.strip())
    except ExpressionError as error:
        raise node.error(f"the unit of '{name}': {error}") from None
    if unless_refractory and not differential:
        raise node.error(f"'{name}' has no differential equation, so `(unless refractory)` means nothing")
    return node, differential, match["right"].strip(), dimension, bool(unless_refractory)


def _equation(name, node, differential, text, dimension, unless_refractory, dimensions):
    expected = dimension / second.dim if differential else dimension
    what = f"the right-hand side of {'d' + name + '/dt' if differential else name}"
    right = located_expression(node, text, dimensions, expected, what)
    return Equation(name, differential, right, dimension, unless_refractory, node)


def _ordered(subexpressions):
    """The subexpressions, each after those it reads; a circle is an error."""
    ordered, waiting = {}, []

    def place(name):
        if name in ordered:
            return
        if name in waiting:
            circle = " → ".join([*waiting[waiting.index(name) :], name])
            raise subexpressions[name].node.error(f"'{name}' is defined by itself: {circle}")
        waiting.append(name)
        for other in sorted(subexpressions[name].expression.names & set(subexpressions)):
            place(other)
        waiting.remove(name)
        ordered[name] = subexpressions[name]

    for name in subexpressions:
        try:
            place(name)
        except RecursionError:
            raise subexpressions[name].node.error(f"'{name}' depends on too long a chain of equations") from None
    return ordered


def _event(event, node, states, dimensions):
    statements = []
    for text in SEPARATOR.split(node.text(f"the event '{event}'")):
        if not text.strip():
            continue
        match = STATEMENT.match(text)
        if match is None:
            raise node.error(f"event '{event}': expected a statement such as `s += ds`, found '{text.strip()[:80]}'")
        name, operator = match["name"], match["operator"]
        if name not in states:
            raise node.error(f"event '{event}' changes '{name}', which has no differential equation")
        expected = dimensions[name] if operator in ("=", "+=", "-=") else DIMENSIONLESS
        right = located_expression(
            node, match["right"].strip(), dimensions, expected, f"what event '{event}' does to '{name}'"
        )
        statements.append(Statement(name, operator, right))
    return tuple(statements)


def _initial(name, node, states, dimensions):
    if name not in states:
        raise node.error(f"an initial value for '{name}', which has no differential equation")
    return located_expression(
        node, node.text(f"the initial value of '{name}'"), dimensions, dimensions[name], f"the initial {name}"
    )


def _threshold(entries, dimensions):
    if not _given(entries, "threshold"):
        return None
    node = entries["threshold"]
    found = located_expression(node, node.text("the threshold"), dimensions)
    condition = found.tree.operand if isinstance(found.tree, ast.UnaryOp) else found.tree
    if not isinstance(condition, ast.Compare | ast.BoolOp):
        raise node.error(f"the threshold must be a comparison such as `v > v_threshold`, found '{found.text}'")
    return found


def _refractory(entries, dimensions):
    if not _given(entries, "refractory"):
        return None
    node = entries["refractory"]
    text = node.text("the refractory time")
    return located_expression(node, text, dimensions, second.dim, "the refractory time")


def _integration(entries):
    if "integration" not in entries:
        return "exponential_euler"
    node = entries["integration"]
    scheme = node.text("`integration`")
    if scheme not in INTEGRATION:
        raise node.error(f"unknown integration scheme '{scheme}'; expected one of: {', '.join(INTEGRATION)}")
    return scheme


def _bistable(entries, kind, states):
    if "bistable" not in entries or entries["bistable"].value is None:
        return None
    node = entries["bistable"]
    if kind != "neuron" or "v" not in states:
        raise node.error("`bistable` says how a neuron's voltage is meant to be; this model has no dv/dt")
    text = node.text("`bistable`")
    if text not in ("true", "false"):
        raise node.error(f"`bistable` must be true or false, found '{text}'")
    return text == "true"


def _check_kind(found, document):
    """Whether the model provides what its kind promises."""
    defined = {**found.subexpressions, **found.states}

    def provides(name, dimension):
        if name not in defined:
            raise document.error(
                f"a {found.kind} must define {name}; this one defines {', '.join(defined) or 'nothing'}"
            )
        if defined[name].dimension is not dimension:
            raise defined[name].node.error(
                f"{name} has the unit {unit_name(defined[name].dimension)}; "
                f"in a {found.kind} it must be {unit_name(dimension)}"
            )

    for name in SURROUNDINGS[found.kind]:
        if name in defined or name in found.parameters:
            node = (defined.get(name) or found.parameters[name]).node
            raise node.error(f"'{name}' is given to a {found.kind} from outside and cannot be defined here")
    match found.kind:
        case "neuron" if not found.states:
            raise document.error("a neuron needs at least one differential equation")
        case "channel":
            currents = [name for name in IONIC_CURRENTS if name in found.subexpressions]
            if len(currents) != 1:
                raise document.error(
                    f"a channel must define exactly one of {', '.join(IONIC_CURRENTS)}; "
                    f"this one defines {', '.join(currents) or 'none'}"
                )
            provides(currents[0], CURRENT_DENSITY)
        case "shell":
            provides("Ca_i", CONCENTRATION)
            provides("E_Ca", volt.dim)
            if "Ca_i" not in found.states:
                raise defined["Ca_i"].node.error("a shell must define dCa_i/dt")
        case "synapse":
            provides("I", amp.dim)
            if set(found.events) != {"presynaptic"}:
                raise document.error("a synapse must have the event `presynaptic` and no other")
        case "inputs":
            provides("weight", meter.dim)
            provides("rate", (1 / second).dim)
            provides("probability", DIMENSIONLESS)
        case "network" if not found.threshold or set(found.events) != {SPIKE, "presynaptic"}:
            raise document.error("a network needs a threshold and the events `presynaptic` and `spike`, and no other")


def _check_spikes(found, entries):
    """Whether threshold, reset and refractoriness come together."""
    for name, kinds in (("threshold", ("neuron", "network")), ("refractory", ("neuron",))):
        if found.kind not in kinds and getattr(found, name):
            raise entries[name].error(f"only a neuron has a {name}; this is a {found.kind}")
    if found.kind not in ("neuron", "network"):
        return
    if found.threshold and SPIKE not in found.events:
        raise entries["threshold"].error("a threshold needs the event `spike`, which resets: `spike: v = v_reset`")
    if SPIKE in found.events and not found.threshold:
        raise entries["events"].value[SPIKE].error("the event `spike` needs a threshold: `threshold: v > v_threshold`")
    if found.refractory and not found.threshold:
        raise entries["refractory"].error("a refractory time needs a threshold: `threshold: v > v_threshold`")
    for equation in found.states.values():
        if equation.unless_refractory and not found.refractory:
            raise equation.node.error("`(unless refractory)` needs a refractory time: `refractory: 2*ms`")


def _check_names_are_used(found):
    """A parameter that nothing reads is a spelling mistake, in the file or in what extends it."""
    used = found.names_read
    for name, parameter in found.parameters.items():
        if name not in used and found.kind not in ("inputs", "network"):
            raise parameter.node.error(f"nothing in this model uses the parameter '{name}'")


__all__ = ["Equation", "EquationError", "Model", "Parameter", "Statement", "content_digest", "model", "read"]
