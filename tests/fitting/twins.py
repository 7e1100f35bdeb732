"""How a model is compared with its twin: outputs, and gradients for a random gradient of the outputs."""

import torch


def outputs_and_gradients(model, inputs, respond=None):
    """What `respond` (the model itself, if not given) makes of the inputs, and every parameter's gradient."""
    model.zero_grad()
    outputs = (respond or model)(inputs)
    outputs.backward(weighing(outputs))
    return [outputs.detach(), *(parameter.grad for parameter in model.parameters())]


def weighing(outputs):
    """A random gradient, the same for all outputs of a shape."""
    return torch.randn(outputs.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64).to(outputs)


def assert_same(ours, reference, tolerance=1e-12):
    for mine, other in zip(ours, reference, strict=True):
        assert (mine - other).abs().max() <= tolerance * other.abs().max()
