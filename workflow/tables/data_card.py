"""The data card: what a generated data set is, how it was made, and whether its statistics are the published ones.

Written as Markdown beside the data, and as JSON for the report. The same shards give the same card. Standard errors are
those of the jackknife over simulations, of which one at a time is left out; for the published cell and 6 s they come to
1.49/√n Hz for the rate and 0.8/√n mV for the mean voltage of n simulations.
"""

import argparse
import json
import platform
import shlex
import textwrap
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from sims import neuronio, sealed
from sims.neuronio import CEILING_MV, SKIP_MS

# Neither decides what is sampled, or has a section of its own.
NUMBERS = ("first_simulation", "generator")
PACKAGES = ("brian2", "h5netcdf", "h5py", "neuron", "numpy", "scipy", "sympy", "xarray")
# The cell file and the inputs file as this project publishes them; a test holds the digest to the files.
PUBLISHED_DIGEST = "3c9acb4584361ff2f81e72a9f5ffe9ae182b624a1dd0ddd02777884d37c93f1c"
PUBLISHED_CELL, PUBLISHED_MS = "cell1", 6000
# 800 simulations of 6 s of the published cell with the published inputs, float32, dt 0.025 ms; measured before this
# project, by a solver that shares no code with it.  Standard errors of the first two: 0.053 Hz, 0.028 mV.
REFERENCE = {
    "output rate": "1.223",
    "mean voltage": "-66.973",
    "SD of the voltage": "4.20",
    "mean of the capped voltage": "-67.06",
    "SD of the capped voltage": "3.30",
    "excitatory input rate": "12.2",
    "inhibitory input rate": "9.5",
}
UNITS = {name: "Hz" if name.endswith("rate") else "mV" for name in REFERENCE}


def gather(paths):
    """What the shards say of themselves, and what they hold; one is in memory at a time.

    paths: …/SPLIT/SHARD.nc.
    Returns a dict: "attributes", {name: every value that occurs, sorted, as text}; "generators", the settings of the
    input generator that occur; "channels"; "splits", a dict of counts for each; "durations_ms", those that occur;
    "sums", a table with a row for each simulation (see `_sums`); and "options", what `sims neuronio generate` was told
    for the first shard, {option: value}.
    """
    values, splits, sums, channels, options = {}, {}, [], 0, None
    for path in paths:
        shard = neuronio.read(path)
        for name, value in shard.attributes.items():
            values.setdefault(name, set()).add(str(value))
        first = shard.attributes["first_simulation"]
        row = splits.setdefault(Path(path).parent.name, {"shards": 0, "simulations": 0, "first": first, "last": first})
        row["first"] = min(row["first"], first)
        row["last"] = max(row["last"], first + shard.simulations - 1)
        row["shards"] += 1
        for name, found in (
            ("simulations", shard.simulations),
            ("seconds", shard.simulations * shard.duration_ms / 1000),
            ("events", len(shard.event_time)),
            ("spikes", len(shard.spike_time)),
        ):
            row[name] = row.get(name, 0) + found
        sums.append(_sums(shard))
        channels = shard.channels
        options = options or _options(shard)
    sums = pd.concat(sums, ignore_index=True)
    return {
        "attributes": {name: sorted(found) for name, found in values.items() if name not in NUMBERS},
        "generators": [json.loads(text) for text in sorted(values["generator"])],
        "channels": channels,
        "splits": [{"split": split, "rate": row["spikes"] / row["seconds"], **row} for split, row in splits.items()],
        "durations_ms": sorted(set(sums["duration_ms"].tolist())),
        "sums": sums,
        "options": options,
    }


def _options(shard):
    found = shard.attributes
    return {
        "backend": found["backend"],
        "dt": f"{found['dt_ms']:g}",
        "precision": found["precision"],
        "seed": found["seed"],
        "first": found["first_simulation"],
        "simulations": shard.simulations,
        "seconds": f"{shard.duration_ms / 1000:g}",
    }


def _sums(shard):
    """A table with a row for each simulation: what statistics are made of, so that simulations can be left out.

    duration_ms; samples, spikes: after SKIP_MS, in ms and number; v, v2, capped, capped2: sums over the samples of the
    voltage, its square, and the same capped, mV and mV²; excitation, inhibition: events of a channel, on average.
    """
    voltage = shard.soma_voltage[:, SKIP_MS:].astype(float)
    capped = np.minimum(voltage, CEILING_MV)
    simulation = np.repeat(np.arange(shard.simulations), np.diff(shard.event_start))
    events = {
        name: np.bincount(simulation[shard.sign[shard.event_channel] == sign], minlength=shard.simulations)
        / max(1, np.count_nonzero(shard.sign == sign))
        for name, sign in (("excitation", 1), ("inhibition", -1))
    }
    spikes = [np.count_nonzero(shard.spikes(k) >= SKIP_MS) for k in range(shard.simulations)]
    sums = {"v": voltage, "v2": voltage**2, "capped": capped, "capped2": capped**2}
    return pd.DataFrame(
        {
            "duration_ms": shard.duration_ms,
            "samples": voltage.shape[1],
            "spikes": spikes,
            "silent": shard.spike_counts == 0,
            **{name: array.sum(axis=1) for name, array in sums.items()},
            **events,
        }
    )


def statistics(sums, comparable):
    """The data set's statistics beside the reference's.

    sums: as `gather` makes it.  comparable: whether the reference is of the same cell, inputs and length.
    Returns dicts with name, unit, value, standard_error (None for one simulation), reference, and within: whether the
    two lie within three standard errors of each other, None where they are not comparable.
    """
    whole = sums.sum()
    values = _pooled(whole)
    n = len(sums)
    left_out = _pooled(whole - sums)
    rows = []
    for name, value in values.items():
        error = None
        if n > 1:
            error = float(np.sqrt((n - 1) / n * np.sum((left_out[name] - left_out[name].mean()) ** 2)))
        within = abs(value - float(REFERENCE[name])) <= 3 * error if comparable and n > 1 else None
        rows.append(
            {
                "name": name,
                "unit": UNITS[name],
                "value": float(value),
                "standard_error": error,
                "reference": REFERENCE[name],
                "within": None if within is None else bool(within),
            }
        )
    return rows


def _pooled(sums):
    """{statistic: value} of sums over simulations, of numbers or of columns alike."""
    seconds, mean, capped = sums["duration_ms"] / 1000, sums["v"] / sums["samples"], sums["capped"] / sums["samples"]
    return {
        "output rate": 1000 * sums["spikes"] / sums["samples"],
        "mean voltage": mean,
        "SD of the voltage": np.sqrt(np.maximum(0, sums["v2"] / sums["samples"] - mean**2)),
        "mean of the capped voltage": capped,
        "SD of the capped voltage": np.sqrt(np.maximum(0, sums["capped2"] / sums["samples"] - capped**2)),
        "excitatory input rate": sums["excitation"] / seconds,
        "inhibitory input rate": sums["inhibition"] / seconds,
    }


def incomparable(found):
    """Why the reference says nothing about these shards, in words; "" where it does."""
    attributes = found["attributes"]
    reasons = []
    if attributes["cell"] != [PUBLISHED_CELL]:
        reasons.append(f"the cell is {', '.join(attributes['cell'])} and not {PUBLISHED_CELL}")
    if attributes["equations_digest"] != [PUBLISHED_DIGEST]:
        reasons.append("the equation files are not the published ones")
    if found["durations_ms"] != [PUBLISHED_MS]:
        lengths = ", ".join(f"{length / 1000:g}" for length in found["durations_ms"])
        reasons.append(f"simulations last {lengths} s and not {PUBLISHED_MS / 1000:g} s")
    return "; ".join(reasons)


def command(path, options):
    """The command that made a shard, for a shell.  options: {name: value}."""
    words = ["python", "-m", "sims", "neuronio", "generate", path]
    words += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    return shlex.join(words)


def words(value):
    """Plain data for a reader."""
    if isinstance(value, dict):
        entries = {name: words(entry) for name, entry in value.items()}
        nested = {name: isinstance(entry, dict) for name, entry in value.items()}
        return "; ".join(f"{name} ({text})" if nested[name] else f"{name}: {text}" for name, text in entries.items())
    if isinstance(value, list):
        return ", ".join(map(words, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def file_format():
    """The table of a shard's variables, as sims/neuronio.py documents it."""
    lines = neuronio.__doc__.splitlines()
    return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))


def licences(registry, cell):
    """[(data set, licence)] of what a card has to name, from data/registry.csv."""
    table = pd.read_csv(registry).set_index("dataset")["licence"]
    wanted = ["NeuronIO here", {"stylised": "l5_stylised"}.get(cell, cell), "NeuronIO original"]
    return [(name, table.get(name, "that of its file")) for name in wanted]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="+", help="…/SPLIT/SHARD.nc")
    parser.add_argument("--cell", required=True, help="as it was given to sims neuronio generate")
    parser.add_argument("--equations", required=True, help="the cell's equation file")
    parser.add_argument("--inputs", required=True, help="the input generator's equation file")
    parser.add_argument("--template", required=True, type=Path)
    parser.add_argument("--registry", required=True, help="data/registry.csv, for the licences")
    parser.add_argument("--out", required=True, help="Markdown to write")
    parser.add_argument("--json", required=True, help="JSON to write, for the report")
    arguments = parser.parse_args()

    found = gather(arguments.shards)
    sums = found.pop("sums")
    files = {name: getattr(arguments, name) for name in ("cell", "equations", "inputs")}
    options = files | found.pop("options")
    reason = incomparable(found)
    card = {
        **found,
        "simulations": len(sums),
        "silent": float(sums["silent"].mean()),
        "statistics": statistics(sums.drop(columns="silent"), not reason),
        "incomparable": reason,
    }
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["words"] = words
    page = environment.from_string(arguments.template.read_text()).render(
        **card,
        folder=Path(arguments.cell).stem,
        reference=REFERENCE,
        command=command(arguments.shards[0], options),
        format=file_format(),
        licences=licences(arguments.registry, arguments.cell),
        versions={"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )
    sealed.replace(arguments.out, page.rstrip().encode() + b"\n")
    sealed.replace(arguments.json, (json.dumps(card, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
