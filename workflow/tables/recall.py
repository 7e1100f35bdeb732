"""One row for every fit of the study delay_memory: what was changed, and what it recalls.

What the source measured of the swept parameters, as 1 - F1 after its own training, stands in
workflow/tables/published_recall.csv.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

from sims import delays

METRICS = ("f1", "loss", "precision", "recall", "patterns", "perfect", "ran_away", "spikes", "wanted")
PARAMETERS = ("N", "D", "T", "M", "p_A")


def row(folder, fits):
    """The row of one fit as a dict.  folder: …/FIT/seedN.  fits: {name: one of workflow.study.recalls}."""
    fitted, metrics = fits[folder.parent.name], json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    network = delays.read(metrics["data"][0])
    found = {name: fitted[name] for name in ("name", "method", "sweep", "parameter", "value")}
    found |= {"groups": " ".join(fitted["groups"]), "seed": metrics["seed"], "steps": int(history["step"].iloc[-1])}
    found |= {name: getattr(network, name) for name in PARAMETERS}
    found |= {name: metrics["model_settings"][name] for name in ("theta", "first", "margin")}
    found |= {"f1_before_steps": history["valid_f1"].iloc[0]}
    return found | {name: metrics[name] for name in METRICS} | {"cpu_s": history["cpu_s"].iloc[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of evaluated fits, …/FIT/seedN")
    parser.add_argument("--fits", required=True, type=json.loads, help="workflow.study.recalls, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {fitted["name"]: fitted for fitted in arguments.fits}
    table = pd.DataFrame([row(folder, fits) for folder in arguments.folders])
    table.to_csv(arguments.out, index=False, float_format="%.7g")


if __name__ == "__main__":
    main()
