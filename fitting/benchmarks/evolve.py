"""A candidate of a gradient-free fit against the bare run of its compiled program, in CPU time.

The neuron of equations/neuron_reduced.yaml with two dendrites, one neuron for each of 256 windows of NeuronIO's size,
random events. An evaluation is what the search does with a candidate: hand over the inputs, run, read the voltages,
solve for the readout, score. The bare run is the program alone with the same inputs, its output thrown away.
"""

import subprocess
from contextlib import ExitStack

import numpy as np
import typer

from fitting.benchmarks.training_step import TASK, recordings
from fitting.evolution import Simulator, cpu_seconds
from fitting.models.equation_neuron import EquationNeuron
from fitting.space import Space
from fitting.trials import NeuronIOTrials, WindowSettings
from sims.backends.brian import GROUP
from sims.backends.brian_program import arguments, in_memory
from sims.streams import stream

WINDOWS, GENERATION, ROUNDS = 256, 16, 5


def measure(seed):
    """Prints a table.

    Returns `evaluations_per_core_second`, `overhead_ratio` (CPU of an evaluation over CPU of the bare run) and the
    milliseconds behind them.
    """
    data = recordings(seed)
    neuron = EquationNeuron(EquationNeuron.Settings(dendrites=2), *TASK.sizes(data))
    trials = NeuronIOTrials(neuron, WindowSettings(windows=WINDOWS), seed, TASK, data, data)
    space, simulator = Space(neuron.model), Simulator(trials.setup)
    draw = stream(seed, "benchmark candidates")
    near = np.clip(space.start + 0.05 * draw.standard_normal((GENERATION, len(space))), 0, 1)
    candidates = [space.numbers(point) for point in near]
    ours, bare = _least(
        lambda: simulator.evaluate(candidates, trials.inputs, trials.judge),
        lambda: _run_alone(simulator.program, candidates, trials.inputs),
    )
    figures = {
        "evaluations_per_core_second": GENERATION / ours,
        "overhead_ratio": ours / bare,
        "evaluation_ms": 1e3 * ours / GENERATION,
        "bare_run_ms": 1e3 * bare / GENERATION,
    }
    typer.echo(f"{GENERATION} candidates, {WINDOWS} windows of {TASK.settings.window_ms} ms; CPU ms of a candidate")
    typer.echo(f"{'evaluation':>12}{figures['evaluation_ms']:>9.1f}{figures['overhead_ratio']:>9.2f} x")
    typer.echo(f"{'bare run':>12}{figures['bare_run_ms']:>9.1f}")
    return figures


def _least(*works):
    """The least CPU seconds of each over some rounds, in which they take turns; children count."""
    least = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for i, work in enumerate(works):
            before = cpu_seconds()
            work()
            least[i] = min(least[i], cpu_seconds() - before)
    return least


def _run_alone(program, candidates, inputs):
    with ExitStack() as stack:
        files = {name: stack.enter_context(in_memory(array)) for name, array in inputs.items()}
        given = [f"{name}.values=/proc/self/fd/{file}" for name, file in files.items()]
        for candidate in candidates:
            values, _ = arguments(stack, GROUP, program.setup.values(candidate))
            subprocess.run(
                [program.folder / "main", "--results_dir", "/", *values, *given],
                cwd=program.folder, pass_fds=tuple(files.values()), stdout=subprocess.DEVNULL, check=True,
            )  # fmt: skip
