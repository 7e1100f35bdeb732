"""Random streams keyed by a seed, a purpose and indices: no draw depends on what else is drawn, or where."""

import hashlib

import numpy as np


def stream(seed, purpose, *indices):
    """A NumPy generator of its own for one purpose.

    seed: a whole number ≥ 0.  purpose: a name such as "l5 inputs".  indices: whole numbers, as that of a simulation.
    """
    key = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:4], "big")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key, *indices)))
