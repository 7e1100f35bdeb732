"""The NeuronIO data set: what a detailed neuron received, and what its soma answered, in shards of many simulations.

A shard is one netCDF4 file (HDF5 underneath) with these variables:

    soma_voltage   float32 [simulation, time]   mV, at integer milliseconds from 0
    event_time     uint16  [event]              ms, input events, simulation after simulation, in time order in each
    event_channel  uint16  [event]              row of the channel table
    event_start    int64   [boundary]           events of simulation i are event_start[i]:event_start[i + 1]
    spike_time     float32 [spike]              ms, output spikes, stored the same ragged way
    spike_start    int64   [boundary]
    segment        int32   [channel]            segment of the cell that the synapse sits on
    region         string  [channel]            basal or apical
    path_distance  float32 [channel]            µm from the soma along the dendrite
    sign           int8    [channel]            +1 excitatory, -1 inhibitory

and the attributes named in `ATTRIBUTES` beside any others. `content_sha256` is the digest of all of them and does not
depend on the version of HDF5; the file as a whole is sealed (sims/sealed.py).

Source: Beniaguev, Segev & London 2021, for the content; the published files hold the same in Python pickles.
"""

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray

from sims import sealed
from sims.mistakes import Mistake

REGIONS = ("basal", "apical")
SKIP_MS = 500  # input rates are still rising: statistics and fits leave this out
CEILING_MV = -55.0  # where the published task cuts the voltage
ATTRIBUTES = {
    "seed": int,
    "first_simulation": int,
    "code_version": str,
    "equations_digest": str,
    "cell": str,
    "backend": str,
    "dt_ms": float,
    "precision": str,
    "generator": str,
}
# What makes simulations samples of one distribution. The backend is not among them: backends solve the same equations.
IDENTITY = ("cell", "dt_ms", "equations_digest", "generator")

_SCHEMA = {
    "soma_voltage": ("float32", ("simulation", "time"), "mV"),
    "event_time": ("uint16", ("event",), "ms"),
    "event_channel": ("uint16", ("event",), ""),
    "event_start": ("int64", ("boundary",), ""),
    "spike_time": ("float32", ("spike",), "ms"),
    "spike_start": ("int64", ("boundary",), ""),
    "segment": ("int32", ("channel",), ""),
    "region": ("string", ("channel",), ""),
    "path_distance": ("float32", ("channel",), "um"),
    "sign": ("int8", ("channel",), ""),
}
_CHANNEL_TABLE = ("segment", "region", "path_distance", "sign")
_FORMAT = "NeuronIO shard 1"
_OWN_ATTRIBUTES = ("format", "content_sha256")


class ShardError(Mistake):
    """A shard that must not be used; its text names the file, what was found and what was expected."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Simulations of one cell; shapes, dtypes and units of the arrays as in the module's table.

    attributes: str -> int, float or str. `generator` holds the settings of the input generator as JSON; `dt_ms` is 0
    where the step was variable.
    """

    soma_voltage: np.ndarray
    event_time: np.ndarray
    event_channel: np.ndarray
    event_start: np.ndarray
    spike_time: np.ndarray
    spike_start: np.ndarray
    segment: np.ndarray
    region: np.ndarray
    path_distance: np.ndarray
    sign: np.ndarray
    attributes: dict = field(default_factory=dict)

    @property
    def simulations(self):
        """Number of simulations."""
        return self.soma_voltage.shape[0]

    @property
    def duration_ms(self):
        """Length of each simulation, ms."""
        return self.soma_voltage.shape[1]

    @property
    def channels(self):
        """Number of input channels."""
        return len(self.sign)

    @property
    def spike_counts(self):
        """Output spikes of each simulation, int64 [simulation]."""
        return np.diff(self.spike_start)

    def events(self, simulation):
        """(time ms, channel) of one simulation's input events, views of the shard's arrays."""
        inside = slice(self.event_start[simulation], self.event_start[simulation + 1])
        return self.event_time[inside], self.event_channel[inside]

    def spikes(self, simulation):
        """Output spike times of one simulation, ms."""
        return self.spike_time[self.spike_start[simulation] : self.spike_start[simulation + 1]]

    def content_sha256(self):
        """Hex digest of all arrays and attributes."""
        digest = hashlib.sha256()
        for name in _SCHEMA:
            array = getattr(self, name)
            if name == "region":
                array = np.frombuffer("\n".join(array.tolist()).encode(), np.uint8)
            digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).data)
        digest.update(json.dumps(_plain(self.attributes), sort_keys=True).encode())
        return digest.hexdigest()


def write(shard, path):
    """Write a shard so that it is there whole or not at all; the same shard gives the same bytes.

    Raises ShardError where the shard breaks the schema, OSError (with the file's name) where the disk refuses.
    """
    _check(shard, path)
    variables = {
        name: (dims, getattr(shard, name), {"units": unit} if unit else {}) for name, (_, dims, unit) in _SCHEMA.items()
    }
    attributes = {**_plain(shard.attributes), "format": _FORMAT, "content_sha256": shard.content_sha256()}
    # zlib 1 costs 0.2 s for 3 million events and saves 60 %; a fill value would declare NaN legal.
    encoding = {name: {"_FillValue": None} for name in _SCHEMA}
    for name in _SCHEMA:
        if name != "region" and getattr(shard, name).size:
            encoding[name] |= {"zlib": True, "complevel": 1, "shuffle": True}
    # In memory first: HDF5 on a full disk fails late and leaves open handles.
    image = xarray.Dataset(variables, attrs=attributes).to_netcdf(engine="h5netcdf", encoding=encoding)
    sealed.write(path, image)


def read(path):
    """Read a shard back.

    Raises ShardError where the file is missing, cut, altered, of another kind, or breaks the schema.
    """
    try:
        image = sealed.read(path)
    except sealed.SealError as error:
        raise ShardError(f"{error}; expected a NeuronIO shard") from error
    try:
        with xarray.open_dataset(io.BytesIO(image), engine="h5netcdf", decode_cf=False) as dataset:
            attributes = _plain(dataset.attrs)
            arrays = {name: dataset[name].values for name in _SCHEMA if name in dataset.variables}
            dims = {name: dataset[name].dims for name in arrays}
    except Exception as error:  # whatever HDF5 and xarray make of a file that is not netCDF
        raise ShardError(
            f"{path}: found a file that does not open as netCDF4 ({error}), expected a NeuronIO shard"
        ) from error
    if attributes.get("format") != _FORMAT:
        raise ShardError(f"{path}: found format {attributes.get('format')!r}, expected {_FORMAT!r}")
    for name, (_, expected, _) in _SCHEMA.items():
        if dims.get(name) != expected:
            raise ShardError(
                f"{path}: {name} has dimensions {dims.get(name, 'none (it is absent)')}, expected {expected}"
            )
    if arrays["region"].dtype == object:
        arrays["region"] = arrays["region"].astype(str)
    shard = Shard(**arrays, attributes={key: value for key, value in attributes.items() if key not in _OWN_ATTRIBUTES})
    _check(shard, path)
    if shard.content_sha256() != attributes.get("content_sha256"):
        raise ShardError(
            f"{path}: the content has sha256 {shard.content_sha256()}, expected {attributes.get('content_sha256')} "
            "from its own attribute (the file was altered)"
        )
    return shard


def read_all(paths):
    """Read shards that are to be used as one set.

    Returns a list of Shards in the order of `paths`.
    Raises ShardError where a shard cannot be used, or where two differ in what they sample (`IDENTITY`, the channel
    table).
    """
    paths = [Path(path) for path in paths]
    shards = [read(path) for path in paths]
    for path, shard in zip(paths[1:], shards[1:], strict=True):
        for key in IDENTITY:
            if shard.attributes[key] != shards[0].attributes[key]:
                raise ShardError(
                    f"{path}: {key} is {_short(shard.attributes[key])} but {paths[0]} has "
                    f"{_short(shards[0].attributes[key])}; expected shards of one set"
                )
        for name in _CHANNEL_TABLE:
            if not np.array_equal(getattr(shard, name), getattr(shards[0], name)):
                raise ShardError(
                    f"{path}: the channel table's {name} differs from that of {paths[0]}; expected shards of one set"
                )
    return shards


def _check(shard, path):
    """Raise ShardError where a shard breaks the schema."""

    def require(holds, name, found, expected):
        if not holds:
            raise ShardError(f"{path}: {name} {found}, expected {expected}")

    sizes = {}
    for name, (dtype, dims, _) in _SCHEMA.items():
        array = getattr(shard, name)
        require(isinstance(array, np.ndarray), name, f"is a {type(array).__name__}", "a numpy array")
        kind = "string" if array.dtype.kind in "UT" else array.dtype.name
        require(kind == dtype, name, f"has dtype {kind}", dtype)
        require(array.ndim == len(dims), name, f"has {array.ndim} dimensions", f"{len(dims)} ({', '.join(dims)})")
        for dim, size in zip(dims, array.shape, strict=True):
            require(
                size == sizes.setdefault(dim, size),
                name,
                f"has {size} entries along {dim}",
                f"{sizes[dim]} as in the variables before",
            )
    for dim in ("simulation", "time", "channel"):
        require(sizes[dim] > 0, f"dimension {dim}", "is empty", "at least one entry")
    require(
        sizes["boundary"] == sizes["simulation"] + 1,
        "event_start",
        f"has {sizes['boundary']} entries",
        f"{sizes['simulation'] + 1}, one more than simulations",
    )

    require(np.isfinite(shard.soma_voltage).all(), "soma_voltage", "holds NaN or infinity", "finite mV")
    for times, starts in (("event_time", "event_start"), ("spike_time", "spike_start")):
        time, start = getattr(shard, times), getattr(shard, starts)
        require(
            start[0] == 0 and start[-1] == len(time),
            starts,
            f"runs from {start[0]} to {start[-1]}",
            f"0 to {len(time)}, the length of {times}",
        )
        require((np.diff(start) >= 0).all(), starts, "is unsorted", "boundaries that never decrease")
        require(
            not len(time) or (time.min() >= 0 and time.max() < sizes["time"]),
            times,
            f"spans {time.min() if len(time) else 0} to {time.max() if len(time) else 0} ms",
            f"0 <= time < {sizes['time']} ms",
        )
        backward = np.flatnonzero(time[1:] < time[:-1]) + 1
        require(np.isin(backward, start).all(), times, "goes backward within a simulation", "time order")
    require(
        not sizes["event"] or shard.event_channel.max() < sizes["channel"],
        "event_channel",
        f"reaches {shard.event_channel.max() if sizes['event'] else 0}",
        f"channels below {sizes['channel']}",
    )
    strange = sorted(set(shard.region.tolist()) - set(REGIONS))
    require(not strange, "region", f"holds {strange[:1]}", " or ".join(REGIONS))
    require(np.isin(shard.sign, (-1, 1)).all(), "sign", f"holds {sorted(set(shard.sign.tolist()))}", "-1 or 1")
    require(
        (shard.path_distance >= 0).all() and np.isfinite(shard.path_distance).all(),
        "path_distance",
        "holds values below 0 or not finite",
        "µm >= 0",
    )
    require((shard.segment >= 0).all(), "segment", "holds values below 0", "segment numbers")

    attributes = _plain(shard.attributes)
    for name, kind in ATTRIBUTES.items():
        value = attributes.get(name)
        fits = isinstance(value, (int, float) if kind is float else kind)
        require(fits, f"attribute {name}", "is missing" if value is None else f"is {value!r}", f"a {kind.__name__}")
    for name, value in attributes.items():
        require(name not in _OWN_ATTRIBUTES, f"attribute {name}", "is given", "that name to be left to the writer")
        require(
            type(value) in (int, float, str),
            f"attribute {name}",
            f"is a {type(value).__name__}",
            "int, float or str (write the rest as JSON)",
        )
        require(
            type(value) is not int or abs(value) < 2**63,
            f"attribute {name}",
            f"is {value}",
            "a 64-bit integer (write larger ones as a string)",
        )


def _plain(attributes):
    """Attributes with numpy's scalars turned into Python's."""
    return {str(key): value.item() if isinstance(value, np.generic) else value for key, value in attributes.items()}


def _short(value):
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
