"""Layers of neurons in Brian2, each reaching the next by explicit synapses without delay.

What reaches the first layer comes through TimedArrays. A spike is delivered in its own step, after thresholds, as in
sims/backends/torch.py: the first layer's spikes of a step move the second layer's states in the same step.
Trials run side by side, each with neurons of its own.
"""

from dataclasses import dataclass

import numpy as np
from brian2 import SpikeMonitor, Synapses

from sims.arrivals import input_events
from sims.backends import brian
from sims.equations import Model
from sims.mistakes import RequestError


@dataclass(frozen=True, eq=False)
class Layer:
    """model: of kind neuron, which spikes.  neurons: how many.  changes: {parameter: SI number or array [neurons]}.
    weights: {event: float [sources, neurons]}, one for each of the model's input events or some of them."""

    model: Model
    neurons: int
    changes: dict
    weights: dict

    def setup(self, trials, steps, dt_ms):
        """The checked Setup of so many trials side by side."""
        varied = tuple(name for name, value in self.changes.items() if np.ndim(value))
        return brian.Setup(self.model, trials * self.neurons, steps * dt_ms, dt_ms, record=(), varied=varied).check()

    def values(self, setup):
        """{parameter: SI} of all trials' neurons."""
        trials = setup.neurons // self.neurons
        return setup.values({n: np.tile(x, trials) if np.ndim(x) else x for n, x in self.changes.items()})

    def check(self, sources):
        """Raise RequestError where the weights do not fit the model or the layer before."""
        for event, weights in self.weights.items():
            if event not in input_events(self.model):
                raise RequestError(f"{self.model.path}: has no input event '{event}'")
            if weights.shape != (sources, self.neurons) or not np.isfinite(weights).all():
                raise RequestError(
                    f"weights of '{event}': found the shape {weights.shape}, expected finite numbers of the shape "
                    f"{(sources, self.neurons)}"
                )


@dataclass(frozen=True, eq=False)
class _Layered(brian.Setup):
    """The Setup of the first layer, which adds the others to its network."""

    first: Layer | None = None
    others: tuple = ()

    def extend(self, built, arrays):
        """Add the other layers, and the synapses between neighbours."""
        before, count, built.monitors = built.group, self.first.neurons, [built.spike_monitor]
        trials = self.neurons // count
        for number, layer in enumerate(self.others, start=2):
            setup, name = layer.setup(trials, self.steps, self.dt_ms), f"{brian.GROUP}_{number}"
            group = brian.neuron_group(setup, setup.text(), layer.values(setup), name, {})
            for order, (event, weights) in enumerate(layer.weights.items()):
                synapses = Synapses(
                    before,
                    group,
                    "w : 1",
                    on_pre=brian.on_pre(layer.model, event),
                    namespace={},
                    clock=group.clock,
                    name=f"{name}_{event}",
                )
                i, j = np.nonzero(weights)
                trial = np.arange(trials)[:, None]
                synapses.connect(i=(trial * count + i).ravel(), j=(trial * layer.neurons + j).ravel())
                synapses.w = np.tile(weights[i, j], trials)
                synapses.pre.order = order
                built.network.add(synapses)
            built.monitors.append(SpikeMonitor(group, name=f"spikes_{number}"))
            built.network.add(group, built.monitors[-1])
            before, count = group, layer.neurons


def simulate(layers, counts, dt_ms, target="numpy"):
    """The spikes of every layer.

    layers: list of Layers.  counts: [trial, step, channel], how many spikes arrive in each step.  target: what Brian2
    runs, numpy or cython.
    Returns a list of bool [trial, step, neuron].  Raises RequestError or EquationError.
    """
    trials, steps, sources = counts.shape
    for layer in layers:
        layer.check(sources)
        sources = layer.neurons
    first = layers[0]
    plain = first.setup(trials, steps, dt_ms)
    setup = _Layered(
        plain.model, plain.neurons, plain.duration_ms, dt_ms, (), plain.varied, first=first, others=tuple(layers[1:])
    )
    arrays = {name: np.zeros(shape) for name, shape in setup.shapes.items()}
    for event, weights in first.weights.items():
        arrays[brian.weights_name(event)] = (counts @ weights).transpose(1, 0, 2).reshape(steps, -1)
    with brian.in_process(target):
        monitors = brian.Built(setup, setup.text(), first.values(plain), arrays).monitors
    found = []
    for layer, monitor in zip(layers, monitors, strict=True):
        raster = np.zeros((steps, trials * layer.neurons), bool)
        raster[np.round(np.array(monitor.t_) / (dt_ms * 1e-3)).astype(int), np.array(monitor.i)] = True
        found.append(raster.reshape(steps, trials, layer.neurons).transpose(1, 0, 2))
    return found
