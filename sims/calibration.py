"""How much excitation a cell needs to spike at a given rate: the generator's ranges scaled, by bisection.

Every measurement simulates the same seeds, so that the rate changes with the scale alone; its standard error over
simulations says how far it would be off with others. The first is at scale 1, and is kept: of cells that share a
generator, these simulations have the same inputs, trial by trial.
"""

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from sims import ground_truth
from sims.mistakes import RequestError
from sims.neuronio import SKIP_MS

LARGEST_SCALE = 16.0


@dataclass(frozen=True)
class Measurement:
    """The output rate at a scale of the excitation, Hz after SKIP_MS, and its standard error over simulations."""

    scale: float
    rate: float
    standard_error: float


@dataclass(frozen=True)
class Calibration:
    """scale: the one measured whose rate is nearest to the target.  reached: whether it is within the tolerance.
    measured: every Measurement, in order, the first at scale 1."""

    scale: float
    reached: bool
    measured: tuple

    @property
    def chosen(self):
        """The Measurement at the scale."""
        return next(each for each in self.measured if each.scale == self.scale)

    @property
    def spikes(self):
        """Whether the cell spiked at any scale."""
        return any(each.rate > 0 for each in self.measured)

    def card(self, target, tolerance):
        """What was found, as plain data; numbers that are undefined are null."""
        return {
            "target_Hz": target,
            "tolerance_Hz": tolerance,
            "scale": self.scale,
            "reached": self.reached,
            "spikes": self.spikes,
            **_plain(self.chosen),
            "measured": [_plain(each) for each in self.measured],
        }

    def summary(self):
        """The same in a line."""
        chosen = self.chosen
        found = f"{chosen.rate:.2f} ± {chosen.standard_error:.2f} Hz at {self.scale:.4g} times the excitation"
        return found + ("" if self.reached else "; the rate asked for was not reached")


def _plain(measurement):
    found = asdict(measurement)
    error = found["standard_error"]
    return {"scale": found["scale"], "rate_Hz": found["rate"], "standard_error_Hz": error if error == error else None}


def search(measure, target, tolerance, evaluations):
    """Find the scale at which a rate is within `tolerance` of `target`, with at most so many evaluations.

    measure: scale → Measurement; its rate should rise with the scale.  Scales are doubled or halved until the target
    lies between two, which are then bisected on a logarithmic axis.   Returns a Calibration.
    """
    measured, below, above = [], None, None
    scale = 1.0
    while len(measured) < evaluations and 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
        found = measure(scale)
        measured.append(found)
        if abs(found.rate - target) <= tolerance:
            break
        if found.rate < target:
            below = scale
        else:
            above = scale
        if below is None:
            scale = above / 2
        elif above is None:
            scale = below * 2
        else:
            scale = (below * above) ** 0.5
    nearest = min(measured, key=lambda each: abs(each.rate - target))
    return Calibration(nearest.scale, abs(nearest.rate - target) <= tolerance, tuple(measured))


def scaled(inputs, scale):
    """Inputs with both ends of every tree's range of excitation times `scale`.

    Inhibition is drawn relative to excitation, from U(max(0, E + low), E + high). `low` goes down by as much as the
    excitation's upper end goes up: where excitation is strongest, inhibition may be as weak as it was. Were `low` held,
    more excitation would bring as much more inhibition, and the cell with AMPA alone would only fall more silent. The
    published script does the same where it widens 0 to 800 to 0 to 1900 for AMPA: -600 to 200 becomes -1650 to 150.
    """
    drives = {}
    for tree, ranges in inputs.drives.items():
        (lowest, highest), (low, high) = ranges["excitation"], ranges["inhibition"]
        moved = low - (scale - 1) * highest
        drives[tree] = {"excitation": (scale * lowest, scale * highest), "inhibition": (moved, max(moved, high))}
    return replace(inputs, drives=drives)


def scaled_text(path, inputs, scale, folder):
    """The text of an input file in `folder` that extends the file `path`, read as `inputs`, by `scaled`."""
    lines = [f"extends: {json.dumps(os.path.relpath(path, folder))}"]
    if scale != 1:
        lines.append("trees:")
        for tree, ranges in scaled(inputs, scale).drives.items():
            lines.append(f"  {tree}:")
            lines += [f"    {name}: [{low!r}*Hz, {high!r}*Hz]" for name, (low, high) in ranges.items()]
    return "\n".join(lines) + "\n"


def rate(shard):
    """(mean output rate of a Shard's simulations after SKIP_MS, its standard error), Hz; nan of one simulation."""
    each = [np.count_nonzero(shard.spikes(k) >= SKIP_MS) for k in range(shard.simulations)]
    each = 1000 * np.array(each) / (shard.duration_ms - SKIP_MS)
    error = each.std(ddof=1) / len(each) ** 0.5 if len(each) > 1 else float("nan")
    return float(each.mean()), float(error)


def calibrate(setup, inputs, target, tolerance, evaluations, seed, simulations, seconds, first, progress=None):
    """Find how much excitation takes a cell to the rate `target`, Hz.

    setup, inputs, seed, simulations, seconds, first, progress: as of sims.ground_truth.generate.  evaluations: how many
    scales are tried at most.
    Returns (Calibration, the Shard at scale 1).
    Raises RequestError for impossible options, and where the voltage does not stay finite; and as `generate`.
    """
    for name, wrong, expected in (
        ("--rate", not (np.isfinite(target) and target > 0), "a rate above 0 Hz"),
        ("--tolerance", not (np.isfinite(tolerance) and tolerance > 0), "more than 0 Hz"),
        ("--evaluations", evaluations < 1, "at least 1"),
        ("--seconds", 1000 * seconds <= SKIP_MS, f"more than the {SKIP_MS} ms that are left out"),
    ):
        if wrong:
            found = {"--rate": target, "--tolerance": tolerance, "--evaluations": evaluations, "--seconds": seconds}
            raise RequestError(f"{name}: found {found[name]}, expected {expected}")
    ground_truth.check_numbers(seed, simulations, seconds, first)
    simulator, shards = ground_truth.Simulator(setup), []

    def measure(scale):
        shard = ground_truth.shard(
            simulator, inputs if scale == 1 else scaled(inputs, scale), seed, simulations, seconds, first, progress
        )
        if not np.isfinite(shard.soma_voltage).all():
            raise RequestError(
                f"{Path(setup.cell_file)}: the voltage grows beyond all bounds when the excitation is {scale:g} times "
                "that of the inputs; expected a cell that can be simulated"
            )
        shards.append(shard)
        del shards[1:]
        return Measurement(scale, *rate(shard))

    return search(measure, target, tolerance, evaluations), shards[0]
