"""Twenty spoken digits from a synthesiser: espeak-ng, whose library and data come with the package espeakng-loader.

A speaker is an English accent, a variant of the voice, a pitch and a rate of its own; German is said with the same
variant. Takes of a speaker's word differ in pitch, rate, level and a little noise, and no two have the same pitch and
rate; where espeak-ng makes the same of two rates, `repeats` tells. Words are said by a library that was loaded for them
alone: what it says depends on what it said before.

Accents and the ranges of pitch and rate: espeak-ng 1.52. Who is for testing alone: as in SHD, speakers 4 and 5 of 12.
"""

import ctypes
from dataclasses import dataclass

import numpy as np

from sims.mistakes import Mistake
from sims.stimuli.cochlea import RATE
from sims.streams import stream

WORDS = tuple(
    "zero one two three four five six seven eight nine null eins zwei drei vier fünf sechs sieben acht neun".split()
)
TAKES = 40  # of a speaker's word
TEST_ONLY = (4, 5)  # speakers
MARGIN, QUIET = 0.025, 0.02  # s left before and after; of the loudest sample, what counts as silence
_RATE, _PITCH, _UTF8, _SYNCHRONOUS = 1, 3, 1, 2  # of espeak-ng's interface
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class SpeechError(Mistake):
    """Speech that cannot be made."""


@dataclass(frozen=True)
class Speaker:
    """accent: a voice for English.  variant: of that and of the German voice.  pitch: 0 to 99.  rate: words/minute."""

    accent: str
    variant: str
    pitch: int
    rate: int


SPEAKERS = (
    Speaker("en", "m1", 40, 165),
    Speaker("en-us", "f1", 60, 170),
    Speaker("en-gb-scotland", "m2", 35, 155),
    Speaker("en-gb-x-rp", "f2", 55, 160),
    Speaker("en-us-nyc", "m3", 45, 180),
    Speaker("en-029", "f3", 62, 150),
    Speaker("en-gb-x-gbclan", "m4", 50, 175),
    Speaker("en-us", "f4", 52, 185),
    Speaker("en-gb-x-gbcwmd", "m7", 38, 160),
    Speaker("en", "f5", 65, 165),
    Speaker("en-us", "michael", 42, 150),
    Speaker("en-gb-x-rp", "belinda", 58, 175),
)


def take(seed, speaker, label, number):
    """One recording: float64 [sample] at RATE, the silence around it cut away.

    seed: of the data set.  speaker: 0 to 11.  label: 0 to 19.  number: of the take.
    Raises SpeechError where espeak-ng is missing or refuses.
    """
    pitch, rate = _pitches_and_rates(seed, speaker, label, number + 1)[-1]
    draw = stream(seed, "takes of spoken digits", speaker, label, number)
    sound = trimmed(say(label, SPEAKERS[speaker], pitch, rate, int(draw.integers(2**31))), RATE)
    level, noise = 10 ** (draw.normal(0, 3) / 20), 10 ** (-45 / 20)
    return level * sound + noise * draw.normal(size=len(sound))


def repeats(seed, speaker, label, number):
    """Whether a take is an earlier one of its word again, but for level and noise.  Arguments as of `take`."""
    *earlier, (pitch, rate) = _pitches_and_rates(seed, speaker, label, number + 1)
    rates = [other for tone, other in earlier if tone == pitch]
    said = [say(label, SPEAKERS[speaker], pitch, other, seed=1) for other in (rate, *rates)] if rates else []
    return any(np.array_equal(said[0], one) for one in said[1:])


def _pitches_and_rates(seed, speaker, label, takes):
    """Those of the first takes, whole numbers; pairs that came before are drawn again."""
    draw, voice, seen = stream(seed, "pitch and rate of spoken digits", speaker, label), SPEAKERS[speaker], []
    while len(seen) < takes:
        pitch = int(np.clip(round(voice.pitch + draw.normal(0, 8)), 0, 99))
        pair = pitch, int(np.clip(round(voice.rate * (1 + draw.normal(0, 0.1))), 80, 450))
        if pair not in seen:
            seen.append(pair)
    return seen


def say(label, speaker, pitch, rate, seed):
    """What espeak-ng says: float64 [sample] at RATE, within -1 and 1.  seed: of its own noise."""
    try:
        import espeakng_loader
    except ImportError:
        raise SpeechError("espeak-ng is missing; install the package espeakng-loader") from None

    said = []

    @_Callback
    def keep(samples, count, _):
        if samples and count > 0:
            said.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library = ctypes.CDLL(espeakng_loader.get_library_path())
    try:
        found = library.espeak_Initialize(_SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if found != RATE:
            raise SpeechError(f"espeak-ng: found a rate of {found} Hz, expected {RATE}")
        library.espeak_SetSynthCallback(keep)
        library.espeak_ng_SetRandSeed(ctypes.c_long(seed))
        voice = f"{speaker.accent if label < 10 else 'de'}+{speaker.variant}"
        if library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise SpeechError(f"espeak-ng: found no voice {voice}")
        library.espeak_SetParameter(_RATE, rate, 0)
        library.espeak_SetParameter(_PITCH, pitch, 0)
        word = WORDS[label].encode()
        library.espeak_Synth(word, ctypes.c_size_t(len(word) + 1), 0, 0, 0, _UTF8, None, None)
        library.espeak_Synchronize()
        library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))
    return np.concatenate(said) / 32768 if said else np.empty(0)


def trimmed(sound, rate):
    """Sound from shortly before its first loud sample to shortly after the last.  rate: Hz."""
    loud = np.flatnonzero(np.abs(sound) > QUIET * np.abs(sound).max(initial=0))
    if not len(loud):
        return sound
    margin = round(MARGIN * rate)
    return sound[max(0, loud[0] - margin) : loud[-1] + margin + 1]
