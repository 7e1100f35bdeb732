"""A network of delays in plain NumPy: the reference that the other backends' spikes are compared with.

Spikes are booked ahead: where neuron i spikes in step t, its weights at delay d are added to what arrives in step
t + d, in a ring of D steps. A step costs N D for each of the spikes.
"""

import numpy as np

from sims.analysis.integrate import Integrator
from sims.backends import steps
from sims.delays import PRESYNAPTIC
from sims.equations import SPIKE, EquationError


def simulate(network, weights, trial):
    """The spikes of one trial.

    network: a DelayNetwork.  weights: [N, N, D].  trial: a Trial.
    Returns bool [steps, N]; a network that has emitted more than `network.most_spikes` is silent from the next step on.
    """
    trial.check(network)
    neuron, D = network.neuron, network.D
    integrator = Integrator(neuron, network.step)
    values = neuron.values()
    for name, start in steps.starts(neuron).items():
        values[name] = np.full(network.N, start.evaluate(values))
    from_source = weights.transpose(1, 2, 0)  # [i, d, j]
    ahead, spikes, emitted = np.zeros((D, network.N)), np.zeros((network.steps, network.N), bool), 0
    for step in range(network.steps):
        values |= integrator.step(values | {"t": step * network.step})
        arriving = ahead[step % D].copy()
        ahead[step % D] = 0
        if trial.arriving is not None:
            arriving += trial.arriving[step]
        for statement in neuron.events[PRESYNAPTIC]:
            change = arriving * statement.expression.evaluate(values)
            values[statement.name] = statement.after(values[statement.name], change)
        fired = neuron.threshold.evaluate(values | {"t": step * network.step})
        if step < len(trial.imposed):
            fired = np.where(trial.imposed[step] < 0, fired, trial.imposed[step] > 0)
        if emitted > network.most_spikes:
            break
        spikes[step] = fired
        emitted += fired.sum()
        ahead[(step + 1 + np.arange(D)) % D] += from_source[fired].sum(axis=0)
        for statement in neuron.events[SPIKE]:
            after = statement.after(values[statement.name], statement.expression.evaluate(values))
            values[statement.name] = np.where(fired, after, values[statement.name])
    return spikes


def leaky(network):
    """What a step does where the neuron is a leaky integrator, which is the neuron that learns.

    Returns {"beta": what a step leaves of the potential, "theta": where it spikes, "reset": "subtract" or "zero"}.
    Raises EquationError where the file's neuron does anything else, as these steps show on some potentials.
    """
    neuron, values = network.neuron, network.neuron.values() | {"t": 0.0}
    arrival, spike = neuron.events[PRESYNAPTIC], neuron.events[SPIKE]
    if len(neuron.states) == len(arrival) == len(spike) == 1 and "theta" in values and "t" not in neuron.names_read:
        (u,), theta = neuron.states, values["theta"]
        potential = np.array([1, -3, 0, 0.5, 7, theta, np.nextafter(theta, -np.inf)])
        left = Integrator(neuron, network.step).step(values | {u: potential})[u]
        arrived = arrival[0].after(potential, arrival[0].expression.evaluate(values))
        reset = spike[0].after(potential, spike[0].expression.evaluate(values | {u: potential}))
        resets = {"subtract": potential - theta, "zero": 0 * potential}
        found = next((name for name, after in resets.items() if np.array_equal(reset + 0 * potential, after)), None)
        if (
            found
            and np.allclose(left, left[0] * potential, rtol=1e-12, atol=0)
            and np.array_equal(arrived, potential + 1)
            and np.array_equal(neuron.threshold.evaluate(values | {u: potential}), potential >= theta)
        ):
            return {"beta": float(left[0]), "theta": float(theta), "reset": found}
    raise EquationError(
        f"{network.model.path}:1: found another neuron, expected one that can learn: a state u of which a step leaves "
        "a part, threshold u >= theta, events presynaptic: u += 1 and spike: u -= theta or u = 0"
    )
