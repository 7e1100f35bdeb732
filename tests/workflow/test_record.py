"""Records of runs, and that the README shows what they hold."""

import json
import shutil
from pathlib import Path

import pytest

from sims import neuronio
from workflow import record

PROJECT = Path(__file__).resolve().parents[2]


def test_pieces_replace_what_stands_between_their_marks():
    readme = "a\n<!-- record: neuronio -->\nold\n<!-- /record -->\nb\n<!-- record: picture -->\n<!-- /record -->\nc\n"
    found = record.updated(readme, {"neuronio": "new\n", "picture": "seen\n"})
    assert found == readme.replace("old", "new").replace("picture -->\n", "picture -->\nseen\n")
    assert record.updated(found, {"neuronio": "new\n"}) == found


def test_a_missing_mark_is_an_error():
    with pytest.raises(ValueError):
        record.updated("nothing marked", {"neuronio": ""})


@pytest.mark.parametrize("study", record.STUDIES)
def test_the_readme_shows_the_records_and_nothing_else(study, monkeypatch):
    monkeypatch.chdir(PROJECT)
    found = record.shown(Path("results/record") / study, study)
    if not found:
        pytest.skip(f"no run has been recorded in results/record/{study}")
    readme = Path("README.md").read_text()
    assert record.updated(readme, found) == readme


@pytest.fixture
def recorded(tmp_path, make_shard, data_card, run_module):
    """Maker of the record of a scale, from the tables of the committed one; returns the README's text."""
    (tmp_path / "test").mkdir()
    neuronio.write(make_shard(2, 2, 1000, 20, backend="cable"), tmp_path / "test" / "000.nc")
    card = data_card(tmp_path / "test" / "000.nc", out=tmp_path)
    card["splits"].append(card["splits"][0] | {"split": "train"})
    (tmp_path / "data_card.json").write_text(json.dumps(card))
    (tmp_path / "test" / "000.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t1800\n")
    (tmp_path / "README.md").write_text(
        "a\n<!-- record: picture -->\n<!-- /record -->\n<!-- record: neuronio -->\n<!-- /record -->\n"
    )

    def make(label, pictures=("trace", "cell"), tables=("metrics",)):
        for name in pictures:
            (tmp_path / f"{name}.png").write_text("drawn")
        shutil.copy(PROJECT / "results" / "record" / "neuronio" / "default" / "metrics.csv", tmp_path)
        (tmp_path / "paired.csv").write_text(
            "model,other,metric,difference,low,high\nbranch_elm_5,branch_elm_20,auc_few_spikes,-0.13,-0.2,-0.1\n"
        )
        run_module(
            *("workflow.record", "neuronio", "--out", tmp_path / "record" / label, "--readme", tmp_path / "README.md"),
            *("--results", tmp_path / "data_card.json"),
            *("--command", "snakemake all", "--scale", label, "--shown", "branch_elm_20"),
            *("--tables", *(tmp_path / f"{name}.csv" for name in tables)),
            *("--pictures", *(tmp_path / f"{name}.png" for name in pictures)),
            *("--costs", tmp_path / "test" / "000.tsv"),
        )
        return (tmp_path / "README.md").read_text()

    return make


def test_a_record_says_what_simulated_its_data(recorded):
    readme = recorded("default")
    assert "Cell leaky, scale default, the cable solver at dt 1.0 ms" in readme
    assert "0.50 of them in the cable solver" in readme and "| – | 0.9757, – |" in readme


def test_the_long_record_stands_before_the_default_one_and_gives_the_pictures(recorded):
    recorded("default")
    readme = recorded("long", ("trace", "cell", "performance", "ablations"), ("metrics", "paired"))
    assert readme.index("scale long") < readme.index("scale default")
    assert readme.count("performance.png") == readme.count("long/trace.png") == 1 and "default/" not in readme
    assert "| −0.1300 (−0.2000 to −0.1000) | 0.9757, – |" in readme
    # Recording the default scale again leaves the long one's.
    assert recorded("default") == readme
