import contextlib
import io
import random
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def seed():
    """Every test starts from the same random state, without asking."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)  # set by the command line for the whole process


@pytest.fixture(scope="session")
def ended():
    """Runner of `python -m MODULE ARGUMENT …` in the project's folder: its exit code, stdout and stderr.

    In this process, which has imported what most modules need.
    """

    def run(module, *arguments):
        out, err = io.StringIO(), io.StringIO()
        said = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
        with contextlib.chdir(PROJECT), said[0], said[1], mock.patch("sys.argv", [module, *map(str, arguments)]):
            try:
                runpy.run_module(module, run_name="__main__")
                code = 0
            except SystemExit as end:
                code = end.code or 0
        return SimpleNamespace(code=code, stdout=out.getvalue(), stderr=err.getvalue())

    return run


@pytest.fixture(scope="session")
def make_shard():
    """Maker of small synthetic shards: Poisson events drive a leaky voltage, whose upward crossings of -63 mV are
    spikes."""
    from sims.neuronio import Shard

    def make(seed=0, simulations=3, duration_ms=1500, segments=639, **attributes):
        generator = np.random.default_rng(np.random.SeedSequence(seed))
        channels = 2 * segments
        sign = np.repeat([1, -1], segments).astype(np.int8)
        time, channel, event_start, voltages, spike_time, spike_start = [], [], [0], [], [], [0]
        for _ in range(simulations):
            # A common slow rate for each kind of input gives the voltage something to follow.
            rates = np.repeat(generator.uniform(0.004, 0.02, (2, duration_ms // 50 + 1)), 50, axis=1)[:, :duration_ms]
            happens = generator.random((duration_ms, channels)) < np.repeat(rates.T, segments, axis=1)
            when, where = np.nonzero(happens)
            time.append(when)
            channel.append(where)
            event_start.append(event_start[-1] + len(when))
            voltage = np.empty(duration_ms)
            v = -67.0
            for t, drive in enumerate(happens @ sign / segments):
                v += (-67.0 - v) / 20 + 25 * drive
                voltage[t] = v
            crossing = np.flatnonzero((voltage[1:] >= -63) & (voltage[:-1] < -63)) + 1
            spike_time.append(crossing + 0.625)
            spike_start.append(spike_start[-1] + len(crossing))
            voltages.append(voltage)
        return Shard(
            soma_voltage=np.array(voltages, np.float32),
            event_time=np.concatenate(time).astype(np.uint16),
            event_channel=np.concatenate(channel).astype(np.uint16),
            event_start=np.array(event_start),
            spike_time=np.concatenate(spike_time).astype(np.float32),
            spike_start=np.array(spike_start),
            segment=np.tile(np.arange(segments, dtype=np.int32), 2),
            region=np.tile(np.where(np.arange(segments) < segments * 0.41, "basal", "apical"), 2),
            path_distance=np.tile(np.linspace(0, 1300, segments, dtype=np.float32), 2),
            sign=sign,
            attributes={
                "seed": seed,
                "first_simulation": 0,
                "code_version": "0.1.0",
                "equations_digest": "none",
                "cell": "leaky",
                "backend": "test",
                "dt_ms": 1.0,
                "precision": "float64",
                "generator": '{"rate_hz": [4, 20]}',
                **attributes,
            },
        )

    return make
