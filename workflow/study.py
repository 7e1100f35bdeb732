"""What the rules read off the configuration: the scale's file, shards and their simulations, fits, declared inputs."""

import math
from pathlib import Path

import jsonschema
import yaml

from sims import documents
from sims.mistakes import Mistake

CONFIG = Path(__file__).parent / "config"
SCALES = ("smoke", "default", "paper")
NAME = r"[A-Za-z]\w*"
# Where the numbers of a split's simulations start: one seed, no simulation in two splits, room to add shards.
FIRST_SIMULATION = {"train": 0, "valid": 1_000_000, "test": 2_000_000}
SPLITS = tuple(FIRST_SIMULATION)


class ConfigurationError(Mistake):
    """A configuration that cannot be run; its text names the key, what was found and what was expected."""


def scale_file(scale):
    """The configuration file of a scale."""
    if scale not in SCALES:
        raise ConfigurationError(f"scale: found {scale!r}, expected one of: {', '.join(SCALES)}")
    return str(CONFIG / f"{scale}.yaml")


def check_configuration(config):
    """Raise ConfigurationError with every mistake unless `config` follows schema.yaml and its keys fit together."""
    schema = yaml.safe_load((CONFIG / "schema.yaml").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    mistakes = sorted(f"{error.json_path.lstrip('$.') or 'top level'}: {error.message}" for error in errors)
    mistakes = mistakes or _contradictions(config)
    if mistakes:
        raise ConfigurationError("\n  ".join(["the configuration cannot be used:", *mistakes]))


def _contradictions(config):
    """What is wrong with a configuration whose single keys are all right."""
    neuronio, mistakes = config["neuronio"], []
    if config["backend"] == "neuron" and config["precision"] != "float64":
        mistakes.append(f"precision: found {config['precision']!r} with backend neuron, expected 'float64'")
    if config["backend"] != "neuron" and config["dt"] == 0:
        mistakes.append(f"dt: found 0 with backend {config['backend']}; only neuron has a variable step")
    for key, wanted in neuronio["cross_check"].items():
        there = neuronio["splits"]["test"][key]
        if wanted > there:
            mistakes.append(f"neuronio.cross_check.{key}: found {wanted}, but a test shard has {there}")
    names = [entry["name"] for entry in neuronio["models"]]
    mistakes += [f"neuronio.models: two are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    return mistakes


def cell_name(cell):
    """The folder name of a cell: stylised, cell1, or the stem of a morphology's file."""
    return Path(cell).stem


def morphology_files(cell):
    """The morphology as declared inputs: none for cell1, which has a fixed checksum and may come by download."""
    return {"stylised": ["data/morphologies/l5_stylised.swc"], "cell1": []}.get(cell, [cell])


def cell_files(path):
    """A cell's equation file and those it extends, without its mechanisms."""
    return [file for file in documents.sources(path) if documents.read(file).value["kind"].value == "cell"]


def shards(neuronio, cell, split):
    """The shard files of a split, in order."""
    folder, count = f"data/neuronio/{cell_name(cell)}/{split}", neuronio["splits"][split]["shards"]
    return [f"{folder}/{shard:03d}.nc" for shard in range(count)]


def first_simulation(neuronio, split, shard):
    """Number of a shard's first simulation; adding shards leaves the others' alone."""
    return FIRST_SIMULATION[split] + int(shard) * neuronio["splits"][split]["simulations"]


def shard_seconds(neuronio, split):
    """Seconds of all simulations of one shard."""
    return neuronio["splits"][split]["simulations"] * neuronio["splits"][split]["seconds"]


def simulated_seconds(neuronio, *splits):
    """Seconds of all simulations of some splits; one takes up to 100 kB of memory."""
    return sum(neuronio["splits"][split]["shards"] * shard_seconds(neuronio, split) for split in splits)


def simulation_minutes(backend, dt, seconds):
    """Minutes that simulating so many seconds may take on a slow core, with compilation before.

    NEURON takes 10 s for a simulated second at dt 0.025 ms, the cable solver 0.15 s with AVX-512, and several times
    that in float64 or without it.
    """
    finer = max(1, 0.025 / dt) if dt else 1.5
    return 5 + math.ceil(seconds * {"neuron": 20, "cable": 2}[backend] * finer / 60)


def fit_folders(neuronio, cell):
    """The folders of all fits: models in the order of the configuration, each with its seeds."""
    return [
        f"results/neuronio/{cell_name(cell)}/{entry['name']}/seed{seed}"
        for entry in neuronio["models"]
        for seed in training(neuronio, entry["name"])["seeds"]
    ]


def model(neuronio, name):
    """The configuration's entry of a model."""
    found = [entry for entry in neuronio["models"] if entry["name"] == name]
    if not found:
        raise ConfigurationError(f"neuronio.models: none is named {name!r}")
    return found[0]


def training(neuronio, name):
    """How a model is trained: what holds for all, with what its own entry changes."""
    return neuronio["training"] | model(neuronio, name).get("training", {})


def settings(neuronio, name):
    """A model's settings as the command line takes them, ["d_m=20", …]."""
    return [f"{key}={value}" for key, value in model(neuronio, name).get("settings", {}).items()]
