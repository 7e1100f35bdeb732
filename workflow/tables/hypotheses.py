"""Hypotheses side by side: what each changes, what the cell then does, and how hard it is to imitate.

Rates and voltages at scale 1 are of the same inputs for all, so that differences from the first hypothesis are paired,
simulation by simulation; scores are on inputs calibrated to one output rate. Intervals hold 95 %: of scores from a
bootstrap over test simulations (of the mean over seeds), of differences from their standard error.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from sims import neuronio, sealed
from sims.neuronio import SKIP_MS
from sims.streams import stream
from workflow.tables import paired

RESAMPLES = 1000
ENOUGH = 0.99  # of the best AUC
SCORES = ("auc", "voltage_rmse_mV")


def statistics(shards):
    """Rate (Hz, its standard error), mean and SD of the somatic voltage (mV) of simulations of Shards after SKIP_MS."""
    rates = np.concatenate([_rates(shard) for shard in shards])
    voltage = np.concatenate([shard.soma_voltage[:, SKIP_MS:].ravel() for shard in shards]).astype(float)
    error = rates.std(ddof=1) / np.sqrt(len(rates)) if len(rates) > 1 else None
    found = {"simulations": len(rates), "rate_Hz": rates.mean(), "rate_error_Hz": error}
    return found | {"mean_mV": voltage.mean(), "sd_mV": voltage.std()}


def difference(shard, base):
    """{"rate_Hz": (mean, half of its interval), "mean_mV": …}: a Shard less another of the same inputs, paired; None
    where the inputs are not the same."""
    same = np.array_equal(shard.event_time, base.event_time) and np.array_equal(shard.event_channel, base.event_channel)
    if not same or shard.simulations < 2:
        return None
    found = {"rate_Hz": _rates(shard) - _rates(base)}
    found["mean_mV"] = (shard.soma_voltage - base.soma_voltage)[:, SKIP_MS:].astype(float).mean(1)
    return {name: (d.mean(), 1.96 * d.std(ddof=1) / np.sqrt(len(d))) for name, d in found.items()}


def _rates(shard):
    counts = [np.count_nonzero(shard.spikes(k) >= SKIP_MS) for k in range(shard.simulations)]
    return 1000 * np.array(counts) / (shard.duration_ms - SKIP_MS)


def scored(folders, seed):
    """{score: [mean over seeds, low, high]} of the fits of one model, None where undefined."""
    contributed = [paired.read(folder / "predictions.npz") for folder in folders]
    n = len(contributed[0]["bins"])
    draws = stream(seed, "bootstrap of hypotheses").multinomial(n, np.full(n, 1 / n), RESAMPLES)
    once, many = ([paired.scores(one, counts) for one in contributed] for counts in (np.ones((1, n)), draws))
    found = {}
    for name in SCORES:
        mean = float(np.mean([one[name][0] for one in once]))
        resampled = np.mean([one[name] for one in many], axis=0)
        resampled = resampled[np.isfinite(resampled)]
        if np.isfinite(mean) and len(resampled):
            found[name] = [mean, *map(float, np.quantile(resampled, (0.025, 0.975)))]
        else:
            found[name] = [None, None, None]
    return found


def time_constants(folder, settings):
    """The time constants of a fitted ELM's memories, ms, rising; None of a model without."""
    weights = load_file(folder / "model.safetensors")
    if "proto_tau_m" in weights:
        low, high = settings.get("tau_m_lower", 0), settings.get("tau_m_upper", 500)
        return sorted((low + (high - low) / (1 + np.exp(-weights["proto_tau_m"].astype(float)))).tolist())
    return sorted(weights["fixed_tau_m"].tolist()) if "fixed_tau_m" in weights else None


def smallest(models):
    """The smallest d_m whose AUC is ENOUGH of the best of all d_m; None without spikes."""
    sizes = {model["d_m"]: model["auc"][0] for model in models if model["d_m"] and model["auc"][0] is not None}
    return min((d for d, auc in sizes.items() if auc >= ENOUGH * max(sizes.values())), default=None)


def described(name, arguments, first):
    """All that is known of one hypothesis, as plain data.  first: the shard at scale 1 of the first, or None."""
    data, results = arguments.data / name, arguments.results / name
    found = {"name": name, "question": "", "reference": "", "changes": []}
    found |= json.loads((data / "verdict.json").read_text())
    if (data / "changes.json").stat().st_size:
        found |= json.loads((data / "changes.json").read_text())
    if not found["runs"]:
        return found
    found["calibration"] = json.loads((data / "calibration.json").read_text())
    unscaled = neuronio.read(data / "unscaled.nc")
    tests = [neuronio.read(data / "test" / f"{shard:03d}.nc") for shard in range(arguments.shards)]
    found["unscaled"], found["test"] = statistics([unscaled]), statistics(tests)
    found["difference"] = difference(unscaled, first) if first is not None else None
    found["models"] = []
    for model in arguments.models:
        folders = [results / model["name"] / f"seed{seed}" for seed in model["training"]["seeds"]]
        entry = {"name": model["name"], "model": model["model"], "d_m": model["settings"].get("d_m")}
        entry |= {"seeds": len(folders), **scored(folders, arguments.seed)}
        entry["tau_m_ms"] = time_constants(folders[0], model["settings"])
        found["models"].append(entry)
    found["smallest_d_m"] = smallest(found["models"])
    return found


def cross(living, arguments):
    """{"names", "auc", "voltage_rmse_mV"}: scores of the reference, [fitted to][tested on]; None where undefined."""
    model = next(entry for entry in arguments.models if entry["name"] == arguments.reference)
    found = {"names": living} | {name: [] for name in SCORES}
    for fitted in living:
        folder = arguments.results / fitted / arguments.reference / f"seed{model['training']['seeds'][0]}"
        paths = [folder / ("metrics.json" if one == fitted else f"on/{one}.json") for one in living]
        metrics = [json.loads(path.read_text()) for path in paths]
        for name in SCORES:
            found[name].append([each[name] for each in metrics])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="hypotheses; the others are compared with the first")
    parser.add_argument("--data", required=True, type=Path, help="folder of their data")
    parser.add_argument("--results", required=True, type=Path, help="folder of their fits")
    parser.add_argument("--models", required=True, type=json.loads, help="workflow.study.models, as JSON")
    parser.add_argument("--reference", required=True, help="the model of the cross-test")
    parser.add_argument("--shards", required=True, type=int, help="of test simulations")
    parser.add_argument("--seed", type=int, default=0, help="of the resampling")
    parser.add_argument("--out", required=True, help="JSON to write")
    parser.add_argument("--scores", required=True, help="CSV to write")
    arguments = parser.parse_args()
    first = None
    if json.loads((arguments.data / arguments.names[0] / "verdict.json").read_text())["runs"]:
        first = neuronio.read(arguments.data / arguments.names[0] / "unscaled.nc")
    found = [described(name, arguments, first) for name in arguments.names]
    living = [each["name"] for each in found if each["runs"]]
    whole = {"hypotheses": found, "cross": cross(living, arguments), "reference": arguments.reference}
    rows = [
        {"hypothesis": each["name"], "model": model["name"], "d_m": model["d_m"], "seeds": model["seeds"]}
        | {f"{s}{end}": value for s in SCORES for end, value in zip(("", "_low", "_high"), model[s], strict=True)}
        for each in found
        for model in each.get("models", [])
    ]
    columns = ["hypothesis", "model", "d_m", "seeds", *(f"{s}{end}" for s in SCORES for end in ("", "_low", "_high"))]
    pd.DataFrame(rows, columns=columns).to_csv(arguments.scores, index=False, float_format="%.5g")
    sealed.replace(arguments.out, (json.dumps(whole, indent=1, default=float) + "\n").encode())


if __name__ == "__main__":
    main()
