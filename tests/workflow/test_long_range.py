"""Tables and figures of the study long_range, from fits made up here."""

import json

import numpy as np
import pandas as pd
import pytest

from workflow import study
from workflow.tables.long_range import wilson

SECTION = {
    "training": {"steps": 100, "batch_size": 8, "learning_rate": 1e-3, "seeds": [0, 1]},
    "settings": {"elm": {"d_m": 50, "tau_m_max": 1000}},
    "tasks": {
        "shd": {"settings": {"dropout": 0.5}, "training": {"steps": 40}, "elm": {"tau_m_max": 150}},
        "listops": {"elm": {"lambda_value": 3}},
    },
    "fits": [
        {"name": "elm_shd", "task": "shd", "model": "elm", "bins": [2, 50]},
        {"name": "lstm_shd", "task": "shd", "model": "lstm", "bins": [2, 50]},
        {"name": "elm_listops", "task": "listops", "model": "elm", "groups": ["steps", "tau"]},
        {
            "name": "elm_short",
            "task": "listops",
            "model": "elm",
            "settings": {"tau_m_max": 30},
            "groups": ["steps", "tau"],
        },
    ],
}
FITS = {fitted["name"]: fitted for fitted in study.long_ranges(SECTION)}
FIGURES = ("long_range_bins", "long_range_tau", "long_range_steps", "long_range_pathfinder")


def test_an_entry_with_bins_is_a_fit_for_each_and_the_nearest_word_on_a_setting_counts():
    assert list(FITS) == ["elm_shd_2ms", "elm_shd_50ms", "lstm_shd_2ms", "lstm_shd_50ms", "elm_listops", "elm_short"]
    assert FITS["elm_shd_2ms"]["settings"] == {"d_m": 50, "tau_m_max": 150, "dropout": 0.5, "bin_ms": 2}
    assert FITS["elm_shd_2ms"]["training"]["steps"] == 40 and FITS["elm_listops"]["training"]["steps"] == 100
    assert FITS["elm_short"]["settings"] == {"d_m": 50, "tau_m_max": 30, "lambda_value": 3}
    assert FITS["lstm_shd_50ms"]["groups"] == ["bins"] and FITS["lstm_shd_50ms"]["method"] == "lstm_shd"


@pytest.mark.parametrize("share, count", [(0.0, 10), (0.5, 100), (0.93, 2000), (1.0, 25)])
def test_an_interval_holds_the_share_and_shrinks_with_examples(share, count):
    low, high = wilson(share, count)
    assert -1e-12 <= low <= share <= high <= 1 + 1e-12
    more = wilson(share, 4 * count)
    assert more[1] - more[0] < high - low


@pytest.fixture(scope="module")
def drawn(run_module, tmp_path_factory):
    """A folder with the table and every figure of fits whose scores are made up."""
    folder, folders = tmp_path_factory.mktemp("ranges"), []
    for place, (name, fitted) in enumerate(FITS.items()):
        for seed in (0, 1):
            fit = folder / name / f"seed{seed}"
            fit.mkdir(parents=True)
            folders.append(fit)
            scores = {"accuracy": 0.3 + 0.1 * place, "chance": 0.05, "loss": 1.5, "examples": 200, "seed": seed}
            sizes = {"parameters": {"live": 1000 + place}, "model_settings": fitted["settings"]}
            (fit / "metrics.json").write_text(json.dumps(scores | sizes))
            history = {"step": [0, 20, 40], "cpu_s": [0.0, 5.0, 10.0], "valid_accuracy": [0.05, 0.2, 0.3]}
            pd.DataFrame(history).to_csv(fit / "history.csv", index=False)
    fits = "--fits", json.dumps(list(FITS.values()))
    run_module("workflow.tables.long_range", *folders, *fits, "--out", folder / "metrics.csv")
    published = "--published", "workflow/tables/published_long_range.csv"
    run_module("workflow.figures.long_range_bins", folder / "metrics.csv", *published, "--out", folder / FIGURES[0])
    run_module("workflow.figures.long_range_tau", folder / "metrics.csv", "--out", folder / FIGURES[1])
    histories = [
        folder / name / f"seed{seed}" / "history.csv" for name in ("elm_listops", "elm_short") for seed in (0, 1)
    ]
    table = "--metrics", folder / "metrics.csv"
    run_module("workflow.figures.long_range_steps", *histories, *table, "--out", folder / FIGURES[2])
    run_module("sims", "stimuli", "pathfinder", folder / "images.npz", "--size", 32, "--images", 8)
    run_module("workflow.figures.long_range_pathfinder", folder / "images.npz", "--out", folder / FIGURES[3])
    (folder / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return folder


def test_the_table_has_a_row_for_each_seed_and_every_figure_is_drawn(drawn):
    table = pd.read_csv(drawn / "metrics.csv")
    assert list(table["name"].unique()) == list(FITS) and len(table) == 12
    assert np.allclose(table["cpu_s_per_step"], 0.25) and (table["low"] < table["accuracy"]).all()
    assert table["bin_ms"].tolist()[:4] == [2, 2, 50, 50] and table["bin_ms"].isna().sum() == 4
    for name in FIGURES:
        assert all((drawn / f"{name}.{ending}").stat().st_size > 5000 for ending in ("svg", "png"))


def test_the_section_shows_every_fit_and_figure(drawn, run_module):
    figures = [drawn / f"{name}.svg" for name in FIGURES]
    template = "--template", "workflow/report/long_range.html.jinja", "--scale", "tiny"
    run_module(
        *("workflow.report.section", "--out", drawn / "section.html", *template),
        *("--figures", *figures, "--tables", drawn / "metrics.csv", "--costs", drawn / "fit.tsv"),
    )
    section = (drawn / "section.html").read_text()
    assert section.count("<img src=") == 4 and section.count("<td>elm_shd_2ms</td>") == 2


def test_a_record_has_a_line_for_each_fit(drawn, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: long_range -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "long_range", "--shown", "elm_shd_2ms"),
        *("--out", tmp_path / "record" / "default", "--readme", tmp_path / "README.md", "--command", "snakemake it"),
        *("--scale", "default", "--tables", drawn / "metrics.csv"),
        *("--pictures", drawn / "long_range_bins.png", "--costs", drawn / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "`snakemake it`" in readme and "3.0 CPU minutes" in readme and readme.count(".png") == 1
    assert "| elm_shd | shd | 2 | 1000 | 40 | 2 | 0.300" in readme and "| elm_short | listops | – | 1005 |" in readme
