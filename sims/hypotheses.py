"""A hypothesis: an equation file that changes a few lines of the cell, of one of its mechanisms or of its inputs.

What a file changes follows from what it extends:

    the cell (kind: cell)          densities, passive properties, which mechanisms there are
    a file that the cell names     that mechanism everywhere: equations, parameters
    the inputs (kind: inputs)      the spike trains that the cell receives

Everything else stays. `files` writes the hypothesis out as a cell file and an input file, which any command takes.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

from sims import documents
from sims.cells import l5pc
from sims.documents import Node
from sims.stimuli import l5

WORDS = ("description", "reference")  # what says why, and computes nothing


@dataclass(frozen=True)
class Change:
    """place: keys from the outside in, such as ("regions", "apical", "mechanisms", "Ih").  before, after: texts, None
    where there is nothing."""

    place: tuple
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Hypothesis:
    """path: its file.  question, reference: its own words, "" where it has none.  kind: of the file.
    mechanisms: names that the cell has for the mechanism that it changes; none for a cell or inputs.
    cell, inputs: the files that it would leave as they are.  changes: of all that is computed."""

    path: Path
    question: str
    reference: str
    kind: str
    mechanisms: tuple
    cell: Path
    inputs: Path
    changes: tuple

    def files(self, folder):
        """{"cell.yaml": text, "inputs.yaml": text} of two files in `folder` that stand for the hypothesis."""
        own, cell, inputs = (os.path.relpath(path, folder) for path in (self.path, self.cell, self.inputs))
        texts = {"cell.yaml": f"extends: {json.dumps(own if self.kind == 'cell' else cell)}\n"}
        if self.mechanisms:
            lines = [f"  {name}: {{file: {json.dumps(own)}}}\n" for name in self.mechanisms]
            texts["cell.yaml"] += "mechanisms:\n" + "".join(lines)
        return texts | {"inputs.yaml": f"extends: {json.dumps(own if self.kind == 'inputs' else inputs)}\n"}

    @property
    def card(self):
        """What it says and changes, as plain data."""
        changes = [{"place": list(c.place), "before": c.before, "after": c.after} for c in self.changes]
        words = {"question": self.question, "reference": self.reference}
        return {"file": str(self.path), "kind": self.kind, **words, "changes": changes}

    def summary(self):
        """The same for people: a line for each that goes and each that comes."""
        lines = [f"{self.path}: {self.question}"]
        for change in self.changes:
            lines.append(f"  {', '.join(change.place)}")
            lines += [f"  {sign} {t}" for sign, t in (("-", change.before), ("+", change.after)) if t is not None]
        return "\n".join(lines if self.changes else [*lines, "  changes nothing"])


def read(path, cell=l5pc.PUBLISHED, inputs=l5.PUBLISHED):
    """Read and check a hypothesis about a cell file and an input file.

    Returns a Hypothesis.  Raises EquationError where the file is wrong or extends neither of the two nor a mechanism.
    """
    path, cell, inputs = Path(path), Path(cell), Path(inputs)
    own, extended = documents.read(path), [file.resolve() for file in documents.lineage(path)]
    kind = own.mapping("a hypothesis").get("kind")
    kind = kind.text("`kind`") if kind is not None else "neuron"
    before, mechanisms = documents.read(cell), ()
    if "mechanisms" not in before.value:
        raise before.error("expected `kind: cell`, which names its mechanisms")
    if kind == "inputs":
        _check_extends(own, inputs, extended)
        l5.read(path)
        changes = _changes(documents.read(inputs), own)
    else:
        after = own
        if kind == "cell":
            _check_extends(own, cell, extended)
        else:
            mechanisms = _replaced(own, extended, before)
            file = Node({"file": Node(path.name, path, own.line)}, path, own.line)
            files = Node(dict.fromkeys(mechanisms, file), path, own.line)
            after = documents.merge(before, Node({"mechanisms": files}, path, own.line))
        l5pc.checked(after, path)
        changes = _changes(_content(before), _content(after))
    return Hypothesis(path, *_words(own), kind, mechanisms, cell, inputs, tuple(changes))


def _check_extends(own, base, extended):
    if base.resolve() not in extended:
        raise own.error(f"does not extend {base}, so that nothing says what it changes; expected `extends`")


def _replaced(own, extended, cell):
    """Names of the mechanisms whose file is the nearest of those that the hypothesis extends."""
    named = {}
    for name, node in cell.value["mechanisms"].value.items():
        named.setdefault(documents.referenced(node.value["file"]).resolve(), []).append(name)
    for file in extended[1:]:
        if file in named:
            return tuple(named[file])
    raise own.error(f"extends no mechanism of {cell.path}; expected that cell, one of its mechanisms, or its inputs")


def _words(own):
    """(question, reference) that the file itself has, not what it extends; "" for none."""
    there = (own.value.get(key) for key in WORDS)
    return [" ".join(node.text("words").split()) if node and node.path == own.path else "" for node in there]


def _content(cell):
    """A cell's document as one tree, with every mechanism's own file in its place."""
    mechanisms = cell.value["mechanisms"]
    whole = {
        name: node if node.value is None else documents.read(documents.referenced(node.value["file"]))
        for name, node in mechanisms.value.items()
    }
    return Node(cell.value | {"mechanisms": Node(whole, cell.path, mechanisms.line)}, cell.path, cell.line)


def _changes(before, after, place=()):
    """The Changes from one Node to another."""
    if isinstance(before.value, dict) and isinstance(after.value, dict):
        nothing = Node(None, after.path, after.line)
        keys = [key for key in {**before.value, **after.value} if key not in WORDS]
        return [
            change
            for key in keys
            for change in _changes(before.value.get(key, nothing), after.value.get(key, nothing), (*place, key))
        ]
    texts = _text(before), _text(after)
    if place[-3:-2] == ("parameters",) and place[-1] == "value":
        place = place[:-1]
    return [] if texts[0] == texts[1] else [Change(place, *texts)]


def _text(node):
    """A Node in a line, None for nothing; a parameter by its value, a whole mechanism by what it is."""
    match node.value:
        case None:
            return None
        case dict(entries) if "value" in entries:
            return _text(entries["value"])
        case dict(entries) if "description" in entries:
            return entries["description"].value
        case dict(entries):
            return "{" + ", ".join(f"{key}: {_text(value)}" for key, value in entries.items()) + "}"
        case list(entries):
            return "[" + ", ".join(map(str, map(_text, entries))) + "]"
        case text:
            return " ".join(text.split())
