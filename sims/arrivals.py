"""Input events of neurons: lists of (time, neuron, event, weight), and what of them arrives in each step.

Events that reach a neuron in one step act together, with the sum of their weights; every backend takes them in this
form.
"""

import zipfile
from dataclasses import dataclass, field

import numpy as np

from sims.equations import SPIKE
from sims.mistakes import Mistake

ROUNDING = 1e-6  # of a step: 0.3 ms is step 3 of 0.1 ms
KEYS = ("event_time_ms", "event_neuron", "event_name", "event_weight")


class ArrivalsError(Mistake):
    """A list of events that cannot be delivered."""


def _empty(dtype):
    return field(default_factory=lambda: np.zeros(0, dtype))


@dataclass(frozen=True, eq=False)
class Arrivals:
    """Events in any order.

    time_ms: float [n].  neuron: int [n].  name: str [n], events of the model such as presynaptic.  weight: float [n].
    """

    time_ms: np.ndarray = _empty(float)
    neuron: np.ndarray = _empty(int)
    name: np.ndarray = _empty("U1")
    weight: np.ndarray = _empty(float)

    def check(self, model, neurons, source="events"):
        """Raise ArrivalsError where an event has no neuron, no name in the model, or an impossible time or weight."""
        for what, values in (("time_ms", self.time_ms), ("weight", self.weight)):
            if not np.all(np.isfinite(values)):
                raise ArrivalsError(f"{source}: event_{what} holds {values[~np.isfinite(values)][0]}, expected numbers")
        if np.any(self.time_ms < 0):
            raise ArrivalsError(f"{source}: event_time_ms holds {self.time_ms.min():g}, expected 0 or more")
        outside = (self.neuron < 0) | (self.neuron >= neurons)
        if outside.any():
            raise ArrivalsError(
                f"{source}: event_neuron holds {self.neuron[outside][0]}, expected 0 to {neurons - 1} (--neurons)"
            )
        inputs = input_events(model)
        for name in np.unique(self.name):
            if name not in inputs:
                raise ArrivalsError(
                    f"{source}: event_name holds '{name}', expected one of: {', '.join(inputs) or 'none'}"
                )
        return self

    def weights(self, name, neurons, steps, dt_ms):
        """What arrives of one event: float64 [steps, neurons], sums of weights; events after the end are left out.

        Step k takes in the times from k dt up to, but not with, (k + 1) dt.
        """
        found = np.zeros((steps, neurons))
        mine = np.flatnonzero(self.name == name)
        step = np.floor(self.time_ms[mine] / dt_ms + ROUNDING)
        mine, step = mine[step < steps], step[step < steps].astype(np.int64)
        np.add.at(found, (step, self.neuron[mine]), self.weight[mine])
        return found


def input_events(model):
    """The names of a Model's events that come from outside."""
    return [name for name in model.events if name != SPIKE]


def read(path, model, neurons):
    """Read Arrivals from a NumPy archive.

    It holds `event_time_ms`, and optionally `event_neuron` (0), `event_name` (the model's, where it has but one) and
    `event_weight` (1).  Raises ArrivalsError where the file cannot be used.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {key: archive[key] for key in KEYS if key in archive}
    except OSError as error:
        raise ArrivalsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise ArrivalsError(f"{path}: is not a NumPy archive of plain arrays ({error})") from None
    if "event_time_ms" not in found:
        raise ArrivalsError(f"{path}: has no array 'event_time_ms'")
    count, inputs = found["event_time_ms"].size, input_events(model)
    if "event_name" not in found and len(inputs) != 1:
        raise ArrivalsError(
            f"{path}: has no array 'event_name', which must name one of the events {', '.join(inputs) or '(none)'}"
        )
    found = {
        "event_neuron": np.zeros(count, int),
        "event_name": np.full(count, inputs[0] if inputs else ""),
        "event_weight": np.ones(count),
    } | found
    for key, values in found.items():
        if values.shape != (count,):
            raise ArrivalsError(f"{path}: {key} has the shape {values.shape}, expected ({count},)")
        wanted, kinds = ("texts", "U") if key == "event_name" else ("real numbers", "iufb")
        if values.dtype.kind not in kinds:
            raise ArrivalsError(f"{path}: {key} holds {values.dtype}, expected {wanted}")
    if np.any(found["event_neuron"] % 1):
        raise ArrivalsError(f"{path}: event_neuron must hold whole numbers")
    arrivals = Arrivals(
        found["event_time_ms"].astype(float),
        found["event_neuron"].astype(np.int64),
        found["event_name"],
        found["event_weight"].astype(float),
    )
    return arrivals.check(model, neurons, path)
