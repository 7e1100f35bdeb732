"""A compiled Brian2 program run with a new parameter against compiling it anew, and two workers against one.

The model is the neuron with two NMDA dendrites; sixteen of them, one trial each, with Poisson inputs. CPU time counts
Brian2's code generation, the compiler and the runs; throughput is wall time, so it says something on an idle machine
only.
"""

import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from sims import equations
from sims.arrivals import Arrivals
from sims.backends.brian import Setup
from sims.backends.brian_program import Program
from sims.streams import stream

MODEL = Path(__file__).resolve().parents[2] / "equations" / "neuron_nmda.yaml"
TRIALS, DURATION_MS, DT_MS, RATE_HZ = 16, 1000, 0.1, 50
CANDIDATES = 16


def benchmark(_cell=None, _dt=None, seed=0):
    """All figures; see the module.

    Returns {"recompile_over_run", "two_workers_over_one", "recompile_cpu_s", "run_cpu_s", "candidates_per_s",
    "overhead_ratio": CPU of evaluating a generation over that of the programs alone}.
    """
    setup = Setup(equations.read(MODEL), TRIALS, DURATION_MS, DT_MS, record=("soma_v",))
    arrivals, draw = _inputs(setup.model, seed), stream(seed, "benchmark candidates")
    candidates = [{"dendrite1_w": w} for w in draw.uniform(10, 30, CANDIDATES)]
    with tempfile.TemporaryDirectory() as cache:
        *compilation, program = _cost(lambda: Program(setup, cache=Path(cache)))
        first = sum(_cost(lambda: program.evaluate(candidates[:1], arrivals))[:2])
        run = min(sum(_cost(lambda c=c: program.evaluate([c], arrivals))[:2]) for c in candidates)
        own, programs, _ = _cost(lambda: program.evaluate(candidates, arrivals))
        one, two = (min(_wall_s(program, candidates, arrivals, workers) for _ in range(3)) for workers in (1, 2))
    recompile = sum(compilation) + first
    return {
        "recompile_over_run": recompile / run,
        "two_workers_over_one": one / two,
        "recompile_cpu_s": recompile,
        "run_cpu_s": run,
        "candidates_per_s": CANDIDATES / one,
        "overhead_ratio": (own + programs) / programs,
    }


def table(figures):
    """The figures for people."""
    return "\n".join(
        [
            f"{TRIALS} neurons of {MODEL.name}, {DURATION_MS} ms at dt {DT_MS} ms, C++ standalone, one thread",
            f"compile and run          {figures['recompile_cpu_s']:8.2f} CPU s",
            f"run with a new value     {figures['run_cpu_s']:8.4f} CPU s   {figures['recompile_over_run']:7.0f} x less",
            f"evaluating {CANDIDATES} at once   {figures['overhead_ratio']:8.2f} x the CPU of the programs alone",
            f"one worker               {figures['candidates_per_s']:8.1f} candidates a second",
            f"two workers              {figures['two_workers_over_one']:8.2f} x as many",
        ]
    )


def _inputs(model, seed):
    draw = stream(seed, "benchmark inputs")
    parts = []
    for event in ("dendrite1_presynaptic", "dendrite2_presynaptic"):
        count = draw.poisson(RATE_HZ * DURATION_MS / 1e3 * TRIALS)
        times, neurons = draw.uniform(0, DURATION_MS, count), draw.integers(TRIALS, size=count)
        parts.append((times, neurons, np.full(count, event), np.ones(count)))
    return Arrivals(*(np.concatenate(column) for column in zip(*parts, strict=True))).check(model, TRIALS)


def _cost(work):
    """(CPU seconds of this process, of its children, result)."""

    def used():
        usages = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        return [usage.ru_utime + usage.ru_stime for usage in usages]

    before = used()
    result = work()
    own, children = used()
    return own - before[0], children - before[1], result


def _wall_s(program, candidates, arrivals, workers):
    start = time.perf_counter()
    program.evaluate(candidates, arrivals, workers)
    return time.perf_counter() - start
