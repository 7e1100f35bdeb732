"""A cochlea: sound → spikes of bushy cells, one for each of 700 places on the basilar membrane.

    basilar membrane   sims/stimuli/basilar_membrane.py
    inner hair cell    three pools of transmitter; Meddis 1986, 1988 (J. Acoust. Soc. Am. 79:702, 83:1056)
    fibres             40 to a bushy cell, which spike with the hair cell's probability and then rest for 1 ms
    bushy cell         leaky integrate and fire with an exponential synapse

Fibres of a cell are alike, so only the number that spikes in a step is drawn: binomial among those that do not rest.
Places, constants and the sound's preparation (RMS 0.3, Hann window) are those with which SHD was made:
Cramer, Stradmann, Schemmel & Zenke 2020 (IEEE TNNLS).
"""

import ctypes
import functools
import math
import warnings
from pathlib import Path

import numpy as np
from scipy import signal

from sims.backends import compiled
from sims.mistakes import Mistake
from sims.stimuli import basilar_membrane
from sims.stimuli.basilar_membrane import LONGEST, RATE, STEP

PLACES = 700
# Of the hair cell, 1/s but for A, B (of velocity) and M (of transmitter).
HAIR = {"y": 5.05, "g": 2000.0, "l": 2500.0, "r": 6580.0, "x": 66.3, "A": 5.0, "B": 300.0, "M": 1.0}
RELEASE = 50000.0  # 1/s, spikes per transmitter in the cleft
FIBRES, TAU_MEMBRANE, TAU_SYNAPSE, REST = 40, 1e-3, 5e-4, 1e-3  # s
WEIGHT = 13e3 / FIBRES  # 1/s
_MOST = 1 - 2.0**-24  # a uniform float32 is never above it


class SoundError(Mistake):
    """Sound that no cochlea can hear; the text says what was found and what was expected."""


def spikes(sound, rate, generator, places=PLACES):
    """Spikes of the bushy cells, in order of time.

    sound: [sample], of any scale.  rate: Hz.  generator: a NumPy generator, which draws the fibres' spikes.
    places: on the membrane, evenly spaced.
    Returns (time s float32 [spike], place uint16 [spike]).
    Raises SoundError where the sound is empty, silent, not finite or longer than LONGEST.
    """
    velocity = basilar_membrane.velocity(prepared(sound, rate), places)
    uniform = generator.random(velocity.shape, np.float32)
    step, place = cells(velocity, uniform)
    return (step * STEP).astype(np.float32), place.astype(np.uint16)


def prepared(sound, rate):
    """Sound at RATE with an RMS of 0.3, under a Hann window: float64 [sample].  Errors as of `spikes`."""
    sound = np.asarray(sound, np.float64)
    if sound.ndim != 1 or not len(sound):
        raise SoundError(f"found sound of zero length, shape {sound.shape}, expected samples of one channel")
    if not np.isfinite(sound).all():
        raise SoundError("found sound with samples that are not finite")
    if len(sound) > LONGEST * rate:
        raise SoundError(f"found {len(sound) / rate:.2f} s of sound, expected at most {LONGEST} s")
    shared = math.gcd(RATE, rate)
    if rate != RATE:
        sound = signal.resample_poly(sound, RATE // shared, rate // shared)
    rms = np.sqrt(np.mean(sound**2))
    if not rms > 0:
        raise SoundError(f"found {len(sound)} samples of silence, expected sound")
    return sound * (0.3 / rms) * np.hanning(len(sound))


def cells(velocity, uniform):
    """Spikes of the bushy cells, in order of time: (step int32 [spike], place int32 [spike]).

    velocity: float32 [place, step].  uniform: float32 [place, step] in [0, 1), which decides how many fibres spike.
    """
    if _library() is None:
        return cells_plain(velocity, uniform)[:2]
    return _cells(velocity, uniform, None)


def cells_with_probability(velocity, uniform):
    """As `cells`, and the firing probability of a fibre in a step, float64 [place, step]."""
    probability = np.empty((_padded(len(velocity)), velocity.shape[1]))
    step, place = _cells(velocity, uniform, probability)
    return step, place, probability[: len(velocity)]


def _cells(velocity, uniform, probability):
    places, steps = velocity.shape
    rows = _padded(places)
    velocity, uniform = (
        np.ascontiguousarray(np.pad(array, ((0, rows - places), (0, 0))), np.float32) for array in (velocity, uniform)
    )
    fibre_rest, cell_rest = _rests()
    room = steps // (cell_rest + 1) + 1
    spikes, number = np.empty((rows, room), np.int32), np.empty(rows, np.int64)
    arrays = (velocity, uniform, _constants(), spikes, number, probability)
    sizes = (rows, steps, fibre_rest, cell_rest, room)
    _library().cochlea_cells(
        (ctypes.c_int64 * len(sizes))(*sizes),
        (ctypes.c_void_p * len(arrays))(*(None if array is None else array.ctypes.data for array in arrays)),
    )
    place = np.repeat(np.arange(places, dtype=np.int32), number[:places])
    step = spikes[:places][np.arange(room) < number[:places, None]]
    order = np.lexsort((place, step))
    return step[order], place[order]


def cells_plain(velocity, uniform):
    """The twin of the kernel: (step, place, firing probability float64 [place, step])."""
    places, steps = velocity.shape
    y, g, l, r, x, A, B, M, release, most, fibres, synapse, membrane, weight, q, c, w = _constants()  # noqa: E741
    q, c, w = (np.full(places, value) for value in (q, c, w))
    fibre_rest, cell_rest = _rests()
    current, potential, idle = np.zeros(places), np.zeros(places), np.full(places, fibres)
    recent, rests = np.zeros((fibre_rest, places)), np.zeros(places, np.int64)
    probability, spiked = np.empty((places, steps)), np.zeros((steps, places), bool)
    for t in range(steps):
        opened = np.maximum(velocity[:, t].astype(np.float64) + A, 0)
        eject = g * opened / (opened + B) * q
        replenish = np.where(q < M, y * (M - q), 0)
        lost, reuptake, reprocess = (l + r) * c, r * c, x * w
        q = np.maximum(q + replenish - eject + reprocess, 0)
        c = np.maximum(c + eject - lost, 0)
        w = np.maximum(w + reuptake - reprocess, 0)
        probability[:, t] = c * release

        idle += recent[t % fibre_rest]
        p = np.minimum(probability[:, t], most)
        number = _binomial(idle, p, uniform[:, t])
        idle -= number
        recent[t % fibre_rest] = number

        current = current * synapse + number
        potential = np.where(rests > 0, 0, potential * membrane + current * weight)
        spiked[t] = potential >= 1
        potential[spiked[t]] = 0
        rests = np.where(spiked[t], cell_rest, np.maximum(rests - 1, 0))
    step, place = np.nonzero(spiked)
    return step.astype(np.int32), place.astype(np.int32), probability


def _binomial(tries, p, uniform):
    """Binomial numbers of `tries` and p whose distribution reaches up to `uniform`."""
    term = (1 - p) ** tries
    below, number = term.copy(), np.zeros_like(tries)
    for j in range(1, FIBRES + 1):
        beyond = (uniform >= below) & (j <= tries)
        if not beyond.any():
            break
        number += beyond
        term *= (tries - j + 1) / j * (p / (1 - p))
        below += term
    return number


def _constants():
    """What the kernel's Constants hold, in their order."""
    y, g, l, r, x, A, B, M = HAIR.values()  # noqa: E741
    open_at_rest = g * A / (A + B)
    cleft = M * y * open_at_rest / (l * open_at_rest + y * (l + r))
    free, reprocessed = cleft * (l + r) / open_at_rest, cleft * r / x
    rates = np.array([y, g, l, r, x]) * STEP
    decays = np.exp(-STEP / np.array([TAU_SYNAPSE, TAU_MEMBRANE]))
    return np.array([*rates, A, B, M, RELEASE * STEP, _MOST, FIBRES, *decays, WEIGHT * STEP, free, cleft, reprocessed])


def _rests():
    """Steps that a fibre and a cell rest. A cell's spike takes effect one step after its threshold was reached."""
    steps = math.ceil(REST / STEP)
    return steps, steps + 1


def _padded(places):
    lanes = _library().cochlea_lanes()
    return -(-places // lanes) * lanes


@functools.cache
def _library():
    try:
        return compiled.library("cochlea", Path(__file__).with_suffix(".cpp").read_text(), "sims/stimuli/cochlea.cpp")
    except compiled.BackendError as error:
        warnings.warn(f"{error}; hair cells are computed by plain NumPy, about 20 times slower", stacklevel=2)
        return None
