"""What the tests of sims share: where the real data are."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cell1_path():
    """The published cell's file; skips where neither DENDRITIC_DATA nor ../shared/data holds it."""
    folders = [Path(os.environ["DENDRITIC_DATA"])] if os.environ.get("DENDRITIC_DATA") else []
    folders.append(PROJECT.parent / "shared" / "data")
    for folder in folders:
        if (folder / "cell1.asc").is_file():
            return folder / "cell1.asc"
    pytest.skip(f"cell1.asc is in none of {', '.join(map(str, folders))}")


@pytest.fixture
def command(monkeypatch, capsys):
    """`python -m sims …` in this process: its exit code, stdout and stderr."""
    from sims.__main__ import main

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["sims", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return SimpleNamespace(code=end.value.code, stdout=captured.out, stderr=captured.err)

    return run
