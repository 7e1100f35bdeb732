"""data/registry.csv says what the committed data are."""

import csv
import hashlib
import subprocess
from pathlib import Path

import pytest

from sims.cells.morphology import CELL1_SHA256

PROJECT = Path(__file__).resolve().parents[1]
with open(PROJECT / "data" / "registry.csv", newline="") as file:
    ROWS = list(csv.DictReader(file))


def test_every_line_says_what_it_is_and_where_it_comes_from():
    for row in ROWS:
        for column in ("dataset", "version", "source", "licence", "how it gets here", "used by"):
            assert row[column], f"{row['dataset']}: no {column}"


@pytest.mark.parametrize("row", [row for row in ROWS if row["sha256"]], ids=lambda row: row["dataset"])
def test_a_checksum_matches_the_file_where_it_is(row):
    path = PROJECT / row["file"]
    if not path.is_file():
        assert row["how it gets here"] != "committed"
        pytest.skip(f"{row['file']} is not here: {row['how it gets here']}")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"]


def test_cell1_has_the_checksum_that_the_code_asks_for():
    assert {row["dataset"]: row["sha256"] for row in ROWS}["cell1"] == CELL1_SHA256


def test_every_committed_data_file_is_registered():
    listed = subprocess.run(["git", "ls-files", "data"], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    committed = set(listed.stdout.split()) - {"data/README.md", "data/registry.csv"}
    assert committed == {row["file"] for row in ROWS if row["how it gets here"] == "committed"}
