"""The files of `python -m sims l5pc`: input events of some trials in, recordings out, both NumPy archives (.npz).

Events: `event_time_ms` (whole numbers), `event_channel`, and optionally `event_trial` (0, 1, …; by default all in trial
0). Recordings: `soma_voltage` and `nexus_voltage` [trial, ms] in mV at t = 0, 1, … ms, `spike_time_ms` and
`spike_trial` [spike].
"""

import io
import zipfile
from dataclasses import dataclass

import numpy as np

from sims import sealed
from sims.mistakes import Mistake

LONGEST_MS = 1_000_000


class EventsError(Mistake):
    """A file of events that cannot be simulated."""


@dataclass(frozen=True, eq=False)
class Events:
    """Input events of `trials` trials.

    time: int64 [n], ms, from 0.  channel, trial: int64 [n].  duration_ms: of every trial.
    """

    time: np.ndarray
    channel: np.ndarray
    trial: np.ndarray
    trials: int
    duration_ms: int

    def of(self, trial):
        """(time, channel) of one trial's events, in order of time."""
        mine = np.flatnonzero(self.trial == trial)
        mine = mine[np.argsort(self.time[mine], kind="stable")]
        return self.time[mine], self.channel[mine]

    def check_channels(self, channels, path):
        """Raise EventsError where an event is on a channel that the cell does not have."""
        outside = (self.channel < 0) | (self.channel >= channels)
        if outside.any():
            raise EventsError(f"{path}: event_channel holds {self.channel[outside][0]}, expected 0 to {channels - 1}")


def read_events(path, duration_ms=None):
    """Read a file of events.

    duration_ms: of every trial; by default the last event rounded up to a whole second.
    Returns Events; those after the end are left out.  Raises EventsError where the file or the duration is impossible.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = {
                name: archive[name] for name in ("event_time_ms", "event_channel", "event_trial") if name in archive
            }
    except OSError as error:
        raise EventsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise EventsError(f"{path}: is not a NumPy archive of plain arrays ({error})") from None
    for name in ("event_time_ms", "event_channel"):
        if name not in found:
            raise EventsError(f"{path}: has no array '{name}'")
    found.setdefault("event_trial", np.zeros_like(found["event_channel"]))
    for name, values in found.items():
        if values.ndim != 1 or len(values) != len(found["event_time_ms"]):
            raise EventsError(f"{path}: {name} has the shape {values.shape}, expected ({len(found['event_time_ms'])},)")
        if not np.issubdtype(values.dtype, np.number) or np.iscomplexobj(values) or not np.all(np.mod(values, 1) == 0):
            raise EventsError(f"{path}: {name} must hold whole numbers, found {values.dtype} with other values")
    time, channel, trial = (found[name].astype(np.int64) for name in ("event_time_ms", "event_channel", "event_trial"))
    if len(time) and (time.min() < 0 or time.max() > LONGEST_MS):
        raise EventsError(f"{path}: event_time_ms spans {time.min()} to {time.max()}, expected 0 to {LONGEST_MS} ms")
    if len(trial) and (trial.min() < 0 or trial.max() > len(trial)):
        raise EventsError(
            f"{path}: event_trial spans {trial.min()} to {trial.max()}, expected 0 and up, without large gaps"
        )
    if duration_ms is None:
        duration_ms = int(-(-(time.max() + 1) // 1000) * 1000) if len(time) else 1000
    if not 1 <= duration_ms <= LONGEST_MS:
        raise EventsError(f"--duration: found {duration_ms}, expected 1 to {LONGEST_MS} ms")
    trials = int(trial.max()) + 1 if len(trial) else 1
    inside = time < duration_ms
    return Events(time[inside], channel[inside], trial[inside], trials, duration_ms)


def write_recordings(recordings, path):
    """Write the recordings of all trials in one step.  Raises OSError, with the file's name, where the disk refuses."""
    archive = io.BytesIO()
    np.savez_compressed(
        archive,
        soma_voltage=np.stack([recording.soma_voltage for recording in recordings]),
        nexus_voltage=np.stack([recording.nexus_voltage for recording in recordings]),
        spike_time_ms=np.concatenate([recording.spike_time for recording in recordings]),
        spike_trial=np.repeat(np.arange(len(recordings)), [len(recording.spike_time) for recording in recordings]),
    )
    sealed.replace(path, archive.getvalue())
