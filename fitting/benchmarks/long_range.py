"""ELM neurons on long sequences, batches of 32 in float32, against their equations in eager torch; memory on Path-X.

A step is forward, loss and backward of a training batch. SHD: d_m 100, recordings of a second with 9500 spikes on 700
channels in bins of 2 ms, half of them dropped as published, or none. Dense: d_m 150, a tensor of 1024 steps and 16
channels. The twin is `ELM.equations`, step by step on the dense input, whose making is not counted. Path-X: one step of
Adam on 16,384 steps, d_m 150, before all else; its memory is the most that the process ever had.
"""

import resource
import time

import numpy as np
import torch
import typer

from fitting.benchmarks import cpu_ms, peak_gflops
from fitting.events import drop, one_each_step, respond
from fitting.models.elm import ELM, BranchELM
from fitting.tasks.listops import ListOps
from fitting.tasks.shd import SHD, Recordings, Settings
from sims.stimuli.digits import CHANNELS
from sims.streams import stream

BATCH, SPIKES, BINS, PIXELS, LEVELS, LONGEST = 32, 9500, 500, 1024, 16, 16384
_LOSS = ListOps(ListOps.Settings()).loss


def measure(seed):
    """Prints a table.

    Returns the twin's time over ours for shd_2ms_dm100 (dropout as published), shd_2ms_dm100_all_events (none),
    shd_2ms_dm100_branch (a Branch-ELM of 100 branches with 15 synapses) and dense_1024_dm150, the milliseconds behind
    them, and pathfinder_x_rss_mb, pathfinder_x_step_s.
    """
    step_s, rss_mb = _pathfinder_x(seed)
    typer.echo(
        f"Path-X: a step of {BATCH} x {LONGEST} x d_m 150 takes {step_s:.1f} CPU s, the process {rss_mb:.0f} MB at most"
    )
    figures = {"pathfinder_x_step_s": step_s, "pathfinder_x_rss_mb": rss_mb, "peak_gflops": peak_gflops()}
    draw = stream(seed, "long range benchmark")
    events = _spikes(draw)
    dropped = drop(events, Settings().dropout, draw)
    grey = one_each_step(draw.integers(LEVELS, size=BATCH * PIXELS, dtype=np.uint16), [PIXELS] * BATCH, LEVELS).dense()
    tau = {"tau_m_max": 150.0, "tau_m_spacing": "linear", "learn_tau_m": True, "tau_m_upper": 1000.0, "dt_ms": 2.0}
    torch.manual_seed(seed)
    elm = ELM(ELM.Settings(d_m=100, **tau), CHANNELS, SHD.classes)
    tree = {"d_tree": 100, "d_brch": 15, "routing": "random"}
    branch = BranchELM(BranchELM.Settings(d_m=100, **tree, **tau), CHANNELS, SHD.classes)
    pixels = ELM(ELM.Settings(d_m=150, lambda_value=3.0, tau_m_max=1000.0), LEVELS, 10)
    typer.echo(f"{'':<26}{'step, ms':>10}{'twin, ms':>12}{'ratio':>9}")
    for name, model, inputs in (
        ("shd_2ms_dm100", elm, dropped),
        ("shd_2ms_dm100_all_events", elm, events),
        ("shd_2ms_dm100_branch", branch, dropped),
        ("dense_1024_dm150", pixels, grey),
    ):
        ours, twin = _compare(model, inputs, draw)
        typer.echo(f"{name:<26}{ours:>10.1f}{twin:>12.1f}{twin / ours:>9.2f}")
        figures |= {name: twin / ours, f"{name}_ms": ours, f"{name}_twin_ms": twin}
    return figures


def _compare(model, inputs, draw):
    """(our step, the twin's) in CPU ms."""
    dense = inputs if isinstance(inputs, torch.Tensor) else inputs.dense()
    targets = _targets(inputs, model.readout.out_features, draw)
    return cpu_ms(
        lambda: _step(model, model, inputs, targets),
        lambda: _step(model, model.equations, dense, targets),
        rounds=3,
        repeats=(4, 1),
    )


def _step(model, work, inputs, targets):
    model.zero_grad(set_to_none=True)
    _LOSS(work(inputs), targets).backward()


def _targets(inputs, classes, draw):
    batch, time, _ = inputs.shape
    return torch.from_numpy(draw.integers(classes, size=batch)), torch.full((batch,), time - 1)


def _spikes(draw):
    """Recordings whose spikes are anywhere, as the task's events."""
    counts = draw.multinomial(SPIKES, [1 / BINS] * BINS, size=BATCH)
    bounds = np.pad(counts.cumsum(axis=1), ((0, 0), (1, 0))).astype(np.int32)
    channel = draw.integers(CHANNELS, size=BATCH * SPIKES, dtype=np.uint16)
    recordings = Recordings(channel, np.arange(BATCH + 1) * SPIKES, bounds, np.zeros(BATCH, np.int64))
    return SHD(Settings()).inputs(recordings, np.arange(BATCH))[0]


def _pathfinder_x(seed):
    """(CPU s of a step, MB) of learning from a batch on Path-X."""
    draw, levels = stream(seed, "path-x benchmark"), 8
    tokens = draw.integers(levels, size=BATCH * LONGEST, dtype=np.uint16)
    inputs = one_each_step(tokens, [LONGEST] * BATCH, levels)
    torch.manual_seed(seed)
    model = ELM(ELM.Settings(d_m=150, tau_m_max=20000.0, tau_s=150.0, gain="v2"), levels, 2)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    start = time.process_time()
    _step(model, lambda inputs: respond(model, inputs), inputs, _targets(inputs, 2, draw))
    optimizer.step()
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
