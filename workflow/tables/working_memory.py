"""One row for every fit of the study working_memory: accuracy after each silence, and the time constants it learnt."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors.numpy

PREFIX = "accuracy_delay_"


def time_constants(folder, settings):
    """{layer: {"tau_m" or "tau_s": ms [neuron]}} of a fit's current-based layers.  settings: of the model."""
    weights, found = safetensors.numpy.load_file(folder / "model.safetensors"), {}
    for layer in ("first", "second"):
        if f"{layer}.log_tau_m" in weights:
            found[layer] = {
                tau: np.clip(np.exp(weights[f"{layer}.log_{tau}"].ravel()) * 1e3, 1.0, settings["tau_max_ms"])
                for tau in ("tau_m", "tau_s")
            }
    return found


def row(folder, fits):
    """The row of one fit as a dict.  folder: …/FIT/seedN.  fits: {name: one of workflow.study.memories}."""
    fitted, metrics = fits[folder.parent.name], json.loads((folder / "metrics.json").read_text())
    history = pd.read_csv(folder / "history.csv")
    found = {name: fitted[name] for name in ("name", "model")}
    found |= {"groups": " ".join(fitted["groups"]), "seed": metrics["seed"], "steps": int(history["step"].iloc[-1])}
    found |= {"learnt_delay": fitted["settings"].get("delay", 0), "parameters": metrics["parameters"]["live"]}
    found |= {name: value for name, value in metrics.items() if name.startswith(PREFIX)}
    taus = time_constants(folder, metrics["model_settings"])
    every = np.concatenate([tau for layer in taus.values() for tau in layer.values()])
    found |= {"tau_median_ms": np.median(every), "tau_max_ms": every.max(), "tau_above_50_ms": (every > 50.5).mean()}
    return found | {"recordings": metrics["recordings"], "cpu_s": history["cpu_s"].iloc[-1]}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of evaluated fits, …/FIT/seedN")
    parser.add_argument("--fits", required=True, type=json.loads, help="workflow.study.memories, as JSON")
    parser.add_argument("--out", required=True, help="CSV to write")
    arguments = parser.parse_args()
    fits = {fitted["name"]: fitted for fitted in arguments.fits}
    table = pd.DataFrame([row(folder, fits) for folder in arguments.folders])
    table.to_csv(arguments.out, index=False, float_format="%.7g")


if __name__ == "__main__":
    main()
