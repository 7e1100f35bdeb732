"""One page about an equation file: what `python -m sims check` prints."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sims import delays, documents, equations
from sims.analysis import bifurcation, nmda
from sims.analysis.fixed_points import at_rest, fixed_points
from sims.cells import l5pc
from sims.expressions import unit_name
from sims.stimuli import l5

VOLTAGES_mV = (-90, -75, -60, -45, -30, -15, 0, 15)


@dataclass(frozen=True)
class Summary:
    """text: for people.  figures: the same as plain data, for scripts."""

    text: str
    figures: dict


def summarise(path):
    """Read and check a file of any kind.  Returns a Summary.  Raises EquationError as the readers do."""
    kind = documents.read(path).mapping("an equation file").get("kind")
    if kind is not None and kind.value == "cell":
        return _cell(l5pc.read(path))
    if kind is not None and kind.value == "inputs":
        return _inputs(l5.read(path))
    if kind is not None and kind.value == "network":
        return _network(delays.read(path))
    return _model(equations.read(path))


def _head(path, kind, description, reference, digest):
    sources = ", ".join(str(source) for source in documents.sources(path))
    article = "an" if kind[0] in "aeiou" else "a"
    lines = [
        f"{path}: {article} {kind}, correct",
        f"  {description}",
        f"  source: {reference}",
        f"  files:  {sources}",
        f"  digest: {digest[:16]}",
    ]
    return lines, {"file": str(path), "kind": kind, "digest": digest}


def _model(model):
    lines, figures = _head(model.path, model.kind, model.description, model.reference, model.digest)
    lines.append("equations")
    for equation in (*model.states.values(), *model.subexpressions.values()):
        left = f"d{equation.name}/dt" if equation.differential else equation.name
        flag = " unless refractory" if equation.unless_refractory else ""
        lines.append(f"  {left} = {equation.expression.text}    [{unit_name(equation.dimension)}]{flag}")
    if model.threshold:
        pause = f", then refractory for {model.refractory.text}" if model.refractory else ""
        lines.append(f"  spikes where {model.threshold.text}{pause}")
    lines += [
        f"  on {event}: " + "; ".join(f"{s.name} {s.operator} {s.expression.text}" for s in body)
        for event, body in model.events.items()
    ]
    lines.append("parameters")
    width = max(map(len, model.parameters), default=0)
    lines += [_parameter(parameter, width) for parameter in model.parameters.values()]
    figures["parameters"] = model.values()
    if model.kind == "neuron" and "v" in model.states:
        points = fixed_points(model)
        figures["fixed_points"] = [
            {"v_mV": point.v * 1e3, "stable": point.stable, "largest_euler_step_ms": point.largest_euler_step * 1e3}
            for point in points
        ]
        lines.append("fixed points (all other states at rest)")
        lines += [
            f"  {'stable  ' if point.stable else 'unstable'} v = {point.v * 1e3:8.3f} mV    "
            f"explicit Euler diverges above dt = {point.largest_euler_step * 1e3:.3g} ms"
            for point in points
        ]
        if model.integration == "exponential_euler":
            lines.append("  integrated by exponential Euler, which is stable at every dt")
        if warning := _not_as_meant(model, points):
            figures["warnings"] = [warning]
            lines.append(f"warning: {warning}")
    if model.kind == "channel":
        lines += _gates(model, figures)
    return Summary("\n".join(lines), figures)


def _not_as_meant(model, points):
    """What the file says of itself and does not hold, with the condition that decides; None if all is well."""
    stable = [point.v * 1e3 for point in points if point.stable]
    if model.bistable is None or model.bistable == (len(stable) > 1):
        return None
    if not model.bistable:
        return f"not meant to be bistable, but {' and '.join(f'{v:.1f} mV' for v in stable)} are both stable"
    return f"meant to be bistable, but it is not: {_what_fails(model)}"


def _what_fails(model):
    values = at_rest(model, np.asarray(0.0), {})
    form = nmda.recognise(model)
    dendrite = form and form.dendrite(values)
    if dendrite:
        folds = dendrite.folds()
        if folds is None:
            return dendrite.condition
        found = form.weight(values)
        side = f"below {folds.w_low:.5g}" if found <= folds.w_low else f"above {folds.w_high:.5g}"
        return f"{form.strength} = {found:.5g} is {side}; bistable from {folds.w_low:.5g} to {folds.w_high:.5g}"
    if bifurcation.DEFAULT not in model.parameters:
        return "it does not have two stable voltages at these values"
    diagram = bifurcation.diagram(model)
    return f"{diagram.label} is {diagram.shown(diagram.value)}; {diagram.condition}"


def _parameter(parameter, width=12):
    bounds = f" in [{parameter.bounds[0]}, {parameter.bounds[1]}]" if parameter.bounds else ""
    fitted = ", fitted" if parameter.fit else ""
    name = f"{parameter.name:<{max(12, width)}}"
    return f"  {name} {parameter.value!s:<26}{bounds}{fitted}    {parameter.description}".rstrip()


def _gates(model, figures):
    """A table of the steady states and time constants that depend on the voltage alone."""
    names = [name for name in model.subexpressions if name.endswith("_inf") or name.startswith("tau_")]
    names = [
        name for name in names if model.needs([name]) & {"v"} and not model.needs([name]) & {"Ca_i", *model.states}
    ]
    if not names:
        return []
    values = model.compute(model.values(v=np.array(VOLTAGES_mV) * 1e-3), names)
    figures["gates"] = {"v_mV": list(VOLTAGES_mV)} | {name: np.asarray(values[name]).tolist() for name in names}
    lines = ["gates (time constants in ms)", "  v/mV      " + "".join(f"{v:>10}" for v in VOLTAGES_mV)]
    for name in names:
        scale = 1e3 if name.startswith("tau") else 1
        lines.append(
            f"  {name:<10}"
            + "".join(f"{value * scale:>10.4g}" for value in np.broadcast_to(values[name], len(VOLTAGES_mV)))
        )
    return lines


def _cell(cell):
    lines, figures = _head(cell.path, "cell", cell.description, cell.reference, cell.digest)
    lines.append(
        f"  starts at {cell.v_init:g} mV; "
        + ", ".join(f"{name} = {value:g} mV" for name, value in cell.reversal_potentials.items())
    )
    lines += [f"  an {sign} event drives {', '.join(names) or 'nothing'}" for sign, names in cell.inputs.items()]
    for name, region in cell.regions.items():
        lines.append(f"{name}: {region.capacitance}, {region.axial_resistivity}")
        for mechanism, values in region.mechanisms.items():
            given = ", ".join(f"{parameter} = {value.text}" for parameter, value in values.items())
            lines.append(f"  {mechanism:<14} {given or 'as in its file'}")
    figures["mechanisms"] = {name: str(Path(model.path)) for name, model in cell.mechanisms.items()}
    figures["regions"] = {name: sorted(region.mechanisms) for name, region in cell.regions.items()}
    return Summary("\n".join(lines), figures)


def _inputs(inputs):
    model = inputs.model
    lines, figures = _head(model.path, "input generator", model.description, model.reference, model.digest)
    lines.append(f"  hold:      one of {', '.join(f'{x:g}' for x in inputs.hold)} ms")
    lines.append(f"  smoothing: one of {', '.join(f'{x:g}' for x in inputs.smoothing)} ms")
    for tree, drives in inputs.drives.items():
        excitation, inhibition = drives["excitation"], drives["inhibition"]
        lines.append(
            f"  {tree}: excitation {excitation[0]:g} to {excitation[1]:g} Hz in all, "
            f"inhibition {inhibition[0]:+g} to {inhibition[1]:+g} Hz of that"
        )
    lines += [f"  {e.name} = {e.expression.text}    [{unit_name(e.dimension)}]" for e in model.subexpressions.values()]
    lines += [_parameter(parameter) for parameter in model.parameters.values()]
    figures |= {"hold_ms": inputs.hold.tolist(), "smoothing_ms": inputs.smoothing.tolist(), "drives_Hz": inputs.drives}
    return Summary("\n".join(lines), figures)


def _network(network):
    summary, n = _model(network.model), network
    synapses = n.N**2 * n.D
    lines = [
        f"  {synapses:,} synapses: from each of {n.N} neurons to each, at delays of 1 to {n.D} steps",
        f"  a trial has {n.steps} steps of {n.step * 1e3:g} ms: {n.lead} of noise, {n.T} of the pattern, of which "
        f"{n.imposed_steps - n.lead} are its cue, {n.tail} more",
        f"  silenced as a runaway after {n.most_spikes} spikes; a pattern has {n.N * n.T * n.p_A:.0f}",
    ]
    figures = {"synapses": synapses, "steps": n.steps, "imposed_steps": n.imposed_steps, "most_spikes": n.most_spikes}
    return Summary("\n".join([summary.text, "network", *lines]), summary.figures | figures)
