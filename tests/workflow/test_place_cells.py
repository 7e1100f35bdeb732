"""Tables and figures of the study place_cells, from one small fit."""

import json

import numpy as np
import pandas as pd
import pytest

from workflow import study
from workflow.tables.place_cells import correlations

SECTION = {
    "maps": [2, 3],
    "alphas": [0, 10],
    "gelu": True,
    "learning_rates": [0.01],
    "training": {"steps": 2, "batch_size": 4, "learning_rate": 0.003, "seeds": [0]},
}
FITS = {fitted["name"]: fitted for fitted in study.navigators(SECTION)}
SHOWN = [name for name, fitted in FITS.items() if fitted["maps"] == 2 and not fitted["swept"]]
SIZES = ("width=16", "heads=2", "feed_forward=12", "path_width=8", "scored_walks=300", "place_steps=300")


@pytest.fixture(scope="module")
def scored(run_module, tmp_path_factory):
    """The folder of fits, of which all but one are copies of it, with their tables."""
    folder = tmp_path_factory.mktemp("places")
    world, fit = folder / "world.npz", folder / "alpha10_N2" / "seed0"
    run_module("sims", "stimuli", "grid-world", world, "--size", 4, "--maps", 2, "--letters", 4, "--segment", 4)
    files = "--data", world, "--valid", world, "--out", fit
    training = "--steps", 2, "--batch-size", 4, "--validate-every", 1
    run_module(
        *("fitting", "fit", "navigation", "nmda_transformer"),
        *(*files, *training, *(text for size in SIZES for text in ("--set", size))),
    )
    scores = "--out", fit / "metrics.json", "--predictions", fit / "predictions.npz"
    run_module("fitting", "evaluate", fit, "--data", world, *scores)
    for name in FITS.keys() - {"alpha10_N2"}:
        (folder / name).mkdir()
        (folder / name / "seed0").symlink_to(fit)
    folders, entries = [folder / name / "seed0" for name in FITS], json.dumps(list(FITS.values()))
    tables = "--out", folder / "metrics.csv", "--correlations", folder / "correlations.csv"
    run_module("workflow.tables.place_cells", *folders, "--fits", entries, *tables)
    return folder


@pytest.fixture(scope="module")
def drawn(scored, run_module):
    """The folder of `scored` with figures and a cost."""
    tables = "--metrics", scored / "metrics.csv"
    arrays = [scored / name / "seed0" / "predictions.npz" for name in SHOWN]
    histories = [scored / name / "seed0" / "history.csv" for name in SHOWN]
    run_module("workflow.figures.place_errors", *histories, *tables, "--out", scored / "place_errors")
    more = *tables, "--correlations", scored / "correlations.csv"
    run_module("workflow.figures.place_scores", *arrays, *more, "--out", scored / "place_scores")
    run_module("workflow.figures.place_maps", *arrays, "--reference", "alpha10_N2", "--out", scored / "place_maps")
    (scored / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return scored


def test_the_table_has_every_fit_and_what_it_is(scored):
    table = pd.read_csv(scored / "metrics.csv").set_index("name")
    assert list(table.index) == list(FITS) and table["swept"].sum() == 3
    assert table.loc["alpha10_N3", ["maps", "alpha"]].tolist() == [3, 10] and np.isnan(table.loc["gelu_N2", "alpha"])
    assert ((table["rm_error"] > 0) & (table["rm_error"] <= 1) & (table["ffn_shifted"] <= 1)).all()


def test_scores_that_fall_with_the_error_correlate_negatively_within_the_shown_fits_alone():
    rows = {"maps": [4] * 4 + [8, 4], "swept": [False] * 5 + [True], "rm_error": [0.7, 0.6, 0.5, 0.4, 0.9, 0.9]}
    rising, flat = [0.1, 0.2, 0.3, 0.4, 0.9, 0.9], [0.2] * 6
    table = pd.DataFrame(rows | {"ffn_clipped": rising, "ffn_shifted": rising[::-1]})
    found = correlations(table.assign(attention_clipped=flat, attention_shifted=flat)).set_index(
        ["neurons", "convention"]
    )
    assert found.loc[("ffn", "clipped"), "r"] == pytest.approx(-1) and (found["fits"] == 4).all()
    assert pd.isna(found.loc[("attention", "clipped"), "r"])


def test_every_figure_is_drawn(drawn):
    for name in ("place_errors", "place_scores", "place_maps"):
        assert all((drawn / f"{name}.{ending}").stat().st_size > 5000 for ending in ("svg", "png"))


def test_the_section_shows_every_fit_and_figure(drawn, run_module):
    figures = [drawn / f"{name}.svg" for name in ("place_errors", "place_scores", "place_maps")]
    run_module(
        "workflow.report.section",
        *("--out", drawn / "section.html", "--template", "workflow/report/place_cells.html.jinja", "--scale", "tiny"),
        *("--figures", *figures, "--tables", drawn / "metrics.csv", drawn / "correlations.csv"),
        *("--costs", drawn / "fit.tsv"),
    )
    section = (drawn / "section.html").read_text()
    assert section.count("<img src=") == 3 and all(f"<td>{name}</td>" in section for name in FITS)


def test_a_record_stands_in_the_readme(drawn, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: place_cells -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "place_cells"),
        *("--out", tmp_path / "record" / "default", "--readme", tmp_path / "README.md", "--command", "snakemake it"),
        *("--scale", "default", "--shown", "alpha10_N2", "--pictures", drawn / "place_errors.png"),
        *("--tables", drawn / "metrics.csv", drawn / "correlations.csv", "--costs", drawn / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "`snakemake it`" in readme and "3.0 CPU minutes" in readme and readme.count(".png") == 1
    assert "| α 10 | 2 | 0.003 | 1 | 2 |" in readme and "| GELU | 3 |" in readme and "| attention | shifted |" in readme
