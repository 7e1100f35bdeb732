"""Input spikes for the layer-5 cell, as in NeuronIO.

A simulation draws one hold time K and one smoothing width σ. For every piece of K ms and either tree it draws the
tree's drive, E ~ U(excitation) and I ~ U(max(0, E + lowest), E + highest), shares it among the tree's segments by the
file's `weight` and `rate`, smooths every channel's rate with a Gaussian (zeros beyond both ends) and draws spikes bin
by bin with `probability`.

Smoothing is linear and the rates are constant within a piece, so that rate[t, channel] = smoothed[t, piece] @
rate[piece, channel] in one product. Bin 0 stays empty: in the published simulations a synapse with an event at t = 0
was silent for the whole run.
Source: Beniaguev, Segev & London 2021, Neuron 109:2727.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS

from sims import equations
from sims.equations import Model, located_quantity
from sims.streams import stream

PUBLISHED = Path(__file__).resolve().parents[2] / "equations" / "inputs_l5.yaml"
BIN = 1e-3  # s
TREES = ("basal", "apical")
PARAMETERS = {"jitter": second.dim, "gain_low": DIMENSIONLESS, "gain_high": DIMENSIONLESS, "taps": DIMENSIONLESS}


@dataclass(frozen=True)
class Inputs:
    """A checked input file.

    hold, smoothing: [n], ms, the values to choose from.  drives: {tree: {"excitation": (low, high), "inhibition": …}},
    Hz.
    """

    model: Model
    hold: np.ndarray
    smoothing: np.ndarray
    drives: dict

    @property
    def digest(self):
        """Hash of all that shapes the spikes."""
        return self.model.digest


def read(path=PUBLISHED):
    """Read and check an input file.  Returns Inputs; raises EquationError, whose text names file, line and cause."""
    model = equations.read(path)
    if model.kind != "inputs":
        raise equations.EquationError(f"{path}:1: is of kind {model.kind}; expected inputs")
    for section in ("choices", "trees"):
        if section not in model.extra:
            raise equations.EquationError(f"{path}:1: an input file needs the section `{section}`")
    for name, dimension in PARAMETERS.items():
        if name not in model.parameters:
            raise equations.EquationError(f"{path}:1: an input file needs the parameter '{name}'")
        if model.parameters[name].value.dimension is not dimension:
            raise model.parameters[name].node.error(
                f"parameter '{name}' has the wrong unit: {model.parameters[name].value}"
            )
    choices = model.extra["choices"].mapping("`choices`", ("hold", "smoothing"))
    if set(choices) != {"hold", "smoothing"}:
        raise model.extra["choices"].error("`choices` needs `hold` and `smoothing`")
    hold, smoothing = (_durations(name, choices[name]) for name in ("hold", "smoothing"))
    trees = model.extra["trees"].mapping("`trees`", TREES)
    if set(trees) != set(TREES):
        raise model.extra["trees"].error(f"`trees` needs {' and '.join(TREES)}")
    return Inputs(model, hold, smoothing, {tree: _drives(tree, node) for tree, node in trees.items()})


def draw(inputs, segments, milliseconds, seed, simulation):
    """The input spikes of one simulation.

    inputs: Inputs.  segments: the morphology's Segments; channel k < n drives its k-th dendritic segment with
    excitation, channel n + k with inhibition.  milliseconds: length, one bin each.  seed, simulation: key of the random
    stream.
    Returns (event_time uint16 [events], ms from 1, event_channel uint16 [events]), sorted by time, then channel.
    """
    rng = stream(seed, "l5 inputs", simulation)
    model, value = inputs.model, inputs.model.values()
    hold, width = (_jittered(rng, choices, value["jitter"] * 1e3) for choices in (inputs.hold, inputs.smoothing))
    pieces = -(-milliseconds // hold)
    region, length = segments.region[segments.dendritic], segments.length[segments.dendritic] * 1e-6
    weight = model.compute({**value, "length": length}, ["weight"])["weight"]
    drive, total = np.empty((2, pieces, len(length))), np.empty(len(length))
    for tree in TREES:
        here = region == tree
        drive[..., here] = _drive(rng, inputs.drives[tree], pieces)[..., None]
        total[here] = weight[here].sum()
    gain = rng.uniform(value["gain_low"], value["gain_high"], drive.shape)
    given = {**value, "length": length, "total_weight": total, "drive": drive, "gain": gain}
    rate = np.concatenate(model.compute(given, ["rate"])["rate"], axis=1)
    rate = np.clip(_smoothed_pieces(milliseconds, hold, width, value["taps"]) @ rate, 0, None)
    with np.errstate(divide="ignore"):
        spiking = (
            rng.random(rate.shape) < model.compute({**value, "rate": rate, "dt": BIN}, ["probability"])["probability"]
        )
    spiking[0] = False
    time, channel = np.nonzero(spiking)
    return time.astype(np.uint16), channel.astype(np.uint16)


def _durations(name, node):
    values = []
    for entry in node.sequence(f"`{name}`"):
        quantity = located_quantity(entry, f"a value of `{name}`", second.dim)
        if quantity.value <= 0:
            raise entry.error(f"a value of `{name}` must be positive, found {quantity}")
        values.append(quantity.si * 1e3)
    if not values:
        raise node.error(f"`{name}` must list at least one duration")
    return np.array(values)


def _drives(tree, node):
    entries = node.mapping(f"tree '{tree}'", ("excitation", "inhibition"))
    found = {}
    for name in ("excitation", "inhibition"):
        if name not in entries:
            raise node.error(f"tree '{tree}' needs `{name}`")
        pair = entries[name].sequence(f"`{name}`")
        if len(pair) != 2:
            raise entries[name].error(f"`{name}` of '{tree}' must be [lowest, highest], found {len(pair)} values")
        low, high = (located_quantity(entry, f"`{name}` of '{tree}'", (1 / second).dim).si for entry in pair)
        if low > high or (name == "excitation" and low < 0) or (name == "inhibition" and high < 0):
            raise entries[name].error(
                f"`{name}` of '{tree}' must ascend and leave rates at or above zero, found [{low:g}, {high:g}] Hz"
            )
        found[name] = (low, high)
    return found


def _jittered(rng, choices, jitter):
    """One of the choices plus a jitter that is cut to whole milliseconds towards zero; at least 1 ms."""
    return max(1, int(rng.choice(choices)) + int(rng.uniform(-jitter, jitter)))


def _drive(rng, ranges, pieces):
    """[2, pieces]: excitation and inhibition of one tree, Hz."""
    excitation = rng.uniform(*ranges["excitation"], pieces)
    low, high = ranges["inhibition"]
    return np.stack([excitation, rng.uniform(np.maximum(0, excitation + low), np.maximum(0, excitation + high))])


def _smoothed_pieces(milliseconds, hold, width, taps):
    """[milliseconds, pieces]: how much of each piece the smoothed rate in each bin is made of."""
    size = int(taps * width) // 2 * 2 + 1
    kernel = np.exp(-0.5 * ((np.arange(size) - size // 2) / width) ** 2)
    # cumulative[i] is the kernel's mass below tap i; a piece's share is the mass between its two ends as seen from the
    # bin.
    cumulative = np.concatenate([[0], np.cumsum(kernel / kernel.sum())])
    starts = np.arange(0, milliseconds, hold)
    ends = np.minimum(starts + hold, milliseconds)
    bins = np.arange(milliseconds)[:, None]
    below_end, below_start = (np.clip(edge - bins + size // 2, 0, size) for edge in (ends, starts))
    return cumulative[below_end] - cumulative[below_start]
