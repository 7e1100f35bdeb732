"""Spoken digits as spikes of a cochlea: SHD, which of twenty was said, and SHD-Adding, what two of them add up to.

Input of a model: Events on [batch, bin, channel], spikes in bins of `bin_ms`, of which as many as fit are begun within
`duration_ms`; later spikes are left out. Events stay events: a batch is a matter of indices.
SHD: 20 classes, ten digits in two languages. SHD-Adding: two recordings, drawn independently, one after the other; 19
classes, the sum of the two digits in whatever language. A model whose settings have a step is given that of the bins.
Loss: see fitting/tasks/classification.py.

Sources: Cramer, Stradmann, Schemmel & Zenke 2020 (IEEE TNNLS), the data; Spieler et al. 2023 (arXiv 2306.16922), the
sum, the cut at 1 s and the dropout.
"""

import math
from dataclasses import dataclass

import numpy as np

from fitting.events import Events
from fitting.settings import require
from fitting.tasks import classification
from fitting.tasks.classification import Classification
from sims.stimuli import digits
from sims.streams import stream

DIGITS, CLASSES = 10, len(digits.KEYS)


@dataclass(frozen=True)
class Settings(classification.Settings):
    """Those of a classification. bin_ms: of a step.  duration_ms: of a recording."""

    dropout: float = 0.5
    bin_ms: float = 2.0
    duration_ms: float = 1000.0

    def __post_init__(self):
        super().__post_init__()
        require(0 < self.bin_ms < math.inf, "bin_ms", self.bin_ms, "a finite number above 0")
        require(
            self.bin_ms <= self.duration_ms < math.inf,
            "duration_ms",
            self.duration_ms,
            f"a finite number of at least bin_ms = {self.bin_ms}",
        )


@dataclass(frozen=True)
class AddingSettings(Settings):
    """Those of SHD. pairs: that are scored."""

    pairs: int = 2000

    def __post_init__(self):
        super().__post_init__()
        require(self.pairs >= 1, "pairs", self.pairs, "at least 1")


@dataclass(frozen=True, eq=False)
class Recordings:
    """Spikes of recordings, one recording after another.

    channel: uint16 [spike].  start: int64 [recording + 1].  bounds: int32 [recording, bin + 1], the spikes of a bin are
    channel[start + bounds[bin]] to channel[start + bounds[bin + 1]].  label: int64 [recording].
    """

    channel: np.ndarray
    start: np.ndarray
    bounds: np.ndarray
    label: np.ndarray

    def spikes(self, chosen):
        """(channels of the spikes of some recordings, one after another; bounds in them [recording, bin + 1])."""
        count = np.diff(self.start)[chosen]
        channel = np.concatenate([self.channel[self.start[i] : self.start[i + 1]] for i in chosen])
        return channel, self.bounds[chosen] + (np.cumsum(count) - count).astype(np.int32)[:, None]


class SHD(Classification):
    """Which digit in which language; see the module."""

    Settings, classes = Settings, CLASSES

    def read(self, paths):
        """Recordings of files in SHD's layout; raises DigitsError where one cannot be used."""
        found = digits.concatenate([digits.read(path) for path in paths])
        edges = np.arange(math.ceil(self.settings.duration_ms / self.settings.bin_ms) + 1) * self.settings.bin_ms / 1e3
        channels, bounds = [], []
        for recording in range(len(found)):
            time, channel = found.events(recording)
            bounds.append(np.searchsorted(time.astype(np.float64), edges).astype(np.int32))
            channels.append(channel[bounds[-1][0] : bounds[-1][-1]])
            bounds[-1] -= bounds[-1][0]
        start = np.concatenate([[0], np.cumsum([len(one) for one in channels])])
        return Recordings(np.concatenate(channels), start, np.array(bounds), found.label)

    def sizes(self, data):
        """(channels, classes)."""
        return digits.CHANNELS, self.classes

    def known(self, data):
        """The step, ms."""
        return {"dt_ms": self.settings.bin_ms}

    def examples(self, data):
        return np.arange(len(data.label))

    def labels(self, data, examples):
        return data.label[examples]

    def draw(self, data, generator, size):
        return generator.integers(len(data.label), size=size)

    def longest(self, data):
        return data.bounds.shape[1] - 1

    def inputs(self, data, examples):
        channel, bounds = data.spikes(examples)
        last = np.full(len(examples), bounds.shape[1] - 2)
        return Events(channel, bounds, np.ones(digits.CHANNELS, np.float32)), last


class SHDAdding(SHD):
    """What two digits add up to; see the module."""

    Settings, classes = AddingSettings, 2 * DIGITS - 1

    def examples(self, data):
        """Pairs of recordings [pair, 2], the same whenever a file is scored."""
        return stream(0, "pairs to add").integers(len(data.label), size=(self.settings.pairs, 2))

    def labels(self, data, examples):
        return (data.label[examples] % DIGITS).sum(axis=1)

    def draw(self, data, generator, size):
        return generator.integers(len(data.label), size=(size, 2))

    def longest(self, data):
        return 2 * super().longest(data)

    def inputs(self, data, examples):
        channel, bounds = data.spikes(examples.ravel())
        first, second = bounds[::2], bounds[1::2]
        together = np.concatenate([first, second[:, 1:]], axis=1)
        return Events(channel, together, np.ones(digits.CHANNELS, np.float32)), np.full(
            len(examples), together.shape[1] - 2
        )
