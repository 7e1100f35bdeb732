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

A pickle is a program, and Python's reader imports, calls and allocates whatever it says. The reader here knows the
instructions for numbers, strings, containers, NumPy's arrays and NumPy's scalars, and no others. It imports and calls
nothing, and takes time and memory in proportion to the file, whatever sizes and repetitions the file declares.
Source: Beniaguev, Segev & London 2021, Neuron 109:2727, and its simulation script.
"""

import json
import mmap
import pickletools
import re
import struct

import numpy as np

from sims import sealed
from sims.mistakes import Mistake
from sims.neuronio import ATTRIBUTES, REGIONS, Shard

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


def read(path, code_version):
    """Read a published file.

    code_version: of this project, for the shard's attributes.
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
        content = _Machine(data).run()
    except _Refused as refused:
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


class _Refused(Exception):
    """A pickle that the machine does not run to its end."""


class _Name:
    """One of NumPy's names that arrays and scalars are made of; it stands for itself."""

    __slots__ = ("name",)
    __match_args__ = ("name",)

    def __init__(self, name):
        self.name = name


class _DType:
    """numpy.dtype of a plain number.  code: such as 'f2'.  numpy: the type itself, in the byte order of the file."""

    __slots__ = ("code", "numpy")

    def __init__(self, code):
        self.code, self.numpy = code, np.dtype("<" + code)


class _Array:
    """numpy.ndarray, not yet decoded.  kind: numpy.dtype or None.  shape: tuple of anything.  raw: bytes or a view."""

    __slots__ = ("kind", "shape", "raw")

    def __init__(self):
        self.kind, self.shape, self.raw = None, (), b""


_NAMES = {
    f"numpy{core}.multiarray {name}": _Name(name) for core in (".core", "._core") for name in ("_reconstruct", "scalar")
} | {
    "numpy ndarray": _Name("ndarray"),
    "numpy dtype": _Name("dtype"),
    # How Python 3 writes the bytes of an array by protocol 2.
    "_codecs encode": _Name("encode"),
    "__builtin__ bytes": _Name("bytes"),
}
_CODES = {kind + size for kind in "iu" for size in "1248"} | {"f2", "f4", "f8", "b1"}
_LARGEST_KEY = 2**31

# Lists of whole numbers are nearly all of a file, written in one of two ways: as integers of one and two bytes, or
# one of NumPy's scalars after another, each a call (name, type, eight bytes) that is memoised.
_INTEGERS = re.compile(rb"((?:K.)*+)((?:M..)*+)e", re.DOTALL)
_SCALARS = re.compile(
    rb"((?:h(.)|j(.{4}))(?:h(.)|j(.{4}))U\x08).{8}\x86Rr.{4}(?:\1.{8}\x86Rr.{4})*+e",
    re.DOTALL,
)
_AFTER_SCALAR = len(b"\x86Rr....")


class _Machine:
    """The pickle machine, down to the instructions that the published files need.

    Strings of Python 2 become bytes, long ones views of the file; as keys they become str. Runs of numbers in a list
    become one array in that list. NumPy's scalars become Python's numbers.
    """

    def __init__(self, data):
        self.data, self.view, self.size = data, memoryview(data), len(data)
        self.at = self.start = 0
        self.stack, self.below, self.memo = [], [], {}
        self.encoded = 0
        self.result = None

    def run(self):
        """Run the file to its end.  Returns what it builds; raises _Refused, which says at which byte it cannot."""
        if self.size >= 2 and self.data[0] == 0x80 and self.data[1] != 2:
            raise _Refused(f"found a pickle of protocol {self.data[1]}, expected 2")
        if self.data[:2] != b"\x80\x02"[: self.size]:
            raise _Refused("found a file that does not start as a pickle of protocol 2")
        self._take(2)
        steps = {code[0]: getattr(self, name) for code, name in _INSTRUCTIONS.items()}
        try:
            while self.result is None:
                self.start = self.at
                if self.at == self.size:
                    self._take(1)
                code = self.data[self.at]
                self.at += 1
                if code not in steps:
                    self._refuse_instruction(code)
                steps[code]()
        except IndexError:
            raise self._refusal("takes a value that was never put there") from None
        if self.at != self.size:
            raise _Refused(f"found {self.size - self.at} bytes after the pickle's end, expected none")
        return self.result[0]

    def _take(self, count):
        if count > self.size - self.at:
            raise _Refused(
                f"found {self.size} bytes, of a pickle that needs {self.at + count} or more (the file was cut short)"
            )
        self.at += count
        return self.data[self.at - count : self.at]

    def _line(self):
        end = self.data.find(b"\n", self.at, self.at + 256)
        if end < 0 and self.size - self.at < 256:
            self._take(256)
        if end < 0:
            raise self._refusal("names something in more than 256 bytes")
        return self._take(end + 1 - self.at)[:-1]

    def _refusal(self, cause):
        return _Refused(f"at byte {self.start} the pickle {cause}; expected plain data (numbers, strings, arrays)")

    def _refuse_instruction(self, code):
        known = pickletools.code2op.get(chr(code))
        if known is None:
            raise self._refusal(f"holds 0x{code:02x}, which is no instruction")
        operands = " on " + " and ".join(map(_describe, self.stack[-2:])) if self.stack else ""
        raise self._refusal(f"holds the instruction {known.name}{operands}")

    def _stop(self):
        if len(self.stack) != 1 or self.below:
            raise self._refusal("ends in the midst of its data")
        self.result = self.stack

    # Numbers and strings

    def _none(self):
        self.stack.append(None)

    def _true(self):
        self.stack.append(True)

    def _false(self):
        self.stack.append(False)

    def _int1(self):
        self.stack.append(self._take(1)[0])

    def _int2(self):
        self.stack.append(int.from_bytes(self._take(2), "little"))

    def _int4(self):
        self.stack.append(int.from_bytes(self._take(4), "little", signed=True))

    def _long(self):
        self.stack.append(int.from_bytes(self._take(self._take(1)[0]), "little", signed=True))

    def _decimal(self):
        """Python 2's integers beyond 32 bits."""
        digits = self._line()
        if not re.fullmatch(rb"-?\d{1,19}", digits):
            raise self._refusal(f"holds the integer {_describe(digits)}")
        self.stack.append(int(digits))

    def _float(self):
        self.stack.append(struct.unpack(">d", self._take(8))[0])

    def _short_string(self):
        self.stack.append(self._take(self._take(1)[0]))

    def _string(self):
        length = int.from_bytes(self._take(4), "little", signed=True)
        if length < 0:
            raise self._refusal(f"holds a string of {length} bytes")
        if length < 256:
            self.stack.append(self._take(length))
        else:
            self._skip(length)
            self.stack.append(self.view[self.at - length : self.at])

    def _unicode(self):
        length = int.from_bytes(self._take(4), "little")
        self._skip(length)
        try:
            self.stack.append(str(self.view[self.at - length : self.at], "utf-8"))
        except UnicodeDecodeError:
            raise self._refusal("holds text that is not UTF-8") from None

    def _skip(self, count):
        """Like `_take`, but without a copy."""
        if count > self.size - self.at:
            self._take(count)
        self.at += count

    # Containers

    def _mark(self):
        if self.stack and type(self.stack[-1]) is list and self._numbers(self.stack[-1]):
            return
        self.below.append(self.stack)
        self.stack = []

    def _since_mark(self):
        values, self.stack = self.stack, self.below.pop()
        return values

    def _empty_dict(self):
        self.stack.append({})

    def _empty_list(self):
        self.stack.append([])

    def _empty_tuple(self):
        self.stack.append(())

    def _append(self):
        value = self.stack.pop()
        self._top(list).append(value)

    def _appends(self):
        values = self._since_mark()
        self._top(list).extend(values)

    def _set_item(self):
        value, key = self.stack.pop(), self.stack.pop()
        self._top(dict)[self._key(key)] = value

    def _set_items(self):
        values = self._since_mark()
        if len(values) % 2:
            raise self._refusal("gives a key without a value")
        self._top(dict).update(zip(map(self._key, values[::2]), values[1::2], strict=True))

    def _top(self, kind):
        if type(self.stack[-1]) is not kind:
            raise self._refusal(f"fills {_describe(self.stack[-1])} as if it were a {kind.__name__}")
        return self.stack[-1]

    def _key(self, key):
        # Other keys can make a dictionary's hashing slow, or too deep for the C stack.
        if type(key) is bytes:
            return key.decode("latin1")
        if type(key) is str or (type(key) is int and abs(key) < _LARGEST_KEY):
            return key
        raise self._refusal(f"uses {_describe(key)} as a key")

    def _tuple(self):
        values = self._since_mark()
        self.stack.append(tuple(values))

    def _tuple1(self):
        self.stack.append((self.stack.pop(),))

    def _tuple2(self):
        second, first = self.stack.pop(), self.stack.pop()
        self.stack.append((first, second))

    def _tuple3(self):
        third, second, first = self.stack.pop(), self.stack.pop(), self.stack.pop()
        self.stack.append((first, second, third))

    def _numbers(self, target):
        """Append the numbers up to the next APPENDS as one array, where they are written in either usual way."""
        if found := _INTEGERS.match(self.data, self.at):
            small, large = (np.frombuffer(self.data, np.uint8, len(found[k]), found.start(k)) for k in (1, 2))
            large = np.ascontiguousarray(large.reshape(-1, 3)[:, 1:]).view("<u2")[:, 0]
            target.append(np.concatenate([small[1::2], large]))
        elif found := _SCALARS.match(self.data, self.at):
            name, kind = (
                self.memo.get(int.from_bytes(found[short] or found[long], "little")) for short, long in ((2, 3), (4, 5))
            )
            if type(name) is not _Name or name.name != "scalar" or type(kind) is not _DType or kind.numpy.itemsize != 8:
                return False
            head = len(found[1])
            rows = np.frombuffer(self.data, np.uint8, found.end() - 1 - self.at, self.at)
            rows = rows.reshape(-1, head + 8 + _AFTER_SCALAR)
            target.append(np.ascontiguousarray(rows[:, head : head + 8]).view(kind.numpy)[:, 0])
        else:
            return False
        self.at = found.end()
        return True

    # References

    def _put1(self):
        self.memo[self._take(1)[0]] = self.stack[-1]

    def _put4(self):
        self.memo[int.from_bytes(self._take(4), "little")] = self.stack[-1]

    def _get1(self):
        self._get(self._take(1)[0])

    def _get4(self):
        self._get(int.from_bytes(self._take(4), "little"))

    def _get(self, index):
        if index not in self.memo:  # also the numbers inside an array made by `_numbers`
            raise self._refusal(f"refers back to value {index}, which is not kept")
        self.stack.append(self.memo[index])

    # NumPy's objects

    def _global(self):
        name = b" ".join((self._line(), self._line())).decode("latin1")
        if name not in _NAMES:
            raise self._refusal(f"asks for the name '{name.replace(' ', '.')}'")
        self.stack.append(_NAMES[name])

    def _reduce(self):
        given, name = self.stack.pop(), self.stack.pop()
        made = self._made(name, given)
        if made is None:
            given = ", ".join(map(_describe, given[:4])) if type(given) is tuple else _describe(given)
            raise self._refusal(f"calls {_describe(name)} with ({given})")
        self.stack.append(made)

    def _made(self, name, given):
        match name, given:
            case _Name("scalar"), (_DType(numpy=kind), bytes(raw)) if len(raw) == kind.itemsize:
                return np.frombuffer(raw, kind)[0].item()
            case _Name("_reconstruct"), (_Name("ndarray"), *_):
                return _Array()
            case _Name("dtype"), (code, *_) if _text(code) in _CODES:
                return _DType(_text(code))
            case _Name("encode"), (str(text), codec) if _text(codec) == "latin1" and _latin1(text):
                self.encoded += len(text)
                if self.encoded > self.size:
                    raise self._refusal("encodes more text than it holds")
                return text.encode("latin1")
            case _Name("bytes"), ():
                return b""

    def _build(self):
        state = self.stack.pop()
        match self.stack[-1], state:
            case _DType() as made, (_, order, None, None, None, *_) if _text(order) in ("<", ">", "=", "|"):
                made.numpy = np.dtype(_text(order) + made.code)
            case _Array() as made, (_, tuple(shape), _DType(numpy=kind), _, bytes() | memoryview() as raw):
                made.kind, made.shape, made.raw = kind, shape, raw
            case made, _:
                raise self._refusal(f"sets the state of {_describe(made)} to {_describe(state)}")


_INSTRUCTIONS = {
    b".": "_stop",
    b"N": "_none",
    b"\x88": "_true",
    b"\x89": "_false",
    b"K": "_int1",
    b"M": "_int2",
    b"J": "_int4",
    b"\x8a": "_long",
    b"I": "_decimal",
    b"G": "_float",
    b"U": "_short_string",
    b"T": "_string",
    b"X": "_unicode",
    b"(": "_mark",
    b"}": "_empty_dict",
    b"]": "_empty_list",
    b")": "_empty_tuple",
    b"a": "_append",
    b"e": "_appends",
    b"s": "_set_item",
    b"u": "_set_items",
    b"t": "_tuple",
    b"\x85": "_tuple1",
    b"\x86": "_tuple2",
    b"\x87": "_tuple3",
    b"q": "_put1",
    b"r": "_put4",
    b"h": "_get1",
    b"j": "_get4",
    b"c": "_global",
    b"R": "_reduce",
    b"b": "_build",
}


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
                f"numSimulations, {_describe(declared)}, and at least one",
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
            soma_voltage=np.array(voltages, np.float32),
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
            self._refuse(where, f"is {_describe(value)}", f"a {kind.__name__}")
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
        found = "is missing" if seconds is None else f"is {_describe(seconds)}"
        self._refuse("Params: totalSimDurationInSec", found, f"whole milliseconds, 0.001 to {LONGEST_MS / 1000} s")

    def _channels(self, params):
        types = [_text(value) for value in _flat(self._entry(params, "allSegmentsType", list, "Params"))]
        strange = [value for value in types if value not in REGIONS]
        if strange or not 0 < len(types) <= 2**15:
            found = f"holds {_describe(strange[0])}" if strange else f"has {len(types)} entries"
            self._refuse("Params: allSegmentsType", found, f"{' or '.join(REGIONS)} for 1 to {2**15} segments")
        where = "Params: allSegments_DistFromSoma"
        distances = _flat(self._entry(params, "allSegments_DistFromSoma", list, "Params"))
        if len(distances) != len(types):
            self._refuse(where, f"has {len(distances)} entries", f"{len(types)}, one a segment")
        for value in distances:
            if type(value) not in (int, float) or not 0 <= value < 1e9:
                self._refuse(where, f"holds {_describe(value)}", "µm >= 0")
        return np.array(types), np.array(distances, np.float32)

    def _attributes(self, params, code_version):
        seed = params.get("randomSeed")
        if type(seed) is not int or abs(seed) >= 2**63:
            self._refuse("Params: randomSeed", f"is {_describe(seed)}", "a 64-bit integer")
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
            origin = json.loads(_text(params[_ORIGIN]) or "")
        except (ValueError, RecursionError):
            origin = None
        fits = type(origin) is dict and all(
            type(value) in (int, float, str) and (type(value) is not int or abs(value) < 2**63)
            for value in origin.values()
        )
        if not fits or not all(
            isinstance(origin.get(name), (int, float) if kind is float else kind) for name, kind in ATTRIBUTES.items()
        ):
            self._refuse(f"Params: {_ORIGIN}", f"is {_describe(params[_ORIGIN])}", "the attributes of a shard, as JSON")
        return origin | {"precision": "float16"}

    def _array(self, simulation, key, where, length=None):
        """The float array [length] under a key, finite."""
        array = self._entry(simulation, key, _Array, where)
        where = f"{where}: {key}"
        shape, kind = array.shape, array.kind
        if kind is None or kind.kind != "f":
            self._refuse(where, f"is {_describe(array)}", "an array of floating-point numbers")
        if len(shape) != 1 or type(shape[0]) is not int or length not in (None, shape[0]):
            self._refuse(where, f"is {_describe(array)}", f"one dimension{f' of {length} values' if length else ''}")
        if len(array.raw) != shape[0] * kind.itemsize:
            self._refuse(
                where, f"is {_describe(array)} but has {len(array.raw)} bytes", f"{kind.itemsize} bytes a value"
            )
        self._use(len(array.raw), where)
        values = np.frombuffer(array.raw, kind)
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
                    self._refuse(f"{where}: {key}", f"holds the segment {_describe(segment)}", f"0 to {n - 1}")
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
                self._refuse(where, f"holds {_describe(strange[0])}", "whole milliseconds")
            numbers = np.array(numbers, np.int64)
        if numbers.dtype.kind not in "iu":
            self._refuse(where, f"holds values of type {numbers.dtype}", "whole milliseconds")
        self._use(len(numbers), where)
        return numbers.astype(np.int64)

    def _spikes(self, simulation, where, duration):
        """float32 [spike], ms, of a simulation's output."""
        times = self._array(simulation, "outputSpikeTimes", where).astype(np.float32)
        where = f"{where}: outputSpikeTimes"
        last = max(np.float32(duration), np.float32(np.float16(duration)))
        if len(times) and not (times.min() >= 0 and times.max() <= last):
            self._refuse(where, f"spans {times.min()} to {times.max()} ms", f"0 <= time < {duration} ms")
        if (times[1:] < times[:-1]).any():
            self._refuse(where, "goes backward", "time order")
        return np.minimum(times, np.nextafter(np.float32(duration), np.float32(0)))


def _train_name(where, channel, n):
    return f"{where}: {'exInputSpikeTimes' if channel < n else 'inhInputSpikeTimes'} of segment {channel % n}"


def _describe(value):
    """What a value is, in a few words; containers by their size, since they may hold themselves."""
    if type(value) in (list, dict, tuple):
        return f"a {type(value).__name__} of {len(value)} entries"
    if type(value) is _Array:
        return f"an array of {value.kind} with shape ({', '.join(map(_describe, value.shape[:4]))})"
    if type(value) is _DType:
        return f"a dtype {value.code}"
    if type(value) is _Name:
        return value.name
    if isinstance(value, (np.ndarray, memoryview)):
        return f"{len(value)} values"
    text = repr(value[:60] if type(value) in (str, bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def _some_keys(mapping):
    names = [_describe(key) for key in list(mapping)[:6]]
    return ", ".join(names) + (", …" if len(mapping) > 6 else "") if names else "none"


def _text(value):
    """str of a string of either Python, else None."""
    if type(value) in (bytes, memoryview):
        return str(value, "latin1")
    return value if type(value) is str else None


def _latin1(text):
    return text.isascii() or max(text) <= "\xff"


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
    return _text(value)


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
