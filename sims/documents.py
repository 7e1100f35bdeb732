"""YAML documents that remember where each value was written, and that extend one another.

A file is data: it is composed, never constructed, so no tag, anchor or scalar in it can run anything. Every scalar
stays the text its author typed (`1e-4` is a string to YAML 1.1 and a number to a scientist), with its file and line for
error messages.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from sims.mistakes import Mistake

LARGEST_FILE_BYTES = 1_000_000
DEFINITION = re.compile(r"\s*(?:d(?P<state>[A-Za-z_]\w*)\s*/\s*dt|(?P<name>[A-Za-z_]\w*))\s*=(?!=)")
EQUATION = re.compile(r"(?P<left>[^=]+)=(?!=)(?P<right>.*):(?P<unit>[^:]*)$")
STATEMENT = re.compile(r"\s*(?P<name>[A-Za-z_]\w*)\s*(?P<operator>\+=|-=|\*=|/=|=(?!=))\s*(?P<right>.+)$")
SEPARATOR = re.compile(r"[;\n]")  # of statements


class EquationError(Mistake):
    """A mistake in an equation file; its text names the file, the line, what was found and what was expected."""


@dataclass(frozen=True)
class Node:
    """A value and the place where it was written.

    value: str (a scalar's text), None (YAML's null), list[Node] or dict[str, Node].  path, line: where it stands.
    """

    value: object
    path: Path = field(compare=False)
    line: int = field(compare=False)

    def error(self, message):
        """The EquationError to raise for a mistake at this place."""
        return EquationError(f"{self.path}:{self.line}: {message}")

    def mapping(self, what, allowed=None):
        """The entries of a mapping; `allowed` names the only keys it may have."""
        if not isinstance(self.value, dict):
            raise self.error(f"{what} must be a mapping of names to values, found {self.describe()}")
        for key, entry in self.value.items():
            if allowed is not None and key not in allowed:
                raise entry.error(f"unknown key '{key}' in {what}; expected one of: {', '.join(allowed)}")
        return self.value

    def sequence(self, what):
        """The entries of a list."""
        if not isinstance(self.value, list):
            raise self.error(f"{what} must be a list, found {self.describe()}")
        return self.value

    def text(self, what):
        """The text of a scalar."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(f"{what} must be given, found {self.describe()}")
        return self.value.strip()

    def describe(self):
        """The value in the words of an error message."""
        match self.value:
            case dict():
                return "a mapping"
            case list():
                return "a list"
            case None | "":
                return "nothing"
            case text:
                return f"'{text.strip()[:80]}'"


def read(path):
    """Read an equation file with everything it extends.

    path: a YAML file. Its `extends` names a file relative to itself; mappings are merged key by key, the `equations`
    block by left-hand sides, all else is replaced; a null removes what it names (and stays visible as a null).
    Returns the merged document, a Node that holds a dict without the key `extends`.
    Raises EquationError where a file is missing, unreadable, not YAML, malformed, or extends itself.
    """
    document, _ = _read(Path(path), ())
    return document


def lineage(path):
    """The file itself and those that it extends, nearest first.  Raises EquationError like `read`."""
    return _read(Path(path), ())[1]


def sources(path):
    """All files that the meaning of `path` depends on, itself first: what it extends, mechanisms and parts.

    This is what a workflow declares as inputs. Paths are relative to the same folder as `path`.
    Raises EquationError like `read`.
    """
    document, files = _read(Path(path), ())
    for section in ("mechanisms", "parts"):
        for entry in _entries(document.value.get(section)).values():
            reference = _entries(entry).get("file")
            if reference is not None:
                files += _read(referenced(reference), ())[1]
    return list(dict.fromkeys(files))


def referenced(node):
    """The path that a scalar names, relative to the file in which it was written."""
    return _normal(node.path.parent / node.text("the name of a file"))


def _entries(node):
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _normal(path):
    """The path without `..` in its middle, so that one file has one name (symbolic links are left alone)."""
    parts = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] not in ("..", path.anchor):
            parts.pop()
        else:
            parts.append(part)
    return Path(*parts)


def _read(path, chain):
    path = _normal(path)
    if path.resolve() in [earlier.resolve() for earlier in chain]:
        loop = " → ".join(str(p) for p in (*chain, path))
        raise EquationError(f"{chain[-1]}:1: `extends` runs in a circle: {loop}")
    document = _compose(path)
    entries = dict(document.mapping("an equation file"))
    _expand(entries)
    document = Node(entries, path, document.line)
    if "extends" not in entries:
        return document, [path]
    parent_reference = entries.pop("extends")
    parent_path = referenced(parent_reference)
    if not parent_path.is_file():
        raise parent_reference.error(f"extends '{parent_reference.value}', but there is no file {parent_path}")
    parent, files = _read(parent_path, (*chain, path))
    return merge(parent, document), [path, *files]


def _compose(path):
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise EquationError(f"{path}:1: cannot read this equation file: {error.strerror}") from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise EquationError(
            f"{path}:1: {len(raw)} bytes are too many for an equation file (at most {LARGEST_FILE_BYTES})"
        )
    try:
        root = yaml.compose(raw.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise EquationError(f"{path}:{line}: expected UTF-8 text, found the byte {raw[error.start]:#04x}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise EquationError(f"{path}:{mark.line + 1}: not valid YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise EquationError(f"{path}:1: not valid YAML: {str(error).splitlines()[0]}") from None
    except (RecursionError, ValueError):
        raise EquationError(f"{path}:1: not valid YAML: nested too deeply or malformed") from None
    if root is None:
        raise EquationError(f"{path}:1: the file is empty; expected an equation file")
    try:
        return _place(root, path, set())
    except RecursionError:
        raise EquationError(f"{path}:1: nested too deeply for an equation file") from None


def _place(node, path, seen):
    line = node.start_mark.line + 1
    if id(node) in seen:
        raise EquationError(
            f"{path}:{line}: anchors and aliases (& and *) are not used in equation files; use `extends`"
        )
    seen.add(id(node))
    if not node.tag.startswith("tag:yaml.org,2002:") or "python" in node.tag:
        raise EquationError(f"{path}:{line}: the tag '{node.tag}' is not allowed; an equation file holds plain data")
    if isinstance(node, yaml.ScalarNode):
        if node.style in ("|", ">"):
            line += 1
        return Node(None if node.tag.endswith(":null") else node.value, path, line)
    if isinstance(node, yaml.SequenceNode):
        return Node([_place(entry, path, seen) for entry in node.value], path, line)
    entries = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise EquationError(f"{path}:{key_line}: a key must be a plain name")
        if key_node.value in entries:
            raise EquationError(f"{path}:{key_line}: the key '{key_node.value}' appears twice")
        entries[key_node.value] = _place(value_node, path, seen)
    return Node(entries, path, line)


def _expand(entries):
    """Turn short forms into mappings that merge by name: the equations block, `parameter: value`, `part: file`."""
    if "equations" in entries and isinstance(entries["equations"].value, str):
        entries["equations"] = _split_equations(entries["equations"])
    for section, key in (("parameters", "value"), ("parts", "file")):
        if given := _entries(entries.get(section)):
            expanded = {
                name: Node({key: node}, node.path, node.line) if isinstance(node.value, str) else node
                for name, node in given.items()
            }
            entries[section] = Node(expanded, entries[section].path, entries[section].line)


def _split_equations(block):
    lines = {}
    for offset, text in enumerate(block.value.splitlines()):
        text = text.split("#", 1)[0].strip()
        if not text:
            continue
        node = Node(text, block.path, block.line + offset)
        match = DEFINITION.match(text)
        if match is None:
            raise node.error(f"expected `dx/dt = expression : unit` or `x = expression : unit`, found '{text[:80]}'")
        name = match["state"] or match["name"]
        if name in lines:
            raise node.error(f"'{name}' is defined twice; first on line {lines[name].line}")
        lines[name] = node
    return Node(lines, block.path, block.line)


def merge(parent, child):
    """A Node with the child's content over the parent's: mappings key by key, all else replaced."""
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    merged = dict(parent.value)
    for key, node in child.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, child.path, child.line)
