"""Are the spikes of a fitted network in Brian2 those that the fit's own run had?"""

import argparse
import json

import numpy as np

from sims import sealed


def compared(fitted, replayed):
    """What to write as JSON.

    fitted: arrays of an evaluation (spike_trial, spike_step, spike_neuron).  replayed: those of `sims simulate`, of the
    first of the same trials (spike_trial, spike_time_ms, spike_neuron; and the patterns).
    """
    trials = int(replayed["pattern_trial"].max()) + 1
    steps = np.round(replayed["spike_time_ms"]).astype(int)
    theirs = set(zip(replayed["spike_trial"].tolist(), steps.tolist(), replayed["spike_neuron"].tolist(), strict=True))
    ours = zip(*(fitted[name].tolist() for name in ("spike_trial", "spike_step", "spike_neuron")), strict=True)
    ours = {spike for spike in ours if spike[0] < trials}
    return {
        "trials": trials,
        "spikes": len(theirs),
        "spikes_of_the_fit": len(ours),
        "in_both": len(ours & theirs),
        "identical": ours == theirs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("predictions", help="arrays of the fit's evaluation (.npz)")
    parser.add_argument("replayed", help="spikes of `python -m sims simulate … --out` (.npz), of a step of 1 ms")
    parser.add_argument("--out", required=True, help="JSON to write")
    arguments = parser.parse_args()
    with np.load(arguments.predictions) as fitted, np.load(arguments.replayed) as replayed:
        found = compared(fitted, replayed)
    sealed.replace(arguments.out, (json.dumps(found, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
