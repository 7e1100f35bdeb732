"""The cell in CoreNEURON, NEURON's vectorised engine, with the same mechanisms and flags that let it use SIMD.

CoreNEURON wants all mechanisms in one library under their own names, and connections with a delay; both are done here,
for timing alone. It vectorises over the compartments of a cell.
"""

import hashlib
import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from sims.backends.compiled import BackendError, cache_folder
from sims.backends.neuron import Mechanism, NeuronCell
from sims.backends.nmodl import generate

FLAGS = "-O3 -march=native -mprefer-vector-width=512 -ffast-math -fopenmp-simd"
DELAY_MS = 1.0  # CoreNEURON exchanges events at the smallest delay


def build(cell):
    """Compile a Cell's mechanisms for NEURON and CoreNEURON; kept in the cache.

    Returns the folder of both libraries.  Raises BackendError where CoreNEURON is absent or cannot compile them.
    """
    texts = {name: generate(model, name, cell.varied[name], cell.shell) for name, model in cell.mechanisms.items()}
    key = hashlib.sha256("\0".join([FLAGS, *texts.values()]).encode()).hexdigest()[:12]
    folder = cache_folder() / "coreneuron" / key
    if not next(folder.glob("*/libcorenrnmech.so"), None):
        (folder / "mod").mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / "mod" / f"{name}.mod").write_text(text)
        scripts = sysconfig.get_path("scripts")
        run = subprocess.run(
            [sys.executable, Path(scripts) / "nrnivmodl", "-coreneuron", "-incflags", FLAGS, "mod"],
            cwd=folder,
            capture_output=True,
            text=True,
            env={**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}"},
        )
        if run.returncode != 0 or not next(folder.glob("*/libcorenrnmech.so"), None):
            raise BackendError(f"CoreNEURON cannot be used: {(run.stderr or run.stdout).strip()[-300:]}")
    return next(folder.glob("*/libcorenrnmech.so")).parent


def measure(duration_ms, cell, dt, seed, repeats=2):
    """Time CoreNEURON in this process; as `sims.benchmarks.cable.measure`, plus "difference_mV", the largest difference
    of the soma's voltage from NEURON's for the same events."""
    import numpy as np

    from sims.cells import l5pc, morphology
    from sims.stimuli import l5

    published = l5pc.read()
    folder = build(published)
    os.environ["CORENEURONLIB"] = str(folder / "libcorenrnmech.so")
    from neuron import coreneuron, h

    h.nrn_load_dll(str(folder / "libnrnmech.so"))
    known = {name: Mechanism(name, folder, "", model.path) for name, model in published.mechanisms.items()}
    tree = morphology.with_axon_stub(morphology.load(morphology.find(cell)))
    segments = morphology.segments(tree)
    live = NeuronCell(published, tree, segments, dt, known)
    time_ms, channel = l5.draw(l5.read(), segments, duration_ms, seed, 0)
    (reference,) = live.run([(time_ms + DELAY_MS, channel)], duration_ms)
    recorded = h.Vector().record(live.soma._ref_v)
    for connections in live.connections:
        for connection in connections:
            connection.delay = DELAY_MS
    events = list(zip(time_ms.astype(float).tolist(), channel.tolist(), strict=True))
    handler = h.FInitializeHandler(
        lambda: [connection.event(at + DELAY_MS) for at, row in events for connection in live.connections[row]]
    )
    parallel = h.ParallelContext()
    parallel.set_gid2node(0, 0)
    parallel.cell(0, h.NetCon(live.soma._ref_v, None, sec=live.soma.sec))
    h.CVode().cache_efficient(1)
    coreneuron.enable = True
    parallel.set_maxstep(10)
    costs = []
    for _ in range(repeats):
        h.dt = dt
        h.finitialize(published.v_init)
        start = time.process_time()
        parallel.psolve(duration_ms)
        costs.append(time.process_time() - start)
    del handler
    voltage = np.interp(np.arange(duration_ms), np.arange(len(recorded)) * dt, np.array(recorded))
    return {
        "cpu_s_per_s": min(costs) / (duration_ms / 1e3),
        "compartments": len(segments),
        "trials": 1,
        "difference_mV": float(np.abs(voltage - reference.soma_voltage).max()),
    }
