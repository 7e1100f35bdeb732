"""Spoken digits as spikes of a cochlea, from any source, in the HDF5 layout of the Spiking Heidelberg Digits (SHD):

    /spikes/times   float16, of variable length   s
    /spikes/units   uint16, of variable length    channel 0..699, of a place from the cochlea's base to its apex
    /labels         0..9 English zero..nine, 10..19 German null..neun
    /extra/keys     what the labels stand for
    /extra/speaker  who speaks

`read` is the one reader and `write` the one writer. In memory the events of all recordings lie one after another; see
Digits. Files written here are sealed (sims/sealed.py), which HDF5 does not mind. The official ones are not, nor are
those of other programs, and a damaged HDF5 file can crash the library that reads it, or keep it busy forever: such a
file is first read in a process of its own.

Source: Cramer, Stradmann, Schemmel & Zenke 2020 (IEEE TNNLS), the data set and its layout.
"""

import io
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import h5py
import numpy as np

from sims import sealed
from sims.mistakes import Mistake

CHANNELS = 700
KEYS = tuple(
    "zero one two three four five six seven eight nine null eins zwei drei vier fuenf sechs sieben acht neun".split()
)
PATIENCE = 120  # s, for a file without a seal; the official training set takes a few
_NAMES = ("spikes/times", "spikes/units", "labels")
_PROJECT = Path(__file__).resolve().parents[2]


class DigitsError(Mistake):
    """Recordings that must not be used; the text names the file, what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Digits:
    """Recordings of spoken digits as spikes.

    time: float32 [event], s from a recording's start, not falling within a recording.  channel: uint16 [event].
    start: int64 [recording + 1], events of recording i are start[i]:start[i + 1].  label: int64 [recording], an index
    into keys.  speaker: int64 [recording], -1 where a file does not say.  keys: names of the twenty labels.
    channels: how many there are.
    """

    time: np.ndarray
    channel: np.ndarray
    start: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    keys: tuple = KEYS
    channels: int = CHANNELS

    def __len__(self):
        return len(self.label)

    def events(self, recording):
        """(time s, channel) of one recording, views of the arrays."""
        inside = slice(self.start[recording], self.start[recording + 1])
        return self.time[inside], self.channel[inside]

    def chosen(self, recordings):
        """The given recordings (whole numbers, or bool [recording]) as Digits, in their order."""
        recordings = np.arange(len(self))[recordings]
        return gather(
            [self.events(i) for i in recordings],
            self.label[recordings],
            self.speaker[recordings],
            self.keys,
            self.channels,
        )

    def pooled(self, channels):
        """The same spikes on fewer channels: as many neighbours as divide evenly become one.  No spike is dropped.

        Raises DigitsError where `channels` does not divide their number.
        """
        if not 1 <= channels <= self.channels or self.channels % channels:
            raise DigitsError(f"channels: found {channels}, expected a divisor of {self.channels}")
        width = self.channels // channels
        return replace(self, channel=(self.channel // width).astype(np.uint16), channels=channels)


def gather(events, label, speaker, keys=KEYS, channels=CHANNELS):
    """Digits of single recordings.

    events: for each (time s, channel), in any order.  label, speaker: [recording].
    """
    times, places = [np.empty(0, np.float32)], [np.empty(0, np.uint16)]
    for time, channel in events:
        order = np.lexsort((channel, time))
        times.append(np.asarray(time)[order].astype(np.float32))
        places.append(np.asarray(channel)[order].astype(np.uint16))
    start = np.cumsum([len(one) for one in times], dtype=np.int64)
    label, speaker = np.array(label, np.int64), np.array(speaker, np.int64)
    return Digits(np.concatenate(times), np.concatenate(places), start, label, speaker, tuple(keys), channels)


def concatenate(parts):
    """Digits of several Digits, one after another; they must agree on keys and channels, else DigitsError."""
    first = parts[0]
    for part in parts[1:]:
        if (part.keys, part.channels) != (first.keys, first.channels):
            raise DigitsError(
                f"found recordings with {part.channels} channels and the labels {part.keys}, expected "
                f"{first.channels} channels and {first.keys} as in those before"
            )
    ends = np.cumsum([0, *(part.start[-1] for part in parts[:-1])])
    return Digits(
        np.concatenate([part.time for part in parts]),
        np.concatenate([part.channel for part in parts]),
        np.concatenate([first.start[:1], *(part.start[1:] + end for part, end in zip(parts, ends, strict=True))]),
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.speaker for part in parts]),
        first.keys,
        first.channels,
    )


def read(path):
    """Digits of a file in SHD's layout, official, written here or by others; times are those stored, not rounded.

    Raises DigitsError where the file is missing, cut or damaged, of another layout, or holds a channel from 700 on or a
    label that is none of the twenty.
    """
    try:
        if sealed.is_sealed(path):
            content = sealed.read(path)
        else:
            _survive(path)
            content = Path(path).read_bytes()
        return parse(content, path)
    except sealed.SealError as error:
        raise DigitsError(f"{error}; expected spoken digits") from error
    except DigitsError:
        raise
    except Exception as error:  # the disk's, and whatever HDF5 makes of a file that is not one
        raise DigitsError(f"{path}: cannot be read ({error}), expected spikes in SHD's layout") from error


def write(digits, path):
    """Write Digits in SHD's layout, there whole or not at all; the same digits give the same bytes.

    Times are rounded to float16, as SHD has them: 0.5 ms at a second.
    Raises OSError (with the file's name) where the disk refuses, DigitsError where channels were pooled.
    """
    if digits.channels != CHANNELS:
        raise DigitsError(f"{path}: found recordings of {digits.channels} channels, expected {CHANNELS} as in SHD")
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        for name, dtype, events in (("times", np.float16, digits.time), ("units", np.uint16, digits.channel)):
            rows = np.empty(len(digits), object)
            rows[:] = np.split(events.astype(dtype), digits.start[1:-1]) if len(digits) else []
            file.create_dataset(f"spikes/{name}", data=rows, dtype=h5py.vlen_dtype(dtype))
        file["labels"] = digits.label.astype(np.uint16)
        file["extra/speaker"] = digits.speaker.astype(np.int16)
        file["extra/keys"] = np.array([key.encode() for key in digits.keys])
    sealed.write(path, image.getvalue())


def parse(content, path):
    """Digits of a file's bytes, which HDF5 must survive (see `read`); `path` is for messages.  Raises DigitsError."""

    def require(holds, name, found, expected):
        if not holds:
            raise DigitsError(f"{path}: {name} {found}, expected {expected}")

    with h5py.File(io.BytesIO(content)) as file:
        absent = [name for name in _NAMES if not isinstance(file.get(name), h5py.Dataset)]
        require(not absent, f"/{absent[0] if absent else ''}", "is absent", "spikes in SHD's layout")
        for name, kinds in (("spikes/times", "f"), ("spikes/units", "iu")):
            inner = h5py.check_vlen_dtype(file[name].dtype)
            fits = inner is not None and np.dtype(inner).kind in kinds and file[name].ndim == 1
            found = f"is {file[name].dtype} {file[name].shape}"
            require(
                fits, f"/{name}", found, f"rows of variable length of {'numbers' if kinds == 'f' else 'whole numbers'}"
            )
        times, units, label = (file[name][()] for name in _NAMES)
        extra = {name: file[f"extra/{name}"][()] for name in ("keys", "speaker") if f"extra/{name}" in file}

    count = len(times)
    require(count > 0, "/spikes/times", "is empty", "at least one recording")
    for name, entries in (("/spikes/units", units), ("/labels", label), ("/extra/speaker", extra.get("speaker"))):
        if entries is not None:
            require(entries.shape == (count,), name, f"has shape {entries.shape}", f"({count},) as /spikes/times")
    require(label.dtype.kind in "iu", "/labels", f"holds {label.dtype}", "whole numbers")
    keys = tuple(key.decode() if isinstance(key, bytes) else str(key) for key in np.ravel(extra.get("keys", KEYS)))
    require(len(set(keys)) == len(KEYS), "/extra/keys", f"holds {len(set(keys))} names", f"{len(KEYS)}")
    strange = np.flatnonzero((label < 0) | (label >= len(keys)))
    if len(strange):
        raise DigitsError(
            f"{path}, recording {strange[0]}: found label {label[strange[0]]}, expected 0 to {len(keys) - 1}"
        )
    for k, (time, channel) in enumerate(zip(times, units, strict=True)):
        name = f"recording {k}:"
        require(len(time) == len(channel), name, f"found {len(time)} times and {len(channel)} channels", "as many")
        if len(time):
            require(np.isfinite(time).all() and time.min() >= 0, name, "found times below 0 or not finite", "s >= 0")
            found = f"found channels {channel.min()} to {channel.max()}"
            require(0 <= channel.min() and channel.max() < CHANNELS, name, found, f"0 to {CHANNELS - 1}")
    speaker = extra.get("speaker", np.full(count, -1))
    require(speaker.dtype.kind in "iu", "/extra/speaker", f"holds {speaker.dtype}", "whole numbers")
    return gather(zip(times, units, strict=True), label, speaker, keys)


def _survive(path):
    """Read a file in a process of its own; raises DigitsError where that process dies or does not end."""
    command = [sys.executable, "-m", "sims.stimuli.digits", os.path.abspath(path)]
    try:
        run = subprocess.run(command, cwd=_PROJECT, timeout=PATIENCE, capture_output=True)
    except subprocess.TimeoutExpired:
        raise DigitsError(f"{path}: HDF5 did not end reading it in {PATIENCE} s (a damaged file?)") from None
    if run.returncode < 0:
        raise DigitsError(
            f"{path}: HDF5 crashes on it, signal {-run.returncode}; expected a whole file in SHD's layout"
        )


if __name__ == "__main__":
    # Whether HDF5 survives it; what is wrong with a file is for the caller to say.
    try:
        parse(Path(sys.argv[1]).read_bytes(), sys.argv[1])
    except Exception:
        sys.exit(1)
