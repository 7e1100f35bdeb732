"""Input spikes for the layer-5 cell, drawn by Brian2: the generator of l5.py as its file says it, bin by bin.

A simulation holds the very rates that l5.py draws for its seed and number. They are smoothed as they stand, by a
convolution with zeros beyond both ends, and become a TimedArray; a NeuronGroup of one neuron a channel has the file's
`probability` as an equation and spikes in every step of 1 ms in which a uniform number lies below it. So l5.py's ways
around empty bins are held to the same rates, and to Brian2's reading of the equation.
"""

import numpy as np
from brian2 import Equations, Hz, Network, NeuronGroup, Quantity, SpikeMonitor, TimedArray, ms
from scipy.signal import fftconvolve

from sims.backends import brian
from sims.stimuli import l5
from sims.streams import stream


def draw(inputs, segments, milliseconds, seed, simulation):
    """The input spikes of one simulation; arguments, result and errors as for l5.draw.

    Rates are those of l5.draw for the same seed and simulation, spikes others.   NumPy's own stream is left alone.
    """
    rates = np.empty((milliseconds, 2 * len(segments.dendritic)))
    for _, where, rate, hold, kernel in l5.held_rates(inputs, segments, milliseconds, seed, simulation):
        held = np.repeat(rate, hold, axis=1)[:, :milliseconds]
        reach = len(kernel) // 2
        rates[:, where] = fftconvolve(held, kernel[None], axes=1)[:, reach : reach + milliseconds].T
    brian.check_names(inputs.model)
    words, values = _words(inputs.model)
    number = int(stream(seed, "l5 inputs in Brian2", simulation).integers(2**32))
    with brian.in_process(seed=number), brian.refusing(lambda cause: brian.refused(inputs.model, cause)):
        group = NeuronGroup(
            rates.shape[1],
            Equations(words),
            threshold="rand() < probability",
            dt=l5.BIN * 1e3 * ms,
            namespace={"smoothed": TimedArray(np.maximum(rates, 0) * Hz, dt=l5.BIN * 1e3 * ms), **values},
        )
        spikes = SpikeMonitor(group)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            Network(group, spikes).run(milliseconds * ms, namespace={})
    time, channel = np.rint(np.array(spikes.t_) / l5.BIN).astype(np.uint16), np.array(spikes.i).astype(np.uint16)
    kept = np.lexsort((channel, time))
    kept = kept[time[kept] > 0]  # bin 0 stays empty
    return time[kept], channel[kept]


def _words(model):
    """(equations of the probability in Brian2's words, {parameter that they read: value})."""
    needed = model.needs(["probability"], given=["rate"])
    lines = ["rate = smoothed(t, i) : Hz"]
    for name, equation in model.subexpressions.items():
        if name in needed and name != "rate":
            lines.append(f"{name} = {equation.expression.text} : {brian.unit_text(equation.dimension)}")
    parameters = {name: p.value for name, p in model.parameters.items() if name in needed}
    values = {name: Quantity(value.si, dim=value.dimension) for name, value in parameters.items()}
    return "\n".join(lines), values
