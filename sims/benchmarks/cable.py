"""The cable solver against the project's own NEURON backend: CPU seconds per simulated second, each in a process of its
own with one thread.

Compilation, morphology and one short run are not counted. The inputs are the published ones. Processors change speed
and share caches, so every solver is timed several times and the fastest counts; NEURON, which takes longest, runs
before and after the others.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from sims.backends import compiled
from sims.backends.compiled import BackendError

PROJECT = Path(__file__).resolve().parents[2]
WARM_UP_MS = 20
# name: options of Setup, and simulated milliseconds of each run
NEURON = ({"backend": "neuron"}, 500)
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}


def solvers():
    """{name: (options of Setup, ms of a run)} of the cable solver on this machine, the widest instructions first."""
    widest = compiled.widest_simd()
    found = {}
    for simd in [name for name in compiled.SIMD if name == widest or (name == "avx2" and widest == "avx512")]:
        suffix = "" if simd == widest else f"_{simd}"
        found[f"float32{suffix}"] = {"precision": "float32", "simd": simd}, 1000
        found[f"float64{suffix}"] = {"precision": "float64", "simd": simd}, 500
    found["float32_without_tables"] = {"precision": "float32", "tables": False}, 500
    return found


def measure(options, duration_ms, cell, dt, seed, repeats):
    """Time one solver in this process.

    Returns {"cpu_s_per_s": of the fastest run, over all trials, "compartments": int, "trials": in a run}.
    """
    from sims.ground_truth import Setup, Simulator
    from sims.stimuli import l5

    simulator = Simulator(Setup(cell=cell, dt=dt, **options))
    inputs = l5.read()
    trials = [l5.draw(inputs, simulator.segments, duration_ms, seed, k) for k in range(simulator.lanes)]
    simulator.run(trials, WARM_UP_MS)
    costs = []
    for _ in range(repeats):
        start = time.process_time()
        simulator.run(trials, duration_ms)
        costs.append(time.process_time() - start)
    return {
        "cpu_s_per_s": min(costs) / (duration_ms / 1e3 * simulator.lanes),
        "compartments": len(simulator.segments),
        "trials": simulator.lanes,
    }


def in_a_process_of_its_own(module, *arguments):
    """`module.measure(*arguments)` in a fresh interpreter.  Raises BackendError with its last words where it fails."""
    text = json.dumps(arguments)
    code = f"import json; from {module} import measure as m; print(json.dumps(m(*json.loads({text!r}))))"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, env={**os.environ, **ONE_THREAD}
    )
    if run.returncode != 0:
        raise BackendError(f"{module} with {text} failed: {(run.stderr.strip() or 'no word').splitlines()[-1]}")
    return json.loads(run.stdout.splitlines()[-1])


def benchmark(cell="stylised", dt=0.025, seed=0):
    """All figures; see the module.

    Returns {"simd", "dt_ms", "cell", "neuron_cpu_s_per_s", "coreneuron_cpu_s_per_s" (None where it cannot be used),
    and for every solver "NAME_cpu_s_per_s", "NAME_over_neuron", "NAME_ns_per_compartment_step"}.
    """
    cell, here = str(cell), "sims.benchmarks.cable"
    before = in_a_process_of_its_own(here, *NEURON, cell, dt, seed, 2)
    costs = {name: in_a_process_of_its_own(here, *settings, cell, dt, seed, 3) for name, settings in solvers().items()}
    after = in_a_process_of_its_own(here, *NEURON, cell, dt, seed, 1)
    neuron = min(before["cpu_s_per_s"], after["cpu_s_per_s"])
    figures = {"cell": Path(cell).stem, "dt_ms": dt, "simd": compiled.widest_simd(), "neuron_cpu_s_per_s": neuron}
    try:
        found = in_a_process_of_its_own("sims.benchmarks.coreneuron", NEURON[1], cell, dt, seed)
        figures["coreneuron_cpu_s_per_s"] = found["cpu_s_per_s"]
    except BackendError as error:
        print(f"CoreNEURON is left out: {error}", file=sys.stderr)
        figures["coreneuron_cpu_s_per_s"] = None
    for name, cost in costs.items():
        figures[f"{name}_cpu_s_per_s"] = cost["cpu_s_per_s"]
        figures[f"{name}_over_neuron"] = neuron / cost["cpu_s_per_s"]
        figures[f"{name}_ns_per_compartment_step"] = cost["cpu_s_per_s"] * 1e9 * dt / 1e3 / cost["compartments"]
    return figures


def table(figures):
    """The figures for people, one line for each solver."""
    lines = [
        f"{figures['cell']}, dt {figures['dt_ms']} ms, {figures['simd']}; CPU s per simulated s, one thread",
        f"{'NEURON (this project)':28}{figures['neuron_cpu_s_per_s']:8.2f}",
    ]
    if figures["coreneuron_cpu_s_per_s"] is not None:
        lines.append(
            f"{'CoreNEURON (tuned flags)':28}{figures['coreneuron_cpu_s_per_s']:8.2f}   "
            f"{figures['neuron_cpu_s_per_s'] / figures['coreneuron_cpu_s_per_s']:5.1f} x"
        )
    for key in figures:
        if key.endswith("_over_neuron"):
            name = key.removesuffix("_over_neuron")
            lines.append(
                f"{'cable, ' + name.replace('_', ' '):28}{figures[name + '_cpu_s_per_s']:8.3f}   "
                f"{figures[key]:5.1f} x   {figures[name + '_ns_per_compartment_step']:5.1f} ns per compartment and step"
            )
    return "\n".join(lines)
