"""Escape from a plateau in Brian2, for sims/analysis/escape.py: the same process with Brian2's own random numbers.

The membrane is integrated as the file says. The gate, s = s0 + y with τ dy = -y dt + σ sqrt(2τ) dW, is stepped exactly,

    y ← y exp(-dt/τ) + σ sqrt(1 - exp(-2 dt/τ)) N(0, 1),

and a trial's first spike, with the threshold v < lost_below, is its escape.
"""

from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np
from brian2 import NetworkOperation

from sims.analysis.escape import Plateau
from sims.backends import brian
from sims.streams import stream


@dataclass(frozen=True, eq=False)
class Setup(brian.Setup):
    """A Setup of trials side by side.  plateau: a Plateau.  sd: of the gate.  progress: called with ms each step."""

    plateau: Plateau | None = None
    sd: float = 0.0
    progress: object = None

    def text(self):
        """The Text of a membrane that starts on the plateau, whose gate is a plain variable."""
        words, plateau = super().text(), self.plateau
        gate = self.model.states[plateau.gate]
        lines = [line for line in words.equations.splitlines() if not line.startswith(f"d{gate.name}/dt")]
        lost = f"v < {plateau.lost_below!r}*volt"
        return replace(
            words,
            equations="\n".join([*lines, f"{gate.name} : {brian.unit_text(gate.dimension)}"]),
            threshold=lost,
            reset=None,
            refractory=lost,
            starts={"v": f"{plateau.up!r}*volt", gate.name: f"{plateau.mean!r}"},
            events={},
        )

    def extend(self, built, arrays):
        """Add the gate's noise, and the progress."""
        gate, mean, keep = self.plateau.gate, self.plateau.mean, exp(-self.dt_ms * 1e-3 / self.plateau.tau)
        code = f"{gate} = {mean!r} + {keep!r}*({gate} - {mean!r}) + {self.sd * sqrt(1 - keep**2)!r}*randn()"
        clock = built.group.clock
        built.network.add(built.group.run_regularly(code, clock=clock, when="synapses", name="noise"))
        if self.progress:
            built.network.add(NetworkOperation(lambda: self.progress(self.dt_ms), clock=clock))


def escape_times(plateau, sd, seconds, trials=200, dt=1e-3, seed=0, progress=None):
    """When each trial is lost; arguments and result as of `sims.analysis.escape.escape_times`.

    Raises RequestError or EquationError where Brian2 cannot run it.
    """
    steps = round(seconds / dt) if dt > 0 else 0
    setup = Setup(
        plateau.model, trials, steps * dt * 1e3, dt * 1e3, record=(), plateau=plateau, sd=sd, progress=progress
    ).check()
    words, values = setup.text(), setup.values()
    traces = brian.run(setup, words, values, {}, seed=int(stream(seed, "escape in Brian2").integers(2**31)))
    lost = np.full(trials, np.inf)
    np.minimum.at(lost, traces.spike_neuron, traces.spike_time_ms * 1e-3 + dt)
    return lost
