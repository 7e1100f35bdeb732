"""Records of runs, and that the README shows what they hold."""

from pathlib import Path

import pytest

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
