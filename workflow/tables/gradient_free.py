"""One row for every fit of the study gradient_free: its scores on the test simulations, its size and its cost.

A second table has a row for every recovery of known parameters: the relative error of the farthest one, and its cost.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

METRICS = ("auc", "auc_few_spikes", "voltage_rmse_mV", "variance_explained", "loss", "simulations", "spikes")


def row(folder, fits):
    """The row of one fit as a dict.  folder: …/FIT/seedN.  fits: {name: one of study.gradient_free_fits}."""
    fitted, scores = fits[folder.parent.name], json.loads((folder / "scores.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    evolved = fitted["method"] == "evolution"
    found = {name: fitted[name] for name in ("name", "method", "model", "equations")}
    found |= {"dendrites": scores["model_settings"].get("dendrites"), "seed": int(folder.name.removeprefix("seed"))}
    found |= {"parameters": scores["parameters"]["live"]} | {name: scores[name] for name in METRICS}
    found |= {"evaluations": int(history["evaluations"].iloc[-1]) if evolved else None}
    found |= {"steps": None if evolved else int(history["step"].iloc[-1])}
    return found | {"valid_loss": history["valid_loss"].min(), "cpu_s": history["cpu_s"].iloc[-1]}


def recovered(folder):
    """The row of one recovery as a dict.  folder: …/recovery/seedN."""
    metrics = json.loads((folder / "metrics.json").read_text())
    found = {"seed": int(folder.name.removeprefix("seed")), "parameters": len(metrics["parameters"])}
    return found | {name: metrics[name] for name in ("generation", "evaluations", "best_loss", "error", "cpu_s")}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of scored fits, …/FIT/seedN")
    parser.add_argument("--recoveries", required=True, nargs="+", type=Path, help="folders of recoveries")
    parser.add_argument("--fits", required=True, type=json.loads, help="workflow.study.gradient_free_fits, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    parser.add_argument("--recovery", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {fitted["name"]: fitted for fitted in arguments.fits}
    table = pd.DataFrame([row(folder, fits) for folder in arguments.folders])
    whole = ["dendrites", "evaluations", "steps"]
    table[whole] = table[whole].astype("Int64")
    table.to_csv(arguments.out, index=False, float_format="%.7g")
    pd.DataFrame(map(recovered, arguments.recoveries)).to_csv(arguments.recovery, index=False, float_format="%.7g")


if __name__ == "__main__":
    main()
