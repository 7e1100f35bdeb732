"""Differences between models on the same test simulations, with 95 % intervals from a paired bootstrap.

A resample draws as many simulations as there are, with replacement, the same ones for both models of a pair; and of
each model as many seeds as it has, with replacement and apart from the other's. A model's score is the mean over its
seeds. With one seed the interval is that of this fit, and says nothing about another seed. Evaluations keep what every
simulation contributes (fitting/tasks/neuronio.py, `contributions`), so that a resample's scores are exact.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from sims.mistakes import Mistake, refused
from sims.streams import stream

RESAMPLES = 2000
_PREFIX = "simulation_"


class PairError(Mistake):
    """Fits that cannot be compared simulation by simulation."""


def read(path):
    """What each simulation contributes, {name: array}, from predictions.npz."""
    with np.load(path) as arrays:
        return {name.removeprefix(_PREFIX): arrays[name] for name in arrays.files if name.startswith(_PREFIX)}


def scores(contributed, counts):
    """Scores of resamples, {metric: [resample]}, nan where undefined.

    contributed: as `read` gives it.  counts: [resample, simulation], how often each simulation was drawn.
    """
    spikes, bins = contributed["spikes"], contributed["bins"]
    found = {}
    with np.errstate(invalid="ignore", divide="ignore"):
        for suffix, kept in (("", np.ones(len(bins))), ("_few_spikes", contributed["few_spikes"])):
            w = counts * kept.astype(np.float64)
            won = ((w @ contributed["won"].astype(np.float64)) * w).sum(1)
            found["auc" + suffix] = won / ((w @ spikes) * (w @ (bins - spikes)))
            found["voltage_rmse_mV" + suffix] = np.sqrt(w @ contributed["squared_error"] / (w @ bins))
    return found


def compare(fits, pairs, seed, resamples=RESAMPLES):
    """The table of differences.

    fits: {model: [what `read` gives of each seed]}.  pairs: [(model, other), …].  seed: of the resampling.
    Returns one row for each pair and metric: `difference` is the model's score less the other's, `low` and `high` the
    ends of its interval.
    Raises PairError where the simulations of two fits differ.
    """
    if not pairs:
        return pd.DataFrame(columns=["model", "other", "metric", "difference", "low", "high", "seeds", "other_seeds"])
    some, *rest = [(name, one) for name, seeds in fits.items() for one in seeds]
    for name, one in rest:
        if any(not np.array_equal(one[key], some[1][key]) for key in ("spikes", "bins", "few_spikes")):
            raise PairError(f"{name}: found other test simulations than those of {some[0]}, expected the same")
    simulations = len(some[1]["bins"])
    draws = stream(seed, "paired bootstrap").multinomial(simulations, np.full(simulations, 1 / simulations), resamples)
    once, means = np.ones((1, simulations)), {}
    for index, (name, seeds) in enumerate(fits.items()):
        drawn = stream(seed, "seeds of the paired bootstrap", index).integers(len(seeds), size=(resamples, len(seeds)))
        whole, resampled = ([scores(one, counts) for one in seeds] for counts in (once, draws))
        means[name] = {
            metric: (
                np.mean([one[metric][0] for one in whole]),
                np.take_along_axis(np.stack([one[metric] for one in resampled], axis=1), drawn, axis=1).mean(1),
            )
            for metric in whole[0]
        }
    rows = []
    for name, other in pairs:
        for metric, (mean, resampled) in means[name].items():
            other_mean, other_resampled = means[other][metric]
            difference = resampled - other_resampled
            defined = difference[np.isfinite(difference)]
            low, high = np.quantile(defined, (0.025, 0.975)) if len(defined) else (np.nan, np.nan)
            row = {"model": name, "other": other, "metric": metric, "difference": mean - other_mean}
            row |= {"low": low, "high": high, "seeds": len(fits[name]), "other_seeds": len(fits[other])}
            rows.append(row)
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", nargs="*", type=Path, help="predictions.npz of fits, …/MODEL/seedN/FILE")
    parser.add_argument("--pair", action="append", default=[], help="MODEL,OTHER; repeatable")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {}
    for path in arguments.predictions:
        fits.setdefault(path.parent.parent.name, []).append(read(path))
    with refused():
        table = compare(fits, [pair.split(",") for pair in arguments.pair], arguments.seed)
    table.to_csv(arguments.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
