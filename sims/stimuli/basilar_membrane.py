"""The basilar membrane: sound → how fast each of its places moves, by a travelling wave in shallow water.

At c in [0, 3.5] cm from base to apex it has in CGS units stiffness S(c) = C0 e^(-αc) - a, damping
R(c) = de √(C0 m) e^(-αc/2) and mass m, so ξ = S - mω² - iωR. With the wavenumber g = ω √(ρ/(hξ)) and its integral
G(c) = 2 g(0)/α + ∫ g dc from 0 to c, the pressure is p(c) = √(G/g) H0(G), H0 the Hankel function of the first kind, and
the velocity V(c) = 2ω/ξ p(c)/p(0) Z with the input impedance Z = √(2 C0/h) (i J0 + Y0)/(J1 - i Y1) at
2ω/α √(2/(h C0)).

Velocities are computed in the frequency domain and sampled at half the sound's rate. V is a table, kept in the cache.
Source: Sieroka, Dosch & Rupp 2006 (J. Acoust. Soc. Am. 120:297), constants as SHD was made with (Cramer et al. 2020).
"""

import fcntl
import functools
import hashlib
import io
import math
from pathlib import Path

import numpy as np
from scipy import fft, special

from sims import sealed
from sims.backends import compiled

RATE = 22050  # Hz, of sound
STEP = 2 / RATE  # s, of velocities
LONGEST = 1.4  # s, of sound; what it leaves of the longest transform is for the membrane to ring
ALPHA, RHO, C0, STIFFNESS, DE, H, MASS, LENGTH_CM = 3.0, 1.0, 1e9, 3500.0, 0.15, 0.1, 0.05, 3.5
_LENGTHS = 2048, 32768  # samples of the Fourier transform, the least and the most
_BLOCK = 20  # places whose waves are in the processor's cache together
_STILL, _COARSE = 1e-6, 32  # of the largest V, what counts as none; frequencies apart where that is looked for


def velocity(sound, places):
    """How fast places move, evenly spaced ones: float32 [place, step].  sound: [sample] at RATE, at most LONGEST."""
    length = max(_LENGTHS[0], 2 ** math.ceil(math.log2(1.06 * len(sound))))
    transfer, half, steps = _transfer(places, length), length // 2, len(sound) // 2
    spectrum = fft.rfft(sound, length)[:half].astype(np.complex64)
    moving = np.empty((places, steps), np.float32)
    for first in range(0, places, _BLOCK):
        waves = transfer[first : first + _BLOCK] * spectrum
        # Sampling at half the rate folds the spectrum's upper half onto the lower one.
        folded = waves[:, : half // 2 + 1].copy()
        folded[:, 1:] += waves[:, half // 2 :][:, ::-1].conj()
        moving[first : first + _BLOCK] = fft.irfft(folded, half)[:, :steps] / 2
    return moving


@functools.lru_cache(maxsize=4)
def _transfer(places, length):
    """V(c, ω) at ω = 2π RATE k/length, k = 0 .. length/2 - 1: complex64 [place, k]."""
    whole = np.load(_table(places), mmap_mode="r", allow_pickle=False)
    return np.ascontiguousarray(whole[:, :: _LENGTHS[1] // length])


def _table(places):
    """The file that holds V for the longest transform, computed where it is not there yet."""
    key = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    path = compiled.cache_folder() / "cochlea" / f"membrane_{places}_{key}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file():
        with open(path.with_suffix(".lock"), "w") as lock:  # the lock goes with the process that holds it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.is_file():
                omega = 2 * np.pi * RATE / _LENGTHS[1] * np.arange(_LENGTHS[1] // 2)
                table = np.zeros((places, len(omega)), np.complex64)  # a constant pressure moves nothing
                for row, place in zip(table, np.linspace(0, LENGTH_CM, places), strict=True):
                    # Waves do not reach a place beyond their own: most of the table is zero.
                    size = np.nan_to_num(np.abs(transfer(place, omega[1::_COARSE])))
                    end = (np.flatnonzero(size > _STILL * size.max())[-1] + 1) * _COARSE + 1
                    row[1:end] = transfer(place, omega[1:end])
                image = io.BytesIO()
                np.save(image, table)
                sealed.replace(path, image.getvalue())
    return path


def transfer(c, omega):
    """V(c, ω), velocity per pressure, complex.  c: cm from the base.  omega: rad/s, above 0."""
    at = 2 * omega / ALPHA * np.sqrt(2 / (H * C0))
    impedance = np.sqrt(2 * C0 / H) * (1j * special.j0(at) + special.y0(at)) / (special.j1(at) - 1j * special.y1(at))
    return 2 * omega / _xi(c, omega) * _pressure(c, omega) / _pressure(0.0, omega) * impedance


def _xi(c, omega):
    damping = DE * np.sqrt(C0 * MASS) * np.exp(-ALPHA * c / 2)
    return C0 * np.exp(-ALPHA * c) - STIFFNESS - MASS * omega**2 - 1j * omega * damping


def wavenumber(c, omega):
    """g(c, ω), 1/cm."""
    return omega * np.sqrt(RHO / (H * _xi(c, omega)))


def phase(c, omega):
    """G(c, ω): 2 g(0)/α and the integral of g from 0 to c, in closed form.

    With u = e^(-αc/2), Q = C0 u² - iωR(0) u - A and A = a + mω², the integral of du/(u √Q) is i/√A ln N(u) with
    N(u) = (2i √A √Q - iωR(0) u - 2A)/u.
    """
    A = STIFFNESS + MASS * omega**2

    def N(c):
        u = np.exp(-ALPHA * c / 2)
        return (2j * np.sqrt(A * _xi(c, omega)) - 1j * omega * DE * np.sqrt(C0 * MASS) * u - 2 * A) / u

    integral = 1j / np.sqrt(A) * np.log(N(0.0) / N(c))
    return 2 * wavenumber(0.0, omega) / ALPHA + 2 * omega / ALPHA * np.sqrt(RHO / H) * integral


def _pressure(c, omega):
    G = phase(c, omega)
    return np.sqrt(G / wavenumber(c, omega)) * special.hankel1(0, G)
