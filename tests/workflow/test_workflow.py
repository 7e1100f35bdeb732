"""What Snakemake runs again after a change, and what it refuses."""

import re

import pytest

AFTER_THE_DATA = {
    "draw_learning": 1,
    "draw_roc": 1,
    "draw_statistics": 1,
    "draw_trace": 1,
    "evaluate_surrogate": 2,
    "fit_surrogate": 2,
    "tabulate_metrics": 1,
    "write_report": 1,
}
AFTER_AN_EQUATION = {"check_equations": 1, "generate_shard": 4, **AFTER_THE_DATA}


def test_the_smoke_scale_plans_every_rule(checkout):
    jobs, shards = checkout.planned()
    assert jobs == {**AFTER_AN_EQUATION, "draw_cell": 1}
    assert shards == {"train 000", "train 001", "valid 000", "test 000"}


@pytest.mark.parametrize("scale", ["default", "paper"])
def test_every_scale_plans_the_same_rules(checkout, scale):
    jobs, _ = checkout.planned("--config", f"scale={scale}")
    assert set(jobs) == {*AFTER_AN_EQUATION, "draw_cell"}


def test_the_smoke_file_and_the_smoke_scale_are_one(finished):
    assert finished.planned("--configfile", "workflow/config/smoke.yaml") == ({}, set())


def test_a_finished_workflow_has_nothing_to_do(finished):
    assert finished.planned() == ({}, set())


def test_one_number_of_one_channel_reruns_the_data_and_what_follows_but_not_the_drawing_of_the_cell(finished):
    finished.edit("equations/l5pc/Ih.yaml", "E_h: {value: -45*mV", "E_h: {value: -46*mV")
    jobs, shards = finished.planned()
    assert jobs == AFTER_AN_EQUATION
    assert len(shards) == 4


def test_a_density_of_the_cell_reruns_the_drawing_too(finished):
    finished.edit("equations/l5pc/cell.yaml", "distance < 885*um", "distance < 785*um")
    assert finished.planned()[0] == {**AFTER_AN_EQUATION, "draw_cell": 1}


def test_the_generator_of_inputs_reruns_the_data_and_what_follows(finished):
    finished.edit("equations/inputs_l5.yaml", "gain_high: {value: 1.5}", "gain_high: {value: 1.6}")
    assert finished.planned()[0] == AFTER_AN_EQUATION


def test_files_that_nothing_depends_on_rerun_nothing(finished):
    (finished.folder / "README.md").write_text("Another word.\n")
    (finished.folder / "equations" / "README.md").write_text("Another word.\n")
    assert finished.planned() == ({}, set())


def test_an_equation_file_that_is_only_newer_reruns_nothing(finished):
    (finished.folder / "equations" / "l5pc" / "Ih.yaml").touch()
    assert finished.planned() == ({}, set())


def test_one_more_training_shard_is_generated_alone(finished):
    jobs, shards = finished.planned(*finished.configured("neuronio: {splits: {train: {shards: 3}}}"))
    assert shards == {"train 002"}
    assert jobs == {"generate_shard": 1, **AFTER_THE_DATA}


def test_more_steps_refit_without_new_data(finished):
    jobs, shards = finished.planned(*finished.configured("neuronio: {training: {steps: 61}}"))
    assert not shards
    assert jobs == {name: count for name, count in AFTER_THE_DATA.items() if name != "draw_statistics"}


def test_a_figure_script_reruns_its_figure_and_the_report(finished):
    finished.edit("workflow/figures/roc.py", "SMALLEST_RATE = 1e-4", "SMALLEST_RATE = 1e-3")
    assert finished.planned()[0] == {"draw_roc": 1, "write_report": 1}


@pytest.mark.parametrize(
    "change, message",
    [
        ("backened: neuron", "top level: .*'backened' was unexpected"),
        ("dt: fast", "dt: 'fast' is not of type 'number'"),
        ("neuronio: {splits: {train: {shard: 3}}}", "neuronio.splits.train: .*'shard' was unexpected"),
        ("neuronio: {training: {steps: 1.5}}", "neuronio.training.steps: 1.5 is not of type 'integer'"),
        ("neuronio: {models: [{name: a b, model: c}]}", "neuronio.models.0..name: 'a b' does not match"),
        ("neuronio: {models: [{name: a, model: b}, {name: a, model: c}]}", "neuronio.models: two are named 'a'"),
    ],
)
def test_a_configuration_with_a_mistake_is_refused_by_name(checkout, change, message):
    run = checkout.snakemake("--dry-run", *checkout.configured(change))
    assert run.returncode != 0
    assert re.search(message, run.stdout), run.stdout


def test_results_of_a_cell_that_is_not_configured_are_refused(checkout):
    run = checkout.snakemake("--dry-run", target="results/neuronio/cell1/figures/cell.svg")
    assert run.returncode != 0 and "MissingRuleException" in run.stdout


def test_another_cell_has_data_and_results_of_its_own(checkout):
    run = checkout.snakemake("--dry-run", "--printshellcmds", "--config", "scale=smoke", "cell=cell1")
    assert run.returncode == 0 and "--cell cell1" in run.stdout
    assert "results/neuronio/cell1" in run.stdout and "results/neuronio/stylised" not in run.stdout


def test_an_unknown_scale_is_refused(checkout):
    run = checkout.snakemake("--dry-run", "--config", "scale=huge")
    assert run.returncode != 0
    assert "scale: found 'huge', expected one of: smoke, default, paper" in run.stdout


def test_a_mistake_in_an_equation_file_is_named_before_anything_runs(checkout):
    checkout.edit("equations/l5pc/Ih.yaml", "kind: channel", "kind: channel\nkind: channel")
    run = checkout.snakemake("--dry-run")
    assert run.returncode != 0
    assert "equations/l5pc/Ih.yaml:2: the key 'kind' appears twice" in run.stdout
