"""The layer-5 cell: densities where they belong; an edit changes what depends on it and nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sims import documents, equations
from sims.backends.neuron import NeuronCell, mechanisms
from sims.cells import l5pc, morphology
from sims.documents import EquationError

L5PC = Path(__file__).resolve().parents[2] / "equations" / "l5pc"
FILES = sorted(path for path in L5PC.glob("*.yaml") if path.name != "cell.yaml")
# A neuron of five compartments: quick to build, with every region and both rules of distance.
SMALL = """\
1 1 0 0 0 8 -1
2 1 0 8 0 8 1
3 1 0 -8 0 8 1
4 3 10 0 0 0.5 1
5 3 60 0 0 0.5 4
6 4 0 10 0 1 1
7 4 0 700 0 1 6
8 4 0 800 0 0.5 7
"""


@pytest.fixture(scope="module")
def published():
    return l5pc.read()


@pytest.fixture(scope="module", params=["cell1", "stylised"])
def segments(request):
    path = request.getfixturevalue("cell1_path") if request.param == "cell1" else morphology.find("stylised")
    return morphology.segments(morphology.with_axon_stub(morphology.load(path)))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("small") / "small.swc"
    path.write_text(SMALL)
    return morphology.with_axon_stub(morphology.load(path))


def test_there_are_eleven_active_channels_a_leak_a_shell_and_three_receptors(published):
    kinds = [model.kind for model in published.mechanisms.values()]
    assert [kinds.count(kind) for kind in ("channel", "shell", "synapse")] == [12, 1, 3]


def test_ih_rises_along_the_apical_tree(published, segments):
    placement = published.placements(segments)["Ih"]
    apical = segments.region[placement.segments] == "apical"
    density, distance = placement.values["gbar"][apical], segments.rule_distance[placement.segments[apical]]
    assert density.max() == pytest.approx(2.10240e-3, rel=1e-5)
    reach = distance.max()
    expected = 1e-4 * (-0.8696 + 2.0870 * np.exp(3.6161 * np.minimum(distance / reach, 0.65)))
    np.testing.assert_allclose(density, expected, rtol=1e-12)


def test_29_segments_lie_in_the_calcium_hot_zone(published, segments):
    placement = published.placements(segments)["Ca_LVAst"]
    apical = segments.region[placement.segments] == "apical"
    hot = np.isclose(placement.values["gbar"], 0.2271264, rtol=1e-12)
    assert hot.sum() == 29 and apical[hot].all()
    np.testing.assert_allclose(placement.values["gbar"][apical & ~hot], 0.002271264, rtol=1e-12)
    assert segments.area[placement.segments[hot]].sum() == pytest.approx(2437.7, rel=0.02)


def test_on_cell1_the_rules_take_the_published_extremes(published, cell1_path):
    segments = morphology.segments(morphology.with_axon_stub(morphology.load(cell1_path)))
    density = published.placements(segments)["Ih"].values["gbar"][segments.region == "apical"]
    assert (density.min(), density.max()) == pytest.approx((1.2625e-4, 2.10240e-3), rel=1e-5)
    first, last = (np.flatnonzero(segments.region == "apical")[i] for i in (0, -1))
    assert segments.rule_distance[first] < segments.rule_distance[last]


@pytest.mark.parametrize(
    "region, absent",
    [
        ("basal", ["Im", "NaTs2_t", "Ca_HVA", "calcium_shell"]),
        ("apical", ["NaTa_t", "K_Pst"]),
        ("soma", ["AMPA", "K_Tst"]),
    ],
)
def test_a_region_holds_its_mechanisms_and_no_others(published, segments, region, absent):
    here = np.flatnonzero(segments.region == region)
    placements = published.placements(segments)
    for mechanism, placement in placements.items():
        inside = np.isin(here, placement.segments)
        assert inside.all() if mechanism in published.regions[region].mechanisms else not inside.any()
    assert not set(absent) & set(published.regions[region].mechanisms)


def test_the_membrane_is_twice_as_thick_with_charge_on_dendrites(published, segments):
    capacitance, resistivity = published.membrane(segments)
    dendritic = np.isin(segments.region, ["basal", "apical"])
    np.testing.assert_allclose(capacitance, np.where(dendritic, 2, 1))
    np.testing.assert_allclose(resistivity, 100)


# The promise of the format.


def edited(tmp_path, path):
    """Files that differ from `path` in one number or one term of one line, as (line, text of a file extending it)."""
    model = equations.read(path)
    for name, parameter in model.parameters.items():
        changed = f"1.25*({parameter.value.text})" if parameter.value.value else f"1e-3*({_unit(parameter)})"
        yield f"parameter {name}", f"extends: {path}\nparameters: {{{name}: {changed}}}\n"
    for equation in (*model.states.values(), *model.subexpressions.values()):
        left = f"d{equation.name}/dt" if equation.differential else equation.name
        unit = equation.node.value.rsplit(":", 1)[1]
        yield (
            f"equation {left}",
            f"extends: {path}\nequations: |\n  {left} = 1.25*({equation.expression.text}) : {unit}\n",
        )
    for event in model.events:
        yield f"event {event}", f"extends: {path}\nevents: {{{event}: A += 2*unit_peak; B += 2*unit_peak}}\n"
    for state, start in model.initial.items():
        yield f"initial {state}", f"extends: {path}\ninitial: {{{state}: 1.25*({start.text})}}\n"


def _unit(parameter):
    return parameter.value.text.lstrip("0").lstrip("*") or "1"


KNOWN = {}  # generating NMODL costs more than all else here, and most models recur


def names(cell):
    """{mechanism: its name in NEURON}, which carries a digest of its NMODL."""
    shell = cell.shell
    found = {}
    for name, model in cell.mechanisms.items():
        key = (name, model.digest, shell.digest, cell.varied[name])
        if key not in KNOWN:
            KNOWN[key] = mechanisms({name: model}, cell.varied, shell)[name].name
        found[name] = KNOWN[key]
    return found


def with_mechanism(tmp_path, name, text):
    """The published cell with one mechanism's file replaced."""
    (tmp_path / "changed.yaml").write_text(text)
    hypothesis = tmp_path / "cell.yaml"
    hypothesis.write_text(f"extends: {L5PC / 'cell.yaml'}\nmechanisms: {{{name}: {{file: changed.yaml}}}}\n")
    return l5pc.read(hypothesis)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_changing_any_line_of_a_mechanism_changes_what_depends_on_it_and_nothing_else(tmp_path, published, path):
    before = names(published)
    changes = list(edited(tmp_path, path))
    assert changes
    for line, text in changes:
        (tmp_path / "changed.yaml").write_text(text)
        changed = equations.read(tmp_path / "changed.yaml")
        cell = replace(published, mechanisms={**published.mechanisms, path.stem: changed})
        after = names(cell)
        changed = {name for name in after if after[name] != before[name]}
        expected = {path.stem}
        if path.stem == "calcium_shell" and line.split()[1] in ("E_Ca", "Ca_o", "T", "R", "F"):
            expected = {"Ca_LVAst", "Ca_HVA"} | ({path.stem} if line == "parameter F" else set())
        # What every region sets by itself is only a default in the file.
        in_file_only = line.split()[1] in cell.varied[path.stem] and line.startswith("parameter")
        assert changed == (set() if in_file_only else expected), line
        assert cell.digest != published.digest, line


def test_a_density_changed_through_extends_changes_that_region_alone(tmp_path, published, segments):
    hypothesis = tmp_path / "no_ih.yaml"
    hypothesis.write_text(
        f"extends: {L5PC / 'cell.yaml'}\nregions: {{apical: {{mechanisms: {{Ih: {{gbar: 0*siemens/cm**2}}}}}}}}\n"
    )
    before, after = published.placements(segments), l5pc.read(hypothesis).placements(segments)
    apical = segments.region == "apical"
    for name in before:
        for parameter, values in before[name].values.items():
            same = values == after[name].values[parameter]
            np.testing.assert_array_equal(same, ~apical[before[name].segments] if name == "Ih" else True)
    assert names(l5pc.read(hypothesis)) == names(published)


def test_a_mechanism_can_be_removed_by_a_null(tmp_path, published, segments):
    hypothesis = tmp_path / "ampa_only.yaml"
    hypothesis.write_text(f"extends: {L5PC / 'cell.yaml'}\nmechanisms: {{NMDA: null}}\n")
    cell = l5pc.read(hypothesis)
    assert cell.inputs["excitatory"] == ("AMPA",) and "NMDA" not in cell.placements(segments)


# The mutations again, where they count: in NEURON's voltages.
ONE_CHANGE = {
    "leak": "gbar", "Ih": "A_alpha", "Im": "V_half", "Ca_LVAst": "V_m", "Ca_HVA": "V_alpha_m", "SK_E2": "Ca_half",
    "SKv3_1": "V_m", "NaTs2_t": "V_m", "NaTa_t": "V_m", "Nap_Et2": "V_m_inf", "K_Tst": "k_m", "K_Pst": "V_m",
    "calcium_shell": "Ca_rest", "AMPA": "tau_decay", "NMDA": "Mg", "GABA_A": "E",
}  # fmt: skip


def voltage(cell, tree):
    """The soma's voltage while the small neuron is driven to spike."""
    segments = morphology.segments(tree)
    time = np.arange(1, 40)
    excited = np.repeat(np.arange(len(segments.dendritic)), len(time))
    event_time = np.tile(time, len(segments.dendritic))
    inhibited = len(segments.dendritic) + np.arange(len(segments.dendritic))
    return NeuronCell(cell, tree, segments).run_trial(
        np.concatenate([event_time, np.full(len(inhibited), 30)]), np.concatenate([excited, inhibited]), 40
    )


@pytest.fixture(scope="module")
def unchanged(published, small):
    return voltage(published, small)


def test_the_mutated_files_cover_every_mechanism(published):
    assert set(ONE_CHANGE) == set(published.mechanisms)


@pytest.mark.parametrize("mechanism", ONE_CHANGE)
def test_a_changed_constant_changes_the_voltage(tmp_path, published, small, unchanged, mechanism):
    parameter = published.mechanisms[mechanism].parameters[ONE_CHANGE[mechanism]]
    if ONE_CHANGE[mechanism] in published.varied[mechanism]:
        hypothesis = tmp_path / "cell.yaml"
        setting = f"{{{mechanism}: {{{parameter.name}: 2*({parameter.value.text})}}}}"
        hypothesis.write_text(f"extends: {L5PC / 'cell.yaml'}\nregions: {{soma: {{mechanisms: {setting}}}}}\n")
        cell = l5pc.read(hypothesis)
    else:
        text = f"extends: {L5PC / mechanism}.yaml\nparameters: {{{parameter.name}: 0.8*({parameter.value.text})}}\n"
        cell = with_mechanism(tmp_path, mechanism, text)
    assert np.abs(unchanged.trace_voltage - voltage(cell, small).trace_voltage).max() > 1e-6


def test_a_cell_is_not_touched_by_others_in_the_same_process(published, small, unchanged):
    np.testing.assert_array_equal(unchanged.trace_voltage, voltage(published, small).trace_voltage)


BAD = {
    "an unknown mechanism": ("mechanisms: {Ihh: {fil: Ih.yaml}}", "unknown key 'fil'"),
    "a missing file": ("mechanisms: {Ih: {file: nowhere.yaml}}", "there is no file"),
    "a file of another kind": ("mechanisms: {Ih: {file: INPUTS}}", "expected channel, shell or synapse"),
    "an unknown region": ("regions: {tuft: {}}", "unknown key 'tuft'"),
    "a mechanism that is not named": ("regions: {soma: {mechanisms: {Kir: {}}}}", "does not name"),
    "an unknown parameter": ("regions: {soma: {mechanisms: {Ih: {gmax: 1*nS}}}}", "has no parameter 'gmax'"),
    "a density in another unit": ("regions: {soma: {mechanisms: {Ih: {gbar: 1*nS}}}}", "expected"),
    "an unknown name in a density": (
        "regions:\n  soma:\n    mechanisms:\n      Ih:\n        gbar: depth*siemens/cm**3", "unknown name 'depth'",
    ),
    "no capacitance": ("regions: {soma: {capacitance: 0*uF/cm**2}}", "must be positive"),
    "a channel as a synapse": ("inputs: {excitatory: [Ih]}", "is no synapse"),
    "an unknown sign": ("inputs: {modulatory: [AMPA]}", "unknown key 'modulatory'"),
    "an unknown potential": ("reversal_potentials: {E_Cl: -80*mV}", "unknown key 'E_Cl'"),
    "a missing potential": ("reversal_potentials: null", "must be a mapping"),
    "a reversal potential that differs by region": (
        "regions: {soma: {mechanisms: {calcium_shell: {Ca_o: 3*mM}}}}", "cannot differ by region",
    ),
    "no calcium shell": ("mechanisms: {calcium_shell: null}", "only a calcium shell provides"),
    "a voltage in another unit": ("v_init: -76", "unit"),
}  # fmt: skip


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_a_cell_file_that_is_wrong_is_refused_by_file_line_and_cause(tmp_path, text, words):
    path = tmp_path / "cell.yaml"
    text = text.replace("INPUTS", str(L5PC.parent / "inputs_l5.yaml"))
    path.write_text(f"extends: {L5PC / 'cell.yaml'}\n{text}\n")
    with pytest.raises(EquationError, match=r"cell.yaml:\d+: ") as error:
        l5pc.read(path)
    assert words in str(error.value)


def test_a_negative_density_is_refused(tmp_path, segments):
    path = tmp_path / "cell.yaml"
    path.write_text(
        f"extends: {L5PC / 'cell.yaml'}\nregions: {{apical: {{mechanisms: {{Im: {{gbar: -1*siemens/cm**2}}}}}}}}\n"
    )
    with pytest.raises(EquationError, match="Im.gbar is -1"):
        l5pc.read(path).placements(segments)


def test_the_sources_of_the_cell_are_all_its_files():
    found = {path.name for path in documents.sources(L5PC / "cell.yaml")}
    assert found == {"cell.yaml", *(path.name for path in FILES)}
