"""A spiking neuron, step by step:

    s_t = κ_s s_{t-1} + (1 - κ_s) u_t                       synaptic current
    v_t = κ_m v_{t-1} + (1 - κ_m)(s_t + b) - r z_{t-1}      voltage; a spike is subtracted in the step after it
    a_t = κ_a a_{t-1} + z_{t-1}                             adaptation
    θ_t = 1 + β a_t                                         threshold
    z_t = 1 where v_t >= θ_t, else 0                        spike                    s_0 = v_0 = a_0 = z_0 = 0

    u, v, θ [block, time, window]     κ_s, κ_m, κ_a in [0, 1)     b, r, β numbers

The derivative of z is replaced by that of the fast sigmoid, a surrogate of integral 1 and peak 1/(2 width):
dz/d(v - θ) = 1 / (2 width (1 + |v - θ|/width)²), after Zenke & Ganguli 2018 (whose peak is 1).
"""

import torch
from torch.autograd.function import once_differentiable

from fitting import kernels
from sims.backends.torch_spike import spike


def integrate_and_fire(u, constants, width, reset_gradient):
    """(v, θ) for all steps; symbols and shapes as above.

    constants: κ_s, κ_m, b, r, κ_a, β as one tensor [6].  width: of the surrogate, in units of v.
    reset_gradient: whether gradients flow from v_t to the spike that was subtracted from it.
    """
    if not kernels.usable(u):
        return integrate_and_fire_twin(u, constants, width, reset_gradient)
    return _IntegrateAndFire.apply(width, reset_gradient, torch.is_grad_enabled(), u, constants)


def integrate_and_fire_twin(u, constants, width, reset_gradient):
    """`integrate_and_fire` as tensor operations, step by step."""
    kappa_s, kappa_m, bias, reset, kappa_a, beta = constants.unbind()
    s = v = a = z = torch.zeros_like(u[:, 0])
    voltages, thresholds = [], []
    for u_t in u.unbind(1):
        s = kappa_s * s + (1 - kappa_s) * u_t
        v = kappa_m * v + (1 - kappa_m) * (s + bias) - reset * (z if reset_gradient else z.detach())
        a = kappa_a * a + z
        theta = 1 + beta * a
        z = spike(v - theta, v >= theta, 1 / width, 1 / (2 * width))
        voltages.append(v)
        thresholds.append(theta)
    return torch.stack(voltages, dim=1), torch.stack(thresholds, dim=1)


class _IntegrateAndFire(torch.autograd.Function):
    @staticmethod
    def forward(ctx, width, reset_gradient, is_grad_enabled, u, constants):
        u, constants = u.contiguous(), constants.contiguous()
        ctx.sizes, ctx.width = (*u.shape, reset_gradient), width
        v, theta = torch.empty_like(u), torch.empty_like(u)
        trace = [torch.empty_like(u), torch.empty_like(u)] if is_grad_enabled else [None, None]
        arrays = (constants, u, v, theta, *trace)
        kernels.call("integrate_and_fire", u.dtype, ctx.sizes, arrays)
        ctx.save_for_backward(*arrays)
        return v, theta

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_v, grad_theta):
        arrays = ctx.saved_tensors
        constants, u = arrays[:2]
        grads = torch.empty_like(u), torch.empty_like(constants)
        received = (u.new_tensor([1 / ctx.width]), grad_v.contiguous(), grad_theta.contiguous())
        kernels.call("integrate_and_fire_backward", u.dtype, ctx.sizes, (*arrays, *received, *grads))
        return None, None, None, *grads
