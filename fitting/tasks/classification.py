"""Classification of a sequence: what the tasks share that ask one question about all of it.

Loss: cross-entropy of what a model says in its last step, or of the mean over all steps (`readout`). Sequences of a
batch may be of different lengths; each ends with its own last step.
A part of the input is taken away at random while a model learns (`dropout`), never when it is scored.

A task derives from Classification and says how its files are read (`read`), how many channels and classes there are
(`sizes`) and how examples become events (`examples`, `inputs`).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch.nn import functional
from tqdm import tqdm

from fitting.events import drop, one_each_step, respond
from fitting.settings import require
from sims.mistakes import Mistake

_STEPS_AT_ONCE = 1 << 16


class TaskError(Mistake):
    """Data that cannot serve the task."""


@dataclass(frozen=True)
class Settings:
    """readout: whether the last output counts, or the mean over time.  dropout: see the module."""

    readout: Literal["last", "mean"] = "last"
    dropout: float = 0.0

    def __post_init__(self):
        require(0 <= self.dropout < 1, "dropout", self.dropout, "from 0 to below 1")


class Classification:
    """Loss and scores of a task whose answer is one class.

    To be said by a task: `classes`; read(paths) -> data; sizes(data); examples(data), a list or an array of whatever
    stands for the examples to score, with labels(data, examples) int64 [example]; draw(data, generator, size), some of
    them to learn from; inputs(data, examples) -> (Events, last int64 [example], the number of each one's last step).
    """

    Settings = Settings

    def __init__(self, settings):
        self.settings = settings

    def typical_output(self, data):
        """The logarithm of each class's share, with one example more of each."""
        counts = np.bincount(self.labels(data, self.examples(data)), minlength=self.classes) + 1.0
        return torch.from_numpy(np.log(counts / counts.sum())).float()

    def batch(self, data, generator, size):
        """`size` examples at random.  Returns (Events, (labels int64 [size], last steps int64 [size]))."""
        chosen = self.draw(data, generator, size)
        inputs, last = self.inputs(data, chosen)
        labels = torch.from_numpy(self.labels(data, chosen))
        return drop(inputs, self.settings.dropout, generator), (labels, torch.from_numpy(last))

    def loss(self, outputs, targets):
        """Cross-entropy.  outputs: [batch, time, class]; targets as `batch` gives them."""
        labels, last = targets
        return functional.cross_entropy(self.answer(outputs, last), labels)

    def answer(self, outputs, last):
        """The outputs that count, [batch, class].  last: int64 [batch]."""
        if self.settings.readout == "last":
            return outputs[torch.arange(len(outputs)), last]
        until = torch.arange(outputs.shape[1]) <= last[:, None]
        return torch.einsum("btc,bt->bc", outputs, until.to(outputs)) / (last[:, None] + 1)

    def evaluate(self, model, data, show_progress=False):
        """Score a model on all examples.

        Returns (metrics, predictions). metrics: `loss`, `accuracy`, the counts `examples` and `classes`, and `chance`,
        the accuracy of who always says the most frequent class. predictions(): `label`, `answer` and `log_probability`
        (of the label) of every example.
        """
        examples = self.examples(data)
        known, answers = self.labels(data, examples), []
        model.eval()
        with torch.no_grad():
            for chosen in tqdm(self._pieces(data, examples), desc="score", leave=False, disable=not show_progress):
                inputs, last = self.inputs(data, chosen)
                answers.append(self.answer(respond(model, inputs), torch.from_numpy(last)))
        log_probability = functional.log_softmax(torch.cat(answers).double(), dim=1).numpy()
        right, said = log_probability[np.arange(len(known)), known], log_probability.argmax(axis=1)
        metrics = {
            "loss": float(-right.mean()),
            "accuracy": float((said == known).mean()),
            "chance": float(np.bincount(known).max() / len(known)),
            "examples": len(known),
            "classes": self.classes,
        }
        return metrics, lambda: {"label": known, "answer": said, "log_probability": right}

    def _pieces(self, data, examples):
        """The examples in runs that are not more than so many steps at once."""
        count = max(1, _STEPS_AT_ONCE // self.longest(data))
        return [examples[start : start + count] for start in range(0, len(examples), count)]


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences with one event a step.

    token: uint16, one sequence after another.  start: int64 [sequence + 1].  label: int64 [sequence].
    channels: that tokens stand for.
    """

    token: np.ndarray
    start: np.ndarray
    label: np.ndarray
    channels: int

    @classmethod
    def of(cls, sequences, label, channels):
        """From a list of arrays."""
        start = np.concatenate([[0], np.cumsum([len(one) for one in sequences])])
        return cls(np.concatenate(sequences).astype(np.uint16), start, np.asarray(label, np.int64), channels)

    def chosen(self, examples):
        """(tokens, lengths) of some sequences."""
        lengths = np.diff(self.start)[examples]
        return np.concatenate([self.token[self.start[i] : self.start[i + 1]] for i in examples]), lengths


class SequenceClassification(Classification):
    """A task on Sequences: all are scored, and drawn with equal chances."""

    def sizes(self, data):
        """(channels, classes)."""
        return data.channels, self.classes

    def examples(self, data):
        return np.arange(len(data.label))

    def labels(self, data, examples):
        return data.label[examples]

    def draw(self, data, generator, size):
        return generator.integers(len(data.label), size=size)

    def longest(self, data):
        return int(np.diff(data.start).max())

    def inputs(self, data, examples):
        tokens, lengths = data.chosen(examples)
        return one_each_step(tokens, lengths, data.channels), lengths - 1
