"""How every figure looks, which is sims.style, and how the fits in one are grouped."""

from pathlib import Path

import numpy as np

from sims.style import (  # noqa: F401
    BLACK,
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    WIDTH,
    colours,
    save,
)  # fmt: skip


def by_model(paths):
    """Paths of fits grouped by model, in their order: {model: [path of each seed]}, from …/MODEL/seedN/FILE."""
    groups = {}
    for path in map(Path, paths):
        groups.setdefault(path.parent.parent.name, []).append(path)
    return groups


def scale_auc(axes):
    """Make the vertical axis, on which `1 - AUC` is drawn, that of the AUC.

    It is logarithmic in the distance from perfection, which is what differs between good models.
    """
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = [tick for tick in (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002) if low <= tick <= high]
    # Few decades hold few round numbers.
    ticks = ticks if len(ticks) > 1 else np.geomspace(low, high, 5)[1:-1]
    axes.set_yticks(ticks, [f"{1 - tick:.3g}" for tick in ticks])
    axes.set_yticks([], minor=True)
    axes.invert_yaxis()
