"""Text byte by byte: Text, whether a review likes its film, and Retrieval, whether one paper cites another.

Input of a model: Events on [batch, byte, value of the byte], one event a step. Texts are cut to `longest` bytes; those
of Retrieval come one after the other, between them one step with an event on a channel of its own, the 257th.
Output: two classes; loss: see fitting/tasks/classification.py.

Files are tables without a header, a tab between columns: for Text label and text (`python -m sims stimuli reviews`),
for Retrieval those of the Long Range Arena as they are, new_aan_pairs.{train,eval,test}.tsv with label, two names and
two texts. The Arena encodes the two papers apart and compares the codes; one neuron has to keep the first in mind.

Source: Tay et al. 2021 (arXiv 2011.04006).
"""

from dataclasses import dataclass

import numpy as np

from fitting.settings import require
from fitting.tasks import classification
from fitting.tasks.classification import SequenceClassification, Sequences, TaskError

_BETWEEN = 256
_LABELS = {b"0": 0, b"1": 1, b"0.0": 0, b"1.0": 1}


@dataclass(frozen=True)
class Settings(classification.Settings):
    """Those of a classification. longest: bytes of a text that are read."""

    longest: int = 4000

    def __post_init__(self):
        super().__post_init__()
        require(self.longest >= 1, "longest", self.longest, "at least 1")


class Text(SequenceClassification):
    """Reviews; see the module."""

    Settings, classes, columns, channels = Settings, 2, 2, 256

    def read(self, paths):
        """Sequences of tables; raises TaskError with the line where one cannot be used."""
        sequences, labels = [], []
        for path in paths:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise TaskError(f"{path}: cannot be read ({error.strerror})") from error
            lines = data.split(b"\n")
            if lines.pop():
                raise TaskError(f"{path}: ends within line {len(lines) + 1}, expected a whole table (it was cut short)")
            for number, line in enumerate(lines, start=1):
                label, *rest = line.split(b"\t")
                if len(rest) != self.columns - 1 or label not in _LABELS or not all(rest):
                    raise TaskError(
                        f"{path}, line {number}: found {len(rest) + 1} columns and the label {label[:20]!r}, expected "
                        f"{self.columns} that are not empty, the first 0 or 1"
                    )
                labels.append(_LABELS[label])
                sequences.append(self._sequence(rest))
        if not sequences:
            raise TaskError(f"{paths[0]}: found no texts, expected at least one")
        return Sequences.of(sequences, labels, self.channels)

    def _sequence(self, columns):
        return self._bytes(columns[0])

    def _bytes(self, text):
        return np.frombuffer(text[: self.settings.longest], np.uint8).astype(np.uint16)


class Retrieval(Text):
    """Pairs of papers; see the module."""

    columns, channels = 5, 257

    def _sequence(self, columns):
        *_, first, second = map(self._bytes, columns)
        return np.concatenate([first, [_BETWEEN], second]).astype(np.uint16)
