"""NeuronIO: predict a detailed neuron's output spikes and somatic voltage, millisecond by millisecond, from its
synaptic events.

Input of a model: Events on [batch, time, channel] (fitting/events.py), +1 for an excitatory event and -1 for an
inhibitory one in its millisecond.
Output: [batch, time, 2], the logit of a spike and the scaled voltage (min(V, -55 mV) + 67.7 mV) / 10 mV.
Loss: half the binary cross-entropy of the spikes plus half the squared error of the voltage, after a burn-in, because
every window starts from an empty memory. The first 500 ms of a simulation are skipped: input rates are still rising
there.

Sources: Beniaguev, Segev & London 2021; Spieler et al. 2023 (arXiv 2306.16922), section "NeuronIO".
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch.nn import functional
from tqdm import tqdm

from fitting.events import Events, respond
from fitting.settings import require
from sims import neuronio
from sims.mistakes import Mistake
from sims.neuronio import CEILING_MV

VOLTAGE_OFFSET_MV = 67.7
VOLTAGE_SCALE = 0.1
_WINDOWS_AT_ONCE = 16


class TaskError(Mistake):
    """Data that cannot serve the task."""


@dataclass(frozen=True)
class Settings:
    """Times in ms. few_spikes: simulations with at most so many output spikes are also scored apart, as the paper
    scores them."""

    window_ms: int = 500
    burn_in_ms: int = 150
    skip_ms: int = 500
    few_spikes: int = 24

    def __post_init__(self):
        require(self.window_ms >= 1, "window_ms", self.window_ms, "at least 1")
        require(
            0 <= self.burn_in_ms < self.window_ms,
            "burn_in_ms",
            self.burn_in_ms,
            f"from 0 to below window_ms = {self.window_ms}",
        )
        require(self.skip_ms >= 0, "skip_ms", self.skip_ms, "at least 0")
        require(self.few_spikes >= 0, "few_spikes", self.few_spikes, "at least 0")


@dataclass(frozen=True, eq=False)
class Recordings:
    """Simulations of one set, end to end, so that a batch of windows is a matter of indices.

    voltage: float32 [ms], mV.  spike: uint8 [ms], 1 in each millisecond that holds one.
    spike_counts: int64 [simulation].  channel: uint16 [event], in time order.
    arrived: int32, for each simulation [duration + 1] how many of its events come before each millisecond.
    first_ms, first_event: int64 [simulation], where simulations begin.  duration: int64 [simulation], ms.
    sign, path_distance: float32 [channel of the table], and region [channel]; the latter two as in a shard.
    """

    voltage: np.ndarray
    spike: np.ndarray
    spike_counts: np.ndarray
    channel: np.ndarray
    arrived: np.ndarray
    first_ms: np.ndarray
    first_event: np.ndarray
    duration: np.ndarray
    sign: np.ndarray
    region: np.ndarray
    path_distance: np.ndarray

    def __len__(self):
        return len(self.duration)

    def of(self, simulation, array):
        """The milliseconds of one simulation of `voltage` or `spike`."""
        return array[self.first_ms[simulation] :][: self.duration[simulation]]


class NeuronIO:
    """The task; see the module."""

    Settings = Settings

    def __init__(self, settings):
        self.settings = settings

    def read(self, paths):
        """Recordings from shard files.

        Raises TaskError where a file cannot be used, simulations are too short, or channels are not excitatory ones
        followed by as many inhibitory ones.
        """
        try:
            shards = neuronio.read_all(paths)
        except neuronio.ShardError as error:
            raise TaskError(str(error)) from error
        shortest = self.settings.skip_ms + self.settings.window_ms
        for path, shard in zip(paths, shards, strict=True):
            if shard.duration_ms < shortest:
                raise TaskError(
                    f"{path}: simulations last {shard.duration_ms} ms, expected at least {shortest} ms "
                    f"(a window of {self.settings.window_ms} ms after the first {self.settings.skip_ms})"
                )
            half = shard.channels // 2
            if shard.channels % 2 or (shard.sign[:half] != 1).any() or (shard.sign[half:] != -1).any():
                raise TaskError(
                    f"{path}: found other signs, expected excitatory channels first and then as many inhibitory ones"
                )
        return recordings(shards)

    def sizes(self, data):
        """(input channels, outputs)."""
        return len(data.sign), 2

    def typical_output(self, data):
        """The log-odds of a spike in a millisecond and the mean of the scaled voltage, float32 [2].

        A first guess far from the rare spikes' odds can take a neuron of one memory, which voltage and spikes share,
        to reading it with the wrong sign.
        """
        spikes, voltage, bins = 0.5, 0.0, 1  # half a spike more: none must not be impossible
        for simulation in range(len(data)):
            spike, trace = (data.of(simulation, array)[self.settings.skip_ms :] for array in (data.spike, data.voltage))
            spikes, bins = spikes + spike.sum(), bins + len(spike)
            voltage += scale_voltage(trace).sum(dtype=np.float64)
        return torch.tensor([np.log(spikes / (bins - spikes)), voltage / (bins - 1)], dtype=torch.float32)

    def batch(self, data, generator, size):
        """Random windows: each simulation equally likely, then each start from skip_ms on.

        Returns (Events on [size, window_ms, channel], (spike [size, window_ms], scaled voltage [size, window_ms])).
        """
        simulations = generator.integers(len(data), size=size)
        starts = generator.integers(self.settings.skip_ms, data.duration[simulations] - self.settings.window_ms + 1)
        return self._windows(data, simulations, starts)

    def loss(self, outputs, targets):
        """0.5 BCE(spike) + 0.5 MSE(scaled voltage) after the burn-in.  outputs: [batch, time, 2]; targets as `batch`
        gives them."""
        kept = slice(self.settings.burn_in_ms, None)
        (logit, predicted), (spike, voltage) = outputs[:, kept].unbind(-1), targets
        cross_entropy = functional.binary_cross_entropy_with_logits(logit, spike[:, kept])
        return 0.5 * cross_entropy + 0.5 * functional.mse_loss(predicted, voltage[:, kept])

    def evaluate(self, model, data, show_progress=False):
        """Score a model on every millisecond from skip_ms + burn_in_ms on, each predicted once.

        Returns (metrics, predictions). metrics: `loss`, and for all simulations and for those with few spikes (suffix
        `_few_spikes`) `auc` over 1-ms bins, `voltage_rmse_mV` (capped voltage), `voltage_rmse_aligned_mV` (after giving
        the prediction the target's mean and SD, as published evaluations do), `variance_explained`, and the counts
        `simulations`, `bins`, `spikes`; None where undefined. predictions(): arrays for figures and tables,
        `roc_false_positive`, `roc_true_positive`, one simulation's `trace_…`, and what each simulation adds to the
        scores, `simulation_few_spikes` (whether it has few) and `simulation_…` as of `contributions`.
        """
        everything = range(len(data))
        logit, voltage = self.predict(model, data, everything, show_progress)
        spike, target = self._targets(data, everything)
        few = np.flatnonzero(self._has_few_spikes(data))
        metrics = {"loss": _loss(logit, voltage, spike, target)}
        for suffix, chosen in (("", everything), ("_few_spikes", few)):
            scores = score(*([array[i] for i in chosen] for array in (logit, spike, voltage, target)))
            metrics |= {name + suffix: value for name, value in scores.items()}
        return metrics, lambda: self._arrays(data, logit, voltage, spike, target)

    def _arrays(self, data, logit, voltage, spike, target):
        """The arrays for figures and tables of `evaluate`."""
        false_positive, true_positive = roc(np.concatenate(logit), np.concatenate(spike))
        trace = self._trace(self.liveliest(data), logit, voltage, spike, target)
        each = contributions(logit, spike, voltage, target) | {"few_spikes": self._has_few_spikes(data)}
        return {
            "roc_false_positive": false_positive,
            "roc_true_positive": true_positive,
            **{f"trace_{name}": value for name, value in trace.items()},
            **{f"simulation_{name}": value for name, value in each.items()},
        }

    def liveliest(self, data):
        """The simulation with the most spikes of those that published evaluations would keep; the calmest, if none."""
        few = np.flatnonzero(self._has_few_spikes(data))
        return int(few[np.argmax(data.spike_counts[few])]) if len(few) else int(np.argmin(data.spike_counts))

    def _has_few_spikes(self, data):
        return data.spike_counts <= self.settings.few_spikes

    def trace(self, model, data, simulation):
        """One simulation's target and prediction for a figure.

        Returns a dict of arrays over the predicted milliseconds: time_ms, spike (0/1), spike_probability, voltage_mV
        (capped at the ceiling), predicted_voltage_mV; and `simulation`.
        """
        predicted, known = self.predict(model, data, [simulation]), self._targets(data, [simulation])
        return self._trace(0, *predicted, *known) | {"simulation": np.array(simulation)}

    def predict(self, model, data, simulations, show_progress=False):
        """Consecutive windows over whole simulations; each overlaps the one before by the burn-in, which is dropped.

        Returns (spike logit, voltage in mV), two lists of float32 arrays [duration - skip_ms - burn_in_ms], one for
        each simulation.
        """
        model.eval()
        burn_in, window = self.settings.burn_in_ms, self.settings.window_ms
        windows = [
            (simulation, start)
            for simulation in simulations
            for start in range(self.settings.skip_ms, data.duration[simulation] - burn_in, window - burn_in)
        ]
        pieces, at_once = [], getattr(model, "windows_at_once", _WINDOWS_AT_ONCE)
        with torch.no_grad():
            for first in tqdm(range(0, len(windows), at_once), desc="predict", leave=False, disable=not show_progress):
                some = np.array(windows[first : first + at_once])
                inputs = gather(data, some[:, 0], some[:, 1], window)
                pieces.append(respond(model, inputs)[:, burn_in:].numpy())
        outputs = np.concatenate(pieces)
        owner = np.array([simulation for simulation, _ in windows])
        logits, voltages = [], []
        for simulation in simulations:
            # The last window reaches beyond the simulation; models are causal, so what lies there changed nothing
            # before it.
            length = data.duration[simulation] - self.settings.skip_ms - burn_in
            whole = outputs[owner == simulation].reshape(-1, 2)[:length]
            logits.append(whole[:, 0])
            voltages.append(voltage_mV(whole[:, 1]))
        return logits, voltages

    def _windows(self, data, simulations, starts):
        """Inputs and targets of windows within their simulations."""
        inputs = gather(data, simulations, starts, self.settings.window_ms)
        ms = (data.first_ms[simulations] + starts)[:, None] + np.arange(self.settings.window_ms)
        spike, voltage = data.spike[ms].astype(np.float32), scale_voltage(data.voltage[ms])
        return inputs, (torch.from_numpy(spike), torch.from_numpy(voltage))

    def _targets(self, data, simulations):
        """(spike 0/1, capped voltage in mV) over the predicted milliseconds, lists like those of `predict`."""
        first = self.settings.skip_ms + self.settings.burn_in_ms
        spike = [data.of(simulation, data.spike)[first:] for simulation in simulations]
        voltage = [np.minimum(data.of(simulation, data.voltage)[first:], CEILING_MV) for simulation in simulations]
        return spike, voltage

    def _trace(self, index, logit, voltage, spike, target):
        first = self.settings.skip_ms + self.settings.burn_in_ms
        return {
            "simulation": np.array(index),
            "time_ms": first + np.arange(len(spike[index])),
            "spike": spike[index],
            "spike_probability": torch.sigmoid(torch.from_numpy(logit[index])).numpy(),
            "voltage_mV": target[index],
            "predicted_voltage_mV": voltage[index],
        }


def recordings(shards):
    """Recordings from shards in memory; see `Recordings`."""
    duration = np.concatenate([np.full(shard.simulations, shard.duration_ms) for shard in shards])
    events = np.concatenate([np.diff(shard.event_start) for shard in shards])
    arrived = [
        np.searchsorted(shard.events(row)[0], np.arange(shard.duration_ms + 1, dtype=np.uint32))
        for shard in shards
        for row in range(shard.simulations)
    ]
    return Recordings(
        voltage=np.concatenate([shard.soma_voltage.ravel() for shard in shards]),
        spike=np.concatenate([spike_bins(shard).ravel() for shard in shards]),
        spike_counts=np.concatenate([shard.spike_counts for shard in shards]),
        channel=np.concatenate([shard.event_channel for shard in shards]),
        arrived=np.concatenate(arrived, dtype=np.int32, casting="same_kind"),
        first_ms=np.cumsum(duration) - duration,
        first_event=np.cumsum(events) - events,
        duration=duration,
        sign=shards[0].sign.astype(np.float32),
        region=shards[0].region,
        path_distance=shards[0].path_distance,
    )


def spike_bins(shard):
    """Output spikes of a shard as uint8 [simulation, time], 1 in each millisecond that holds a spike."""
    bins = np.zeros(shard.soma_voltage.shape, np.uint8)
    simulation = np.repeat(np.arange(shard.simulations), shard.spike_counts)
    # int(t - 0.5), as the published reader bins: a peak at t marks the sample before the nearest one. Released neurons
    # were fitted to that, and half a millisecond of shift would cost them AUC that is not theirs to lose.
    bins[simulation, np.maximum(shard.spike_time - 0.5, 0).astype(np.int64)] = 1
    return bins


def scale_voltage(voltage):
    """A voltage in mV as models see it: (min(V, -55) + 67.7) / 10."""
    return (np.minimum(voltage, CEILING_MV) + VOLTAGE_OFFSET_MV) * VOLTAGE_SCALE


def voltage_mV(scaled):
    """What `scale_voltage` gives, and models predict, in mV."""
    return scaled / VOLTAGE_SCALE - VOLTAGE_OFFSET_MV


def gather(data, simulations, starts, length_ms):
    """The Events of windows [start, start + length_ms) of simulations; both int [batch].

    What lies beyond the end of a simulation is empty.
    """
    ms = np.minimum(starts[:, None] + np.arange(length_ms + 1), data.duration[simulations, None])
    # Every simulation before has one entry more in `arrived` than milliseconds.
    bounds = data.arrived[(data.first_ms[simulations] + simulations)[:, None] + ms]
    first, count = data.first_event[simulations] + bounds[:, 0], bounds[:, -1] - bounds[:, 0]
    channel = np.concatenate([data.channel[i : i + n] for i, n in zip(first.tolist(), count.tolist(), strict=True)])
    bounds += (np.cumsum(count) - count - bounds[:, 0]).astype(np.int32)[:, None]
    return Events(channel, bounds, data.sign)


def score(logit, spike, voltage, target):
    """Metrics of simulations, four lists of arrays over time (voltages in mV); see `NeuronIO.evaluate`."""
    counts = {
        "simulations": len(logit),
        "bins": sum(map(len, logit)),
        "spikes": int(sum(array.sum() for array in spike)),
    }
    if not logit:
        return dict.fromkeys(("auc", "voltage_rmse_mV", "voltage_rmse_aligned_mV", "variance_explained")) | counts
    predicted, known = np.concatenate(voltage).astype(np.float64), np.concatenate(target).astype(np.float64)
    error = np.mean((predicted - known) ** 2)
    aligned = None
    if predicted.std() > 0:
        shifted = (predicted - predicted.mean()) / predicted.std() * known.std() + known.mean()
        aligned = float(np.sqrt(np.mean((shifted - known) ** 2)))
    return {
        "auc": auc(np.concatenate(logit), np.concatenate(spike)),
        "voltage_rmse_mV": float(np.sqrt(error)),
        "voltage_rmse_aligned_mV": aligned,
        "variance_explained": float(1 - error / known.var()) if known.var() > 0 else None,
        **counts,
    }


def auc(value, positive):
    """Area under the ROC curve: the chance that a positive's value exceeds a negative's, ties counting half.

    value: number for each bin; positive: 0/1.   Returns a float, None where all or none are positive.
    """
    positive = np.asarray(positive, bool)
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if not positives or not negatives:
        return None
    rank_sum = rankdata(value)[positive].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))


def contributions(logit, spike, voltage, target):
    """What each simulation adds to AUC and voltage RMSE, so that both follow exactly for any choice of simulations.

    All four: lists of one array [ms] for each simulation, as `score` takes them.
    Returns a dict: `won` float32 [simulation, simulation], of the pairs of a bin with a spike in the first simulation
    and one without in the second how many have the higher logit in the former, ties counting half; `spikes` and `bins`
    int64 [simulation]; `squared_error` float64 [simulation], mV². Where simulation k counts w_k times, AUC is
    w won w / ((w spikes) (w (bins - spikes))).
    """
    spike = [np.asarray(bins, bool) for bins in spike]
    spikes = np.array([bins.sum() for bins in spike])
    owner, positives = np.repeat(np.arange(len(spike)), spikes), np.concatenate(logit)[np.concatenate(spike)]
    won = np.empty((len(spike), len(spike)), np.float32)
    for other, (values, bins) in enumerate(zip(logit, spike, strict=True)):
        silent = np.sort(values[~bins])
        beaten = (np.searchsorted(silent, positives, "left") + np.searchsorted(silent, positives, "right")) / 2
        won[:, other] = np.bincount(owner, beaten, minlength=len(spike))
    error = [np.square(v.astype(np.float64) - t).sum() for v, t in zip(voltage, target, strict=True)]
    return {"won": won, "spikes": spikes, "bins": np.array(list(map(len, spike))), "squared_error": np.array(error)}


def roc(value, positive):
    """Corners of the ROC curve.

    Returns (false positive rate, true positive rate), both rising from 0 to 1; empty where undefined.
    """
    positive = np.asarray(positive, bool)
    if positive.all() or not positive.any():
        return np.empty(0), np.empty(0)
    order = np.argsort(-value, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(value[order])), len(order) - 1)
    hits = np.concatenate([[0], np.cumsum(positive[order])[last_of_ties]])
    alarms = np.concatenate([[0], 1 + last_of_ties - hits[1:]])
    # A point inside a straight piece draws nothing; without them the curve has as many points as spikes, not as
    # milliseconds.
    corner = np.concatenate([[True], (np.diff(hits, 2) != 0) | (np.diff(alarms, 2) != 0), [True]])
    return alarms[corner] / alarms[-1], hits[corner] / hits[-1]


def _loss(logit, voltage, spike, target):
    """The training loss over whole predictions, each millisecond counting once."""
    cross_entropy = np.mean(
        np.logaddexp(0, np.concatenate(logit).astype(np.float64)) - np.concatenate(logit) * np.concatenate(spike)
    )
    squared = np.mean(((np.concatenate(voltage) - np.concatenate(target)).astype(np.float64) * VOLTAGE_SCALE) ** 2)
    return float(0.5 * cross_entropy + 0.5 * squared)
