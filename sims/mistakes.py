"""Mistakes of the person at the keyboard: what they share, and how a command line answers them."""

import contextlib
import sys


class Mistake(ValueError):
    """Bad input; its text names the file, line or option, what was found and what was expected."""


class RequestError(Mistake):
    """A simulation that cannot be: names the option, what was found and what was expected."""


@contextlib.contextmanager
def refused():
    """Turn a Mistake, or a file that cannot be read or written, into one line on stderr and exit code 2."""
    try:
        yield
    except Mistake as error:
        _refuse(error)
    except OSError as error:
        if error.filename is None:  # not about a file that anyone named
            raise
        _refuse(f"{error.filename}: {error.strerror}")


def _refuse(message):
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
