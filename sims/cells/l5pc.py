"""The layer-5 pyramidal cell: a cell file and a morphology → which mechanism sits where, with which values.

A cell file (kind: cell) names mechanism files, their densities by region, and which synapses an input channel drives;
see equations/README.md. What comes out is plain arrays over segments, from which every backend builds the same cell.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from brian2.units import farad, meter, ohm, volt

from sims import documents, equations
from sims.documents import Node
from sims.equations import Model, content_digest, located_expression, located_quantity
from sims.expressions import ExactQuantity, Expression, cable_unit, cable_units

PROJECT = Path(__file__).resolve().parents[2]
PUBLISHED = PROJECT / "equations" / "l5pc" / "cell.yaml"
KEYS = ("kind", "description", "reference", "v_init", "reversal_potentials", "mechanisms", "inputs", "regions")
REGION_KEYS = ("capacitance", "axial_resistivity", "mechanisms")
REGIONS = ("soma", "axon", "basal", "apical")
SIGNS = ("excitatory", "inhibitory")
PLACE = {"distance": meter.dim, "reach": meter.dim}
CAPACITANCE, RESISTIVITY = (farad / meter**2).dim, (ohm * meter).dim


@dataclass(frozen=True)
class Region:
    """What a region's membrane is made of.

    mechanisms: {mechanism: {parameter: ExactQuantity or Expression of place}}.
    """

    capacitance: ExactQuantity
    axial_resistivity: ExactQuantity
    mechanisms: dict


@dataclass(frozen=True)
class Placement:
    """Where a mechanism sits.

    segments: int [k], indices into the table of segments.  values: {parameter: float [k]} in cable units (mV, ms, cm,
    mA, µmol) of the parameters that the cell file sets; all others have the values of the mechanism's own file.
    """

    segments: np.ndarray
    values: dict


@dataclass(frozen=True)
class Cell:
    """A checked cell file.

    v_init: mV.  reversal_potentials: {"E_K": mV, …}.  mechanisms: {name: Model}, in the file's order.
    inputs: {"excitatory": (mechanism, …), "inhibitory": …}: what an event on such a channel reaches.  regions: {name:
    Region}.
    """

    path: Path = field(compare=False)
    description: str
    reference: str
    v_init: float
    reversal_potentials: dict
    mechanisms: dict
    inputs: dict
    regions: dict

    @property
    def shell(self):
        """The Model that keeps calcium, or None."""
        return next((model for model in self.mechanisms.values() if model.kind == "shell"), None)

    @cached_property
    def varied(self):
        """{mechanism: the parameters that any region sets}, sorted: these differ between segments."""
        names = {mechanism: set() for mechanism in self.mechanisms}
        for region in self.regions.values():
            for mechanism, values in region.mechanisms.items():
                names[mechanism] |= set(values)
        return {mechanism: tuple(sorted(parameters)) for mechanism, parameters in names.items()}

    @property
    def digest(self):
        """Hash of all that the cell computes; comments and descriptions do not enter."""
        return content_digest(
            {
                "v_init": self.v_init,
                "reversal_potentials": self.reversal_potentials,
                "mechanisms": {name: model.digest for name, model in self.mechanisms.items()},
                "inputs": self.inputs,
                "regions": {
                    name: [
                        str(region.capacitance.value),
                        str(region.axial_resistivity.value),
                        {
                            m: {p: _canonical(value) for p, value in values.items()}
                            for m, values in region.mechanisms.items()
                        },
                    ]
                    for name, region in self.regions.items()
                },
            }
        )

    def placements(self, segments):
        """Spread the mechanisms over a morphology.

        segments: the Segments of a morphology (sims.cells.morphology).  Returns {mechanism: Placement}.
        Raises EquationError where a density comes out negative or not finite, naming file, line and place.
        """
        reach = segments.rule_distance[segments.region == "apical"].max() * 1e-6
        found = {}
        for mechanism, model in self.mechanisms.items():
            rows, columns = [], {parameter: [] for parameter in self.varied[mechanism]}
            for name, region in self.regions.items():
                here = np.flatnonzero(segments.region == name)
                if mechanism not in region.mechanisms or not len(here):
                    continue
                rows.append(here)
                place = {"distance": segments.rule_distance[here] * 1e-6, "reach": reach}
                for parameter, column in columns.items():
                    value = region.mechanisms[mechanism].get(parameter, model.parameters[parameter].value)
                    column.append(np.broadcast_to(_cable_value(value, place), here.shape))
            order = np.argsort(np.concatenate(rows)) if rows else np.array([], int)
            values = {parameter: np.concatenate(column)[order] for parameter, column in columns.items() if rows}
            found[mechanism] = Placement(np.concatenate(rows)[order] if rows else order, values)
            self._refuse_impossible(mechanism, found[mechanism])
        return found

    def channels(self, segments):
        """What an event on each input channel reaches: a list of [(synapse, segment), …] for every channel.

        Channels are the excitation of every dendritic segment, then their inhibition, in the order of
        segments.dendritic.
        """
        held = {name: region.mechanisms for name, region in self.regions.items()}
        return [
            [(name, segment) for name in self.inputs[sign] if name in held.get(segments.region[segment], ())]
            for sign in SIGNS
            for segment in segments.dendritic.tolist()
        ]

    def membrane(self, segments):
        """(capacitance in µF/cm², axial resistivity in ohm·cm) of every segment, arrays [n]."""
        capacitance, resistivity = np.empty((2, len(segments)))
        for name, region in self.regions.items():
            here = segments.region == name
            capacitance[here] = region.capacitance.si * 100  # F/m² to µF/cm²
            resistivity[here] = cable_units(region.axial_resistivity)
        return capacitance, resistivity

    def _refuse_impossible(self, mechanism, placement):
        for parameter, values in placement.values.items():
            wrong = ~np.isfinite(values) | ((values < 0) & (parameter in ("gbar", "gmax")))
            if wrong.any():
                segment = placement.segments[wrong][0]
                raise equations.EquationError(
                    f"{self.path}:1: {mechanism}.{parameter} is {values[wrong][0]:g} on segment {segment}; "
                    "expected a finite value, and no conductance below zero"
                )


def read(path=PUBLISHED):
    """Read and check a cell file with all mechanism files that it names.

    Returns a Cell.  Raises EquationError, whose text names file, line and cause.
    """
    return checked(documents.read(path), path)


def checked(document, path):
    """`read` of a document that is read already.  path: what the Cell is called after."""
    entries = document.mapping("a cell file", KEYS)
    kind = entries.get("kind")
    if kind is None or kind.value != "cell":
        raise (kind or document).error("expected `kind: cell`")
    for key in KEYS[3:]:
        if key not in entries:
            raise document.error(f"a cell file needs the section `{key}`")
    removed = {name for name, node in entries["mechanisms"].mapping("`mechanisms`").items() if node.value is None}
    mechanisms = {
        name: _mechanism(name, node) for name, node in entries["mechanisms"].value.items() if name not in removed
    }
    shells = [name for name, model in mechanisms.items() if model.kind == "shell"]
    if len(shells) > 1:
        raise entries["mechanisms"].error(f"a cell has one calcium shell at most, found {', '.join(shells)}")
    inputs = {
        sign: _driven(sign, node, mechanisms, removed)
        for sign, node in entries["inputs"].mapping("`inputs`", SIGNS).items()
    }
    regions = entries["regions"].mapping("`regions`", REGIONS)
    potentials = entries["reversal_potentials"].mapping("`reversal_potentials`", ("E_K", "E_Na"))
    for name, model in mechanisms.items():
        missing = _missing(model, potentials, shells)
        if missing:
            raise entries["mechanisms"].value[name].error(f"mechanism '{name}' reads {missing}")
    return Cell(
        path=Path(path),
        description=" ".join(entries["description"].text("`description`").split()) if "description" in entries else "",
        reference=" ".join(entries["reference"].text("`reference`").split()) if "reference" in entries else "",
        v_init=cable_units(located_quantity(entries["v_init"], "`v_init`", volt.dim)),
        reversal_potentials={
            name: cable_units(located_quantity(node, name, volt.dim)) for name, node in potentials.items()
        },
        mechanisms=mechanisms,
        inputs={sign: inputs.get(sign, ()) for sign in SIGNS},
        regions={name: _region(name, node, mechanisms, removed) for name, node in regions.items()},
    )


def _mechanism(name, node):
    if not name.isidentifier():
        raise node.error(f"'{name}' cannot name a mechanism; use letters, digits and underscores")
    entries = node.mapping(f"mechanism '{name}'", ("file",))
    if "file" not in entries:
        raise node.error(f"mechanism '{name}' names no file; write {name}: {{file: {name}.yaml}}")
    path = documents.referenced(entries["file"])
    if not path.is_file():
        raise entries["file"].error(f"mechanism '{name}': there is no file {path}")
    model = equations.read(path)
    if model.kind not in ("channel", "shell", "synapse"):
        raise entries["file"].error(
            f"mechanism '{name}': {path} is of kind {model.kind}; expected channel, shell or synapse"
        )
    return model


def _missing(model, potentials, shells):
    """What a mechanism reads and nothing in the cell provides, with what to do about it; "" where all is there."""
    read = set().union(*(e.expression.names for e in (*model.states.values(), *model.subexpressions.values())))
    for name in ("E_K", "E_Na"):
        if name in read and name not in potentials:
            return f"{name}, which `reversal_potentials` does not give"
    for name in ("E_Ca", "Ca_i"):
        if name in read and not shells and model.kind != "shell":
            return f"{name}, which only a calcium shell provides, and this cell has none"
    return ""


def _driven(sign, node, mechanisms, removed):
    names = []
    for entry in node.sequence(f"`{sign}`"):
        name = entry.text("the name of a synapse")
        if name in removed:
            continue
        if name not in mechanisms or mechanisms[name].kind != "synapse":
            raise entry.error(f"'{name}' is no synapse of this cell; known: {_known(mechanisms, 'synapse')}")
        names.append(name)
    return tuple(names)


def _region(region, node, mechanisms, removed):
    entries = node.mapping(f"region '{region}'", REGION_KEYS)
    for key in REGION_KEYS:
        if key not in entries:
            raise node.error(f"region '{region}' needs `{key}`")
    found = {}
    for name, settings in entries["mechanisms"].mapping(f"the mechanisms of region '{region}'").items():
        if name in removed or settings.value is None:
            continue
        if name not in mechanisms:
            raise settings.error(
                f"region '{region}' holds '{name}', which `mechanisms` does not name; known: {_known(mechanisms)}"
            )
        model = mechanisms[name]
        values = {}
        # Channels take E_Ca from the shell's file, which knows nothing of regions.
        everywhere = model.needs(["E_Ca"]) if model.kind == "shell" else ()
        for parameter, value in settings.mapping(f"'{name}' in region '{region}'").items():
            if parameter not in model.parameters:
                raise value.error(f"'{name}' has no parameter '{parameter}'; known: {', '.join(model.parameters)}")
            if parameter in everywhere:
                raise value.error(f"'{parameter}' of '{name}' sets E_Ca and cannot differ by region; change its file")
            values[parameter] = _value(value, model.parameters[parameter].value.dimension, f"{name}.{parameter}")
        found[name] = values
    capacitance = located_quantity(entries["capacitance"], "the capacitance", CAPACITANCE)
    resistivity = located_quantity(entries["axial_resistivity"], "the axial resistivity", RESISTIVITY)
    for quantity, key in ((capacitance, "capacitance"), (resistivity, "axial_resistivity")):
        if quantity.value <= 0:
            raise entries[key].error(f"the {key} of region '{region}' must be positive, found {quantity}")
    return Region(capacitance, resistivity, found)


def _value(node: Node, dimension, what):
    """An ExactQuantity, or an Expression of `distance` and `reach` where the text reads them."""
    text = node.text(what)
    found = located_expression(node, text, PLACE, dimension, what)
    return found if found.names else located_quantity(node, what, dimension)


def _cable_value(value, place):
    if isinstance(value, Expression):
        return value.evaluate(place) / float(cable_unit(value.dimension))
    return cable_units(value)


def _canonical(value):
    return value.text if isinstance(value, Expression) else str(value.value)


def _known(mechanisms: dict[str, Model], kind=None):
    return ", ".join(name for name, model in mechanisms.items() if kind in (None, model.kind)) or "none"
