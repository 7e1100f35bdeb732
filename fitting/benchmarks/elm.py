"""The ELM neurons from events against their equations in eager torch: one training step on NeuronIO.

d_m = 20, float32; fitting/benchmarks/training_step.py says what a step is. The twin is `ELM.equations`, step by step
and synapse by synapse, on the dense input, whose making is not counted.
"""

import torch
import typer

from fitting import models
from fitting.benchmarks import cpu_ms, peak_gflops
from fitting.benchmarks.training_step import CHANNELS, TASK, flops, recordings, step
from sims.streams import stream


def measure(seed):
    """Prints a table.

    Returns, for branch_elm_batch8, elm_batch8 and branch_elm_batch64, the twin's time over ours, and further the
    milliseconds behind them, those of drawing a batch, and our share of the core's speed in matrix products.
    """
    data, peak, figures = recordings(seed), peak_gflops(), {}
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
    return figures | {"peak_gflops": peak}


def _compare(name, batch, data, seed, rounds):
    """(our step, the twin's, drawing a batch) in CPU ms, and the GFLOP that a step needs."""
    draw = stream(seed, "benchmark batches")
    torch.manual_seed(seed)
    model = models.find(name)(models.find(name).Settings(), CHANNELS, 2)
    inputs, targets = TASK.batch(data, draw, batch)
    dense = inputs.dense()
    times = cpu_ms(
        lambda: step(model, model, inputs, targets),
        lambda: step(model, model.equations, dense, targets),
        lambda: TASK.batch(data, draw, batch),
        rounds=rounds,
        repeats=(1600 // batch, 1, 1600 // batch),
    )
    recurrent = model.mlp_in.weight[:, -model.settings.d_m :].numel()
    weights = recurrent + model.mlp_out.weight.numel() + model.readout.weight.numel()
    return *times, flops(inputs, model.mlp_in.out_features, weights) / 1e9
