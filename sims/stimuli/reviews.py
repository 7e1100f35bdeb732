"""Reviews of films, liked or not: IMDb's, as the Long Range Arena's task Text reads them, byte by byte.

Read from the official archive, whose checksum is known. Its training reviews are cut 90 to 10 into training and
validation, at random but always alike. A written file has a line for every review: its label, 1 where it was liked, a
tab and the text as it stands, tabs and ends of lines as blanks.

Source: Maas et al. 2011, "Learning word vectors for sentiment analysis".
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np

from sims import sealed
from sims.mistakes import Mistake
from sims.streams import stream

ARCHIVE = "aclImdb_v1.tar.gz"
URL = f"https://ai.stanford.edu/~amaas/data/sentiment/{ARCHIVE}"
MD5 = "7c2ac02c03563afcf9b574c7e56c153a"
SPLITS = ("train", "valid", "test")
FOLDER = Path(__file__).resolve().parents[2] / "data" / "long_range"
_LABELS = {"neg": 0, "pos": 1}


class ReviewError(Mistake):
    """Reviews that cannot be used."""


def write(path, split, source=None):
    """Write one split's reviews; see the module for the file.

    split: train, valid or test.  source: the archive; by default looked for in data/long_range/ and in the folder that
    DENDRITIC_DATA names, else downloaded.
    Raises ReviewError where there is none or it is not what it should be.
    """
    if split not in SPLITS:
        raise ReviewError(f"--split: found {split!r}, expected one of: {', '.join(SPLITS)}")
    reviews = read(find() if source is None else Path(source), "test" if split == "test" else "train")
    if split != "test":
        order = stream(0, "reviews split").permutation(len(reviews))
        kept = np.sort(order[: len(order) * 9 // 10] if split == "train" else order[len(order) * 9 // 10 :])
        reviews = [reviews[k] for k in kept]
    lines = [f"{label}\t".encode() + b" ".join(text.split()) + b"\n" for label, text in reviews]
    sealed.replace(path, b"".join(lines))


def find():
    """The archive; raises ReviewError where it is not there and cannot be downloaded."""
    for folder in [FOLDER, *([Path(os.environ["DENDRITIC_DATA"])] if os.environ.get("DENDRITIC_DATA") else [])]:
        if (folder / ARCHIVE).is_file():
            return folder / ARCHIVE
    import pooch

    try:
        downloader = pooch.HTTPDownloader(timeout=30)
        return Path(pooch.retrieve(URL, f"md5:{MD5}", fname=ARCHIVE, path=FOLDER, downloader=downloader))
    except (OSError, ValueError) as error:  # the network or the disk; ValueError is pooch's word for a wrong checksum
        raise ReviewError(
            f"{ARCHIVE} could not be downloaded from {URL} ({str(error)[:200]}); put it (md5 {MD5}) into {FOLDER}, or "
            "into a folder that DENDRITIC_DATA names"
        ) from None


def read(path, split, md5=MD5):
    """[(label, text in bytes), …] of the official split train or test, in the order of their names.

    md5: what the archive must have.   Raises ReviewError where it is missing, cut, altered or another one.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReviewError(f"{path}: cannot be read ({error.strerror})") from error
    if (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != md5:
        raise ReviewError(
            f"{path}: found {len(data)} bytes with md5 {found}, expected {md5} (cut short, altered, or another archive)"
        )
    reviews = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for member in archive:
                parts = Path(member.name).parts
                if len(parts) == 4 and parts[:2] == ("aclImdb", split) and parts[2] in _LABELS and member.isfile():
                    reviews.append((member.name, _LABELS[parts[2]], archive.extractfile(member).read()))
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ReviewError(f"{path}: cannot be read ({error}), expected the archive of reviews") from error
    if not reviews:
        raise ReviewError(f"{path}: found no reviews in aclImdb/{split}, expected the archive of reviews")
    return [(label, text) for _, label, text in sorted(reviews)]
