"""Kernels in C++ for what is sequential and hot, each beside its plain-torch twin.

They are compiled at the first use and called through ctypes. A twin is the same mathematics as tensor operations: the
reference in tests, and what runs where the kernel cannot, which is on CUDA, in other types than float32 and float64,
and on a machine without a C++ compiler.

Tensors within are cut into blocks, [block, time, window, n]: the windows of a block, at most eight, go through time
together, and what they need at one step lies together.
"""

import contextlib
import ctypes
import functools
import math
import warnings
from pathlib import Path

import numpy as np
import torch

from sims.backends import compiled

_FOLDER = Path(__file__).resolve().parent
_SOURCES = (
    "lanes.hpp",
    "activations.hpp",
    "products.hpp",
    "synapses.cpp",
    "memory.cpp",
    "lstm.cpp",
    "spiking.cpp",
    "delays.cpp",
    "margin.cpp",
)
_SUFFIX = {torch.float32: "float32", torch.float64: "float64"}
_MOST_WINDOWS = 8
_MOST_ROWS = 512
_allowed = True


@contextlib.contextmanager
def twins():
    """Within it the twins take the place of all kernels."""
    global _allowed
    before, _allowed = _allowed, False
    try:
        yield
    finally:
        _allowed = before


def usable(tensor):
    """Whether there is a kernel for this tensor's device and type. Warns once where there is no compiler."""
    return _allowed and tensor.device.type == "cpu" and tensor.dtype in _SUFFIX and _library() is not None


@functools.cache
def _library():
    source = "".join(f'#line 1 "{name}"\n{(_FOLDER / name).read_text()}' for name in _SOURCES)
    try:
        return compiled.library("fitting", source, "fitting/kernels")
    except compiled.BackendError as error:
        warnings.warn(f"{error}; models are computed by plain torch, about 35 times slower", stacklevel=2)
        return None


def call(name, dtype, sizes, arrays):
    """Run the kernel `name` for a type of numbers.

    sizes: whole numbers.  arrays: contiguous CPU tensors and NumPy arrays, or None; the kernel's source says which.
    """
    call_in(_library(), name, dtype, sizes, arrays)


def call_in(library, name, dtype, sizes, arrays):
    """`call` for a kernel of another library."""
    pointers = [_address(array) for array in arrays]
    getattr(library, f"{name}_{_SUFFIX[dtype]}")(
        (ctypes.c_int64 * len(sizes))(*sizes), (ctypes.c_void_p * len(pointers))(*pointers)
    )


def _address(array):
    if isinstance(array, np.ndarray):
        return array.ctypes.data
    return None if array is None else array.data_ptr()


def in_blocks(batch):
    """(blocks, windows of each) for a batch; the last block may have to be filled up."""
    blocks = max(1, math.ceil(batch / _MOST_WINDOWS))
    return blocks, math.ceil(batch / blocks)


def to_blocks(x):
    """[batch, time, n] → [block, time, window, n]."""
    blocks, windows = in_blocks(len(x))
    if blocks * windows != len(x):
        x = torch.cat([x, x.new_zeros(blocks * windows - len(x), *x.shape[1:])])
    return x.unflatten(0, (blocks, windows)).transpose(1, 2)


def from_blocks(x, batch):
    """[block, time, window, n] → [batch, time, n]."""
    x = x.transpose(1, 2).flatten(0, 1)
    return x if len(x) == batch else x[:batch]


def outer(left, right):
    """Σ left ⊗ right over block, time and window.

    In pieces of rows that the cache holds: a product of two matrices that are as long as time is a fifth slower.
    """
    total = left.new_zeros(left.shape[-1], right.shape[-1])
    for rows, columns in zip(left.flatten(1, 2), right.flatten(1, 2), strict=True):
        for piece in zip(rows.split(_MOST_ROWS), columns.split(_MOST_ROWS), strict=True):
            total.addmm_(piece[0].T, piece[1])
    return total
