"""ListOps: the value of nested operations on digits, written out token by token.

Input of a model: Events on [batch, token, kind of token], 15 kinds, one event a step.
Output: ten classes; loss: see fitting/tasks/classification.py.

Sources: Nangia & Bowman 2018 (arXiv 1804.06028); Tay et al. 2021 (arXiv 2011.04006), whose files are read too.
"""

import numpy as np

from fitting.tasks.classification import SequenceClassification, Sequences, TaskError
from sims.stimuli import listops


class ListOps(SequenceClassification):
    """The task; see the module."""

    classes = 10

    def read(self, paths):
        """Sequences of tables of trees (sims/stimuli/listops.py); raises TaskError where one cannot be used."""
        trees, values = [], []
        for path in paths:
            try:
                tokens, value = listops.read(path)
            except listops.ListError as error:
                raise TaskError(str(error)) from error
            trees += tokens
            values.append(value)
        return Sequences.of(trees, np.concatenate(values), len(listops.TOKENS))
