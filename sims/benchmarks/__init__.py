"""Benchmarks: what a simulator costs, as a ratio to what it replaces.  python -m sims benchmark NAME

A benchmark is a module here with `benchmark(cell, dt, seed) -> dict of figures`, of which it may leave `cell` and `dt`
alone, and `table(figures) -> text`. Compilation is counted only where it is what is measured.
"""

from importlib import import_module

from sims.mistakes import RequestError

BENCHMARKS = ("cable", "brian")


def find(name):
    """The module of the benchmark `name`; raises RequestError where there is none."""
    if name not in BENCHMARKS:
        raise RequestError(f"NAME: found '{name}', expected one of: {', '.join(BENCHMARKS)}")
    return import_module(f"sims.benchmarks.{name}")
