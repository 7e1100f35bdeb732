"""Records of runs, and that the README shows what they hold."""

import json
import shutil
from pathlib import Path

import pytest

from sims import neuronio
from workflow import record

PROJECT = Path(__file__).resolve().parents[2]


def test_pieces_replace_what_stands_between_their_marks():
    readme = "a\n<!-- record: table -->\nold\n<!-- /record -->\nb\n<!-- record: picture -->\n<!-- /record -->\nc\n"
    found = record.updated(readme, {"table": "new\n", "picture": "seen\n"})
    assert found == readme.replace("old", "new").replace("picture -->\n", "picture -->\nseen\n")
    assert record.updated(found, {"table": "new\n"}) == found


def test_a_missing_mark_is_an_error():
    with pytest.raises(ValueError):
        record.updated("nothing marked", {"table": ""})


def test_the_readme_shows_the_record_and_nothing_else(monkeypatch):
    monkeypatch.chdir(PROJECT)
    folder = Path("results/record/neuronio")
    if not (folder / "provenance.json").exists():
        pytest.skip("no run has been recorded in results/record/neuronio")
    readme = Path("README.md").read_text()
    pieces = {"picture": record.picture(folder), "table": record.table(folder)}
    assert record.updated(readme, pieces) == readme


def test_a_record_says_what_simulated_its_data(tmp_path, make_shard, data_card):
    (tmp_path / "test").mkdir()
    neuronio.write(make_shard(2, 2, 1000, 20, backend="cable"), tmp_path / "test" / "000.nc")
    card = data_card(tmp_path / "test" / "000.nc", out=tmp_path)
    card["splits"].append(card["splits"][0] | {"split": "train"})
    (tmp_path / "test" / "000.tsv").write_text("s\tmax_rss\tcpu_time\n10\t500\t1800\n")
    made = record.provenance("snakemake all", "default", card, [tmp_path / "test" / "000.tsv"])
    (tmp_path / "provenance.json").write_text(json.dumps(made))
    shutil.copy(PROJECT / "results" / "record" / "neuronio" / "metrics.csv", tmp_path)
    assert "Cell leaky, scale default, the cable solver at dt 1.0 ms" in record.table(tmp_path)
    assert "0.50 of them in the cable solver" in record.table(tmp_path)
