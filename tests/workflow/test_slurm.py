"""The data set and two fits as jobs of a real SLURM, on a cluster of this one machine."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sims import neuronio

pytestmark = pytest.mark.slurm
PROJECT = Path(__file__).resolve().parents[2]
CLUSTER = PROJECT / "tests" / "cluster" / "start_slurm.sh"
SMALL = """neuronio:
  splits:
    train: {shards: 2, simulations: 16, seconds: 1}
    valid: {shards: 1, simulations: 16, seconds: 1}
  training: {steps: 10}
"""
# One machine keeps no accounts of its jobs.
HERE = ("--slurm-no-account", "--slurm-status-command", "squeue", "--default-resources", "slurm_partition=main")


@pytest.fixture(scope="module")
def cluster():
    """A running SLURM; skips where it cannot be installed or its executor is missing."""
    for module in ("snakemake_executor_plugin_slurm", "snakemake_executor_plugin_cluster_generic"):
        if not find_spec(module):
            pytest.skip(f"the extra slurm is not installed: no {module}")
    if os.getuid() != 0 and not shutil.which("slurmctld"):
        pytest.skip("SLURM is not installed, and only root can install it")
    started = subprocess.run([CLUSTER], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if "Unable to locate package" in started.stdout or "Could not resolve" in started.stdout:
        pytest.skip("Debian's packages of SLURM are out of reach")
    assert started.returncode == 0, started.stdout
    yield
    subprocess.run([CLUSTER, "stop"], check=True)


@pytest.fixture
def submit(cluster, checkout):
    """Runner of Snakemake in the checkout, with jobs that go to SLURM; returns what it said."""

    def run(*arguments):
        command = [sys.executable, "-m", "snakemake", *arguments, *checkout.configured(SMALL)]
        # A job of Snakemake's that starts in SLURM does not find SLURM's variables of another job.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
        environment |= {"XDG_CACHE_HOME": str(checkout.folder / "cache")}
        run = subprocess.run(
            command, cwd=checkout.folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert run.returncode == 0, run.stdout
        return run.stdout

    return run


def test_the_data_and_two_fits_run_as_slurm_jobs_and_give_what_one_machine_gives(submit, checkout, run_module):
    results = "results/neuronio/stylised/smoke"
    fits = [f"{results}/{name}/seed0/model.safetensors" for name in ("branch_elm_2", "lif")]
    said = submit(*fits, "--profile", "workflow/profiles/slurm", *HERE)
    jobs = re.findall(r"Job \d+ has been submitted with SLURM jobid (\d+)", said)
    shards = sorted((checkout.folder / "data").rglob("*.nc"))
    assert len(shards) == 3 and len(set(jobs)) == len(shards) + len(fits)
    assert all((checkout.folder / fit).stat().st_size > 0 for fit in fits)
    # The same simulations without a cluster.
    alone = checkout.folder / "alone.nc"
    options = ("--seed", 7, "--first", 1_000_000, "--simulations", 16, "--seconds", 1, "--precision", "float32")
    run_module("sims", "neuronio", "generate", alone, *options)
    here, there = neuronio.read(alone), neuronio.read(checkout.folder / "data/neuronio/stylised/smoke/valid/000.nc")
    assert here.soma_voltage.tobytes() == there.soma_voltage.tobytes()
    assert here.spike_time.tobytes() == there.spike_time.tobytes()


def test_any_scheduler_with_a_submit_command_runs_jobs(submit, checkout):
    said = submit("results/neuronio/equations.txt", "--profile", "workflow/profiles/cluster")
    assert "Submitted" in said or "submitted" in said, said
    assert "1 of 1 steps (100%) done" in said
    assert list((checkout.folder / ".snakemake" / "cluster").glob("*.txt"))
