"""The memory of an ELM neuron, the one part that must go step by step, and what is read from it:

    h_0 = drive_t + W_0 κ m_{t-1} + c_0
    h_l = W_l φ(h_{l-1}) + c_l                     for every further layer of the MLP, l = 1..depth
    m_t = κ m_{t-1} + g tanh(2/3 h_depth),         m_0 = 0, or what an earlier stretch of time left
    y_t = W_y m_t + b_y

    drive [block, time, window, d_mlp or, at depth 0, d_m]     y [batch, time, d_out]     κ, g [d_m]
    W_l [out, in], c_l [out]: from d_m through depth layers of d_mlp to d_m       φ ReLU or SiLU

The adjoint runs from the last step to the first; the gradient of each W is one product over all steps.
"""

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

from fitting import kernels

ACTIVATIONS = {"relu": torch.relu, "silu": functional.silu}


def remember(drive, layers, kappa, gain, activation, batch, start=None):
    """y for all steps; symbols and shapes as above. batch: windows, without those that fill up the last block.

    layers: [(W_0, c_0), …, (W_depth, c_depth), (W_y, b_y)].  activation: "relu" or "silu".
    start: m_0 [block, window, d_m], and the memory after the last step is returned too: (y, [block, window, d_m]).
    """
    if not kernels.usable(drive):
        return remember_twin(drive, layers, kappa, gain, activation, batch, start)
    parameters = [tensor for layer in layers for tensor in layer]
    y, last = _Remember.apply(
        batch, activation == "silu", torch.is_grad_enabled(), drive, start, kappa, gain, *parameters
    )
    return y if start is None else (y, last)


def remember_twin(drive, layers, kappa, gain, activation, batch, start=None):
    """`remember` as tensor operations, step by step."""
    phi = ACTIVATIONS[activation]
    (first, first_bias), *others, readout = layers
    drive = drive + first_bias
    memory = drive.new_zeros(drive.shape[0], drive.shape[2], len(kappa)) if start is None else start
    memories = []
    for drive_t in drive.unbind(1):
        kept = kappa * memory
        h = drive_t + kept @ first.T
        for weight, bias in others:
            h = bias + phi(h) @ weight.T
        memory = torch.addcmul(kept, gain, torch.tanh(2 / 3 * h))
        memories.append(memory)
    y = functional.linear(kernels.from_blocks(torch.stack(memories, dim=1), batch), *readout)
    return y if start is None else (y, memory)


class _Remember(torch.autograd.Function):
    @staticmethod
    def forward(ctx, batch, silu, is_grad_enabled, drive, start, kappa, gain, *parameters):
        steps, depth = drive.shape[:3], len(parameters) // 2 - 2
        d_m, d_mlp, d_out = len(kappa), drive.shape[3], len(parameters[-1])
        ctx.sizes = (batch, *steps, d_m, d_mlp, depth, d_out, silu)
        network = [tensor.contiguous() for tensor in (kappa, gain, *parameters)]
        output = drive.new_empty(batch, steps[1], d_out)
        trace, last = [None] * 4, None
        if start is not None:
            start, last = start.contiguous(), drive.new_empty(start.shape)
        if is_grad_enabled:
            hidden, update = drive.new_empty(depth, *steps, d_mlp), drive.new_empty(*steps, d_m)
            trace = [hidden, torch.empty_like(hidden) if silu else None, update, torch.empty_like(update)]
        kernels.call("remember", drive.dtype, ctx.sizes, (*trace, start, last, drive.contiguous(), output, *network))
        ctx.save_for_backward(*trace, start, *network)
        return output, last

    @staticmethod
    @once_differentiable
    def backward(ctx, grad, grad_last):
        hidden, slope, update, memory, start, kappa, *network = ctx.saved_tensors
        grad_output = grad.new_empty(*update.shape[:3], grad.shape[2])
        grad_hidden, grad_update = torch.empty_like(hidden), torch.empty_like(update)
        grad_kappa, grad_gain = torch.zeros_like(kappa), torch.zeros_like(kappa)
        sizes = [len(bias) for bias in network[2::2]]
        grad_biases = kappa.new_zeros(sum(sizes))
        grad_start = None
        if start is not None:
            grad_start, grad_last = torch.empty_like(start), grad_last.contiguous()
        received = (grad_output, grad_hidden, grad_update, grad_kappa, grad_gain, grad_biases, grad_start)
        left = (hidden, slope, update, memory, start, None)
        arrays = (*left, grad.contiguous(), grad_last, *received, kappa, *network)
        kernels.call("remember_backward", grad.dtype, ctx.sizes, arrays)
        received = [*grad_hidden, grad_update, grad_output]
        grad_first = kernels.outer(memory[:, :-1], received[0][:, 1:])
        if start is not None:
            grad_first += kernels.outer(start[:, None], received[0][:, :1])
        grad_weights = [grad_first.T * kappa]
        grad_weights += [kernels.outer(*pair) for pair in zip(received[1:], [*hidden, memory], strict=True)]
        grads = zip(grad_weights, grad_biases.split(sizes), strict=True)
        received = (received[0], grad_start, grad_kappa, grad_gain)
        return None, None, None, *received, *(grad for layer in grads for grad in layer)
