"""What the rules read off the configuration."""

import itertools
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from fitting.models import MODELS
from fitting.settings import change
from fitting.tasks import TASKS
from fitting.tasks.delayed_digits import DelayedDigits
from sims import delays, equations
from workflow import study
from workflow.figures import ablations, curves, performance


def configuration(scale):
    """The whole configuration of a scale, as Snakemake puts it together."""
    config = yaml.safe_load((study.CONFIG / "default.yaml").read_text())
    update_config(config, yaml.safe_load(Path(study.scale_file(scale)).read_text()))
    study.check_configuration(config)
    return config


@pytest.fixture(params=study.SCALES)
def neuronio(request):
    """The section neuronio of every scale."""
    return configuration(request.param)["neuronio"]


def test_no_simulation_is_in_two_shards(neuronio):
    ranges = []
    for split in study.SPLITS:
        for shard in range(neuronio["splits"][split]["shards"]):
            first = study.first_simulation(neuronio, split, shard)
            ranges.append((first, first + neuronio["splits"][split]["simulations"]))
    for (_, end), (start, _) in itertools.pairwise(sorted(ranges)):
        assert end <= start


def test_the_largest_configuration_that_the_schema_allows_keeps_the_splits_apart():
    schema = yaml.safe_load((study.CONFIG / "schema.yaml").read_text())
    sizes = schema["$defs"]["split"]["properties"]
    simulations = sizes["shards"]["maximum"] * sizes["simulations"]["maximum"]
    for start, end in itertools.pairwise(sorted(study.FIRST_SIMULATION.values())):
        assert start + simulations <= end


def test_scales_that_share_their_shards_cut_them_alike():
    """Shard k of a scale is shard k of every other in the same folder, so that none overwrites another's."""
    shapes = {}
    for scale in study.SCALES:
        for split, sizes in configuration(scale)["neuronio"]["splits"].items():
            shape = sizes["simulations"], sizes["seconds"]
            shapes.setdefault((study.data_folder("cell1", scale), split), set()).add(shape)
    assert {len(found) for found in shapes.values()} == {1} and len(shapes) == 9


@pytest.mark.parametrize(
    "scale, called",
    [("smoke", "smoke"), ("default", "default"), ("paper", "paper"), ("long/neuronio", "long"), ("long/x", "default")],
)
def test_results_are_called_by_their_scale_and_long_only_at_their_own_long_run(scale, called):
    assert study.label(scale, "neuronio") == called


def test_every_model_of_every_scale_can_be_built_with_its_settings():
    for scale in study.SCALES:
        for fitted in study.models(configuration(scale)["neuronio"]):
            if fitted["model"] in MODELS:
                kind = MODELS[fitted["model"]]
                texts = [f"{name}={value}" for name, value in fitted["settings"].items()]
                kind(change({"model": kind.Settings()}, texts)["model"], 1278, 2)


def test_every_model_there_is_has_a_colour_and_a_time():
    others = {name for name, kind in MODELS.items() if getattr(kind, "task", "neuronio") != "neuronio"}
    others |= {"equation_neuron"}  # fitted without gradients, by another study
    assert MODELS.keys() - others <= performance.FAMILIES.keys() & study.SECONDS_PER_STEP.keys()


def test_the_groups_that_the_schema_knows_are_those_that_figures_draw():
    schema = yaml.safe_load((study.CONFIG / "schema.yaml").read_text())
    entry = schema["properties"]["neuronio"]["properties"]["models"]["items"]["properties"]
    assert set(entry["groups"]["items"]["enum"]) == {"performance", *study.ABLATIONS, *curves.CURVES}
    assert ablations.PANELS.keys() == study.ABLATIONS.keys()


def test_every_ablation_of_the_long_run_changes_one_thing_and_has_its_neuron_unchanged():
    fitted = study.models(configuration("long/neuronio")["neuronio"])
    for group, settings in study.ABLATIONS.items():
        members = [entry for entry in fitted if group in entry["groups"]]
        assert len({tuple(entry["settings"][name] for name in settings) for entry in members}) == len(members) >= 4
        others = [{k: v for k, v in entry["settings"].items() if k not in settings} for entry in members]
        assert all(other == others[0] for other in others)
        assert len({entry["training"]["steps"] for entry in members}) == 1


def test_shards_fill_the_lanes_of_the_cable_solver(neuronio):
    for split in study.SPLITS:
        assert neuronio["splits"][split]["simulations"] % 16 == 0


def test_the_default_scale_trains_on_an_hour():
    neuronio = yaml.safe_load((study.CONFIG / "default.yaml").read_text())["neuronio"]
    assert study.simulated_seconds(neuronio, "train") >= 3600


def test_simulations_are_given_time_by_what_they_cost():
    cable, neuron = (study.simulation_minutes(backend, 0.025, 384) for backend in ("cable", "neuron"))
    assert 384 * 0.5 / 60 < cable < neuron / 5 and neuron > 384 * 15 / 60
    assert study.simulation_minutes("neuron", 0.0125, 384) > 1.9 * neuron
    assert neuron < study.simulation_minutes("neuron", 0, 384) < 2 * neuron


def test_fits_are_given_time_by_model_steps_and_batch():
    training = {"steps": 342_000, "batch_size": 8}
    elm, tcn = (study.fit_minutes(kind, training) for kind in ("elm", "tcn"))
    assert 342_000 * 0.005 / 60 < elm < 6 * 60 and tcn > 174 * 60
    assert study.fit_minutes("elm", training | {"batch_size": 16}) == pytest.approx(2 * elm, rel=0.1)
    assert study.fit_minutes("never timed", training) == tcn


def test_a_model_is_what_holds_for_all_and_for_its_kind_but_for_what_its_entry_changes():
    section = {
        "splits": {"train": {"shards": 6, "simulations": 60, "seconds": 10}},
        "training": {"steps": 10, "seeds": [0, 1]},
        "settings": {"lstm": {"d_m": 4, "gain": "v1"}},
        "models": [
            {"name": "a", "model": "elm"},
            {
                "name": "b",
                "model": "lstm",
                "settings": {"d_m": 5},
                "training": {"steps": 3, "seeds": [7], "shards": 3},
                "groups": ["curve_data", "performance"],
            },
            {"name": "c", "model": "lstm", "groups": ["curve_data"]},
        ],
        "reference": "a",
        "pairs": [["c", "b"]],
    }
    a, b, _ = study.models(section)
    assert a["training"] == {"steps": 10, "seeds": [0, 1]} and b["training"] == {"steps": 3, "seeds": [7], "shards": 3}
    assert a["settings"] == {} and b["settings"] == {"d_m": 5, "gain": "v1"} and b["own"] == {"d_m": 5}
    assert (a["hours"], b["hours"]) == (1, 0.5) and a["groups"] == ["performance"]
    assert study.fit_folders(section, "r") == ["r/a/seed0", "r/a/seed1", "r/b/seed7", "r/c/seed0", "r/c/seed1"]
    assert study.fit_folders(section, "r", "performance") == ["r/a/seed0", "r/a/seed1", "r/b/seed7"]
    assert study.pairs(section) == [["b", "a"], ["c", "b"]]


def test_a_morphology_of_ones_own_is_an_input_and_names_the_folder():
    assert study.morphology_files("cells/mine.asc") == ["cells/mine.asc"]
    assert study.cell_name("cells/mine.asc") == "mine"


def test_the_drawing_depends_on_cell_files_and_not_on_their_mechanisms():
    published = study.CONFIG.parents[1] / "equations" / "l5pc" / "cell.yaml"
    assert study.cell_files(published) == [published]


@pytest.fixture(params=study.SCALES)
def delay_memory(request):
    """The section delay_memory of every scale."""
    return configuration(request.param)["delay_memory"]


def test_every_network_of_every_scale_can_be_made_and_learns_with_its_settings(delay_memory):
    model, kind = equations.read(delay_memory["equations"]), MODELS["delay_network"]
    for fitted in study.recalls(delay_memory):
        delays.network(model.with_values(fitted["network"]))
        texts = [f"{name}={value}" for name, value in fitted["settings"].items()]
        change({"model": kind.Settings()}, texts)


def test_a_sweep_changes_one_parameter_of_a_listed_fit():
    fits = {fitted["name"]: fitted for fitted in study.recalls(configuration("long/delay_memory")["delay_memory"])}
    assert fits["D_25_margin"]["network"] == {"D": 25} and fits["D_25_margin"]["groups"] == ["sweep"]
    assert fits["D_25_margin"]["settings"] == fits["margin"]["settings"] == {"first": "random", "margin": 0.3}
    assert fits["N128_D20_8_margin"]["network"] == {"N": 128, "D": 20, "p_A": 0.004, "M": 8}
    assert len(fits) == 11 + 2 * (8 + 6 + 6 + 5 + 6) + 5 + 5 + 5 + 5 + 5 + 3


def test_larger_networks_are_given_more_time_and_memory():
    fits = {fitted["name"]: fitted for fitted in study.recalls(configuration("long/delay_memory")["delay_memory"])}
    assert study.recall_mb(fits["margin"]) > 1200 and study.recall_mb(fits["N_1081_margin"]) > 2500
    assert study.recall_minutes(fits["repair_512"]) > 19 > study.recall_minutes(fits["margin"])


@pytest.mark.parametrize("scale", study.SCALES)
def test_every_spiking_network_of_every_scale_takes_its_settings(scale):
    section = configuration(scale)["working_memory"]
    for fitted in study.memories(section):
        kind = MODELS[fitted["model"]]
        texts = [argument.removeprefix("--set=") for argument in study.arguments(fitted["settings"])]
        change({"model": kind.Settings(), "task": DelayedDigits.Settings()}, [t for t in texts if "dt_ms" not in t])
        assert {"steps", "batch_size", "learning_rate", "seeds"} <= fitted["training"].keys()
    assert study.memory_files(section, "data", "test")[0].startswith("data/test/000_of_")


def test_settings_become_arguments_that_the_command_reads():
    found = study.arguments({"signed": False, "tau_start": "slow", "delay": 1})
    assert found == ["--set=delay=1", "--set=signed=false", "--set=tau_start=slow"]


def test_a_population_is_given_the_time_of_its_members():
    training = {"steps": 600, "batch_size": 128}
    assert study.memory_minutes(training, 8) - 10 == 8 * (study.memory_minutes(training) - 10)


@pytest.fixture(params=study.SCALES)
def place_cells(request):
    """The section place_cells of every scale."""
    return configuration(request.param)["place_cells"]


def test_every_transformer_of_every_scale_has_a_name_of_its_own_and_settings_that_there_are(place_cells):
    fits = study.navigators(place_cells)
    assert len({fitted["name"] for fitted in fits}) == len(fits) and study.navigation_minutes(place_cells) > 10
    for fitted in fits:
        texts = [f"{name}={value}" for name, value in study.navigator_settings(place_cells, fitted).items()]
        holders = {"model": MODELS["nmda_transformer"].Settings(), "task": TASKS["navigation"].Settings()}
        assert change(holders, texts)["model"].activation == fitted["activation"]


def test_the_long_run_sweeps_learning_rates_for_every_activation():
    fits = study.navigators(configuration("long/place_cells")["place_cells"])
    assert len(fits) == 9 * (3 + 3) and sum(fitted["swept"] for fitted in fits) == 27
    (swept,) = (fitted for fitted in fits if fitted["name"] == "alpha10_N4_lr0.01")
    assert swept["training"]["learning_rate"] == 0.01 and swept["maps"] == 4


@pytest.fixture(params=study.SCALES)
def gradient_free(request):
    """The section gradient_free of every scale."""
    return configuration(request.param)["gradient_free"]


def test_every_neuron_of_every_scale_has_settings_that_there_are(gradient_free):
    from fitting.evolution import Evolution
    from fitting.gradient import Training
    from fitting.trials import RecoverySettings, WindowSettings

    for fitted in study.gradient_free_fits(gradient_free):
        options = study.gradient_free_settings(gradient_free, fitted)
        texts = [option.removeprefix("--set=") for option in options]
        holders = {"model": MODELS[fitted["model"]].Settings(), "task": TASKS["neuronio"].Settings()}
        if fitted["method"] == "evolution":
            holders["trials"] = WindowSettings()
            Evolution(**fitted["training"])
        else:
            Training(**fitted["training"])
        model = change(holders, texts)["model"]
        if fitted["equations"]:
            assert len(model.read().parameters) > 5
    recovery = gradient_free["recovery"]
    Evolution(**recovery["evolution"])
    RecoverySettings(**recovery["settings"])


def test_the_long_run_fits_every_number_of_dendrites_with_and_without_the_block():
    fits = study.gradient_free_fits(configuration("long/gradient_free")["gradient_free"])
    for file, least in (("neuron_reduced", 0), ("neuron_reduced_linear", 1)):
        found = {fitted["settings"]["dendrites"] for fitted in fits
                 if fitted["method"] == "evolution" and fitted["equations"] == f"equations/{file}.yaml"}  # fmt: skip
        assert found == set(range(least, 9))


def test_options_of_a_command_are_in_one_order():
    assert study.options({"steps": 3, "batch_size": 8}) == ["--batch-size=8", "--steps=3"]
