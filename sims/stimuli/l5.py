"""Input spikes for the layer-5 cell, as in NeuronIO.

A simulation draws one hold time K and one smoothing width σ. For every piece of K ms and either tree it draws the
tree's drive, E ~ U(excitation) and I ~ U(max(0, E + lowest), E + highest), shares it among the tree's segments by the
file's `weight` and `rate`, smooths every channel's rate with a Gaussian (zeros beyond both ends) and draws spikes bin
by bin with `probability`. Bin 0 stays empty: in the published simulations a synapse with an event at t = 0 was silent
for the whole run.

Only one bin in a hundred has a spike, so spikes are drawn without looking at the empty bins, and from exactly the same
distribution:
* In a Poisson process with m points a bin on average, a bin is empty with probability exp(-m), independently of all
  others. So the occupied bins are spikes with probability P where the intensity is m(rate) = -log(1 - P(rate)).
* Moving every point of a Poisson process by a random shift of its own smooths its intensity with the distribution of
  the shifts (displacement theorem: Kingman 1993, Poisson Processes, section 5.5): points drawn at held rates, shifted
  by the kernel, have the smoothed rates. Points moved beyond either end are lost, which is the padding with zeros.
* Points drawn at slope*rate, where slope*rate >= m(rate), and kept with probability m(rate)/(slope*rate), have the
  intensity m(rate) (thinning: Lewis & Shedler 1979, Naval Research Logistics 26:403). The smoothed rate is computed for
  those few points alone whose fate depends on it: m(rate) is nearly in proportion to the rate, so that all but one
  point in fifty are kept whatever the rate is, up to the highest piece of the channel.
Source: Beniaguev, Segev & London 2021, Neuron 109:2727.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS
from numpy.lib.stride_tricks import sliding_window_view

from sims import equations
from sims.equations import Model, located_quantity
from sims.streams import stream

PUBLISHED = Path(__file__).resolve().parents[2] / "equations" / "inputs_l5.yaml"
BIN = 1e-3  # s
TREES = ("basal", "apical")
PARAMETERS = {"jitter": second.dim, "gain_low": DIMENSIONLESS, "gain_high": DIMENSIONLESS, "taps": DIMENSIONLESS}
RATES = np.geomspace(1e-9, 1e6, 34_540)  # Hz, in steps of a thousandth; at the lowest, a spike in 1e5 simulations
MOST_POINTS = 4  # a bin and channel, on average: what fits into memory


@dataclass(frozen=True)
class Thinning:
    """What spikes are thinned from, for channels whose rate never exceeds RATES[k + 1].

    silent: intensity at rate 0, points a bin.  slope: [k], what to draw for the rest, points a bin and Hz; of these, a
    point is kept with a probability of at least `floor`, [k].  falls: the first of RATES at which the probability is
    lower than before, as an index; None if nowhere.
    """

    silent: float
    slope: np.ndarray
    floor: np.ndarray
    falls: int | None


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

    @cached_property
    def thinning(self):
        """The Thinning of the file's probability; between two RATES it lies between its values there, for it rises."""
        probability = _probability(self.model, np.concatenate([[0], RATES]))
        falls = np.flatnonzero(probability[1:] < probability[:-1] * (1 - 1e-9))
        intensity = _intensity(probability)
        silent, rest = intensity[0], intensity[1:] - intensity[0]
        slope = np.maximum.accumulate(rest[1:] / RATES[:-1])
        lowest = np.minimum.accumulate(rest[:-1] / RATES[1:])
        floor = np.divide(lowest, slope, out=np.zeros_like(slope), where=slope > 0)
        return Thinning(silent, slope, floor, falls[0] if len(falls) else None)


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
    streams, one for both trees and one for each.
    Returns (event_time uint16 [events], ms from 1, event_channel uint16 [events]), sorted by time, then channel.
    Raises EquationError where the file's rate is negative or too high, or its probability falls as the rate grows.
    """
    channels, cells = np.uint32(2 * len(segments.dendritic)), []
    for rng, where, rate, hold, kernel in held_rates(inputs, segments, milliseconds, seed, simulation):
        time, channel = _spikes(rng, inputs, rate, hold, kernel, milliseconds)
        cells.append(time * channels + where[channel])
    # Sorting is fastest in 32 bits, which hold every 16-bit time and channel.
    cell = np.sort(np.concatenate(cells).astype(np.uint32))
    cell = cell[np.searchsorted(cell, channels) :]  # from bin 1
    cell = cell[np.diff(cell, prepend=np.uint32(0)) > 0]
    time = cell // channels
    return time.astype(np.uint16), (cell - time * channels).astype(np.uint16)


def held_rates(inputs, segments, milliseconds, seed, simulation):
    """What the two trees' channels hold before smoothing; arguments and errors as for `draw`.

    Yields for each tree its random stream, from which the spikes are still to be drawn; its channels, int; their rates
    [channels, pieces], Hz; how long each holds, ms; and the kernel [odd] of sum 1 that smooths them, a tap a ms.
    """
    value = inputs.model.values()
    rng = stream(seed, "l5 inputs", simulation)
    hold, width = (_jittered(rng, choices, value["jitter"] * 1e3) for choices in (inputs.hold, inputs.smoothing))
    region, length = segments.region[segments.dendritic], segments.length[segments.dendritic] * 1e-6
    for tree in TREES:
        rng = stream(seed, f"l5 inputs of the {tree} tree", simulation)
        here = np.flatnonzero(region == tree)
        rate = _held_rates(rng, inputs, tree, length[here], -(-milliseconds // hold))
        if not (rate.min(initial=0) >= 0 and rate.max(initial=0) <= RATES[-1]):
            raise inputs.model.subexpressions["rate"].node.error(
                f"rates reach from {rate.min():g} to {rate.max():g} Hz; expected none below 0 or above {RATES[-1]:g} Hz"
            )
        yield rng, np.concatenate([here, len(length) + here]), rate, hold, _kernel(width, value["taps"])


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


def _held_rates(rng, inputs, tree, length, pieces):
    """[channels, pieces], Hz: what one tree's channels, excitation before inhibition, hold before smoothing.

    length: [segments], m, of the tree's segments.
    """
    model, value = inputs.model, inputs.model.values()
    weight = np.broadcast_to(model.compute({**value, "length": length}, ["weight"])["weight"], length.shape)
    drive = _drive(rng, inputs.drives[tree], pieces)
    gain = rng.uniform(value["gain_low"], value["gain_high"], (2, len(length), pieces))
    shares = {"length": length[:, None], "weight": weight[:, None], "total_weight": weight.sum()}
    rate = model.compute({**value, **shares, "drive": drive[:, None], "gain": gain}, ["rate"])["rate"]
    return np.broadcast_to(rate, gain.shape).reshape(-1, pieces)


def _drive(rng, ranges, pieces):
    """[2, pieces]: excitation and inhibition of one tree, Hz."""
    excitation = rng.uniform(*ranges["excitation"], pieces)
    low, high = ranges["inhibition"]
    return np.stack([excitation, rng.uniform(np.maximum(0, excitation + low), np.maximum(0, excitation + high))])


def _kernel(width, taps):
    """[odd]: the Gaussian that smooths, of sum 1.  width: σ, bins.  taps: its length in σ."""
    reach = int(taps * width) // 2
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return kernel / kernel.sum()


def _spikes(rng, inputs, rate, hold, kernel, milliseconds):
    """Spikes of independent channels at smoothed rates; the module's docstring explains how.

    rate: [channels, pieces], Hz, each for `hold` bins.  kernel: [odd].
    Returns (time [spikes], bins, channel [spikes]) in any order, to be read as a set: a bin that is named twice has one
    spike, and whatever is in bin 0 does not count.  Raises EquationError as `draw`.
    """
    thinning = inputs.thinning
    highest = _checked(inputs, rate)
    slope, floor = thinning.slope[highest], thinning.floor[highest]
    # All channels are laid end to end; `points` is how many there are on average up to the end of each piece.
    points = np.concatenate([[0], np.cumsum(rate * (slope * hold)[:, None])])
    extent = rate.shape[1] * hold
    if points[-1] + thinning.silent * len(rate) * extent > MOST_POINTS * len(rate) * extent:
        raise inputs.model.subexpressions["probability"].node.error(
            f"at rates up to {rate.max():.3g} Hz, spikes of this probability take more than {MOST_POINTS} random points"
            " a ms and channel to draw; expected lower rates, or a probability that stays below 1"
        )
    # Exponential intervals make ascending points, whose pieces `interp` finds fast: each is near the one before.
    place = np.cumsum(rng.standard_exponential(rng.poisson(points[-1]) + 1))
    place = np.interp(place[:-1] * (points[-1] / place[-1]), points, np.arange(0.0, rate.size * hold + 1, hold))
    channel = np.minimum(place / extent, len(rate) - 1).astype(np.int32)
    held = (place - channel * extent).astype(np.int32)
    # How often each shift occurs, in random order: a draw from the kernel for every point.
    reach = len(kernel) // 2
    shift = np.repeat(np.arange(-reach, reach + 1), rng.multinomial(len(place), kernel))
    rng.shuffle(shift)
    time = held + shift
    time[(held >= milliseconds) | (time < 0) | (time >= milliseconds)] = 0

    chance = rng.random(len(time))
    unsure = np.flatnonzero(chance >= floor[channel])
    chance, where = chance[unsure], (time[unsure], channel[unsure])
    smoothed = _smoothed(rate, hold, kernel, milliseconds, *where)
    intensity = _intensity(_probability(inputs.model, smoothed)) - thinning.silent
    time[unsure[chance * slope[where[1]] * smoothed >= intensity]] = 0

    silent = rng.poisson(thinning.silent * len(rate) * milliseconds)
    return (
        np.concatenate([time, rng.integers(milliseconds, size=silent)]),
        np.concatenate([channel, rng.integers(len(rate), size=silent)]),
    )


def _checked(inputs, rate):
    """[channels]: where Thinning has the bounds for each channel's highest rate.  Raises EquationError as `draw`."""
    highest = rate.max(axis=1)
    found = np.searchsorted(RATES[1:], highest)
    falls = inputs.thinning.falls
    if falls is not None and found.max(initial=0) + 1 >= falls:
        raise inputs.model.subexpressions["probability"].node.error(
            f"the probability of a spike falls as the rate passes {RATES[falls]:.3g} Hz, and rates reach"
            f" {highest.max():.3g} Hz; expected one that never falls as the rate grows"
        )
    return found


def _probability(model, rate):
    """The file's probability of a spike in a bin, cut to what is less than 1; none where it is no number, as 0/0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        probability = model.compute({**model.values(), "rate": rate, "dt": BIN}, ["probability"])["probability"]
    probability = np.broadcast_to(probability, rate.shape)
    return np.fmin(np.fmax(probability, 0), np.nextafter(1, 0))


def _intensity(probability):
    """Points a bin of the Poisson process that occupies bins with this probability."""
    return -np.log1p(-probability)


def _smoothed(rate, hold, kernel, milliseconds, time, channel):
    """[spikes], Hz: the smoothed rate at given times and channels; the other arguments as for `_spikes`.

    A bin's rate is the sum over the pieces that the kernel reaches of its mass on the piece, times the piece's rate.
    """
    reach, window = len(kernel) // 2, (len(kernel) - 1) // hold + 2
    first, phase = np.divmod(time - reach, hold)
    # below[i] is the kernel's mass below tap i; share[phase] is the mass on each piece in reach.
    below = np.concatenate([[0], np.cumsum(kernel)])
    ends = np.arange(window + 1) * hold - np.arange(hold)[:, None]
    share = np.diff(below[np.clip(ends, 0, len(kernel))])
    pieces = sliding_window_view(np.pad(rate, ((0, 0), (window, window))), window, axis=1)
    parts = np.array_split(np.arange(len(time)), 1 + len(time) * window // 2**20)
    smoothed = [np.einsum("ij,ij->i", share[phase[k]], pieces[channel[k], window + first[k]]) for k in parts]
    # The last piece ends with the simulation, not after a full hold.
    ends = np.array([[milliseconds], [rate.shape[1] * hold]]) - (time - reach)
    beyond = np.diff(below[np.clip(ends, 0, len(kernel))], axis=0)[0]
    return np.maximum(np.concatenate(smoothed) - beyond * rate[channel, -1], 0)
