"""Write a Model as NMODL, NEURON's language for mechanisms, in NEURON's units (mV, ms, mA/cm², mM, µS, nA).

Kinds become: channel and shell → a density mechanism, synapse → a point process. Every state must be linear in itself,
so that it has a resting value and a rate, dx/dt = (rest - x) rate: it starts at rest unless the file says otherwise,
and a fixed step advances it by the exact exponential. Currents come with their conductance dI/dv, which saves NEURON
the second evaluation with which it otherwise differentiates. What depends on parameters alone is computed before the
simulation.
"""

import ast

from sims.backends.mechanisms import linear_form, names_in, with_slope
from sims.equations import IONIC_CURRENTS, SURROUNDINGS, EquationError
from sims.expressions import CodeRenderer, ExpressionError, cable_unit, cable_units

IONS = ("K", "Na", "Ca")
NANOAMPERE_PER_CABLE_UNIT = "1e6"  # a point process wants nA where the cable units have mA
HEADER = ": Generated from an equation file; edit that file instead."


def nmodl_name(name):
    """A variable's name in NMODL; the underscore keeps it apart from what NEURON and C call their own."""
    return f"{name}_"


class NMODLRenderer(CodeRenderer):
    """Expressions in NMODL; comparisons are numbers there, so `int(a < b)` needs no function."""

    language = "NMODL"
    functions = {
        name: name
        for name in ("exp", "log", "log10", "sqrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "floor", "ceil")
    }
    functions |= {
        "abs": "fabs",
        "exprel": "exprel",
        "clip": "clip",
        "arccos": "acos",
        "arcsin": "asin",
        "arctan": "atan",
    }
    expression_ops = {**CodeRenderer.expression_ops, "Pow": "^", "And": "&&", "Or": "||", "Not": "!"}

    def __init__(self, names):
        super().__init__()
        self.names = names

    def render_Name(self, node):
        return self.names.get(node.id) or super().render_Name(node)

    def render_Call(self, node):
        if node.func.id == "int":
            (condition,) = node.args
            negated = isinstance(condition, ast.UnaryOp) and isinstance(condition.op, ast.Not)
            if not negated and not isinstance(condition, ast.Compare | ast.BoolOp):
                raise ExpressionError("int() of anything but a comparison has no counterpart in NMODL")
            return f"({self.render_node(condition)})"
        return super().render_Call(node)


FUNCTIONS = {
    # (exp(x) - 1)/x loses digits near 0, where the series is exact to rounding.
    "exprel": """FUNCTION exprel(x) {
    if (fabs(x) < 0.01) {
        exprel = 1 + x/2*(1 + x/3*(1 + x/4*(1 + x/5*(1 + x/6*(1 + x/7)))))
    } else {
        exprel = (exp(x) - 1)/x
    }
}""",
    "clip": """FUNCTION clip(x, low, high) {
    clip = x
    if (x < low) {
        clip = low
    }
    if (x > high) {
        clip = high
    }
}""",
}


def generate(model, suffix, varied=(), shell=None, fixed_step=True):
    """The NMODL text of a mechanism.

    model: a Model of kind channel, shell or synapse.  suffix: the mechanism's name in NEURON.  varied: parameters that
    differ between segments (RANGE variables).  shell: the Model that provides E_Ca to channels that read it.
    fixed_step: write the step of the states out, for a dt that stays as it was at finitialize (a third fewer
    exponentials); else give NEURON the derivatives, which its variable step needs.
    Raises EquationError, naming the equation, where NMODL has no words for it.
    """
    try:
        return _Mechanism(model, suffix, varied, shell, fixed_step).text()
    except ExpressionError as error:
        raise EquationError(f"{model.path}:1: NEURON cannot run this file: {error}") from None


class _Mechanism:
    def __init__(self, model, suffix, varied, shell, fixed_step):
        self.model, self.suffix, self.varied, self.fixed_step = model, suffix, tuple(varied), fixed_step
        self.point = model.kind == "synapse"
        lent_subexpressions, lent_parameters = self._lent(shell)
        self.subexpressions = {**lent_subexpressions, **model.subexpressions}
        self.parameters = {**lent_parameters, **model.parameters}
        self.current = next((name for name in IONIC_CURRENTS if name in model.subexpressions), None)
        self.names = {name: nmodl_name(name) for name in (*self.parameters, *self.subexpressions, *model.states)}
        self.names |= {f"E_{ion}": f"e{ion.lower()}" for ion in IONS} | {"Ca_i": "cai", "v": "v"}
        if model.kind == "shell":
            self.names["I_Ca"] = "ica"
        if lent_subexpressions:
            del self.names["E_Ca"]
        if self.current is not None:
            self.names[self.current] = "i" if self.current == "I" else f"i{self.current[2:].lower()}"
        self.renderer = NMODLRenderer(self.names)
        self.linear = {name: linear_form(e, self._dimensions(), "NEURON") for name, e in model.states.items()}
        self.constants = {
            name
            for name in model.constants
            if not self._reads(model.subexpressions[name].expression.names) & set(self.varied)
        }

    def _lent(self, shell):
        """The shell's equations and parameters that a channel needs to know E_Ca."""
        reads = set().union(*(e.expression.names for e in self._equations()))
        if self.model.kind != "channel" or "E_Ca" not in reads:
            return {}, {}
        if shell is None:
            raise EquationError(f"{self.model.path}:1: reads E_Ca, but no calcium shell provides it")
        needed = shell.needs(["E_Ca"])
        subexpressions = {name: equation for name, equation in shell.subexpressions.items() if name in needed}
        parameters = {name: parameter for name, parameter in shell.parameters.items() if name in needed}
        clash = {*subexpressions, *parameters} & {
            *self.model.parameters,
            *self.model.subexpressions,
            *self.model.states,
        }
        if clash:
            raise EquationError(
                f"{self.model.path}:1: reads E_Ca, whose equation in {shell.path} uses "
                f"the same names: {', '.join(sorted(clash))}"
            )
        return subexpressions, parameters

    def _equations(self):
        return *self.model.subexpressions.values(), *self.model.states.values()

    def _reads(self, names):
        """All names that a set of names depends on, through subexpressions."""
        found = set(names)
        for name in reversed(self.subexpressions):
            if name in found:
                found |= self.subexpressions[name].expression.names
        return found

    def _render(self, equation_or_statement, node):
        try:
            return self.renderer.render_node(equation_or_statement.expression.tree)
        except ExpressionError as error:
            raise node.error(f"NEURON cannot run this equation: {error}") from None

    def _name(self, name):
        return self.names.get(name, name)

    def _wanted(self, names):
        """The subexpressions needed for a set of names, in order, less the constants and the current itself."""
        needed = self._reads(names)
        return [
            name
            for name in self.subexpressions
            if name in needed and name not in self.constants and name != self.current
        ]

    def _assignments(self, wanted):
        return [
            f"{self._name(name)} = {self._render(self.subexpressions[name], self.subexpressions[name].node)}"
            for name in wanted
        ]

    def _computed(self, names):
        """The lines that declare and compute the subexpressions behind a set of names."""
        wanted = self._wanted(names)
        return [f"LOCAL {', '.join(self._name(name) for name in wanted)}", *self._assignments(wanted)] if wanted else []

    def text(self):
        """The whole file."""
        blocks = [
            HEADER,
            _block("NEURON", self._neuron()),
            _block("CONSTANT", self._constants()),
            _block("PARAMETER", [self._name(name) for name in self.varied]),
            _block("ASSIGNED", self._assigned()),
            _block("STATE", [self._name(name) for name in self.model.states]) if self.model.states else "",
            _block("INITIAL", self._initial()),
            _block("BREAKPOINT", self._breakpoint()),
            self._states() if self.model.states else "",
            _block("NET_RECEIVE(weight)", self._receive()) if self.point else "",
        ]
        used = "\n".join(blocks)
        blocks += [function for name, function in FUNCTIONS.items() if f"{name}(" in used]
        return "\n\n".join(block for block in blocks if block) + "\n"

    def _neuron(self):
        lines = [f"{'POINT_PROCESS' if self.point else 'SUFFIX'} {self.suffix}"]
        reads = self._reads(set().union(*(e.expression.names for e in self._equations())))
        for ion in IONS:
            read = [f"e{ion.lower()}"] if f"E_{ion}" in reads - set(self.subexpressions) else []
            read += ["ica"] if ion == "Ca" and "I_Ca" in reads and self.model.kind == "shell" else []
            read += ["cai"] if ion == "Ca" and "Ca_i" in reads and self.model.kind != "shell" else []
            write = [f"i{ion.lower()}"] if self.current == f"I_{ion}" else []
            write += ["cai"] if ion == "Ca" and self.model.kind == "shell" else []
            if read or write:
                lines.append(
                    f"USEION {ion.lower()}"
                    + (f" READ {', '.join(read)}" if read else "")
                    + (f" WRITE {', '.join(write)}" if write else "")
                )
        if self.current == "I":
            lines.append("NONSPECIFIC_CURRENT i")
        ranged = [self._name(name) for name in (*self.varied, *self.model.states) if self._name(name) != "cai"]
        if ranged:
            lines.append(f"RANGE {', '.join(ranged)}")
        return [*lines, "THREADSAFE"]

    def _constants(self):
        """What is the same on all segments. (NEURON keeps six digits of a PARAMETER's value, all of a CONSTANT's.)"""
        bodies = [statement for body in self.model.events.values() for statement in body]
        used = set().union(*(e.expression.names for e in (*self.model.states.values(), *bodies)))
        used |= set().union(*(start.names for start in self.model.initial.values()), {self.current} - {None})
        for name in reversed(self.subexpressions):
            if name in used and name not in self.constants:
                used |= self.subexpressions[name].expression.names
        values = {name: cable_units(parameter.value) for name, parameter in self.parameters.items()}
        for name, value in self.model.compute(self.model.values(), sorted(self.constants)).items():
            values[name] = float(value) / float(cable_unit(self.model.subexpressions[name].dimension))
        constant = [name for name in values if name in used and name not in self.varied]
        return [f"{self._name(name)} = {values[name]!r}" for name in constant]

    def _assigned(self):
        lines = ["v (mV)"]
        text = " ".join(self._neuron())
        for name in ("ek", "ik", "ena", "ina", "eca", "ica", "cai"):
            declared_as_state = name == "cai" and self.model.kind == "shell"
            if name in text.replace(",", " ").split() and not declared_as_state:
                lines.append(name)
        if self.current == "I":
            lines.append("i")
        return lines + [f"decay_{name}" for name in self._steady_decays()]

    def _initial(self):
        starts = {name: start for name, start in self.model.initial.items()}
        starts |= {name: self.linear[name][0] for name in self.model.states if name not in starts}
        lines = self._computed(set().union(*(e.names for e in starts.values())))
        lines += [f"{self._name(name)} = {self.renderer.render_node(e.tree)}" for name, e in starts.items()]
        return lines + [f"decay_{name} = {self._decay(name)}" for name in self._steady_decays()]

    def _dimensions(self):
        dimensions = dict(SURROUNDINGS[self.model.kind])
        dimensions |= {
            name: equation.dimension for name, equation in {**self.subexpressions, **self.model.states}.items()
        }
        return dimensions | {name: parameter.value.dimension for name, parameter in self.parameters.items()}

    def _steady_decays(self):
        """The states whose decay over one fixed step never changes."""
        if not self.fixed_step:
            return []
        unchanging = {*self.parameters, *self.constants}
        return [name for name in self.model.states if self.linear[name][1].names <= unchanging]

    def _decay(self, state):
        return f"exp(-dt*{self.renderer.render_element_parentheses(self.linear[state][1].tree)})"

    def _breakpoint(self):
        solve = [f"SOLVE states{'' if self.fixed_step else ' METHOD cnexp'}"] if self.model.states else []
        if self.current is None:
            return solve
        equation = self.model.subexpressions[self.current]
        ion = f" USEION {self.current[2:].lower()}" if self.current != "I" else ""
        scale = f"{NANOAMPERE_PER_CABLE_UNIT}*" if self.point else ""
        wanted, common, (current, conductance) = self._current(equation)
        locals_ = ["conductance", *(self._name(name) for name in wanted), *(name for name, _ in common)]
        return [
            f"LOCAL {', '.join(locals_)}",
            f"CONDUCTANCE conductance{ion}",
            *solve,
            *self._assignments(wanted),
            *(f"{name} = {text}" for name, text in common),
            f"conductance = {scale}({conductance})",
            f"{self._name(self.current)} = {scale}({current})",
        ]

    def _current(self, equation):
        """What the current needs: subexpressions free of v, then what I and dI/dv have in common, then the texts of
        both."""
        follows_v = {
            name: self.subexpressions[name]
            for name in self._wanted(equation.expression.names)
            if "v" in self._reads({name})
        }
        common, current, conductance = with_slope(equation, follows_v)
        names = set().union(*(names_in(tree) for _, tree in common), names_in(current), names_in(conductance))
        wanted = [name for name in self._wanted(names) if name not in follows_v]
        rendered = [(name, self.renderer.render_node(tree)) for name, tree in common]
        return wanted, rendered, [self.renderer.render_node(tree) for tree in (current, conductance)]

    def _states(self):
        """The block that advances the states."""
        if not self.fixed_step:
            lines = self._computed(set().union(*(e.expression.names for e in self.model.states.values())))
            lines += [f"{self._name(name)}' = {self._render(e, e.node)}" for name, e in self.model.states.items()]
            return _block("DERIVATIVE states", lines)
        steady = self._steady_decays()
        names = set().union(
            *(
                rest.names | (frozenset() if name in steady else rate.names)
                for name, (rest, rate) in self.linear.items()
            )
        )
        lines = self._computed(names)
        for name, (rest, _) in self.linear.items():
            x, decay = self._name(name), f"decay_{name}" if name in steady else self._decay(name)
            if rest.text in ("0", "0.0"):
                lines.append(f"{x} = {x}*{decay}")
            else:
                goal = self.renderer.render_element_parentheses(rest.tree)
                lines.append(f"{x} = {goal} + ({x} - {goal})*{decay}")
        return _block("PROCEDURE states()", lines)

    def _receive(self):
        body = self.model.events["presynaptic"]
        lines = self._computed(set().union(*(s.expression.names for s in body)))
        for statement in body:
            name, right = self._name(statement.name), self.renderer.render_node(statement.expression.tree)
            operator = statement.operator.rstrip("=")
            lines.append(f"{name} = {name} {operator} ({right})" if operator else f"{name} = {right}")
        return lines


def _block(header, lines):
    if not lines and header in ("CONSTANT", "PARAMETER"):
        return ""
    return "\n".join([f"{header} {{", *(f"    {line}" for line in lines), "}"])
