"""Files of grey images with their labels: sealed NumPy archives that a task can read whatever drew or sent the images.

`image` uint8 [image, row, column], `label` uint8 [image], `made`: JSON of what decides them.
"""

import io
import json

import numpy as np

from sims import sealed
from sims.mistakes import Mistake


class ImageError(Mistake):
    """Images that cannot be drawn, or a file of images that cannot be used."""


def write(path, image, label, made):
    """Write a file whole or not at all; arguments as of the module, `made` a dict."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, image=image, label=label, made=np.array(json.dumps(made)))
    sealed.write(path, buffer.getvalue())


def read(path, size):
    """(uint8 [image, size, size], uint8 [image]) of a file.

    Raises ImageError where it is cut, altered, no such file or empty, or where the images are not of the size asked
    for.
    """
    try:
        with np.load(io.BytesIO(sealed.read(path)), allow_pickle=False) as archive:
            image, label = archive["image"], archive["label"]
    except sealed.SealError as error:
        raise ImageError(str(error)) from error
    except (ValueError, KeyError, OSError) as error:
        raise ImageError(f"{path}: cannot be read ({error}), expected an archive of images") from error
    if image.ndim != 3 or not len(image) or image.dtype != np.uint8 or label.shape != image.shape[:1]:
        raise ImageError(
            f"{path}: found images {image.dtype} {image.shape} with labels {label.shape}, "
            "expected uint8 [image, row, column] and a label for each"
        )
    if image.shape[1:] != (size, size):
        raise ImageError(
            f"{path}: found images of {image.shape[1]} x {image.shape[2]} pixels, expected {size} x {size}"
        )
    return image, label
