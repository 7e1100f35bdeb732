"""Tables and figures of the study delay_memory, from two small fits."""

import json

import numpy as np
import pandas as pd
import pytest

from sims.backends.compiled import PROJECT
from workflow import study
from workflow.figures.recall_capacity import limit
from workflow.tables.replay import compared

SECTION = {
    "training": {"steps": 0, "batch_size": 16, "seeds": [0]},
    "fits": [{"name": "margin", "network": {"N": 64, "D": 16, "T": 120, "M": 2, "p_A": 0.01}}],
    "sweeps": [
        {"name": "M", "parameter": "M", "values": [2, 3], "fits": ["margin"], "group": "sweep"},
        {"name": "held", "parameter": "M", "values": [2, 3], "fits": ["margin"], "group": "capacity"},
    ],
}
FIGURES = [
    ("recall", ["{}/margin/seed0/predictions.npz", "--shown", "margin"]),
    ("recall_robustness", ["{}/margin/seed0/predictions.npz"]),
    ("recall_sweeps", ["{}/metrics.csv", "--published", "workflow/tables/published_recall.csv"]),
    ("recall_capacity", ["{}/metrics.csv"]),
]
FITS = {fitted["name"]: fitted for fitted in study.recalls(SECTION)}


@pytest.fixture(scope="module")
def scored(run_module, tmp_path_factory):
    """The folder of fits, of which all but the listed one are copies of it, with their table."""
    folder = tmp_path_factory.mktemp("recall")
    network, fit = folder / "network.yaml", folder / "margin" / "seed0"
    parameters = json.dumps(FITS["margin"]["network"])
    run_module("workflow.network", PROJECT / "equations/delays.yaml", "--parameters", parameters, "--out", network)
    files = "--data", network, "--valid", network, "--out", fit
    run_module("fitting", "fit", "recall", "delay_network", *files, "--steps", 0, "--set", "margin=0.3")
    scores = "--out", fit / "metrics.json", "--predictions", fit / "predictions.npz"
    run_module("fitting", "evaluate", fit, "--data", network, *scores)
    for name in FITS.keys() - {"margin"}:
        (folder / name).mkdir()
        (folder / name / "seed0").symlink_to(fit)
    folders = [folder / name / "seed0" for name in FITS]
    entries = json.dumps(list(FITS.values()))
    run_module("workflow.tables.recall", *folders, "--fits", entries, "--out", folder / "metrics.csv")
    return folder


def test_the_table_says_what_was_changed_and_what_is_recalled(scored):
    table = pd.read_csv(scored / "metrics.csv").set_index("name")
    assert list(table.index) == list(FITS) and (table["f1"] == 1).all() and (table["margin"] == 0.3).all()
    assert table.loc["M_3_margin", ["method", "parameter", "value"]].tolist() == ["margin", "M", 3]
    assert table.loc["margin", ["N", "D", "T"]].tolist() == [64, 16, 120]


@pytest.fixture(scope="module")
def drawn(scored, run_module):
    """The folder of `scored` with figures, a replay and a cost."""
    for name, arguments in FIGURES:
        run_module(f"workflow.figures.{name}", *(text.format(scored) for text in arguments), "--out", scored / name)
    replay = {"trials": 1, "spikes": 75, "spikes_of_the_fit": 75, "in_both": 75, "identical": True}
    (scored / "replay.json").write_text(json.dumps(replay))
    (scored / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return scored


def test_every_figure_is_drawn(drawn):
    for name, _ in FIGURES:
        assert all((drawn / f"{name}.{ending}").stat().st_size > 5000 for ending in ("svg", "png"))


def test_the_section_shows_every_listed_network_and_figure(drawn, run_module):
    figures = [drawn / f"{name}.svg" for name, _ in FIGURES]
    run_module(
        "workflow.report.section",
        *("--out", drawn / "section.html", "--template", "workflow/report/delay_memory.html.jinja", "--scale", "tiny"),
        *("--figures", *figures, "--tables", drawn / "metrics.csv", "--results", drawn / "replay.json"),
        *("--equations", "equations/delays.yaml", "--costs", drawn / "fit.tsv"),
    )
    section = (drawn / "section.html").read_text()
    assert section.count("<img src=") == len(FIGURES) and "2 of 2" in section and "the same spikes" in section
    assert "<td>margin</td>" in section and "M_3_margin" not in section


def test_a_record_stands_in_the_readme(drawn, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: delay_memory -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "delay_memory"),
        *("--out", tmp_path / "record" / "default", "--readme", tmp_path / "README.md", "--command", "snakemake it"),
        *("--scale", "default", "--shown", "margin", "--tables", drawn / "metrics.csv"),
        *("--results", drawn / "replay.json", "--pictures", drawn / "recall.png", "--costs", drawn / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "`snakemake it`" in readme and "scale default" in readme and "3.0 CPU minutes" in readme
    assert "| margin | 64, 120, 2 | 0.3 | hebbian | 0.3 | 0 | 1.0000 | 1.0000 | 1.0000 | 2 of 2 |" in readme
    assert "| 64 | 16 | 120 | 0.01 | 2 (1.0000) | – |" in readme and readme.count(".png") == 1


def test_the_limit_is_two_patterns_a_weight_for_half_active_neurons_and_more_for_sparse_ones():
    assert limit(100, 10, 1010, 0.5) == pytest.approx(2, rel=1e-3)
    assert 1 < limit(100, 10, 1010, 0.1) / limit(100, 10, 1010, 0.5) < limit(100, 10, 1010, 0.01)


def test_a_replay_compares_spike_by_spike_the_trials_that_it_has():
    fitted = {"spike_trial": [0, 0, 1], "spike_step": [3, 7, 2], "spike_neuron": [1, 2, 0]}
    replayed = {"spike_trial": [0, 0], "spike_time_ms": [3.0, 7.0], "spike_neuron": [1, 2], "pattern_trial": [0]}
    arrays = [{name: np.array(values) for name, values in given.items()} for given in (fitted, replayed)]
    assert compared(*arrays)["identical"] and compared(*arrays)["spikes"] == 2
    arrays[1]["spike_neuron"][1] = 3
    found = compared(*arrays)
    assert not found["identical"] and found["in_both"] == 1
