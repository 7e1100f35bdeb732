"""A cell's membrane as C++ for the cable solver: equation files → source text and the numbers that it runs on.

Every mechanism of every region becomes one loop over compartments (cable.cpp.jinja). Numbers stay outside the text: a
changed constant runs the same binary, a changed equation compiles a new one. What depends on parameters alone is
computed here, in float64 and in the cable units (mV, ms, cm, mA, µmol).
"""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import sympy
from brian2.core.namespace import DEFAULT_UNITS
from brian2.parsing.sympytools import str_to_sympy

from sims.backends.mechanisms import (
    linear_form,
    names_in,
    refuse_calcium_without_shell,
    slope_of,
    slope_tree,
    with_slope,
)
from sims.equations import IONIC_CURRENTS
from sims.expressions import CodeRenderer, ExpressionError, cable_unit, cable_units, evaluate

TEMPLATE = Path(__file__).with_name("cable.cpp.jinja")
SQUARE_MICROMETRE = 1e-8  # cm²
# Tables: polynomials on 32 intervals of the voltage (mV), evenly spaced, or of the calcium concentration (mM), four to
# an octave, which the bits of a float tell.
INTERVALS, DEGREE = 32, 4
VOLTAGE_RANGE, LOWEST_CALCIUM = (-100.0, 60.0), 2.0**-15
# Largest error of a table against the function's own largest value; a function that bends too sharply is computed.
TABLE_TOLERANCE = 1e-5
# Code that does not fit into the processor's cache of decoded instructions runs at half speed, so nothing is unrolled.
EACH = '_Pragma("GCC unroll 1") for (int32_t n = 0; n < count; n++) '
STEP = "minus_dt"  # the name of -dt among a mechanism's constants


class _Block:
    """C++ that does the same for every compartment n of a block, in stages.

    One exponential is a long chain of dependent operations; many side by side keep the processor busy. So stage 0
    computes for all compartments what depends on no exponential, among it the arguments of the first group e1; then
    e1 is evaluated as a whole; stage 1 reads it; and so on.

    loads: {C++ name: its declaration}, put at the start of the stages that use it.
    """

    def __init__(self, loads):
        self.loads = loads
        self._levels, self._lines, self._arguments, self._tables, self._members = {}, [], [], {}, {}

    def level(self, name):
        """The stage from which a variable is known."""
        return self._levels.get(name, 0)

    def define(self, name, text, level):
        """A variable: its C++ name, the expression, the expression's stage.  Returns what to call it."""
        self._levels[f"{name}[n]"] = level
        self._lines.append((level, name, text))
        return f"{name}[n]"

    def exponential(self, form, text, level, key):
        """C++ for a form of the exponential, "exp", "expm1", "exprel" or "x_over_expm1", of an argument.

        text, level: of the argument.  key: (the argument, its negative) as canonical texts. An argument that is in a
        group already, or whose negative is, joins no group again: exp(-x) = 1/exp(x).
        """
        own, opposite = key
        if opposite in self._members:
            return f"{self._members[opposite].replace('FORM', form + '_of_negative')}"
        if own not in self._members:
            while len(self._arguments) <= level:
                self._arguments.append([])
            self._members[own] = f"e{level + 1}.FORM({len(self._arguments[level])}, n)"
            self._arguments[level].append(text)
        return self._members[own].replace("FORM", form)

    def tabulated(self, table):
        """The C++ name of a Table's value at the present voltage or concentration."""
        group = self._tables.setdefault(table.argument, [])
        if table.number not in group:
            group.append(table.number)
        return f"of_{table.argument}.value[{group.index(table.number)}]"

    def finish(self, updates=()):
        """All lines; the updates belong to the last stage."""
        stages = [[] for _ in range(max([level for level, *_ in self._lines] + [len(self._arguments), 0]) + 1)]
        for level, name, text in self._lines:
            stages[level].append(f"{name}[n] = V{{}} + ({text});")
        for level, arguments in enumerate(self._arguments):
            stages[level] += [f"e{level + 1}.x[{i}][n] = V{{}} + ({text});" for i, text in enumerate(arguments)]
        stages[-1] += updates
        declarations = [
            f"Exponentials<V, {len(arguments)}, BLOCK> e{level + 1};" for level, arguments in enumerate(self._arguments)
        ]
        for level, name, _ in self._lines:
            if any(f"{name}[n]" in line for stage in stages[level + 1 :] for line in stage):
                declarations.append(f"V {name}[BLOCK];")
            else:
                stages[level] = [
                    line.replace(f"{name}[n] =", f"const V {name} =").replace(f"{name}[n]", name)
                    for line in stages[level]
                ]
        lines = declarations
        for level, stage in enumerate(stages):
            if stage:
                lines += [EACH + "{", *self._loaded(stage), *stage, "}"]
            if level < len(self._arguments):
                lines.append(f"e{level + 1}.evaluate();")
        return lines

    def _loaded(self, stage):
        """Declarations of what a stage uses."""
        words = set(re.findall(r"[A-Za-z_]\w*", " ".join(stage)))
        lines = [declaration for name, declaration in self.loads.items() if name in words]
        for argument, numbers in self._tables.items():
            if f"of_{argument}" in words:
                template = f"Interpolated<{', '.join(map(str, numbers))}>"
                lines.append(f"const {template} of_{argument}(table, s.{argument}_interval[n], s.{argument}_place[n]);")
        return lines


class CppRenderer(CodeRenderer):
    """Expressions in C++ on SIMD registers.

    names: {variable: C++ name}.  fixed: names of the constants.  slot: called with a syntax tree that depends on
    constants alone; returns the C++ name of its value.
    """

    language = "the cable solver"
    functions = {
        name: name
        for name in ("log", "log10", "log1p", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh")
        + ("arcsin", "arccos", "arctan", "floor", "ceil", "sign", "clip")
    } | {"abs": "absolute"}
    expression_ops = {**CodeRenderer.expression_ops, "And": "&", "Or": "|", "Not": "!"}

    def __init__(self, names, fixed, slot):
        super().__init__()
        self.names, self.fixed, self.slot = names, fixed, slot
        self.block, self.level = None, 0

    def render_into(self, block, tree):
        """(C++ text, its level); the exponentials in it join the block's groups."""
        self.block, self.level = block, 0
        return self.render_node(tree), self.level

    def render_node(self, node):
        if not isinstance(node, ast.Compare | ast.BoolOp) and self.constant(node):
            return self.slot(node)
        return super().render_node(node)

    def constant(self, node):
        """Whether a syntax tree depends on constants alone."""
        return all(name in self.fixed or name not in self.names for name in names_in(node))

    def render_Name(self, node):
        self.level = max(self.level, self.block.level(self.names[node.id]))
        return self.names[node.id]

    def _exponential(self, form, argument):
        outer, self.level = self.level, 0
        text, inner = self.render_node(argument), self.level
        self.level = max(outer, inner + 1)
        return self.block.exponential(form, text, inner, _canonical(argument))

    def render_Call(self, node):
        name = node.func.id
        if name == "int":
            (condition,) = node.args
            if not isinstance(condition, ast.Compare | ast.BoolOp | ast.UnaryOp):
                raise ExpressionError("int() of anything but a comparison has no counterpart in the cable solver")
            return f"indicator<V>({self.render_node(condition)})"
        if name in ("exp", "expm1", "exprel"):
            return self._exponential(name, node.args[0])
        arguments = ", ".join(f"V{{}} + {self.render_element_parentheses(argument)}" for argument in node.args)
        return f"{self.render_func(node.func)}<V>({arguments})"

    def render_BinOp(self, node):
        left, right = node.left, node.right
        if isinstance(node.op, ast.Div):
            if self.constant(right):
                return f"{self.render_element_parentheses(left)} * {self.slot(_quotient(ast.Constant(1.0), right))}"
            if isinstance(right, ast.Call) and right.func.id == "exprel":
                factor = self.render_element_parentheses(left)
                return f"{factor} * {self._exponential('x_over_expm1', right.args[0])}"
            match right:  # a/(b + c/d) = ad/(bd + c), one division less
                case ast.BinOp(left=b, op=ast.Add(), right=ast.BinOp(left=c, op=ast.Div(), right=d)) if (
                    not self.constant(d)
                ):
                    numerator = ast.BinOp(left, ast.Mult(), d)
                    return self.render_node(_quotient(numerator, ast.BinOp(ast.BinOp(b, ast.Mult(), d), ast.Add(), c)))
            divisor = self.render_node(right)
            return f"{self.render_element_parentheses(left)} * reciprocal<V>({divisor})"
        if isinstance(node.op, ast.Pow):
            exponent = _whole(right)
            if exponent is None:
                return self._exponential("exp", ast.BinOp(right, ast.Mult(), _call("log", left)))
            whole = f"power<{abs(exponent)}, V>({self.render_node(left)})"
            return whole if exponent > 0 else f"reciprocal<V>({whole})"
        if isinstance(node.op, ast.Mod):
            raise ExpressionError("the operator % has no counterpart in the cable solver")
        return super().render_BinOp(node)


def _canonical(tree):
    """An expression and its negative as texts that are equal where the expressions are."""
    text = ast.unparse(tree)
    try:
        symbolic = sympy.expand(str_to_sympy(text))
    except (SyntaxError, TypeError, ValueError):  # comparisons, which sympy does not take for numbers
        return text, f"-({text})"
    return str(symbolic), str(sympy.expand(-symbolic))


def _call(name, *arguments):
    return ast.Call(ast.Name(name), list(arguments), [])


def _whole(node):
    """The value of an exponent that is a whole number other than 0, else None."""
    sign = -1 if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else 1
    node = node.operand if isinstance(node, ast.UnaryOp) else node
    value = node.value if isinstance(node, ast.Constant) else None
    return sign * int(value) if value and value == int(value) and value <= 16 else None


def _quotient(numerator, denominator):
    return ast.BinOp(numerator, ast.Div(), denominator)


@dataclass(frozen=True)
class Table:
    """A function that is looked up.  argument: "v" or "Ca_i".  number: of its coefficients in the program's list."""

    argument: str
    number: int


@dataclass(frozen=True)
class Region:
    """Compartments with the same mechanisms.

    segments: int [compartments], rows of the table of segments.  parts: numbers of the region's Parts.  shell: that of
    its calcium shell, or None.
    """

    name: str
    segments: np.ndarray
    parts: list
    shell: int | None


class Part:
    """One mechanism in one region: the lines of C++ that it contributes, and its numbers.

    index, region: own number and the region's.  states: C++ names in the order of storage.  kept: {state: where}.
    initial: the states' values at the start.  slots: constants that differ between compartments.  Numbers are
    [compartments] or scalars.
    advance, always, assemble, receive: lines that advance the states, tell others what they need, add the current with
    its slope, and take an event.
    """

    def __init__(self, program, region, name, placement, segments):
        self.program, self.index, self.region, self.name = program, len(program.parts), region, name
        self.model = model = program.cell.mechanisms[name]
        self.current = next((n for n in IONIC_CURRENTS if n in model.subexpressions), None)
        self.names = {n: f"{name}_{n}" for n in (*model.parameters, *model.subexpressions, *model.states)}
        self.names |= {n: n for n in ("v", "I_Ca", STEP, *program.cell.reversal_potentials)}
        if model.kind != "shell":
            self.names |= {n: n for n in ("Ca_i", "E_Ca")}
        if self.current is not None:
            self.names[self.current] = f"{name}_current"
        # Values of all constants in cable units; those that differ between segments are arrays.
        self.values = {STEP: -program.dt, **program.cell.reversal_potentials}
        self.values |= {n: cable_units(p.value) for n, p in model.parameters.items()}
        here = np.isin(placement.segments, segments)
        self.values |= {parameter: values[here] for parameter, values in placement.values.items()}
        for n in model.subexpressions:
            if n in model.constants:
                self.values[n] = self.evaluate(model.subexpressions[n].expression.tree)
        self.slots, self._own = [], {}
        self.renderer = CppRenderer(self.names, set(self.values), self._slot)
        self.relaxations = {n: self._relaxation(e) for n, e in model.states.items()}
        self.initial, own = [], [self.names[state] for state in model.states]
        # A shell keeps the sum of the calcium currents with its states until the concentration advances.
        self.states = [*own, "I_Ca"] if model.kind == "shell" else own
        self.kept = {state: f"states[n * {len(self.states)} + {i}]" for i, state in enumerate(self.states)}
        self.loads = {"p": f"const R *p = row + n * PLACES[{self.index}];", "v": "const V v = s.v[n];"}
        self.loads |= {state: f"V {state} = {place};" for state, place in self.kept.items()}
        if model.kind != "shell":
            self.loads |= {n: f"const V {n} = s.{n}[n];" for n in ("Ca_i", "E_Ca")}
        self.stores = [f"{self.kept[state]} = {state};" for state in own]
        self.advance, self.assemble, self.always, self.receive = self._advance(), self._assemble(), [], []
        if model.kind == "synapse":
            self.receive = self._receive()
        if model.kind == "shell":
            self.always = self._tell_calcium()

    def start(self, **given):
        """Set the first values of the states: at rest unless the file says otherwise.

        given: v, mV, and where there is a calcium shell Ca_i, mM, and E_Ca, mV; I_Ca for the shell itself.
        """
        for state, (rest, _) in self.relaxations.items():
            tree = self.model.initial[state].tree if state in self.model.initial else rest
            self.initial.append(self.evaluate(tree, **self.computed(names_in(tree), **given)))

    def evaluate(self, tree, **given):
        """The value of a syntax tree in cable units; given: values of what is no constant."""
        units = {
            n: float(DEFAULT_UNITS[n]) / float(cable_unit(DEFAULT_UNITS[n].dim))
            for n in names_in(tree)
            if n in DEFAULT_UNITS and n not in self.values and n not in given
        }
        with np.errstate(over="ignore"):
            return evaluate(tree, {**units, **self.values, **given})

    def computed(self, names, **given):
        """Values of subexpressions and whatever they need, in cable units; given as in `evaluate`."""
        needed, known = self.model.needs(names, given), dict(given)
        for n, equation in self.model.subexpressions.items():
            if n in needed and n not in known and n not in self.values:
                known[n] = self.evaluate(equation.expression.tree, **known)
        return known

    def _slot(self, tree):
        """The C++ name of a constant expression's value: one for all compartments, k[…], or for each its own, p[…]."""
        key, value = ast.dump(tree), self.evaluate(tree)
        if np.ndim(value) == 0:
            return self.program.constant((self.name, key), value)
        if key not in self._own:
            self._own[key] = f"p[{len(self.slots)}]"
            self.slots.append(value)
        return self._own[key]

    def _rendered(self, block, tree, node):
        """(C++ text, level) of a syntax tree in a block; node: its place, for messages."""
        try:
            return self.renderer.render_into(block, tree)
        except ExpressionError as error:
            raise node.error(f"the cable solver cannot run this equation: {error}") from None

    def _define(self, block, names):
        """Define the subexpressions behind a set of names in a block, in order; constants need no definition."""
        needed = self.model.needs(names)
        for n, e in self.model.subexpressions.items():
            if n in needed and n not in self.values and n != self.current:
                self._place(block, n, e.expression.tree, e.node)

    def _place(self, block, name, tree, node):
        """Define one variable in a block."""
        text, level = self._rendered(block, tree, node)
        self.names[name] = block.define(f"{self.name}_{name}", text, level)

    def _relaxation(self, equation):
        """(rest, rate) of a state, two syntax trees; a rate 1/x with x = a/b is b/a."""
        rest, rate = linear_form(equation, self.model.dimensions, "the cable solver")
        return rest.tree, self._turned_over(rate.tree)

    def _turned_over(self, tree):
        match tree:
            case ast.BinOp(left=left, op=ast.Div(), right=ast.Name(id=n)) if n in self.model.subexpressions:
                inner = self.model.subexpressions[n].expression.tree
                if isinstance(inner, ast.BinOp) and isinstance(inner.op, ast.Div):
                    turned = inner.right
                    if not (isinstance(left, ast.Constant) and left.value == 1):
                        turned = ast.BinOp(left, ast.Mult(), inner.right)
                    if isinstance(inner.left, ast.Constant) and inner.left.value == 1:
                        return turned
                    return _quotient(turned, inner.left)
        return tree

    def _advance(self):
        block, functions = _Block(self.loads), {}
        for state, (rest, rate) in self.relaxations.items():
            share = ast.UnaryOp(ast.USub(), _call("expm1", ast.BinOp(ast.Name(STEP), ast.Mult(), rate)))
            functions[state] = [self._function((state, what), f) for what, f in (("rest", rest), ("share", share))]
        computed = [f for pair in functions.values() for f in pair if not isinstance(f, Table)]
        self._define(block, set().union(*map(names_in, computed)) & set(self.names))
        updates = []
        for state, pair in functions.items():
            x, place = self.names[state], self.model.states[state].node
            rest, share = (
                block.tabulated(f) if isinstance(f, Table) else self._rendered(block, f, place)[0] for f in pair
            )
            zero = isinstance(pair[0], ast.Constant) and pair[0].value == 0
            updates.append(f"{x} -= {x} * ({share});" if zero else f"{x} += ({share}) * (({rest}) - {x});")
        return block.finish(updates + self.stores) if updates else []

    def _function(self, key, tree):
        """The Table of a function of the voltage or of the calcium concentration alone; the tree itself where there is
        none."""
        names = names_in(tree) & set(self.names)
        reads = self.model.needs(names) - set(self.model.subexpressions)
        varied = any(np.ndim(self.values[n]) for n in reads if n in self.values)
        arguments = reads - set(self.values)
        if not self.program.tabulates or varied or arguments not in ({"v"}, {"Ca_i"}):
            return tree
        (argument,) = arguments

        def function(x):
            return self.evaluate(tree, **self.computed(names, **{argument: x}))

        return self.program.table((self.name, *key), argument, function) or tree

    def _voltage_functions(self, follows_v):
        """{name: Table} of the costly functions of the voltage behind a current, and of their slopes."""
        found = {}
        for n, equation in follows_v.items():
            reached = [follows_v[m].expression.tree for m in self.model.needs({n}) & set(follows_v)]
            if any(isinstance(node, ast.Call) for tree in reached for node in ast.walk(tree)):
                slope = slope_tree(equation, follows_v)
                pair = self._function((n, "value"), equation.expression.tree), self._function((n, "slope"), slope)
                if all(isinstance(f, Table) for f in pair):
                    found |= {n: pair[0], slope_of(n): pair[1]}
        return found

    def _assemble(self):
        if self.current is None:
            return []
        model, equation, block = self.model, self.model.subexpressions[self.current], _Block(self.loads)
        needed = model.needs(equation.expression.names)
        follows_v = {
            n: e
            for n, e in model.subexpressions.items()
            if n in needed and n != self.current and n not in self.values and "v" in model.needs({n})
        }
        functions = self._voltage_functions(follows_v)
        for n, table in functions.items():
            self.names[n] = block.define(f"{self.name}_{n}", block.tabulated(table), 0)
        common, current, slope = with_slope(equation, follows_v, [n for n in functions if n in follows_v])
        trees = [tree for _, tree in common] + [current, slope]
        self._define(block, set().union(*map(names_in, trees)) & set(self.names) - set(functions))
        # Until it is placed, a shared part is no constant.
        self.names |= {n: n for n, _ in common}
        for n, tree in [*common, (self.current, current), ("slope", slope)]:
            self._place(block, n, tree, equation.node)
        point = "point_" if model.kind == "synapse" else ""
        sums = [f"s.{point}current[n] += {self.names[self.current]};", f"s.{point}slope[n] += {self.names['slope']};"]
        return block.finish(sums + ([f"s.I_Ca[n] += {self.names[self.current]};"] if self.current == "I_Ca" else []))

    def _receive(self):
        block, body = _Block(self.loads), self.model.events["presynaptic"]
        self._define(block, set().union(*(statement.expression.names for statement in body)))
        updates = []
        for statement in body:
            place = self.model.states[statement.name].node
            right, _ = self._rendered(block, statement.expression.tree, place)
            updates.append(f"{self.names[statement.name]} {statement.operator} V{{}} + ({right});")
        return block.finish(updates + [f"{place} = mine ? {state} : {place};" for state, place in self.kept.items()])

    def _tell_calcium(self):
        """Others read the new concentration and the potential that follows from it."""
        block, told = _Block(self.loads), {"Ca_i": self.names["Ca_i"]}
        potential = self._function(("E_Ca",), ast.Name("E_Ca"))
        if isinstance(potential, Table):
            told["E_Ca"] = block.tabulated(potential)
        else:
            self._define(block, {"E_Ca"})
            told["E_Ca"] = self.names["E_Ca"]
        lines = block.finish(f"s.{name}[n] = {value};" for name, value in told.items())
        if not self.program.tabulates:
            return lines
        return [EACH + f"s.place_calcium(n, {self.kept[self.names['Ca_i']]});", *lines]


class Program:
    """The C++ of a cell, and the numbers that it runs on.

    cell: a Cell.  segments: its Segments.  dt: ms.  real: double or float.  tabulates: put functions of the voltage
    or of the calcium concentration alone into tables.
    Attributes: source; regions and parts, lists; constants [n]; tables, a list of [DEGREE + 1, INTERVALS].
    Raises EquationError where an equation has no words in C++.
    """

    def __init__(self, cell, segments, dt, real, tabulates):
        self.cell, self.dt, self.tabulates = cell, dt, tabulates
        self.regions, self.parts, self.constants, self.tables = [], [], [], []
        self._constants, self._tables = {}, {}
        placements = cell.placements(segments)
        for name, region in cell.regions.items():
            here = np.flatnonzero(segments.region == name)
            if len(here):
                self._add(name, here, [n for n in cell.mechanisms if n in region.mechanisms], placements)
        low, high = VOLTAGE_RANGE
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
        self.source = environment.from_string(TEMPLATE.read_text()).render(
            source=cell.path.name,
            real=real,
            regions=self.regions,
            parts=self.parts,
            tables=len(self.tables),
            intervals=INTERVALS,
            degree=DEGREE,
            lowest_voltage=low,
            intervals_per_mV=INTERVALS / (high - low),
            lowest_calcium=LOWEST_CALCIUM,
        )

    def _add(self, name, segments, mechanisms, placements):
        """A region and its parts; the shell first, since what reads calcium reads the new one."""
        refuse_calcium_without_shell(self.cell, name)
        mechanisms.sort(key=lambda n: self.cell.mechanisms[n].kind != "shell")
        given, made, shell = {"v": self.cell.v_init}, [], None
        for mechanism in mechanisms:
            part = Part(self, len(self.regions), mechanism, placements[mechanism], segments)
            self.parts.append(part)
            made.append(part.index)
            if part.model.kind == "shell":
                shell = part.index
                part.start(**given, I_Ca=0.0)
                given["Ca_i"] = part.initial[list(part.model.states).index("Ca_i")]
                given["E_Ca"] = part.computed(["E_Ca"], **given)["E_Ca"]
                part.initial.append(0.0)
            else:
                part.start(**given)
        self.regions.append(Region(name, segments, made, shell))

    def constant(self, key, value):
        """The C++ name of a number that all compartments share; the same key asks for the same number."""
        if key not in self._constants:
            self._constants[key] = f"k[{len(self.constants)}]"
            self.constants.append(float(value))
        return self._constants[key]

    def table(self, key, argument, function):
        """The Table of a function, or None where it bends too sharply for one.  argument: "v" or "Ca_i"."""
        if key not in self._tables:
            coefficients = tabulate(function, argument)
            self._tables[key] = None if coefficients is None else Table(argument, len(self.tables))
            if coefficients is not None:
                self.tables.append(coefficients)
        return self._tables[key]


def tabulate(function, argument):
    """Polynomials for a function of the voltage ("v") or of the calcium concentration ("Ca_i").

    Returns float64 [DEGREE + 1, INTERVALS], lowest power first, in the place within an interval: for the voltage -0.5
    to 0.5, for calcium what the mantissa exceeds the interval's middle by, -1/8 to 1/8. None where they miss by more
    than TABLE_TOLERANCE.
    """
    interval = np.arange(INTERVALS)
    if argument == "v":
        low, high = VOLTAGE_RANGE
        half, width = 0.5, (high - low) / INTERVALS
        middle = low + (interval + 0.5) * width
    else:
        half, width = 0.125, LOWEST_CALCIUM * 2.0 ** (interval // 4)
        middle = (1 + (interval % 4 + 0.5) / 4) * width

    def sampled(place):
        return np.broadcast_to(function(middle + place[:, None] * width), (len(place), INTERVALS))

    nodes = half * np.cos(np.pi * (np.arange(DEGREE + 1) + 0.5) / (DEGREE + 1))
    coefficients = np.linalg.solve(np.vander(nodes, increasing=True), sampled(nodes))
    place = np.linspace(-half, half, 41)
    truth = sampled(place)
    error = np.abs(np.vander(place, DEGREE + 1, increasing=True) @ coefficients - truth)
    return coefficients if error.max() <= TABLE_TOLERANCE * np.abs(truth).max() else None
