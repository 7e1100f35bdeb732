"""One training step on recordings like NeuronIO's: what the benchmarks of models share.

A step is forward, loss and backward of windows of 500 ms on 1278 channels, each with an event in 1.2 % of milliseconds.
"""

import numpy as np

from fitting.tasks.neuronio import NeuronIO, Recordings
from sims.streams import stream

CHANNELS, SIMULATIONS, SIMULATION_MS, EVENT_PROBABILITY = 1278, 16, 6000, 0.012
TASK = NeuronIO(NeuronIO.Settings())


def step(model, respond, inputs, targets):
    """respond(inputs) -> outputs, by way of the model's parameters."""
    model.zero_grad(set_to_none=True)
    TASK.loss(respond(inputs), targets).backward()


def flops(inputs, columns, weights):
    """Operations that a step from events needs: an addition of a row of `columns` numbers for every event and another
    for its gradient, and a multiplication and an addition for every weight and millisecond, once forward and twice
    backward.

    weights: how many there are beside those that events meet.
    """
    batch, time, _ = inputs.shape
    return 2 * len(inputs.channel) * columns + 6 * batch * time * weights


def recordings(seed):
    """Simulations of independent events and of noise for a voltage."""
    draw, ms = stream(seed, "benchmark recordings"), SIMULATIONS * SIMULATION_MS
    counts = draw.binomial(CHANNELS, EVENT_PROBABILITY, size=(SIMULATIONS, SIMULATION_MS))
    events = counts.sum(axis=1)
    duration = np.full(SIMULATIONS, SIMULATION_MS)
    spike = (draw.random(ms) < 0.001).astype(np.uint8)
    return Recordings(
        voltage=draw.normal(-65, 3, ms).astype(np.float32),
        spike=spike,
        spike_counts=spike.reshape(SIMULATIONS, -1).sum(axis=1),
        channel=draw.integers(CHANNELS, size=events.sum(), dtype=np.uint16),
        arrived=np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0))).ravel().astype(np.int32),
        first_ms=np.cumsum(duration) - duration,
        first_event=np.cumsum(events) - events,
        duration=duration,
        sign=np.where(np.arange(CHANNELS) < CHANNELS // 2, 1, -1).astype(np.float32),
        region=np.full(CHANNELS, "basal"),
        path_distance=np.zeros(CHANNELS, np.float32),
    )
