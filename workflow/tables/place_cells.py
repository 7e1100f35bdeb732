"""One row for every fit of the study place_cells: its memory errors, and its neurons' mean place-cell scores.

A second table has Spearman's rank correlation of mean score and RM error on training maps, over the fits at the first
number of maps that are not of the learning-rate sweep, for each kind of neuron and convention of negative activations.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from sims.analysis.place_cells import CONVENTIONS

KINDS = ("ffn", "attention")
METRICS = ("rm_error", "wm_error", "rm_novel", "wm_novel", "loss", "rm_steps", "wm_steps")


def row(folder, fits):
    """The row of one fit as a dict.  folder: …/FIT/seedN.  fits: {name: one of workflow.study.navigators}."""
    fitted, metrics = fits[folder.parent.name], json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    found = {name: fitted[name] for name in ("name", "maps", "activation", "alpha", "swept")}
    found |= {"learning_rate": fitted["training"]["learning_rate"], "seed": metrics["seed"]}
    found |= {"steps": int(history["step"].iloc[-1])} | {name: metrics[name] for name in METRICS}
    with np.load(folder / "predictions.npz") as arrays:
        for kind in KINDS:
            for convention in CONVENTIONS:
                score = arrays[f"{kind}_{convention}_score"]
                active = score[~np.isnan(score)]
                found[f"{kind}_{convention}"] = active.mean() if len(active) else None
    return found | {"parameters": metrics["parameters"]["trainable"], "cpu_s": history["cpu_s"].iloc[-1]}


def correlations(table):
    """Rows of the second table; r and p are undefined where scores or errors are all the same.  table: the first."""
    there = table[(table["maps"] == table["maps"].iloc[0]) & ~table["swept"]]
    rows = []
    for kind in KINDS:
        for convention in CONVENTIONS:
            pairs = there[[f"{kind}_{convention}", "rm_error"]].astype(float).dropna()
            varied = len(pairs) > 2 and (pairs.nunique() > 1).all()
            r, p = stats.spearmanr(*pairs.to_numpy().T) if varied else (None, None)
            rows.append({"neurons": kind, "convention": convention, "fits": len(pairs), "r": r, "p": p})
    return pd.DataFrame(rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of evaluated fits, …/FIT/seedN")
    parser.add_argument("--fits", required=True, type=json.loads, help="workflow.study.navigators, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    parser.add_argument("--correlations", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {fitted["name"]: fitted for fitted in arguments.fits}
    table = pd.DataFrame([row(folder, fits) for folder in arguments.folders])
    table.to_csv(arguments.out, index=False, float_format="%.7g")
    correlations(table).to_csv(arguments.correlations, index=False, float_format="%.7g")


if __name__ == "__main__":
    main()
