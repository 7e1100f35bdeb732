"""What the rules read off the configuration."""

import itertools

import pytest
import yaml

from workflow import study


@pytest.fixture(params=study.SCALES)
def neuronio(request):
    """The section neuronio of every scale."""
    return yaml.safe_load((study.CONFIG / f"{request.param}.yaml").read_text())["neuronio"]


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


def test_a_model_trains_as_all_do_but_for_what_its_entry_changes():
    section = {
        "training": {"steps": 10, "seeds": [0, 1]},
        "models": [
            {"name": "a", "model": "elm"},
            {"name": "b", "model": "lstm", "settings": {"d_m": 5}, "training": {"steps": 3, "seeds": [7]}},
        ],
    }
    assert study.training(section, "a") == {"steps": 10, "seeds": [0, 1]}
    assert study.training(section, "b") == {"steps": 3, "seeds": [7]}
    assert study.settings(section, "b") == ["d_m=5"]
    root = "results/neuronio/cell1"
    assert study.fit_folders(section, "cell1") == [f"{root}/a/seed0", f"{root}/a/seed1", f"{root}/b/seed7"]


def test_a_morphology_of_ones_own_is_an_input_and_names_the_folder():
    assert study.morphology_files("cells/mine.asc") == ["cells/mine.asc"]
    assert study.cell_name("cells/mine.asc") == "mine"


def test_the_drawing_depends_on_cell_files_and_not_on_their_mechanisms():
    published = study.CONFIG.parents[1] / "equations" / "l5pc" / "cell.yaml"
    assert study.cell_files(published) == [published]
