"""A bifurcation diagram as a figure: what drives the voltage at several values of the parameter, and where it rests."""

import numpy as np
from matplotlib import pyplot as plt

from sims import style
from sims.analysis.bifurcation import Reduced
from sims.analysis.fixed_points import fixed_points

MARGIN_mV = 8  # beyond the outermost fixed points


def draw(diagram):
    """A figure of a Diagram.

    Left, dv/dt against v: every crossing of zero is a fixed point, filled where stable. Right, the fixed points against
    the parameter: stable solid, unstable dashed, folds marked, the bistable stretch shaded, the file's value dotted.
    """
    figure, (drive, states) = plt.subplots(1, 2, figsize=(style.WIDTH, 3.2))
    voltages = np.concatenate([branch.v for branch in diagram.branches]) * 1e3
    edges = voltages.min() - MARGIN_mV, voltages.max() + MARGIN_mV
    _drives(drive, diagram, edges)
    _states(states, diagram, edges)
    return figure


def _drives(axes, diagram, edges):
    v = np.linspace(*edges, 600)
    reduced = Reduced(diagram.model, diagram.parameter, diagram.held)
    values = _telling(diagram)
    heights = []
    for value, colour in zip(values, style.colours(len(values)), strict=True):
        rate = reduced.drift(v / 1e3, value)
        heights.append(rate)
        own = " (this file)" if value == diagram.value else ""
        axes.plot(v, rate, color=colour, label=f"{_shown(diagram, value):.4g}{own}")
        for point in fixed_points(diagram.model, **diagram.given(value)):
            axes.plot(point.v * 1e3, 0, "o", ms=4, mec=colour, mfc=colour if point.stable else "white", zorder=3)
    axes.axhline(0, color=style.GREY, lw=0.8, zorder=0)
    # The folds and the flat stretches between fixed points are what matters, not the depths at either end.
    middle = np.abs(np.concatenate([height[100:-100] for height in heights]))
    reach = 1.3 * np.quantile(middle[np.isfinite(middle)], 0.9)
    axes.set(xlabel="v (mV)", ylabel="dv/dt (mV/ms)", xlim=edges, ylim=(-reach, reach))
    axes.legend(title=_axis(diagram), loc="best")


def _states(axes, diagram, edges):
    for branch in diagram.branches:
        axes.plot(
            _shown(diagram, branch.parameter),
            branch.v * 1e3,
            color=style.BLUE if branch.stable else style.VERMILLION,
            ls="-" if branch.stable else "--",
        )
    for low, high in diagram.windows:
        axes.axvspan(_shown(diagram, low), _shown(diagram, high), color=style.SKY, alpha=0.15, lw=0)
    for fold in diagram.folds:
        place = _shown(diagram, fold.parameter), fold.v * 1e3
        axes.plot(*place, "o", ms=4, color=style.BLACK, zorder=3)
        axes.annotate(f"{place[0]:.4g}", place, textcoords="offset points", xytext=(6, 0), va="center", fontsize=8)
    axes.axvline(_shown(diagram, diagram.value), color=style.GREY, ls=":", lw=1)
    limits = _shown(diagram, diagram.low), _shown(diagram, diagram.high)
    axes.set(xlabel=_axis(diagram), ylabel="v at rest (mV)", xlim=limits, ylim=edges)


def _telling(diagram):
    """The file's own value, the folds, and a value to either side of them all."""
    folds = [fold.parameter for fold in diagram.folds if diagram.low < fold.parameter < diagram.high]
    if not folds:
        return sorted(
            {diagram.low + share * (diagram.high - diagram.low) for share in (0.1, 0.4, 0.8)} | {diagram.value}
        )
    outside = (diagram.low + min(folds)) / 2, (diagram.high + max(folds)) / 2
    return sorted({*outside, *folds, diagram.value})


def _shown(diagram, value):
    """A value in the unit of the axis."""
    return value / diagram.unit[0]


def _axis(diagram):
    name = diagram.unit[1]
    return f"{diagram.label} ({name})" if name else diagram.label
