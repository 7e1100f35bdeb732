"""Delayed digits: which digit was spoken, asked after a silence.

The data are files in SHD's layout (sims/stimuli/digits.py). A pooled channel spikes in a bin of dt_ms or does not, and
a recording is laid so that its last spike falls into the last bin of an input of input_ms; what began earlier is cut.
Then nothing arrives for delay x input_ms, nor in the answer_ms after it, and the answer is what the model says in the
very last step: a readout of the last answer_ms sees nothing of the input itself.

Input of a model: Events [batch, time, channel].  Output: [batch, …, class]; the last step counts.
Loss: cross-entropy. While learning, the silence of a batch is drawn evenly between 0 and `delay`, each spike is kept
with the probability `keep` (and counts 1/keep), and each recording is moved by up to `shift` channels, as in Cramer et
al. 2020. A fit is scored after each of DELAYS, and its weights are picked by the loss over those that it learns with.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from fitting.events import Events, respond
from fitting.settings import require
from sims.stimuli import digits

DELAYS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # of the silence, in lengths of the input
_ENGLISH = 10  # labels from here on are German
_AT_ONCE, _TYPICAL = 128, 64


@dataclass(frozen=True)
class Settings:
    """dt_ms: of a bin, and of a model's step.  channels: after pooling, a divisor of 700.  input_ms: of the input.
    answer_ms: of the silence in which the answer is read.  delay: the longest silence before it to learn with, in
    lengths of the input.  keep: share of the spikes to learn with.  shift: most channels to move a recording by."""

    dt_ms: float = 10.0
    channels: int = 140
    input_ms: float = 1000.0
    answer_ms: float = 100.0
    delay: float = 0.0
    keep: float = 0.7
    shift: int = 4

    def __post_init__(self):
        require(0 < self.dt_ms < np.inf, "dt_ms", self.dt_ms, "a finite number above 0")
        require(self.dt_ms <= self.input_ms < np.inf, "input_ms", self.input_ms, f"at least a bin of {self.dt_ms:g} ms")
        require(0 <= self.answer_ms < np.inf, "answer_ms", self.answer_ms, "a finite number from 0")
        require(0 <= self.delay <= 100, "delay", self.delay, "0 to 100")
        require(0 < self.keep <= 1, "keep", self.keep, "above 0 and at most 1")
        require(0 <= self.shift < self.channels, "shift", self.shift, "0 or more, but below the number of channels")

    @property
    def steps(self):
        """Of the input."""
        return round(self.input_ms / self.dt_ms)

    def silence(self, delay):
        """Steps after the input, for a delay in lengths of the input."""
        return round(delay * self.steps) + round(self.answer_ms / self.dt_ms)


@dataclass(frozen=True, eq=False)
class Recordings:
    """channel: uint16 [event], in order of time.  bounds: int64 [recording, steps + 1], those of recording i in step t
    are channel[bounds[i, t]:bounds[i, t + 1]].  label, speaker: int64 [recording].  channels: how many."""

    channel: np.ndarray
    bounds: np.ndarray
    label: np.ndarray
    speaker: np.ndarray
    channels: int

    def __len__(self):
        return len(self.label)

    def events(self, chosen, silence=0):
        """Events [len(chosen), steps + silence, channel] of some recordings.  silence: steps."""
        channel, bounds = self._of(chosen)
        return self._events(channel, bounds, silence, 1.0)

    def varied(self, chosen, silence, generator, keep, shift):
        """As `events`, but each spike is there with the probability `keep` and each recording moved by up to `shift`
        channels; what is moved out is lost."""
        channel, bounds = self._of(chosen)
        moved = np.repeat(generator.integers(-shift, shift + 1, len(chosen)), bounds[:, -1] - bounds[:, 0])
        channel = channel.astype(np.int64) + moved
        there = (generator.random(len(channel)) < keep) & (0 <= channel) & (channel < self.channels)
        bounds = np.pad(there.cumsum(), (1, 0))[bounds]
        return self._events(channel[there].astype(np.uint16), bounds, silence, 1 / keep)

    def _of(self, chosen):
        """(channel, bounds) of some recordings, one after another."""
        bounds = self.bounds[chosen]
        counts = bounds[:, -1] - bounds[:, 0]
        ends = np.cumsum(counts)
        inside = np.repeat(bounds[:, 0] - (ends - counts), counts) + np.arange(counts.sum())
        return self.channel[inside], bounds - bounds[:, :1] + (ends - counts)[:, None]

    def _events(self, channel, bounds, silence, value):
        bounds = np.pad(bounds, ((0, 0), (0, silence)), mode="edge").astype(np.int32)
        return Events(channel, bounds, np.full(self.channels, value, np.float32))

    def typical(self):
        """Events of some recordings, evenly from all."""
        return self.events(np.unique(np.linspace(0, len(self) - 1, _TYPICAL).astype(int)))


class DelayedDigits:
    """The task; see the module."""

    Settings = Settings

    def __init__(self, settings):
        self.settings = settings

    def read(self, paths):
        """Recordings of some files.  Raises DigitsError, which names the file."""
        found = digits.concatenate([digits.read(path) for path in paths]).pooled(self.settings.channels)
        steps, step_s = self.settings.steps, self.settings.dt_ms * 1e-3
        recording = np.repeat(np.arange(len(found)), np.diff(found.start))
        last = found.time[np.maximum(found.start[1:] - 1, 0)].astype(float)
        step = steps - 1 - np.floor((last[recording] - found.time) / step_s + 1e-6).astype(np.int64)
        inside = step >= 0
        cell = (recording * steps + step)[inside] * found.channels + found.channel[inside]
        cell = np.unique(cell)  # sorted, so in order of recordings and of time
        row, channel = np.divmod(cell, found.channels)
        rows = np.arange(len(found))[:, None] * steps + np.arange(steps + 1)
        bounds = np.searchsorted(row, rows)
        return Recordings(channel.astype(np.uint16), bounds, found.label, found.speaker, found.channels)

    def sizes(self, data):
        """(channels, classes): 10 where all digits are English, else 20."""
        return data.channels, _ENGLISH if data.label.max() < _ENGLISH else len(digits.KEYS)

    def known(self, data):
        """The step of a model."""
        return {"dt_ms": self.settings.dt_ms}

    def typical_output(self, data):
        """The logits of the labels' frequencies."""
        counts = np.bincount(data.label, minlength=self.sizes(data)[1])
        return torch.from_numpy(np.log((counts + 1) / (counts + 1).sum())).float()

    def batch(self, data, generator, size):
        """`size` recordings, or all where there are not more, followed by one silence.

        Returns (Events, labels [batch]).
        """
        chosen = generator.permutation(len(data))[:size]
        settings = self.settings
        silence = int(generator.integers(settings.silence(0), settings.silence(settings.delay) + 1))
        inputs = data.varied(chosen, silence, generator, settings.keep, settings.shift)
        return inputs, torch.from_numpy(data.label[chosen])

    def trials(self, data):
        """(Events, labels) of all recordings as they are, some at a time, after the longest silence to learn with."""
        for start in range(0, len(data), _AT_ONCE):
            chosen = np.arange(start, min(start + _AT_ONCE, len(data)))
            inputs = data.events(chosen, self.settings.silence(self.settings.delay))
            yield inputs, torch.from_numpy(data.label[chosen])

    def loss(self, outputs, targets):
        """Cross-entropy of the last step."""
        return cross_entropy(outputs[:, -1], targets)

    def evaluate(self, model, data, show_progress=False):
        """Score a model after every silence.

        Returns (metrics, predictions). metrics: `loss`, over the DELAYS that are learnt with; `accuracy_delay_D` for
        each D of DELAYS, and the count `recordings`. predictions(): `delay` [delay], `label`, `speaker` [recording],
        `answer` [delay, recording] and `logits` [delay, recording, class].
        """
        settings = self.settings
        at = [settings.steps + settings.silence(delay) - 1 for delay in DELAYS]
        logits, starts = [], range(0, len(data), _AT_ONCE)
        model.eval()
        with torch.no_grad():
            for start in tqdm(starts, desc="digits", leave=False, disable=not show_progress):
                chosen = np.arange(start, min(start + _AT_ONCE, len(data)))
                inputs = data.events(chosen, settings.silence(DELAYS[-1]))
                found = model.answers(inputs, at) if hasattr(model, "answers") else respond(model, inputs)[:, at]
                logits.append(found.transpose(0, 1))
        logits, label = torch.cat(logits, dim=1), torch.from_numpy(data.label)
        answer = logits.argmax(-1)
        learnt = [i for i, delay in enumerate(DELAYS) if delay <= self.settings.delay]
        loss = torch.stack([cross_entropy(logits[i], label) for i in learnt]).mean()
        metrics = {"loss": loss.item()}
        metrics |= {
            f"accuracy_delay_{delay:g}": (found == label).double().mean().item()
            for delay, found in zip(DELAYS, answer, strict=True)
        }
        metrics["recordings"] = len(data)
        return metrics, lambda: {
            "delay": np.array(DELAYS),
            "label": data.label,
            "speaker": data.speaker,
            "answer": answer.numpy(),
            "logits": logits.numpy(),
        }
