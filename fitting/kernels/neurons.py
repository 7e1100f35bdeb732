"""Spiking neurons of an equation file through all steps of a batch, as compiled code and as the plain loop.

A step is that of sims/backends/torch.py. The kernel is C++ written from the same graph of operations, and its adjoint
with it (fitting/kernels/neuron_code.py); each SIMD lane holds one neuron of one window. It is compiled for a neuron
file, a step and what is learnt, at the first use. Where it cannot be, the twin takes its place: the loop over steps.
"""

import weakref
from pathlib import Path

import torch
from torch.autograd.function import once_differentiable

from fitting import kernels
from fitting.kernels import neuron_code
from sims.backends import compiled

_LANES = Path(__file__).with_name("lanes.hpp")
_kernels = weakref.WeakKeyDictionary()  # {Neuron: {what is learnt: (Code, library), or None where there is no kernel}}


def run(neuron, parameters, inputs):
    """Spikes of all steps.

    neuron: a Neuron of sims/backends/torch.py that spikes.  parameters: of `neuron.parameters` for the shape (n,).
    inputs: {event: [block, time, window, n]} of all that neuron.inputs names.
    Returns [block, time, window, n], 1 or 0.
    """
    given = [inputs[name] for name in neuron.inputs]
    kernel = _kernel(neuron, parameters) if kernels.usable(given[0]) else None
    if kernel is None:
        return run_twin(neuron, parameters, inputs)
    code, n, state = kernel[0], parameters.shape, neuron.start(parameters)
    rows = [
        torch.stack([torch.as_tensor(x, dtype=neuron.dtype).expand(n) for x in entries]) if entries else None
        for entries in ([parameters.once[k] for k in code.numbers], [state[name] for name in code.states])
    ]
    return _Run.apply(kernel, *rows, *given)


def run_twin(neuron, parameters, inputs):
    """`run` as the plain loop over steps."""
    blocks, time, windows, n = inputs[neuron.inputs[0]].shape
    parameters = parameters._replace(shape=(blocks, windows, n))
    given, state, found = {name: inputs[name].unbind(1) for name in neuron.inputs}, neuron.start(parameters), []
    for t in range(time):
        state, spikes = neuron.step(state, parameters, {name: steps[t] for name, steps in given.items()})
        found.append(spikes)
    return torch.stack(found, dim=1)


def _kernel(neuron, parameters):
    """(Code, library) of a Neuron for what may have a gradient; None where there can be none.

    A number of each neuron's own counts as learnt with or without one, so that one program serves fits and scores.
    """
    learnt = frozenset(
        k
        for k, entry in enumerate(parameters.once)
        if isinstance(entry, torch.Tensor) and (entry.requires_grad or entry.numel() > 1)
    )
    known = _kernels.setdefault(neuron, {})
    if learnt not in known:
        try:
            code = neuron_code.write(neuron, learnt)
            source = f"{_LANES.read_text()}\n{neuron_code.source(code)}"
            known[learnt] = code, compiled.library(neuron.model.path.stem, source, neuron.model.path)
        except neuron_code.CodeError:
            known[learnt] = None
    return known[learnt]


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kernel, numbers, starts, *inputs):
        code, library = kernel
        blocks, time, windows, n = inputs[0].shape
        inputs = [x.contiguous() for x in inputs]
        across = [x.repeat(1, windows) for x in (numbers, starts)]  # [entry, window × neuron]
        ctx.kernel, ctx.sizes, ctx.windows = kernel, (blocks, time, windows * n), windows
        spikes, kept = torch.empty_like(inputs[0]), None
        if any(ctx.needs_input_grad):
            chunks = -(-time // neuron_code.CHUNK)
            kept = spikes.new_empty(blocks, chunks, len(code.states), windows * n)
        kernels.call_in(library, "run_neurons", spikes.dtype, ctx.sizes, (*across, *inputs, spikes, kept))
        ctx.save_for_backward(*across, *inputs, kept)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        code, library = ctx.kernel
        numbers, starts, *inputs, kept = ctx.saved_tensors
        found = [torch.empty_like(x) for x in inputs]
        learnt, at_start = numbers.new_empty(len(code.learnt), numbers.shape[1]), torch.empty_like(starts)
        arrays = (numbers, starts, *inputs, kept, grad.contiguous(), *found, learnt, at_start)
        kernels.call_in(library, "run_neurons_backward", grad.dtype, ctx.sizes, arrays)
        of_numbers = numbers.new_zeros(len(code.numbers), numbers.shape[1])
        of_numbers[[code.numbers.index(k) for k in code.learnt]] = learnt
        return None, *(x.unflatten(1, (ctx.windows, -1)).sum(1) for x in (of_numbers, at_start)), *found
