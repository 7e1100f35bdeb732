"""A network of delays in Brian2: N × N × D explicit synapses, in this process or as a compiled program.

A step is integrate, deliver, threshold, reset (sims/delays.py), so Brian2's slot `synapses` comes before `thresholds`;
a spike is then delivered one step after its own at the earliest, and the delay of d steps is written as d - 1. Imposed
spikes and the weights come through TimedArrays, so that a compiled program takes any of both.
Each spike costs N D synapses: a network that runs away would take a hundred times as long as one that recalls. Neurons
read how many spikes the network has emitted, and are silent beyond `most_spikes`.
"""

from dataclasses import dataclass, replace

import numpy as np
from brian2 import Synapses, linked_var, second
from brian2.units.fundamentalunits import Quantity

from sims.backends import brian
from sims.delays import PRESYNAPTIC, DelayNetwork
from sims.mistakes import RequestError

SCHEDULE = ["start", "groups", "synapses", "thresholds", "resets", "end"]
IMPOSED, WEIGHTS, EMITTED = "imposed_spikes", "synaptic_weights", "spikes_emitted"  # names in Brian2


@dataclass(frozen=True, eq=False)
class Setup(brian.Setup):
    """A Setup of a network's trial.

    network: a DelayNetwork.  every: make all N × N × D synapses, not only those of a weight that is not 0.
    """

    network: DelayNetwork | None = None
    every: bool = False

    @property
    def sizes(self):
        """What is fixed in a compiled program besides the model's text."""
        return [*super().sizes, self.network.D, self.network.most_spikes]

    @property
    def shapes(self):
        """{name: shape} of the TimedArrays that carry a run's inputs."""
        N, D = self.network.N, self.network.D
        return super().shapes | {IMPOSED: (self.steps, N), WEIGHTS: (1, N * N * D)}

    def arrays(self, trial):
        """{name: float64 array} of a Trial (the weights are not its own)."""
        trial.check(self.network)
        imposed = np.full(self.shapes[IMPOSED], -1.0)
        imposed[: len(trial.imposed)] = trial.imposed
        arriving = np.zeros((self.steps, self.neurons)) if trial.arriving is None else trial.arriving
        return {brian.weights_name(PRESYNAPTIC): arriving, IMPOSED: imposed}

    def text(self):
        """The Text, with a threshold that knows of imposed spikes and of a runaway."""
        words = super().text()
        imposed = f"{IMPOSED}(t, i)"
        return replace(
            words,
            equations=f"{words.equations}\n{EMITTED} : integer (linked)",
            threshold=f"{EMITTED} <= {self.network.most_spikes} and "
            f"({imposed} > 0 or ({imposed} < 0 and ({words.threshold})))",
        )

    def extend(self, built, arrays):
        """Add the synapses, and the order of a network's step."""
        group, N, D, step = built.group, self.network.N, self.network.D, self.network.step * second
        setattr(group, EMITTED, linked_var(built.spike_monitor, "N"))
        synapses = Synapses(
            group,
            group,
            "w : 1",
            on_pre=brian.on_pre(self.model, PRESYNAPTIC),
            multisynaptic_index="d" if self.every else None,
            namespace=built.arrays | {"step_": step},
            clock=group.clock,
            name="synapses",
        )
        if self.every:
            synapses.connect(j=f"k % {N} for k in range({N * D})")
            synapses.delay = "d*step_"
            synapses.w = f"{WEIGHTS}(0*second, i*{N * D} + d*{N} + j)"
        else:
            weights = arrays[WEIGHTS].reshape(N, D, N)
            i, d, j = np.nonzero(weights)
            synapses.connect(i=i, j=j)
            synapses.delay = Quantity(d * self.network.step, dim=second.dim)
            synapses.w = weights[i, d, j]
        built.network.add(synapses)
        built.network.schedule = SCHEDULE


def setup(network, every=False):
    """The checked Setup of a network's trials."""
    step_ms = network.step * 1e3
    return Setup(
        network.neuron, network.N, network.steps * step_ms, step_ms, record=(), network=network, every=every
    ).check()


def simulate(network, weights, trials, device="runtime", workers=1, progress=None, target="numpy"):
    """The spikes of some trials.

    network: a DelayNetwork.  weights: float64 [N, N, D].  trials: list of Trials.  device: runtime, with a synapse for
    each weight that is not 0; or cpp, with all of them, so that a program serves any weights.  workers: processes at a
    time.  progress: called after each trial.  target: what runtime runs, numpy or cython.
    Returns bool [trials, steps, N].  Raises RequestError, EquationError or BackendError.
    """
    if device not in ("runtime", "cpp"):
        raise RequestError(f"--device: found '{device}', expected runtime or cpp for a network")
    shape = (network.N, network.N, network.D)
    if weights.shape != shape or not np.isfinite(weights).all():
        raise RequestError(f"weights: found the shape {weights.shape}, expected finite numbers of the shape {shape}")
    this = setup(network, every=device == "cpp")
    shared = {WEIGHTS: np.ascontiguousarray(weights.transpose(1, 2, 0), float).reshape(1, -1)}
    if device == "cpp":
        from sims.backends.brian_program import Program

        found = Program(this, device).evaluate([{}] * len(trials), trials, workers, progress=progress, shared=shared)
        return np.array([_raster(network, traces) for traces in found])
    words, values, rasters = this.text(), this.values(), []
    for trial in trials:
        rasters.append(_raster(network, brian.run(this, words, values, this.arrays(trial) | shared, target)))
        if progress is not None:
            progress()
    return np.array(rasters)


def _raster(network, traces):
    """bool [steps, N]"""
    spikes = np.zeros((network.steps, network.N), bool)
    spikes[np.round(traces.spike_time_ms / (network.step * 1e3)).astype(int), traces.spike_neuron] = True
    return spikes
