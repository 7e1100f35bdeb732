"""Spike patterns for a network of delays to remember, and the weights that Hebb's rule gives it for them.

A pattern is bool [T, N]. Weights are W[j, i, d - 1], from neuron i to neuron j with a delay of d steps.
Source: Perrinet 2026, arXiv 2604.14096.
"""

import numpy as np
from scipy import sparse

from sims.delays import Trial
from sims.streams import stream

INTERVAL_MS = 4  # the shortest between two spikes of a neuron, where patterns come from evidence


def bernoulli(network, seed):
    """M independent patterns in which every neuron spikes in every step with probability p_A: bool [M, T, N]."""
    shape = network.T, network.N
    return np.array([stream(seed, "delay patterns", m).random(shape) < network.p_A for m in range(network.M)])


def evidence(network, seed):
    """M patterns of the strongest evidence, as in the source's text: bool [M, T, N].

    Every neuron has in every step a normal evidence on the logit of a spike; the strongest p_A of all become spikes,
    but none less than INTERVAL_MS from a stronger one of its neuron. (Only ranks count, so any spread will do.)
    """
    count, apart = round(network.p_A * network.T * network.N), round(INTERVAL_MS * 1e-3 / network.step)
    patterns = np.zeros((network.M, network.T, network.N), bool)
    for m, pattern in enumerate(patterns):
        drawn, left = stream(seed, "evidence of delay patterns", m).normal(size=(network.T, network.N)), count
        for place in np.argsort(drawn, axis=None)[::-1]:
            t, neuron = divmod(int(place), network.N)
            if not pattern[max(0, t - apart + 1) : t + apart, neuron].any():
                pattern[t, neuron], left = True, left - 1
            if not left:
                break
    return patterns


def hebbian(network, patterns, z=None):
    """Weights that drive each neuron where a pattern has its spikes: float64 [N, N, D].

    W[j, i, d] = 1/z Σ_μ Σ_t (s_j(t) - β s_j(t-1)) s_i(t-d), so that the leak makes of the sum over a pattern's own
    context s_j(t) times the spikes in it, of which there are N D p_A on average: with z = N D p_A, the default, the
    potential is 1 where a spike belongs. A smaller z runs away, a larger one falls silent.
    patterns: bool [M, T, N].
    """
    N, D = network.N, network.D
    z = N * D * network.p_A if z is None else z
    target = patterns.astype(float)
    target[:, 1:] -= network.beta * patterns[:, :-1]
    # One after another in time, with room between them: spikes of one reach no target of the next.
    target, source = (np.pad(x, ((0, 0), (0, D), (0, 0))).reshape(-1, N) for x in (target, patterns.astype(float)))
    target, source = sparse.csc_array(target.T), sparse.csr_array(source)
    weights = np.empty((N, N, D))
    for d in range(1, D + 1):
        weights[:, :, d - 1] = (target[:, d:] @ source[:-d]).toarray() / z
    return weights


def trial(network, pattern, seed, index=0):
    """The Trial of a pattern: noise of `lead` steps, then its first cue*D steps.

    pattern: bool [T, N].  seed, index: key of the noise.
    """
    noise = stream(seed, "noise before a pattern", index).random((network.lead, network.N)) < network.p_noise
    cue = pattern[: network.imposed_steps - network.lead]
    return Trial(np.concatenate([noise, cue]).astype(np.int8))


GENERATORS = {"bernoulli": bernoulli, "evidence": evidence}
