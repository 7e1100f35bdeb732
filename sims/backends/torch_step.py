"""A neuron's step as torch code: the equations of a Model → two functions of tensors.

A step is Brian2's (sims/backends/brian.py), in its order and with the same subexpressions held: integrate, compare with
the threshold, deliver input events in the file's order, reset what spiked.

A spike is 1 or 0. Its derivative is a surrogate, that of the fast sigmoid of the distance to threshold (SuperSpike,
Zenke & Ganguli 2018):

    dz/dv = 1/(scale (α |x| + 1)²),   x = (v - θ)/scale         at `threshold: v > θ`, and 0 while refractory
"""

import ast
import operator
from dataclasses import dataclass

import sympy
import torch
from brian2.units import volt
from torch.autograd.function import once_differentiable

from sims.backends import steps
from sims.backends.torch_code import Writer, in_si, names_in, symbol, symbolic
from sims.backends.torch_spike import spike
from sims.equations import SPIKE, EquationError
from sims.expressions import ExpressionError, expression, unit_name
from sims.mistakes import RequestError

# Entries of a state beside the variables; no variable's name has a blank.
RESTED, COUNT = "steps since the spike", "steps taken"
SLOPE = "slope of the surrogate"  # an entry of the parameters
ROUNDING = 1e-3  # of a step: so Brian2 cuts a refractory time to whole steps


@dataclass(frozen=True)
class Surrogate:
    """The derivative of a spike.

    slope: α, without unit.  scale: the distance to threshold that counts as 1, SI; None stands for 20 mV, from rest to
    threshold of soma_lif.yaml, and is for voltages only.
    reset_gradient: whether a state's derivative with respect to the spike that reset it is the jump. Without it a reset
    is a jump at a given time, and only the spike itself carries a surrogate gradient.
    """

    slope: float = 5.0
    scale: float | None = None
    reset_gradient: bool = False

    def __post_init__(self):
        for name in ("slope", "scale"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise RequestError(f"{name} of the surrogate: found {value}, expected a number above 0")


@dataclass(frozen=True)
class Plateau:
    """The derivative of a step of a bistable voltage, in place of the exact one.

    At a stable voltage what a step passes on of a change in v falls off as exp(-t/τ), so that after a delay nothing
    says which input lifted it; at the separatrix it explodes. Here a step passes v on as it is, dv'/dv := 1, and while
    the dendrite is down every input counts by how near it brings the drive to the fold at which rest ends,

        dv'/d(drive) += peak/(1 + |drive - edge|/width)²        at v < middle

    drive: an expression, such as w*s.  edge: the fold's drive.  middle: a voltage between rest and plateau.
    peak, width: V and in units of the drive.  All in SI units.
    """

    drive: str
    edge: float
    middle: float
    peak: float = 3e-3
    width: float = 10.0

    @property
    def numbers(self):
        """edge, middle, peak and width."""
        return self.edge, self.middle, self.peak, self.width


def functions(model, dt, inputs, surrogate, dtype, plateaus=None):
    """The two functions of a Model.

    dt: s.  inputs: the events and the parameters that come with each step.  surrogate: a Surrogate or None.
    plateaus: {state: Plateau}.
    Returns (prepare, step): prepare({parameter: tensor, SLOPE: of the surrogate}) → (tuple for all steps, tuple of the
    states' starts), and
    step(state, the former tuple, {input: tensor}) → (state, spikes or None).
    Raises EquationError, naming the equation that torch cannot run, or RequestError for a surrogate without a scale.
    """
    return _Step(model, dt, inputs, surrogate, dtype, plateaus or {}).functions()


class _Step:
    def __init__(self, model, dt, inputs, surrogate, dtype, plateaus):
        self.model, self.dt, self.inputs, self.surrogate, self.dtype = model, sympy.Float(dt), inputs, surrogate, dtype
        self.plateaus = plateaus
        self.names = {name: symbol(name) for name in model.dimensions}
        self.definitions, fixed = {}, {SLOPE, *model.parameters} - set(inputs)
        for name, equation in model.subexpressions.items():
            self.definitions[name] = definition = self._symbolic(equation.expression, equation.node)
            if definition.is_number:
                self.names[name] = definition
            if names_in(definition) <= fixed:
                fixed.add(name)
        self.rights = {name: self._symbolic(e.expression, e.node) for name, e in model.states.items()}
        self.linear = None if model.integration == "euler" else steps.linear(model)
        self.once = Writer(self.definitions, dtype, ("values",))
        self.writer = Writer(self.definitions, dtype, ("state", "once", "inputs"), self.once, fixed)

    def functions(self):
        model, writer, state = self.model, self.writer, {}
        starts = self._starts()
        for name in model.states:
            writer.assign(name, writer.read("state", name))
        for name in self.inputs:
            if name in model.parameters:
                writer.assign(name, writer.read("inputs", name))
        if reads_time(model):
            count = writer.read("state", COUNT)
            writer.assign("t", writer.call(operator.mul, count, float(self.dt)))
            state[COUNT] = writer.call(operator.add, count, 1.0)
        moved = self._moved()
        rested = free = None
        if model.refractory:
            rested, pause = writer.read("state", RESTED), self._symbolic(model.refractory)
            free = writer.call(operator.ge, rested, writer.value(sympy.floor(pause / self.dt + ROUNDING)))
        for name, value in moved.items():
            self._write(name, value, free)
        fired = spikes = None
        if model.threshold:
            fired, spikes = self._spikes(free)
        if free is not None:
            state[RESTED] = writer.call(torch.where, fired, 1.0, writer.call(operator.add, rested, 1.0))
            free = writer.call(torch.logical_and, free, writer.call(torch.logical_not, fired))
        for event in model.events:
            if event in self.inputs:
                self._deliver(event, free)
        if fired is not None:
            self._reset(fired, spikes)
        state |= {name: writer.value(symbol(name)) for name in model.states}
        return self.once.function(tuple(writer.hoisted), starts), writer.function(state, spikes)

    def _starts(self):
        """The states' starts, written once."""
        once = self.once
        for name in (*self.model.parameters, SLOPE):
            once.assign(name, once.read("values", name))
        once.assign("t", 0.0)
        for name, start in steps.starts(self.model).items():
            once.assign(name, once.value(self._symbolic(start, self.model.states[name].node)))
        return tuple(once.value(symbol(name)) for name in self.model.states)

    def _moved(self):
        """{state: its value a step later}; holds what is held over a step."""
        model, writer, linear = self.model, self.writer, self.linear
        before = {name: writer.value(symbol(name)) for name in self.plateaus}
        for name, value in before.items():
            writer.assign(name, writer.call(torch.detach, value))
        moved = {}
        if linear is None:
            for name in sorted(model.states, key=lambda name: name not in before):
                self._release(name, before)
                moved[name] = writer.value(symbol(name) + self.dt * self.rights[name])
        else:
            for name in [name for name in self.definitions if name in linear.held]:
                writer.hold(name)
            forms = {
                name: (sympy.factor_terms(in_si(linear.slope[name], self.names)), in_si(linear.drive[name], self.names))
                for name in model.states
            }
            if model.integration == "exact":
                self._check_exact(forms)
            for name in sorted(forms, key=lambda name: name not in before):
                self._release(name, before)
                moved[name] = self._relaxed(symbol(name), *forms[name])
        self._release(None, before)
        for name, rule in self.plateaus.items():
            drive = writer.value(self._symbolic(expression(rule.drive, model.dimensions)))
            moved[name] = writer.call(through_plateau, moved[name], writer.value(symbol(name)), drive, *rule.numbers)
        return moved

    def _release(self, name, before):
        """End the detachment of bistable voltages, once no state that is one of them is left to be moved."""
        if name not in self.plateaus and before:
            for other, value in before.items():
                self.writer.assign(other, value)
            before.clear()

    def _relaxed(self, x, slope, drive):
        """x after a step of dx/dt = slope x + drive: rest + (x - rest) exp(slope dt), rest = -drive/slope."""
        writer = self.writer
        if slope == 0:
            return writer.value(x + self.dt * drive)
        rest, decay = -drive / slope, sympy.exp(slope * self.dt)
        if rest.is_number or decay.is_number:
            return writer.value(rest + (x - rest) * decay)
        return writer.call(torch.lerp, *map(writer.value, (rest, x, decay)))

    def _check_exact(self, forms):
        for name, form in forms.items():
            others = set().union(*map(names_in, form)) & {*self.model.states, *self.linear.held, "t"}
            if others:
                raise self.model.states[name].node.error(
                    f"torch solves exactly what relaxes on its own, but d{name}/dt reads {', '.join(sorted(others))}; "
                    "write `integration: exponential_euler`"
                )

    def _spikes(self, free):
        """(whether it fired, the same as a number with the surrogate's derivative)."""
        writer, threshold = self.writer, self.model.threshold
        fired = crossed = writer.value(self._symbolic(threshold))
        if free is not None:
            fired = writer.call(torch.logical_and, crossed, free)
        if self.surrogate is None:
            return fired, writer.graph.call_method("to", (fired, self.dtype))
        distance, scale = self._distance()
        spikes = writer.call(spike, writer.value(distance / scale), crossed, writer.value(symbol(SLOPE)))
        return fired, spikes if free is None else writer.call(operator.mul, spikes, free)

    def _distance(self):
        """(distance above threshold, its scale) in SI units."""
        threshold, where = self.model.threshold, f"{self.model.path}:1: threshold `{self.model.threshold.text}`"
        tree, sign = threshold.tree, 1
        while isinstance(tree, ast.UnaryOp):
            tree, sign = tree.operand, -sign
        if not isinstance(tree, ast.Compare) or not isinstance(tree.ops[0], ast.Gt | ast.GtE | ast.Lt | ast.LtE):
            raise EquationError(f"{where}: a surrogate gradient needs one comparison such as v > v_threshold")
        sign = sign if isinstance(tree.ops[0], ast.Gt | ast.GtE) else -sign
        distance = expression(ast.unparse(ast.BinOp(tree.left, ast.Sub(), tree.comparators[0])), self.model.dimensions)
        scale = self.surrogate.scale
        if scale is None and distance.dimension is not volt.dim:
            unit = unit_name(distance.dimension)
            raise RequestError(f"{where}: the surrogate needs a `scale`, a distance in the unit {unit}")
        return sign * self._symbolic(distance), sympy.Float(0.02 if scale is None else scale)

    def _deliver(self, event, free):
        """Input events of one kind: as many as their weight says, all at once."""
        writer, weight = self.writer, symbol(f"weight of {event}")
        arrived = writer.read("inputs", event)
        writer.assign(weight.name, arrived)
        for statement in self.model.events[event]:
            right, x = self._right(event, statement), symbol(statement.name)
            match statement.operator:
                case "=":
                    some = writer.call(operator.ne, arrived, 0.0)
                    value = writer.call(torch.where, some, writer.value(right), writer.value(x))
                case "+=" | "-=":
                    value = writer.value(x + weight * (right if statement.operator == "+=" else -right))
                case "*=" | "/=":
                    value = writer.value(x * right ** (weight if statement.operator == "*=" else -weight))
            self._write(statement.name, value, free)

    def _reset(self, fired, spikes):
        writer = self.writer
        detached = self.surrogate is None or not self.surrogate.reset_gradient
        for statement in self.model.events[SPIKE]:
            right, x = self._right(SPIKE, statement), symbol(statement.name)
            values = (fired, writer.value(statement.after(x, right)), writer.value(x))
            value = writer.call(torch.where, *values) if detached else writer.call(reset, spikes, *values)
            writer.assign(statement.name, value)

    def _write(self, name, value, free):
        """Give a state a value, but not where it stands still."""
        if free is not None and self.model.states[name].unless_refractory:
            value = self.writer.call(torch.where, free, value, self.writer.value(symbol(name)))
        self.writer.assign(name, value)

    def _right(self, event, statement):
        return self._symbolic(statement.expression, what=f"event '{event}'")

    def _symbolic(self, checked, node=None, what="threshold or refractory time"):
        try:
            return symbolic(checked.text, self.names)
        except ExpressionError as error:
            raise node.error(str(error)) if node else EquationError(f"{self.model.path}:1: {what}: {error}") from None


def reads_time(model):
    """Whether anything that the model computes in a step depends on the time itself."""
    equations = [e.expression for e in (*model.states.values(), *model.subexpressions.values())]
    equations += [statement.expression for body in model.events.values() for statement in body]
    return any("t" in found.names for found in (*equations, model.threshold, model.refractory) if found)


class _Plateau(torch.autograd.Function):
    """The voltage a step later, `moved`, with the derivatives that a Plateau gives it; `moved` keeps its own."""

    @staticmethod
    def forward(ctx, moved, voltage, drive, *numbers):
        ctx.numbers = numbers
        ctx.save_for_backward(voltage, drive)
        return moved.view_as(moved)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        voltage, drive = ctx.saved_tensors
        edge, middle, peak, width = ctx.numbers
        psi = peak / (1 + (drive - edge).abs() / width) ** 2
        return grad, grad, grad * torch.where(voltage < middle, psi, 0.0), None, None, None, None


def through_plateau(moved, voltage, drive, *numbers):
    """_Plateau in a form that a graph can call."""
    return _Plateau.apply(*torch.broadcast_tensors(moved, voltage, drive), *numbers)


def reset(spikes, fired, new, old):
    """`new` where fired, else `old`, with new - old as derivative with respect to the spikes."""
    return torch.where(fired, new, old) + (spikes - spikes.detach()) * (new - old).detach()
