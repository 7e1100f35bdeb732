"""The Spiking Heidelberg Digits themselves: the official archives, downloaded or put in place by hand.

Source: Cramer, Stradmann, Schemmel & Zenke 2020 (IEEE TNNLS), CC BY 4.0.
"""

import hashlib
import io
import os
import zipfile
from pathlib import Path

from sims.stimuli import digits
from sims.stimuli.digits import DigitsError

URL = "https://zenkelab.org/datasets/"
MD5 = {"train": "f3252aeb598ac776c1b526422d90eecb", "test": "1503a5064faa34311c398fb0a1ed0a6f"}
FOLDER = Path(__file__).resolve().parents[2] / "data" / "speech"


def read(split):
    """Digits of the official split train or test, as they are.

    Looks for shd_SPLIT.h5.zip in data/speech/ and in the folder that DENDRITIC_DATA names, then downloads it.
    Raises DigitsError where it cannot be had or is not the published archive.
    """
    name = f"shd_{split}.h5.zip"
    path = _find(name) or _download(name, MD5[split])
    data = path.read_bytes()
    if (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != MD5[split]:
        raise DigitsError(
            f"{path}: found {len(data)} bytes with md5 {found}, expected {MD5[split]} (cut short, altered, or "
            "another file)"
        )
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return digits.parse(archive.read(f"shd_{split}.h5"), path)


def _find(name):
    folders = [FOLDER, *([Path(os.environ["DENDRITIC_DATA"])] if os.environ.get("DENDRITIC_DATA") else [])]
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _download(name, md5):
    import pooch

    try:
        return Path(
            pooch.retrieve(
                URL + name, f"md5:{md5}", fname=name, path=FOLDER, downloader=pooch.HTTPDownloader(timeout=30)
            )
        )
    except (OSError, ValueError) as error:  # the network or the disk; ValueError is pooch's word for a wrong checksum
        raise DigitsError(
            f"{name} could not be downloaded from {URL} ({str(error)[:200]}); put it (md5 {md5}) into {FOLDER}, or "
            "into a folder that DENDRITIC_DATA names"
        ) from None
