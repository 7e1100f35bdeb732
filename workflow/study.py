"""What the rules read off the configuration: the scale's file, shards and their simulations, fits, declared inputs."""

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
    """Raise ConfigurationError with every mistake unless `config` follows schema.yaml and its models' names differ."""
    schema = yaml.safe_load((CONFIG / "schema.yaml").read_text())
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    mistakes = sorted(f"{error.json_path.lstrip('$.') or 'top level'}: {error.message}" for error in errors)
    if not mistakes:
        names = [entry["name"] for entry in config["neuronio"]["models"]]
        mistakes = [f"neuronio.models: two are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    if mistakes:
        raise ConfigurationError("\n  ".join(["the configuration cannot be used:", *mistakes]))


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


def simulated_seconds(neuronio, *splits):
    """Seconds of all simulations of some splits; one takes up to 100 kB of memory."""
    sizes = [neuronio["splits"][split] for split in splits]
    return sum(size["shards"] * size["simulations"] * size["seconds"] for size in sizes)


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
