"""The study of hypotheses: verdicts, tables, figures, its section and record, and what it runs again."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from sims import neuronio
from workflow import study, verdict
from workflow.tables import hypotheses

FIGURES = ("hypothesis_traces", "hypothesis_scores", "hypothesis_cross")
SECTION = {
    "splits": {split: {"shards": 1, "simulations": 4, "seconds": 2} for split in study.SPLITS},
    "training": {"seeds": [0]},
    "models": [
        {"name": "branch_elm_2", "model": "branch_elm", "settings": {"d_m": 2, "learn_tau_m": True}},
        {"name": "lif", "model": "lif"},
    ],
}
MODELS = study.models(SECTION)
CHANGES = [{"place": ["mechanisms", "NMDA", "parameters", "Mg"], "before": "1*mM", "after": "0.5*mM <b>"}]


def _fit(folder, generator):
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    spikes, bins = generator.integers(1, 5, 4), np.full(4, 850)
    won = (spikes[:, None] * (bins - spikes) * 0.9).astype(np.float32)
    np.savez(
        folder / "predictions.npz",
        simulation_won=won,
        simulation_spikes=spikes,
        simulation_bins=bins,
        simulation_squared_error=generator.uniform(500, 800, 4),
        simulation_few_spikes=np.ones(4, bool),
    )
    (folder / "metrics.json").write_text(json.dumps({"auc": 0.9, "voltage_rmse_mV": 0.8}))
    if folder.parent.name == "branch_elm_2":
        save_file({"proto_tau_m": np.array([0.0, -3.0], np.float32)}, folder / "model.safetensors")
    else:
        save_file({"w": np.zeros(1, np.float32)}, folder / "model.safetensors")


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_shard, run_module):
    """A folder with the table of two hypotheses that run, and one that does not."""
    folder, generator = tmp_path_factory.mktemp("hypotheses"), np.random.default_rng(0)
    base = make_shard(simulations=4, duration_ms=1500, segments=10)
    for name, shift in (("published", 0), ("warmer", 2)):
        data = folder / name
        (data / "test").mkdir(parents=True)
        shard = dataclasses.replace(base, soma_voltage=(base.soma_voltage + shift).astype(np.float32))
        for path in (data / "unscaled.nc", data / "test" / "000.nc"):
            neuronio.write(shard, path)
        (data / "verdict.json").write_text('{"runs": true}')
        words = {"file": "x", "kind": "cell", "question": f"What of {name}?", "reference": "nobody"}
        (data / "changes.json").write_text(json.dumps(words | {"changes": CHANGES if shift else []}))
        measured = {"scale": 1.0, "rate_Hz": 1.1, "standard_error_Hz": 0.3}
        card = {"target_Hz": 1, "reached": name == "published", "spikes": True, **measured, "measured": [measured]}
        (data / "calibration.json").write_text(json.dumps(card))
        for model in MODELS:
            _fit(folder / name / model["name"] / "seed0", generator)
        (folder / name / "branch_elm_2" / "seed0" / "on").mkdir()
        for other in ("published", "warmer"):
            path = folder / name / "branch_elm_2" / "seed0" / "on" / f"{other}.json"
            path.write_text(json.dumps({"auc": 0.8, "voltage_rmse_mV": 1.2}))
    (folder / "broken").mkdir()
    (folder / "broken" / "verdict.json").write_text('{"runs": false, "reason": "broken.yaml:3: no such unit <mW>"}')
    (folder / "broken" / "changes.json").write_text("")
    run_module(
        *("workflow.tables.hypotheses", "published", "warmer", "broken", "--data", folder, "--results", folder),
        *("--models", json.dumps(MODELS), "--reference", "branch_elm_2", "--shards", 1),
        *("--out", folder / "hypotheses.json", "--scores", folder / "scores.csv"),
    )
    for name in FIGURES:
        shards = [folder / each / "unscaled.nc" for each in ("published", "warmer", "broken")]
        table = folder / "hypotheses.json"
        run_module(f"workflow.figures.{name}", table, "--shards", *shards, "--out", folder / name)
    (folder / "fit.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t180\n")
    return folder


def test_the_table_holds_paired_differences_scores_and_time_constants(made):
    found = json.loads((made / "hypotheses.json").read_text())
    published, warmer, broken = found["hypotheses"]
    assert published["difference"]["mean_mV"] == [0, 0]
    assert warmer["difference"]["mean_mV"] == pytest.approx([2, 0], abs=1e-3)
    assert not broken["runs"] and "no such unit" in broken["reason"] and "models" not in broken
    branch_elm, lif = warmer["models"]
    assert branch_elm["auc"] == pytest.approx([0.9] * 3, abs=1e-3) and branch_elm["d_m"] == 2
    assert branch_elm["voltage_rmse_mV"][1] <= branch_elm["voltage_rmse_mV"][0] <= branch_elm["voltage_rmse_mV"][2]
    assert branch_elm["tau_m_ms"] == pytest.approx([500 / (1 + np.exp(3)), 250]) and lif["tau_m_ms"] is None
    assert warmer["smallest_d_m"] == 2
    assert found["cross"]["names"] == ["published", "warmer"] and found["cross"]["auc"] == [[0.9, 0.8], [0.8, 0.9]]
    assert len(pd.read_csv(made / "scores.csv")) == 4


def test_the_smallest_neuron_is_the_first_within_a_hundredth_of_the_best():
    sizes = [{"d_m": d_m, "auc": [auc]} for d_m, auc in ((1, 0.95), (5, 0.978), (20, 0.985), (None, 0.99))]
    assert hypotheses.smallest(sizes) == 5
    assert hypotheses.smallest([{"d_m": 1, "auc": [None]}]) is None


def test_other_inputs_are_not_paired(make_shard):
    assert hypotheses.difference(*(make_shard(seed=seed, segments=10) for seed in (0, 1))) is None


def test_every_figure_is_drawn(made):
    for name in FIGURES:
        assert all((made / f"{name}.{ending}").stat().st_size > 3000 for ending in ("svg", "png"))


def test_the_section_shows_changes_scores_and_what_cannot_be_simulated(made, run_module):
    run_module(
        "workflow.report.section",
        *("--out", made / "section.html", "--template", "workflow/report/hypotheses.html.jinja", "--scale", "tiny"),
        *("--figures", *(made / f"{name}.svg" for name in FIGURES), "--tables", made / "scores.csv"),
        *("--results", made / "hypotheses.json", "--equations", "equations/hypotheses/published.yaml"),
        *("--costs", made / "fit.tsv"),
    )
    section = (made / "section.html").read_text()
    assert section.count("<img src=") == 3 and "<del>− 1*mM</del>" in section and "0.5*mM &lt;b&gt;" in section
    assert "Cannot be simulated:</strong> broken.yaml:3: no such unit &lt;mW&gt;" in section
    assert "did not reach 1 Hz" in section and "What of warmer?" in section


def test_a_record_stands_in_the_readme(made, run_module, tmp_path):
    (tmp_path / "README.md").write_text("a\n<!-- record: hypotheses -->\n<!-- /record -->\nb\n")
    run_module(
        *("workflow.record", "hypotheses", "--out", tmp_path / "record" / "default"),
        *("--readme", tmp_path / "README.md", "--command", "snakemake it", "--scale", "default"),
        *("--shown", "branch_elm_2", "--tables", made / "scores.csv", "--results", made / "hypotheses.json"),
        *("--pictures", made / "hypothesis_scores.png", "--costs", made / "fit.tsv"),
    )
    readme = (tmp_path / "README.md").read_text()
    assert "`snakemake it`" in readme and "| broken | cannot be simulated: broken.yaml:3" in readme
    assert "| warmer |" in readme and "× 1, not reached" in readme and readme.count(".png") == 1


def test_a_refusal_is_recorded_and_a_failure_is_one(monkeypatch):
    def ends(code, stderr):
        run = SimpleNamespace(returncode=code, stderr=stderr)
        monkeypatch.setattr(verdict.subprocess, "run", lambda *a, **k: run)
        return verdict.verdict(["sims"])

    assert ends(0, "") == ({"runs": True}, 0)
    assert ends(2, "bar\nerror: x.yaml:3: wrong\n") == ({"runs": False, "reason": "x.yaml:3: wrong"}, 0)
    assert ends(1, "Traceback\n")[1] == 1 and ends(2, "usage: …\n")[1] == 2 and ends(-9, "")[1] == -9
    assert verdict.verdict(["sims"], {"runs": False, "reason": "before"}) == ({"runs": False, "reason": "before"}, 0)


# What a hypothesis takes at the smoke scale.
ONE = {"check_hypothesis": 1, "calibrate_hypothesis": 1, "generate_hypothesis": 3, "fit_hypothesis": 1}
ONE |= {"evaluate_hypothesis": 1}
SHOWN = {"tabulate_hypotheses": 1, "draw_hypotheses": 3, "write_hypotheses_section": 1}


def test_the_target_covers_every_file_and_all_those_that_are_listed(checkout):
    files = len(list((checkout.folder / "equations" / "hypotheses").glob("*.yaml")))
    jobs = checkout.jobs(checkout.snakemake("--dry-run", target="hypotheses"))
    assert jobs == {job: n * files for job, n in ONE.items()} | {"cross_test_hypothesis": files * (files - 1)} | SHOWN
    every = checkout.jobs(checkout.snakemake("--dry-run"))
    assert {job: every[job] for job in (*ONE, *SHOWN)} == ONE | SHOWN


def test_a_new_file_is_computed_alone(finished):
    listed = "hypotheses: {listed: [published, mine]}"
    text = "extends: ../l5pc/NMDA.yaml\ndescription: Mine?\nparameters: {tau_decay: 100*ms}\n"
    (finished.folder / "equations" / "hypotheses" / "mine.yaml").write_text(text)
    assert finished.jobs(finished.snakemake("--dry-run")) == {}
    jobs = finished.jobs(finished.snakemake("--dry-run", *finished.configured(listed)))
    assert jobs == ONE | {"cross_test_hypothesis": 2} | SHOWN | {"write_report": 1}


def test_a_hypothesis_that_cannot_be_read_stops_no_other(checkout):
    (checkout.folder / "equations" / "hypotheses" / "broken.yaml").write_text("extends: [\n")
    jobs = checkout.jobs(
        checkout.snakemake("--dry-run", *checkout.configured("hypotheses: {listed: [published, broken]}"))
    )
    assert jobs["check_hypothesis"] == 2


def test_a_listed_hypothesis_without_a_file_is_refused(checkout):
    run = checkout.snakemake("--dry-run", *checkout.configured("hypotheses: {listed: [ghost]}"))
    assert (
        run.returncode != 0 and "hypotheses.listed: found 'ghost', expected files of equations/hypotheses" in run.stdout
    )
