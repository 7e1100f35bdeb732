"""What the tests of sims share: where the real data are."""

import os
from pathlib import Path

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


@pytest.fixture(scope="session")
def command(ended):
    """`python -m sims …` in this process: its exit code, stdout and stderr."""
    return lambda *arguments: ended("sims", *arguments)
