"""The recurrence of an LSTM, the one part that must go step by step:

    [i f g o] = drive_t + h_{t-1} W + b,    i, f and o through the logistic function σ, g through tanh
    c_t = f c_{t-1} + i g                   cell      [n], c_0 = 0
    h_t = o tanh(c_t)                       output    [n], h_0 = 0

    drive [block, time, window, 4 n]     W [n, 4 n]     b [4 n]     h [block, time, window, n]

The adjoint runs from the last step to the first; the gradient of W is one product over all steps.
"""

import torch
from torch.autograd.function import once_differentiable

from fitting import kernels


def recur(drive, weight, bias):
    """h for all steps; symbols and shapes as above."""
    if not kernels.usable(drive):
        return recur_twin(drive, weight, bias)
    return _Recur.apply(torch.is_grad_enabled(), drive, weight, bias)


def recur_twin(drive, weight, bias):
    """`recur` as tensor operations, step by step."""
    drive = drive + bias
    hidden = cell = drive.new_zeros(drive.shape[0], drive.shape[2], len(weight))
    outputs = []
    for drive_t in drive.unbind(1):
        i, f, g, o = (drive_t + hidden @ weight).chunk(4, dim=-1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


class _Recur(torch.autograd.Function):
    @staticmethod
    def forward(ctx, is_grad_enabled, drive, weight, bias):
        drive, weight = drive.contiguous(), weight.contiguous()
        ctx.sizes = (*drive.shape[:3], len(weight))
        hidden, gates, cell = drive.new_empty(ctx.sizes), None, None
        if is_grad_enabled:
            gates, cell = torch.empty_like(drive), torch.empty_like(hidden)
        arrays = (weight, drive, bias.contiguous(), gates, cell, hidden)
        kernels.call("recur", drive.dtype, ctx.sizes, arrays)
        ctx.save_for_backward(weight, gates, cell, hidden)
        return hidden

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        weight, gates, cell, hidden = ctx.saved_tensors
        grad_drive, grad_bias = torch.empty_like(gates), weight.new_empty(weight.shape[1])
        arrays = (weight, gates, cell, grad.contiguous(), grad_drive, grad_bias)
        kernels.call("recur_backward", grad.dtype, ctx.sizes, arrays)
        return None, grad_drive, kernels.outer(hidden[:, :-1], grad_drive[:, 1:]), grad_bias
