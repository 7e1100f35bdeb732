"""The registry of tasks.

A task is built as `Task(settings)` from its own frozen dataclass `Task.Settings` and has
    read(paths) -> data                          the files of one set, checked
    sizes(data) -> (num_input, num_output)       what a model must take and give
    typical_output(data) -> [num_output]         what a model should say before it has seen an input
    batch(data, generator, size) -> (inputs, a tensor [batch, time, num_input] or Events; targets)
    loss(outputs, targets) -> scalar tensor
    evaluate(model, data, show_progress) -> (metrics, predictions)
and, where data say more of a model than its sizes,
    known(data) -> {setting of a model: value}, to which those settings default that the model has
and, where one file serves for validation and for test,
    validate(model, data) -> metrics             of examples that evaluate never scores
and `model`, the name of the one model that can learn the task, where there is but one.
metrics are plain numbers (None where undefined) and include "loss"; predictions() gives arrays for figures and tables,
made when they are asked for, since validation has no use for them.
"""

from fitting.settings import SettingError
from fitting.tasks.delayed_digits import DelayedDigits
from fitting.tasks.images import Cifar, Pathfinder, PathfinderX
from fitting.tasks.listops import ListOps
from fitting.tasks.navigation import Navigation
from fitting.tasks.neuronio import NeuronIO
from fitting.tasks.recall import Recall
from fitting.tasks.shd import SHD, SHDAdding
from fitting.tasks.text import Retrieval, Text

TASKS = {
    "neuronio": NeuronIO,
    "recall": Recall,
    "delayed_digits": DelayedDigits,
    "shd": SHD,
    "shd_adding": SHDAdding,
    "cifar": Cifar,
    "pathfinder": Pathfinder,
    "pathfinder_x": PathfinderX,
    "listops": ListOps,
    "text": Text,
    "retrieval": Retrieval,
    "navigation": Navigation,
}


def find(name):
    """The task class registered under `name`; raises SettingError where there is none."""
    if name not in list(TASKS):  # what a file says may be no text
        raise SettingError(f"TASK: found '{name}', expected one of: {', '.join(TASKS)}")
    return TASKS[name]
