"""ListOps: nested operations on digits, written out; their value is a digit too.

A tree is drawn from its root: a node is an operator with probability 1/4 while its depth is below `max_depth` (the
root's is 1), else a digit; an operator has 2 to 10 arguments, which are nodes. Its operation is MIN, MAX, MED (the
median, rounded down) or SM (the sum modulo 10). Written out, `[MAX` and `]` count one token each; a tree is kept where
its length lies strictly between two bounds, and no tree is twice in a file.

    [MAX 4 [MED 1 7 3 2 ] 0 ]   →   4          (the median of 1, 2, 3, 7 is 2.5, which is 2)

Trees depend on the seed and on their number alone, but for repetitions, which are drawn again.

Sources: Nangia & Bowman 2018 (arXiv 1804.06028); Tay et al. 2021 (arXiv 2011.04006), whose files `write` follows: a
table with the columns Source and Target, a tab between them.
"""

import io
from dataclasses import dataclass

import numpy as np

from sims import sealed
from sims.mistakes import Mistake
from sims.streams import stream

OPERATORS = ("[MIN", "[MAX", "[MED", "[SM")
END = "]"
# All tokens: the digits, which are their own numbers, then the operators and the end of a list.
TOKENS = (*map(str, range(10)), *OPERATORS, END)
_NUMBERS = {token: number for number, token in enumerate(TOKENS)}
_FIRST_OPERATOR, _END = _NUMBERS[OPERATORS[0]], _NUMBERS[END]
_OPERATOR_PROBABILITY, _FEWEST, _MOST = 0.25, 2, 10
_HEADER = "Source\tTarget"


class ListError(Mistake):
    """Trees that cannot be drawn, or a file of them that cannot be used."""


@dataclass(frozen=True)
class Grammar:
    """Which trees are kept: of more than `longer_than` and fewer than `shorter_than` tokens. max_depth: see module."""

    max_depth: int = 10
    longer_than: int = 500
    shorter_than: int = 2000

    def __post_init__(self):
        if self.max_depth < 2:
            raise ListError(f"max_depth: found {self.max_depth}, expected at least 2, so that there are lists")
        if self.longer_than < 3:
            raise ListError(f"longer_than: found {self.longer_than}, expected at least 3, so that there are choices")
        if self.shorter_than < self.longer_than + 2:
            raise ListError(
                f"shorter_than: found {self.shorter_than}, expected more than {self.longer_than + 1}, so that "
                "there are lengths in between"
            )


# The Long Range Arena's, and one for short runs.
GRAMMARS = {"published": Grammar(), "small": Grammar(max_depth=5, longer_than=50, shorter_than=200)}


def find(name):
    """The grammar of a name; raises ListError where there is none."""
    if name not in GRAMMARS:
        raise ListError(f"--grammar: found {name!r}, expected one of: {', '.join(GRAMMARS)}")
    return GRAMMARS[name]


def draw(grammar, seed, index, attempt=0):
    """One tree as uint8 numbers of TOKENS, and its value."""
    random = stream(seed, "listops", index, attempt)
    while True:
        if (tree := _grow(grammar, random)) is not None:
            return np.array(tree, np.uint8), value(tree)


def _grow(grammar, random):
    """A tree as a list of token numbers, None where it is not to be kept."""
    tokens, open_lists = [], []  # of every open list: how many arguments are to come
    draws = iter(())
    while True:
        try:
            kind, token, arguments = next(draws)
        except StopIteration:
            draws = zip(
                (random.random(64) < _OPERATOR_PROBABILITY).tolist(),
                random.integers(20, size=64).tolist(),  # a multiple of digits and of operators
                random.integers(_FEWEST, _MOST + 1, size=64).tolist(),
                strict=True,
            )
            continue
        if kind and len(open_lists) < grammar.max_depth - 1:
            tokens.append(_FIRST_OPERATOR + token % len(OPERATORS))
            open_lists.append(arguments)
        elif not open_lists:
            return None  # a single digit
        else:
            tokens.append(token % 10)
            open_lists[-1] -= 1
        while open_lists and not open_lists[-1]:
            tokens.append(_END)
            open_lists.pop()
            if open_lists:
                open_lists[-1] -= 1
        if len(tokens) + len(open_lists) >= grammar.shorter_than:
            return None
        if not open_lists:
            return tokens if len(tokens) > grammar.longer_than else None


def value(tokens):
    """The value of a tree given as numbers of TOKENS; raises ListError where they are not one whole tree."""
    lists = [[None]]
    for place, token in enumerate(tokens):
        if token < 10:
            lists[-1].append(token)
        elif token < _END:
            lists.append([token - _FIRST_OPERATOR])
        else:
            operator, *arguments = lists.pop()
            if operator is None or not arguments:
                raise ListError(f"token {place + 1}: found the end of a list that has no beginning or no arguments")
            lists[-1].append(_apply(operator, arguments))
    if len(lists) != 1 or len(lists[0]) != 2:
        raise ListError(f"found {len(lists) - 1} lists without an end, and {len(lists[0]) - 1} values beside them")
    return lists[0][1]


def _apply(operator, arguments):
    match OPERATORS[operator]:
        case "[MIN":
            return min(arguments)
        case "[MAX":
            return max(arguments)
        case "[MED":
            ordered = sorted(arguments)
            return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) // 2
        case _:
            return sum(arguments) % 10


def trees(grammar, seed, first, count, advance=lambda count: None):
    """Trees first to first + count - 1, all different: (list of uint8 arrays, uint8 [count] values).

    advance: called with 1 for every tree.
    """
    found, values, seen = [], [], set()
    for index in range(first, first + count):
        attempt, (tokens, result) = 0, draw(grammar, seed, index)
        while (key := tokens.tobytes()) in seen:
            attempt += 1
            tokens, result = draw(grammar, seed, index, attempt)
        seen.add(key)
        found.append(tokens)
        values.append(result)
        advance(1)
    return found, np.array(values, np.uint8)


def write(path, grammar, seed, first, count, advance=lambda count: None):
    """Draw trees into a table, written whole or not at all; arguments as of `trees`."""
    found, values = trees(grammar, seed, first, count, advance)
    table = io.StringIO()
    table.write(_HEADER + "\n")
    for tokens, result in zip(found, values, strict=True):
        table.write(" ".join(TOKENS[token] for token in tokens) + f"\t{result}\n")
    sealed.replace(path, table.getvalue().encode())


def read(path):
    """Trees of a table, this project's or the Long Range Arena's: (list of uint8 arrays, uint8 [tree] values).

    Parentheses, which the latter has, say nothing that brackets do not and are left out.
    Raises ListError with the line where something is not as it should be, its value included.
    """
    try:
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ListError(f"{path}: cannot be read ({error}), expected a table of trees") from error
    header, *lines = text.splitlines() or [""]
    if header.split("\t") != _HEADER.split("\t"):
        raise ListError(f"{path}, line 1: found {header[:60]!r}, expected the columns Source and Target")
    if not text.endswith("\n"):
        raise ListError(f"{path}: ends within line {len(lines) + 1}, expected a whole table (it was cut short)")
    found, values = [], []
    for number, line in enumerate(lines, start=2):
        source, *target = line.split("\t")
        tokens = [token for token in source.split() if token not in ("(", ")")]
        if unknown := [token for token in tokens if token not in _NUMBERS]:
            raise ListError(f"{path}, line {number}: found {unknown[0][:30]!r}, expected one of: {' '.join(TOKENS)}")
        tree = [_NUMBERS[token] for token in tokens]
        try:
            result = value(tree)
        except ListError as error:
            raise ListError(f"{path}, line {number}: {error}, expected one tree") from error
        if target != [str(result)]:
            raise ListError(
                f"{path}, line {number}: found the value {' '.join(target)[:30] or 'nothing'}, expected {result}"
            )
        found.append(np.array(tree, np.uint8))
        values.append(result)
    if not found:
        raise ListError(f"{path}: found no trees, expected at least one")
    return found, np.array(values, np.uint8)
