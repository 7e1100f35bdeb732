"""The ELM neurons from events against their equations in eager torch: one training step on NeuronIO.

A step is forward, loss and backward of windows of 500 ms on 1278 channels, each with an event in 1.2 % of milliseconds;
d_m = 20, float32. The twin is `ELM.equations`, step by step and synapse by synapse, on the dense input, whose making is
not counted.
"""

import numpy as np
import torch
import typer

from fitting import models
from fitting.benchmarks import cpu_ms
from fitting.tasks.neuronio import NeuronIO, Recordings
from sims.streams import stream

CHANNELS, SIMULATIONS, SIMULATION_MS, EVENT_PROBABILITY = 1278, 16, 6000, 0.012


def measure(seed):
    """Prints a table.

    Returns, for branch_elm_batch8, elm_batch8 and branch_elm_batch64, the twin's time over ours, and further the
    milliseconds behind them, those of drawing a batch, and our share of the core's speed in matrix products.
    """
    data, peak, figures = _recordings(seed), _peak_gflops(), {}
    typer.echo(
        f"{'model':<12}{'batch':>6}{'step, ms':>10}{'twin, ms':>12}{'ratio':>9}{'loader, ms':>12}{'of peak':>11}"
    )
    for name, batch, rounds in (("branch_elm", 8, 5), ("elm", 8, 5), ("branch_elm", 64, 2)):
        ours, twin, loader, gflop = _compare(name, batch, data, seed, rounds)
        share = gflop / (ours * 1e-3) / peak
        typer.echo(
            f"{name:<12}{batch:>6}{ours:>10.2f}{twin:>12.1f}{twin / ours:>9.1f}{loader:>12.3f}{100 * share:>9.0f} %"
        )
        key = f"{name}_batch{batch}"
        figures |= {key: twin / ours, f"{key}_ms": ours, f"{key}_twin_ms": twin}
        figures |= {f"{key}_loader_ms": loader, f"{key}_share_of_peak": share}
    typer.echo(f"peak: {peak:.0f} GFLOP/s in float32 products of 1024 x 1024 matrices on one core")
    return figures | {"peak_gflops": peak}


def _compare(name, batch, data, seed, rounds):
    """(our step, the twin's, drawing a batch) in CPU ms, and the GFLOP that a step needs."""
    task, draw = NeuronIO(NeuronIO.Settings()), stream(seed, "benchmark batches")
    torch.manual_seed(seed)
    model = models.find(name)(models.find(name).Settings(), CHANNELS, 2)
    inputs, targets = task.batch(data, draw, batch)
    dense = inputs.dense()

    def step(respond, inputs):
        model.zero_grad(set_to_none=True)
        task.loss(respond(inputs), targets).backward()

    times = cpu_ms(
        lambda: step(model, inputs),
        lambda: step(model.equations, dense),
        lambda: task.batch(data, draw, batch),
        rounds=rounds,
        repeats=(1600 // batch, 1, 1600 // batch),
    )
    return *times, _flops(model, inputs) / 1e9


def _flops(model, inputs):
    """Operations that a step needs: an addition of a row of the first layer for every event and another for its
    gradient, and a multiplication and an addition for every weight and millisecond, once forward and twice backward."""
    batch, time, channels = inputs.shape
    recurrent = model.mlp_in.weight[:, -model.settings.d_m :].numel()
    weights = recurrent + model.mlp_out.weight.numel() + model.readout.weight.numel()
    return 2 * len(inputs.channel) * model.mlp_in.out_features + 6 * batch * time * weights


def _peak_gflops():
    matrix = torch.randn(1024, 1024)
    (least,) = cpu_ms(lambda: matrix @ matrix, rounds=5, repeats=4)
    return 2 * 1024**3 / least / 1e6


def _recordings(seed):
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
    )
