"""A network of delays at the published size (N 512, T 1000, M 16, D 41): the run from events against its plain twin and
against Brian2, an epoch of backpropagation, and margins learnt from random weights.

The twin runs the first steps of one trial. Brian2's rival is the C++ standalone program with all N² D synapses in one
thread, on a trial of 8000 steps whose spikes are imposed at the patterns' rate. Every run of a program makes its
synapses anew, which is left out: it is what a program of the fewest steps takes.
"""

import resource
import time
from pathlib import Path

import numpy as np
import torch
import typer

from fitting import kernels
from fitting.benchmarks import cpu_ms
from fitting.models.delay_network import DelayNetwork
from fitting.tasks.recall import Patterns, Recall
from sims import delays
from sims.backends import brian_delays
from sims.backends.brian_program import Program
from sims.delays import Trial
from sims.stimuli import patterns

FILE = Path(__file__).resolve().parents[2] / "equations" / "delays.yaml"
TASK, TWIN_STEPS, RIVAL_STEPS = Recall(Recall.Settings()), 200, 8000


def measure(seed):
    """Prints a table.

    Returns `forward_over_twin`, `forward_over_brian2` (the rival's CPU time over ours), `forward_cpu_s` of all 16
    trials, `epoch_cpu_s` and `peak_rss_mb` of forward, loss and backward, `margin_cpu_s` and `margin_f1`, and the
    rivals' `twin_ms_per_step` and `brian2_ms_per_step`.
    """
    network = delays.read(FILE)
    data = Patterns(network, patterns.bernoulli(network, seed), seed)
    figures = _margins(data, seed) | _epoch(data, seed)  # in this order, so that memory is measured before Brian2's
    figures |= _rivals(data)
    for name, value in figures.items():
        typer.echo(f"{name:<20}{value:>12.4g}")
    return figures


def _model(data, **settings):
    model = DelayNetwork(DelayNetwork.Settings(**TASK.known(data) | settings), *TASK.sizes(data))
    model.start(data)
    return model


def _margins(data, seed):
    _model(Patterns(data.network, data.spikes[:1], seed), margin=0.3, margin_epochs=1)  # compiles
    torch.manual_seed(seed)
    start = time.process_time()
    model = _model(data, first="random", margin=0.3)
    spent = time.process_time() - start
    return {"margin_cpu_s": spent, "margin_f1": TASK.evaluate(model, data)[0]["f1"]}


def _epoch(data, seed):
    model = _model(data)
    draw = np.random.default_rng(seed)

    def epoch():
        imposed, targets = TASK.batch(data, draw, len(data.spikes))
        model.zero_grad(set_to_none=True)
        TASK.loss(model(imposed), targets).backward()

    (spent,) = cpu_ms(epoch, rounds=1)
    return {"epoch_cpu_s": spent / 1e3, "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _rivals(data):
    model = _model(data)
    imposed = torch.from_numpy(data.imposed(range(len(data.spikes))))
    busy = delays.network(data.network.model.with_values({"T": RIVAL_STEPS, "M": 1, "lead": 0, "tail": 0}))
    (spikes,) = patterns.bernoulli(busy, data.seed)
    begun, whole = imposed[:1, :TWIN_STEPS], torch.from_numpy(spikes[None].astype(np.int8))

    def twin():
        with kernels.twins():
            return model(begun)

    with torch.no_grad():
        every, same, long, plain = cpu_ms(
            lambda: model(imposed), lambda: model(begun), lambda: model(whole), twin, rounds=2
        )
    brian2 = _brian2(busy, model.weight.detach().double().numpy().transpose(2, 0, 1), Trial(spikes.astype(np.int8)))
    return {
        "forward_over_twin": plain / same,
        "forward_over_brian2": brian2 / (long / 1e3),
        "forward_cpu_s": every / 1e3,
        "twin_ms_per_step": plain / TWIN_STEPS,
        "brian2_ms_per_step": brian2 * 1e3 / RIVAL_STEPS,
    }


def _brian2(network, weights, trial):
    """CPU seconds of a trial without the making of synapses."""
    shortest = delays.network(network.model.with_values({"T": network.D + 1}))
    return _run(network, weights, trial) - _run(shortest, weights, Trial(trial.imposed[:0]))


def _run(network, weights, trial):
    """CPU seconds of a run of Brian2's program, the lesser of two."""
    Program(brian_delays.setup(network, every=True), "cpp")  # compiles
    spent = []
    for _ in range(2):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        brian_delays.simulate(network, weights, [trial], "cpp")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)
