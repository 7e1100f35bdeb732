"""The LSTM from events against torch's own on the dense input: one training step on NeuronIO.

8 windows, float32; fitting/benchmarks/training_step.py says what a step is. The rival is torch.nn.LSTM with a linear
readout; making its input is not counted.
"""

import torch
import typer

from fitting.benchmarks import cpu_ms, peak_gflops
from fitting.benchmarks.training_step import CHANNELS, TASK, flops, recordings, step
from fitting.models.lstm import LSTM
from sims.streams import stream

BATCH = 8


class _Torch(torch.nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.lstm, self.readout = torch.nn.LSTM(CHANNELS, hidden), torch.nn.Linear(hidden, 2)

    def forward(self, x):
        """x: [time, batch, channels], the order that torch's LSTM need not change.  Returns [batch, time, 2]."""
        return self.readout(self.lstm(x)[0]).transpose(0, 1)


def measure(seed):
    """Prints a table.

    Returns, for lstm_15, lstm_50 and lstm_100 (hidden units), torch's time over ours, and further the milliseconds
    behind them and our share of the core's speed in matrix products.
    """
    peak, figures = peak_gflops(), {}
    inputs, targets = TASK.batch(recordings(seed), stream(seed, "benchmark batches"), BATCH)
    dense = inputs.dense().transpose(0, 1).contiguous()
    typer.echo(f"{'hidden':>6}{'step, ms':>10}{'torch, ms':>11}{'ratio':>8}{'of peak':>11}")
    for hidden in (15, 50, 100):
        ours, rival, share = _compare(hidden, inputs, dense, targets, seed, peak)
        typer.echo(f"{hidden:>6}{ours:>10.2f}{rival:>11.1f}{rival / ours:>8.1f}{100 * share:>9.0f} %")
        key = f"lstm_{hidden}"
        figures |= {key: rival / ours, f"{key}_ms": ours, f"{key}_torch_ms": rival, f"{key}_share_of_peak": share}
    return figures | {"peak_gflops": peak}


def _compare(hidden, inputs, dense, targets, seed, peak):
    """(our step, torch's) in CPU ms, and the share of the peak that ours has."""
    torch.manual_seed(seed)
    model, rival = LSTM(LSTM.Settings(hidden), CHANNELS, 2), _Torch(hidden)
    ours, torchs = cpu_ms(
        lambda: step(model, model, inputs, targets),
        lambda: step(rival, rival, dense, targets),
        rounds=8,
        repeats=(20, 2),
    )
    weights = model.recurrent_weight.numel() + model.readout.weight.numel()
    return ours, torchs, flops(inputs, 4 * hidden, weights) / (ours * 1e6) / peak
