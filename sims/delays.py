"""Networks of delays: neurons that reach one another at many delays, and what they are to remember.

In step t the neurons move as the file's equations say; then spikes arrive, to neuron j the event `presynaptic` with

    Σ_i Σ_d W[j, i, d] s_i(t - d),    d = 1 … D,

as its weight; then s_j(t) is the file's threshold, and the event `spike` resets. For equations/delays.yaml,

    u_j(t) = β (u_j(t-1) - θ s_j(t-1)) + Σ_i Σ_d W[j, i, d] s_i(t - d),    s = 1[u ≥ θ].

Arrays of weights are W[j, i, d - 1], from neuron i to neuron j.   Source: Perrinet 2026, arXiv 2604.14096.
"""

from dataclasses import dataclass, replace

import numpy as np
from brian2.units import second
from brian2.units.fundamentalunits import DIMENSIONLESS

from sims import equations
from sims.equations import EquationError, Model
from sims.expressions import unit_name

PRESYNAPTIC = "presynaptic"
MOST_SYNAPSES = 2**31 - 1  # what Brian2's integers count
# Every network's parameters: (least, most) of a whole number or of a float.
PARAMETERS = {
    "step": (1e-9, np.inf),
    "N": (1, MOST_SYNAPSES),
    "D": (1, MOST_SYNAPSES),
    "beta": (1e-9, 1.0),
    "M": (1, MOST_SYNAPSES),
    "T": (1, MOST_SYNAPSES),
    "p_A": (1e-9, 1.0),
    "lead": (0, MOST_SYNAPSES),
    "p_noise": (0.0, 1.0),
    "cue": (0.0, np.inf),
    "tail": (0, MOST_SYNAPSES),
    "most_active": (1e-9, 1.0),
    "alpha": (1e-9, np.inf),
}


@dataclass(frozen=True)
class DelayNetwork:
    """A checked file of the kind network.

    model: the file.  neuron: a Model of the kind neuron, with those parameters that the equations use.
    The other attributes are the file's parameters; step in seconds.
    """

    model: Model
    neuron: Model
    step: float
    N: int
    D: int
    beta: float
    M: int
    T: int
    p_A: float
    lead: int
    p_noise: float
    cue: float
    tail: int
    most_active: float
    alpha: float

    @property
    def steps(self):
        """How many a trial has: noise, pattern and what follows it."""
        return self.lead + self.T + self.tail

    @property
    def imposed_steps(self):
        """How many are imposed at the start of a trial: noise and cue."""
        return self.lead + round(self.cue * self.D)

    @property
    def scored(self):
        """The steps of a trial in which recall counts: the pattern's, from D to its end."""
        return slice(self.lead + self.D, self.lead + self.T)

    @property
    def most_spikes(self):
        """Once a trial has more, its network is silenced."""
        return int(self.most_active * self.N * self.steps)

    def silenced(self, spikes):
        """The step from which a runaway was silenced, or None.  spikes: bool [steps, N]."""
        emitted = spikes.sum(axis=1).cumsum()
        return int(np.argmax(emitted > self.most_spikes)) + 1 if emitted[-1] > self.most_spikes else None


def read(path):
    """Read and check a network file.  Returns a DelayNetwork; raises EquationError, naming file, line and cause."""
    return network(equations.read(path))


def network(model):
    """The DelayNetwork of a Model; errors as in `read`."""
    if model.kind != "network":
        raise EquationError(f"{model.path}:1: is of kind {model.kind}; expected network")
    values = {name: _checked(model, name, *limits) for name, limits in PARAMETERS.items()}
    used = model.names_read
    for name, parameter in model.parameters.items():
        if name not in used and name not in PARAMETERS:
            raise parameter.node.error(f"nothing in this network uses the parameter '{name}'")
    for statement in model.events[PRESYNAPTIC]:
        if statement.operator not in ("+=", "-=") or not statement.expression.names <= set(model.parameters):
            raise EquationError(
                f"{model.path}:1: spikes that arrive together have no order, so the event {PRESYNAPTIC} must add what "
                f"parameters decide; found '{statement.name} {statement.operator} {statement.expression.text}'"
            )
    neuron = replace(model, kind="neuron", parameters={n: p for n, p in model.parameters.items() if n in used})
    found = DelayNetwork(model, neuron, **values)
    if found.N**2 * found.D > MOST_SYNAPSES:
        raise model.parameters["N"].node.error(
            f"{found.N} neurons with {found.D} delays have {found.N**2 * found.D} synapses; expected at most "
            f"{MOST_SYNAPSES}"
        )
    if found.T <= max(found.D, found.cue * found.D):
        raise model.parameters["T"].node.error(
            f"a pattern of {found.T} steps; expected more than the {found.D} delays and the {found.cue:g}*D of its cue"
        )
    return found


def _checked(model, name, least, most):
    if name not in model.parameters:
        raise EquationError(f"{model.path}:1: a network needs the parameter '{name}'")
    node, value = model.parameters[name].node, model.parameters[name].value
    dimension, whole = second.dim if name == "step" else DIMENSIONLESS, isinstance(least, int)
    if value.dimension is not dimension:
        raise node.error(f"'{name}' has the unit {unit_name(value.dimension)}, expected {unit_name(dimension)}")
    if not least <= value.si <= most or (whole and value.value.denominator != 1):
        raise node.error(f"'{name}' is {value}, expected a {'whole ' * whole}number from {least:g} to {most:g}")
    return int(value.value) if whole else value.si


@dataclass(frozen=True, eq=False)
class Trial:
    """What reaches a network from outside.

    imposed: int8 [steps from the start, N]: 1 a spike, 0 none, whatever the threshold says; -1 as it says. Beyond the
    last row all is as it says.
    arriving: float64 [steps of a trial, N], weights of the event `presynaptic` besides the synapses'; None: none.
    """

    imposed: np.ndarray
    arriving: np.ndarray | None = None

    def check(self, network):
        """This Trial.  Raises ValueError where a shape does not fit the network."""
        rows, whole = len(self.imposed), (network.steps, network.N)
        if rows > network.steps or self.imposed.shape != (rows, network.N):
            raise ValueError(f"imposed has the shape {self.imposed.shape}, expected {whole} or fewer steps")
        if self.arriving is not None and self.arriving.shape != whole:
            raise ValueError(f"arriving has the shape {self.arriving.shape}, expected {whole}")
        return self
