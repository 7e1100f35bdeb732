"""The somatic voltage of every hypothesis in one simulation: the same input spikes, before calibration."""

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from sims import neuronio
from sims.neuronio import SKIP_MS
from workflow.figures import style


def draw(shards):
    """shards: {hypothesis: Shard} of the same inputs; shown is the simulation in which the first spikes most."""
    figure, rows = plt.subplots(
        max(1, len(shards)), 1, figsize=(style.WIDTH, 0.8 + 0.9 * len(shards)), sharex=True, sharey=True, squeeze=False
    )
    if shards:
        first = next(iter(shards.values()))
        shown = int(np.argmax(first.spike_counts))
    for axes, (name, shard), colour in zip(rows[:, 0], shards.items(), style.colours(len(shards)), strict=False):
        seconds = np.arange(SKIP_MS, shard.duration_ms) / 1000
        axes.plot(seconds, shard.soma_voltage[shown, SKIP_MS:], color=colour, lw=0.8)
        axes.set_title(name, fontsize=8, loc="left")
    rows[-1, 0].set(xlabel="time in the simulation (s)")
    rows[len(rows) // 2, 0].set(ylabel="somatic voltage (mV)")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path, help="JSON of workflow.tables.hypotheses")
    parser.add_argument("--shards", required=True, nargs="+", type=Path, help="…/HYPOTHESIS/unscaled.nc")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    running = {each["name"] for each in json.loads(arguments.table.read_text())["hypotheses"] if each["runs"]}
    there = [path for path in arguments.shards if path.parent.name in running]
    style.save(draw({path.parent.name: neuronio.read(path) for path in there}), arguments.out)


if __name__ == "__main__":
    main()
