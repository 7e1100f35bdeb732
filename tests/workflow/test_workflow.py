"""What Snakemake runs again after a change, and what it refuses."""

import itertools
import re

import pytest

from workflow import study

FITS = 10
AFTER_THE_TABLE = {"draw_ablations": 1, "draw_curves": 1, "draw_performance": 2, "write_report": 1}
AFTER_THE_SCORES = {"compare_pairs": 1, "draw_roc": 1, "draw_trace": 1, "tabulate_metrics": 1, **AFTER_THE_TABLE}
AFTER_A_FIT = {
    "draw_learning": 1,
    "draw_memory": 1,
    "evaluate_surrogate": FITS,
    "fit_surrogate": FITS,
    **AFTER_THE_SCORES,
}
AFTER_THE_DATA = {**AFTER_A_FIT, "draw_input_map": 1, "draw_rates": 1, "draw_statistics": 1, "write_data_card": 1}
AFTER_AN_EQUATION = {"check_equations": 1, "cross_check": 1, "generate_shard": 4, **AFTER_THE_DATA}
OF_GROUPS = {"draw_ablations", "draw_curves"}


def test_the_smoke_scale_plans_every_rule(checkout):
    jobs, shards = checkout.planned()
    assert jobs == {**AFTER_AN_EQUATION, "draw_cell": 1}
    assert shards == {"train 000", "train 001", "valid 000", "test 000"}


@pytest.mark.parametrize(
    "scale, left_out",
    [("default", OF_GROUPS), ("paper", OF_GROUPS), ("long/neuronio", set())],
    ids=["default", "paper", "long"],
)
def test_every_scale_plans_the_same_rules_but_for_figures_of_groups_that_it_does_not_fit(checkout, scale, left_out):
    jobs, _ = checkout.planned("--config", f"scale={scale}")
    assert set(jobs) == {*AFTER_AN_EQUATION, "draw_cell"} - left_out


def test_the_smoke_file_and_the_smoke_scale_are_one(finished):
    assert finished.planned("--configfile", "workflow/config/smoke.yaml") == ({}, set())


def test_the_long_file_and_the_long_scale_are_one(checkout):
    runs = [
        checkout.snakemake("--dry-run", "--printshellcmds", *arguments, target="neuronio")
        for arguments in (
            ("--config", "cell=cell1", "scale=long/neuronio"),
            ("--config", "cell=cell1", "--configfile", "workflow/config/long/neuronio.yaml"),
        )
    ]
    jobs, shards = checkout.plan(runs[0])
    assert checkout.plan(runs[1]) == (jobs, shards)
    assert len(shards) == jobs["generate_shard"] == 94 + 2 + 8
    commands = [set(re.findall(r"python -m fitting fit neuronio .*", run.stdout)) for run in runs]
    assert commands[0] == commands[1] and len(commands[0]) == jobs["fit_surrogate"]


def test_the_study_is_a_target_of_its_name_and_all_but_the_report(checkout):
    jobs, _ = checkout.planned()
    study = checkout.plan(checkout.snakemake("--dry-run", target="neuronio"))[0]
    assert study == {rule: count for rule, count in jobs.items() if rule not in ("check_equations", "write_report")}


def test_no_scale_writes_what_another_wrote(checkout):
    def outputs(scale):
        run = checkout.snakemake("--summary", "--config", f"scale={scale}", target="neuronio")
        return set(re.findall(r"^((?:data|results)/\S+)\t", run.stdout, re.MULTILINE))

    written = {study.label(scale, "neuronio"): outputs(scale) for scale in study.SCALES}
    for one, other in itertools.combinations(written, 2):
        shared = written[one] & written[other]
        assert all(path.endswith(".nc") for path in shared)
        # Shards are the same at every scale that has them; those of smoke and paper are other ones.
        assert bool(shared) == (not {"smoke", "paper"} & {one, other})


def test_a_fit_to_fewer_shards_reads_only_these(checkout):
    run = checkout.snakemake("--dry-run", "--printshellcmds", target="neuronio")
    fits = re.findall(r"python -m fitting fit .* --out \S+/(\w+)/seed0 .*", run.stdout)
    commands = dict(zip(fits, re.findall(r"python -m fitting fit .*", run.stdout), strict=True))
    assert len(commands) == FITS
    assert {name for name, command in commands.items() if "train/001.nc" not in command} == {"branch_elm_2_data"}


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


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_more_shards_are_generated_alone(finished, split):
    there = {"train": 2, "valid": 1, "test": 1}[split]
    jobs, shards = finished.planned(*finished.configured(f"neuronio: {{splits: {{{split}: {{shards: {there + 2}}}}}}}"))
    assert shards == {f"{split} {there:03d}", f"{split} {there + 1:03d}"}
    # Test simulations leave the fits as they are, and the first of them is the one that NEURON repeats.
    # A fit to the first shard alone does not see more.
    changed = FITS - 1 if split == "train" else FITS
    fits = {} if split == "test" else {"fit_surrogate": changed, "draw_learning": 1, "draw_memory": 1}
    scores = {"evaluate_surrogate": changed, **AFTER_THE_SCORES}
    data = {"draw_input_map": 1, "draw_rates": 1, "draw_statistics": 1, "write_data_card": 1}
    assert jobs == {"generate_shard": 2, **fits, **scores, **data}


def test_more_of_the_default_scale_leaves_its_shards_alone(checkout):
    def commands(*arguments):
        run = checkout.snakemake("--dry-run", "--printshellcmds", *arguments, target="neuronio")
        assert run.returncode == 0, run.stdout
        found = (re.search(r"neuronio generate (\S+\.nc) .*", line) for line in run.stdout.splitlines())
        return {match[1]: match[0] for match in found if match}

    before = commands("--config", "scale=default")
    (checkout.folder / "more.yaml").write_text("neuronio: {splits: {train: {shards: 12}, test: {shards: 3}}}\n")
    after = commands("--configfile", "more.yaml")
    assert len(before) == 13 and len(after) == 16
    assert before.items() <= after.items()


def test_another_backend_or_precision_reruns_the_data(finished):
    jobs, shards = finished.planned("--config", "scale=smoke", "precision=float64")
    assert len(shards) == 4 and jobs == {k: n for k, n in AFTER_AN_EQUATION.items() if k != "check_equations"}


def test_another_cross_check_reruns_it_and_the_report_alone(finished):
    jobs, _ = finished.planned(*finished.configured("neuronio: {cross_check: {simulations: 2}}"))
    assert jobs == {"cross_check": 1, "write_report": 1}


def test_more_steps_refit_without_new_data(finished):
    jobs, shards = finished.planned(*finished.configured("neuronio: {training: {steps: 61}}"))
    assert not shards
    # One fit has steps of its own.
    assert jobs == {**AFTER_A_FIT, "fit_surrogate": FITS - 1, "evaluate_surrogate": FITS - 1}


def test_a_figure_script_reruns_its_figure_and_the_report(finished):
    finished.edit("workflow/figures/roc.py", "SMALLEST_RATE = 1e-4", "SMALLEST_RATE = 1e-3")
    assert finished.planned()[0] == {"draw_roc": 1, "write_report": 1}


@pytest.mark.parametrize(
    "change, message",
    [
        ("backened: neuron", "top level: .*'backened' was unexpected"),
        ("backend: abacus", "backend: 'abacus' is not one of"),
        ("backend: neuron", "precision: found 'float32' with backend neuron, expected 'float64'"),
        ("dt: 0", "dt: found 0 with backend cable; only neuron has a variable step"),
        ("neuronio: {cross_check: {seconds: 3}}", "neuronio.cross_check.seconds: found 3, but a test shard has 2"),
        ("dt: fast", "dt: 'fast' is not of type 'number'"),
        ("neuronio: {splits: {train: {shard: 3}}}", "neuronio.splits.train: .*'shard' was unexpected"),
        ("neuronio: {training: {steps: 1.5}}", "neuronio.training.steps: 1.5 is not of type 'integer'"),
        ("neuronio: {models: [{name: a b, model: c}]}", "neuronio.models.0..name: 'a b' does not match"),
        ("neuronio: {models: [{name: a, model: b}, {name: a, model: c}]}", "neuronio.models: two are named 'a'"),
        ("neuronio: {models: [{name: a, model: b, groups: [lambda]}]}", "'lambda' is not one of"),
        ("neuronio: {reference: ghost}", "neuronio.reference: found 'ghost', expected one of the models: branch_elm_2"),
        (
            "neuronio: {reference: lif}",
            "neuronio.models.lif: is the reference and a lif, expected one of elm, branch_elm",
        ),
        ("neuronio: {reference: branch_elm_2_data}", "is the reference, and not in the group performance"),
        ("delay_memory: {reference: ghost}", "delay_memory.reference: found 'ghost', expected one of the fits: margin"),
        (
            "delay_memory: {sweeps: [{name: a, parameter: D, values: [2], fits: [b], group: sweep}]}",
            "sweeps.a: found 'b'",
        ),
        (
            "working_memory: {reference: ghost}",
            "working_memory.reference: found 'ghost', expected one of the fits: nmda",
        ),
        (
            "working_memory: {splits: {test: {shards: 5, of: 4}}}",
            "working_memory.splits.test: found 5 shards of 4",
        ),
        ("delay_memory: {fits: [{name: margin}, {name: margin}]}", "delay_memory: two fits are named 'margin'"),
        ("long_range: {fits: [{name: a, task: shd, model: elm}]}", "long_range.fits.a: found none for the task shd"),
        ("long_range: {fits: [{name: a, task: maze, model: elm}]}", "'maze' is not one of"),
        ("place_cells: {reference: ghost}", "place_cells.reference: found 'ghost', expected one of the fits: alpha0"),
        ("gradient_free: {shards: 9}", "gradient_free.shards: found 9 to train on, but the split has 2"),
        (
            "gradient_free: {fits: [{name: lif, model: lif}]}",
            "gradient_free.fits.lif: is a lif, expected method: gradient",
        ),
        ("place_cells: {alphas: [-1]}", "place_cells.alphas.0.: -1 is less than the minimum"),
        ("neuronio: {pairs: [[lif, ghost]]}", "neuronio.pairs: found 'ghost'"),
        ("neuronio: {pairs: [[lif]]}", r"neuronio.pairs.0.: .* is too short"),
        ("neuronio: {training: {shards: 3}}", "neuronio.models.lif: found 3 shards to train on, but the split has 2"),
        (
            "neuronio: {reference: a, pairs: [], models: [{name: a, model: elm, groups: [ablation_lambda]}]}",
            "neuronio.models.a: is in the group ablation_lambda, but does not set lambda_value",
        ),
    ],
)
def test_a_configuration_with_a_mistake_is_refused_by_name(checkout, change, message):
    run = checkout.snakemake("--dry-run", *checkout.configured(change))
    assert run.returncode != 0
    assert re.search(message, run.stdout), run.stdout


def test_results_of_a_cell_that_is_not_configured_are_refused(checkout):
    run = checkout.snakemake("--dry-run", target="results/neuronio/cell1/smoke/figures/cell.svg")
    assert run.returncode != 0 and "MissingRuleException" in run.stdout


def test_another_cell_has_data_and_results_of_its_own(checkout):
    run = checkout.snakemake("--dry-run", "--printshellcmds", "--config", "scale=smoke", "cell=cell1")
    assert run.returncode == 0 and "--cell cell1" in run.stdout
    assert "results/neuronio/cell1/smoke" in run.stdout and "results/neuronio/stylised" not in run.stdout


RECALLS = 4
AFTER_A_RECALL = {
    "draw_recall": 1,
    "draw_recall_capacity": 1,
    "draw_recall_robustness": 1,
    "draw_recall_sweeps": 1,
    "fit_recall": RECALLS,
    "replay_recall": 1,
    "score_recall": RECALLS,
    "tabulate_recall": 1,
}


def test_delay_memory_is_a_target_of_its_name(checkout):
    jobs = checkout.jobs(checkout.snakemake("--dry-run", target="delay_memory"))
    assert jobs == {"write_recall_network": RECALLS, **AFTER_A_RECALL}


def test_a_number_of_the_network_reruns_its_study_alone(finished):
    finished.edit("equations/delays.yaml", "beta: {value: 0.7", "beta: {value: 0.8")
    jobs = finished.jobs(finished.snakemake("--dry-run"))
    assert jobs == {"write_recall_network": RECALLS, **AFTER_A_RECALL, "write_recall_section": 1, "write_report": 1}


def test_a_figure_of_recall_reruns_its_figure_and_the_report(finished):
    finished.edit("workflow/figures/recall_sweeps.py", "FLOOR = 1e-5", "FLOOR = 1e-4")
    jobs = finished.jobs(finished.snakemake("--dry-run"))
    assert jobs == {"draw_recall_sweeps": 1, "write_recall_section": 1, "write_report": 1}


def test_another_value_of_a_sweep_leaves_the_other_networks_alone(finished):
    sweep = "{name: M, parameter: M, values: [2, 3], fits: [margin], group: sweep}"
    capacity = "{name: capacity, parameter: M, values: [8], fits: [margin], group: capacity}"
    configured = finished.configured(f"delay_memory: {{sweeps: [{sweep}, {capacity}]}}")
    jobs = finished.jobs(finished.snakemake("--dry-run", *configured))
    once = dict.fromkeys(("write_recall_network", "fit_recall", "score_recall", "tabulate_recall"), 1)
    drawn = dict.fromkeys(("draw_recall_sweeps", "draw_recall_capacity", "write_recall_section", "write_report"), 1)
    assert jobs == once | drawn


MEMORY = dict.fromkeys(
    ("fit_memory", "score_memory", "replay_memory", "fit_population", "tabulate_memory")
    + ("draw_forgetting", "draw_time_constants", "draw_lineages"),
    1,
)


def test_working_memory_is_a_target_of_its_name(checkout):
    jobs = checkout.jobs(checkout.snakemake("--dry-run", target="working_memory"))
    assert jobs.pop("generate_digits") in (3, 4)  # people's digits, too, where their speech is here
    assert jobs == {"draw_digits": 1, **MEMORY}


def test_a_number_of_the_dendrite_learns_its_study_anew_from_the_same_digits(finished):
    finished.edit("equations/dendrite_memory.yaml", "w: {value: 17", "w: {value: 18")
    jobs = finished.jobs(finished.snakemake("--dry-run"))
    assert jobs == {**MEMORY, "write_memory_section": 1, "write_report": 1}


AFTER_A_WALK = {
    "draw_place_errors": 1,
    "draw_place_maps": 1,
    "draw_place_scores": 1,
    "fit_navigator": 2,
    "score_navigator": 2,
    "tabulate_place_cells": 1,
}


def test_place_cells_is_a_target_of_its_name(checkout):
    assert checkout.jobs(checkout.snakemake("--dry-run", target="place_cells")) == {"draw_world": 1, **AFTER_A_WALK}


def test_another_alpha_leaves_the_other_transformers_alone(finished):
    jobs = finished.jobs(finished.snakemake("--dry-run", *finished.configured("place_cells: {alphas: [0, 1, 10]}")))
    once = {**dict.fromkeys(AFTER_A_WALK, 1), "write_place_section": 1, "write_report": 1}
    assert jobs == once


AFTER_A_TREE = {"draw_long_range_steps": 1, "fit_long_range": 1, "score_long_range": 1, "tabulate_long_range": 1}


def test_long_range_is_a_target_of_its_name(checkout):
    jobs = checkout.jobs(checkout.snakemake("--dry-run", target="long_range"))
    drawn = {"draw_listops": 3, "draw_pathfinder": 3, "draw_long_range_pathfinder": 1}
    assert jobs == {**drawn, **AFTER_A_TREE, "fit_long_range": 2, "score_long_range": 2}


def test_more_trees_to_learn_from_leave_the_other_tasks_alone(finished):
    change = "long_range: {data: {listops: {grammar: small, train: 40, valid: 8, test: 16}}}"
    jobs = finished.jobs(finished.snakemake("--dry-run", *finished.configured(change)))
    assert jobs == {"draw_listops": 1, **AFTER_A_TREE, "write_long_range_section": 1, "write_report": 1}


@pytest.mark.parametrize(
    "target, change",
    [
        ("working_memory", "working_memory: {source: shd}"),
        (
            "long_range",
            "long_range: {data: {digits: {source: shd, takes: 4}}, "
            "fits: [{name: a, task: shd, model: elm, bins: [10]}]}",
        ),
    ],
)
def test_the_published_spikes_are_asked_for_whole_whatever_takes_are_configured(checkout, target, change):
    run = checkout.snakemake("--dry-run", "--printshellcmds", *checkout.configured(change), target=target)
    made = re.findall(r"-m sims stimuli digits .*--source shd.*", run.stdout)
    assert run.returncode == 0 and len(made) == 3 and not [command for command in made if "--takes" in command], made


AFTER_A_SEARCH = dict.fromkeys(("tabulate_gradient_free", "draw_gradient_free_scores", "draw_gradient_free_cost"), 1)


def test_gradient_free_is_a_target_of_its_name(checkout):
    jobs = checkout.jobs(checkout.snakemake("--dry-run", target="gradient_free"))
    fits = {"recover_parameters": 1, "draw_gradient_free_recovery": 1, "evolve_neuron": 1, "descend_neuron": 1}
    assert jobs == {"generate_shard": 3, **fits, "score_gradient_free": 2, **AFTER_A_SEARCH}


def test_a_number_of_the_reduced_neuron_fits_it_anew_to_the_same_simulations(finished):
    finished.edit("equations/soma_reduced.yaml", "dgaba: {value: 0.05", "dgaba: {value: 0.06")
    jobs = finished.jobs(finished.snakemake("--dry-run"))
    fits = {"evolve_neuron": 1, "descend_neuron": 1, "score_gradient_free": 2}
    assert jobs == {**fits, **AFTER_A_SEARCH, "write_gradient_free_section": 1, "write_report": 1}


def test_an_unknown_scale_is_refused(checkout):
    run = checkout.snakemake("--dry-run", "--config", "scale=huge")
    assert run.returncode != 0
    studies = "delay_memory gradient_free hypotheses long_range neuronio place_cells working_memory".split()
    listed = f"default, {', '.join(f'long/{study}' for study in studies)}, paper, smoke"
    assert f"scale: found 'huge', expected one of: {listed}" in run.stdout


def test_a_mistake_in_an_equation_file_is_named_before_anything_runs(checkout):
    checkout.edit("equations/l5pc/Ih.yaml", "kind: channel", "kind: channel\nkind: channel")
    run = checkout.snakemake("--dry-run")
    assert run.returncode != 0
    assert "equations/l5pc/Ih.yaml:2: the key 'kind' appears twice" in run.stdout
