import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
PARTS = (
    "Snakefile",
    "workflow",
    "sims",
    "fitting",
    "equations",
    "pyproject.toml",
    "data/registry.csv",
    "data/morphologies/l5_stylised.swc",
)
# The rules of each file of workflow/rules; but for the report, each is a study and gathers it under its own name.
RULES = {
    path.stem: set(re.findall(r"^rule (\w+):", path.read_text(), re.MULTILINE))
    for path in (PROJECT / "workflow" / "rules").glob("*.smk")
}


class Checkout:
    """A copy of the project in which Snakemake may run."""

    def __init__(self, folder, server):
        self.folder, self.server = folder, server

    def snakemake(self, *arguments, target="all"):
        """Run Snakemake at the smoke scale; returns its `returncode` and, as `stdout`, what it said."""
        command = [target, "--cores", "1", *arguments]
        if not {"--config", "--configfile"} & set(arguments):
            command += ["--config", "scale=smoke"]
        said = self.folder.with_suffix(".txt")
        asked = {"folder": str(self.folder), "arguments": command, "output": str(said)}
        asked["environment"] = {"XDG_CACHE_HOME": str(self.folder / "cache")}
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return subprocess.CompletedProcess(command, int(self.server.stdout.readline()), said.read_text())

    def planned(self, *arguments):
        """What a dry run would do for NeuronIO and the report: {rule: number of jobs}; the shards as "train 000"."""
        return self.plan(self.snakemake("--dry-run", *arguments))

    def plan(self, run):
        """The jobs and shards of a finished dry run; see `planned`."""
        shards = set(re.findall(r"Simulating .* \((\w+ \d+)\)", run.stdout))
        those = RULES["neuronio"] | RULES["report"]
        return {rule: count for rule, count in self.jobs(run).items() if rule in those}, shards

    def jobs(self, run):
        """{rule: number of jobs} of a finished dry run, without the rules that only gather others."""
        assert run.returncode == 0, run.stdout
        table = re.search(r"^Job stats:\n.*\n-.*\n((?:\w+ +\d+\n)*)", run.stdout, re.MULTILINE)
        jobs = dict(line.split() for line in table[1].splitlines()) if table else {}
        assert jobs or "Nothing to be done" in run.stdout, run.stdout
        gathering = ("all", "total", *RULES)
        return {rule: int(count) for rule, count in jobs.items() if rule not in gathering}

    def configured(self, text):
        """Arguments for a configuration file of this text, on top of the smoke scale."""
        (self.folder / "configuration.yaml").write_text(f"scale: smoke\n{text}")
        return ("--configfile", "configuration.yaml")

    def edit(self, path, before, after):
        """Replace the one place where `before` stands in a file."""
        text = (self.folder / path).read_text()
        assert text.count(before) == 1
        (self.folder / path).write_text(text.replace(before, after))


@pytest.fixture(scope="session")
def server():
    """The process that runs Snakemake for all tests."""
    command = [sys.executable, PROJECT / "tests" / "workflow" / "snakemake_server.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def checkout(tmp_path, server):
    """A checkout in which nothing was run."""
    return Checkout(_copied(PROJECT, tmp_path / "checkout", PARTS), server)


@pytest.fixture(scope="session")
def _finished(tmp_path_factory, server):
    folder = _copied(PROJECT, tmp_path_factory.mktemp("finished") / "checkout", PARTS)
    checkout = Checkout(folder, server)
    summary = checkout.snakemake("--summary").stdout
    outputs = re.findall(r"^((?:data|results)/\S+)\t", summary, re.MULTILINE)
    costs = set(re.findall(r"(?:data|results)/[\w/.-]+\.tsv", checkout.snakemake("--dry-run").stdout))
    assert len(outputs) > 20 and len(costs) > 8, summary
    for path in (*outputs, *costs):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("made by no simulation\n")
    # Snakemake records for each output what it was made from, as it does after a real run.
    touched = checkout.snakemake("--touch", "--forceall")
    assert touched.returncode == 0, touched.stdout
    assert len(list((folder / ".snakemake" / "metadata").rglob("*"))) >= len(outputs)
    return folder


@pytest.fixture
def finished(_finished, tmp_path, server):
    """A checkout in which everything is up to date; its results are empty shells with Snakemake's true records."""
    return Checkout(_copied(_finished, tmp_path / "checkout", [path.name for path in _finished.iterdir()]), server)


@pytest.fixture(scope="session")
def run_module(ended):
    """Runner of `python -m MODULE ARGUMENT …` in the project; fails with what the module said."""

    def run(module, *arguments):
        run = ended(module, *arguments)
        assert run.code == 0, run.stderr

    return run


@pytest.fixture(scope="session")
def data_card(run_module):
    """Maker of a data card, README.md and data_card.json in the folder `out`; returns what the latter holds."""

    def make(*shards, out, cell="stylised"):
        run_module(
            "workflow.tables.data_card",
            *shards,
            *("--cell", cell, "--equations", "equations/l5pc/cell.yaml", "--inputs", "equations/inputs_l5.yaml"),
            *("--template", "workflow/tables/data_card.md.jinja", "--registry", "data/registry.csv"),
            *("--out", out / "README.md", "--json", out / "data_card.json"),
        )
        return json.loads((out / "data_card.json").read_text())

    return make


def _copied(source, target, parts):
    leave = shutil.ignore_patterns("__pycache__")
    for part in parts:
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=leave)
        else:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)
    return target
