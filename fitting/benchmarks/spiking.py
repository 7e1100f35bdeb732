"""Spiking networks against the plain loop over steps, and against snnTorch where it is installed: one training step.

A step is forward, loss and backward of 128 trials of 1 s in steps of 10 ms, float32, on 140 channels with a spike in
15 % of bins, as pooled spoken digits have. The plain loop gets its input already multiplied by the first weights for
all steps at once. snnTorch's network has the LIF network's sizes, current-based neurons and learnt decays.
"""

import numpy as np
import torch
import typer
from torch import nn

from fitting import kernels
from fitting.benchmarks import cpu_ms
from fitting.events import Events
from fitting.models.spiking import LIFNetwork, LinearNMDANetwork, NMDANetwork
from sims.streams import stream

BATCH, STEPS, CHANNELS, CLASSES, PROBABILITY = 128, 100, 140, 20, 0.15
NETWORKS = {"lif": LIFNetwork, "nmda": NMDANetwork, "nmda_linear": LinearNMDANetwork}


def measure(seed):
    """Prints a table.

    Returns `over_eager`, the least over networks of the plain loop's time over ours; for each network
    `over_eager_NAME`, `NAME_ms` and `NAME_eager_ms`; and `over_snntorch`, None where it is not installed.
    """
    data, figures = _Trials(seed), {}
    target = torch.from_numpy(stream(seed, "benchmark targets").integers(CLASSES, size=BATCH))
    typer.echo(f"{'network':<14}{'step, ms':>10}{'eager, ms':>11}{'ratio':>8}")
    for name, kind in NETWORKS.items():
        torch.manual_seed(seed)
        model = kind(kind.Settings(), CHANNELS, CLASSES)
        model.start(data)
        ours, eager = cpu_ms(
            lambda model=model: _step(model, data.events, target),
            lambda model=model: _eager_step(model, data.events, target),
            rounds=5,
            repeats=(5, 1),
        )
        typer.echo(f"{name:<14}{ours:>10.1f}{eager:>11.1f}{eager / ours:>8.1f}")
        figures |= {f"over_eager_{name}": eager / ours, f"{name}_ms": ours, f"{name}_eager_ms": eager}
    return {
        "over_eager": min(figures[f"over_eager_{name}"] for name in NETWORKS),
        **figures,
        "over_snntorch": _over_snntorch(data, target, figures["lif_ms"], seed),
    }


class _Trials:
    def __init__(self, seed):
        spikes = stream(seed, "benchmark spikes").random((BATCH, STEPS, CHANNELS)) < PROBABILITY
        bounds = np.pad(spikes.sum(2).ravel().cumsum(), (1, 0))
        rows = np.arange(BATCH)[:, None] * STEPS + np.arange(STEPS + 1)
        channel = np.nonzero(spikes)[2].astype(np.uint16)
        self.events = Events(channel, bounds[rows].astype(np.int32), np.ones(CHANNELS, np.float32))

    def typical(self):
        return self.events


def _step(model, inputs, target):
    model.zero_grad(set_to_none=True)
    nn.functional.cross_entropy(model(inputs)[:, -1], target).backward()


def _eager_step(model, inputs, target):
    with kernels.twins():
        _step(model, inputs, target)


def _over_snntorch(data, target, ours, seed):
    """snnTorch's time over ours, or None."""
    try:
        import snntorch
    except ImportError:
        typer.echo("snnTorch is not installed (pip install snntorch): no comparison")
        return None
    torch.manual_seed(seed)
    rival, dense = _Rival(snntorch), data.events.dense().transpose(0, 1).contiguous()
    (rivals,) = cpu_ms(lambda: _step(rival, dense, target), rounds=3)
    typer.echo(f"{'snnTorch lif':<14}{rivals:>10.1f}{'':>11}{rivals / ours:>8.1f}")
    return rivals / ours


class _Rival(nn.Module):
    """inputs: [time, batch, channels], the order that snnTorch goes through.  Returns [batch, 1, classes]."""

    def __init__(self, snntorch, hidden=64, units=20):
        super().__init__()
        self.first, self.second = nn.Linear(CHANNELS, hidden, bias=False), nn.Linear(hidden, units, bias=False)
        learnt = {"learn_alpha": True, "learn_beta": True, "reset_mechanism": "subtract"}
        self.layers = nn.ModuleList(
            snntorch.Synaptic(alpha=torch.full((n,), 0.14), beta=torch.full((n,), 0.6), **learnt)
            for n in (hidden, units)
        )
        self.readout = nn.Linear(units, CLASSES)

    def forward(self, inputs):
        states, found = [layer.reset_mem() for layer in self.layers], []
        for x in inputs:
            for i, (weight, layer) in enumerate(zip((self.first, self.second), self.layers, strict=True)):
                x, *states[i] = layer(weight(x), *states[i])
            found.append(x)
        return self.readout(torch.stack(found[-10:]).mean(0))[:, None]
