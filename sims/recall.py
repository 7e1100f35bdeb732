"""What a network of delays recalls, with learnt weights or those of Hebb's rule and the beginning of each pattern as
its cue."""

import io
from dataclasses import dataclass

import numpy as np
import safetensors

from sims.backends import brian_delays
from sims.delays import DelayNetwork
from sims.mistakes import RequestError
from sims.stimuli import patterns


@dataclass(frozen=True, eq=False)
class Recall:
    """patterns: bool [M, T, N], what was to be recalled.  rasters: bool [M, steps of a trial, N], what was."""

    network: DelayNetwork
    patterns: np.ndarray
    rasters: np.ndarray

    @property
    def f1(self):
        """Micro over patterns, neurons and the pattern's steps from D on."""
        return f1(self.rasters[:, self.network.scored], self.patterns[:, self.network.D :])

    def summary(self):
        """One line: F1, spikes, and which trials ran away."""
        silenced = [step for step in map(self.network.silenced, self.rasters) if step is not None]
        line = f"F1 {self.f1:.4f} over {len(self.patterns)} patterns, {np.count_nonzero(self.rasters)} spikes"
        if silenced:
            line += f"; {len(silenced)} ran away and were silenced, the first in step {min(silenced)} (most_active)"
        return line

    def archive(self):
        """The bytes of a NumPy archive: spike_trial, spike_time_ms, spike_neuron, and the same of the patterns, whose
        time is that of the trial."""
        file = io.BytesIO()
        arrays = {}
        for name, spikes, start in (("spike", self.rasters, 0), ("pattern", self.patterns, self.network.lead)):
            trial, step, neuron = np.nonzero(spikes)
            time = (step + start) * self.network.step * 1e3
            arrays |= {f"{name}_trial": trial, f"{name}_time_ms": time, f"{name}_neuron": neuron}
        np.savez_compressed(file, **arrays)
        return file.getvalue()


def recall(network, seed=0, device="runtime", progress=None, weights=None, generator="bernoulli"):
    """The Recall of M patterns in Brian2.

    network: a DelayNetwork.  seed: of patterns and noise.  device, progress, errors: as of brian_delays.simulate.
    weights: float [N, N, D]; None for Hebb's rule.  generator: a key of patterns.GENERATORS.
    """
    if generator not in patterns.GENERATORS:
        raise RequestError(f"--patterns: found '{generator}', expected one of: {', '.join(patterns.GENERATORS)}")
    given = patterns.GENERATORS[generator](network, seed)
    trials = [patterns.trial(network, pattern, seed, m) for m, pattern in enumerate(given)]
    weights = patterns.hebbian(network, given) if weights is None else weights
    return Recall(network, given, brian_delays.simulate(network, weights, trials, device, progress=progress))


def read_weights(path):
    """Weights [N, N, D] from `weight` [source, delay, target] of a safetensors file, as a fit leaves it.

    Raises RequestError where there are none.
    """
    try:
        with safetensors.safe_open(path, framework="np") as file:
            weight = file.get_tensor("weight")
    except (safetensors.SafetensorError, OSError) as error:
        raise RequestError(f"--weights {path}: cannot be read ({error}), expected the weights of a fit") from error
    if weight.ndim != 3:
        raise RequestError(f"--weights {path}: found {weight.ndim} dimensions, expected source, delay and target")
    return weight.transpose(2, 0, 1).astype(float)


def f1(found, wanted):
    """How well spikes are recalled: 2 TP/(2 TP + FP + FN) over bool arrays of one shape; 1 where both have none."""
    hits, either = np.count_nonzero(found & wanted), np.count_nonzero(found) + np.count_nonzero(wanted)
    return float(2 * hits / either) if either else 1.0
