"""Recall: a network of delays goes on with a pattern of spikes after its beginning was imposed on it.

The data are a network file such as equations/delays.yaml, which says how many patterns of which size and rate there are
and what a trial is: noise, cue, free run. Patterns and noise follow from the file and two seeds.
Input of a model: int8 [batch, step, neuron], 1 a spike that is imposed, 0 none, -1 for what the network does itself.
Output: spikes [batch, step, neuron].
Loss: 1 - F1 of the spikes in the pattern's steps from D on, over patterns, neurons and steps at once,

    F1 = 2 TP/(2 TP + FP + FN) = 2 Σ s s*/(Σ s + Σ s*)        s found, s* wanted

Source: Perrinet 2026, arXiv 2604.14096.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from tqdm import tqdm

from fitting.events import Events, respond
from fitting.settings import require
from sims import delays
from sims.backends import numpy_delays
from sims.delays import DelayNetwork
from sims.mistakes import Mistake
from sims.recall import f1
from sims.stimuli import patterns
from sims.streams import stream

_TRIALS_AT_ONCE = 16
# What recall is tested against, from none to too much; a perturbation changes what is imposed.
PERTURBATIONS = {
    "moved": (0, 0.1, 0.25, 0.5, 0.75),  # share of the cue's spikes that are elsewhere in it
    "cut": (0, 0.1, 0.25, 0.5, 0.75),  # share of the cue that is not imposed, at its end
    "silenced": (0, 0.05, 0.125, 0.25, 0.5),  # share of the neurons that are silent all along
    "noise": (0, 1e-4, 3e-4, 1e-3, 3e-3),  # probability of a spike more for each neuron and free step
}


class TaskError(Mistake):
    """Data that cannot serve the task."""


@dataclass(frozen=True)
class Settings:
    """pattern_seed: of patterns and noise.  patterns: independent spikes, or those of the strongest evidence."""

    pattern_seed: int = 0
    patterns: Literal["bernoulli", "evidence"] = "bernoulli"

    def __post_init__(self):
        require(self.pattern_seed >= 0, "pattern_seed", self.pattern_seed, "at least 0")


@dataclass(frozen=True, eq=False)
class Patterns:
    """network: the file's.  spikes: bool [M, T, N].  seed: of the noise before them."""

    network: DelayNetwork
    spikes: np.ndarray
    seed: int

    def events(self):
        """The patterns as Events [pattern, step, neuron]."""
        counts = self.spikes.sum(axis=2)
        ends = np.cumsum(counts).reshape(counts.shape)
        bounds = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int32)
        ones = np.ones(self.spikes.shape[2], np.float32)
        return Events(np.nonzero(self.spikes)[2].astype(np.uint16), bounds, ones)

    def imposed(self, chosen, noise=None):
        """int8 [trial, step, neuron] of some patterns.  noise: bool [trial, lead, neuron], else each's own."""
        network = self.network
        found = np.full((len(chosen), network.steps, network.N), -1, np.int8)
        for trial, m in zip(found, chosen, strict=True):
            trial[: network.imposed_steps] = patterns.trial(network, self.spikes[m], self.seed, m).imposed
        if noise is not None:
            found[:, : network.lead] = noise
        return found


class Recall:
    """The task; see the module."""

    Settings = Settings
    model = "delay_network"

    def __init__(self, settings):
        self.settings = settings

    def read(self, paths):
        """Patterns of a network file.

        Raises TaskError for several files, EquationError for a file that is wrong or whose neurons cannot learn.
        """
        if len(paths) != 1:
            raise TaskError(f"--data: found {len(paths)} files, expected one of a network of delays")
        network, settings = delays.read(paths[0]), self.settings
        numpy_delays.leaky(network)
        drawn = patterns.GENERATORS[settings.patterns](network, settings.pattern_seed)
        return Patterns(network, drawn, settings.pattern_seed)

    def sizes(self, data):
        """(N, N)."""
        return data.network.N, data.network.N

    def known(self, data):
        """Settings of a model that follow from the file: its neuron and its delays."""
        network = data.network
        return numpy_delays.leaky(network) | {name: getattr(network, name) for name in ("D", "alpha", "most_active")}

    def typical_output(self, data):
        """The rate of the patterns."""
        return torch.full((data.network.N,), data.network.p_A)

    def batch(self, data, generator, size):
        """`size` patterns, or all where there are not more, each after noise of its own.

        Returns (imposed, (wanted [batch, scored step, neuron], first of these steps)).
        """
        network, M = data.network, len(data.spikes)
        chosen = np.arange(M) if size >= M else np.sort(generator.permutation(M)[:size])
        noise = generator.random((len(chosen), network.lead, network.N)) < network.p_noise
        wanted = torch.from_numpy(data.spikes[chosen, network.D :])
        return torch.from_numpy(data.imposed(chosen, noise)), (wanted, network.scored.start)

    def loss(self, outputs, targets):
        """1 - F1; targets as `batch` gives them."""
        wanted, first = targets
        found = outputs[:, first : first + wanted.shape[1]]
        hits, either = (found * wanted).sum(), found.sum() + wanted.sum()
        return 1 - 2 * hits / either.clamp(min=1)

    def evaluate(self, model, data, show_progress=False):
        """Score what a model recalls of all patterns, each after noise of its own.

        Returns (metrics, predictions). metrics: `loss`, `f1`, `precision` and `recall` over all scored bins (the latter
        two None where undefined), and the counts `patterns`, `perfect` (patterns without a mistake), `ran_away`
        (trials), `spikes`, `wanted`. predictions(): arrays for figures, `course_step` and `course_recall`,
        `course_precision` over stretches of D steps; the spikes of all trials, `spike_trial`, `spike_step`,
        `spike_neuron`, and those of the first pattern, `wanted_step`, `wanted_neuron`, in the trial's steps; and for
        each perturbation `NAME_amount` and `NAME_f1`.
        """
        found = self.run(model, data.imposed(range(len(data.spikes))), show_progress)
        scored, wanted = found[:, data.network.scored], data.spikes[:, data.network.D :]
        hits, emitted, there = (int(np.count_nonzero(x)) for x in (scored & wanted, scored, wanted))
        score = f1(scored, wanted)
        metrics = {
            "loss": 1 - score,
            "f1": score,
            "precision": hits / emitted if emitted else None,
            "recall": hits / there if there else None,
            "patterns": len(wanted),
            "perfect": int((scored == wanted).all(axis=(1, 2)).sum()),
            "ran_away": sum(data.network.silenced(raster) is not None for raster in found),
            "spikes": emitted,
            "wanted": there,
        }
        return metrics, lambda: self._arrays(model, data, found)

    def run(self, model, imposed, show_progress=False):
        """The spikes of trials, bool [trial, step, neuron].  imposed: int8 of that shape."""
        model.eval()
        pieces, starts = [], range(0, len(imposed), _TRIALS_AT_ONCE)
        with torch.no_grad():
            for start in tqdm(starts, desc="recall", leave=False, disable=not show_progress):
                pieces.append(respond(model, torch.from_numpy(imposed[start : start + _TRIALS_AT_ONCE])).numpy() > 0)
        return np.concatenate(pieces)

    def _arrays(self, model, data, found):
        """The arrays for figures of `evaluate`."""
        network = data.network
        scored, wanted = found[:, network.scored], data.spikes[:, network.D :]
        starts = np.arange(0, wanted.shape[1], network.D)
        hits, emitted, there = (np.add.reduceat(x.sum(axis=(0, 2)), starts) for x in (scored & wanted, scored, wanted))
        arrays = {
            "course_step": starts + network.D,
            "course_recall": hits / np.maximum(there, 1),
            "course_precision": np.where(emitted, hits / np.maximum(emitted, 1), np.nan),
        }
        arrays |= dict(zip(("spike_trial", "spike_step", "spike_neuron"), np.nonzero(found), strict=True))
        step, neuron = np.nonzero(data.spikes[0])
        arrays |= {"wanted_step": step + network.lead, "wanted_neuron": neuron}
        for name, amounts in PERTURBATIONS.items():
            arrays[f"{name}_amount"] = np.array(amounts)
            arrays[f"{name}_f1"] = np.array([self.robustness(model, data, name, amount) for amount in amounts])
        return arrays

    def robustness(self, model, data, name, amount):
        """F1 of at most the first 16 patterns after a perturbation, over bins that nothing is imposed on.

        name: a key of PERTURBATIONS.  amount: how much of it.
        """
        network, chosen = data.network, range(min(len(data.spikes), _TRIALS_AT_ONCE))
        imposed, lead = data.imposed(chosen), network.lead
        for m, trial in zip(chosen, imposed, strict=True):
            draw, cue = stream(data.seed, f"recall {name}", m), trial[lead : network.imposed_steps]
            match name:
                case "moved":
                    step, neuron = np.nonzero(cue)
                    moved = draw.random(len(step)) < amount
                    cue[step[moved], neuron[moved]] = 0
                    free = np.flatnonzero(cue == 0)
                    cue.flat[draw.choice(free, moved.sum(), replace=False)] = 1
                case "cut":
                    cue[round((1 - amount) * len(cue)) :] = -1
                case "silenced":
                    trial[:, draw.permutation(network.N)[: round(amount * network.N)]] = 0
                case "noise":
                    run = trial[network.imposed_steps :]
                    run[draw.random(run.shape) < amount] = 1
        found, wanted = self.run(model, imposed)[:, network.scored], data.spikes[chosen, network.D :]
        free = imposed[:, network.scored] < 0
        return f1(found & free, wanted & free)
