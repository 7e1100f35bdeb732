"""The published files of NeuronIO: Python 2 pickles, read without executing anything, written for their own loaders.

A file is one dictionary, pickled by protocol 2; with n segments and T ms:

    Params   randomSeed, numSimulations, totalSimDurationInSec, allSegmentsType ('basal' or 'apical') [n],
             allSegments_DistFromSoma, µm [n], the generator's ranges, totals
    Results  listOfSingleSimulationDicts, each with
        exInputSpikeTimes, inhInputSpikeTimes   {segment: [ms, …]}, whole numbers; segments without events may be absent
        outputSpikeTimes                        float16 [spike], ms
        somaVoltageLowRes, nexusVoltageLowRes   float16 [T], mV at whole milliseconds; recordingTimeLowRes float32 [T]
        somaVoltageHighRes, nexusVoltageHighRes float16 [8 T]; recordingTimeHighRes float32 [8 T]
        dendriticVoltagesLowRes                 float16 [n, T], in some files

float16 holds a voltage to 0.03 to 0.06 mV, and a time above 1024 ms to 1 ms, above 2048 to 2 ms, above 4096 to 4 ms.

sims/plain_pickles.py reads them without importing or calling anything.
Source: Beniaguev, Segev & London 2021, Neuron 109:2727, and its simulation script.
"""

import json
import mmap
import struct

import numpy as np

from sims import sealed
from sims.mistakes import Mistake
from sims.neuronio import ATTRIBUTES, REGIONS, Shard
from sims.plain_pickles import Machine, PickledArray, Refused, describe, text_of

LONGEST_MS = 65_535  # event times are uint16
# What the published files keep of the generator's settings.
GENERATOR = (
    "excitatorySynapseType",
    "inhibitorySynapseType",
    "useActiveDendrites",
    "Ih_vshift",
    "inst_rate_sampling_time_interval_options_ms",
    "inst_rate_sampling_time_interval_jitter_range",
    "temporal_inst_rate_smoothing_sigma_options_ms",
    "temporal_inst_rate_smoothing_sigma_jitter_range",
    "num_bas_ex_spikes_per_100ms_range",
    "num_bas_ex_inh_spike_diff_per_100ms_range",
    "num_apic_ex_spikes_per_100ms_range",
    "num_apic_ex_inh_spike_diff_per_100ms_range",
)

# Where an exported shard came from, as JSON; absent from the original files.
_ORIGIN = "shardAttributes"
_TREES = {"basal": "bas", "apical": "apic"}


class PublishedFileError(Mistake):
    """A pickle that must not be used, or cannot be written; its text names the file, what was found and expected."""


def read(path, code_version, progress=None):
    """Read a published file.

    code_version: of this project, for the attributes.  progress: called with the bytes read since its last call.
    Returns a Shard: voltages and spike times at the file's float16 resolution, events by time and then channel;
    excitation of segment k is channel k, its inhibition channel n + k. A spike that float16 rounded up to the end of
    the simulation lies just before it. Files that `write` made keep the attributes of the shard that they were made of.
    Raises PublishedFileError where the file is missing, cut or damaged, asks for anything but plain data, or holds what
    a simulation cannot.
    """
    try:
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError:  # an empty file cannot be mapped
        data = b""
    except OSError as error:
        raise PublishedFileError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        content = Machine(data, progress).run()
    except Refused as refused:
        raise PublishedFileError(f"{path}: {refused}") from None
    return _Reader(path, len(data)).shard(content, code_version)


def write(shard, path, nexus=None):
    """Write a shard as a published file, whole or not at all.

    nexus: optional [simulation, ms], mV.
    Voltages and spike times are rounded to float16, events are exact. A shard holds one sample a millisecond, so that
    somaVoltageHighRes, nexusVoltageHighRes, recordingTimeHighRes and, without `nexus`, nexusVoltageLowRes are empty
    arrays; what it does not know of the cell (lengths, sections) is left out of Params. The names of NumPy's functions
    are those that every version of NumPy can resolve, and all strings but non-ASCII ones are Python 2's.
    Raises PublishedFileError where the format cannot hold the shard, OSError (with the file's name) where the disk
    refuses.
    """
    n = _segments(shard, path)
    if shard.duration_ms % 1000:
        raise PublishedFileError(
            f"{path}: simulations of {shard.duration_ms} ms, expected whole seconds (the format counts in them)"
        )
    voltages = _float16(shard.soma_voltage, "soma_voltage", path)
    if nexus is None:
        nexus = np.empty((shard.simulations, 0))
    elif np.shape(nexus) != shard.soma_voltage.shape:
        raise PublishedFileError(f"{path}: nexus has the shape {np.shape(nexus)}, expected {shard.soma_voltage.shape}")
    nexus, none = _float16(nexus, "nexus", path), np.empty(0, np.float16)
    simulations = []
    for simulation in range(shard.simulations):
        time, channel = shard.events(simulation)
        spikes = shard.spikes(simulation).astype(np.float16)
        # Loaders index an array of `duration_ms` bins with int(time - 0.5).
        beyond = spikes >= np.float32(shard.duration_ms + 0.5)
        simulations.append(
            {
                "recordingTimeHighRes": np.empty(0, np.float32),
                "somaVoltageHighRes": none,
                "nexusVoltageHighRes": none,
                "recordingTimeLowRes": np.arange(shard.duration_ms, dtype=np.float32),
                "somaVoltageLowRes": voltages[simulation],
                "nexusVoltageLowRes": nexus[simulation],
                "exInputSpikeTimes": _pickled_events(time, channel, np.arange(n)),
                "inhInputSpikeTimes": _pickled_events(time, channel, np.arange(n, 2 * n)),
                "outputSpikeTimes": np.where(beyond, np.nextafter(spikes, np.float16(0)), spikes),
            }
        )
    content = {"Params": _params(shard, n), "Results": {"listOfSingleSimulationDicts": simulations}}
    sealed.replace(path, b"\x80\x02" + _pickled(content) + b".")


class _Reader:
    """From what a file holds to a shard, checked on the way."""

    def __init__(self, path, size):
        # One thing may be referred to many times: what is used, repetitions included, must fit into the file.
        self.path, self.size, self.unused = path, size, size

    def shard(self, content, code_version):
        params = self._entry(self._is(content, dict, "the pickle"), "Params", dict, "the pickle")
        results = self._entry(content, "Results", dict, "the pickle")
        simulations = self._entry(results, "listOfSingleSimulationDicts", list, "Results")
        duration = self._duration(params)
        declared = params.get("numSimulations", len(simulations))
        if not simulations or type(declared) is not int or declared != len(simulations):
            self._refuse(
                "listOfSingleSimulationDicts",
                f"has {len(simulations)} entries",
                f"numSimulations, {describe(declared)}, and at least one",
            )
        region, path_distance = self._channels(params)
        attributes = self._attributes(params, code_version)
        voltages, events, spikes = [], [], []
        for number, simulation in enumerate(simulations):
            where = f"simulation {number}"
            self._is(simulation, dict, where)
            time = self._array(simulation, "recordingTimeLowRes", where, duration)
            if not np.array_equal(time, np.arange(duration)):
                self._refuse(f"{where}: recordingTimeLowRes", "holds other times", f"0, 1, … {duration - 1} ms")
            voltages.append(self._array(simulation, "somaVoltageLowRes", where, duration))
            events.append(self._events(simulation, where, len(region), duration))
            spikes.append(self._spikes(simulation, where, duration))
        n = len(region)
        return Shard(
            soma_voltage=np.array(voltages),
            event_time=np.concatenate([time for time, _ in events]),
            event_channel=np.concatenate([channel for _, channel in events]),
            event_start=_starts([len(time) for time, _ in events]),
            spike_time=np.concatenate(spikes),
            spike_start=_starts([len(times) for times in spikes]),
            segment=np.tile(np.arange(n, dtype=np.int32), 2),
            region=np.tile(region, 2),
            path_distance=np.tile(path_distance, 2),
            sign=np.repeat(np.array([1, -1], np.int8), n),
            attributes=attributes,
        )

    def _refuse(self, where, found, expected):
        raise PublishedFileError(f"{self.path}: {where} {found}, expected {expected}")

    def _is(self, value, kind, where):
        if type(value) is not kind:
            self._refuse(where, f"is {describe(value)}", f"a {kind.__name__}")
        return value

    def _entry(self, mapping, key, kind, where):
        if key not in mapping:
            self._refuse(where, f"has no '{key}'", f"the keys of a published file (it has {_some_keys(mapping)})")
        return self._is(mapping[key], kind, f"{where}: {key}")

    def _use(self, amount, where):
        self.unused -= amount
        if self.unused < 0:
            self._refuse(where, f"refers to more data than the file's {self.size} bytes hold", "data of its own")

    def _duration(self, params):
        seconds = params.get("totalSimDurationInSec")
        if type(seconds) in (int, float) and 0 < seconds <= LONGEST_MS and float(seconds * 1000).is_integer():
            milliseconds = int(seconds * 1000)
            if milliseconds <= LONGEST_MS:
                return milliseconds
        found = "is missing" if seconds is None else f"is {describe(seconds)}"
        self._refuse("Params: totalSimDurationInSec", found, f"whole milliseconds, 0.001 to {LONGEST_MS / 1000} s")

    def _channels(self, params):
        types = [text_of(value) for value in _flat(self._entry(params, "allSegmentsType", list, "Params"))]
        strange = [value for value in types if value not in REGIONS]
        if strange or not 0 < len(types) <= 2**15:
            found = f"holds {describe(strange[0])}" if strange else f"has {len(types)} entries"
            self._refuse("Params: allSegmentsType", found, f"{' or '.join(REGIONS)} for 1 to {2**15} segments")
        where = "Params: allSegments_DistFromSoma"
        distances = _flat(self._entry(params, "allSegments_DistFromSoma", list, "Params"))
        if len(distances) != len(types):
            self._refuse(where, f"has {len(distances)} entries", f"{len(types)}, one a segment")
        for value in distances:
            if type(value) not in (int, float) or not 0 <= value < 1e9:
                self._refuse(where, f"holds {describe(value)}", "µm >= 0")
        return np.array(types), np.array(distances, np.float32)

    def _attributes(self, params, code_version):
        seed = params.get("randomSeed")
        if type(seed) is not int or abs(seed) >= 2**63:
            self._refuse("Params: randomSeed", f"is {describe(seed)}", "a 64-bit integer")
        card = {name: _plain(params[name]) for name in GENERATOR if name in params}
        attributes = {
            "seed": seed,
            "first_simulation": 0,
            "code_version": code_version,
            "equations_digest": "published",
            "cell": "cell1",
            "backend": "published",
            "dt_ms": 0.0,
            "precision": "float16",
            "generator": json.dumps({name: value for name, value in card.items() if value is not None}, sort_keys=True),
        }
        return attributes | self._origin(params) if _ORIGIN in params else attributes

    def _origin(self, params):
        try:
            origin = json.loads(text_of(params[_ORIGIN]) or "")
        except (ValueError, RecursionError):
            origin = None
        fits = type(origin) is dict and all(
            type(value) in (int, float, str) and (type(value) is not int or abs(value) < 2**63)
            for value in origin.values()
        )
        if not fits or not all(
            isinstance(origin.get(name), (int, float) if kind is float else kind) for name, kind in ATTRIBUTES.items()
        ):
            self._refuse(f"Params: {_ORIGIN}", f"is {describe(params[_ORIGIN])}", "the attributes of a shard, as JSON")
        return origin | {"precision": "float16"}

    def _array(self, simulation, key, where, length=None):
        """The float array [length] under a key, finite, as float32."""
        array = self._entry(simulation, key, PickledArray, where)
        where = f"{where}: {key}"
        shape, kind = array.shape, array.kind
        if kind is None or kind.kind != "f":
            self._refuse(where, f"is {describe(array)}", "an array of floating-point numbers")
        if len(shape) != 1 or type(shape[0]) is not int or length not in (None, shape[0]):
            self._refuse(where, f"is {describe(array)}", f"one dimension{f' of {length} values' if length else ''}")
        if len(array.raw) != shape[0] * kind.itemsize:
            self._refuse(
                where, f"is {describe(array)} but has {len(array.raw)} bytes", f"{kind.itemsize} bytes a value"
            )
        self._use(len(array.raw), where)
        with np.errstate(over="ignore"):
            values = np.frombuffer(array.raw, kind).astype(np.float32)
        if not np.isfinite(values).all():
            self._refuse(where, "holds NaN or infinity", "finite numbers")
        return values

    def _events(self, simulation, where, n, duration):
        """(time uint16, channel uint16) of a simulation's events, by time and then channel."""
        times, lengths, channels = [np.empty(0, np.int64)], [], []
        for key, first in (("exInputSpikeTimes", 0), ("inhInputSpikeTimes", n)):
            trains = self._entry(simulation, key, dict, where)
            self._use(len(trains), f"{where}: {key}")
            for segment, train in trains.items():
                if type(segment) is not int or not 0 <= segment < n:
                    self._refuse(f"{where}: {key}", f"holds the segment {describe(segment)}", f"0 to {n - 1}")
                train = self._train(train, f"{where}: {key} of segment {segment}")
                times.append(train)
                lengths.append(len(train))
                channels.append(first + segment)
        time, channel = np.concatenate(times), np.repeat(np.array(channels, np.int64), lengths)
        outside = (time < 0) | (time >= duration)
        if outside.any():
            found, on = time[outside][0], channel[outside][0]
            self._refuse(_train_name(where, on, n), f"holds {found} ms", f"0 <= time < {duration} ms")
        backward = (time[1:] < time[:-1]) & (channel[1:] == channel[:-1])
        if backward.any():
            self._refuse(_train_name(where, channel[1:][backward][0], n), "goes backward", "time order")
        time, channel = np.divmod(np.sort(time * (2 * n) + channel), 2 * n)
        return time.astype(np.uint16), channel.astype(np.uint16)

    def _train(self, train, where):
        """int64 [event] from a list of whole numbers."""
        self._is(train, list, where)
        if len(train) == 1 and type(train[0]) is np.ndarray:
            numbers = train[0]
        else:
            numbers = _flat(train)
            strange = [value for value in numbers if type(value) is not int or abs(value) >= 2**63]
            if strange:
                self._refuse(where, f"holds {describe(strange[0])}", "whole milliseconds")
            numbers = np.array(numbers, np.int64)
        if numbers.dtype.kind not in "iu":
            self._refuse(where, f"holds values of type {numbers.dtype}", "whole milliseconds")
        self._use(len(numbers), where)
        return numbers.astype(np.int64)

    def _spikes(self, simulation, where, duration):
        """float32 [spike], ms, of a simulation's output."""
        times = self._array(simulation, "outputSpikeTimes", where)
        where = f"{where}: outputSpikeTimes"
        last = max(np.float32(duration), np.float32(np.float16(duration)))
        if len(times) and not (times.min() >= 0 and times.max() <= last):
            self._refuse(where, f"spans {times.min()} to {times.max()} ms", f"0 <= time < {duration} ms")
        if (times[1:] < times[:-1]).any():
            self._refuse(where, "goes backward", "time order")
        return np.minimum(times, np.nextafter(np.float32(duration), np.float32(0)))


def _train_name(where, channel, n):
    return f"{where}: {'exInputSpikeTimes' if channel < n else 'inhInputSpikeTimes'} of segment {channel % n}"


def _some_keys(mapping):
    names = [describe(key) for key in list(mapping)[:6]]
    return ", ".join(names) + (", …" if len(mapping) > 6 else "") if names else "none"


def _flat(values):
    """A list without the arrays that stand for runs of its numbers."""
    return [number for value in values for number in (value.tolist() if type(value) is np.ndarray else (value,))]


def _plain(value):
    """A setting of the generator as JSON can hold it, or None."""
    if type(value) in (bool, int, float):
        return value
    if type(value) is list and len(value) <= 1000:
        numbers = _flat(value)
        return numbers if all(type(number) in (bool, int, float) for number in numbers) else None
    return text_of(value)


def _starts(lengths):
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _segments(shard, path):
    """Number of segments of a shard that has one excitatory and then one inhibitory channel for each."""
    n = shard.channels // 2
    halves = (shard.region, shard.path_distance)
    if not (
        np.array_equal(shard.sign, np.repeat([1, -1], n))
        and np.array_equal(shard.segment, np.tile(np.arange(n), 2))
        and all(np.array_equal(half[:n], half[n:]) for half in halves)
    ):
        raise PublishedFileError(
            f"{path}: the shard's channels are arranged differently, expected the excitatory ones of all segments and "
            "then the inhibitory ones"
        )
    return n


def _float16(values, name, path):
    with np.errstate(over="ignore"):
        rounded = np.asarray(values).astype(np.float16)
    if not np.isfinite(rounded).all():
        raise PublishedFileError(f"{path}: {name} reaches {np.abs(values).max():g} mV, expected what float16 can hold")
    return rounded


def _params(shard, n):
    """The published parameters, as far as a shard knows them."""
    seconds = shard.duration_ms // 1000
    intervals = np.concatenate([np.diff(shard.spikes(simulation)) for simulation in range(shard.simulations)])
    params = {
        "randomSeed": int(shard.attributes["seed"]),
        "numSimulations": shard.simulations,
        "totalSimDurationInSec": seconds,
        "collectAndSaveDVTs": False,
        **_published_generator(shard.attributes["generator"]),
        "allSegmentsType": shard.region[:n].tolist(),
        "allSegments_DistFromSoma": shard.path_distance[:n].tolist(),
        "ISICV": float(intervals.std() / intervals.mean()) if len(intervals) else float("nan"),
        "listOfISIs": intervals.tolist(),
        "numOutputSpikesPerSim": shard.spike_counts.tolist(),
        "totalNumOutputSpikes": len(shard.spike_time),
        "totalNumSimulationSeconds": seconds * shard.simulations,
        "averageOutputFrequency": len(shard.spike_time) / (seconds * shard.simulations),
    }
    if shard.attributes["backend"] != "published":
        params[_ORIGIN] = json.dumps(
            {
                name: value.item() if isinstance(value, np.generic) else value
                for name, value in shard.attributes.items()
            },
            sort_keys=True,
        )
    return params


def _published_generator(card):
    """The generator's settings under their published names, from a shard's JSON; {} where it says nothing of them."""
    try:
        card = json.loads(card)
    except ValueError:
        return {}
    if type(card) is not dict:
        return {}
    found = {name: card[name] for name in GENERATOR if name in card}
    if "hold_ms" in card:
        found["inst_rate_sampling_time_interval_options_ms"] = card["hold_ms"]
    if "smoothing_ms" in card:
        found["temporal_inst_rate_smoothing_sigma_options_ms"] = card["smoothing_ms"]
    for tree, drives in card.get("drives_Hz", {}).items():
        # Hz of a whole tree, where the published ranges are spikes in 100 ms.
        for kind, name in (("excitation", "ex_spikes"), ("inhibition", "ex_inh_spike_diff")):
            found[f"num_{_TREES[tree]}_{name}_per_100ms_range"] = [rate / 10 for rate in drives[kind]]
    return found


def _pickled(value):
    """The instructions that build a value by protocol 2; bytes are instructions already."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        return b"}(" + b"".join(_pickled(part) for item in value.items() for part in item) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_pickled, value)) + b"e"
    if isinstance(value, np.ndarray):
        return _pickled_array(value)
    if isinstance(value, str):
        return _pickled_string(value.encode()) if value.isascii() else b"X" + _length(value.encode())
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return b"J" + struct.pack("<i", value)
        return b"\x8a\x08" + struct.pack("<q", value)
    return b"G" + struct.pack(">d", value)


def _pickled_string(raw):
    return b"U" + bytes([len(raw)]) + raw if len(raw) < 256 else b"T" + _length(raw)


def _length(raw):
    return struct.pack("<i", len(raw)) + raw


def _pickled_array(values):
    little = values.astype(values.dtype.newbyteorder("<"))
    kind = _pickled_string(f"{little.dtype.kind}{little.dtype.itemsize}".encode())
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    dtype = b"cnumpy\ndtype\n" + kind + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    state = b"(K\x01" + _pickled(len(little)) + b"\x85" + dtype + b"\x89" + _pickled_string(little.tobytes()) + b"tb"
    return empty + state


def _pickled_events(time, channel, channels):
    """{segment: [ms, …]} for a range of channels, all of them present."""
    order = np.argsort(channel, kind="stable")
    instructions = np.empty((len(time), 3), np.uint8)
    instructions[:, 0] = ord("M")
    instructions[:, 1:] = time[order].astype("<u2")[:, None].view(np.uint8)
    bounds = np.searchsorted(channel[order], np.append(channels, channels[-1] + 1))
    pieces = [
        b"M" + struct.pack("<H", segment) + b"](" + instructions[first:last].tobytes() + b"e"
        for segment, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True))
    ]
    return b"}(" + b"".join(pieces) + b"u"
