"""One neuron in Python's own numbers: the step that sims/backends/torch.py writes, with floats in the place of tensors.

For a single neuron nearly all of a step's time goes to calling torch; the same graph on floats takes a twentieth. What
floats refuse and tensors do not, such as a division by zero, torch computes instead.
"""

import math
import operator

import numpy as np
import torch

from sims.backends.torch import Neuron
from sims.backends.torch_code import clip, exprel

PLAIN = {
    torch.exp: math.exp, torch.log: math.log, torch.log10: math.log10, torch.expm1: math.expm1,
    torch.log1p: math.log1p, torch.sqrt: math.sqrt, torch.sin: math.sin, torch.cos: math.cos, torch.tan: math.tan,
    torch.asin: math.asin, torch.acos: math.acos, torch.atan: math.atan, torch.sinh: math.sinh, torch.cosh: math.cosh,
    torch.tanh: math.tanh, torch.abs: abs, torch.pow: math.pow, torch.remainder: operator.mod,
    torch.sign: lambda x: float((x > 0) - (x < 0)),
    torch.ceil: lambda x: float(math.ceil(x)),
    torch.floor: lambda x: float(math.floor(x)),
    torch.trunc: lambda x: float(math.trunc(x)),
    torch.reciprocal: lambda x: 1.0 / x,
    torch.lerp: lambda start, end, weight: start + weight * (end - start),
    torch.where: lambda condition, yes, no: yes if condition else no,
    torch.logical_and: lambda a, b: a and b,
    torch.logical_or: lambda a, b: a or b,
    torch.logical_not: operator.not_,
    clip: lambda x, low, high: min(max(x, low), high),
    exprel: lambda x: math.expm1(x) / x if x else 1.0,
}  # fmt: skip
BY_NAME = {"to": lambda value, dtype: float(value)}


class Single:
    """A single neuron of a Model; model, dt_ms, inputs and errors as of sims.backends.torch.Neuron."""

    def __init__(self, model, dt_ms=0.1, inputs=None):
        self.tensors = Neuron(model, dt_ms, inputs, None)
        self._step = _plain(self.tensors.step_graph)

    def run(self, values, inputs, count):
        """Many steps.

        values: {parameter: SI number} of what differs from the file.  inputs: {name: float [count]} of all inputs, as
        for sims.backends.torch.Neuron.step.
        Returns ({state: float64 [count]} at the start of each step, spikes bool [count] or None).
        """
        with torch.no_grad():
            parameters = self.tensors.parameters((), values)
            start = self.tensors.start(parameters)
        try:
            return self._in_floats(parameters, start, inputs, count)
        except (ArithmeticError, ValueError):
            with torch.no_grad():
                traces, spikes, _ = self.tensors.run(parameters, inputs, count)
            return {
                name: trace.numpy() for name, trace in traces.items()
            }, None if spikes is None else spikes.numpy() > 0

    def _in_floats(self, parameters, start, inputs, count):
        once = tuple(value.item() if isinstance(value, torch.Tensor) else value for value in parameters.once)
        state = {name: value.item() for name, value in start.items()}
        rows = zip(*(np.asarray(values, float).tolist() for values in inputs.values()), strict=True)
        given = [dict(zip(inputs, row, strict=True)) for row in rows] if inputs else [{}] * count
        step, states, spikes = self._step, [], []
        for arrived in given:
            states.append(state)
            state, fired = step(state, once, arrived)
            spikes.append(fired)
        traces = {name: np.array([state[name] for state in states]) for name in self.tensors.model.states}
        return traces, None if self.tensors.model.threshold is None else np.array(spikes) > 0


def _plain(graph):
    """The function of floats that a graph of operations on tensors stands for."""
    found, copies = torch.fx.Graph(), {}
    for node in graph.nodes:
        copies[node] = copy = found.node_copy(node, copies.__getitem__)
        if node.op == "call_function":
            copy.target = PLAIN.get(node.target, node.target)
        elif node.op == "call_method":
            copy.op, copy.target = "call_function", BY_NAME[node.target]
    return torch.fx.GraphModule(torch.nn.Module(), found).forward
