"""Which channel each synapse of a dendritic tree listens to, and which compartment of a reduced cell a channel
reaches."""

import math

import numpy as np

from fitting.settings import require
from sims.streams import stream


def neuronio(num_input, d_tree, d_brch):
    """NeuronIO's routing: neighbouring branches share most of their channels.

    Channels are interleaved, excitatory i then inhibitory i + num_input/2; branch k holds d_brch consecutive places
    from k stride, with stride = ceil(num_input/d_tree) (29 for 1278 channels and 45 branches). Places beyond the last
    channel hold synapses that nothing reaches: 218 of 4500. They are parameters all the same, so that counts and
    released weights match.
    Returns int64 [d_tree, d_brch], -1 where there is no channel.
    Raises SettingError where channels do not come in pairs or a branch would hold no live synapse.
    Source: Spieler et al. 2023; the rule for the stride at other sizes is inferred.
    """
    require(
        num_input % 2 == 0,
        "number of input channels",
        num_input,
        "an even number, as many inhibitory as excitatory channels (or routing = random)",
    )
    stride = math.ceil(num_input / d_tree)
    require(
        (d_tree - 1) * stride < num_input,
        "d_tree",
        d_tree,
        f"fewer branches: at stride {stride} the last ones have none of {num_input} channels",
    )
    place = np.arange(d_tree)[:, None] * stride + np.arange(d_brch)
    interleaved = np.arange(num_input).reshape(2, -1).T.ravel()
    return np.where(place < num_input, interleaved[np.minimum(place, num_input - 1)], -1)


def random(num_input, d_tree, d_brch, seed):
    """Synapses on channels at random, every channel equally often, but for the rest of the division.

    Returns int64 [d_tree, d_brch].  Raises SettingError where there are fewer synapses than channels.
    Source: Spieler et al. 2023, the routing of all tasks but NeuronIO (each channel covered 2 to 5 times).
    """
    synapses = d_tree * d_brch
    require(synapses >= num_input, "d_brch", d_brch, f"at least {math.ceil(num_input / d_tree)}, to cover all channels")
    generator = stream(seed, "routing")
    rounds = [generator.permutation(num_input) for _ in range(math.ceil(synapses / num_input))]
    return np.concatenate(rounds)[:synapses].reshape(d_tree, d_brch)


def compartments(region, path_distance, count):
    """Which compartment of a reduced cell each channel reaches: 0, the soma, or 1, 2, …, dendrites from the nearest on.

    region: basal or apical, [channels].  path_distance: [channels], from the soma.  Channels are dealt out by region
    first, the basal ones to the soma and to their share of the dendrites, then by distance to as many for each: two
    compartments are the basal and the apical tree, three part the apical one into the near obliques and the tuft.
    Returns int64 [channels].
    """
    basal = np.asarray(region) == "basal"
    found = np.zeros(len(basal), np.int64)
    if count == 1:
        return found
    near = int(np.clip(round(count * basal.mean()), 1, count - 1))
    for inside, first, parts in ((basal, 0, near), (~basal, near, count - near)):
        # Excitatory and inhibitory synapses of a segment lie at one distance, and go together.
        distance = np.asarray(path_distance)[inside]
        borders = np.quantile(distance, np.arange(1, parts) / parts) if len(distance) else []
        found[inside] = first + np.searchsorted(borders, distance, side="right")
    return found
