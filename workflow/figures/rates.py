"""Rates over the time in a simulation: events of input channels and output spikes, of all simulations and of one."""

import argparse
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt

from sims import neuronio
from sims.neuronio import SKIP_MS
from workflow.figures import style

INPUT_BIN, OUTPUT_BIN = 50, 100  # ms
TREES = {"basal": "-", "apical": (0, (2, 1))}
SIGNS = {1: ("excitatory", style.VERMILLION), -1: ("inhibitory", style.BLUE)}


@dataclass(frozen=True)
class Rates:
    """Of some simulations.

    inputs: {(sign, tree): [bins of INPUT_BIN]}, Hz a channel.  output: [bins of OUTPUT_BIN], Hz.
    simulations: how many.
    """

    inputs: dict
    output: np.ndarray
    simulations: int


@dataclass(frozen=True)
class Example:
    """One simulation: its Rates, spike_time [spike] ms, voltage [ms] mV, and its number in the data set."""

    rates: Rates
    spike_time: np.ndarray
    voltage: np.ndarray
    number: int


def gather(paths):
    """(Rates of all simulations, Example: the first that spikes, or the first of all) of shards, one at a time in
    memory; simulations that are shorter than others leave the later bins to these."""
    rates, example = [], None
    for path in paths:
        shard = neuronio.read(path)
        rates.append(_rates(shard, range(shard.simulations)))
        if example is None or not len(example.spike_time):
            spiking = np.flatnonzero(shard.spike_counts)
            if example is None or len(spiking):
                k = int(spiking[0]) if len(spiking) else 0
                number = shard.attributes["first_simulation"] + k
                example = Example(_rates(shard, [k]), shard.spikes(k), shard.soma_voltage[k], number)
    weights = [each.simulations for each in rates]
    inputs = {key: _average([each.inputs[key] for each in rates], weights) for key in rates[0].inputs}
    return Rates(inputs, _average([each.output for each in rates], weights), sum(weights)), example


def _rates(shard, simulations):
    """Rates of some simulations of a shard."""
    time, channel = map(np.concatenate, zip(*map(shard.events, simulations), strict=True))
    inputs = {}
    for sign in SIGNS:
        for tree in TREES:
            here = (shard.sign == sign) & (shard.region == tree)
            if here.any():
                sources = len(simulations) * np.count_nonzero(here)
                inputs[sign, tree] = _rate(time[here[channel]], INPUT_BIN, shard.duration_ms, sources)
    spikes = np.concatenate(list(map(shard.spikes, simulations)))
    output = _rate(spikes, OUTPUT_BIN, shard.duration_ms, len(simulations))
    return Rates(inputs, output, len(simulations))


def _rate(times, width, duration_ms, sources):
    """[whole bins of `width` ms], Hz: the rate at which one of `sources` has events at `times` (ms)."""
    return 1000 * np.histogram(times, np.arange(0, duration_ms + 1, width))[0] / (width * sources)


def _average(rows, weights):
    """The weighted mean of rows of different lengths, each as far as it goes."""
    length = max(map(len, rows))
    total, weight = np.zeros((2, length))
    for row, w in zip(rows, weights, strict=True):
        total[: len(row)] += w * row
        weight[: len(row)] += w
    return total / weight


def draw(rates, example):
    """Left: Rates over all simulations.  Right: an Example."""
    figure, axes = plt.subplots(2, 2, figsize=(style.WIDTH, 4.4), sharex="col", height_ratios=(1.6, 1))
    seconds = len(example.voltage) / 1000
    titles = f"mean of {rates.simulations} simulations", f"simulation {example.number}"
    for column, found, title in zip(axes.T, (rates, example.rates), titles, strict=True):
        _inputs(column[0], found)
        column[0].set_title(title)
        column[1].set(xlabel="time in the simulation (s)")
        for each in column:
            each.axvspan(0, SKIP_MS / 1000, color=style.GREY, alpha=0.15, lw=0)
    left, right = axes[1]
    left.stairs(rates.output, _edges(rates.output, OUTPUT_BIN), fill=True, color=style.GREEN)
    left.set(ylabel="output rate (Hz)", xlim=(0, len(rates.output) * OUTPUT_BIN / 1000))
    axes[0, 0].set(ylabel="rate of an input channel (Hz)")
    right.plot(np.arange(len(example.voltage)) / 1000, example.voltage, color=style.BLACK, lw=0.7)
    right.plot(example.spike_time / 1000, np.full(len(example.spike_time), 45), "|", color=style.GREEN, ms=7, mew=1.2)
    right.set(ylabel="somatic voltage (mV)", xlim=(0, seconds), ylim=(None, 55))
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _inputs(axes, rates):
    for (sign, tree), rate in rates.inputs.items():
        name, colour = SIGNS[sign]
        line = {"color": colour, "ls": TREES[tree], "lw": 1.1, "label": f"{name}, {tree}"}
        axes.stairs(rate, _edges(rate, INPUT_BIN), baseline=None, **line)
    axes.set(ylim=(0, None))


def _edges(rate, width):
    return np.arange(len(rate) + 1) * width / 1000


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="+", help="shards of one data set")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(*gather(arguments.shards)), arguments.out)


if __name__ == "__main__":
    main()
