"""Neurons in torch: a Model of kind neuron → one step for a batch of neurons, differentiable in all that it takes.

Everything is in SI units, and of whatever shape, such as [batch, neurons]. The step itself is written in
sims/backends/torch_step.py, which says how a spike gets a derivative.
"""

import operator
from typing import NamedTuple

import numpy as np
import torch

from sims.arrivals import input_events
from sims.backends import steps
from sims.backends.brian import weights_name
from sims.backends.torch_step import COUNT, RESTED, SLOPE, Surrogate, functions, reads_time
from sims.equations import EquationError
from sims.mistakes import RequestError

DEFAULT = Surrogate()
BATCH = 4096  # neurons that cost about as much as one: below, a step's time goes to calling torch


class Parameters(NamedTuple):
    """What `Neuron.parameters` makes of parameters: numbers for every step, and where the states start."""

    once: tuple
    starts: tuple
    shape: tuple


class Neuron:
    """A Model as functions of tensors.

    model: of kind neuron.  dt_ms: the step.  inputs: the events, and the parameters, whose values come with each step;
    by default the model's input events.  surrogate: a Surrogate, or None for spikes without a derivative.  dtype,
    device: of all tensors.  plateaus: {state: Plateau}, bistable voltages whose steps get another derivative.
    Raises EquationError, naming the equation, where torch cannot run it, and RequestError for what cannot be an option.

        neuron = Neuron(model, dt_ms=0.5, inputs=("presynaptic", "I_soma"))
        parameters = neuron.parameters((batch, neurons), {"w": w})      once for many steps
        state = neuron.start(parameters)
        state, spikes = neuron.step(state, parameters, {"presynaptic": weights, "I_soma": current})
    """

    def __init__(
        self,
        model,
        dt_ms=0.1,
        inputs=None,
        surrogate=DEFAULT,
        dtype=torch.float64,
        device="cpu",
        plateaus=None,
    ):
        if model.kind != "neuron":
            raise EquationError(f"{model.path}:1: only neurons run on their own; this file is of the kind {model.kind}")
        if not 0 < dt_ms < float("inf"):
            raise RequestError(f"dt_ms: found {dt_ms}, expected a number above 0")
        events = input_events(model)
        self.inputs = tuple(events if inputs is None else inputs)
        for name in self.inputs:
            if (name in events) == (name in model.parameters):
                where = "both an event and a parameter" if name in events else "neither an event nor a parameter"
                raise RequestError(f"{model.path}: the input '{name}' is {where}")
        self.model, self.dt, self.dtype, self.device = model, dt_ms * 1e-3, dtype, torch.device(device)
        self.surrogate = surrogate
        self._prepare, self._step = functions(model, self.dt, self.inputs, surrogate, dtype, plateaus)
        self.step_graph = self._step.__self__.graph  # of operations on tensors, for whoever compiles it
        self._taus = steps.time_constants(model)

    def parameters(self, shape=(1,), changes=None, check=True, slope=None):
        """The parameters of many steps.

        shape: of every state, such as (batch, neurons).  changes: {parameter: SI number or tensor that broadcasts to
        the shape}; those that come with each step only decide where states start.  check: refuse what makes no sense
        over a step, such as a negative time constant; on a GPU this waits for it.
        slope: of the surrogate, in place of its own; a number or a tensor that broadcasts to the shape.
        Returns Parameters.  Raises RequestError or EquationError.
        """
        values = self.model.values() | dict(changes or {})
        for name in values:
            if name not in self.model.parameters:
                known = ", ".join(self.model.parameters)
                raise RequestError(f"{self.model.path}: has no parameter '{name}'; expected one of: {known}")
            values[name] = torch.as_tensor(values[name], dtype=self.dtype, device=self.device)
            self._check_shape(name, values[name].shape, shape)
        if check:
            plain = {name: value.detach().cpu().numpy()[()] for name, value in values.items()}
            for name, value in plain.items():
                if not np.all(np.isfinite(value)):
                    raise RequestError(f"{self.model.path}: '{name}' was given {value}, expected finite numbers")
            steps.check(self.model, self._taus, plain, self.dt)
        if slope is None:
            slope = self.surrogate.slope if self.surrogate else 0.0
        values[SLOPE] = torch.as_tensor(slope, dtype=self.dtype, device=self.device)
        return Parameters(*self._prepare(values), tuple(shape))

    def start(self, parameters):
        """The state before the first step: {variable: tensor}, and how long each neuron has rested."""
        state = {
            name: torch.as_tensor(value, dtype=self.dtype, device=self.device).expand(parameters.shape).clone()
            for name, value in zip(self.model.states, parameters.starts, strict=True)
        }
        if self.model.refractory:
            state[RESTED] = torch.full(parameters.shape, float("inf"), dtype=self.dtype, device=self.device)
        if reads_time(self.model):
            state[COUNT] = torch.zeros((), dtype=self.dtype, device=self.device)
        return state

    def step(self, state, parameters, inputs=None):
        """One step.

        state: of `start` or an earlier step.  inputs: {event: sum of the weights that arrive, parameter: SI value} of
        all that `self.inputs` names, tensors that broadcast to the states' shape.
        Returns (state, spikes), spikes 1 or 0 in the states' shape; None for a neuron without a threshold.
        Raises RequestError where inputs are missing or others are given.
        """
        inputs = inputs or {}
        if len(inputs) != len(self.inputs) or any(name not in inputs for name in self.inputs):
            found, expected = (", ".join(names) or "none" for names in (inputs, self.inputs))
            raise RequestError(f"{self.model.path}: inputs of a step: found {found}, expected {expected}")
        return self._step(state, parameters.once, inputs)

    def run(self, parameters, inputs=None, count=None, state=None):
        """Many steps.

        inputs: {name: [steps, …]}, as for `step`.  count: how many steps, where there are no inputs to tell.  state: to
        start from.
        Returns ({variable: [steps, *shape]} at the start of each step, spikes [steps, *shape] or None, state).
        """
        each = [{} for _ in range(count or 0)]
        for name, values in (inputs or {}).items():
            values = torch.as_tensor(values, dtype=self.dtype, device=self.device)
            self._check_shape(name, values.shape[1:], parameters.shape)
            each = each or [{} for _ in values]
            if len(values) != len(each):
                raise RequestError(f"{self.model.path}: '{name}' has {len(values)} steps, expected {len(each)}")
            for given, value in zip(each, values.unbind(), strict=True):
                given[name] = value
        if not each:
            raise RequestError(f"{self.model.path}: found neither inputs nor a count of steps")
        state, traces, spikes = state or self.start(parameters), {name: [] for name in self.model.states}, []
        for given in each:
            for name, trace in traces.items():
                trace.append(state[name])
            state, fired = self.step(state, parameters, given)
            spikes.append(fired)
        traces = {name: torch.stack(trace) for name, trace in traces.items()}
        if self.model.threshold is None:
            return traces, None, state
        return traces, torch.stack([fired.expand(parameters.shape) for fired in spikes]), state

    @property
    def operations(self):
        """How many operations on tensors a step takes."""
        return sum(
            node.op != "placeholder" and node.target is not operator.getitem for node in self._step.__self__.graph.nodes
        )

    def _check_shape(self, name, found, shape):
        try:
            fits = torch.broadcast_shapes(found, shape) == tuple(shape)
        except RuntimeError:
            fits = False
        if not fits:
            raise RequestError(
                f"{self.model.path}: '{name}' was given the shape {tuple(found)}, expected one that broadcasts to "
                f"{tuple(shape)}"
            )


def simulate(setup, changes=None, arrivals=None, dtype=torch.float64, device="cpu"):
    """Simulate once, without derivatives; arguments, result and errors as in `sims.backends.brian.simulate`."""
    model, values = setup.check().model, setup.values(changes)
    weights = {event: weights for event, weights in setup.weights(arrivals).items() if weights.any()}
    neuron = Neuron(model, setup.dt_ms, tuple(weights), None, dtype, device)
    with torch.no_grad():
        parameters = neuron.parameters((setup.neurons,), values, check=False)
        traces, spikes, state = neuron.run(parameters, weights, setup.steps)
    traces, shape = {name: trace.cpu().numpy() for name, trace in traces.items()}, (setup.steps, setup.neurons)
    time = np.arange(setup.steps)[:, None] * neuron.dt
    computed = model.compute(values | traces | {"t": time}, [n for n in setup.recorded if n in model.subexpressions])
    traces |= {name: np.broadcast_to(value, shape).copy() for name, value in computed.items()}
    step, which = np.nonzero(np.zeros(shape) if spikes is None else spikes.cpu().numpy())
    return setup.traces(
        {name: traces[name] for name in setup.recorded},
        {name: state[name].cpu().numpy() for name in model.states},
        step * neuron.dt,
        which,
    )


def evaluate(setup, candidates, arrays, then, bounded=False, progress=None):
    """Simulate many candidates, some at a time as rows of one batch; as of `brian_program.Program.evaluate`.

    setup: a Setup that records states.  candidates: list of {parameter: SI value}.  arrays: {name: float64 [steps,
    neurons]} of Setup.shapes.  then: what to make of each one's Traces.  Returns a list of what it made.
    """
    model, found = setup.check().model, []
    values = [setup.values(changes, bounded) for changes in candidates]
    inputs = {event: arrays[weights_name(event)] for event in input_events(model)}
    neuron, at_once = Neuron(model, setup.dt_ms, tuple(inputs), None), max(1, BATCH // setup.neurons)
    steps_of = [torch.as_tensor(array).unbind() for array in inputs.values()]
    for first in range(0, len(values), at_once):
        some = values[first : first + at_once]
        shape = (len(some), setup.neurons)
        with torch.no_grad():
            columns = {name: torch.tensor([[value[name]] for value in some], dtype=neuron.dtype) for name in some[0]}
            parameters = neuron.parameters(shape, columns, check=False)
            state, traces, spikes = neuron.start(parameters), {name: [] for name in setup.recorded}, []
            for given in zip(*steps_of, strict=True) if steps_of else [()] * setup.steps:
                for name, trace in traces.items():
                    trace.append(state[name].expand(shape))
                state, fired = neuron.step(state, parameters, dict(zip(inputs, given, strict=True)))
                spikes.append(fired)
        recorded = {name: torch.stack(trace).numpy() for name, trace in traces.items()}
        fired = torch.stack(spikes).numpy() if model.threshold else np.zeros((setup.steps, *shape))
        for row in range(len(some)):
            step, which = np.nonzero(fired[:, row])
            found.append(
                then(
                    setup.traces(
                        {name: trace[:, row] for name, trace in recorded.items()},
                        {name: state[name].expand(shape)[row].numpy() for name in model.states},
                        step * neuron.dt,
                        which,
                    )
                )
            )
            if progress is not None:
                progress()
    return found
