"""A contact sheet of spoken digits as spikes: a recording of several labels of every file, and all channels' rates."""

import argparse
from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

from sims.stimuli import digits
from workflow.figures import style

SHOWN = 5  # recordings of a file


def shown(recordings):
    """The first recording of labels spread over those that there are."""
    labels = np.unique(recordings.label)
    labels = labels[np.linspace(0, len(labels) - 1, min(SHOWN, len(labels))).round().astype(int)]
    return [int(np.flatnonzero(recordings.label == label)[0]) for label in labels]


def rates(recordings):
    """Mean rate of every channel from a recording's start to its last spike, spikes/s [channel]."""
    seconds = sum(recordings.events(i)[0].max(initial=0) for i in range(len(recordings)))
    return np.bincount(recordings.channel, minlength=recordings.channels) / max(seconds, 1e-3)


def draw(found):
    """found: {name: Digits}."""
    figure, grid = plt.subplots(
        len(found), SHOWN + 1, figsize=(style.WIDTH, 1.7 * len(found) + 0.4), sharex="col", squeeze=False
    )
    longest = max(recordings.time.max(initial=0.1) for recordings in found.values())
    for row, (name, recordings) in zip(grid, found.items(), strict=True):
        for axes, i in zip(row, shown(recordings), strict=False):
            time, channel = recordings.events(i)
            axes.plot(time, channel, ",", color=style.BLUE, rasterized=True)
            axes.set(xlim=(0, longest), ylim=(0, recordings.channels))
            axes.set_title(f"{recordings.keys[recordings.label[i]]}, speaker {recordings.speaker[i]}", fontsize=7)
        for axes in row[len(shown(recordings)) : SHOWN]:
            axes.set_axis_off()
        for axes in row[1:]:
            axes.tick_params(labelleft=False)
        row[0].set_ylabel(f"{name}\nchannel")
        row[-1].plot(rates(recordings), np.arange(recordings.channels), color=style.VERMILLION, lw=0.8)
        row[-1].set(ylim=(0, recordings.channels), xlim=(0, None))
        row[-1].set_title(f"{len(recordings)} recordings", fontsize=7)
    for axes in grid[-1, :-1]:
        axes.set_xlabel("time (s)")
    grid[-1, -1].set_xlabel("rate (1/s)")
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, help="spoken digits in SHD's layout")
    parser.add_argument("--names", nargs="+", required=True, help="what to call each file")
    parser.add_argument("--channels", type=int, default=digits.CHANNELS, help="to pool the cochlea's 700 to")
    parser.add_argument("--out", required=True, help="path of the figure without its ending")
    arguments = parser.parse_args()
    if len(arguments.names) != len(arguments.files):
        parser.error(f"--names: found {len(arguments.names)}, expected {len(arguments.files)}, one for each file")
    files = zip(arguments.names, arguments.files, strict=True)
    style.save(draw({name: digits.read(path).pooled(arguments.channels) for name, path in files}), arguments.out)


if __name__ == "__main__":
    main()
