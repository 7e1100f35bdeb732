"""A spike with a surrogate derivative: the one step function of all that learns through spikes in torch.

    z = 1 where fired, else 0;    dz/dx := peak/(slope |x| + 1)²

x is the distance to threshold: the derivative of the fast sigmoid, SuperSpike (Zenke & Ganguli 2018, Neural Comput
30:1514), whose peak is 1; with slope 1/width and peak 1/(2 width) its integral is 1.
"""

import torch
from torch.autograd.function import once_differentiable


def spike(distance, fired, slope, peak=1.0):
    """Spikes in the type of `distance`.

    distance: x.  fired: bool, of the same shape.  slope: a number or a tensor that broadcasts to the shape, without a
    derivative.  peak: a number.
    """
    return _Spike.apply(distance, fired, slope, peak)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, distance, fired, slope, peak):
        ctx.slope, ctx.peak = slope, peak
        ctx.save_for_backward(distance)
        return fired.to(distance.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        (distance,) = ctx.saved_tensors
        return ctx.peak * grad / (ctx.slope * distance.abs() + 1) ** 2, None, None, None
