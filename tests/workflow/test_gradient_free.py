"""Tables and figures of the study gradient_free, from small fits."""

import json

import pandas as pd
import pytest

from workflow import study

SECTION = {
    "equations": "equations/neuron_reduced.yaml",
    "evolution": {"generations": 3, "candidates": 4, "device": "torch"},
    "training": {"steps": 2, "batch_size": 2, "learning_rate": 0.01},
    "trials": {"windows": 8},
    "fits": [
        {"name": "soma", "settings": {"dendrites": 0}},
        {"name": "soma_gradient", "method": "gradient", "settings": {"dendrites": 0}, "training": {"steps": 1}},
        {"name": "lif", "method": "gradient", "model": "lif"},
    ],
}
FITS = {fitted["name"]: fitted for fitted in study.gradient_free_fits(SECTION)}
SHORT = ("--set", "window_ms=120", "--set", "burn_in_ms=40")
FIGURES = ("gradient_free_recovery", "gradient_free_scores", "gradient_free_cost")


@pytest.fixture(scope="module")
def scored(run_module, make_shard, tmp_path_factory):
    """The folder of fits, of a recovery, and of their tables."""
    from sims import neuronio

    folder = tmp_path_factory.mktemp("free")
    neuronio.write(make_shard(0, simulations=3, duration_ms=800, segments=12), folder / "shard.nc")
    files = "--data", folder / "shard.nc", "--valid", folder / "shard.nc"
    for name, fitted in FITS.items():
        fit, chosen = folder / name / "seed0", study.gradient_free_settings(SECTION, fitted)
        more = *files, "--out", fit, *SHORT, *chosen, *study.options(fitted["training"])
        if fitted["method"] == "evolution":
            run_module("fitting", "evolve", fitted["equations"], "neuronio", *more)
        else:
            run_module("fitting", "fit", "neuronio", fitted["model"], *more)
        run_module("fitting", "evaluate", fit, "--data", folder / "shard.nc", "--out", fit / "scores.json")
    recovery = (
        "--device",
        "torch",
        "--generations",
        3,
        "--candidates",
        4,
        "--set",
        "neurons=1",
        "--set",
        "duration_ms=20",
    )
    out = "--out", folder / "recovery" / "seed0"
    run_module("fitting", "evolve", "equations/dendrite_nmda.yaml", "recovery", *out, *recovery)
    run_module(
        *("workflow.tables.gradient_free", *(folder / name / "seed0" for name in FITS)),
        *("--recoveries", folder / "recovery" / "seed0", "--fits", json.dumps(list(FITS.values()))),
        *("--out", folder / "metrics.csv", "--recovery", folder / "recovery.csv"),
    )
    return folder


@pytest.fixture(scope="module")
def drawn(scored, run_module):
    """The folder of `scored` with figures and a cost."""
    histories = [scored / name / "seed0" / "history.csv" for name in FITS]
    recovery = scored / "recovery" / "seed0" / "history.csv"
    run_module("workflow.figures.gradient_free_recovery", recovery, "--out", scored / "gradient_free_recovery")
    run_module(
        "workflow.figures.gradient_free_scores", scored / "metrics.csv", "--out", scored / "gradient_free_scores"
    )
    run_module("workflow.figures.gradient_free_cost", *histories, "--out", scored / "gradient_free_cost")
    (scored / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return scored


def test_the_table_has_every_fit_with_what_it_is_and_what_it_took(scored):
    table = pd.read_csv(scored / "metrics.csv").set_index("name")
    assert list(table.index) == list(FITS) and table["cpu_s"].min() > 0
    assert table.loc["soma", ["method", "dendrites", "evaluations"]].tolist() == ["evolution", 0, 12]
    assert table.loc["soma_gradient", "steps"] == 1 and table.loc["lif", "steps"] == 2
    assert table.loc["soma", "parameters"] == table.loc["soma_gradient", "parameters"]
    recovery = pd.read_csv(scored / "recovery.csv")
    assert recovery["evaluations"].tolist() == [12] and recovery["error"].min() > 0


def test_every_figure_is_drawn(drawn):
    for name in FIGURES:
        assert all((drawn / f"{name}.{ending}").stat().st_size > 4000 for ending in ("svg", "png"))


def test_the_section_shows_every_fit_and_figure(drawn, run_module):
    figures = [drawn / f"{name}.svg" for name in FIGURES]
    run_module(
        "workflow.report.section",
        *("--out", drawn / "section.html", "--template", "workflow/report/gradient_free.html.jinja", "--scale", "tiny"),
        *("--figures", *figures, "--tables", drawn / "metrics.csv", drawn / "recovery.csv"),
        *("--costs", drawn / "fit.tsv"),
    )
    section = (drawn / "section.html").read_text()
    assert section.count("<img src=") == 3 and all(f"<td>{name}</td>" in section for name in FITS)


def test_a_record_stands_in_the_readme(drawn, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: gradient_free -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "gradient_free"),
        *("--out", tmp_path / "record" / "default", "--readme", tmp_path / "README.md", "--command", "snakemake it"),
        *("--scale", "default", "--shown", "stylised", "--pictures", drawn / "gradient_free_scores.png"),
        *("--tables", drawn / "metrics.csv", drawn / "recovery.csv", "--costs", drawn / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "`snakemake it`" in readme and "3.0 CPU minutes" in readme and readme.count(".png") == 1
    assert "| soma | evolution |" in readme and "| lif | gradient |" in readme and "in 3 generations" in readme
