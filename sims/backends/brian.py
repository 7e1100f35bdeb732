"""Neurons in Brian2: a Model of kind neuron → equations with units, on any of Brian2's devices.

Every parameter is a declared Brian2 parameter, shared by all neurons or one value each, so that a compiled program
takes new ones (sims/backends/brian_program.py). Input events come through a TimedArray of the weights that arrive in
each step, which a compiled program takes anew as well; spikes of a generator are baked in.
Brian2's schedule is the order of a step: integrate, threshold, events (its slot `synapses`), resets.
"""

import ast
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from brian2 import (
    Equations,
    Network,
    NeuronGroup,
    SpikeMonitor,
    StateMonitor,
    TimedArray,
    get_device,
    ms,
    prefs,
)
from brian2 import seed as seed_brian
from brian2.core.base import BrianObjectException
from brian2.equations.equations import EquationError as BrianEquationError
from brian2.stateupdaters.base import UnsupportedEquationsException
from brian2.units.fundamentalunits import DimensionMismatchError, Quantity

from sims.arrivals import Arrivals, input_events
from sims.backends import steps
from sims.equations import SPIKE, EquationError, Model
from sims.expressions import ExpressionError, quantity, renamed, unit_name
from sims.mistakes import RequestError
from sims.recordings import Traces

SMALLEST_STEP_MS, LONGEST_MS, MOST_NEURONS = 1e-4, 1e7, 10_000_000
LARGEST_ARRAY = 2**28  # values, 2 GiB
BASE_UNITS = ("meter", "kilogram", "second", "amp", "kelvin", "mole", "candela")
GROUP = "neurons"
# Names that Brian2 accepts and C++ does not.
KEYWORDS = frozenset(
    "alignas alignof asm auto bool case catch char const constexpr decltype default delete do double enum explicit "
    "export extern float friend goto inline int long mutable namespace new noexcept nullptr operator private protected "
    "public register short signed sizeof static struct switch template this throw typedef typeid typename union "
    "unsigned using virtual void volatile wchar_t main brian std".split()
)


@dataclass(frozen=True, eq=False)
class Setup:
    """All that is fixed in a simulation besides parameters and inputs.

    model: a Model of kind neuron.  neurons: how many, side by side.  record: variables whose trace is kept (None: the
    states).  varied: parameters with a value for each neuron instead of one for all.
    """

    model: Model
    neurons: int = 1
    duration_ms: float = 1000.0
    dt_ms: float = 0.1
    record: tuple | None = None
    varied: tuple = ()

    @property
    def steps(self):
        """How many steps a simulation has."""
        return round(self.duration_ms / self.dt_ms)

    @property
    def recorded(self):
        """The variables whose trace is kept."""
        return tuple(self.model.states if self.record is None else self.record)

    @property
    def sizes(self):
        """What is fixed in a compiled program besides the model's text."""
        return [self.neurons, self.steps, self.dt_ms, self.recorded]

    @property
    def shapes(self):
        """{name: shape} of the TimedArrays that carry a run's inputs."""
        return {weights_name(event): (self.steps, self.neurons) for event in input_events(self.model)}

    def arrays(self, arrivals):
        """{name: float64 array} of those TimedArrays, for Arrivals (None: none); errors as in Arrivals.check."""
        return {weights_name(event): weights for event, weights in self.weights(arrivals).items()}

    def weights(self, arrivals):
        """{event: float64 [steps, neurons]} of Arrivals (None: none); errors as in Arrivals.check."""
        arrivals = (arrivals or Arrivals()).check(self.model, self.neurons)
        return {
            event: arrivals.weights(event, self.neurons, self.steps, self.dt_ms) for event in input_events(self.model)
        }

    def text(self):
        """The Text of the model."""
        return text(self)

    def extend(self, built, arrays):
        """Add to Built's network what a simulation has besides neurons: nothing here.  arrays: as given to Built."""

    def check(self):
        """Raise RequestError where an option has no meaning, EquationError where Brian2 cannot run the file."""
        model = self.model
        if model.kind != "neuron":
            raise EquationError(f"{model.path}:1: only neurons run on their own; this file is of the kind {model.kind}")
        if not (np.isfinite(self.dt_ms) and SMALLEST_STEP_MS <= self.dt_ms <= LONGEST_MS):
            raise RequestError(f"--dt: found {self.dt_ms}, expected a step of {SMALLEST_STEP_MS} ms or more")
        if not (np.isfinite(self.duration_ms) and self.dt_ms <= self.duration_ms <= LONGEST_MS):
            raise RequestError(f"--duration: found {self.duration_ms}, expected {self.dt_ms} to {LONGEST_MS:g} ms")
        if abs(self.steps * self.dt_ms - self.duration_ms) > 1e-6 * self.dt_ms * self.steps:
            raise RequestError(
                f"--duration: found {self.duration_ms}, expected a whole number of steps of {self.dt_ms} ms"
            )
        if not 1 <= self.neurons <= MOST_NEURONS:
            raise RequestError(f"--neurons: found {self.neurons}, expected 1 to {MOST_NEURONS}")
        arrays = max(1, len(input_events(model)) + len(self.recorded))
        if self.neurons * self.steps * arrays > LARGEST_ARRAY:
            raise RequestError(
                f"--neurons: found {self.neurons} for {self.steps} steps, too many to hold {arrays} arrays of both; "
                f"expected at most {LARGEST_ARRAY // (self.steps * arrays)} (or fewer steps, or fewer variables)"
            )
        for name in self.recorded:
            if name not in model.states and name not in model.subexpressions:
                known = ", ".join([*model.states, *model.subexpressions])
                raise RequestError(f"--record: found '{name}', expected some of: {known}")
        for name in self.varied:
            if name not in model.parameters:
                raise RequestError(f"{model.path}: has no parameter '{name}' to vary")
        check_names(model)
        return self

    @cached_property
    def time_constants(self):
        """{state: Expression} of the time constants that the parameters alone decide."""
        return steps.time_constants(self.model)

    def values(self, changes=None, bounded=False):
        """The values of all parameters, SI.

        changes: {parameter: SI number, or array [neurons] for those in `varied`}.  bounded: refuse values outside a
        parameter's bounds, as a fit should.  Raises RequestError or EquationError, before anything runs.
        """
        model, changes = self.model, changes or {}
        for name, value in changes.items():
            if name not in model.parameters:
                raise RequestError(
                    f"{model.path}: has no parameter '{name}'; expected one of: {', '.join(model.parameters)}"
                )
            shape = np.shape(value)
            if shape not in ((), (self.neurons,)) or (shape and name not in self.varied):
                wanted = f"one number or {self.neurons}" if name in self.varied else "one number"
                raise RequestError(f"{model.path}: '{name}' was given the shape {shape}, expected {wanted}")
            if not np.all(np.isfinite(value)):
                raise RequestError(f"{model.path}: '{name}' was given {value}, expected finite numbers")
            bounds = model.parameters[name].bounds
            if bounded and bounds and not (np.all(bounds[0].si <= value) and np.all(value <= bounds[1].si)):
                raise RequestError(
                    f"{model.path}: '{name}' was given {value} (SI), expected a value in [{bounds[0]}, {bounds[1]}]"
                )
        values = model.values(**{name: np.asarray(value, float)[()] for name, value in changes.items()})
        steps.check(model, self.time_constants, values, self.dt_ms * 1e-3)
        return values

    def traces(self, values, final, spike_time, spike_neuron):
        """Traces from plain arrays, spike times in seconds."""
        order = np.lexsort((spike_neuron, spike_time))
        time = np.arange(self.steps) * self.dt_ms
        return Traces(time, values, final, spike_time[order] * 1e3, spike_neuron[order])


@dataclass(frozen=True)
class Text:
    """A Model in Brian2's words; two models with the same Text differ in values of parameters at most.

    starts: {state: expression}, in order.  events: {event: code of one step, from the weights that arrive}.
    """

    equations: str
    method: str
    threshold: str | None
    reset: str | None
    refractory: str | None
    starts: dict
    events: dict


def text(setup):
    """The Text of a Setup.  Raises EquationError, naming the equation, for what Brian2 cannot run."""
    model = setup.model
    held = steps.linear(model).held if model.integration == "exponential_euler" else frozenset()
    lines = []
    for equation in model.states.values():
        flag = " (unless refractory)" if equation.unless_refractory else ""
        unit = unit_text(equation.dimension)
        lines.append(f"d{equation.name}/dt = {equation.expression.text} : {unit}{flag}")
    for name, equation in model.subexpressions.items():
        flag = " (constant over dt)" if name in held else ""
        lines.append(f"{name} = {equation.expression.text} : {unit_text(equation.dimension)}{flag}")
    for name, parameter in model.parameters.items():
        flag = "constant" if name in setup.varied else "shared, constant"
        lines.append(f"{name} : {unit_text(parameter.value.dimension)} ({flag})")
    return Text(
        equations="\n".join(lines),
        method=model.integration,  # Brian2's names
        threshold=model.threshold and model.threshold.text,
        reset=model.threshold and "\n".join(" ".join(statement) for statement in _statements(model, SPIKE)),
        refractory=model.refractory and model.refractory.text,
        starts={name: start.text for name, start in steps.starts(model).items()},
        events={
            name: delivery(_statements(model, name), f"{weights_name(name)}(t, i)", name)
            for name in input_events(model)
        },
    )


def unit_text(dimension):
    """A dimension in Brian2's words, from base units."""
    powers = zip(BASE_UNITS, dimension._dims, strict=True)
    return "*".join(f"{unit}**{power:g}" for unit, power in powers if power) or "1"


def weights_name(event):
    """What the TimedArray of an event's weights is called."""
    return f"weights_of_{event}"


def _statements(model, event):
    return [(s.name, s.operator, s.expression.text) for s in model.events[event]]


def delivery(body, arriving, event):
    """The code that delivers an event: w events of weight 1, all at once.

    body: a list of (variable, operator, expression).  arriving: code for w.
    """
    weight = f"_arrived_{event}"
    lines = [f"{weight} = {arriving}"]
    for name, operator, right in body:
        right = f"({right})"
        lines.append(
            {
                "+=": f"{name} += {weight}*{right}",
                "-=": f"{name} -= {weight}*{right}",
                "*=": f"{name} *= {right}**{weight}",
                "/=": f"{name} /= {right}**{weight}",
                "=": f"{name} = int({weight} != 0)*{right} + int({weight} == 0)*{name}",
            }[operator]
        )
    return "\n".join(lines)


def check_names(model):
    """Raise EquationError where a name means something else to Brian2 or to C++."""
    for entry in (*model.states.values(), *model.subexpressions.values(), *model.parameters.values()):
        name = entry.name
        try:
            if name in KEYWORDS or name.endswith(("_pre", "_post")) or name in ("lastspike", "not_refractory"):
                raise ValueError(f"'{name}' has a meaning of its own there")
            Equations.check_identifier(name)
        except (ValueError, SyntaxError) as error:
            raise entry.node.error(f"Brian2 cannot run this: {error}; choose another name") from None


class Built:
    """Brian2's objects on the active device, run there; a standalone device only writes the run down.

    setup: a checked Setup.  words: its Text.  values: {parameter: SI}.  arrays: {name: array} of Setup.arrays.
    Attributes: group, network, arrays ({name: TimedArray}); state_monitor and spike_monitor, None where there is
    nothing to record.
    Raises EquationError, with Brian2's own words, where it refuses.
    """

    def __init__(self, setup, words, values, arrays):
        self.setup = setup
        with refusing(lambda cause: refused(setup.model, cause)):
            self._build(words, values, arrays)
            self.network.run(setup.duration_ms * ms, namespace={})

    def _build(self, words, values, arrays):
        setup, step = self.setup, self.setup.dt_ms * ms
        self.arrays = {name: TimedArray(array, dt=step, name=name) for name, array in arrays.items()}
        self.group = group = neuron_group(setup, words, values, GROUP, self.arrays)
        self.network = Network(group)
        if words.events:  # as one piece of code, which costs one compilation and one pass over the neurons
            code, name = "\n".join(words.events.values()), f"{GROUP}_deliver"
            self.network.add(group.run_regularly(code, clock=group.clock, when="synapses", name=name))
        self.state_monitor = self.spike_monitor = None
        if setup.recorded:
            self.state_monitor = StateMonitor(
                group, list(setup.recorded), record=True, clock=group.clock, name="traces"
            )
            self.network.add(self.state_monitor)
        if words.threshold:
            self.spike_monitor = SpikeMonitor(group, name="spikes")
            self.network.add(self.spike_monitor)
        setup.extend(self, arrays)


def neuron_group(setup, words, values, name, namespace):
    """The NeuronGroup of a Setup.

    words: its Text.  values: {parameter: SI}.  namespace: what its code reads besides.
    """
    group = NeuronGroup(
        setup.neurons,
        Equations(words.equations),
        method=words.method,
        threshold=words.threshold,
        reset=words.reset,
        refractory=words.refractory or False,
        dt=setup.dt_ms * ms,
        namespace=namespace,
        name=name,
    )
    for parameter, entry in setup.model.parameters.items():
        setattr(group, parameter, Quantity(values[parameter], dim=entry.value.dimension))
    device = get_device()
    if hasattr(device, "apply_run_args"):  # a program's arguments count before initial values are computed
        device.apply_run_args()
    for state, start in words.starts.items():
        setattr(group, state, start)
    return group


def on_pre(model, event):
    """What a synapse of weight w does to the neuron that it reaches, by an event of the neuron's Model."""
    lines = []
    for statement in model.events[event]:
        read = statement.expression
        right = ast.unparse(renamed(read.tree, {name: f"{name}_post" for name in read.names}))
        lines.append(f"{statement.name}_post {statement.operator} w*({right})")
    return "\n".join(lines)


@contextmanager
def in_process(target="numpy", seed=None):
    """Run Brian2 in this process, and leave its preferences and NumPy's own random stream, from which it draws, alone.

    target: numpy or cython.  seed: of its random numbers, where there are any.
    """
    before, state = prefs.codegen.target, np.random.get_state()
    prefs.codegen.target = target
    try:
        if seed is not None:
            seed_brian(seed)
        yield
    finally:
        prefs.codegen.target = before
        np.random.set_state(state)


@contextmanager
def refusing(refused):
    """Raise what `refused` makes of Brian2's words where it refuses something."""
    try:
        yield
    except (
        BrianEquationError,
        BrianObjectException,
        DimensionMismatchError,
        NotImplementedError,
        SyntaxError,
        UnsupportedEquationsException,
    ) as error:
        cause = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise refused(str(cause)) from None


def refused(model, cause):
    """The EquationError for a complaint of Brian2's or a compiler's: at the first equation whose name is in it."""
    entries = {**model.parameters, **model.subexpressions, **model.states}
    return located({name: entry.node for name, entry in entries.items()}, model.path, cause)


def located(places, path, cause):
    """As `refused`.  places: {name: Node}.  path: of the file to name where no name is in the complaint."""
    cause = " ".join(cause.split())[:400]
    for name in re.findall(r"[A-Za-z_]\w*", cause):
        if name in places:
            return places[name].error(f"Brian2 cannot run the equation of '{name}': {cause}")
    return EquationError(f"{path}:1: Brian2 cannot run this file: {cause}")


def simulate(setup, changes=None, arrivals=None, device="runtime", target="numpy"):
    """Simulate once.

    setup: a Setup.  changes: {parameter: SI value}.  arrivals: Arrivals.  device: runtime (in this process), cpp or
    cuda (a compiled program, kept in the cache).  target: what runtime runs, numpy or cython.
    Returns Traces.  Raises RequestError, EquationError, ArrivalsError or BackendError.
    """
    if device != "runtime":
        from sims.backends.brian_program import Program, check_gpu

        if device == "cuda":  # before minutes of compilation
            check_gpu()
        return Program(setup, device).evaluate([changes or {}], arrivals)[0]
    words = setup.check().text()
    return run(setup, words, setup.values(changes), setup.arrays(arrivals), target)


def run(setup, words, values, arrays, target="numpy", seed=None):
    """Traces of one simulation in this process; arguments as of Built and `in_process`."""
    with in_process(target, seed):
        built = Built(setup, words, values, arrays)
    traces, spikes = built.state_monitor, built.spike_monitor
    return setup.traces(
        {name: np.array(getattr(traces, f"{name}_")).T for name in setup.recorded},
        {name: np.array(getattr(built.group, f"{name}_")) for name in setup.model.states},
        np.zeros(0) if spikes is None else np.array(spikes.t_),
        np.zeros(0, int) if spikes is None else np.array(spikes.i),
    )


def read_changes(model, texts):
    """{parameter: SI value} of texts such as `tau_s=100*ms`.  Raises RequestError, naming the text."""
    found = {}
    for given in texts:
        name, equals, value = (part.strip() for part in given.partition("="))
        if not equals:
            raise RequestError(f"--set {given}: found no '=', expected NAME=VALUE")
        if name not in model.parameters:
            raise RequestError(
                f"--set {given}: {model.path} has no parameter '{name}', expected one of: {', '.join(model.parameters)}"
            )
        if name in found:
            raise RequestError(f"--set {given}: found a second value for '{name}', expected one")
        try:
            exact = quantity(value)
        except ExpressionError as error:
            raise RequestError(f"--set {given}: {error}") from None
        expected = model.parameters[name].value.dimension
        if exact.dimension is not expected:
            raise RequestError(
                f"--set {given}: found the unit {unit_name(exact.dimension)}, expected {unit_name(expected)}"
            )
        found[name] = exact.si
    return found
