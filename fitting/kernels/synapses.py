"""Synapses: what arrives on the channels, weighted, summed on branches, mixed and low-pass filtered.

    y_t = κ y_{t-1} + M b_t,    b_t[k] = Σ_s w_s x_t[channel(s)] over the synapses s of branch k,    y_0 = 0

    x_t  input [channels]    w_s  weight of a synapse    b_t  [branches]    M  [n, branches]    κ  in (0, 1)

All of it but the filter is one table [channels, n], and an event adds one row of it. The adjoint filters the gradient
backward in time, g_t = κ g_{t+1} + dL/dy_t, and adds g_t to the rows of step t's events.
"""

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from fitting import kernels
from fitting.events import Events

_FILTER_BLOCK = 128


class Wiring:
    """Which channel each synapse listens to, and which branch it sits on.

    channel: int64 [branches, synapses of a branch], -1 for a synapse that nothing reaches.
    """

    def __init__(self, channel, channels):
        self.shape, self.channels = channel.shape, channels
        live = np.flatnonzero(channel.ravel() >= 0)
        self.live = live[np.argsort(channel.ravel()[live], kind="stable")]
        self.channel, self.branch = channel.ravel()[self.live], self.live // channel.shape[1]
        start = np.searchsorted(self.channel, np.arange(channels + 1))
        self.arrays = [array.astype(np.int32) for array in (start, self.live, self.branch)]

    def table(self, weights, mixing):
        """What one on each channel adds to M b, [channels, n], by tensor operations."""
        live, channel, branch = (
            torch.from_numpy(index).to(weights.device) for index in (self.live, self.channel, self.branch)
        )
        rows = weights.flatten()[live, None] * mixing.T[branch]
        return rows.new_zeros(self.channels, len(mixing)).index_add(0, channel, rows)


def project(inputs, weights, mixing, wiring, kappa):
    """y for a batch of windows.

    inputs: Events, or a tensor [batch, time, channels].  weights: w, of the shape of wiring.channel.  mixing: M.
    kappa: number.
    Returns [block, time, window, n].
    """
    if isinstance(inputs, Events) and kernels.usable(weights):
        return _Project.apply(inputs, wiring, kappa, weights, mixing)
    x = inputs.dense(weights.dtype, weights.device) if isinstance(inputs, Events) else inputs
    return low_pass(kernels.to_blocks(x @ wiring.table(weights, mixing)), kappa)


def gather(inputs, table):
    """y_t = x_t table, where the table itself is what is learnt: no synapses and no filter.

    inputs: as for `project`.  table: [channels, n].
    Returns [block, time, window, n].
    """
    if isinstance(inputs, Events) and kernels.usable(table):
        return _Gather.apply(inputs, table)
    x = inputs.dense(table.dtype, table.device) if isinstance(inputs, Events) else inputs
    return kernels.to_blocks(x @ table)


def low_pass(u, kappa):
    """s_t = κ s_{t-1} + u_t, s_0 = 0.  u: [block, time, window, n].  Returns the same shape."""
    return _LowPass.apply(u, kappa) if kernels.usable(u) else low_pass_twin(u, kappa)


def low_pass_twin(u, kappa):
    """`low_pass` as one product with a lower triangular matrix of powers of κ for each stretch of time; stretches pass
    on their last value."""
    time = torch.arange(min(_FILTER_BLOCK, u.shape[1]), device=u.device)
    lag = time[:, None] - time
    response = torch.where(lag >= 0, kappa ** lag.clamp(min=0).to(u), 0.0).to(u)
    filtered, last = [], None
    for stretch in u.flatten(2).split(_FILTER_BLOCK, dim=1):
        here = response[: stretch.shape[1], : stretch.shape[1]] @ stretch
        if last is not None:
            here = here + kappa * response[: stretch.shape[1], :1] * last
        filtered.append(here)
        last = here[:, -1:]
    return torch.cat(filtered, dim=1).view(u.shape)


class _Project(torch.autograd.Function):
    @staticmethod
    def forward(ctx, events, wiring, kappa, weights, mixing):
        batch, time, channels = events.shape
        blocks, windows = kernels.in_blocks(batch)
        weights = weights.contiguous()
        mixing = mixing if mixing.stride(1) == 1 else mixing.contiguous()
        n, branches = mixing.shape
        y = weights.new_empty(blocks, time, windows, n)
        ctx.sizes = (batch, blocks, time, windows, channels, weights.numel(), branches, n, mixing.stride(0))
        ctx.arrays = (events.channel, events.bounds, events.value, *wiring.arrays, weights.new_tensor([kappa]))
        ctx.save_for_backward(weights, mixing)
        kernels.call("project", y.dtype, ctx.sizes, (*ctx.arrays, weights, mixing, y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weights, mixing = ctx.saved_tensors
        grads = torch.empty_like(weights), mixing.new_empty(mixing.shape)
        kernels.call(
            "project_backward", grad.dtype, ctx.sizes, (*ctx.arrays, weights, mixing, grad.contiguous(), *grads)
        )
        return None, None, None, *grads


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, events, table):
        batch, time, _ = events.shape
        blocks, windows = kernels.in_blocks(batch)
        y = table.new_empty(blocks, time, windows, table.shape[1])
        ctx.sizes, ctx.arrays = (batch, *y.shape[:3], *table.shape), (events.channel, events.bounds, events.value)
        kernels.call("gather", y.dtype, ctx.sizes, (*ctx.arrays, table.contiguous(), y))
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        grad_table = grad.new_empty(ctx.sizes[4:])
        kernels.call("gather_backward", grad.dtype, ctx.sizes, (*ctx.arrays, grad.contiguous(), grad_table))
        return None, grad_table


class _LowPass(torch.autograd.Function):
    @staticmethod
    def forward(ctx, u, kappa):
        ctx.kappa = kappa
        return _filter(u, kappa, backward=False)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        return _filter(grad, ctx.kappa, backward=True), None


def _filter(u, kappa, backward):
    u = u.contiguous()
    y = torch.empty_like(u)
    sizes = (u.shape[0], u.shape[1], u.shape[2] * u.shape[3], backward)
    kernels.call("low_pass", u.dtype, sizes, (u.new_tensor([kappa]), u, y))
    return y
