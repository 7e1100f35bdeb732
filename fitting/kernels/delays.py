"""A network of delays, run freely from spikes that are imposed on it, and its adjoint.

    u_j(t) = β r_j(t-1) + Σ_i Σ_d W[i, d - 1, j] s_i(t - d),    d = 1 … D,    u(0) = 0
    r_j(t) = u_j(t) - θ s_j(t)  or  (1 - s_j(t)) u_j(t)          a spike subtracts the threshold, or resets to zero
    s_j(t) = 1[u_j(t) ≥ θ], or what is imposed; 0 once a trial has emitted more than so many spikes

    W [source, delay, target]     u, s [step, trial, neuron]

A step is that of sims/delays.py. The derivative of a free spike is replaced by 1/(α|u - θ| + 1)². The adjoint runs
from the last step to the first,

    g_s(t) = dL/ds(t) + Σ_d W_d g_u(t + d) + ∂r/∂s(t) β g_u(t + 1)        W_d [source, target], those of one delay
    g_u(t) = ∂r/∂u(t) β g_u(t + 1) + g_s(t)/(α|u(t) - θ| + 1)²            the last term for free neurons
    g_W[i, d - 1, j] = Σ_t s_i(t) g_u_j(t + d)

and unlike spikes g_u has no zeros, so that W_d g_u is what costs. Steps are taken some at a time: what comes from
steps after these is a product of large matrices for each delay, and only what comes from within them goes step by step.
"""

from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable

from fitting import kernels
from sims.backends.torch_spike import spike

_STEPS_AT_ONCE = 8


@dataclass(frozen=True)
class Neuron:
    """beta: what a step leaves of u.  theta: threshold.  subtract: whether a spike subtracts it, or resets to zero.
    alpha: of the surrogate.  most_spikes: a trial that has emitted more is silent from then on."""

    beta: float
    theta: float
    subtract: bool
    alpha: float
    most_spikes: int


def run(weight, imposed, neuron):
    """s for all steps; symbols and shapes as above.

    imposed: int8 [step, trial, neuron], 1 a spike, 0 none, -1 as u says.
    Returns [step, trial, neuron] in the type of the weights.
    """
    imposed = imposed.to(torch.int8).contiguous()
    if not kernels.usable(weight):
        return run_twin(weight, imposed, neuron)
    return _Run.apply(weight, imposed, neuron)


def run_twin(weight, imposed, neuron):
    """`run` as tensor operations, step by step: every step a product with all weights."""
    D, by_delay = weight.shape[1], weight.transpose(0, 1)
    u = s = weight.new_zeros(imposed.shape[1:])
    rested, emitted, spikes = u, u.sum(-1), []
    for given in imposed.unbind():
        u = neuron.beta * rested
        if spikes:
            past = torch.stack(spikes[: -D - 1 : -1])
            u = u + torch.einsum("dmi,dij->mj", past, by_delay[: len(past)])
        s = torch.where(given < 0, spike(u - neuron.theta, u >= neuron.theta, neuron.alpha), given.to(u))
        s = s * (emitted <= neuron.most_spikes)[:, None]
        rested = u - neuron.theta * s if neuron.subtract else (1 - s) * u
        emitted = emitted + s.detach().sum(-1)
        spikes.append(s)
    return torch.stack(spikes)


class _Run(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, imposed, neuron):
        weight, ctx.neuron = weight.contiguous(), neuron
        u, spikes, silenced = _call_run(weight, imposed, neuron)
        ctx.save_for_backward(weight, imposed, u, spikes, silenced)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, imposed, u, spikes, silenced = ctx.saved_tensors
        of_u = _adjoint(weight, imposed, u, spikes, silenced, grad, ctx.neuron)
        return gather(spikes, of_u, weight.shape[1]), None, None


def _call_run(weight, imposed, neuron):
    """(u, s, int64 [trial] the step from which a trial is silent)"""
    u = weight.new_empty(imposed.shape)
    spikes, silenced = torch.empty_like(u), torch.empty(imposed.shape[1], dtype=torch.int64)
    sizes = (*imposed.shape, weight.shape[1], neuron.subtract, neuron.most_spikes)
    constants = weight.new_tensor([neuron.beta, neuron.theta])
    kernels.call("run_delays", weight.dtype, sizes, (constants, weight, imposed, u, spikes, silenced))
    return u, spikes, silenced


def _adjoint(weight, imposed, u, spikes, silenced, grad, neuron):
    """g_u, [step, trial, neuron]; symbols as in the module."""
    steps, trials, _ = imposed.shape
    D, of_u = weight.shape[1], torch.zeros_like(u)
    back = weight.permute(1, 2, 0)  # [delay, target, source]
    free = (imposed < 0) & (torch.arange(steps)[:, None, None] < silenced[:, None])
    some_free, after = free.any(-1).any(-1).tolist(), torch.zeros_like(u[0])
    for stop in range(steps, 0, -_STEPS_AT_ONCE):
        start = max(0, stop - _STEPS_AT_ONCE)
        of_s = grad[start:stop].clone()
        if any(some_free[start:stop]):
            for d in range(1, min(D, steps - 1 - start) + 1):
                first = max(start, stop - d)
                later = of_u[first + d : stop + d]
                of_s[first - start :][: len(later)].flatten(0, 1).addmm_(later.flatten(0, 1), back[d - 1])
        for t in range(stop - 1, start - 1, -1):
            now = after * neuron.beta
            if some_free[t]:
                for d in range(1, min(D, stop - 1 - t) + 1):
                    of_s[t - start].addmm_(of_u[t + d], back[d - 1])
                through = of_s[t - start] - (neuron.theta if neuron.subtract else u[t]) * now
                slope = (neuron.alpha * (u[t] - neuron.theta).abs() + 1) ** -2
                through *= torch.where(free[t], slope, 0.0)
            else:
                through = 0
            of_u[t] = after = (now if neuron.subtract else (1 - spikes[t]) * now) + through
    return of_u


def gather(spikes, grad, delays):
    """g_W: for each weight, its source's spikes times the gradient of what they reach.

    spikes, grad: [step, trial, neuron].  delays: D.  Returns [source, delay, target].
    """
    steps, trials, n = spikes.shape
    if not kernels.usable(grad):
        found = grad.new_zeros(n, delays, n)
        for d in range(1, min(delays, steps - 1) + 1):
            found[:, d - 1] = spikes[:-d].flatten(0, 1).T @ grad[d:].flatten(0, 1)
        return found
    found = grad.new_empty(n, delays, n)
    kernels.call("gather_delays", grad.dtype, (steps, trials, n, delays), (spikes.contiguous(), grad, found))
    return found


def arriving(weight, spikes):
    """Σ_i Σ_d W[i, d - 1, j] s_i(t - d), what spikes that are all imposed bring: the transpose of `gather`.

    spikes: [step, trial, neuron], 0 or 1.  Returns the same shape.
    """
    if kernels.usable(weight):
        still = Neuron(beta=0.0, theta=1.0, subtract=True, alpha=1.0, most_spikes=spikes.numel())
        return _call_run(weight.contiguous(), spikes.to(torch.int8).contiguous(), still)[0]
    found = torch.zeros_like(spikes)
    for d in range(1, min(weight.shape[1], len(spikes) - 1) + 1):
        found[d:] += spikes[:-d] @ weight[:, d - 1]
    return found
