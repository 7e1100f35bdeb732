"""Ground truth: a cell file, a morphology and a backend → simulations of the layer-5 cell, one trial or a whole shard.

Source of the protocol: Beniaguev, Segev & London 2021, Neuron 109:2727 (NeuronIO).
"""

import json
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from sims import neuronio
from sims.backends import compiled
from sims.cells import l5pc, morphology
from sims.equations import content_digest
from sims.mistakes import RequestError
from sims.stimuli import l5

BACKENDS = ("cable", "neuron", "brian")
PRECISIONS = ("float64", "float32")
SMALLEST_STEP_MS = 1e-4
LARGEST_TIME_MS = 65_535  # event times are uint16
PROJECT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Setup:
    """All that decides what a simulation gives, besides its inputs.

    cell: name or path of the morphology.  cell_file: the cell's equation file.  dt: ms, 0 for NEURON's variable step.
    precision: float64 or float32 (cable only).  tables: take rates from tables, in float32 on the cable solver; None
    for where that is faster.  simd: instructions of the cable solver, avx512, avx2 or none; None for the best here.
    """

    cell: str = "stylised"
    cell_file: Path = l5pc.PUBLISHED
    backend: str = "cable"
    dt: float = 0.025
    precision: str = "float64"
    tables: bool | None = None
    simd: str | None = None

    def check(self):
        """Raise RequestError where an option has no meaning."""
        if self.backend not in BACKENDS:
            raise RequestError(f"--backend: found '{self.backend}', expected one of: {', '.join(BACKENDS)}")
        if self.precision not in PRECISIONS:
            raise RequestError(f"--precision: found '{self.precision}', expected one of: {', '.join(PRECISIONS)}")
        if not (np.isfinite(self.dt) and 0 <= self.dt <= 1):
            raise RequestError(f"--dt: found {self.dt}, expected a step of at most 1 ms, or 0 for a variable one")
        if self.backend != "neuron" and self.dt < SMALLEST_STEP_MS:
            raise RequestError(
                f"--dt: found {self.dt}, expected a fixed step from {SMALLEST_STEP_MS} to 1 ms; "
                "only --backend neuron has a variable one"
            )
        if self.backend != "cable":
            if self.precision != "float64":
                name = {"neuron": "NEURON", "brian": "Brian2"}[self.backend]
                raise RequestError(f"--precision: found '{self.precision}', but {name} computes in float64 only")
            if self.tables or self.simd:
                raise RequestError(
                    f"--tables and --simd: found with --backend {self.backend}; only the cable solver has them"
                )
            if self.backend == "brian":
                from sims.backends import brian_cell

                brian_cell.check_step(self.dt)
        else:
            if self.tables and self.precision != "float32":
                raise RequestError("--tables: found with --precision float64, which computes every rate")
            if self.simd is not None:
                compiled.check_simd(self.simd)
        return self


class Simulator:
    """A cell ready to run trials.

    Attributes: cell (a Cell), morphology, segments (a table over compartments), channels (number of input channels),
    lanes (trials that run at once).
    """

    def __init__(self, setup):
        self.setup = setup.check()
        self.cell = l5pc.read(setup.cell_file)
        self.morphology = morphology.with_axon_stub(morphology.load(morphology.find(setup.cell)))
        self.segments = morphology.segments(self.morphology)
        self.channels = 2 * len(self.segments.dendritic)
        parts = self.cell, self.morphology, self.segments
        if setup.backend == "neuron":
            from sims.backends.neuron import NeuronCell

            self.live, self.lanes = NeuronCell(*parts, setup.dt or None), 1
        elif setup.backend == "brian":
            from sims.backends.brian_cell import BrianCell

            self.live, self.lanes = BrianCell(*parts, setup.dt), 1
        else:
            from sims.backends.cable import CableCell

            self.live = CableCell(*parts, setup.dt, setup.precision, setup.tables, setup.simd)
            self.lanes = self.live.lanes

    def run(self, trials, duration_ms, progress=None):
        """Simulate trials.

        trials: a list of (event_time ms, event_channel), one of each trial.  duration_ms: whole ms.
        progress: called with the milliseconds simulated since its last call, over all trials.
        Returns a list of Recordings.
        """
        return self.live.run(trials, duration_ms, progress)


def equations_digest(cell, inputs):
    """Hash of all that a Cell and Inputs (sims.stimuli.l5) compute, as a shard keeps it; comments do not enter."""
    return content_digest([cell.digest, inputs.digest])


def code_version():
    """The version of this project's code: the package's, and the commit where the checkout is a git one."""
    try:
        released = version("dendritic-memory")
    except PackageNotFoundError:
        released = next(
            line.split('"')[1]
            for line in (PROJECT / "pyproject.toml").read_text().splitlines()
            if line.startswith("version")
        )
    return f"{released}+{_commit()}" if _commit() else released


@cache
def _commit():
    try:
        run = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=PROJECT, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def generate(setup, inputs, seed, simulations, seconds, first=0, progress=None):
    """Simulate a shard of the NeuronIO data set.

    setup: a Setup.  inputs: Inputs (sims.stimuli.l5).  seed: of the data set.  simulations: how many, numbered from
    `first`; a simulation depends on the seed and its number alone.  seconds: length of each, whole.
    progress: called with the milliseconds simulated since its last call.
    Returns a Shard.  Raises RequestError for impossible options, EquationError and BackendError for the cell's files.
    """
    check_numbers(seed, simulations, seconds, first)
    return shard(Simulator(setup), inputs, seed, simulations, seconds, first, progress)


def shard(simulator, inputs, seed, simulations, seconds, first=0, progress=None):
    """`generate` with a Simulator that is ready, and numbers that are checked."""
    setup, milliseconds = simulator.setup, seconds * 1000
    voltages, events, spikes = [], [], []
    numbers = range(first, first + simulations)
    for start in range(0, simulations, simulator.lanes):
        drawn = [
            l5.draw(inputs, simulator.segments, milliseconds, seed, simulation)
            for simulation in numbers[start : start + simulator.lanes]
        ]
        events += drawn
        for recording in simulator.run(drawn, milliseconds, progress):
            voltages.append(recording.soma_voltage.astype(np.float32))
            spikes.append(recording.spike_time.astype(np.float32))
    segments, dendritic = simulator.segments, simulator.segments.dendritic
    return neuronio.Shard(
        soma_voltage=np.stack(voltages),
        event_time=np.concatenate([time for time, _ in events]),
        event_channel=np.concatenate([channel for _, channel in events]),
        event_start=_starts([len(time) for time, _ in events]),
        spike_time=np.concatenate(spikes),
        spike_start=_starts([len(times) for times in spikes]),
        segment=np.tile(np.arange(len(dendritic), dtype=np.int32), 2),
        region=np.tile(segments.region[dendritic], 2),
        path_distance=np.tile(segments.soma_distance[dendritic].astype(np.float32), 2),
        sign=np.repeat(np.array([1, -1], np.int8), len(dendritic)),
        attributes={
            "seed": seed,
            "first_simulation": first,
            "code_version": code_version(),
            "equations_digest": equations_digest(simulator.cell, inputs),
            "cell": simulator.morphology.name,
            "backend": setup.backend,
            "dt_ms": float(setup.dt),
            "precision": setup.precision,
            **simulator.live.card,
            "generator": _generator_card(inputs),
        },
    )


def check_numbers(seed, simulations, seconds, first):
    """Raise RequestError where `generate` could make no shard of these."""
    for name, value, lowest in (
        ("--simulations", simulations, 1),
        ("--seconds", seconds, 1),
        ("--seed", seed, 0),
        ("--first", first, 0),
    ):
        if value < lowest:
            raise RequestError(f"{name}: found {value}, expected at least {lowest}")
    if seconds * 1000 > LARGEST_TIME_MS:
        raise RequestError(
            f"--seconds: found {seconds}, expected at most {LARGEST_TIME_MS // 1000} (times are stored in 16 bits)"
        )


def _starts(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _generator_card(inputs):
    """The generator's ranges as JSON, for the shard's attributes."""
    ranges = {
        "hold_ms": inputs.hold.tolist(),
        "smoothing_ms": inputs.smoothing.tolist(),
        "drives_Hz": inputs.drives,
        "parameters": {name: str(parameter.value) for name, parameter in inputs.model.parameters.items()},
    }
    return json.dumps(ranges, sort_keys=True)
