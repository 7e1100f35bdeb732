"""Tables and figures of the study working_memory, from fits made up here."""

import json

import numpy as np
import pandas as pd
import pytest
import safetensors.numpy
import yaml

from sims.stimuli import digits
from workflow import study
from workflow.figures.forgetting import crossing, curves, delays
from workflow.figures.lineages import ancestors

DELAYS = ("0", "0.25", "0.5", "1", "2", "4")
SECTION = {
    "task": {"channels": 140},
    "training": {"steps": 400, "seeds": [0, 1]},
    "fits": [
        {"name": "nmda", "model": "nmda_network", "groups": ["delays", "ingredients"]},
        {"name": "lif", "model": "lif_network", "settings": {"delay": 1}},
    ],
}
ACCURACY = {"nmda": [0.7] * 6, "lif": [0.9, 0.8, 0.7, 0.6, 0.3, 0.1]}
REPLAY = {"spikes": 1000, "equal_spikes": 0.9995, "recordings": 20, "accuracy": 0.7, "brian2_accuracy": 0.7}
# (parent, validation loss) of each member, round after round.
ROUNDS = [(0, 2.0), (1, 1.0), (2, 1.5)], [(1, 0.8), (1, 0.9), (2, 1.4)], [(0, 0.5), (1, 0.7), (0, 0.6)]
LINEAGES = pd.DataFrame(
    [
        {"round": number, "step": 10 * (number + 1), "member": member, "parent": parent, "valid_loss": loss}
        | {"learning_rate": 0.02, "scale": 1.0, "slope": 5.0, "tonic": 1.0, "penalty": 0.01 * 1.25**number}
        for number, row in enumerate(ROUNDS)
        for member, (parent, loss) in enumerate(row)
    ]
)


@pytest.fixture(scope="module")
def scored(run_module, tmp_path_factory):
    """The folder of two networks with two seeds each, and their table."""
    folder, draw = tmp_path_factory.mktemp("memory"), np.random.default_rng(0)
    folders = []
    for name, accuracy in ACCURACY.items():
        for seed in (0, 1):
            fit = folder / name / f"seed{seed}"
            fit.mkdir(parents=True)
            folders.append(fit)
            settings = {"tau_max_ms": 50.0 if name == "nmda" else 3000.0}
            scores = {f"accuracy_delay_{d}": a + 0.02 * seed for d, a in zip(DELAYS, accuracy, strict=True)}
            metrics = {"loss": 1.0, **scores, "recordings": 100, "seed": seed, "parameters": {"live": 10}}
            (fit / "metrics.json").write_text(json.dumps(metrics | {"model_settings": settings}))
            (fit / "config.yaml").write_text(yaml.safe_dump({"model_settings": settings}))
            pd.DataFrame({"step": [0, 400], "cpu_s": [0.1, 20.0]}).to_csv(fit / "history.csv", index=False)
            layers = ("first",) if name == "nmda" else ("first", "second")
            weights = {
                f"{layer}.log_{tau}": np.log(draw.uniform(0.02, 0.5, (1, 8))).astype(np.float32)
                for layer in layers
                for tau in ("tau_m", "tau_s")
            }
            safetensors.numpy.save_file(weights, fit / "model.safetensors")
    entries = json.dumps(study.memories(SECTION))
    run_module("workflow.tables.working_memory", *folders, "--fits", entries, "--out", folder / "metrics.csv")
    LINEAGES.to_csv(folder / "lineages.csv", index=False)
    (folder / "replay.json").write_text(json.dumps(REPLAY))
    (folder / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return folder


def test_the_table_has_a_row_for_each_seed_with_the_time_constants_that_it_may_learn(scored):
    table = pd.read_csv(scored / "metrics.csv")
    assert list(table["name"]) == ["nmda", "nmda", "lif", "lif"] and list(table["learnt_delay"]) == [0, 0, 1, 1]
    assert table["tau_max_ms"][0] == 50 and table["tau_max_ms"][2] > 300 and table["tau_above_50_ms"][0] == 0


def test_curves_are_means_over_seeds(scored):
    table = pd.read_csv(scored / "metrics.csv")
    found = curves(table, "delays")
    assert list(found) == ["nmda", "lif"] and list(curves(table, "ingredients")) == ["nmda"]
    assert found["lif"][0] == pytest.approx(np.array(ACCURACY["lif"]) + 0.01)
    assert found["nmda"][1] == pytest.approx(np.full(6, 0.02 / np.sqrt(2)))
    assert delays(table).tolist() == [0, 0.25, 0.5, 1, 2, 4]


@pytest.mark.parametrize(
    "mine, other, where",
    [
        ([0.7, 0.7, 0.7], [0.9, 0.5, 0.1], 0.5),
        ([0.7, 0.7, 0.7], [0.6, 0.5, 0.1], 0.0),
        ([0.7, 0.7, 0.7], [0.9, 0.5, 0.8], None),
        ([0.7, 0.7, 0.7], [0.6, 0.8, 0.4], 1 + 2 * 0.1 / 0.4),
    ],
)
def test_curves_cross_where_one_is_ahead_for_good(mine, other, where):
    found = crossing(np.array([0.0, 1.0, 3.0]), mine, other)
    assert found == (None if where is None else pytest.approx(where))


def test_the_best_members_ancestors_are_followed_to_the_first_round():
    assert ancestors(LINEAGES) == {(2, 0), (1, 0), (0, 1)}


@pytest.fixture(scope="module")
def drawn(scored, run_module):
    """The folder of `scored` with figures."""
    sheet = digits.gather([([0.1, 0.2], [5, 600]), ([0.3], [0])], [0, 19], [4, 1])
    digits.write(sheet, scored / "digits.h5")
    run_module("workflow.figures.digits", scored / "digits.h5", "--names", "espeak", "--out", scored / "digits")
    run_module("workflow.figures.forgetting", scored / "metrics.csv", "--out", scored / "forgetting")
    weights = [scored / name / f"seed{seed}" / "model.safetensors" for name in ACCURACY for seed in (0, 1)]
    run_module("workflow.figures.time_constants", *weights, "--out", scored / "time_constants")
    run_module("workflow.figures.lineages", scored / "lineages.csv", "--out", scored / "lineages")
    return scored


def test_every_figure_is_drawn(drawn):
    for name in ("digits", "forgetting", "time_constants", "lineages"):
        assert all((drawn / f"{name}.{ending}").stat().st_size > 5000 for ending in ("svg", "png"))


def test_the_section_shows_every_network_and_figure(drawn, run_module):
    figures = [drawn / f"{name}.svg" for name in ("digits", "forgetting", "time_constants", "lineages")]
    run_module(
        "workflow.report.section",
        *(
            "--out",
            drawn / "section.html",
            "--template",
            "workflow/report/working_memory.html.jinja",
            "--scale",
            "tiny",
        ),
        *("--figures", *figures, "--tables", drawn / "metrics.csv", "--results", drawn / "replay.json"),
        *("--equations", "equations/neuron_memory.yaml", "--costs", drawn / "fit.tsv"),
    )
    section = (drawn / "section.html").read_text()
    assert section.count("<img src=") == 4 and section.count("<td>lif</td>") == 2 and "99.950 %" in section


def test_a_record_says_where_the_reference_overtakes(drawn, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: working_memory -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "working_memory"),
        *("--out", tmp_path / "record" / "default", "--readme", tmp_path / "README.md", "--command", "snakemake it"),
        *("--scale", "default", "--shown", "nmda", "--tables", drawn / "metrics.csv"),
        *("--results", drawn / "replay.json", "--pictures", drawn / "forgetting.png", "--costs", drawn / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "| nmda | 71.0 ± 1.4 |" in readme and "| lif | 91.0 ± 1.4 |" in readme
    assert "nmda is ahead for good from a silence of … inputs: lif 0.50." in readme
