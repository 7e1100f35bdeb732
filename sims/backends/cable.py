"""A cable solver that runs many trials of one cell at once: one SIMD lane per trial, from the same equation files.

A step is NEURON's: events due by t + dt/2 are delivered; the voltage is solved for implicitly with currents made linear
by dI/dv; calcium, then every other state, advances by its exact exponential at the new voltage.

float64 computes every expression as written and is the reference. float32 has twice the lanes, and may take
functions of the voltage or of the calcium concentration alone from tables: on 32 intervals, each with a polynomial
whose coefficients one register permutation fetches for all lanes.

Source of the scheme: Hines 1984, Int J Biomed Comput 15:69; fixed step as in NEURON (Carnevale & Hines 2006, ch. 4).
"""

import ctypes

import numpy as np

from sims.backends.cable_code import SQUARE_MICROMETRE, Program
from sims.backends.compiled import BackendError, check_simd, library, widest_simd
from sims.cells import morphology
from sims.cells.cable_tree import cable_tree
from sims.recordings import sample

STEPS_AT_ONCE = 2000


class _Tree(ctypes.Structure):
    _fields_ = [(n, ctypes.c_int32) for n in ("nodes", "joints", "soma", "nexus")]
    _fields_ += [(n, ctypes.c_void_p) for n in ("parent", "joint", "axial", "diagonal")]


class _Region(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int32)] + [(n, ctypes.c_void_p) for n in ("node", "area")]


class _Part(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in ("place", "initial")]


class _Targets(ctypes.Structure):
    _fields_ = [(n, ctypes.c_void_p) for n in ("start", "part", "compartment")]


class _Events(ctypes.Structure):
    _fields_ = [("count", ctypes.c_int64)] + [(n, ctypes.c_void_p) for n in ("step", "channel", "lane")]


class CableCell:
    """A cell compiled for many trials at once.

    cell: a Cell.  tree: its Morphology, with the axon's stub.  segments: its Segments.  dt: the step, ms.
    precision: float64 or float32.  tables: take rates from tables where that serves (None: in float32 on AVX-512).
    simd: avx512, avx2, none, or None for the widest here.
    Attributes: lanes, trials at once; simd; source, the C++; card, what else decides the last bits of a simulation.
    Raises EquationError where an equation has no words in C++, BackendError where it does not compile.
    """

    def __init__(self, cell, tree, segments, dt=0.025, precision="float64", tables=None, simd=None):
        self.dt = dt
        self.simd = widest_simd() if simd is None else simd
        check_simd(self.simd)
        if tables is None:
            tables = precision == "float32" and self.simd == "avx512"
        real = {"float64": "double", "float32": "float"}[precision]
        program = Program(cell, segments, dt, real, tables)
        self.source = program.source
        self._library = library("cable", program.source, cell.path, self.simd)
        self._library.cable_create.restype = ctypes.c_void_p
        self._type = np.dtype(precision)
        self._scalar = ctypes.c_double if precision == "float64" else ctypes.c_float
        self.lanes = self._library.cable_lanes()
        self.card = {"simd": self.simd, "rates": "tables" if tables else "expressions"}
        self._kept = []  # what the C++ points to
        nodes = cable_tree(tree)
        structures = (
            self._tree(cell, tree, segments, nodes),
            self._regions(program, segments, nodes),
            self._parts(program),
            self._targets(program, segments),
        )
        table = np.stack(program.tables).astype(self._type) if program.tables else np.zeros(1, self._type)
        self._batch = ctypes.c_void_p(
            self._library.cable_create(
                *map(ctypes.byref, structures),
                self._address(program.constants, self._type),
                self._aligned(table),
                self._scalar(cell.v_init),
            )
        )

    def __del__(self):
        if getattr(self, "_batch", None):
            self._library.cable_destroy(self._batch)

    def run(self, trials, duration_ms, progress=None):
        """Simulate trials, a register's lanes at a time.

        trials: a list of (event_time ms, event_channel), one of each trial.  duration_ms: whole ms.
        progress: called with the milliseconds simulated since its last call, over all trials.
        Returns a list of Recordings.  Raises BackendError where a voltage is no longer finite.
        """
        recordings = []
        for first in range(0, len(trials), self.lanes):
            recordings += self._run_lanes(trials[first : first + self.lanes], duration_ms, progress)
        return recordings

    def _run_lanes(self, trials, duration_ms, progress):
        steps = int(np.ceil(duration_ms / self.dt - 1e-9))
        soma, nexus = np.empty((2, steps + 1, self.lanes), self._type)
        events, _keep = self._events(trials)
        at = [ctypes.c_void_p(trace.ctypes.data) for trace in (soma, nexus)]
        self._library.cable_start(self._batch, *at)
        shown = 0
        for done in range(0, steps, STEPS_AT_ONCE):
            some = min(STEPS_AT_ONCE, steps - done)
            self._library.cable_run(self._batch, ctypes.c_int64(some), ctypes.byref(events), *at)
            if progress is not None:
                now = int((done + some) / steps * duration_ms) * len(trials)
                progress(now - shown)
                shown = now
            if not np.isfinite(soma[done + some, : len(trials)]).all():
                raise BackendError(
                    f"the voltage is no longer finite before t = {(done + some) * self.dt:g} ms at dt = {self.dt:g}; "
                    "expected a finite one: take a smaller --dt, or look for rates without bounds in the cell's files"
                )
        time = np.arange(steps + 1) * self.dt
        return [
            sample(time, soma[:, lane].astype(float), nexus[:, lane].astype(float), duration_ms)
            for lane in range(len(trials))
        ]

    def _events(self, trials):
        """The events of all lanes in order of the step at whose start they are delivered, as NEURON does: t + dt/2."""
        time = np.concatenate([np.asarray(time, float) for time, _ in trials])
        channel = np.concatenate([np.asarray(channel) for _, channel in trials]).astype(np.int32)
        lane = np.repeat(np.arange(len(trials), dtype=np.int32), [len(time) for time, _ in trials])
        step = np.ceil(time / self.dt - 0.5 - 1e-9).astype(np.int32)
        order = np.argsort(step, kind="stable")
        arrays = [np.ascontiguousarray(values[order]) for values in (step, channel, lane)]
        return _Events(len(step), *(values.ctypes.data for values in arrays)), arrays

    def _address(self, values, dtype):
        array = np.ascontiguousarray(values, dtype)
        self._kept.append(array)
        return ctypes.c_void_p(array.ctypes.data)

    def _aligned(self, array):
        """The address of a copy that begins a cache line."""
        room = np.empty(array.nbytes + 64, np.uint8)
        start = -room.ctypes.data % 64
        room[start : start + array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)
        self._kept.append(room)
        return ctypes.c_void_p(room.ctypes.data + start)

    def _tree(self, cell, tree, segments, nodes):
        capacitance, resistivity = cell.membrane(segments)
        of_section = np.zeros(len(tree.sections))
        of_section[segments.section] = resistivity
        with np.errstate(divide="ignore"):
            axial = np.where(nodes.parent >= 0, 1 / (nodes.axial * of_section[nodes.section]), 0.0)
        diagonal = axial.copy()
        np.add.at(diagonal, nodes.parent[1:], axial[1:])
        # µF/cm² · cm² / ms = mS/1000
        diagonal[nodes.node] += capacitance * 1e-3 * segments.area * SQUARE_MICROMETRE / self.dt
        joints = np.setdiff1d(np.arange(len(nodes)), nodes.node)
        place = morphology.nexus(tree)
        inside, soma = np.flatnonzero(segments.section == place.section), np.flatnonzero(segments.region == "soma")
        return _Tree(
            len(nodes),
            len(joints),
            nodes.node[soma[len(soma) // 2]],
            nodes.node[inside[int(place.x * len(inside))]],
            self._address(nodes.parent, np.int32),
            self._address(joints, np.int32),
            self._address(axial, self._type),
            self._address(diagonal, self._type),
        )

    def _regions(self, program, segments, nodes):
        made = [
            _Region(
                len(region.segments),
                self._address(nodes.node[region.segments], np.int32),
                self._address(segments.area[region.segments] * SQUARE_MICROMETRE, self._type),
            )
            for region in program.regions
        ]
        return (_Region * len(made))(*made)

    def _parts(self, program):
        made = []
        for part in program.parts:
            count = len(program.regions[part.region].segments)
            rows = [
                np.stack([np.broadcast_to(value, count) for value in columns], axis=1) if columns else np.zeros(1)
                for columns in (part.slots, part.initial)
            ]
            made.append(_Part(*(self._address(values, self._type) for values in rows)))
        return (_Part * len(made))(*made)

    def _targets(self, program, segments):
        """Which parts an event on each channel reaches, and the compartment in their region."""
        numbers = {(part.name, program.regions[part.region].name): part.index for part in program.parts}
        place = np.empty(len(segments), int)
        for region in program.regions:
            place[region.segments] = np.arange(len(region.segments))
        reached = program.cell.channels(segments)
        targets = [target for channel in reached for target in channel]
        start = np.concatenate([[0], np.cumsum([len(channel) for channel in reached])])
        part = [numbers[name, segments.region[segment]] for name, segment in targets]
        compartment = [place[segment] for _, segment in targets]
        return _Targets(*(self._address(values, np.int32) for values in (start, part, compartment)))
