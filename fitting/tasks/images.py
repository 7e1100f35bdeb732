"""Images pixel by pixel: CIFAR-10, Pathfinder and Pathfinder-X, a grey value a step from the first row to the last.

Input of a model: Events on [batch, pixel, grey level], the pixel's value of 0 to 255 in `levels` bins: one a step.
Output and loss: see fitting/tasks/classification.py.

Sources: Tay et al. 2021 (arXiv 2011.04006), the Long Range Arena; Spieler et al. 2023 (arXiv 2306.16922), the bins.
"""

from dataclasses import dataclass

import numpy as np

from fitting.settings import require
from fitting.tasks import classification
from fitting.tasks.classification import SequenceClassification, Sequences, TaskError
from sims.stimuli import image_files


@dataclass(frozen=True)
class Settings(classification.Settings):
    """Those of a classification. levels: bins of grey values."""

    levels: int = 16

    def __post_init__(self):
        super().__post_init__()
        require(2 <= self.levels <= 256, "levels", self.levels, "2 to 256")


class _Images(SequenceClassification):
    Settings = Settings

    def read(self, paths):
        """Sequences of image files (sims/stimuli/image_files.py).

        Raises TaskError where a file cannot be used or its images are of another size or kind.
        """
        image, label = [], []
        for path in paths:
            try:
                pixels, kinds = image_files.read(path, self.size)
            except image_files.ImageError as error:
                raise TaskError(str(error)) from error
            if kinds.max() >= self.classes:
                raise TaskError(f"{path}: found the label {kinds.max()}, expected 0 to {self.classes - 1}")
            image.append(pixels.reshape(len(pixels), -1))
            label.append(kinds)
        grey = np.concatenate(image).astype(np.uint16) * self.settings.levels // 256
        start = np.arange(len(grey) + 1) * grey.shape[1]
        return Sequences(grey.ravel(), start, np.concatenate(label).astype(np.int64), self.settings.levels)


class Cifar(_Images):
    """Sequential CIFAR-10: 1024 steps, ten classes."""

    size, classes = 32, 10


class Pathfinder(_Images):
    """Pathfinder: 1024 steps; class 1 where both markers are on one snake."""

    size, classes = 32, 2


class PathfinderX(_Images):
    """Pathfinder-X: the same with 16,384 steps."""

    size, classes = 128, 2
