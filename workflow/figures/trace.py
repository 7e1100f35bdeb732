"""One test simulation, the neuron against a surrogate: somatic voltage, spikes, probability of a spike."""

import argparse

import numpy as np
from matplotlib import pyplot as plt

from workflow.figures import style

CEILING_MV = -55  # where the task cuts the voltage


def draw(trace, label):
    """A figure of the arrays `trace_…` that an evaluation keeps; label: the surrogate's name."""
    seconds, spikes = trace["trace_time_ms"] / 1000, trace["trace_spike"].astype(bool)
    figure, (voltage, probability) = plt.subplots(2, 1, figsize=(style.WIDTH, 3.6), sharex=True, height_ratios=(2.4, 1))
    voltage.plot(seconds, trace["trace_voltage_mV"], color=style.BLACK, lw=1, label="neuron")
    voltage.plot(seconds, trace["trace_predicted_voltage_mV"], color=style.VERMILLION, lw=1, label=label)
    top = max(voltage.get_ylim()[1], CEILING_MV) + 1.5
    voltage.plot(seconds[spikes], np.full(spikes.sum(), top), "|", color=style.BLACK, ms=8, mew=1.2, label="its spikes")
    voltage.set(ylabel="somatic voltage (mV)", ylim=(None, top + 1))
    lines, labels = voltage.get_legend_handles_labels()
    figure.legend([lines[i] for i in (0, 2, 1)], [labels[i] for i in (0, 2, 1)], loc="outside upper center", ncols=3)

    probability.fill_between(seconds, trace["trace_spike_probability"], color=style.VERMILLION, alpha=0.7, lw=0)
    top = 1.25 * max(float(trace["trace_spike_probability"].max()), 1e-3)
    probability.plot(seconds[spikes], np.full(spikes.sum(), top * 0.94), "|", color=style.BLACK, ms=7, mew=1.2)
    probability.set(xlabel="time (s)", ylabel="spike\nprobability", ylim=(0, top), xlim=(seconds[0], seconds[-1]))
    figure.align_ylabels()
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", help="predictions.npz of an evaluation")
    parser.add_argument("--label", default="surrogate", help="name of the surrogate")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    with np.load(arguments.predictions) as trace:
        style.save(draw(trace, arguments.label), arguments.out)


if __name__ == "__main__":
    main()
