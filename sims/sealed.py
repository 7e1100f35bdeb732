"""Files that are whole or absent: replaced in one step, and sealed with their SHA-256 where a reader must trust them.

The seal is one line of text behind the data, `sha256:<64 hex digits>`; HDF5 and zip readers ignore what follows their
own end, so a sealed file opens in any tool. It is checked before a parser sees the data: a damaged HDF5 file can crash
the library that reads it.
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from pathlib import Path

from sims.mistakes import Mistake

_PREFIX = b"\nsha256:"
_LENGTH = len(_PREFIX) + 64 + 1


class SealError(Mistake):
    """A file that was cut, altered, or never sealed; its text names the file, what was found and what was expected."""


def replace(path, data):
    """Give `path` the content `data` (bytes) in one step: readers see the old file or the new one, never a part.

    Raises OSError, which carries the file's name, and leaves nothing behind where the disk is full or the folder cannot
    be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            cause = f"could not be written, nothing was left behind: {error.strerror}"
            raise OSError(error.errno, cause, str(path)) from error
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def check_writable(path):
    """Make sure, before hours of work, that `path` can be written; makes its folder.

    Raises OSError, which carries the file's name.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OSError(error.errno, f"cannot be written: {error.strerror}", str(path)) from error


def write(path, data):
    """Seal `data` (bytes) and put it at `path` in one step; errors as in `replace`."""
    data = bytes(data)
    replace(path, data + _seal(data))


def is_sealed(path):
    """Whether a file ends in a seal, right or wrong.  Raises OSError."""
    return Path(path).read_bytes()[-_LENGTH:].startswith(_PREFIX)


def read(path):
    """The bytes that `write` was given.

    Raises SealError where the file is missing, unreadable, cut, altered or without a seal.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SealError(f"{path}: cannot be read ({error.strerror})") from error
    data, seal = content[:-_LENGTH], content[-_LENGTH:]
    if not seal.startswith(_PREFIX):
        raise SealError(
            f"{path}: found {len(content)} bytes that do not end in a seal, expected a whole file written by this "
            "suite (it was cut short, or another program wrote it)"
        )
    if seal != _seal(data):
        raise SealError(
            f"{path}: found content with sha256 {hashlib.sha256(data).hexdigest()}, expected the one in its seal "
            "(the file was altered or damaged)"
        )
    return data


def _seal(data):
    return _PREFIX + hashlib.sha256(data).hexdigest().encode() + b"\n"
