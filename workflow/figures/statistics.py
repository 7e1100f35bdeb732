"""What the generated data are like: somatic voltage, output rates and intervals, rates of the input channels."""

import argparse

import numpy as np
from matplotlib import pyplot as plt

from sims import neuronio
from workflow.figures import style

SKIP_MS = 500  # input rates are still rising


def draw(shards):
    """shards: Shards of one set."""
    figure, ((voltage, rates), (intervals, inputs)) = plt.subplots(2, 2, figsize=(style.WIDTH, 4.8))
    _voltage(voltage, shards)
    _rates(rates, shards)
    _intervals(intervals, shards)
    _inputs(inputs, shards)
    return figure


def _voltage(axes, shards):
    values = np.concatenate([shard.soma_voltage[:, SKIP_MS:].ravel() for shard in shards])
    axes.hist(values, bins=np.arange(-90, 45, 1.0), density=True, histtype="stepfilled", color=style.SKY)
    axes.axvline(values.mean(), color=style.BLACK, lw=0.8, ls=(0, (4, 3)))
    axes.set(yscale="log", xlabel="somatic voltage (mV)", ylabel="density (1/mV)")
    axes.set_title(f"mean {values.mean():.2f}, SD {values.std():.2f} mV")


def _rates(axes, shards):
    kept = [
        1000 * sum(shard.spikes(simulation) >= SKIP_MS) / (shard.duration_ms - SKIP_MS)
        for shard in shards
        for simulation in range(shard.simulations)
    ]
    rates = np.array(kept)
    axes.hist(rates, bins=np.arange(-0.25, max(4.0, rates.max()) + 0.5, 0.5), color=style.BLUE)
    axes.axvline(rates.mean(), color=style.BLACK, lw=0.8, ls=(0, (4, 3)))
    axes.set(xlabel="output rate of a simulation (Hz)", ylabel="simulations")
    axes.yaxis.get_major_locator().set_params(integer=True)
    error = f" ± {rates.std(ddof=1) / np.sqrt(len(rates)):.2f}" if len(rates) > 1 else ""
    axes.set_title(f"mean {rates.mean():.2f}{error} Hz, n = {len(rates)}")


def _intervals(axes, shards):
    intervals = np.concatenate(
        [np.diff(shard.spikes(simulation)) for shard in shards for simulation in range(shard.simulations)]
    )
    axes.hist(intervals, bins=np.geomspace(1, 10_000, 41), color=style.GREEN)
    axes.set(xscale="log", xlim=(1, 10_000), xlabel="interval between spikes (ms)", ylabel="intervals")
    axes.yaxis.get_major_locator().set_params(integer=True)
    short = f", {100 * np.mean(intervals < 10):.0f} % below 10 ms" if len(intervals) else ""
    axes.set_title(f"n = {len(intervals)}{short}")


def _inputs(axes, shards):
    counts = sum(np.bincount(shard.event_channel, minlength=shard.channels) for shard in shards)
    rate = counts / sum(shard.simulations * shard.duration_ms / 1000 for shard in shards)
    bins = np.linspace(0, 1.05 * max(rate.max(), 1e-9), 40)
    for sign, name, colour in ((1, "excitatory", style.VERMILLION), (-1, "inhibitory", style.BLUE)):
        for region, line in (("basal", "-"), ("apical", (0, (2, 1)))):
            here = rate[(shards[0].sign == sign) & (shards[0].region == region)]
            if len(here):
                label = f"{name}, {region}: {here.mean():.1f} Hz"
                axes.hist(here, bins=bins, histtype="step", color=colour, ls=line, lw=1.2, label=label)
    axes.set(xlabel="mean rate of an input channel (Hz)", ylabel="channels", xlim=(0, 1.5 * bins[-1]))
    axes.legend(loc="upper right", handlelength=1.4)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", nargs="+", help="shards of one data set")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    style.save(draw(neuronio.read_all(arguments.shards)), arguments.out)


if __name__ == "__main__":
    main()
