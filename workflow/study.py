"""What the rules read off the configuration: scales, folders, shards and their simulations, fits, declared inputs."""

import functools
import math
import os
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import yaml

from sims import documents
from sims.mistakes import Mistake

CONFIG = Path(__file__).parent / "config"
# Every configuration is a scale; long/STUDY is one study's long run.
SCALES = tuple(
    sorted(
        path.relative_to(CONFIG).with_suffix("").as_posix()
        for path in CONFIG.rglob("*.yaml")
        if path.name != "schema.yaml"
    )
)
# Where the numbers of a split's simulations start: one seed, no simulation in two splits, room to add shards.
FIRST_SIMULATION = {"train": 0, "valid": 1_000_000, "test": 2_000_000}
FIRST_CALIBRATION = 3_000_000
SPLITS = tuple(FIRST_SIMULATION)
# Groups of fits that change one thing of one neuron, and the settings that this thing is.
ABLATIONS = {
    "ablation_d_m": ("d_m",),
    "ablation_mlp_layers": ("mlp_layers",),
    "ablation_lambda": ("lambda_value",),
    "ablation_tau_m": ("tau_m_min", "tau_m_max"),
    "ablation_tau_m_range": ("tau_m_min", "tau_m_max"),
    "ablation_d_tree": ("d_tree", "d_brch"),
    "ablation_d_brch": ("d_brch",),
}
# Models whose memory can be looked at.
ELMS = ("elm", "branch_elm")
# CPU seconds of a step with a batch of 8, five times what they are on a core with AVX-512.
SECONDS_PER_STEP = {
    "branch_elm": 0.03,
    "elm": 0.03,
    "lif": 0.05,
    "alif": 0.05,
    "lstm": 0.1,
    "chrono_lstm": 0.1,
    "tcn": 5,
}


# The key of long_range.data that says what a task of that study learns from; None where it is always the same.
# Pixels on a side.
PATHFINDER_SIZES = {"pathfinder": 32, "pathfinder_x": 128}
LONG_RANGE_DATA = {
    "shd": "digits",
    "shd_adding": "digits",
    "cifar": None,
    "pathfinder": "pathfinder",
    "pathfinder_x": "pathfinder_x",
    "listops": "listops",
    "text": None,
    "retrieval": "retrieval",
}


class ConfigurationError(Mistake):
    """A configuration that cannot be run; its text names the key, what was found and what was expected."""


def scale_file(scale):
    """The configuration file of a scale."""
    if scale not in SCALES:
        raise ConfigurationError(f"scale: found {scale!r}, expected one of: {', '.join(SCALES)}")
    return str(CONFIG / f"{scale}.yaml")


def label(scale, name):
    """What the results of the study `name` are called at a scale, so that none overwrites another's.

    Its own long run is "long"; another study's long run leaves it at "default"; else the scale itself.
    """
    if not scale.startswith("long/"):
        return scale
    return "long" if scale == f"long/{name}" else "default"


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
    there = neuronio["splits"]["train"]["shards"]
    for fitted in models(neuronio):
        place, wanted = f"neuronio.models.{fitted['name']}", fitted["training"].get("shards", there)
        if wanted > there:
            mistakes.append(f"{place}: found {wanted} shards to train on, but the split has {there}")
        if fitted["name"] == neuronio["reference"]:
            if fitted["model"] not in ELMS:
                mistakes.append(f"{place}: is the reference and a {fitted['model']}, expected one of {', '.join(ELMS)}")
            if "performance" not in fitted["groups"]:
                mistakes.append(f"{place}: is the reference, and not in the group performance")
        for group in sorted(ABLATIONS.keys() & fitted["groups"]):
            for setting in sorted(set(ABLATIONS[group]) - fitted["settings"].keys()):
                mistakes.append(f"{place}: is in the group {group}, but does not set {setting}")
    mistakes += _recall_contradictions(config["delay_memory"]) + _memory_contradictions(config["working_memory"])
    fits = [fitted["name"] for fitted in navigators(config["place_cells"])]
    if (shown := config["place_cells"]["reference"]) not in fits:
        mistakes.append(f"place_cells.reference: found {shown!r}, expected one of the fits: {', '.join(fits)}")
    mistakes += _hypotheses_contradictions(config["hypotheses"])
    mistakes += _long_range_contradictions(config["long_range"])
    mistakes += _gradient_free_contradictions(config)
    for place, name in [
        ("reference", neuronio["reference"]),
        *(("pairs", name) for pair in neuronio.get("pairs", []) for name in pair),
    ]:
        if name not in names:
            mistakes.append(f"neuronio.{place}: found {name!r}, expected one of the models: {', '.join(names)}")
    return mistakes


def _recall_contradictions(delay_memory):
    """What is wrong with a section delay_memory whose single keys are all right."""
    listed, mistakes = [entry["name"] for entry in delay_memory["fits"]], []
    asked = [("reference", delay_memory["reference"])]
    asked += [(f"sweeps.{sweep['name']}", name) for sweep in delay_memory.get("sweeps", []) for name in sweep["fits"]]
    for place, name in asked:
        if name not in listed:
            mistakes.append(f"delay_memory.{place}: found {name!r}, expected one of the fits: {', '.join(listed)}")
    if not mistakes:
        names = listed + [fitted["name"] for fitted in recalls(delay_memory) if fitted["sweep"]]
        twice = sorted({name for name in names if names.count(name) > 1})
        mistakes += [f"delay_memory: two fits are named {name!r}" for name in twice]
    return mistakes


def _memory_contradictions(working_memory):
    """What is wrong with a section working_memory whose single keys are all right."""
    names = [entry["name"] for entry in working_memory["fits"]]
    mistakes = [f"working_memory.fits: two are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    if (name := working_memory["reference"]) not in names:
        mistakes.append(f"working_memory.reference: found {name!r}, expected one of the fits: {', '.join(names)}")
    for split, pieces in working_memory["splits"].items():
        if pieces["shards"] > pieces["of"]:
            mistakes.append(f"working_memory.splits.{split}: found {pieces['shards']} shards of {pieces['of']}")
    return mistakes


def _hypotheses_contradictions(hypotheses):
    """What is wrong with a section hypotheses whose single keys are all right."""
    there, mistakes = hypothesis_files(hypotheses | {"listed": []}), []
    for name in hypotheses["listed"]:
        if name not in there:
            found = ", ".join(there) or "none"
            mistakes.append(f"hypotheses.listed: found {name!r}, expected files of {hypotheses['folder']}: {found}")
    names = [entry["name"] for entry in hypotheses["models"]]
    mistakes += [f"hypotheses.models: two are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    if hypotheses["reference"] not in names:
        listed = ", ".join(names)
        mistakes.append(f"hypotheses.reference: found {hypotheses['reference']!r}, expected one of: {listed}")
    return mistakes


def _gradient_free_contradictions(config):
    """What is wrong with a section gradient_free whose single keys are all right."""
    section, there = config["gradient_free"], config["neuronio"]["splits"]["train"]["shards"]
    names, mistakes = [entry["name"] for entry in section["fits"]], []
    mistakes += [f"gradient_free.fits: two are named {name!r}" for name in sorted(set(names)) if names.count(name) > 1]
    if section["shards"] > there:
        mistakes.append(f"gradient_free.shards: found {section['shards']} to train on, but the split has {there}")
    for entry in section["fits"]:
        if "model" in entry and entry.get("method") != "gradient":
            mistakes.append(f"gradient_free.fits.{entry['name']}: is a {entry['model']}, expected method: gradient")
    return mistakes


def _long_range_contradictions(long_range):
    """What is wrong with a section long_range whose single keys are all right."""
    names = [fitted["name"] for fitted in long_ranges(long_range)]
    mistakes = [f"long_range: two fits are named {name!r}" for name in sorted({n for n in names if names.count(n) > 1})]
    for entry in long_range["fits"]:
        place, spoken = f"long_range.fits.{entry['name']}", entry["task"] in ("shd", "shd_adding")
        if ("bins" in entry) != spoken:
            mistakes.append(f"{place}: found {'bins' if 'bins' in entry else 'none'} for the task {entry['task']}")
        data = LONG_RANGE_DATA[entry["task"]]
        if data is not None and data not in long_range["data"]:
            mistakes.append(f"{place}: found no long_range.data.{data}, expected the files of the task {entry['task']}")
    return mistakes


def cell_name(cell):
    """The folder name of a cell: stylised, cell1, or the stem of a morphology's file."""
    return Path(cell).stem


def morphology_files(cell):
    """The morphology as declared inputs: none for cell1, which has a fixed checksum and may come by download."""
    return {"stylised": ["data/morphologies/l5_stylised.swc"], "cell1": []}.get(cell, [cell])


# All files that the meaning of an equation file depends on. Rules ask for each of their jobs, and reading what a cell
# is made of takes half a second; while a plan is made no file changes.
sources = functools.cache(documents.sources)


def cell_files(path):
    """A cell's equation file and those it extends, without its mechanisms."""
    return [file for file in sources(path) if documents.read(file).value["kind"].value == "cell"]


def data_folder(cell, scale):
    """The folder of a cell's shards.

    Scales share their shards, of which one has the first so many; but smoke's are smaller, and paper's as large as a
    cluster's jobs should be.
    """
    return f"data/neuronio/{cell_name(cell)}" + (f"/{scale}" if scale in ("smoke", "paper") else "")


def shards(neuronio, folder, split):
    """The shard files of a split in a data folder, in order."""
    return [f"{folder}/{split}/{shard:03d}.nc" for shard in range(neuronio["splits"][split]["shards"])]


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


def fit_minutes(kind, training):
    """Minutes that a fit may take on a slow core, validation included.  kind: of model; training: as of `models`."""
    seconds = SECONDS_PER_STEP.get(kind, max(SECONDS_PER_STEP.values()))
    return 10 + math.ceil(training["steps"] * max(1, training["batch_size"] / 8) * seconds / 60)


def models(neuronio):
    """The configuration's models with all that holds for them.

    A list of dicts: `name`, `model`; `own`, the settings of its entry; `settings`, these on top of those of every
    model of its kind; `training`, as its entry changes what holds for all; `groups`, what the fits are for; `hours`
    of simulation to train on.
    """
    return [
        {
            "name": entry["name"],
            "model": entry["model"],
            "own": (own := entry.get("settings", {})),
            "settings": neuronio.get("settings", {}).get(entry["model"], {}) | own,
            "training": (training := neuronio["training"] | entry.get("training", {})),
            "groups": entry.get("groups", ["performance"]),
            "hours": training.get("shards", neuronio["splits"]["train"]["shards"])
            * shard_seconds(neuronio, "train")
            / 3600,
        }
        for entry in neuronio["models"]
    ]


def recalls(delay_memory):
    """The fits of the study delay_memory with all that holds for them: those listed, then those of the sweeps.

    A list of dicts: `name`; `method`, the listed fit that it is or that a sweep changes; `sweep`, `parameter` and
    `value` (None but in a sweep); `network`, parameters that differ from the equation file's; `settings`; `training`;
    `groups`, what it is for: with a sweep "sweep", or "capacity" where that says so.
    """
    listed = {
        entry["name"]: {
            "name": entry["name"],
            "method": entry["name"],
            "sweep": None,
            "parameter": None,
            "value": None,
            "network": entry.get("network", {}),
            "settings": entry.get("settings", {}),
            "training": delay_memory["training"] | entry.get("training", {}),
            "groups": entry.get("groups", ["first"]),
        }
        for entry in delay_memory["fits"]
    }
    swept = [
        listed[method]
        | {"name": f"{sweep['name']}_{value:g}_{method}", "sweep": sweep["name"], "groups": [sweep["group"]]}
        | {"parameter": sweep["parameter"], "value": value}
        | {"network": listed[method]["network"] | sweep.get("network", {}) | {sweep["parameter"]: value}}
        for sweep in delay_memory.get("sweeps", [])
        for value in sweep["values"]
        for method in sweep["fits"]
    ]
    return [*listed.values(), *swept]


def memories(working_memory):
    """The fits of the study working_memory with all that holds for them.

    A list of dicts: `name`, `model`, `settings`, `training`, `groups`, what a fit is for.
    """
    return [
        {
            "name": entry["name"],
            "model": entry["model"],
            "settings": working_memory["task"] | entry.get("settings", {}),
            "training": working_memory["training"] | entry.get("training", {}),
            "groups": entry.get("groups", ["delays"]),
        }
        for entry in working_memory["fits"]
    ]


def real_speech():
    """Whether the recordings of the Free Spoken Digit Dataset are here; sims/stimuli/fsdd.py reads them."""
    folders = [Path("data/speech"), *map(Path, filter(None, [os.environ.get("DENDRITIC_DATA")]))]
    return any((folder / "fsdd_recordings.tar").is_file() for folder in folders)


def takes(spoken):
    """How many takes of a speaker's word digits are made of, None for all; the published spikes come whole.

    spoken: a configuration's `source` and `takes`.
    """
    return None if spoken["source"] == "shd" else spoken.get("takes")


def memory_files(working_memory, folder, split):
    """The files of spoken digits of a split that a configuration uses, of those that it is made in."""
    pieces = working_memory["splits"][split]
    return [f"{folder}/{split}/{shard:03d}_of_{pieces['of']}.h5" for shard in range(pieces["shards"])]


def arguments(settings):
    """Settings as arguments of python -m fitting, which reads true and false; sorted, since the order in which files
    were put together says nothing."""
    plain = {name: str(value).lower() if isinstance(value, bool) else value for name, value in settings.items()}
    return [f"--set={name}={value}" for name, value in sorted(plain.items())]


def memory_minutes(training, members=1):
    """Minutes that a fit of `memories` may take on a slow core; a step of 128 trials takes up to half a second."""
    return 10 + math.ceil(members * training["steps"] * training["batch_size"] / 128 * 0.5 / 60)


def recall_mb(fitted):
    """Memory of a fit of `recalls`: weights, their gradient and copies for a checkpoint, and the trials of a batch."""
    N, D, T, M, _ = _recall_sizes(fitted)
    weights, batch = 4e-6 * N**2 * D, 4e-6 * N * (T + 100) * max(16, min(M, fitted["training"]["batch_size"]))
    return round(800 + 10 * weights + 6 * batch + 5e-6 * M * N * T)


def recall_minutes(fitted):
    """Minutes that a fit of `recalls` may take on a slow core: at the file's own size a step of backpropagation takes
    10 s and margins one, but many patterns take many epochs."""
    N, D, T, M, p_A = _recall_sizes(fitted)
    patterns = N**2 * D * T * M / (512**2 * 41 * 1000 * 16)
    return 10 + round(patterns * (fitted["training"]["steps"] * 30 + 20 * max(1, p_A / 0.001)) / 60)


def _recall_sizes(fitted):
    """N, D, T, M and p_A of a fit of `recalls`; what its network does not say is as in equations/delays.yaml."""
    sizes = {"N": 512, "D": 41, "T": 1000, "M": 16, "p_A": 0.001}
    return [fitted["network"].get(name, value) for name, value in sizes.items()]


def navigators(place_cells):
    """The fits of the study place_cells: every activation with every number of maps, then the learning-rate sweep.

    A list of dicts: `name`; `maps`; `activation`, nmda or gelu; `alpha`, None for gelu; `training`; `swept`, whether it
    is of the sweep, which is over the activations at the first number of maps.
    """
    training, found = place_cells["training"], []
    rates = [rate for rate in place_cells.get("learning_rates", []) if rate != training["learning_rate"]]
    groups = [(maps, None) for maps in place_cells["maps"]] + [(place_cells["maps"][0], rate) for rate in rates]
    for maps, rate in groups:
        for alpha in place_cells["alphas"] + [None] * place_cells["gelu"]:
            kind = "gelu" if alpha is None else f"alpha{alpha:g}"
            found.append(
                {
                    "name": f"{kind}_N{maps}" + (f"_lr{rate:g}" if rate else ""),
                    "maps": maps,
                    "activation": "gelu" if alpha is None else "nmda",
                    "alpha": alpha,
                    "training": training | ({"learning_rate": rate} if rate else {}),
                    "swept": rate is not None,
                }
            )
    return found


def navigator_settings(place_cells, fitted):
    """The settings of a fit of `navigators`, model's and task's."""
    own = {"activation": fitted["activation"]} | ({} if fitted["alpha"] is None else {"alpha": fitted["alpha"]})
    return place_cells["settings"] | place_cells["task"] | own


def navigation_minutes(place_cells):
    """Minutes that a fit of `navigators` may take on a slow core: four passes of every layer's weights a token."""
    settings, training = place_cells["settings"], place_cells["training"]
    weights = settings.get("layers", 2) * settings["width"] * (4 * settings["width"] + 2 * settings["feed_forward"])
    tokens = 3 * place_cells["world"]["segment"] * training["batch_size"]
    return 10 + math.ceil(training["steps"] * (0.2 + 16 * weights * tokens / 5e9) / 60)


def gradient_free_fits(gradient_free):
    """The fits of the study gradient_free with all that holds for them.

    A list of dicts: `name`; `method`, evolution or gradient; `model`; `equations`, the file of an equation_neuron, else
    None; `settings`; `training`, that of its method and as its entry changes it.
    """
    return [
        {
            "name": entry["name"],
            "method": (method := entry.get("method", "evolution")),
            "model": entry.get("model", "equation_neuron"),
            "equations": entry.get("equations", gradient_free["equations"]) if "model" not in entry else None,
            "settings": entry.get("settings", {}),
            "training": gradient_free["evolution" if method == "evolution" else "training"] | entry.get("training", {}),
        }
        for entry in gradient_free["fits"]
    ]


def gradient_free_settings(gradient_free, fitted):
    """The options --set of a fit of `gradient_free_fits`: model's and, of an evolution, those of its trials."""
    settings = dict(fitted["settings"])
    if fitted["method"] == "evolution":
        settings = gradient_free["trials"] | settings
    elif fitted["equations"]:
        settings["equations"] = fitted["equations"]
    return [f"--set={name}={value}" for name, value in sorted(settings.items())]


def gradient_free_files(gradient_free):
    """The equation files that the study gradient_free fits."""
    fitted = {entry["equations"] for entry in gradient_free_fits(gradient_free) if entry["equations"]}
    return sorted({gradient_free["recovery"]["equations"], *fitted})


def options(values):
    """Command-line options from a dict: ["--batch-size=8", …] in one order."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in sorted(values.items())]


def long_ranges(long_range):
    """The fits of the study long_range with all that holds for them; an entry with bins is one fit for each.

    A list of dicts: `name`; `method`, the entry's name; `task`; `model`; `bin_ms`, None but for spoken digits;
    `settings` of model and task: of every model of its kind, of every fit to its task, its own; `training` alike;
    `groups`.
    """
    fits = []
    for entry in long_range["fits"]:
        held = long_range.get("tasks", {}).get(entry["task"], {})
        own = long_range.get("settings", {}).get(entry["model"], {})
        own = own | held.get("settings", {}) | held.get(entry["model"], {}) | entry.get("settings", {})
        training = long_range["training"] | held.get("training", {}) | entry.get("training", {})
        for bin_ms in entry.get("bins", [None]):
            binned = bin_ms is not None
            fits.append(
                {
                    "name": f"{entry['name']}_{bin_ms}ms" if binned else entry["name"],
                    "method": entry["name"],
                    "task": entry["task"],
                    "model": entry["model"],
                    "bin_ms": bin_ms,
                    "settings": own | ({"bin_ms": bin_ms} if binned else {}),
                    "training": training,
                    "groups": entry.get("groups", ["bins" if binned else "steps"]),
                }
            )
    return fits


def long_range_files(long_range, task, folder):
    """{split: file} that a fit to a task learns from and is scored on; folder: of what the workflow makes."""
    data = LONG_RANGE_DATA[task]
    if data == "retrieval":
        return long_range["data"][data]
    name = "digits" if data == "digits" else task
    ending = "h5" if data == "digits" else "npz" if task in ("cifar", *PATHFINDER_SIZES) else "tsv"
    return {split: f"{folder}/{name}/{split}.{ending}" for split in SPLITS}


def long_range_minutes(fitted):
    """Minutes that a fit of `long_ranges` may take on a slow core: 10 ns for each weight, window and step of time."""
    settings, training = fitted["settings"], fitted["training"]
    time = {"pathfinder_x": 16384, "cifar": 1024, "pathfinder": 1024, "listops": 2000, "text": 4000, "retrieval": 8000}
    steps = time.get(fitted["task"], 2000 / (fitted["bin_ms"] or 1))
    weights = 4 * settings.get("d_m", 20) ** 2 + 4 * settings.get("hidden", 50) ** 2
    seconds = 1e-8 * weights * steps * training["batch_size"] * training["steps"]
    return 15 + round(2 * seconds / 60)


def fit_folders(neuronio, results, *groups):
    """The folders of the fits of some groups, or of all: models in the order of the configuration, each with its
    seeds."""
    return [
        f"{results}/{entry['name']}/seed{seed}"
        for entry in models(neuronio)
        if not groups or set(groups) & set(entry["groups"])
        for seed in entry["training"]["seeds"]
    ]


def pairs(neuronio):
    """Pairs of models to compare: every other one of the performance group with the reference, then those listed."""
    reference = neuronio["reference"]
    names = [entry["name"] for entry in models(neuronio) if "performance" in entry["groups"]]
    return [[name, reference] for name in names if name != reference] + neuronio.get("pairs", [])


def hypothesis_files(hypotheses):
    """{name: file} of the study hypotheses: every file of its folder, by name, those that are listed first."""
    found = {path.stem: str(path) for path in sorted(Path(hypotheses["folder"]).glob("*.yaml"))}
    return {name: found[name] for name in [*hypotheses["listed"], *found] if name in found}


@dataclass(frozen=True)
class Hypotheses:
    """Where the files of the study hypotheses are.

    section: of the configuration.  data, results: folders that hold one for each hypothesis.  cell, inputs: the
    equation files that a hypothesis may change.
    """

    section: dict
    data: str
    results: str
    cell: str
    inputs: str

    def sources(self, name):
        """The equation files that a hypothesis depends on, its own first.

        A file that cannot be read stands for itself alone: its check records what is wrong.
        """
        path = hypothesis_files(self.section)[name]
        try:
            found = sources(path)
        except Mistake:
            found = [Path(path)]
        return list(dict.fromkeys([*found, *sources(self.cell), *sources(self.inputs)]))

    def files(self, names, file):
        """One file of the data of each of some hypotheses."""
        return [f"{self.data}/{name}/{file}" for name in names]

    def shards(self, name, split):
        """The shards of a split of one hypothesis."""
        return shards(self.section, f"{self.data}/{name}", split)

    def fits(self, name):
        """The folders of the fits to one hypothesis."""
        return fit_folders(self.section, f"{self.results}/{name}")

    def scored(self, names):
        """What the table reads of the fits to some hypotheses."""
        wanted = "metrics.json", "predictions.npz", "model.safetensors"
        return [f"{fit}/{file}" for name in names for fit in self.fits(name) for file in wanted]

    def crossed(self, names):
        """The scores of the reference fitted to one hypothesis, its first seed, on each other."""
        reference = next(entry for entry in models(self.section) if entry["name"] == self.section["reference"])
        fit = f"{reference['name']}/seed{reference['training']['seeds'][0]}"
        pairs = [(fitted, tested) for fitted in names for tested in names if fitted != tested]
        return [f"{self.results}/{fitted}/{fit}/on/{tested}.json" for fitted, tested in pairs]

    def costs(self, names):
        """Benchmark files of all that is simulated and fitted for each of some hypotheses."""
        simulated = [path for name in names for split in SPLITS for path in self.shards(name, split)]
        fits = [f"{fit}/{step}.tsv" for name in names for fit in self.fits(name) for step in ("fit", "evaluate")]
        return self.files(names, "calibrate.tsv") + [path.replace(".nc", ".tsv") for path in simulated] + fits


def calibration_seconds(hypotheses):
    """Seconds that the calibration of a hypothesis simulates at most."""
    sizes = hypotheses["calibration"]
    return sizes["evaluations"] * sizes["simulations"] * sizes["seconds"]
