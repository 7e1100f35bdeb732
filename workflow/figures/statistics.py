"""What the generated data are like: somatic voltage, output spikes and intervals, rates of the input channels."""

import argparse
from dataclasses import dataclass

import numpy as np
from matplotlib import pyplot as plt

from sims import neuronio
from sims.neuronio import SKIP_MS
from workflow.figures import style

VOLTAGE_BINS = np.arange(-90, 46, 1.0)  # mV; what lies outside counts for the ends


@dataclass(frozen=True)
class Statistics:
    """Of many simulations.

    voltage: [bin of VOLTAGE_BINS], samples after SKIP_MS; mean, sd: of the samples, mV.  spikes: [simulation], their
    number.  rate: [simulation] Hz, after SKIP_MS.  interval: [interval] ms.
    input_rate: [channel] Hz; region, sign: [channel].
    """

    voltage: np.ndarray
    mean: float
    sd: float
    spikes: np.ndarray
    rate: np.ndarray
    interval: np.ndarray
    input_rate: np.ndarray
    region: np.ndarray
    sign: np.ndarray


def gather(paths):
    """The Statistics of shards, of which one at a time is in memory."""
    sums, counts, spikes, rate, interval, events, seconds = np.zeros(3), 0, [], [], [], 0, 0
    for path in paths:
        shard = neuronio.read(path)
        voltage = shard.soma_voltage[:, SKIP_MS:].astype(float)
        counts += np.histogram(np.clip(voltage, VOLTAGE_BINS[0], VOLTAGE_BINS[-1]), VOLTAGE_BINS)[0]
        sums += voltage.size, voltage.sum(), np.square(voltage).sum()
        for times in map(shard.spikes, range(shard.simulations)):
            rate.append(1000 * np.count_nonzero(times >= SKIP_MS) / (shard.duration_ms - SKIP_MS))
            interval.append(np.diff(times))
        spikes += shard.spike_counts.tolist()
        events += np.bincount(shard.event_channel, minlength=shard.channels)
        seconds += shard.simulations * shard.duration_ms / 1000
    samples, total, squares = sums
    mean = total / samples
    sd = np.sqrt(max(0, squares / samples - mean**2))
    trains = np.array(spikes), np.array(rate), np.concatenate(interval)
    return Statistics(counts, mean, sd, *trains, events / seconds, shard.region, shard.sign)


def draw(statistics):
    """Four histograms of Statistics."""
    figure, ((voltage, spikes), (interval, inputs)) = plt.subplots(2, 2, figsize=(style.WIDTH, 4.8))
    _voltage(voltage, statistics)
    _spikes(spikes, statistics)
    _interval(interval, statistics.interval)
    _inputs(inputs, statistics)
    return figure


def _voltage(axes, statistics):
    density = statistics.voltage / statistics.voltage.sum() / np.diff(VOLTAGE_BINS)
    axes.stairs(density, VOLTAGE_BINS, fill=True, color=style.SKY)
    axes.axvline(statistics.mean, color=style.BLACK, lw=0.8, ls=(0, (4, 3)))
    axes.set(yscale="log", xlabel="somatic voltage (mV)", ylabel="density (1/mV)")
    mean = f"{statistics.mean:.2f}".replace("-", "−")
    axes.set_title(f"mean {mean}, SD {statistics.sd:.2f} mV")


def _spikes(axes, statistics):
    spikes, rate = statistics.spikes, statistics.rate
    axes.hist(spikes, bins=np.arange(max(10, spikes.max()) + 2) - 0.5, color=style.BLUE)
    axes.axvline(spikes.mean(), color=style.BLACK, lw=0.8, ls=(0, (4, 3)))
    axes.set(xlabel="output spikes of a simulation", ylabel="simulations")
    axes.yaxis.get_major_locator().set_params(integer=True)
    error = f" ± {rate.std(ddof=1) / np.sqrt(len(rate)):.2f}" if len(rate) > 1 else ""
    axes.set_title(f"{rate.mean():.2f}{error} Hz, {100 * np.mean(spikes == 0):.0f} % silent, n = {len(rate)}")


def _interval(axes, interval):
    axes.hist(interval, bins=np.geomspace(1, 10_000, 25), color=style.GREEN)
    axes.set(xscale="log", xlim=(1, 10_000), xlabel="interval between spikes (ms)", ylabel="intervals")
    axes.yaxis.get_major_locator().set_params(integer=True)
    short = f", {100 * np.mean(interval < 10):.0f} % below 10 ms" if len(interval) else ""
    axes.set_title(f"n = {len(interval)}{short}")


def _inputs(axes, statistics):
    bins = np.linspace(0, 1.05 * max(statistics.input_rate.max(), 1e-9), 40)
    for sign, name, colour in ((1, "excitatory", style.VERMILLION), (-1, "inhibitory", style.BLUE)):
        for region, line in (("basal", "-"), ("apical", (0, (2, 1)))):
            rate = statistics.input_rate[(statistics.sign == sign) & (statistics.region == region)]
            if len(rate):
                label = f"{name}, {region}: {rate.mean():.1f} Hz"
                axes.hist(rate, bins=bins, histtype="step", color=colour, ls=line, lw=1.2, label=label)
    axes.set(xlabel="mean rate of an input channel (Hz)", ylabel="channels", xlim=(0, 1.5 * bins[-1]))
    axes.legend(loc="upper right", handlelength=1.4)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="+", help="shards of one data set")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(gather(arguments.shards)), arguments.out)


if __name__ == "__main__":
    main()
