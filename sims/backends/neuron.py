"""Run a cell in NEURON, from mechanisms generated as NMODL.

Every mechanism is compiled by nrnivmodl into a library of its own, kept in a cache under a key of its text and NEURON's
version, and carries that key in its name: cells with different versions of a channel live in one process, and an edit
compiles one file. NEURON updates mechanisms that write a concentration before those that read it, so the order of
loading does not matter.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sims.backends.compiled import BackendError, cache_folder, compiler
from sims.backends.nmodl import generate, nmodl_name
from sims.cells import morphology
from sims.recordings import sample

os.environ.setdefault("NEURON_MODULE_OPTIONS", "-nogui")

# NEURON sends every exponential through a function of its own that guards against overflow and counts errors; the C
# library's answers the same (infinity) at half the price.
FLAGS = "-O3 -fno-math-errno -Dhoc_Exp=exp"
VARIABLE_STEP_TOLERANCE = 1e-3  # NEURON's default absolute tolerance


@dataclass(frozen=True)
class Mechanism:
    """A model as NEURON sees it.  name: in NEURON.  library: its shared object in the cache.  text: its NMODL.

    source: the equation file, for messages.
    """

    name: str
    library: Path
    text: str
    source: Path


def mechanisms(models, varied, shell=None, fixed_step=True):
    """What NEURON would call the mechanisms of some models; nothing is compiled.

    models: {name: Model}.  varied: {name: parameters that differ between segments}.  shell: the Model that provides
    E_Ca, or None.  fixed_step: for a fixed dt, else for CVode's variable step.
    Returns {name: Mechanism}.  Raises EquationError where an equation has no words in NMODL.
    """
    import neuron

    found = {}
    for name, model in models.items():
        text = generate(model, name, varied[name], shell, fixed_step)
        key = hashlib.sha256(f"{neuron.__version__} {FLAGS} {text}".encode()).hexdigest()[:12]
        library = cache_folder() / "neuron" / f"{name}_{key}.so"
        found[name] = Mechanism(f"{name}_{key}", library, text.replace(f" {name}\n", f" {name}_{key}\n", 1), model.path)
    return found


def load(wanted):
    """Make Mechanisms known to NEURON, compiling on all cores what the cache does not hold.

    Raises BackendError, with the compiler's message and the equation file, where one cannot be compiled.
    """
    from neuron import h

    wanted = list(wanted)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(_compile, [mechanism for mechanism in wanted if not mechanism.library.is_file()]))
    for mechanism in wanted:
        if not hasattr(h, mechanism.name):
            h.nrn_load_dll(str(mechanism.library))


def _compile(mechanism):
    mechanism.library.parent.mkdir(parents=True, exist_ok=True)
    # Jobs that start together wait for one of them; the lock goes with the process that holds it.
    with open(mechanism.library.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mechanism.library.is_file():
            _build(mechanism)


def _build(mechanism):
    with tempfile.TemporaryDirectory(dir=mechanism.library.parent) as folder:
        (Path(folder) / f"{mechanism.name}.mod").write_text(mechanism.text)
        nrnivmodl = Path(sysconfig.get_path("scripts")) / "nrnivmodl"
        compiler()
        run = subprocess.run(
            [sys.executable, nrnivmodl, "-incflags", FLAGS, "."], cwd=folder, capture_output=True, text=True
        )
        built = next(Path(folder).glob("*/libnrnmech.so"), None)
        if run.returncode != 0 or built is None:
            message = (
                "\n".join(line for line in (run.stdout + run.stderr).splitlines() if "rror" in line)
                or run.stderr[-2000:]
            )
            raise BackendError(
                f"{mechanism.source}: NEURON cannot compile the mechanism generated from this file:\n{message}"
            )
        os.replace(built, mechanism.library)


class NeuronCell:
    """A live cell in NEURON.

    cell: a Cell.  tree: its Morphology, with the axon's stub.  segments: its Segments.
    dt: the fixed step in ms, or None for CVode's variable step.  known: {name: Mechanism} where NEURON has them already
    (default: compiled and loaded from the cache).
    """

    card = {}  # nothing else decides what a simulation gives

    def __init__(self, cell, tree, segments, dt=0.025, known=None):
        from neuron import h

        self.h, self.cell, self.segments, self.dt = h, cell, segments, dt
        self.mechanisms = known or mechanisms(cell.mechanisms, cell.varied, cell.shell, fixed_step=dt is not None)
        if known is None:
            load(self.mechanisms.values())
        self.sections = morphology.build(tree)
        self.live = [segment for section in self.sections for segment in section]
        self._set_membrane()
        self.synapses = self._insert()
        nexus = morphology.nexus(tree)
        self.soma = self.sections[tree.of("soma")[0]](0.5)
        self.nexus = self.sections[nexus.section](nexus.x)
        self.connections = self._connect()

    def _set_membrane(self):
        capacitance, resistivity = self.cell.membrane(self.segments)
        for segment, c, ra in zip(self.live, capacitance, resistivity, strict=True):
            segment.cm = c
            segment.sec.Ra = ra

    def _insert(self):
        """Put the mechanisms where they belong; returns {synapse: {segment's index: point process}}."""
        synapses = {}
        for name, placement in self.cell.placements(self.segments).items():
            mechanism, point = self.mechanisms[name], self.cell.mechanisms[name].kind == "synapse"
            here = [self.live[i] for i in placement.segments]
            if point:
                objects = [getattr(self.h, mechanism.name)(segment) for segment in here]
                synapses[name] = dict(zip(placement.segments.tolist(), objects, strict=True))
            else:
                for section in {segment.sec for segment in here}:
                    section.insert(mechanism.name)
                objects = [getattr(segment, mechanism.name) for segment in here]
            for parameter, values in placement.values.items():
                for target, value in zip(objects, values.tolist(), strict=True):
                    setattr(target, nmodl_name(parameter), value)
        for segment in self.live:
            for ion, potential in (("k", "E_K"), ("na", "E_Na")):
                if hasattr(segment, f"e{ion}") and potential in self.cell.reversal_potentials:
                    setattr(segment, f"e{ion}", self.cell.reversal_potentials[potential])
        return synapses

    def _connect(self):
        """A list of NetCons for every channel."""
        return [
            [self.h.NetCon(None, self.synapses[name][segment], 0, 0, 1) for name, segment in reached]
            for reached in self.cell.channels(self.segments)
        ]

    def run(self, trials, duration_ms, progress=None):
        """Simulate trials one after the other.

        trials: a list of (event_time ms, event_channel), one of each trial.  duration_ms: whole ms.
        progress: called with the milliseconds simulated since its last call.
        Returns a list of Recordings.
        """
        return [self.run_trial(*trial, duration_ms, progress=progress) for trial in trials]

    def run_trial(self, event_time, event_channel, duration_ms, record=None, progress=None):
        """Simulate one trial.

        event_time: [n] ms.  event_channel: int [n].  duration_ms: whole ms.  record: {name: NEURON reference} of
        further variables, returned at every internal step. progress: called with the milliseconds that have passed
        since its last call.
        Returns a Recording, with the further recordings as a second value where `record` is given.
        """
        h = self.h
        cvode = h.CVode()
        cvode.active(self.dt is None)
        if self.dt is None:
            cvode.atol(VARIABLE_STEP_TOLERANCE)
        else:
            h.dt = self.dt
        traces = {name: h.Vector().record(reference) for name, reference in (record or {}).items()}
        time = h.Vector().record(h._ref_t)
        soma, nexus = h.Vector().record(self.soma._ref_v), h.Vector().record(self.nexus._ref_v)
        events = list(zip(np.asarray(event_time, float).tolist(), np.asarray(event_channel).tolist(), strict=True))

        def deliver():
            for at, channel in events:
                for connection in self.connections[channel]:
                    connection.event(at)

        handler = h.FInitializeHandler(deliver)
        h.finitialize(self.cell.v_init)
        shown = 0
        while h.t < duration_ms - 1e-9:
            h.fadvance()
            if progress is not None and h.t >= shown + 100:
                progress(int(h.t) - shown)
                shown = int(h.t)
        if progress is not None:
            progress(duration_ms - shown)
        del handler
        time = np.array(time)
        recording = sample(time, np.array(soma), np.array(nexus), duration_ms)
        return (
            recording
            if record is None
            else (recording, {"time": time} | {name: np.array(v) for name, v in traces.items()})
        )
