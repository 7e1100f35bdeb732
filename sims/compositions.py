"""A neuron made of parts: an equation file that names others, flattened into one file of prefixed names.

With `parts: {soma: {file: …}, dendrite: {file: …, count: 2}}` the soma's v becomes soma_v, and the dendrites' v
dendrite1_v and dendrite2_v; a parameter of a part with a count is shared, dendrite_w, unless its name is in the part's
list `each`. What the composition itself writes comes last and replaces by name, and in it

* dendrite_v on the left of an equation, an event, an initial value or a statement stands for each dendrite in turn, and
  dendrite names on the right are then those of the same dendrite;
* sum(expression with dendrite names) adds over the dendrites, anywhere.

The result is an ordinary document with the lines' places kept, so all that takes a Model takes a composition.
Whoever reads a composition may ask for other counts; of 0, the part is left out, and every line that names it.
"""

import ast
import re
from dataclasses import dataclass, replace

from sims import documents
from sims.documents import DEFINITION, EQUATION, SEPARATOR, STATEMENT, Node
from sims.expressions import RESERVED, ExpressionError, renamed, syntax_tree

LARGEST_COUNT = 50
PART_KEYS = ("file", "count", "each")
KEYS = ("kind", "description", "reference", "parts", "equations", "parameters", "events", "initial", "threshold",
        "refractory", "integration")  # fmt: skip
SINGLE = ("threshold", "refractory")
SUM, SPIKE = "sum", "spike"


@dataclass(frozen=True)
class Part:
    """name, node: as in `parts`.  prefixes: of its instances, dendrite1, dendrite2, …, or soma alone.

    entries: the file's sections.  equations: {variable: Node}, its own and those that the composition adds or puts in
    the place of parameters.  parameters: {name: Node}.  shared: the parameters that all instances have in common.
    """

    name: str
    node: Node
    prefixes: tuple
    entries: dict
    equations: dict
    parameters: dict
    shared: frozenset

    def own(self, prefix):
        """{name in the part's file: name in the composition} of one instance."""
        return {name: f"{self.name if name in self.shared else prefix}_{name}" for name in self._names()}

    def of_instance(self, prefix):
        """{name for all instances, such as dendrite_v: that of one}; empty for a part without a count."""
        return {} if self.single else {f"{self.name}_{name}": new for name, new in self.own(prefix).items()}

    @property
    def single(self):
        """Whether the part has no count."""
        return self.prefixes == (self.name,)

    @property
    def several(self):
        """The names that stand for one value of each instance, such as dendrite_v."""
        return set() if self.single else {f"{self.name}_{name}" for name in self._names() - self.shared}

    @property
    def all(self):
        """The names that stand for something of this part."""
        return {f"{self.name}_{name}" for name in self._names()}

    def _names(self):
        return {*self.equations, *self.parameters}


def flattened(document, read_model):
    """The ordinary document that a composition stands for.

    document: a Node with the section `parts`.  read_model: document → Model, which checks each part on its own.
    Raises EquationError, naming the place: a part that is missing, no neuron, or itself composed; names that clash;
    a count that is none; parts that nothing connects.
    """
    entries = document.mapping("a composition", KEYS)
    if _value(entries, "kind") not in (None, "neuron"):
        raise entries["kind"].error(f"only a neuron has parts, found the kind '{entries['kind'].value}'")
    added = _section(entries, "equations")
    parts = [
        _part(name, node, added, read_model)
        for name, node in _section(entries, "parts").items()
        if node.value is not None
    ]
    if not parts:
        raise entries["parts"].error("a composition needs at least one part: `parts: {soma: soma_lif.yaml}`")
    _check_prefixes(parts)
    spiking = _the_spiking_part(parts)
    flat = {name: {} for name in ("equations", "parameters", "events", "initial")}
    for part in parts:
        for prefix in part.prefixes:
            _add_instance(flat, part, prefix)
    writer = _Writer(parts)
    equations = {key: text for name, node in added.items() for key, text in writer.equation(name, node)}
    flat["parameters"] = {name: node for name, node in flat["parameters"].items() if name not in equations}
    flat["equations"] |= equations
    for name, node in _section(entries, "parameters").items():
        for target in writer.targets(name):
            known = flat["parameters"].get(target)
            flat["parameters"][target] = documents.merge(known, node) if known else node
    for name, node in _section(entries, "initial").items():
        flat["initial"] |= writer.initial(name, node)
    for name, node in _section(entries, "events").items():
        flat["events"] |= writer.event(name, node)
    _check_connected(parts, flat)
    whole = {name: entries[name] for name in ("kind", "description", "reference") if name in entries}
    whole |= {name: Node(section, document.path, document.line) for name, section in flat.items()}
    for name in SINGLE:
        if name in entries:
            whole[name] = writer.expression(entries[name]) if entries[name].value else entries[name]
        elif spiking and _value(spiking.entries, name) is not None:
            node, own = spiking.entries[name], spiking.own(spiking.prefixes[0])
            whole[name] = Node(_renamed(node.value, own), node.path, node.line)
    whole["integration"] = entries.get("integration") or _common_integration(parts)
    return Node({name: node for name, node in whole.items() if node is not None}, document.path, document.line)


def counted(document, counts):
    """A composition's document with other counts of its parts.

    counts: {part: whole number from 0}.  Raises EquationError for a part that there is not, or an impossible count.
    """
    entries = dict(document.mapping("a composition", KEYS))
    parts = dict(_section(entries, "parts"))
    for name, count in counts.items():
        if name not in parts or parts[name].value is None:
            raise document.error(f"has no part '{name}' to count; it has {', '.join(parts) or 'none'}")
        if count == 0:
            del parts[name]
            for section in ("equations", "parameters", "events", "initial"):
                kept = {key: node for key, node in _section(entries, section).items() if not _names(name, key, node)}
                entries[section] = Node(kept, document.path, document.line)
        else:
            node = parts[name]
            keys = node.mapping(f"part '{name}'", PART_KEYS)
            parts[name] = replace(node, value=keys | {"count": Node(str(count), node.path, node.line)})
    return replace(document, value=entries | {"parts": Node(parts, document.path, document.line)})


def _names(part, key, node):
    """Whether a line of a composition names something of a part."""
    return re.search(rf"\b{re.escape(part)}\d*_", f"{key} {node.value if isinstance(node.value, str) else ''}")


class _Summed(ast.NodeTransformer):
    """sum(…) written out over the instances of the one part with a count that it names."""

    def __init__(self, parts, place):
        self.parts, self.place = parts, place

    def visit_Call(self, node):
        self.generic_visit(node)
        if not (isinstance(node.func, ast.Name) and node.func.id == SUM):
            return node
        if len(node.args) != 1 or node.keywords:
            raise self.place.error("sum() takes one expression, such as sum(g*(dendrite_v - soma_v))")
        (argument,) = node.args
        names = _names_in(argument)
        counted = [part for part in self.parts if not part.single and names & part.all]
        named = [part for part in counted if names & part.several] or counted
        if not named and any(names & part.all for part in self.parts):
            return argument  # a part without a count
        if len(named) != 1:
            found = ", ".join(part.name for part in named) or "none"
            raise self.place.error(f"sum() adds over the instances of one part, found names of {found} in it")
        (part,) = named
        terms = [renamed(argument, part.of_instance(prefix)) for prefix in part.prefixes]
        total = terms[0]
        for term in terms[1:]:
            total = ast.BinOp(total, ast.Add(), term)
        return total


class _Writer:
    """What the composition itself says, in flat names."""

    def __init__(self, parts):
        self.parts = parts
        self.groups = {name: part for part in parts for name in part.several}

    def targets(self, name):
        """The flat names that a left-hand side stands for, each with the renaming of its instance."""
        part = self.groups.get(name)
        return {part.of_instance(p)[name]: part.of_instance(p) for p in part.prefixes} if part else {name: {}}

    def expression(self, node, names=None):
        """A Node whose text is an expression, in the names of an instance or (None) of the whole."""
        return Node(self._text(node.text("an expression"), node, names or {}), node.path, node.line)

    def equation(self, name, node):
        """(flat name, Node) for every line that one line stands for."""
        if node.value is None:
            return [(target, node) for target in self.targets(name)]
        text = node.text(f"the equation of '{name}'")
        match, definition = EQUATION.match(text), DEFINITION.match(text)
        if match is None or definition is None:
            return [(name, node)]  # refused, with its place, where equations are read
        for part in self.parts:
            for prefix in () if part.single else part.prefixes:
                if name.startswith(f"{prefix}_"):
                    group = f"{part.name}_{name.removeprefix(f'{prefix}_')}"
                    raise node.error(f"an equation holds for every '{part.name}': write {group} instead of {name}")
        return [
            (target, _line(node, target, definition, self._text(match["right"], node, names), match["unit"]))
            for target, names in self.targets(name).items()
        ]

    def initial(self, name, node):
        """{flat name: Node} of an initial value."""
        return {
            target: self.expression(node, names) if node.value else node for target, names in self.targets(name).items()
        }

    def event(self, event, node):
        """{flat event: Node}: the event of each instance, or one event with a statement for each."""
        for part in self.parts:
            if event == f"{part.name}_{SPIKE}":
                raise node.error(f"a neuron has one spike: write {SPIKE} instead of {event}")
            if not part.single and event in {f"{part.name}_{name}" for name in _section(part.entries, "events")}:
                return {
                    event.replace(part.name, prefix, 1): self._statements(node, part.of_instance(prefix))
                    for prefix in part.prefixes
                }
        return {event: self._statements(node, {})}

    def _statements(self, node, names):
        if not isinstance(node.value, str):
            return node
        lines = []
        for text in SEPARATOR.split(node.value):
            match = STATEMENT.match(text)
            if match is None:
                lines.append(text)
                continue
            name = names.get(match["name"], match["name"])
            for target, of_target in self.targets(name).items():
                right = self._text(match["right"].strip(), node, names or of_target)
                lines.append(f"{target} {match['operator']} {right}")
        return Node("\n".join(lines), node.path, node.line)

    def _text(self, text, place, names):
        """An expression with its sums written out and its names those of an instance."""
        try:
            tree = renamed(_Summed(self.parts, place).visit(syntax_tree(text)), names)
            found = ast.unparse(tree)
            syntax_tree(found)  # sums grow
        except ExpressionError as error:
            raise place.error(str(error)) from None
        except RecursionError:
            raise place.error("an expression is nested too deeply") from None
        for name in sorted(_names_in(tree) & set(self.groups)):
            one, *_, last = [*self.targets(name)] * 2
            raise place.error(f"'{name}' stands for {one} to {last}; write one of them, or sum(…) over them")
        return found


def _section(entries, name):
    return entries[name].mapping(f"`{name}`") if name in entries and entries[name].value is not None else {}


def _value(entries, name):
    return entries[name].value if name in entries else None


def _renamed(text, names):
    return ast.unparse(renamed(syntax_tree(text), names))


def _line(node, name, definition, right, unit):
    """A Node with a line of the equations block; definition: the match of its left-hand side."""
    left = f"d{name}/dt" if definition["state"] else name
    return Node(f"{left} = {right} : {unit.strip()}", node.path, node.line)


def _names_in(tree):
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _part(name, node, added, read_model):
    """A Part, read and checked on its own; added: the composition's equations."""
    if not name.isidentifier() or name.startswith("_"):
        raise node.error(f"'{name}' is not a name for a part; use letters, digits and underscores")
    keys = node.mapping(f"part '{name}'", PART_KEYS)
    if _value(keys, "file") is None:
        raise node.error(f"part '{name}' names no file; write {name}: soma_lif.yaml")
    path = documents.referenced(keys["file"])
    if not path.is_file():
        raise keys["file"].error(f"part '{name}' is '{keys['file'].value}', but there is no file {path}")
    document = documents.read(path)
    if "parts" in document.value:
        raise keys["file"].error(f"part '{name}', {path}, is itself made of parts; name those here instead")
    model = read_model(document)
    if model.kind != "neuron":
        raise keys["file"].error(f"part '{name}', {path}, is a {model.kind}; a part must be a neuron")
    prefixes = _prefixes(name, keys.get("count"))
    parameters, equations = (dict(_given(document.value, section)) for section in ("parameters", "equations"))
    listed = keys["each"].sequence("`each`") if _value(keys, "each") is not None else []
    each = {entry.text("a name in `each`") for entry in listed}
    for entry in listed:
        if entry.value.strip() not in parameters:
            raise entry.error(f"part '{name}' has no parameter '{entry.value}'; it has {', '.join(parameters)}")
    new = {key.removeprefix(f"{name}_"): line for key, line in added.items() if key.startswith(f"{name}_")}
    equations |= {key: line for key, line in new.items() if line.value is not None and prefixes != (name,)}
    replaced = {key for key in parameters if _value(new, key) is not None}
    shared = frozenset(set(parameters) - each - replaced) if prefixes != (name,) else frozenset()
    return Part(name, node, prefixes, document.value, equations, parameters, shared)


def _prefixes(name, count):
    if count is None or count.value is None:
        return (name,)
    text = count.text(f"the count of '{name}'")
    if not text.isdecimal() or not 1 <= len(text) <= 4 or not 1 <= int(text) <= LARGEST_COUNT:
        raise count.error(f"the count of '{name}' must be a whole number from 1 to {LARGEST_COUNT}, found '{text}'")
    return tuple(f"{name}{k}" for k in range(1, int(text) + 1))


def _check_prefixes(parts):
    """Names must tell whose they are: no prefix may be another's, or begin it up to an underscore."""
    owner = {}
    for part in parts:
        for prefix in {part.name, *part.prefixes}:
            for other in owner:
                if prefix == other or prefix.startswith(f"{other}_") or other.startswith(f"{prefix}_"):
                    raise part.node.error(
                        f"the names of part '{part.name}' could be those of part '{owner[other]}'; rename one"
                    )
        owner |= dict.fromkeys((part.name, *part.prefixes), part.name)


def _the_spiking_part(parts):
    """The part with a threshold, if there is one."""
    spiking = [part for part in parts if _value(part.entries, "threshold") is not None]
    if sum(len(part.prefixes) for part in spiking) > 1:
        raise spiking[-1].node.error(
            f"a neuron has one threshold, but {', '.join(prefix for part in spiking for prefix in part.prefixes)} "
            "have one each; take it off by `threshold: null` and `events: {spike: null}` in a file that extends"
        )
    return spiking[0] if spiking else None


def _add_instance(flat, part, prefix):
    """One instance's own lines in flat names."""
    own = part.own(prefix)
    for name, node in _given(part.entries, "equations"):
        match, definition = EQUATION.match(node.value), DEFINITION.match(node.value)
        line = _line(node, own[name], definition, _renamed(match["right"], own), match["unit"])
        flat["equations"][own[name]] = line
    for name, node in part.parameters.items():
        flat["parameters"][own[name]] = node
    for name, node in _given(part.entries, "initial"):
        flat["initial"][own[name]] = Node(_renamed(node.value, own), node.path, node.line)
    for event, node in _given(part.entries, "events"):
        matches = [STATEMENT.match(text) for text in SEPARATOR.split(node.value) if text.strip()]
        lines = [f"{own[m['name']]} {m['operator']} {_renamed(m['right'], own)}" for m in matches]
        name = SPIKE if event == SPIKE else f"{prefix}_{event}"
        flat["events"][name] = Node("\n".join(lines), node.path, node.line)


def _given(entries, name):
    return [(key, node) for key, node in _section(entries, name).items() if node.value is not None]


def _common_integration(parts):
    schemes = {_value(part.entries, "integration") or "exponential_euler": part for part in parts}
    if len(schemes) > 1:
        named = ", ".join(f"{part.name} {scheme}" for scheme, part in schemes.items())
        raise parts[0].node.error(f"the parts are integrated differently ({named}); write `integration` here")
    return parts[0].entries.get("integration")


def _check_connected(parts, flat):
    """Raise EquationError where a part neither reads another nor is read, nor shares an event with it."""
    owner = {}
    for part in parts:
        for prefix in part.prefixes:
            owner |= {part.own(prefix)[name]: prefix for name in part.equations}
    links = []
    for name, node in flat["equations"].items():
        match = EQUATION.match(node.value) if isinstance(node.value, str) else None
        if match:
            reads = _names_in(syntax_tree(match["right"])) - set(flat["parameters"]) - RESERVED
            if reads - set(flat["equations"]):
                return  # an unknown name, refused where equations are read
            links.append({name, *reads})
    for node in flat["events"].values():
        matches = [STATEMENT.match(text) for text in SEPARATOR.split(node.value)] if isinstance(node.value, str) else []
        links.append({match["name"] for match in matches if match})
    reached = {parts[0].prefixes[0]}
    links = [{owner.get(name, name) for name in link} for link in links]
    for _ in links:
        reached |= {name for link in links if link & reached for name in link}
    for part in parts:
        if not set(part.prefixes) <= reached:
            raise part.node.error(
                f"nothing connects part '{part.name}' with part '{parts[0].name}'; write an equation that reads both"
            )
