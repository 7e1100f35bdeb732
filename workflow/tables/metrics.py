"""One row for every fit: its scores on the test simulations, and what its paper prints for the same model.

A paper's number stands beside a headline model whose own settings are the ones that the paper names. Papers score
simulations with at most 24 output spikes, so theirs compares with `auc_few_spikes` and
`voltage_rmse_aligned_mV_few_spikes`; it was measured on the original simulations, ours on the simulations here.
"""

import argparse
import json
from pathlib import Path

import pandas as pd

METRICS = (
    "auc",
    "auc_few_spikes",
    "voltage_rmse_mV",
    "voltage_rmse_aligned_mV",
    "voltage_rmse_aligned_mV_few_spikes",
    "variance_explained",
    "loss",
    "simulations",
    "simulations_few_spikes",
    "spikes",
)


def row(folder, models, published):
    """The row of one fit as a dict.

    folder: …/MODEL/seedN.  models: {name: one of workflow.study.models}.  published: the papers' table.
    """
    metrics = json.loads((folder / "metrics.json").read_text())
    fitted = models[folder.parent.name]
    steps = pd.read_csv(folder / "history.csv")["step"].iloc[-1]
    found = {"name": fitted["name"], "model": fitted["model"], "groups": " ".join(fitted["groups"])}
    found |= {"seed": metrics["seed"], "steps": int(steps), "hours": fitted["hours"]}
    found |= {f"parameters_{kind}": metrics["parameters"][kind] for kind in ("trainable", "live")}
    found |= {name: metrics[name] for name in ("flops_per_step", *METRICS)}
    paper = _paper(fitted, published)
    found |= {f"paper_{name}": paper.get(name) for name in ("parameters", "auc", "voltage_rmse_mV", "source")}
    return found


def _paper(fitted, published):
    own = {f"{name}={value}" for name, value in fitted["own"].items()}
    same = (published["model"] == fitted["model"]) & published["settings"].fillna("").map(
        lambda settings: set(settings.split()) == own
    )
    return published[same].iloc[0].to_dict() if same.any() and "performance" in fitted["groups"] else {}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of evaluated fits, …/MODEL/seedN")
    parser.add_argument("--published", required=True, help="CSV of the papers' numbers")
    parser.add_argument("--models", required=True, type=json.loads, help="workflow.study.models, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args()
    models = {fitted["name"]: fitted for fitted in arguments.models}
    published = pd.read_csv(arguments.published)
    table = pd.DataFrame([row(folder, models, published) for folder in arguments.folders])
    table.to_csv(arguments.out, index=False, float_format="%.5g")


if __name__ == "__main__":
    main()
