"""Margins: a network of delays learns patterns with each neuron doing, at every step, what the patterns say.

With all spikes imposed as the patterns have them the potential is linear in the weights, and a neuron's potentials
depend on its own weights alone. What they must be is one side of the threshold for each step,

    σ (u_j(t) - θ) ≥ m,    σ = 1 where pattern and neuron have a spike, -1 where not

a convex problem for each neuron: no horizon, no gradient that vanishes, any first weights. The patterns take turns.
After each, with e(t) = σ (1.25 m - σ (u(t) - θ)) where the margin m is not kept and 0 where it is,

    g(t) = e(t) + β g(t + 1)        the leak's adjoint; through a reset to zero nothing passes
    W[i, d - 1, j] += η/c Σ_t s_i(t) g_j(t + d)        c: spikes of a mean context, of D steps

a step down Σ e²/2. Aiming beyond what is to be kept ends the learning after finitely many mistakes, as for a perceptron
(Rosenblatt 1962; Krauth & Mézard 1987, doi 10.1088/0305-4470/20/11/013).
"""

import numpy as np
import torch

from fitting import kernels

_AIM = 1.25
_NEURONS_AT_ONCE = 64  # between two reports of progress


def learn(weight, patterns, neuron, margin, rate, epochs, progress=None):
    """Change weights until every neuron keeps its margin, or for so many epochs.

    weight: [source, delay, target], changed in place.  patterns: Events [pattern, step, neuron]; their steps count from
    D on.  neuron: fitting.kernels.delays.Neuron.  margin: m in units of θ.  rate: η.  epochs: at most so many for a
    neuron.  progress: called with a number of neurons that are done.
    Returns int32 [epoch, neuron], the steps at which a margin was not kept; 0 once a neuron is done.
    """
    n, D, _ = weight.shape
    context = len(patterns.channel) * D / (len(patterns.bounds) * (patterns.bounds.shape[1] - 1))
    lapses, theta = np.zeros((epochs, n), np.int32), neuron.theta
    constants = [neuron.beta, theta, margin * theta, _AIM * margin * theta, rate / max(context, 1)]
    if not kernels.usable(weight):
        return _learn_twin(weight, patterns, neuron.subtract, constants, lapses, progress)
    tiny = torch.finfo(weight.dtype).eps ** 1.5 * theta
    constants = weight.new_tensor([*constants, tiny])
    for first in range(0, n, _NEURONS_AT_ONCE):
        last = min(n, first + _NEURONS_AT_ONCE)
        sizes = (len(patterns.bounds), patterns.bounds.shape[1] - 1, n, D, first, last, D, epochs, neuron.subtract)
        arrays = (constants, patterns.bounds, patterns.channel, weight, lapses)
        kernels.call("learn_margins", weight.dtype, sizes, arrays)
        if progress is not None:
            progress(last - first)
    return lapses


def _learn_twin(weight, patterns, subtract, constants, lapses, progress):
    """`learn` as tensor operations, all neurons together."""
    beta, theta, keep, aim, rate = constants
    D, spikes = weight.shape[1], patterns.dense(weight.dtype, weight.device)
    for epoch in range(len(lapses)):
        for wanted in spikes:
            # [step, delay, source]
            past = torch.nn.functional.pad(wanted, (0, 0, D, 0))[:-1].unfold(0, D, 1).flip(-1).transpose(1, 2)
            arriving = torch.einsum("tdi,idj->tj", past, weight)
            rested, g = torch.zeros_like(arriving[0]), torch.zeros_like(arriving)
            for t, (spike, arrived) in enumerate(zip(wanted, arriving, strict=True)):
                u = beta * rested + arrived
                rested = u - theta * spike if subtract else (1 - spike) * u
                sign = 2 * spike - 1
                kept = sign * (u - theta)
                if t >= D:
                    g[t] = torch.where(kept < keep, sign * (aim - kept), 0.0)
            lapses[epoch] += torch.count_nonzero(g, 0).numpy().astype(np.int32)
            for t in range(len(g) - 2, -1, -1):
                g[t] += beta * (g[t + 1] if subtract else (1 - wanted[t]) * g[t + 1])
            weight += rate * torch.einsum("tdi,tj->idj", past, g)
        if not lapses[epoch].any():
            break
    if progress is not None:
        progress(weight.shape[2])
    return lapses
