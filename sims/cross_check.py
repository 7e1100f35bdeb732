"""Trials of a shard once more, in NEURON: does whatever made the shard solve the same equations?

Before the first spike the two runs can be laid over each other: they differ by rounding. In float64 that is what a
shard keeps of a voltage (4e-6 mV). In float32 it is 1e-5 mV in the first second, and up to 1e-3 mV at dt 0.025 ms some
seconds later, because slow gates change by less in a step than float32 resolves. A spike multiplies a difference until
the runs have nothing to do with each other but their statistics; NEURON's own fixed and variable steps part in the
same way.
"""

from importlib.metadata import version

import numpy as np

from sims import ground_truth, neuronio
from sims.cells import l5pc, morphology
from sims.neuronio import CEILING_MV
from sims.stimuli import l5

BEFORE_SPIKE_MS = 5
TOLERANCE_MS = 2.0  # of a spike's time
SAME_PLACE_UM = 0.01


def cross_check(path, cell, cell_file, input_file, simulations, seconds, progress=None):
    """Simulate the first trials of a shard in NEURON, at the shard's step and from its events, and compare.

    path: of the shard.  cell: name or path of the morphology.  cell_file, input_file: the equation files it was made
    from.  simulations: how many trials.  seconds: how much of each, from the start.
    progress: called with the milliseconds simulated since its last call.
    Returns what `python -m sims neuronio cross-check` writes: "shard", its attributes; "neuron", the version;
    "seconds"; "trials", for each the number of the simulation and what `compare` returns; "total", what `total`
    returns.
    Raises ShardError where the shard was made from other files, RequestError where it does not hold that much.
    """
    shard = neuronio.read(path)
    found = shard.attributes
    duration_ms = _duration(path, shard, simulations, seconds)
    digest = ground_truth.equations_digest(l5pc.read(cell_file), l5.read(input_file))
    if found["equations_digest"] != digest:
        raise neuronio.ShardError(
            f"{path}: was made from equations with digest {found['equations_digest']}, expected {digest}, that of "
            f"{cell_file} and {input_file}"
        )
    name = morphology.find(cell).stem
    if found["cell"] != name:
        raise neuronio.ShardError(f"{path}: was made of the cell {found['cell']}, expected {name} (--cell)")
    simulator = ground_truth.Simulator(ground_truth.Setup(cell, cell_file, "neuron", found["dt_ms"]))
    distance = np.tile(simulator.segments.soma_distance[simulator.segments.dendritic], 2)
    if distance.shape != shard.path_distance.shape or np.abs(distance - shard.path_distance).max() > SAME_PLACE_UM:
        raise neuronio.ShardError(f"{path}: its channels lie elsewhere than those of {cell}; expected the same cell")
    trials = []
    for simulation in range(simulations):
        time, channel = shard.events(simulation)
        before = time < duration_ms
        (recording,) = simulator.run([(time[before], channel[before])], duration_ms, progress)
        spikes = shard.spikes(simulation)
        voltage = shard.soma_voltage[simulation, :duration_ms].astype(float)
        compared = compare(voltage, spikes[spikes < duration_ms], recording.soma_voltage, recording.spike_time)
        trials.append({"simulation": found["first_simulation"] + simulation, **compared})
    return {
        "shard": found,
        "neuron": version("neuron"),
        "seconds": seconds,
        "trials": trials,
        "total": total(trials),
    }


def compare(voltage, spikes, neuron_voltage, neuron_spikes):
    """Compare one trial of the shard with NEURON's.

    voltage, neuron_voltage: [ms], mV.  spikes, neuron_spikes: times, ms, ascending.
    Returns {"quiet_ms": length of the stretch until 5 ms before the first spike of either, "largest_difference_mV" and
    "rms_difference_mV": in it, None where it is empty; "rms_capped_mV": of the difference over all, of voltages capped
    at -55 mV; "spikes", "neuron_spikes": counts, "spikes_matched": pairs within 2 ms}.
    """
    first = min([*spikes, *neuron_spikes], default=np.inf)
    quiet = len(voltage) if first == np.inf else max(0, int(first) - BEFORE_SPIKE_MS)
    difference = np.abs(voltage - neuron_voltage)[:quiet]
    capped = np.minimum(voltage, CEILING_MV) - np.minimum(neuron_voltage, CEILING_MV)
    return {
        "quiet_ms": quiet,
        "largest_difference_mV": float(difference.max()) if quiet else None,
        "rms_difference_mV": _rms(difference) if quiet else None,
        "rms_capped_mV": _rms(capped),
        "spikes": len(spikes),
        "neuron_spikes": len(neuron_spikes),
        "spikes_matched": matched(spikes, neuron_spikes),
    }


def total(trials):
    """The same figures over all trials, which are equally long."""
    quiet = [trial for trial in trials if trial["quiet_ms"]]
    length = [trial["quiet_ms"] for trial in quiet]
    counts = ("quiet_ms", "spikes", "neuron_spikes", "spikes_matched")
    return {
        "largest_difference_mV": max((trial["largest_difference_mV"] for trial in quiet), default=None),
        "rms_difference_mV": _rms([trial["rms_difference_mV"] for trial in quiet], length) if quiet else None,
        "rms_capped_mV": _rms([trial["rms_capped_mV"] for trial in trials]),
        **{name: sum(trial[name] for trial in trials) for name in counts},
    }


def _rms(values, weights=None):
    return float(np.sqrt(np.average(np.square(values), weights=weights)))


def matched(times, others):
    """The largest number of pairs of spikes, one of each train, at most 2 ms apart.

    times, others: ms, ascending.
    """
    i = j = pairs = 0
    while i < len(times) and j < len(others):
        if abs(times[i] - others[j]) <= TOLERANCE_MS:
            i, j, pairs = i + 1, j + 1, pairs + 1
        elif times[i] < others[j]:
            i += 1
        else:
            j += 1
    return pairs


def _duration(path, shard, simulations, seconds):
    """Milliseconds to compare.  Raises RequestError where the shard does not hold that much."""
    if not 1 <= simulations <= shard.simulations:
        raise ground_truth.RequestError(
            f"--simulations: found {simulations}, expected 1 to {shard.simulations}, which {path} holds"
        )
    if not 0.001 <= seconds <= shard.duration_ms / 1000:
        raise ground_truth.RequestError(
            f"--seconds: found {seconds:g}, expected 0.001 to {shard.duration_ms / 1000:g}, as long as those of {path}"
        )
    return round(seconds * 1000)
