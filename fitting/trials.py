"""What candidates of a gradient-free fit are judged on.

Trials have
    setup                       the simulation (sims.backends.brian.Setup)
    inputs                      {name: float64 [steps, neurons]} of Setup.shapes
    start(space)                the point around which the first generation lies
    prepare(evaluate)           once, before the first candidate; evaluate(candidates, inputs, then) simulates
    judge(traces) -> Judged     called for each candidate, possibly in several threads at once
    report(evaluate, values, best, validated) -> what the history says of the best so far, {name: number or None};
                                values: {parameter: SI value}, best: {"loss", "readout"}; validated: where that is due
    weights(values, best)       the state dict that a fit keeps of it

Recovery: the neuron of the file itself answered to random events; find its parameters from its voltages.
NeuronIOTrials: windows of the task NeuronIO, one neuron each; a candidate's readout is solved in closed form, so that
the search is over the neuron's own parameters.
"""

from dataclasses import dataclass

import numpy as np
import torch

from fitting import closed_form
from fitting.models.equation_neuron import EquationNeuron, event_of, scale
from fitting.settings import SettingError, as_plain, change, require
from fitting.tasks.neuronio import NeuronIO
from sims import equations
from sims.arrivals import input_events
from sims.backends.brian import Setup, weights_name
from sims.streams import stream

RAN_AWAY = 1e9  # the loss of a candidate whose states are no numbers


@dataclass(frozen=True, eq=False)
class Judged:
    """loss: the smaller, the better.  readout: float64 tensor [2, 1 + compartment], constant first, or None."""

    loss: float
    readout: torch.Tensor | None = None


@dataclass(frozen=True)
class RecoverySettings:
    """neurons: how many, side by side, each with events of its own.  rate_hz: of each of the file's input events."""

    neurons: int = 8
    duration_ms: float = 500.0
    dt_ms: float = 0.5
    rate_hz: float = 40.0

    def __post_init__(self):
        require(self.neurons >= 1, "neurons", self.neurons, "at least 1")
        require(self.rate_hz > 0, "rate_hz", self.rate_hz, "a number above 0")


class Recovery:
    """Traces of the file's own neuron, whose parameters are to be found again.

    The loss is the squared distance of all voltages (states where there is no voltage) over their variance.
    """

    Settings = RecoverySettings

    def __init__(self, model, settings, seed):
        states = tuple(name for name in model.states if name == "v" or name.endswith("_v")) or tuple(model.states)
        self.setup = Setup(model, settings.neurons, settings.duration_ms, settings.dt_ms, record=states).check()
        chance = settings.rate_hz * settings.dt_ms / 1e3
        self.inputs = {
            weights_name(event): stream(seed, "recovery", k).poisson(chance, (self.setup.steps, settings.neurons)) * 1.0
            for k, event in enumerate(input_events(model))
        }
        self.target, self.spread = None, None

    def start(self, space):
        """The middle of the bounds: the file's values are what is to be found."""
        return np.full(len(space), 0.5)

    def prepare(self, evaluate):
        """Have the file's own neuron answer."""
        (self.target,) = evaluate([{}], self.inputs, lambda traces: traces.values)
        self.spread = {name: max(values.var(), 1e-30) for name, values in self.target.items()}

    def judge(self, traces):
        """Judged."""
        if not traces.finite:
            return Judged(RAN_AWAY)
        distances = [
            np.mean((traces.values[name] - values) ** 2) / self.spread[name] for name, values in self.target.items()
        ]
        return Judged(float(np.mean(distances)))

    def report(self, evaluate, values, best, validated):
        """error: of the parameter that is farthest from the file's, relative to it."""
        true = self.setup.model.values()
        return {"error": max(abs(value - true[name]) / abs(true[name]) for name, value in values.items())}

    def weights(self, values, best):
        """The parameters, SI."""
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in values.items()}


@dataclass(frozen=True)
class WindowSettings:
    """windows: how many, drawn as those of a gradient's batch.  silent_every: of the milliseconds without a spike, one
    of so many is used to find a candidate's readout of spikes, and stands for the others."""

    windows: int = 1024
    silent_every: int = 32

    def __post_init__(self):
        require(self.windows >= 1, "windows", self.windows, "at least 1")
        require(self.silent_every >= 1, "silent_every", self.silent_every, "at least 1")


class NeuronIOTrials:
    """Windows of NeuronIO, one neuron each; the loss is the task's.

    neuron: an EquationNeuron, which shows the search what it looks for and holds what it finds.  task: NeuronIO.
    data, valid: its Recordings; the latter are scored where a validation is due.
    """

    Settings = WindowSettings

    def __init__(self, neuron, settings, seed, task, data, valid):
        neuron.place(data)
        self.neuron, self.task, self.valid = neuron, task, valid
        self.compartments, self.compartment = neuron.compartments, neuron.compartment.numpy()
        self.substeps, self.burn_in = round(1 / neuron.settings.dt_ms), task.settings.burn_in_ms
        self.setup = Setup(
            neuron.model,
            settings.windows,
            float(task.settings.window_ms),
            neuron.settings.dt_ms,
            record=tuple(self.compartments.voltages),
        ).check()
        events, (spike, voltage) = task.batch(data, stream(seed, "trials"), settings.windows)
        self.inputs = self.arrays(events)
        self.spike = spike[:, self.burn_in :].numpy().T.ravel() > 0
        self.voltage = voltage[:, self.burn_in :].numpy().T.ravel().astype(float)
        silent = np.flatnonzero(~self.spike)
        kept = silent[:: settings.silent_every]
        self.fitted = np.concatenate([np.flatnonzero(self.spike), kept])
        self.counts = np.where(self.spike[self.fitted], 1.0, len(silent) / max(1, len(kept)))

    def arrays(self, events):
        """{name: float64 [steps, windows]} of Events; windows that are missing are empty."""
        counts = events.counts(event_of(self.compartment), len(self.compartments.events))
        found = {}
        for k, event in enumerate(self.compartments.events):
            found[weights_name(event)] = array = np.zeros((self.setup.steps, self.setup.neurons))
            array[:: self.substeps, : len(counts)] = counts[:, :, k].T
        return found

    def start(self, space):
        """The file's own values."""
        return space.start

    def prepare(self, evaluate):
        """Nothing to prepare."""

    def judge(self, traces):
        """Judged."""
        if not traces.finite:
            return Judged(RAN_AWAY)
        features = self.features(traces, self.burn_in)
        voltage, error = closed_form.least_squares(features, self.voltage)
        spike = closed_form.logistic(features[:, self.fitted], self.spike[self.fitted], self.counts)
        loss = 0.5 * closed_form.cross_entropy(spike @ features, self.spike) + 0.5 * error
        return Judged(loss, torch.from_numpy(np.stack([spike, voltage])))

    def features(self, traces, first=0):
        """What the readout reads, float64 [1 + compartment, milliseconds from `first` on x windows]: 1, then the scaled
        voltages at the end of each."""
        steps = slice((first + 1) * self.substeps, None, self.substeps)
        found = np.ones((1 + len(self.compartments), self.setup.steps // self.substeps - first, self.setup.neurons))
        for row, name in zip(found[1:], self.compartments.voltages, strict=True):
            row[:-1], row[-1] = traces.values[name][steps], traces.final[name]
            scale(row)
        return found.reshape(len(found), -1)

    def report(self, evaluate, values, best, validated):
        """valid_…: scores of the task, as its `evaluate` gives them."""
        names = ("loss", "auc", "voltage_rmse_mV")
        if not validated:
            return {f"valid_{name}": None for name in names}
        scores, _ = self.task.evaluate(_Simulated(self, evaluate, values, best["readout"].numpy()), self.valid)
        return {f"valid_{name}": scores[name] for name in names}

    def weights(self, values, best):
        """The neuron's state dict."""
        with torch.no_grad():
            self.neuron.point.copy_(torch.from_numpy(self.neuron.space.point(values)))
        self.neuron.read_by(best["readout"])
        return self.neuron.state_dict()


class _Simulated:
    """A candidate in the form of a model that the task can evaluate; simulated as the search does."""

    takes_events = True

    def __init__(self, trials, evaluate, values, readout):
        self.trials, self.evaluate, self.values, self.readout = trials, evaluate, values, readout
        self.windows_at_once = trials.setup.neurons

    def eval(self):
        """As of a module."""

    def __call__(self, events):
        """[batch, time, 2], float32."""
        trials = self.trials
        (features,) = self.evaluate([self.values], trials.arrays(events), trials.features)
        outputs = (self.readout @ features).reshape(2, -1, trials.setup.neurons)
        return torch.from_numpy(outputs.transpose(2, 1, 0)[: events.shape[0]]).float()


def _recovery(path, overrides, seed, data, valid):
    if data or valid:
        raise SettingError(
            f"--data {[*data, *valid][0]}: found data for recovery, expected none: the file's own neuron"
        )
    chosen = change({"trials": RecoverySettings()}, overrides)["trials"]
    model = equations.read(path)
    config = {"task": "recovery", "equations": str(path), "digest": model.digest, "trials": as_plain(chosen)}
    return Recovery(model, chosen, seed), config


def _neuronio(path, overrides, seed, data, valid):
    for name, files in (("--data", data), ("--valid", valid)):
        if not files:
            raise SettingError(f"{name}: found no files for neuronio, expected shards")
    chosen = {"task": NeuronIO.Settings(), "model": EquationNeuron.Settings(), "trials": WindowSettings()}
    chosen = change(chosen, [*overrides, f"equations={path}"])
    task = NeuronIO(chosen["task"])
    train, validation = task.read(data), task.read(valid)
    sizes = task.sizes(train)
    neuron = EquationNeuron(chosen["model"], *sizes)
    config = {
        "task": "neuronio",
        "task_settings": as_plain(chosen["task"]),
        "model": "equation_neuron",
        "model_settings": as_plain(chosen["model"]),
        "num_input": sizes[0],
        "num_output": sizes[1],
        "digest": neuron.model.digest,
        "trials": as_plain(chosen["trials"]),
    }
    return NeuronIOTrials(neuron, chosen["trials"], seed, task, train, validation), config


MAKERS = {"recovery": _recovery, "neuronio": _neuronio}


def find(task):
    """What makes the trials of a task from (equation file, overrides of settings, seed, data, validation data).

    It returns (trials, plain values for config.yaml).  Raises SettingError where there is no such task.
    """
    if task not in MAKERS:
        raise SettingError(f"TASK: found '{task}', expected one of: {', '.join(MAKERS)}")
    return MAKERS[task]
