"""Neurons made of parts: what the flat model says, and that a bad composition always gets a clear error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sims import documents, equations
from sims.documents import EquationError
from sims.summary import summarise

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"

SOMA = """\
description: a leaky soma that spikes
equations: |
  dv/dt = (E_L - v)/tau + I/C : volt (unless refractory)
threshold: v > -50*mV
refractory: pause
events: {spike: v = E_L}
parameters: {E_L: -70*mV, tau: 20*ms, C: 200*pF, I: 0*pA, pause: 2*ms}
"""
DENDRITE = """\
description: a leaky dendrite with a synapse
equations: |
  dv/dt = (E_L - v)/tau + s*w/tau : volt
  ds/dt = -s/tau : 1
events: {presynaptic: s += ds}
initial: {s: 0.5*ds}
parameters: {E_L: -70*mV, tau: 10*ms, w: 30*mV, ds: 0.1}
"""
NEURON = """\
description: both together
parts:
  soma: soma.yaml
  dendrite: {file: dendrite.yaml, count: 3, each: [w]}
equations: |
  soma_I = g*sum(dendrite_v - soma_v) : amp
parameters: {g: 5*nS}
"""


@pytest.fixture(autouse=True)
def files(tmp_path):
    (tmp_path / "soma.yaml").write_text(SOMA)
    (tmp_path / "dendrite.yaml").write_text(DENDRITE)


def read(tmp_path, text):
    (tmp_path / "neuron.yaml").write_text(text)
    return equations.read(tmp_path / "neuron.yaml")


def test_states_events_and_initial_values_are_there_once_for_each_instance(tmp_path):
    model = read(tmp_path, NEURON)
    assert list(model.states) == ["soma_v", *(f"dendrite{k}_{name}" for k in (1, 2, 3) for name in "vs")]
    assert list(model.events) == ["spike", *(f"dendrite{k}_presynaptic" for k in (1, 2, 3))]
    (statement,) = model.events["dendrite2_presynaptic"]
    assert (statement.name, statement.operator, statement.expression.text) == ("dendrite2_s", "+=", "dendrite_ds")
    assert model.initial["dendrite3_s"].text == "0.5 * dendrite_ds"
    assert model.threshold.text == "soma_v > -50 * mV" and model.refractory.text == "soma_pause"
    assert model.states["soma_v"].unless_refractory and not model.states["dendrite1_v"].unless_refractory


def test_a_parameter_is_shared_by_all_instances_unless_the_file_says_each(tmp_path):
    model = read(tmp_path, NEURON + "")
    assert "dendrite_tau" in model.parameters and "dendrite1_tau" not in model.parameters
    assert "dendrite_w" not in model.parameters and "dendrite3_w" in model.parameters


def test_one_name_sets_a_parameter_of_all_instances_or_of_one(tmp_path):
    text = NEURON.replace("{g: 5*nS}", "{g: 5*nS, dendrite_w: 40*mV, dendrite2_w: 50*mV, dendrite_tau: 5*ms}")
    values = read(tmp_path, text).values()
    assert [values[f"dendrite{k}_w"] for k in (1, 2, 3)] == [0.04, 0.05, 0.04] and values["dendrite_tau"] == 0.005


def test_the_sum_adds_over_the_instances_and_a_parameter_becomes_an_equation(tmp_path):
    model = read(tmp_path, NEURON)
    assert "soma_I" not in model.parameters
    state = {"soma_v": -0.06, "dendrite1_v": -0.01, "dendrite2_v": -0.03, "dendrite3_v": -0.05}
    assert model.compute(model.values(**state), ["soma_I"])["soma_I"] == pytest.approx(5e-9 * (0.05 + 0.03 + 0.01))


def test_a_sum_over_what_is_shared_counts_the_instances(tmp_path):
    model = read(tmp_path, NEURON.replace("= g*", "= g*sum(dendrite_E_L - soma_v) + 0*g*"))
    state = {"soma_v": -0.08, "dendrite1_v": 0, "dendrite2_v": 0, "dendrite3_v": 0}
    assert model.compute(model.values(**state))["soma_I"] == pytest.approx(5e-9 * 3 * 0.01)


def test_an_equation_on_a_counted_part_holds_for_each_instance_with_its_own_names(tmp_path):
    model = read(
        tmp_path, NEURON.replace("parameters", "  dendrite_w = 1*mV + 0.1*(soma_v - dendrite_v) : volt\nparameters")
    )
    state = {"soma_v": -0.06, "dendrite1_v": -0.01, "dendrite2_v": -0.03, "dendrite3_v": -0.05}
    found = model.compute(model.values(**state))
    assert [found[f"dendrite{k}_w"] for k in (1, 2, 3)] == pytest.approx([-0.004, -0.002, 0])


def test_an_event_of_the_whole_reaches_every_instance(tmp_path):
    text = (
        NEURON
        + "events: {spike: soma_v = soma_E_L; dendrite_v += 0.1*(soma_v - dendrite_v), presynaptic: dendrite_s += 1}\n"
    )
    events = read(tmp_path, text).events
    assert [s.name for s in events["spike"]] == ["soma_v", "dendrite1_v", "dendrite2_v", "dendrite3_v"]
    assert events["spike"][2].expression.names == {"soma_v", "dendrite2_v"}
    assert [s.name for s in events["presynaptic"]] == ["dendrite1_s", "dendrite2_s", "dendrite3_s"]


def test_an_event_of_a_part_is_replaced_for_every_instance(tmp_path):
    events = read(tmp_path, NEURON + "events: {dendrite_presynaptic: dendrite_s = dendrite_ds}\n").events
    assert all(events[f"dendrite{k}_presynaptic"][0].operator == "=" for k in (1, 2, 3)) and len(events) == 4


def test_one_line_swaps_a_part_for_another():
    nmda, linear = (equations.read(EQUATIONS / f"neuron_nmda{suffix}.yaml") for suffix in ("", "_linear"))
    assert linear.states == nmda.states and linear.parameters == nmda.parameters and linear.digest != nmda.digest
    assert "dendrite1_v" in nmda.needs(["dendrite1_B"]) and "dendrite1_v" not in linear.needs(["dendrite1_B"])


def test_the_files_of_the_parts_are_sources(tmp_path):
    read(tmp_path, NEURON)
    found = [path.name for path in documents.sources(tmp_path / "neuron.yaml")]
    assert found == ["neuron.yaml", "soma.yaml", "dendrite.yaml"]


def test_a_part_without_a_count_has_no_number_and_may_be_summed_too(tmp_path):
    model = read(tmp_path, NEURON.replace(", count: 3, each: [w]", ""))
    assert set(model.states) == {"soma_v", "dendrite_v", "dendrite_s"} and "dendrite_w" in model.parameters


def test_names_are_changed_and_units_and_functions_are_not(tmp_path):
    (tmp_path / "dendrite.yaml").write_text(DENDRITE.replace("-s/tau", "-s/tau*exp(-v/(1*mV))*exprel(pi*s)"))
    text = read(tmp_path, NEURON).states["dendrite1_s"].expression.text
    assert "exp(-dendrite1_v / (1 * mV))" in text and "exprel(pi * dendrite1_s)" in text


def test_the_summary_shows_threshold_and_refractory_time(tmp_path):
    read(tmp_path, NEURON)
    assert "spikes where soma_v > -50 * mV, then refractory for soma_pause" in summarise(tmp_path / "neuron.yaml").text


BAD = {
    "a missing file": (NEURON.replace("soma.yaml", "nowhere.yaml"), 3, "there is no file"),
    "no file": (NEURON.replace("soma.yaml", "{count: 2}"), 3, "names no file"),
    "an empty part": (NEURON.replace("soma.yaml", "{}"), 3, "names no file"),
    "no parts": ("parts: {}\n", 1, "at least one part"),
    "a list of parts": ("parts: [soma.yaml]\n", 1, "must be a mapping"),
    "an unknown key": (NEURON.replace("count", "number"), 4, "unknown key 'number'"),
    "a name that is none": (NEURON.replace("soma: s", "so ma: s"), 3, "not a name"),
    "count 0": (NEURON.replace("3", "0"), 4, "from 1 to"),
    "a negative count": (NEURON.replace("3", "-1"), 4, "from 1 to"),
    "a count that is no number": (NEURON.replace("3", "many"), 4, "from 1 to"),
    "a count of millions": (NEURON.replace("3", "9999999"), 4, "from 1 to"),
    "a kind without parts": ("kind: channel\n" + NEURON, 1, "only a neuron has parts"),
    "an unknown name in each": (NEURON.replace("[w]", "[w, z]"), 4, "no parameter 'z'"),
    "names that could be another part's": (NEURON.replace("soma: s", "dendrite1: s"), 4, "rename one"),
    "a part's name that begins another's": (NEURON.replace("soma: s", "dendrite_a: s"), 4, "rename one"),
    "a part that is not connected": (NEURON.replace("g*sum(dendrite_v - soma_v)", "0*pA*g/nS"), 4, "nothing connects"),
    "one name for several values": (NEURON.replace("sum(dendrite_v - soma_v)", "dendrite_v"), 6, "dendrite1_v to dend"),
    "a sum of nothing": (NEURON.replace("dendrite_v - soma_v", "1*mV"), 6, "sum() adds over the instances"),
    "a sum of two things": (NEURON.replace("(dendrite_v - soma_v)", "(dendrite_v, soma_v)"), 6, "takes one expression"),
    "an unknown name": (NEURON.replace("dendrite_v -", "dendrite_u -"), 6, "unknown name 'dendrite_u'"),
    "an unknown unit": (NEURON.replace(": amp", ": ampeer"), 6, "unknown unit"),
    "units that do not fit": (NEURON.replace("g*sum", "sum"), 6, "expected"),
    "python": (NEURON.replace("dendrite_v -", "dendrite_v.__class__ -"), 6, "not allowed"),
    "a sum that grows too long": (
        NEURON.replace("count: 3", "count: 50").replace("dendrite_v -", "dendrite_v + dendrite_v + dendrite_v -"), 6,
        "too long",
    ),
    "deep nesting": (NEURON.replace("dendrite_v -", "(" * 190 + "dendrite_v" + ")" * 190 + "-"), 6, ""),
    "an equation of one instance": (
        NEURON.replace("parameters", "  dendrite2_w = 1*mV : volt\nparameters"), 7, "write dendrite_w"
    ),
    "an event of one part's spike": (NEURON + "events: {soma_spike: soma_v = soma_E_L}\n", 8, "has one spike"),
    "a parameter of one instance that is shared": (
        NEURON.replace("5*nS}", "5*nS, dendrite2_tau: 1*ms}"), 7, "nothing in this model uses"
    ),
    "two parts that spike": (NEURON.replace("dendrite.yaml", "soma.yaml").replace("w]", "tau]"), 4, "one threshold"),
}  # fmt: skip


@pytest.mark.parametrize("text, line, words", BAD.values(), ids=BAD)
def test_an_error_names_the_file_the_line_and_the_cause(tmp_path, text, line, words):
    if not words:  # deep nesting: fine, or refused in words
        words = "neuron.yaml"
        text = text.replace("(" * 190, "(" * 5000).replace(")" * 190, ")" * 5000)
    with pytest.raises(EquationError) as error:
        read(tmp_path, text)
    message = str(error.value)
    assert message.startswith(f"{tmp_path / 'neuron.yaml'}:{line}:") and words in message, message
    assert "\n" not in message and len(message) < 600


def test_a_part_must_be_a_neuron_without_parts(tmp_path):
    with pytest.raises(EquationError, match="is a channel; a part must be a neuron"):
        read(tmp_path, NEURON.replace("dendrite.yaml", str(EQUATIONS / "l5pc" / "Ih.yaml")))
    with pytest.raises(EquationError, match="is itself made of parts"):
        read(tmp_path, NEURON.replace("dendrite.yaml", "neuron.yaml"))
    with pytest.raises(EquationError, match="expected UTF-8|is a cell|unknown key"):
        read(tmp_path, NEURON.replace("dendrite.yaml", str(EQUATIONS / "l5pc" / "cell.yaml")))


def test_sources_of_a_part_that_names_itself_end(tmp_path):
    (tmp_path / "loop.yaml").write_text("parts: {a: loop.yaml}\n")
    assert [path.name for path in documents.sources(tmp_path / "loop.yaml")] == ["loop.yaml"]


def test_extending_in_a_circle_through_a_part_is_an_error(tmp_path):
    (tmp_path / "dendrite.yaml").write_text("extends: other.yaml\n")
    (tmp_path / "other.yaml").write_text("extends: dendrite.yaml\n")
    with pytest.raises(EquationError, match="circle"):
        read(tmp_path, NEURON)


def test_a_mistake_in_a_part_is_reported_at_its_own_place(tmp_path):
    (tmp_path / "dendrite.yaml").write_text(DENDRITE.replace("-s/tau", "-s/tao"))
    with pytest.raises(EquationError, match=r"dendrite\.yaml:4: unknown name 'tao'"):
        read(tmp_path, NEURON)


def test_integration_must_be_one_for_all_parts_or_given(tmp_path):
    (tmp_path / "dendrite.yaml").write_text(DENDRITE + "integration: euler\n")
    with pytest.raises(EquationError, match="integrated differently"):
        read(tmp_path, NEURON)
    assert read(tmp_path, NEURON + "integration: exact\n").integration == "exact"


@pytest.mark.parametrize("path", ["neuron_nmda.yaml", "neuron_nmda_linear.yaml"])
def test_the_composed_drift_is_that_of_the_parts(path):
    whole, soma = equations.read(EQUATIONS / path), equations.read(EQUATIONS / "soma_lif.yaml")
    dendrite = equations.read(EQUATIONS / path.replace("neuron", "dendrite"))
    v = {"soma_v": -0.06, "dendrite1_v": -0.01, "dendrite2_v": -0.07}
    state = v | {"dendrite1_s": 1.3, "dendrite2_s": 0.2}
    for k in (1, 2):
        alone = dendrite.derivative("v", dendrite.values(v=v[f"dendrite{k}_v"], s=state[f"dendrite{k}_s"]))
        assert whole.derivative(f"dendrite{k}_v", whole.values(**state)) == pytest.approx(alone, rel=1e-12)
    current = 10e-9 * np.sum([v[f"dendrite{k}_v"] - v["soma_v"] for k in (1, 2)])
    alone = soma.derivative("v", soma.values(v=-0.06, I=current))
    assert whole.derivative("soma_v", whole.values(**state)) == pytest.approx(alone, rel=1e-12)


FULL = NEURON + (
    "events: {dendrite_presynaptic: dendrite_s = 1, spike: dendrite_v += 1*mV}\ninitial: {dendrite_v: -60*mV}\n"
    "threshold: soma_v > -45*mV\n"
)
MUTATIONS = st.tuples(
    st.integers(0, len(FULL)),
    st.integers(0, 30),
    st.sampled_from(
        ["", "\n", ":", "{", "}", "[", "null", "sum(", "dendrite_v", "soma_", "dendrite2_w", "= 1", "/", "0", "x y"]
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MUTATIONS, min_size=1, max_size=3))
def test_a_mangled_composition_is_read_or_refused_but_never_crashes(tmp_path, mutations):
    text = FULL
    for start, length, replacement in mutations:
        text = text[:start] + replacement + text[start + length :]
    try:
        read(tmp_path, text)
    except EquationError as error:
        assert str(error).startswith(str(tmp_path)) and "\n" not in str(error)


@pytest.mark.parametrize("count", [1, 2, 8])
def test_a_reader_may_ask_for_another_count(count):
    model = equations.read("equations/neuron_reduced.yaml", {"dendrite": count})
    assert [name for name in model.states if name.endswith("_v")] == [
        "soma_v", *(f"dendrite{k}_v" for k in range(1, count + 1))
    ]  # fmt: skip


def test_without_its_dendrites_the_soma_is_that_of_its_own_file():
    alone, own = (
        equations.read("equations/neuron_reduced.yaml", {"dendrite": 0}),
        equations.read("equations/soma_reduced.yaml"),
    )
    assert {f"soma_{name}": p.value for name, p in own.parameters.items()} == {
        name: p.value for name, p in alone.parameters.items()
    }
    assert list(alone.states) == [f"soma_{name}" for name in own.states]


@pytest.mark.parametrize(
    "counts, words",
    [({"axon": 1}, "has no part 'axon' to count; it has soma, dendrite"), ({"dendrite": -1}, "from 1 to 50")],
)
def test_a_count_that_cannot_be_is_refused(counts, words):
    with pytest.raises(EquationError, match=words):
        equations.read("equations/neuron_reduced.yaml", counts)
