"""The Free Spoken Digit Dataset: people saying zero to nine in English.

An archive of recordings/DIGIT_SPEAKER_TAKE.wav, 8 kHz, mono, 16 bit; takes 0 to 4 are the official test set.
Source: Jakobovski/free-spoken-digit-dataset on GitHub, CC BY-SA 4.0.
"""

import io
import os
import re
import tarfile
import wave
from pathlib import Path

import numpy as np

from sims.stimuli.cochlea import LONGEST
from sims.stimuli.digits import DigitsError
from sims.stimuli.speech import trimmed

ARCHIVE = "fsdd_recordings.tar"
FOLDER = Path(__file__).resolve().parents[2] / "data" / "speech"
RATE = 8000  # Hz
TAKES = 50
TEST_TAKES = 5
_NAME = re.compile(r"recordings/(\d)_([a-z]+)_(\d+)\.wav")


def find():
    """The archive in data/speech/ or in the folder that DENDRITIC_DATA names, else None."""
    folders = [FOLDER, *([Path(os.environ["DENDRITIC_DATA"])] if os.environ.get("DENDRITIC_DATA") else [])]
    return next((folder / ARCHIVE for folder in folders if (folder / ARCHIVE).is_file()), None)


def read(path=None):
    """Every recording: {(speaker, digit, take): sound float64 [sample] at RATE, cut to what a cochlea can hear}.

    path: the archive, by default where `find` finds it.  Speakers are numbered by their names.  Of recordings that are
    the same the first is kept.
    Raises DigitsError where there is none, or where it or a recording is not what it should be.
    """
    path = find() if path is None else Path(path)
    if path is None:
        raise DigitsError(
            f"{ARCHIVE} is not here; put the folder recordings/ of Jakobovski/free-spoken-digit-dataset into a tar "
            f"archive of that name in {FOLDER}, or in a folder that DENDRITIC_DATA names"
        )
    sounds = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if (name := _NAME.fullmatch(member.name)) and member.isfile():
                    digit, speaker, take = name.groups()
                    content = archive.extractfile(member).read()
                    sounds[speaker, int(digit), int(take)] = _sound(content, member.name, path)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DigitsError(
            f"{path}: cannot be read ({' '.join(str(error).split())}), expected a tar archive of recordings"
        ) from error
    if not sounds:
        raise DigitsError(f"{path}: found no recordings, expected recordings/DIGIT_SPEAKER_TAKE.wav")
    speakers = sorted({speaker for speaker, _, _ in sounds})
    kept = {sounds[key].tobytes(): key for key in sorted(sounds, reverse=True)}
    return {(speakers.index(key[0]), *key[1:]): sounds[key] for key in sorted(kept.values())}


def _sound(data, name, path):
    try:
        with wave.open(io.BytesIO(data)) as file:
            found = file.getframerate(), file.getnchannels(), file.getsampwidth()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise DigitsError(f"{path}, {name}: cannot be read ({error}), expected a wave file") from error
    if found != (RATE, 1, 2):
        raise DigitsError(
            f"{path}, {name}: found {found[0]} Hz, {found[1]} channels, {found[2]} bytes a sample; expected {RATE}, "
            "1, 2"
        )
    if not len(frames):
        raise DigitsError(f"{path}, {name}: found audio of zero length, expected a spoken digit")
    sound = np.frombuffer(frames[: len(frames) // 2 * 2], "<i2") / 32768
    return trimmed(sound, RATE)[: int(LONGEST * RATE)]
