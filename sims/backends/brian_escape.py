"""Escape from a plateau in Brian2, for sims/analysis/escape.py: the same process with Brian2's own random numbers.

The membrane is integrated as the file says. The gate, s = s0 + y with τ dy = -y dt + σ sqrt(2τ) dW, is stepped exactly,

    y ← y exp(-dt/τ) + σ sqrt(1 - exp(-2 dt/τ)) N(0, 1),

and a trial's first spike, with the threshold v < lost_below, is its escape.
"""

from dataclasses import dataclass, replace
from math import exp, sqrt

import numpy as np
from brian2 import NetworkOperation
from brian2 import seed as seed_brian

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

    def build(self, words, values, arrays):
        """Brian2's objects, run on the active device."""
        return Built(self, words, values, arrays)


class Built(brian.Built):
    """The trials' objects, run."""

    def _build(self, words, values, arrays):
        super()._build(words, values, arrays)
        setup, group = self.setup, self.group
        gate, mean, keep = setup.plateau.gate, setup.plateau.mean, exp(-setup.dt_ms * 1e-3 / setup.plateau.tau)
        code = f"{gate} = {mean!r} + {keep!r}*({gate} - {mean!r}) + {setup.sd * sqrt(1 - keep**2)!r}*randn()"
        self.network.add(group.run_regularly(code, clock=group.clock, when="synapses", name="noise"))
        if setup.progress:
            self.network.add(NetworkOperation(lambda: setup.progress(setup.dt_ms), clock=group.clock))


def escape_times(plateau, sd, seconds, trials=200, dt=1e-3, seed=0, progress=None):
    """When each trial is lost; arguments and result as of `sims.analysis.escape.escape_times`.

    Raises RequestError or EquationError where Brian2 cannot run it.
    """
    steps = round(seconds / dt) if dt > 0 else 0
    setup = Setup(
        plateau.model, trials, steps * dt * 1e3, dt * 1e3, record=(), plateau=plateau, sd=sd, progress=progress
    ).check()
    state = np.random.get_state()  # Brian2 draws from it in this process
    try:
        seed_brian(int(stream(seed, "escape in Brian2").integers(2**31)))
        traces = brian.run(setup, setup.text(), setup.values(), {})
    finally:
        np.random.set_state(state)
    lost = np.full(trials, np.inf)
    np.minimum.at(lost, traces.spike_neuron, traces.spike_time_ms * 1e-3 + dt)
    return lost
