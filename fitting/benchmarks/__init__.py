"""The registry of benchmarks.

A benchmark is a module here with `measure(seed) -> dict of figures`, which also prints a table. It compares with a
plain twin or a rival in one process and one thread, in CPU time; compilation is never counted.
"""

import time
from importlib import import_module

import torch
import typer

from fitting.settings import SettingError

BENCHMARKS = ("elm", "lstm", "delay", "evolve", "long_range", "place_cells", "spiking")


def find(name):
    """The function `measure` of the benchmark `name`; raises SettingError where there is none."""
    if name not in BENCHMARKS:
        raise SettingError(f"NAME: found '{name}', expected one of: {', '.join(BENCHMARKS)}")
    return import_module(f"fitting.benchmarks.{name}").measure


def cpu_ms(*works, rounds, repeats=1):
    """CPU milliseconds of one call of each function, the least of some rounds; they take turns, so that a busy machine
    is busy for all of them.

    repeats: calls in a row, one number for all or one for each.
    """
    repeats = [repeats] * len(works) if isinstance(repeats, int) else repeats
    least = [float("inf")] * len(works)
    for round_ in range(rounds + 1):  # the first warms caches up
        for i, (work, count) in enumerate(zip(works, repeats, strict=True)):
            start = time.process_time()
            for _ in range(count):
                work()
            if round_:
                least[i] = min(least[i], (time.process_time() - start) / count * 1e3)
    return least


def peak_gflops():
    """What a core can do, in GFLOP/s of CPU time; prints it."""
    matrix = torch.randn(1024, 1024)
    (least,) = cpu_ms(lambda: matrix @ matrix, rounds=5, repeats=4)
    peak = 2 * 1024**3 / least / 1e6
    typer.echo(f"peak: {peak:.0f} GFLOP/s in float32 products of 1024 x 1024 matrices on one core")
    return peak
