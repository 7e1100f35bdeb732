"""Equation files: what a good one means, and that a bad one always gets a clear error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sims import documents, equations
from sims.documents import EquationError

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"
# But cells, whose tests are in test_l5pc.py; a composition of parts has no kind of its own.
ALL_FILES = sorted(
    path
    for path in EQUATIONS.rglob("*.yaml")
    if "kind" not in (entries := documents.read(path).value) or entries["kind"].value != "cell"
)
DENDRITE = (EQUATIONS / "dendrite_nmda.yaml").read_text()

NEURON = """\
kind: neuron
description: a leaky compartment
equations: |
  dv/dt = (E_L - v)/tau : volt
parameters:
  E_L: {value: -70*mV, bounds: [-90*mV, -50*mV]}
  tau: 10*ms
"""


def read(tmp_path, text, name="model.yaml"):
    (tmp_path / name).write_text(text)
    return equations.read(tmp_path / name)


def complaint(tmp_path, text):
    with pytest.raises(EquationError) as error:
        read(tmp_path, text)
    return str(error.value)


@pytest.mark.parametrize("path", ALL_FILES, ids=lambda p: p.stem)
def test_every_file_of_the_project_is_correct_and_names_its_source(path):
    model = equations.read(path)
    assert model.description and model.reference


def test_a_scalar_is_short_for_a_parameter_with_a_value(tmp_path):
    model = read(tmp_path, NEURON)
    assert model.parameters["tau"].value.si == 0.01
    assert [bound.si for bound in model.parameters["E_L"].bounds] == [-0.09, -0.05]


def test_numbers_are_kept_as_they_were_written(tmp_path):
    model = read(tmp_path, NEURON.replace("-70*mV", "-70.1*mV"))
    assert model.parameters["E_L"].value.value * 10000 == -701


def test_subexpressions_come_in_an_order_in_which_they_can_be_computed(tmp_path):
    text = NEURON.replace("/tau : volt", "/b : volt\n  b = a*2 : second\n  a = tau/2 : second")
    assert list(read(tmp_path, text).subexpressions) == ["a", "b"]


def test_a_derivative_is_what_its_line_says(tmp_path):
    model = read(tmp_path, NEURON)
    assert model.derivative("v", model.values(v=np.array([-0.07, -0.06]))) == pytest.approx([0, -1.0])


def test_the_linearised_dendrite_changes_one_equation_and_nothing_else():
    linear, nmda = (equations.read(EQUATIONS / f"dendrite_nmda{suffix}.yaml") for suffix in ("_linear", ""))
    assert linear.parameters == nmda.parameters and linear.states == nmda.states and linear.events == nmda.events
    assert linear.subexpressions["B"].expression.names == {"eta", "gamma", "E_L"}
    assert linear.digest != nmda.digest


def test_extending_replaces_an_equation_by_its_left_side_and_a_parameter_by_its_name(tmp_path):
    (tmp_path / "base.yaml").write_text(NEURON)
    child = read(
        tmp_path, "extends: base.yaml\nequations: |\n  dv/dt = 2*(E_L - v)/tau : volt\nparameters: {E_L: -60*mV}\n"
    )
    assert child.states["v"].expression.text == "2*(E_L - v)/tau"
    assert child.parameters["E_L"].value.si == -0.06
    assert child.parameters["E_L"].bounds is not None and child.parameters["tau"].value.si == 0.01


def test_a_null_removes_what_was_inherited(tmp_path):
    (tmp_path / "base.yaml").write_text(NEURON)
    child = read(
        tmp_path, "extends: base.yaml\nequations: |\n  dv/dt = (E_L - v)/(10*ms) : volt\nparameters: {tau: null}\n"
    )
    assert set(child.parameters) == {"E_L"}


def test_a_file_extends_relative_to_itself_and_its_sources_are_known(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "base.yaml").write_text(NEURON)
    (tmp_path / "deep" / "middle.yaml").write_text("extends: ../base.yaml\n")
    top = tmp_path / "top.yaml"
    top.write_text("extends: deep/middle.yaml\n")
    assert documents.sources(top) == [top, tmp_path / "deep" / "middle.yaml", tmp_path / "base.yaml"]
    assert equations.read(top).digest == equations.read(tmp_path / "base.yaml").digest


def test_comments_and_descriptions_do_not_change_what_a_model_is(tmp_path):
    before = read(tmp_path, NEURON).digest
    assert read(tmp_path, "# a remark\n" + NEURON.replace("a leaky", "another leaky")).digest == before
    assert read(tmp_path, NEURON.replace("10*ms", "11*ms")).digest != before


def test_a_neuron_may_spike_and_its_digest_knows(tmp_path):
    spiking = "threshold: v > -50*mV\nrefractory: 2*ms\nevents: {spike: v = E_L}\n"
    model = read(tmp_path, NEURON.replace(": volt\n", ": volt (unless refractory)\n") + spiking)
    assert model.threshold.evaluate({"v": np.array([-0.06, -0.04])}).tolist() == [False, True]
    assert model.refractory.evaluate({}) == 0.002 and model.states["v"].unless_refractory
    digests = {model.digest, read(tmp_path, NEURON).digest, read(tmp_path, NEURON + spiking).digest}
    digests |= {
        read(tmp_path, NEURON + spiking.replace(before, after)).digest for before, after in (("5", "4"), ("2", "3"))
    }
    assert len(digests) == 5


def test_a_file_that_extends_may_take_the_spikes_away(tmp_path):
    child = read(
        tmp_path,
        f"extends: {EQUATIONS / 'soma_lif.yaml'}\nthreshold: null\nrefractory: null\nevents: {{spike: null}}\n"
        "equations: |\n  dv/dt = (g_L*(E_L - v) + I)/C : volt\nparameters: {v_threshold: null, t_refractory: null}\n",
    )
    assert child.threshold is None and child.refractory is None and not child.events


BAD = {
    "unknown key": (NEURON + "parmeters: {}\n", 8, "unknown key 'parmeters'"),
    "unknown key of a parameter": (NEURON.replace("bounds", "bound"), 6, "unknown key 'bound'"),
    "unknown name": (NEURON.replace("/tau", "/tao"), 4, "unknown name 'tao'"),
    "unknown unit": (NEURON.replace("-70*mV", "-70*milivolt"), 6, "unknown unit 'milivolt'"),
    "unknown function": (NEURON.replace("E_L - v", "open(E_L)"), 4, "unknown function 'open'"),
    "unknown kind": (NEURON.replace("kind: neuron", "kind: neutron"), 1, "unknown kind 'neutron'"),
    "units that do not fit": (NEURON.replace("E_L - v", "E_L - tau"), 4, "units"),
    "wrong unit of an equation": (NEURON.replace("(E_L - v)/tau", "tau"), 4, "expected"),
    "a parameter without its unit": (NEURON.replace("10*ms", "10"), 4, "unit"),
    "bounds in another unit": (NEURON.replace("-50*mV", "-50*ms"), 6, "unit"),
    "bounds that descend": (NEURON.replace("-50*mV", "-95*mV"), 6, "ascend"),
    "three bounds": (NEURON.replace("-50*mV", "-60*mV, -50*mV"), 6, "found 3"),
    "a fit without bounds": (NEURON.replace("tau: 10*ms", "tau: {value: 10*ms, fit: true}"), 7, "no bounds"),
    "a fit that is no truth value": (NEURON.replace("10*ms", "{value: 10*ms, fit: perhaps}"), 7, "true or false"),
    "no value": (NEURON.replace("value: -70*mV, ", ""), 6, "no value"),
    "an equation without a unit": (NEURON.replace(" : volt", ""), 4, "expression : unit"),
    "a line that is no equation": (NEURON.replace("dv/dt =", "dv/dt"), 4, "expected"),
    "an equation defined twice": (NEURON.replace(": volt\n", ": volt\n  dv/dt = 0*volt/second : volt\n"), 5, "twice"),
    "a key that appears twice": (NEURON + "kind: neuron\n", 8, "twice"),
    "a circle of subexpressions": (
        NEURON.replace("/tau : volt\n", "/a : volt\n  a = tau + b : second\n  b = a : second\n"), 5,
        "defined by itself",
    ),
    "a parameter that nothing uses": (NEURON + "  gmax: 1*nS\n", 8, "nothing in this model uses"),
    "a name that is a unit": (NEURON.replace("tau", "mV"), 7, "is a unit"),
    "an event on a parameter": (NEURON + "events: {presynaptic: tau += 1*ms}\n", 8, "no differential equation"),
    "an event that is no statement": (NEURON + "events: {presynaptic: spike}\n", 8, "statement"),
    "an unknown scheme": (NEURON + "integration: magic\n", 8, "unknown integration scheme"),
    "an equation under another's name": (
        NEURON.replace("|\n  dv/dt = (E_L - v)/tau : volt", "{v: 'du/dt = (E_L - v)/tau : volt'}"), 3, "of 'v'",
    ),
    "a threshold without a spike": (NEURON + "threshold: v > -50*mV\n", 8, "needs the event `spike`"),
    "a spike without a threshold": (NEURON + "events: {spike: v = E_L}\n", 8, "needs a threshold"),
    "a refractory time without a threshold": (NEURON + "refractory: 2*ms\n", 8, "needs a threshold"),
    "a state that rests without a refractory time": (
        NEURON.replace(": volt\n", ": volt (unless refractory)\n"), 4, "needs a refractory time",
    ),
    "a flag that is none": (NEURON.replace(": volt\n", ": volt (constant)\n"), 4, "unit"),
    "a subexpression that rests": (
        NEURON.replace("/tau : volt\n", "/a : volt\n  a = tau : second (unless refractory)\n"), 5, "means nothing",
    ),
    "a threshold that compares nothing": (NEURON + "threshold: v\nevents: {spike: v = E_L}\n", 8, "a comparison"),
    "a threshold of two units": (NEURON + "threshold: v > 1*ms\nevents: {spike: v = E_L}\n", 8, "units"),
    "a threshold on nothing known": (NEURON + "threshold: u > E_L\nevents: {spike: v = E_L}\n", 8, "unknown name"),
    "python in a threshold": (NEURON + "threshold: open(v) > E_L\nevents: {spike: v = E_L}\n", 8, "unknown function"),
    "a refractory voltage": (
        NEURON + "threshold: v > E_L\nrefractory: 2*mV\nevents: {spike: v = E_L}\n", 9, "refractory time",
    ),
    "a channel that spikes": (
        "kind: channel\nequations: |\n  I = g*(v - E) : amp/meter**2\nparameters: {g: 1*siemens/meter**2, E: 0*mV}\n"
        "threshold: v > E\n", 5, "only a neuron",
    ),
    "an anchor": (NEURON.replace("10*ms", "&a 10*ms") + "  x: *a\n", 7, "anchors"),
    "a tag": (NEURON.replace("10*ms", "!!python/object/apply:os.system [true]"), 7, "tag"),
    "python in a value": (NEURON.replace("10*ms", "__import__('os').getpid()*ms"), 7, "not a number with a unit"),
    "python in an equation": (NEURON.replace("E_L - v", "().__class__"), 4, "not allowed"),
    "a number out of range": (NEURON.replace("10*ms", "1e999*ms"), 7, "too large"),
    "a tower of powers": (NEURON.replace("10*ms", "9**9**9**9*ms"), 7, "exponent"),
    "deep nesting": (NEURON.replace("10*ms", "[" * 3000), 1, "YAML"),
    "an empty file": ("", 1, "empty"),
    "a list": ("- 1\n", 1, "must be a mapping"),
}  # fmt: skip


@pytest.mark.parametrize("text, line, words", BAD.values(), ids=BAD)
def test_an_error_names_the_file_the_line_and_the_cause(tmp_path, text, line, words):
    message = complaint(tmp_path, text)
    assert message.startswith(f"{tmp_path / 'model.yaml'}:{line}:") and words in message, message
    assert "\n" not in message and len(message) < 600


def test_extending_in_a_circle_is_an_error(tmp_path):
    (tmp_path / "b.yaml").write_text("extends: model.yaml\n")
    assert "circle" in complaint(tmp_path, "extends: b.yaml\n")


def test_extending_a_missing_file_is_an_error(tmp_path):
    assert "there is no file" in complaint(tmp_path, "extends: nowhere.yaml\n")


def test_bytes_that_are_not_text_are_an_error(tmp_path):
    (tmp_path / "model.yaml").write_bytes(b"kind: neuron\n\xff\xfe")
    with pytest.raises(EquationError, match=r"model.yaml:2: expected UTF-8"):
        equations.read(tmp_path / "model.yaml")


MUTATIONS = st.tuples(
    st.integers(0, len(DENDRITE)),
    st.integers(0, 40),
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            [
                "\n",
                ":",
                "{",
                "}",
                "[",
                "- ",
                "&x ",
                "*x",
                "!!",
                "|",
                "1e400",
                "**",
                "v",
                "ds/dt = 0 : 1",
                "\0",
                "\t",
                "#",
            ]
            + ["extends: dendrite_nmda.yaml\n", "null", "equations: 1\n", "parameters: []\n", "(" * 200, "9" * 400]
        ),
    ),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(MUTATIONS, min_size=1, max_size=4))
def test_a_mangled_file_is_read_or_refused_but_never_crashes(tmp_path, mutations):
    text = DENDRITE
    for start, length, replacement in mutations:
        text = text[:start] + replacement + text[start + length :]
    try:
        read(tmp_path, text)
    except EquationError as error:
        assert str(error).startswith(str(tmp_path)) and "\n" not in str(error)
    except UnicodeEncodeError:
        pass  # a lone surrogate cannot be written to a file in the first place


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_in_words(tmp_path, content):
    (tmp_path / "model.yaml").write_bytes(content)
    with pytest.raises(EquationError):
        equations.read(tmp_path / "model.yaml")
