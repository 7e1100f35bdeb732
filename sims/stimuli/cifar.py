"""CIFAR-10 in grey: 60,000 photographs of ten kinds of things, 32 x 32 pixels.

Read from the official archive, whose checksum is known, or where that cannot be had from a table of the same images as
JPEG files, which are slightly lossy. Grey is the luma of ITU-R 601. The training images are cut 90 to 10 into training
and validation, at random but always alike.

Source: Krizhevsky 2009, "Learning multiple layers of features from tiny images".
"""

import hashlib
import io
import os
import tarfile
from pathlib import Path

import numpy as np

from sims.plain_pickles import Machine, PickledArray, Refused
from sims.stimuli import image_files
from sims.stimuli.image_files import ImageError
from sims.streams import stream

ARCHIVE, TABLE = "cifar-10-python.tar.gz", "cifar10_jpeg.parquet"
URL = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}"
MD5 = "c58f30108f718f92721af3b95e74349a"
SIZE, CLASSES = 32, 10
SPLITS = ("train", "valid", "test")
FOLDER = Path(__file__).resolve().parents[2] / "data" / "long_range"
_PARTS = {"train": [f"data_batch_{k}" for k in range(1, 6)], "test": ["test_batch"]}


def write(path, split, source=None):
    """Write one split's images, in grey, to a file as of sims/stimuli/image_files.py.

    split: train, valid or test.  source: the archive or the table; by default `find` looks for them.
    Raises ImageError where there is none or it is not what it should be.
    """
    if split not in SPLITS:
        raise ImageError(f"--split: found {split!r}, expected one of: {', '.join(SPLITS)}")
    source = find() if source is None else Path(source)
    image, label = read(source, "test" if split == "test" else "train")
    if split != "test":
        order = stream(0, "cifar split").permutation(len(image))
        kept = np.sort(order[: len(order) * 9 // 10] if split == "train" else order[len(order) * 9 // 10 :])
        image, label = image[kept], label[kept]
    image_files.write(path, image, label, {"data": "CIFAR-10", "split": split, "source": source.name})


def find():
    """Where the images are: data/long_range/, or the folder that DENDRITIC_DATA names, else downloaded to the former.

    The archive is preferred. Raises ImageError where there is neither and no network.
    """
    folders = [FOLDER, *([Path(os.environ["DENDRITIC_DATA"])] if os.environ.get("DENDRITIC_DATA") else [])]
    for name in (ARCHIVE, TABLE):
        for folder in folders:
            if (folder / name).is_file():
                return folder / name
    import pooch

    try:
        downloader = pooch.HTTPDownloader(timeout=30)
        return Path(pooch.retrieve(URL, f"md5:{MD5}", fname=ARCHIVE, path=FOLDER, downloader=downloader))
    except (OSError, ValueError) as error:  # the network or the disk; ValueError is pooch's word for a wrong checksum
        raise ImageError(
            f"{ARCHIVE} could not be downloaded from {URL} ({str(error)[:200]}); put it (md5 {MD5}) or {TABLE} into "
            f"{FOLDER}, or into a folder that DENDRITIC_DATA names"
        ) from None


def read(path, split, md5=MD5):
    """(uint8 [image, 32, 32] grey values, uint8 [image] labels) of the official split train or test.

    path: the archive, or the table where its name ends in .parquet.  md5: what the archive must have.
    Raises ImageError where the file is missing, cut, altered, or holds other images.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    colours, label = _of_table(path, data, split) if path.suffix == ".parquet" else _of_archive(path, data, split, md5)
    if not len(label) or label.max() >= CLASSES:
        raise ImageError(
            f"{path}: found {len(label)} labels up to {max(label, default=0)}, expected 0 to {CLASSES - 1}"
        )
    return luma(colours), label


def luma(colours):
    """ITU-R 601's luma, rounded: 0.299 red + 0.587 green + 0.114 blue.  colours: uint8 [..., 3]."""
    red, green, blue = np.moveaxis(colours.astype(np.uint32), -1, 0)
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


def _of_archive(path, data, split, md5):
    if (found := hashlib.md5(data, usedforsecurity=False).hexdigest()) != md5:
        raise ImageError(
            f"{path}: found {len(data)} bytes with md5 {found}, expected {md5} (cut short, altered, or another archive)"
        )
    colours, label = [], []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            for part in _PARTS[split]:
                content = Machine(archive.extractfile(f"cifar-10-batches-py/{part}").read()).run()
                pixels, classes = content["data"], content["labels"]
                if not isinstance(pixels, PickledArray) or pixels.kind != np.uint8:
                    raise ImageError(f"{path}, {part}: found no array of bytes under 'data', expected pixels")
                rows = np.frombuffer(pixels.raw, np.uint8).reshape(-1, 3, SIZE, SIZE)
                colours.append(rows.transpose(0, 2, 3, 1))
                label.append(np.concatenate([np.atleast_1d(entry) for entry in classes]).astype(np.uint8))
                if len(label[-1]) != len(rows):
                    raise ImageError(f"{path}, {part}: found {len(rows)} images and {len(label[-1])} labels")
    except (tarfile.TarError, OSError, EOFError, KeyError, TypeError, ValueError, AttributeError, Refused) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"{path}: cannot be read ({error}), expected the archive of CIFAR-10") from error
    return np.concatenate(colours), np.concatenate(label)


def _of_table(path, data, split):
    import pyarrow
    from PIL import Image, UnidentifiedImageError
    from pyarrow import parquet

    try:
        rows = parquet.read_table(pyarrow.BufferReader(data), columns=["split", "label", "jpeg"]).to_pydict()
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        raise ImageError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:200]}), expected a whole table with the columns "
            "split, label and jpeg"
        ) from error
    chosen = [row for row, name in enumerate(rows["split"]) if name == split]
    colours = np.empty((len(chosen), SIZE, SIZE, 3), np.uint8)
    for k, row in enumerate(chosen):
        try:
            picture = Image.open(io.BytesIO(rows["jpeg"][row]))
            found = f"{picture.size[0]} x {picture.size[1]} pixels"
            if picture.size == (SIZE, SIZE):
                colours[k] = picture.convert("RGB")
                continue
        except (UnidentifiedImageError, OSError, TypeError) as error:
            found = f"no picture ({error})"
        raise ImageError(f"{path}, row {row}: found {found}, expected a JPEG of {SIZE} x {SIZE} pixels")
    return colours, np.array([rows["label"][row] for row in chosen], np.uint8)
