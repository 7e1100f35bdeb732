"""What a simulation of one trial gives, whatever simulator ran it: voltages and spikes on the grid of the data set."""

import io
from dataclasses import dataclass

import numpy as np
from brian2.units import volt
from brian2.units.fundamentalunits import DIMENSIONLESS

from sims.expressions import unit_name

SAMPLES_PER_MS = 8
SPIKE_THRESHOLD = -25.0  # mV


@dataclass(frozen=True)
class Recording:
    """One trial.

    soma_voltage, nexus_voltage: float64 [ms], mV at t = 0, 1, … ms.  spike_time: [n], ms.
    trace_time, trace_voltage: the soma's voltage at SAMPLES_PER_MS samples a millisecond.
    """

    soma_voltage: np.ndarray
    nexus_voltage: np.ndarray
    spike_time: np.ndarray
    trace_time: np.ndarray
    trace_voltage: np.ndarray


def spike_times(time, voltage):
    """Output spikes: local maxima of the voltage above -25 mV.

    time: [n] ms.  voltage: [n] mV, 8 samples a millisecond.  Returns the samples' times.  Source: Beniaguev et al.
    2021.
    """
    peak = (voltage[1:-1] > voltage[:-2]) & (voltage[1:-1] >= voltage[2:]) & (voltage[1:-1] > SPIKE_THRESHOLD)
    return time[1:-1][peak]


def sample(time, soma_voltage, nexus_voltage, duration_ms):
    """A Recording from voltages at a simulator's own steps, by linear interpolation.

    time: [steps], ms, ascending, from 0 to the end.  soma_voltage, nexus_voltage: [steps], mV.
    """
    whole, fine = np.arange(duration_ms), np.arange(duration_ms * SAMPLES_PER_MS + 1) / SAMPLES_PER_MS
    trace = np.interp(fine, time, soma_voltage)
    return Recording(
        np.interp(whole, time, soma_voltage),
        np.interp(whole, time, nexus_voltage),
        spike_times(fine, trace),
        fine,
        trace,
    )


@dataclass(frozen=True)
class Traces:
    """What a simulation of neurons of one model gives, in SI units.

    time_ms: [samples], the start of each step.  values: {variable: [samples, neurons]}.  final: {state: [neurons]} at
    the end.  spike_time_ms, spike_neuron: [spikes], the start of the step in which the threshold was crossed.
    """

    time_ms: np.ndarray
    values: dict
    final: dict
    spike_time_ms: np.ndarray
    spike_neuron: np.ndarray

    @property
    def finite(self):
        """Whether every state is still a number at the end."""
        return all(np.isfinite(value).all() for value in self.final.values())

    def summary(self, model):
        """One line: spikes, and every state's mean over neurons at the end."""
        parts = [f"{len(self.spike_time_ms)} spikes"] if model.threshold else []
        for name, value in self.final.items():
            dimension, mean = model.states[name].dimension, value.mean()
            scale, unit = (1e3, " mV") if dimension is volt.dim else (1, f" {unit_name(dimension)}")
            parts.append(f"{name} {mean * scale:.5g}{'' if dimension is DIMENSIONLESS else unit}")
        neurons = len(next(iter(self.final.values())))
        return f"{', '.join(parts)} at the end" + (f" (means of {neurons} neurons)" if neurons > 1 else "")

    def archive(self):
        """The bytes of a NumPy archive with the traces by name, time_ms, spike_time_ms and spike_neuron."""
        file = io.BytesIO()
        spikes = {"spike_time_ms": self.spike_time_ms, "spike_neuron": self.spike_neuron}
        np.savez_compressed(file, **self.values, time_ms=self.time_ms, **spikes)
        return file.getvalue()
