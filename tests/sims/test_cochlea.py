"""The cochlea: its wave against quadrature, its cells against their twin, all of it against the reference program."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.signal import lfilter

from sims.stimuli import basilar_membrane, cochlea, fsdd, speech
from sims.stimuli.basilar_membrane import ALPHA, RATE
from sims.stimuli.cochlea import SoundError

PLACES = 70
# Spikes of each of 70 places in lauscher 1.0.1, the mean of eight or nine runs: its fibres' spikes are random.
COUNTS = Path(__file__).with_name("lauscher_counts.csv")


def vowel(seconds=0.3, pitch=120, formants=((700, 80), (1200, 90), (2600, 120))):
    """A train of pulses through resonances (Hz, width Hz)."""
    sound = np.zeros(round(seconds * RATE))
    sound[(np.arange(round(seconds * pitch)) * RATE / pitch).astype(int)] = 1
    for frequency, width in formants:
        r = np.exp(-np.pi * width / RATE)
        sound = lfilter([1], [1, -2 * r * np.cos(2 * np.pi * frequency / RATE), r * r], sound)
    return sound / np.abs(sound).max()


def seven():
    return speech.trimmed(speech.say(7, speech.Speaker("en-us", "f1", 50, 175), 50, 175, 1), RATE), RATE


def three():
    if fsdd.find() is None:
        pytest.skip(f"{fsdd.ARCHIVE} is neither in data/speech/ nor in the folder that DENDRITIC_DATA names")
    return fsdd.read()[1, 3, 0], fsdd.RATE


def counts(sound, rate, runs):
    """Spikes of each place in one run, the mean of several."""
    places = [cochlea.spikes(sound, rate, np.random.default_rng(run), PLACES)[1] for run in range(runs)]
    return np.bincount(np.concatenate(places), minlength=PLACES) / runs


@pytest.mark.parametrize("frequency", [50, 300, 1000, 4000, 10000])
def test_the_waves_phase_is_the_integral_of_its_wavenumber(frequency):
    omega = 2 * np.pi * frequency
    for c in (0.3, 1.0, 2.0, 3.4):
        real, imaginary = (
            quad(lambda s, part=part: getattr(basilar_membrane.wavenumber(s, omega), part), 0, c, limit=300)[0]
            for part in ("real", "imag")
        )
        expected = 2 * basilar_membrane.wavenumber(0.0, omega) / ALPHA + real + 1j * imaginary
        assert basilar_membrane.phase(c, omega) == pytest.approx(expected, rel=1e-6)


def test_lower_tones_move_places_nearer_to_the_apex():
    time = np.arange(RATE // 5) / RATE
    moved = [
        np.abs(basilar_membrane.velocity(np.sin(2 * np.pi * tone * time) * np.hanning(len(time)), PLACES))
        .max(1)
        .argmax()
        for tone in (5000, 2000, 800, 300)
    ]
    assert moved == sorted(moved) and len(set(moved)) == 4


def test_the_kernel_and_its_plain_twin_agree():
    velocity = basilar_membrane.velocity(cochlea.prepared(vowel(), RATE), PLACES)[:, :1500]
    uniform = np.random.default_rng(0).random(velocity.shape, np.float32)
    step, place, probability = cochlea.cells_with_probability(velocity, uniform)
    plain_step, plain_place, plain_probability = cochlea.cells_plain(velocity, uniform)
    assert len(step) > 50 and np.array_equal(step, plain_step) and np.array_equal(place, plain_place)
    assert np.abs(probability - plain_probability).max() < 1e-12


def test_cells_and_fibres_that_are_certain_to_spike_still_rest():
    steps = 1000
    step, _, _ = cochlea.cells_plain(np.full((1, steps), 1e4, np.float32), np.full((1, steps), 0.999, np.float32))
    assert np.diff(step).min() * cochlea.STEP > cochlea.REST


def test_the_number_of_fibres_that_spike_is_binomial():
    uniform = (np.arange(20000, dtype=np.float32) + 0.5) / 20000
    number = cochlea._binomial(np.full(20000, 40.0), np.full(20000, 0.05), uniform)
    assert number.mean() == pytest.approx(40 * 0.05, rel=0.01) and number.var() == pytest.approx(
        40 * 0.05 * 0.95, rel=0.02
    )


@pytest.mark.parametrize("name", ["vowel", "seven", "three"])
def test_spikes_of_every_place_are_as_many_as_the_reference_programs(name):
    with open(COUNTS, newline="") as file:
        expected = np.array([float(row[name]) for row in csv.DictReader(file)])
    found = counts(*{"vowel": lambda: (vowel(), RATE), "seven": seven, "three": three}[name](), runs=8)
    assert np.corrcoef(found, expected)[0, 1] > 0.95
    assert found.sum() == pytest.approx(expected.sum(), rel=0.1)


@pytest.mark.slow
def test_spikes_are_as_many_as_those_of_the_reference_program_run_here():
    pytest.importorskip("lauscher", reason="lauscher is not installed")
    from lauscher.audiowaves import MonoAudioWave
    from lauscher.helpers import CommandLineArguments
    from lauscher.transformations.wave2spike import Wave2Spike

    CommandLineArguments().num_concurrent_jobs = 1
    sound = vowel(seconds=0.15)
    runs = [MonoAudioWave(sound.copy(), RATE).transform(Wave2Spike(PLACES)).spike_labels for _ in range(3)]
    expected = np.bincount(np.concatenate(runs).astype(int), minlength=PLACES) / 3
    # Ten places together, for few spikes are left to chance.
    found = counts(sound, RATE, runs=8)
    assert np.corrcoef(found.reshape(-1, 10).sum(1), expected.reshape(-1, 10).sum(1))[0, 1] > 0.95
    assert found.sum() == pytest.approx(expected.sum(), rel=0.1)


def test_spikes_lie_within_the_sound_and_come_in_order():
    time, place = cochlea.spikes(vowel(), RATE, np.random.default_rng(0), PLACES)
    assert (np.diff(time) >= 0).all() and 0 <= time.min() and time.max() < 0.3 and place.max() < PLACES
    again = cochlea.spikes(7 * vowel(), RATE, np.random.default_rng(0), PLACES)
    assert np.array_equal(again[0], time) and np.array_equal(again[1], place)


@pytest.mark.parametrize(
    "sound, message",
    [
        (np.empty(0), "sound of zero length"),
        (np.zeros(1000), "samples of silence"),
        (np.array([0.1, np.nan]), "not finite"),
        (np.ones(2 * RATE), "found 2.00 s of sound, expected at most 1.4 s"),
    ],
)
def test_sound_that_cannot_be_heard_is_refused(sound, message):
    with pytest.raises(SoundError, match=message):
        cochlea.spikes(sound, RATE, np.random.default_rng(0), PLACES)
