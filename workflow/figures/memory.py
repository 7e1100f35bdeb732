"""Inside a fitted ELM neuron, over the second of a test simulation that holds the most output spikes: its input,
what it predicts, some of its branches, all of its memories; and the weights of its synapses."""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import LogNorm

from fitting import gradient, models
from fitting.tasks.neuronio import NeuronIO, gather, voltage_mV
from sims.mistakes import Mistake, refused
from sims.neuronio import CEILING_MV, SKIP_MS
from workflow.figures import style

SHOWN_MS, WARM_UP_MS, BRANCHES = 1000, 500, 20


class InsideError(Mistake):
    """A model whose inside cannot be drawn."""


@dataclass(frozen=True)
class Inside:
    """Over the milliseconds shown, `time_ms`.

    event_time ms, event_channel [event]; sign [channel].  spike 0/1, voltage mV, and as predicted: spike_probability,
    predicted_voltage mV.  branches [time, branch]; memories [time, d_m] with tau_m [d_m] ms; weights [row, synapse]
    of a branch, excitatory ones first, or of the excitatory and the inhibitory channels: signed as the input, nan where
    there is no channel.
    """

    time_ms: np.ndarray
    event_time: np.ndarray
    event_channel: np.ndarray
    sign: np.ndarray
    spike: np.ndarray
    voltage: np.ndarray
    spike_probability: np.ndarray
    predicted_voltage: np.ndarray
    branches: np.ndarray
    memories: np.ndarray
    tau_m: np.ndarray
    weights: np.ndarray


def look(folder, shard):
    """The Inside of a fit, a folder, on a shard file; the neuron has run for WARM_UP_MS before what is shown.

    Raises InsideError where the model is no ELM.
    """
    model, config = gradient.load(folder, models.find)
    if not hasattr(model, "trace"):
        raise InsideError(
            f"{folder}: found the model {config['model']}, expected an ELM, whose memory can be looked at"
        )
    task = NeuronIO(NeuronIO.Settings(**config["task_settings"]))
    data = task.read([shard])
    simulation = task.liveliest(data)
    spike, voltage = (data.of(simulation, array) for array in (data.spike, data.voltage))
    within = np.convolve(spike[SKIP_MS:], np.ones(min(SHOWN_MS, len(spike) - SKIP_MS), int), "valid")
    start, shown = SKIP_MS + int(np.argmax(within)), min(SHOWN_MS, len(spike) - SKIP_MS)
    warm_up = min(start, WARM_UP_MS)
    events = gather(data, np.array([simulation]), np.array([start - warm_up]), warm_up + shown)
    with torch.no_grad():
        branches, memories, outputs = (values[0, warm_up:].numpy() for values in model.trace(events))
        weights, tau_m = torch.relu(model.w_s).numpy(), model.tau_m().numpy()
    channel = model.channel.numpy() if hasattr(model, "channel") else np.arange(len(weights)).reshape(2, -1)
    weights = np.where(channel >= 0, weights.reshape(channel.shape) * data.sign[channel], np.nan)
    # A branch's excitatory synapses, its inhibitory ones, then those without a channel.
    order = np.argsort(np.where(channel >= 0, -data.sign[channel], 2), axis=1, kind="stable")
    counts = np.diff(events.bounds[0])
    time = start - warm_up + np.repeat(np.arange(len(counts)), counts)
    late = time >= start
    return Inside(
        time_ms=start + np.arange(shown),
        event_time=time[late],
        event_channel=events.channel[late],
        sign=data.sign,
        spike=spike[start : start + shown].astype(bool),
        voltage=np.minimum(voltage[start : start + shown], CEILING_MV),
        spike_probability=1 / (1 + np.exp(-outputs[:, 0])),
        predicted_voltage=voltage_mV(outputs[:, 1]),
        branches=branches,
        memories=memories,
        tau_m=tau_m,
        weights=np.take_along_axis(weights, order, axis=1),
    )


def draw(inside):
    """A figure of an Inside."""
    tree = len(inside.weights) == inside.branches.shape[1]
    figure = plt.figure(figsize=(style.WIDTH, 8.4))
    left, right = figure.add_gridspec(1, 2, width_ratios=(2.6, 1))
    rows = left.subgridspec(5, 1, height_ratios=(1.2, 1.2, 0.5, 1.6, 1.6)).subplots(sharex=True)
    raster, voltage, probability, branches, memories = rows
    for sign, colour in ((1, style.VERMILLION), (-1, style.BLUE)):
        of, mark = inside.sign[inside.event_channel] == sign, {"ms": 1.5, "mew": 0.5, "rasterized": True}
        raster.plot(inside.event_time[of], inside.event_channel[of], "|", color=colour, **mark)
    raster.set(ylabel="input channel", title="excitatory (red) and inhibitory events")
    voltage.plot(inside.time_ms, inside.voltage, color=style.BLACK, lw=1)
    voltage.plot(inside.time_ms, inside.predicted_voltage, color=style.VERMILLION, lw=1)
    voltage.set(ylabel="voltage (mV)", title="neuron (black), surrogate (red)")
    probability.fill_between(inside.time_ms, inside.spike_probability, color=style.VERMILLION, alpha=0.7, lw=0)
    spikes = inside.time_ms[inside.spike]
    probability.plot(spikes, np.ones(len(spikes)), "|", color=style.BLACK, ms=6)
    probability.set(ylabel="spike", ylim=(0, 1.15))
    count = inside.branches.shape[1]
    some = np.unique(np.linspace(0, count - 1, min(count, BRANCHES)).astype(int))
    _stack(branches, inside.time_ms, inside.branches[:, some], [style.GREEN] * len(some))
    branches.set(ylabel="input", title=f"{len(some)} of {count} {'branches' if tree else 'synapses'}")
    # One time constant has no range of its own.
    scale = LogNorm(inside.tau_m.min() * 0.99, inside.tau_m.max() * 1.01)
    _stack(memories, inside.time_ms, inside.memories, plt.colormaps["viridis_r"](scale(inside.tau_m)))
    memories.set(ylabel="memory", title="memories, short τ first", xlabel="time in the simulation (ms)")
    memories.set(xlim=(inside.time_ms[0], inside.time_ms[-1]))

    weights, colours = right.subgridspec(2, 1, height_ratios=(30, 1)).subplots()
    largest = np.nanmax(np.abs(inside.weights), initial=1e-6)
    image = weights.imshow(
        np.ma.masked_invalid(inside.weights),
        cmap="RdBu_r",
        vmin=-largest,
        vmax=largest,
        aspect="auto",
        interpolation="none",
    )
    rows_are = "branch" if tree else "inhibitory, excitatory"
    weights.set(xlabel="synapse", ylabel=rows_are, title="weights, signed", facecolor="lightgrey")
    for axis in (weights.xaxis, weights.yaxis):
        axis.get_major_locator().set_params(integer=True)
    figure.colorbar(image, cax=colours, orientation="horizontal", label="$w_s$")
    figure.align_ylabels(rows)
    return figure


def _stack(axes, time, values, colours):
    """Columns of `values` above each other, the first on top, each to its own scale."""
    spread = np.maximum(np.ptp(values, axis=0), 1e-6)
    for place, colour in enumerate(colours):
        line = (values[:, place] - values[:, place].mean()) / spread[place]
        axes.plot(time, line - place, color=colour, lw=0.6)
    axes.set(yticks=[])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fit", type=Path, help="folder of a fit")
    parser.add_argument("shard", type=Path, help="test simulations")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    with refused():
        style.save(draw(look(arguments.fit, arguments.shard)), arguments.out)


if __name__ == "__main__":
    main()
