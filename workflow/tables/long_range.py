"""One row for every fit of the study long_range: what was learnt, by what, for how long, and how well.

Accuracies come with the 95 % interval of Wilson (1927) for the examples of the test set. What the sources print stands
in workflow/tables/published_long_range.csv.
"""

import argparse
import json
import math
from pathlib import Path

import pandas as pd

SIZES = ("d_m", "hidden", "tau_m_min", "tau_m_max")


def row(folder, fits):
    """The row of one fit as a dict.  folder: …/FIT/seedN.  fits: {name: one of workflow.study.long_ranges}."""
    fitted, metrics = fits[folder.parent.name], json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    steps, cpu_s = int(history["step"].iloc[-1]), history["cpu_s"].iloc[-1]
    low, high = wilson(metrics["accuracy"], metrics["examples"])
    found = {name: fitted[name] for name in ("name", "method", "task", "model", "bin_ms")}
    found |= {"groups": " ".join(fitted["groups"]), "seed": metrics["seed"]}
    found |= {name: metrics["model_settings"].get(name) for name in SIZES}
    found |= {"parameters": metrics["parameters"]["live"], "steps": steps}
    found |= {"batch_size": fitted["training"]["batch_size"]}
    found |= {name: metrics[name] for name in ("accuracy", "chance", "loss", "examples")}
    return found | {"low": low, "high": high, "cpu_s": cpu_s, "cpu_s_per_step": cpu_s / steps if steps else None}


def wilson(share, count, z=1.96):
    """The interval in which a share of `count` lies, by the normal approximation to its score."""
    middle, spread = share + z**2 / (2 * count), z * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return (middle - spread) / (1 + z**2 / count), (middle + spread) / (1 + z**2 / count)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of evaluated fits, …/FIT/seedN")
    parser.add_argument("--fits", required=True, type=json.loads, help="workflow.study.long_ranges, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {fitted["name"]: fitted for fitted in arguments.fits}
    table = pd.DataFrame([row(folder, fits) for folder in arguments.folders])
    table.to_csv(arguments.out, index=False, float_format="%.7g")


if __name__ == "__main__":
    main()
