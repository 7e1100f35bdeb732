"""What a simulation of one trial gives, whatever simulator ran it: voltages and spikes on the grid of the data set."""

from dataclasses import dataclass

import numpy as np

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
