"""A spiking network that has learnt, replayed in Brian2 from the same equation files.

The network's own spikes are computed in float64, as Brian2's are. Rounding differs, so a neuron that comes within it of
its threshold may spike a step apart.
"""

import numpy as np
import torch

from fitting import kernels
from fitting.events import Events
from fitting.models.spiking import SpikingNetwork
from fitting.settings import SettingError
from sims.backends import brian_layers


def layers(model):
    """The brian_layers.Layers of a SpikingNetwork of one member."""
    found = []
    with torch.no_grad():
        for layer in (model.first, model.second):
            weights = {event: w[0].double().numpy() for event, w in layer.weights().items()}
            changes = {name: value.double().numpy() for name, value in layer.changes().items()}
            found.append(brian_layers.Layer(layer.model, layer.shape[1], changes, weights))
    return found


def compare(model, inputs, label=None, target="numpy"):
    """Run trials in torch and in Brian2.

    model: a SpikingNetwork of one member.  inputs: Events, or a tensor [batch, time, channel].  label: [batch].
    target: of Brian2, numpy or cython.
    Returns `spikes` (all of the network's own), `equal_spikes` (the share of spikes of either that both have), the same
    of the second layer, `equal_answers` (share of trials), and, where labels are given, `accuracy` and
    `brian2_accuracy`.
    Raises SettingError for a model that has no layers of spiking neurons.
    """
    if not isinstance(model, SpikingNetwork):
        raise SettingError(f"replay: found a {type(model).__name__}, expected a network of spiking neurons")
    model = model.double().eval()
    dense = inputs.dense(torch.float64) if isinstance(inputs, Events) else inputs.double()
    with torch.no_grad():
        ours = [kernels.from_blocks(z, len(dense)) for z in model.spikes(dense)]
        theirs = [
            torch.from_numpy(z).double()
            for z in brian_layers.simulate(layers(model), dense.numpy(), model.settings.dt_ms, target)
        ]
        at = [dense.shape[1] - 1]
        answers = [model.read(z[-1][None].transpose(1, 2), len(dense), at)[0, :, 0].argmax(-1) for z in (ours, theirs)]
    both = [(a * b).sum().item() for a, b in zip(ours, theirs, strict=True)]
    either = [torch.maximum(a, b).sum().item() for a, b in zip(ours, theirs, strict=True)]
    found = {
        "spikes": int(sum(z.sum().item() for z in ours)),
        "equal_spikes": sum(both) / max(1, sum(either)),
        "second_layer_spikes": int(ours[1].sum().item()),
        "equal_second_layer_spikes": both[1] / either[1] if either[1] else 1.0,
        "equal_answers": (answers[0] == answers[1]).double().mean().item(),
    }
    if label is not None:
        correct = [float(np.mean(answer.numpy() == np.asarray(label))) for answer in answers]
        found |= {"accuracy": correct[0], "brian2_accuracy": correct[1]}
    return found
