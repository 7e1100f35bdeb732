"""A cell's membrane in Brian2's words: a cell file → equations, the code of a step, and the values they start from.

Every mechanism's names get its own in front, Ih_m and Ih_gbar; a SpatialNeuron has the same equations in every
compartment, so a mechanism's current counts where its `present` is 1. Parameters, and what depends on them alone, are
parameters of Brian2's, so that a compiled program takes new ones.

A step is NEURON's fixed one (Carnevale & Hines 2006, ch. 4):
1. events add to the synapses' states;
2. all currents I and slopes dI/dv are computed at the old voltage, as `drive` = v dI/dv - I and `slope`, and Brian2's
   solver of the cable equation takes Im = drive - slope v, implicit in v;
3. calcium, then every other state, advances by its exact exponential, all else held, at the new voltage; calcium with
   the current of 2.
Brian2 would derive slope and drive itself, but simplifies the sum of all mechanisms symbolically, which takes long,
and would advance the states before the voltage, SK by the calcium of the step before.
"""

import ast
from dataclasses import dataclass

import numpy as np

from sims.backends.brian import delivery, located, unit_text
from sims.backends.mechanisms import linear_form, refuse_calcium_without_shell, with_slope
from sims.cells.l5pc import SIGNS
from sims.equations import IONIC_CURRENTS
from sims.expressions import cable_unit, renamed

OWN = ("v", "I_Ca", "slope", "drive", *(f"arrived_{sign}" for sign in SIGNS))


@dataclass(frozen=True)
class Words:
    """Brian2's equations, and the code of a step's three parts."""

    equations: str
    deliver: str
    assemble: str
    advance: str


class Membrane:
    """A Cell's membrane.

    Attributes: words, its Words; places, {Brian2's name: the file's entry that it comes from}, for messages.
    Raises EquationError, naming the equation, where a state is not linear in itself, a region reads calcium that
    nothing keeps, or a name means something else to Brian2.
    """

    def __init__(self, cell):
        self.cell = cell
        for region in cell.regions:
            refuse_calcium_without_shell(cell, region)
        # Calcium comes first: the shell advances before what reads it.
        self.parts = sorted((_Part(cell, name) for name in cell.mechanisms), key=lambda p: p.model.kind != "shell")
        self.places = {}
        taken = {*OWN, *cell.reversal_potentials, *(f"{name}_present" for name in cell.mechanisms)}
        for part in self.parts:
            for entry in part.entries:
                name = part.names[entry.name]
                if name.endswith(("_pre", "_post")):
                    raise entry.node.error(
                        f"Brian2 cannot run this: '{entry.name}' ends as names in synapses do; choose another name"
                    )
                if name in self.places or name in taken:
                    raise entry.node.error(
                        f"Brian2 cannot run this cell: '{entry.name}' of '{part.name}' becomes {name}, and there is "
                        "another of that name; call the mechanism something else"
                    )
                self.places[name] = entry.node
        self.words = Words(
            "\n".join(
                [line for part in self.parts for line in part.equations()]
                + [f"{name} : volt (shared, constant)" for name in cell.reversal_potentials]
                + [f"arrived_{sign} : 1" for sign in SIGNS]
                + ["I_Ca : amp/meter**2", "slope : siemens/meter**2", "drive : amp/meter**2"]
                + ["Im = drive - slope*v : amp/meter**2"]
            ),
            self._deliver(),
            self._assemble(),
            "\n".join(line for part in self.parts for line in part.advance()),
        )

    def refused(self, cause):
        """The EquationError for a complaint of Brian2's or a compiler's."""
        return located(self.places, self.cell.path, cause)

    def values(self, segments, segment, real):
        """What the program runs on, SI: {name: number, or array [compartments]} of parameters and first states.

        segments: the table of segments.  segment: int [compartments], its row of each.  real: bool [compartments],
        false where a compartment stands for a node without membrane.
        """
        potentials = {name: mV * 1e-3 for name, mV in self.cell.reversal_potentials.items()}
        found = {**potentials, "v": self.cell.v_init * 1e-3}
        around = {**potentials, "v": found["v"], "I_Ca": 0.0}
        placements = self.cell.placements(segments)
        for part in self.parts:
            values, first = part.values(placements[part.name], segments, around)
            if part.model.kind == "shell":
                around |= {"Ca_i": first["Ca_i"], "E_Ca": part.model.compute({**values, **around, **first})["E_Ca"]}
            present = np.isin(np.arange(len(segments)), placements[part.name].segments).astype(float)
            found |= {part.names[name]: value for name, value in {**values, **first}.items()}
            found |= {f"{part.name}_present": present} if part.current else {}
        found = {name: value[segment] if np.ndim(value) else float(value) for name, value in found.items()}
        return {name: value * real if name.endswith("_present") else value for name, value in found.items()}

    def _deliver(self):
        """What arrives in a compartment counts once: in the step at whose start it is given."""
        parts, lines = {part.name: part for part in self.parts}, []
        for sign in SIGNS:
            for name in self.cell.inputs[sign]:
                lines.append(delivery(parts[name].received(), f"arrived_{sign}", f"{sign}_{name}"))
            lines.append(f"arrived_{sign} = 0")
        return "\n".join(lines)

    def _assemble(self):
        flowing = [part for part in self.parts if part.current]
        calcium = [f"_current_{part.name}" for part in flowing if part.current == "I_Ca"]
        lines = [line for part in flowing for line in part.flow()]
        return "\n".join(
            [
                *lines,
                f"I_Ca = {' + '.join(calcium) or '0*amp/meter**2'}",
                f"slope = {' + '.join(f'_slope_{part.name}' for part in flowing)}",
                f"drive = slope*v - ({' + '.join(f'_current_{part.name}' for part in flowing)})",
            ]
        )


class _Part:
    """One mechanism: its lines, and its values."""

    def __init__(self, cell, name):
        self.cell, self.name, self.model = cell, name, cell.mechanisms[name]
        model = self.model
        self.entries = [*model.states.values(), *model.subexpressions.values(), *model.parameters.values()]
        self.names = {entry.name: f"{name}_{entry.name}" for entry in self.entries}
        if model.kind != "shell" and cell.shell is not None:
            shell = next(n for n, m in cell.mechanisms.items() if m.kind == "shell")
            self.names |= {n: f"{shell}_{n}" for n in ("Ca_i", "E_Ca")}
        self.current = next((n for n in IONIC_CURRENTS if n in model.subexpressions), None)
        self.linear = {n: linear_form(equation, model.dimensions, "Brian2") for n, equation in model.states.items()}

    def text(self, tree):
        """An expression in Brian2's names."""
        return ast.unparse(renamed(tree, self.names))

    def equations(self):
        """Lines of Brian2's equations."""
        model, varied = self.model, self.cell.varied[self.name]
        for name, equation in model.states.items():
            yield f"d{self.names[name]}/dt = {self.text(equation.expression.tree)} : {unit_text(equation.dimension)}"
        for name, equation in model.subexpressions.items():
            if name not in model.constants:
                yield f"{self.names[name]} = {self.text(equation.expression.tree)} : {unit_text(equation.dimension)}"
        for entry in self.entries:
            if entry.name in model.parameters or entry.name in model.constants:
                flags = "constant" if model.needs([entry.name]) & set(varied) else "shared, constant"
                yield f"{self.names[entry.name]} : {unit_text(model.dimensions[entry.name])} ({flags})"
        if self.current:
            yield f"{self.name}_present : 1 (constant)"

    def advance(self):
        """Code that moves the states to the end of the step, together."""
        moves = []
        for name, (rest, rate) in self.linear.items():
            state = self.names[name]
            yield f"_share_{state} = -expm1(-dt*({self.text(rate.tree)}))"
            if rest.text == "0":
                moves.append(f"{state} -= {state}*_share_{state}")
            else:
                yield f"_rest_{state} = {self.text(rest.tree)}"
                moves.append(f"{state} += (_rest_{state} - {state})*_share_{state}")
        yield from moves

    def flow(self):
        """Code for the current and its slope, per area."""
        model, equation = self.model, self.model.subexpressions[self.current]
        needed = model.needs(equation.expression.names)
        follows_v = {n: e for n, e in model.subexpressions.items() if n in needed and "v" in model.needs({n})}
        common, current, slope = with_slope(equation, follows_v)
        self.names |= {name: f"_{name}_{self.name}" for name, _ in common}
        for name, tree in common:
            yield f"{self.names[name]} = {self.text(tree)}"
        per_area = "/area" if model.kind == "synapse" else ""
        for name, tree in (("current", current), ("slope", slope)):
            yield f"_{name}_{self.name} = {self.name}_present*({self.text(tree)}){per_area}"

    def received(self):
        """What an event does: a list of (variable, operator, expression)."""
        return [
            (self.names[s.name], s.operator, self.text(s.expression.tree)) for s in self.model.events["presynaptic"]
        ]

    def values(self, placement, segments, around):
        """({parameter or constant: value}, {state: first value}), SI, numbers or [segments].

        around: {name: SI} of what surrounds the mechanism.
        """
        model = self.model
        values = model.values()
        for name, given in placement.values.items():
            everywhere = np.full(len(segments), values[name])
            everywhere[placement.segments] = given * float(cable_unit(model.parameters[name].value.dimension))
            values[name] = everywhere
        values |= model.compute(values, [n for n in model.subexpressions if n in model.constants])
        first = {}
        for name, (rest, _) in self.linear.items():
            start = model.initial.get(name, rest)
            known = {**values, **around}
            value = start.evaluate({**known, **model.compute(known, start.names & set(model.subexpressions))})
            first[name] = np.broadcast_to(value, len(segments)) if np.ndim(value) else value
        return values, first
