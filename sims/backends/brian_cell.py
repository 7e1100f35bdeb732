"""A layer-5 cell in Brian2: a SpatialNeuron with NEURON's compartments (sims/backends/brian_tree.py) and NEURON's step
(brian_membrane.py), as a compiled program or, slowly, in this process.

What is left between this and NEURON at the same fixed step is rounding and the 1 Ω of brian_tree.

A program is keyed by the equations' text, the step and how the compartments hang together. Densities, areas and all
other numbers are arguments of a run, which lasts as long as events come: for every millisecond it reads from its
standard input how many there are and where, runs Brian2's network, and writes the voltages of soma and nexus after
every step to its standard output.
"""

import hashlib
import json
import subprocess
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import brian2
import numpy as np
from brian2 import Equations, Network, NetworkOperation, SpatialNeuron, StateMonitor, meter, ms, ohm
from brian2.spatialneuron.spatialneuron import FlatMorphology

from sims.backends import brian, brian_membrane, brian_program, brian_tree, compiled
from sims.backends.brian import in_process, refusing
from sims.backends.brian_membrane import Membrane
from sims.backends.brian_tree import brian_tree as as_morphology
from sims.backends.compiled import BackendError, cache_folder
from sims.cells import morphology
from sims.cells.cable_tree import cable_tree
from sims.cells.l5pc import SIGNS
from sims.mistakes import RequestError
from sims.recordings import sample

GROUP, TRACES, NETWORK = "cell", "traces", "simulation"
AT_ONCE_MS = 50  # how much output is read at a time
SOURCES = [Path(module.__file__) for module in (brian, brian_membrane, brian_program, brian_tree)] + [Path(__file__)]


def check_step(dt):
    """Raise RequestError unless a whole number of steps makes a millisecond."""
    if not dt > 0 or abs(round(1 / dt) * dt - 1) > 1e-9:
        raise RequestError(
            f"--dt: found {dt}, but with --backend brian events come at whole milliseconds; expected a step of which "
            "a whole number makes one, such as 0.025 or 0.1"
        )


class BrianCell:
    """A cell ready to run trials, one after the other.

    cell: a Cell.  tree: its Morphology, with the axon's stub.  segments: its Segments.  dt: the step, ms, of which a
    whole number makes a millisecond.  device: cpp, a program from the cache or the compiler, or runtime, this process.
    Raises RequestError for the step; EquationError, naming the equation, where Brian2 cannot run one; BackendError
    where a compiler is missing.
    """

    card = {}  # nothing else decides what a simulation gives

    def __init__(self, cell, tree, segments, dt=0.025, device="cpp"):
        check_step(dt)
        self.cell, self.dt, self.device, self.steps_per_ms = cell, dt, device, round(1 / dt)
        self.membrane = Membrane(cell)
        nodes = cable_tree(tree)
        capacitance, resistivity = cell.membrane(segments)
        self.morphology, order = as_morphology(nodes, segments, resistivity)
        segment = np.full(len(nodes), -1)
        segment[nodes.node] = np.arange(len(segments))
        real = segment >= 0
        # A node without membrane shares its parent's capacitance and densities, on next to no area.
        segment = np.where(real, segment, segment[nodes.parent])[order]
        self.flat = FlatMorphology(self.morphology)
        self.values = self.membrane.values(segments, segment, real[order])
        self.values |= {name: getattr(self.flat, name) for name in ("area", "r_length_1", "r_length_2")}
        self.values["Cm"] = capacitance[segment] * 1e-2  # µF/cm² to F/m²
        self.size, place = len(order), np.empty(len(nodes), int)
        place[order] = np.arange(self.size)
        self.compartment = place[nodes.node]
        nexus, soma = morphology.nexus(tree), np.flatnonzero(segments.region == "soma")
        inside = np.flatnonzero(segments.section == nexus.section)
        self.recorded = self.compartment[[soma[len(soma) // 2], inside[int(nexus.x * len(inside))]]]
        # Channels are the excitation of every dendritic segment, then their inhibition.
        self.target = np.concatenate([self.compartment[segments.dendritic] + n * self.size for n in range(len(SIGNS))])
        if device == "cpp":
            self.folder = cache_folder() / "brian" / f"{cell.path.stem}_cell_{self._key()}"
            brian_program.once(self.folder, self._compile)

    def run(self, trials, duration_ms, progress=None):
        """Simulate trials one after the other.

        trials: a list of (event_time ms, event_channel), one of each trial; times are whole.  duration_ms: whole ms.
        progress: called with the milliseconds simulated since its last call.
        Returns a list of Recordings.  Raises BackendError where a program fails, or a voltage is no longer finite.
        """
        simulate = self._run_program if self.device == "cpp" else self._run_here
        recordings = []
        for time, channel in trials:
            arrivals = self._arrivals(np.asarray(time), np.asarray(channel), duration_ms)
            voltage = 1e3 * simulate(arrivals, progress or (lambda milliseconds: None))
            voltage = np.concatenate([np.full((1, len(self.recorded)), self.cell.v_init), voltage])
            if not np.isfinite(voltage).all():
                raise BackendError(
                    f"the voltage is no longer finite at dt = {self.dt:g}; expected a finite one: take a smaller --dt, "
                    "or look for rates without bounds in the cell's files"
                )
            recordings.append(sample(np.arange(len(voltage)) * self.dt, *voltage.T, duration_ms))
        return recordings

    def _arrivals(self, time, channel, duration_ms):
        """A list of int32 arrays, one a millisecond: where its events arrive, inhibition `size` above excitation."""
        order = np.argsort(time, kind="stable")
        where = self.target[channel[order]].astype(np.int32)
        return np.split(where, np.searchsorted(time[order], np.arange(1, duration_ms + 1)))[:duration_ms]

    def _run_here(self, arrivals, progress):
        """float64 [steps, 2], V: soma and nexus after every step, in this process."""
        coming = iter(arrivals)
        with in_process():
            network, neuron, traces = self._built()
            for name, value in self.values.items():
                neuron.variables[name].set_value(value)

            def arrive():
                counts = np.bincount(next(coming), minlength=len(SIGNS) * self.size).reshape(len(SIGNS), -1)
                for sign, count in zip(SIGNS, counts, strict=True):
                    neuron.variables[f"arrived_{sign}"].set_value(count.astype(float))
                progress(1)

            network.add(NetworkOperation(arrive, dt=1 * ms, when="start", order=-1))
            with refusing(self.membrane.refused):
                network.run(len(arrivals) * ms, namespace={})
        return np.array(traces.v_).T

    def _run_program(self, arrivals, progress):
        """As `_run_here`, in a process of the program."""
        words = np.concatenate([np.append(np.int32(len(where)), where) for where in arrivals]).astype(np.int32)
        found = bytearray()
        per_ms = 8 * len(self.recorded) * self.steps_per_ms
        with ExitStack() as stack:
            given, files = brian_program.arguments(stack, GROUP, self.values)
            events = stack.enter_context(open(f"/proc/self/fd/{stack.enter_context(brian_program.in_memory(words))}"))
            process = subprocess.Popen(
                [self.folder / "main", *given], cwd=self.folder, pass_fds=files,
                stdin=events, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            try:
                while written := process.stdout.read(AT_ONCE_MS * per_ms):
                    found += written
                    progress(len(written) // per_ms)
                complaint = process.communicate()[1].decode(errors="replace").strip()
            finally:
                process.kill()
                process.wait()
        if process.returncode or complaint or len(found) != per_ms * len(arrivals):
            cause = complaint or f"it ended with code {process.returncode} after {len(found) // per_ms} ms"
            raise BackendError(f"{self.folder.name}: the compiled simulation failed: {cause[:500]}")
        return np.frombuffer(found).reshape(-1, len(self.recorded))

    def _built(self):
        """Brian2's (network, neuron, monitor of the recorded voltages) on the active device."""
        words = self.membrane.words
        with refusing(self.membrane.refused):
            neuron = SpatialNeuron(
                self.morphology,
                Equations(words.equations),
                method=lambda equations, variables, options: words.advance,
                Ri=1 * ohm * meter,
                dt=self.dt * ms,
                name=GROUP,
            )
            # Voltage first, then states.
            neuron.state_updater.order = neuron.diffusion_state_updater.order + 1
            neuron.run_regularly(words.deliver, when="start", name=f"{GROUP}_deliver")
            neuron.run_regularly(words.assemble, when="before_groups", name=f"{GROUP}_assemble")
        traces = StateMonitor(neuron, "v", record=self.recorded, when="end", clock=neuron.clock, name=TRACES)
        return Network(neuron, traces, name=NETWORK), neuron, traces

    def _compile(self, folder):
        """Have Brian2 write the program and compile it."""
        brian_program.check_compiler("cpp")
        with brian_program.standalone("cpp_standalone", folder) as device, refusing(self.membrane.refused):
            network, neuron, traces = self._built()
            device.insert_code("before_start", "prctl(PR_SET_PDEATHSIG, SIGKILL);")
            device.apply_run_args()
            before, after = self._loop(device, neuron, traces)
            device.insert_code("before_network_run", before)
            device.insert_code("after_network_run", after)
            network.run(1 * ms, namespace={})
            device.insert_code("before_end", "std::cout.flush(); _Exit(std::cout ? 0 : 1);")
            device.build(directory=str(folder), compile=False, run=False)
        brian_program.make(folder, self.membrane.refused)
        return {"cell": str(self.cell.path)}

    def _loop(self, device, neuron, traces):
        """C++ around Brian2's run of a millisecond: what comes before it, and what after."""
        arrived = [device.get_array_name(neuron.variables[f"arrived_{sign}"]) for sign in SIGNS]
        rows = device.get_array_name(traces.variables["v"], access_data=False)
        before = f"""
            double *arrived[] = {{{", ".join(arrived)}}};
            int32_t events, where;
            auto next = [](int32_t& word) {{ return bool(std::cin.read((char*) &word, sizeof(word))); }};
            for (int64_t now = 0; next(events); now++) {{
                while (events-- > 0 && next(where)) arrived[where / {self.size}][where % {self.size}] += 1;
                {NETWORK}.t = now * 1e-3;  // free of the rounding of a sum"""
        after = f"""
                for (int row = now * {self.steps_per_ms}; row < {rows}.n; row++)
                    std::cout.write((const char*) &{rows}(row, 0), {rows}.m * sizeof(double));
                std::cout.flush();
            }}"""
        return before, after

    def _key(self):
        flat = self.flat
        tree = [list(map(int, numbers)) for numbers in (flat.starts, flat.morph_parent_i, self.recorded)]
        content = asdict(self.membrane.words) | {
            "tree": [self.size, *tree, self.dt],
            "machine": compiled.identity(),
            "code": [brian2.__version__, *(path.read_text() for path in SOURCES)],
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
