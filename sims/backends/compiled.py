"""C++ at run time: source text → a shared library, compiled once and kept in a cache.

A library's key is made of the source, the flags, the compiler's version and what the processor can do, so that a shared
cache serves machines of different kinds. Jobs that need the same library at the same time wait for one of them.
"""

import ctypes
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from sims.mistakes import Mistake

PROJECT = Path(__file__).resolve().parents[2]
HEADERS = Path(__file__).resolve().parent
# Flags that make the compiler use the widest registers first. `none` is what it assumes of every machine of this kind.
SIMD = {
    "avx512": ("-march=native", "-mprefer-vector-width=512"),
    "avx2": ("-mavx2", "-mfma", "-mtune=native"),
    "none": (),
}
FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-shared",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fno-signed-zeros",
    "-fschedule-insns",  # long expressions side by side: GCC leaves this out on x86, where registers were once few
)


class BackendError(Mistake):
    """A simulator, or the compiler that it needs, cannot do what was asked."""


def cache_folder():
    """Where compiled code is kept: $DENDRITIC_CACHE, else .cache in the project."""
    return Path(os.environ.get("DENDRITIC_CACHE", PROJECT / ".cache"))


def compiler():
    """The path of the C++ compiler: $CXX, else g++.  Raises BackendError where there is none."""
    found = shutil.which(os.environ.get("CXX", "g++"))
    if found is None:
        raise BackendError(f"a C++ compiler is needed, and '{os.environ.get('CXX', 'g++')}' was not found; install g++")
    return found


@cache
def _features():
    """(version of the compiler, the processor's features that it knows of)."""
    version = subprocess.run([compiler(), "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    native = subprocess.run(
        [compiler(), "-march=native", "-dM", "-E", "-x", "c++", "-"], input="", capture_output=True, text=True
    )
    return version, frozenset(line.split()[1] for line in native.stdout.splitlines() if line.startswith("#define __"))


def identity():
    """What decides the code that a source becomes here: the compiler's version and the processor's features, sorted."""
    version, features = _features()
    return [version, *sorted(features)]


def widest_simd():
    """The best key of SIMD on this machine."""
    _, features = _features()
    if {"__AVX512F__", "__AVX512DQ__", "__AVX512VL__", "__AVX512BW__"} <= features:
        return "avx512"
    return "avx2" if {"__AVX2__", "__FMA__"} <= features else "none"


def check_simd(simd):
    """Raise BackendError where this machine cannot run code for `simd`, a key of SIMD."""
    order = list(SIMD)
    if simd not in order:
        raise BackendError(f"--simd: found '{simd}', expected one of: {', '.join(order)}")
    if order.index(simd) < order.index(widest_simd()):
        raise BackendError(f"--simd: found '{simd}', but this machine has {widest_simd()} at most")


def library(name, source, origin, simd=None):
    """A compiled library, from the cache or from the compiler.

    name: of the library's file, for people.  source: C++ text; it may include headers of sims/backends.  origin: what
    the source was made from, for messages.  simd: a key of SIMD (default: the widest here).
    Returns a ctypes.CDLL.  Raises BackendError with the compiler's first complaint.
    """
    simd = widest_simd() if simd is None else simd
    version, features = _features()
    chosen = (*FLAGS, *SIMD[simd])
    native = sorted(features) if "-march=native" in chosen else ()
    headers = [path.read_text() for path in sorted(HEADERS.glob("*.hpp"))]
    key = hashlib.sha256("\0".join([version, *chosen, *native, *headers, source]).encode()).hexdigest()[:12]
    path = cache_folder() / "cpp" / f"{name}_{simd}_{key}.so"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path.with_suffix(".lock"), "w") as lock:  # the lock goes with the process that holds it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.is_file():
                _compile(path, source, origin, chosen)
    return ctypes.CDLL(str(path))


def _compile(path, source, origin, flags):
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        text, built = Path(folder) / f"{path.stem}.cpp", Path(folder) / path.name
        text.write_text(source)
        run = subprocess.run(
            [compiler(), *flags, f"-I{HEADERS}", "-o", built, text], capture_output=True, text=True, cwd=folder
        )
        if run.returncode != 0:
            complaints = [line for line in run.stderr.splitlines() if "error" in line] or run.stderr.splitlines()
            raise BackendError(f"{origin}: the C++ made from it does not compile:\n" + "\n".join(complaints[:5]))
        os.replace(built, path)
