"""Python 2's pickles of plain data, read without executing anything.

A pickle is a program, and Python's reader imports, calls and allocates whatever it says. The reader here knows the
instructions for numbers, strings, containers, NumPy's arrays and NumPy's scalars, and no others. It imports and calls
nothing, and takes time and memory in proportion to the file, whatever sizes and repetitions the file declares.
"""

import pickletools
import re
import struct

import numpy as np


class Refused(Exception):
    """A pickle that the machine does not run to its end."""


class Name:
    """One of NumPy's names that arrays and scalars are made of; it stands for itself."""

    __slots__ = ("name",)
    __match_args__ = ("name",)

    def __init__(self, name):
        self.name = name


class DType:
    """numpy.dtype of a plain number.  code: such as 'f2'.  numpy: the type itself, in the byte order of the file."""

    __slots__ = ("code", "numpy")

    def __init__(self, code):
        self.code, self.numpy = code, np.dtype("<" + code)


class PickledArray:
    """numpy.ndarray, not yet decoded.  kind: numpy.dtype or None.  shape: tuple of anything.  raw: bytes or a view."""

    __slots__ = ("kind", "shape", "raw")

    def __init__(self):
        self.kind, self.shape, self.raw = None, (), b""


_NAMES = {
    f"numpy{core}.multiarray {name}": Name(name) for core in (".core", "._core") for name in ("_reconstruct", "scalar")
} | {
    "numpy ndarray": Name("ndarray"),
    "numpy dtype": Name("dtype"),
    # How Python 3 writes the bytes of an array by protocol 2.
    "_codecs encode": Name("encode"),
    "__builtin__ bytes": Name("bytes"),
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


class Machine:
    """The pickle machine, down to the instructions that the published files need.

    Strings of Python 2 become bytes, long ones views of the file; as keys they become str. Runs of numbers in a list
    become one array in that list. NumPy's scalars become Python's numbers.
    """

    def __init__(self, data, progress=None):
        self.progress, self.reported = progress, 0
        self.data, self.view, self.size = data, memoryview(data), len(data)
        self.at = self.start = 0
        self.stack, self.below, self.memo = [], [], {}
        self.encoded = 0
        self.result = None

    def run(self):
        """Run the file to its end.  Returns what it builds; raises Refused, which says at which byte it cannot."""
        if self.size >= 2 and self.data[0] == 0x80 and self.data[1] != 2:
            raise Refused(f"found a pickle of protocol {self.data[1]}, expected 2")
        if self.data[:2] != b"\x80\x02"[: self.size]:
            raise Refused("found another kind of file, expected a pickle of protocol 2")
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
            raise Refused(f"found {self.size - self.at} bytes after the pickle's end, expected none")
        return self.result[0]

    def _take(self, count):
        if count > self.size - self.at:
            raise Refused(f"found {self.size} bytes, expected {self.at + count} or more (the file was cut short)")
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
        return Refused(f"at byte {self.start} the pickle {cause}; expected plain data (numbers, strings, arrays)")

    def _refuse_instruction(self, code):
        known = pickletools.code2op.get(chr(code))
        if known is None:
            raise self._refusal(f"holds 0x{code:02x}, which is no instruction")
        operands = " on " + " and ".join(map(describe, self.stack[-2:])) if self.stack else ""
        raise self._refusal(f"holds the instruction {known.name}{operands}")

    def _stop(self):
        if len(self.stack) != 1 or self.below:
            raise self._refusal("ends in the midst of its data")
        self._report()
        self.result = self.stack

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
            raise self._refusal(f"holds the integer {describe(digits)}")
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
        self._report()

    def _report(self):
        if self.progress:
            self.progress(self.at - self.reported)
            self.reported = self.at

    def _top(self, kind):
        if type(self.stack[-1]) is not kind:
            raise self._refusal(f"fills {describe(self.stack[-1])} as if it were a {kind.__name__}")
        return self.stack[-1]

    def _key(self, key):
        # Other keys can make a dictionary's hashing slow, or too deep for the C stack.
        if type(key) is bytes:
            return key.decode("latin1")
        if type(key) is str or (type(key) is int and abs(key) < _LARGEST_KEY):
            return key
        raise self._refusal(f"uses {describe(key)} as a key")

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
            if type(name) is not Name or name.name != "scalar" or type(kind) is not DType or kind.numpy.itemsize != 8:
                return False
            head = len(found[1])
            rows = np.frombuffer(self.data, np.uint8, found.end() - 1 - self.at, self.at)
            rows = rows.reshape(-1, head + 8 + _AFTER_SCALAR)
            target.append(np.ascontiguousarray(rows[:, head : head + 8]).view(kind.numpy)[:, 0])
        else:
            return False
        self.at = found.end()
        return True

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

    def _global(self):
        name = b" ".join((self._line(), self._line())).decode("latin1")
        if name not in _NAMES:
            raise self._refusal(f"asks for the name '{name.replace(' ', '.')}'")
        self.stack.append(_NAMES[name])

    def _reduce(self):
        given, name = self.stack.pop(), self.stack.pop()
        made = self._made(name, given)
        if made is None:
            given = ", ".join(map(describe, given[:4])) if type(given) is tuple else describe(given)
            raise self._refusal(f"calls {describe(name)} with ({given})")
        self.stack.append(made)

    def _made(self, name, given):
        match name, given:
            case Name("scalar"), (DType(numpy=kind), bytes(raw)) if len(raw) == kind.itemsize:
                return np.frombuffer(raw, kind)[0].item()
            case Name("_reconstruct"), (Name("ndarray"), *_):
                return PickledArray()
            case Name("dtype"), (code, *_) if text_of(code) in _CODES:
                return DType(text_of(code))
            case Name("encode"), (str(text), codec) if text_of(codec) == "latin1":
                self.encoded += len(text)
                if self.encoded > self.size:
                    raise self._refusal("encodes more text than it holds")
                return _latin1(text)
            case Name("bytes"), ():
                return b""

    def _build(self):
        state = self.stack.pop()
        match self.stack[-1], state:
            case DType() as made, (_, order, None, None, None, *_) if text_of(order) in ("<", ">", "=", "|"):
                made.numpy = np.dtype(text_of(order) + made.code)
            case PickledArray() as made, (_, tuple(shape), DType(numpy=kind), _, bytes() | memoryview() as raw):
                made.kind, made.shape, made.raw = kind, shape, raw
            case made, _:
                raise self._refusal(f"sets the state of {describe(made)} to {describe(state)}")


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


def describe(value):
    """What a value is, in a few words; containers by their size, since they may hold themselves."""
    if type(value) in (list, dict, tuple):
        return f"a {type(value).__name__} of {len(value)} entries"
    if type(value) is PickledArray:
        return f"an array of {value.kind} with shape ({', '.join(map(describe, value.shape[:4]))})"
    if type(value) is DType:
        return f"a dtype {value.code}"
    if type(value) is Name:
        return value.name
    if isinstance(value, (np.ndarray, memoryview)):
        return f"{len(value)} values"
    text = repr(value[:60] if type(value) in (str, bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."


def text_of(value):
    """str of a string of either Python, else None."""
    if type(value) in (bytes, memoryview):
        return str(value, "latin1")
    return value if type(value) is str else None


def _latin1(text):
    try:
        return text.encode("latin1")
    except UnicodeEncodeError:
        return None
