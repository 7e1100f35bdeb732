"""What a dendrite file can hold: folds and existence conditions, in closed form and numerically, and their commands."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from sims import equations
from sims.analysis import nmda
from sims.analysis.bifurcation import diagram
from sims.analysis.fixed_points import fixed_points
from sims.summary import summarise

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"
JAHR_STEVENS = "eta: {}, gamma: 0.062/mV"  # eta = [Mg]/3.57 mM
ONE_MM, TWO_MM = JAHR_STEVENS.format(1 / 3.57), JAHR_STEVENS.format(2 / 3.57)
NEAT = "eta: 0.3, gamma: 0.1/mV"
DRIVE = "dv/dt = (g_L*(E_L - v) + g_L*w*s*{} + I_soma)/C : volt"
# The same block, written so that no closed form is seen in it: differentiable by sympy, and not.
BLOCKS = {
    "smooth": "B = (1 + tanh((gamma*v - log(eta))/2))/2 : 1",
    "with corners": "B = clip(1/(1 + eta*exp(-gamma*v)), 0, 1) : 1",
}


@pytest.fixture
def dendrite(tmp_path):
    """Maker of dendrites: dendrite_nmda.yaml with other parameters and other lines."""

    def make(parameters="", *lines, base="dendrite_nmda.yaml"):
        block = "".join(f"  {line}\n" for line in lines)
        text = f"extends: {EQUATIONS / base}\nparameters: {{{parameters}}}\n" + ("equations: |\n" + block) * bool(lines)
        (tmp_path / "dendrite.yaml").write_text(text)
        return equations.read(tmp_path / "dendrite.yaml")

    return make


# block, E_L (mV), bistable w·s, v at w_high and at w_low (mV), as published
FOLDS = [
    (ONE_MM, -80, 4.325, 4.331, -50.3, -44.8),
    (TWO_MM, -75, 6.727, 6.748, -46.0, -38.8),
    (NEAT, -70, 8.04, 20.71, -57.8, -20.3),
    (NEAT, -75, 8.845, 31.31, -63.0, -19.8),
    (NEAT, -80, 9.64, 47.72, -68.2, -19.5),
]


@pytest.mark.parametrize("block, rest, low, high, v_high, v_low", FOLDS)
def test_a_dendrite_is_bistable_between_its_folds(dendrite, block, rest, low, high, v_high, v_low):
    found = diagram(dendrite(f"{block}, E_L: {rest}*mV"))
    assert found.bistable and found.exact and len(found.windows) == 1
    printed = 5e-4 if block != NEAT else 5e-3
    assert [fold.parameter for fold in found.folds] == pytest.approx([low, high], abs=printed)
    assert [fold.v * 1e3 for fold in found.folds] == pytest.approx([v_low, v_high], abs=0.05)
    assert found.windows[0] == pytest.approx([fold.parameter for fold in found.folds], rel=1e-12)


@pytest.mark.parametrize("rest", [-70, -75])
def test_textbook_magnesium_and_a_shallow_rest_leave_no_window(dendrite, rest):
    found = diagram(dendrite(f"{ONE_MM}, E_L: {rest}*mV"))
    assert not found.bistable and not found.folds and "too weak" in found.condition


def test_the_condition_that_fails_is_named_with_its_numbers():
    assert nmda.Dendrite(1 / 3.57, 0.062, -70).condition.startswith("eta*exp(-gamma*E_L) = 21.49 is not above")
    assert nmda.Dendrite(0.3, 0.05, -70).condition.startswith("gamma*(E - E_L) = 3.5 is not above 4")


def test_the_existence_condition_is_exact():
    """Two folds exist if and only if w(v) falls somewhere between E_L and E."""
    generator = np.random.default_rng(1)
    decided = []
    for _ in range(300):
        eta, gamma, rest = generator.uniform((0.05, 0.04, -95), (1.5, 0.12, -50))
        found = nmda.Dendrite(eta, gamma, rest)
        if abs(found.block / found.least_block - 1) < 1e-3:
            continue
        falls = bool(np.any(np.diff(found.weight(np.linspace(rest, -1e-3, 20_001))) < 0))
        assert falls == found.bistable == (found.folds() is not None), found
        decided.append(falls)
    assert 50 < sum(decided) < 250


def test_the_folds_meet_in_the_cusp():
    gamma, rest = 0.1, -75
    eta = math.exp(gamma * rest) * nmda.Dendrite(1, gamma, rest).least_block
    folds = nmda.Dendrite(eta * (1 + 1e-9), gamma, rest).folds()
    assert folds.v_low == pytest.approx(folds.v_high, abs=0.01) == nmda.Dendrite(eta, gamma, rest).cusp
    assert folds.w_low == pytest.approx(folds.w_high, rel=1e-6)


@pytest.mark.parametrize("impossible", [(0.3, 0.1, 5), (-0.3, 0.1, -75), (0.3, 0, -75)])
def test_constants_that_are_no_dendrite_are_refused(impossible):
    with pytest.raises(ValueError, match="positive"):
        nmda.Dendrite(*impossible)


@pytest.mark.parametrize(
    "theta, low, high",
    [(2.5, 4.7818, 5.6162), (3, 5.4640, 8.4640), (4, 6.7272, 21.111), (5, 7.923, 55.61), (6, 9.081, 149.4)],
)
def test_both_branches_of_lamberts_function_are_folds_at_constant_drive(theta, low, high):
    folds = nmda.constant_drive_folds(theta)
    for (x, drive), expected in zip(folds, (low, high), strict=True):
        assert drive == pytest.approx(expected, rel=5e-4)
        assert x == pytest.approx(drive / (1 + math.exp(theta - x)))
        assert (x - 1) * math.exp(theta - x) == pytest.approx(1)
    assert nmda.constant_drive_folds(2) is None


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_numeric_path_finds_the_closed_folds_to_rounding(dendrite, block):
    numeric, closed = diagram(dendrite("", block)), diagram(dendrite())
    assert closed.exact and not numeric.exact
    for found, exact in zip(numeric.folds, closed.folds, strict=True):
        assert found.parameter == pytest.approx(exact.parameter, rel=1e-13)
        assert found.v == pytest.approx(exact.v, abs=2e-11)


def test_the_form_is_recognised_by_its_mathematics_not_by_its_names(tmp_path):
    """Opening where the file has blocking, a conductance in nS, a half-voltage, one fraction for it all."""
    (tmp_path / "other.yaml").write_text("""\
kind: neuron
equations: |
  dv/dt = (leak*(rest - v) + strength*gate*exp((v - half)/width)*(top - v)/(exp((v - half)/width) + 1))/size : volt
  dgate/dt = (1 - gate)/(43*ms) : 1
parameters: {leak: 2*nS, rest: -75*mV, strength: 30*nS, half: -12.039728043259361*mV, width: 10*mV, top: 0*mV,
  size: 20*pF}
""")
    found = diagram(equations.read(tmp_path / "other.yaml"), "strength")
    assert found.exact and found.label == "strength·gate" and found.unit[1] == "nS"
    expected = nmda.Dendrite(0.3, 0.1, -75).folds()
    assert [fold.parameter * 1e9 for fold in found.folds] == pytest.approx([2 * expected.w_low, 2 * expected.w_high])
    assert [fold.v * 1e3 for fold in found.folds] == pytest.approx([expected.v_low, expected.v_high])


def test_a_conductance_with_a_block_of_another_shape_is_not_taken_for_the_form(dendrite):
    assert nmda.recognise(dendrite("", "B = 1/(1 + eta*exp(-gamma*v))**2 : 1")) is None
    assert nmda.recognise(dendrite(base="dendrite_nmda_linear.yaml")) is None


@pytest.mark.parametrize("share, low, high", [(0.05, 7.5, 8.2), (0.1, None, None)])
def test_tonic_ampa_shrinks_the_window_and_then_closes_it(dendrite, share, low, high):
    found = diagram(dendrite("", DRIVE.format(f"(B + {share})*(E_N - v)")))
    assert not found.exact
    assert [fold.parameter for fold in found.folds] == pytest.approx([low, high] if low else [], abs=0.05)
    assert found.bistable == bool(low)


def test_an_inward_rectifying_current_opens_a_window_for_the_textbook_block(dendrite):
    """5 g_L at -70 mV; half-voltage at its reversal of -90 mV and a slope of 10 mV are inferred."""
    model = dendrite(
        f"{ONE_MM}, E_L: -70*mV, E_K: -90*mV",
        "dv/dt = (g_L*(E_L - v) + g_L*w*s*B*(E_N - v) + 5*g_L*K*(E_K - v) + I_soma)/C : volt",
        "K = 1/(1 + exp((v - E_K)/(10*mV))) : 1",
    )
    found = diagram(model)
    assert not found.exact and [fold.parameter for fold in found.folds] == pytest.approx([3.4, 3.8], abs=0.05)


def test_a_current_from_the_soma_shifts_the_closed_form(dendrite):
    """A constant current is a deeper or a shallower E_L: I/g_L = -5 mV."""
    shifted, deeper = diagram(dendrite("I_soma: -5*pA")), diagram(dendrite("E_L: -80*mV"))
    assert shifted.exact and [f.parameter for f in shifted.folds] == pytest.approx([f.parameter for f in deeper.folds])


def test_w_is_drawn_at_an_open_gate_and_the_file_stands_at_its_resting_one(dendrite):
    for tonic, inside in ((1, True), (0.5, False), (0, False)):
        found = diagram(dendrite(f"s_tonic: {tonic}"))
        assert found.label == "w·s" and found.value == 15 * tonic and found.bistable_here == inside
        assert [fold.parameter for fold in found.folds] == pytest.approx([8.845, 31.31], abs=2e-3)


def test_the_middle_branch_is_unstable_and_branches_meet_in_the_folds(dendrite):
    found = diagram(dendrite())
    stable, unstable = ([b for b in found.branches if b.stable == kind] for kind in (True, False))
    assert len(stable) == 2 and len(unstable) == 1
    ends = sorted((float(unstable[0].parameter[i]), float(unstable[0].v[i])) for i in (0, -1))
    assert ends == [pytest.approx((fold.parameter, fold.v)) for fold in found.folds]
    closed = nmda.Dendrite(0.3, 0.1, -75)
    for branch in found.branches:
        np.testing.assert_allclose(closed.weight(branch.v * 1e3), branch.parameter, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("parameter", ["E_L", "eta", "gamma", "I_soma", "s_tonic"])
def test_folds_of_any_parameter_lie_where_the_closed_form_has_them(dendrite, parameter):
    """At a fold of another parameter, the file's w is the closed form's fold weight."""
    model = dendrite()
    form, found = nmda.recognise(model), diagram(model, parameter)
    assert found.folds and not found.exact
    for fold in found.folds:
        values = model.values(**{parameter: fold.parameter})
        folds = form.dendrite(values).folds()
        w = form.weight(values | {"s": values["s_tonic"]})
        assert min(abs(w / edge - 1) for edge in (folds.w_low, folds.w_high)) < 1e-10


def test_a_slow_channel_changes_stability_without_a_fold_of_its_own(dendrite):
    """A potassium gate that follows v within 300 ms: folds are where its current is at rest, stability is of both."""
    model = dendrite(
        "",
        "dv/dt = (g_L*(E_L - v) + g_L*w*s*B*(E_N - v) + 8*g_L*n*(-90*mV - v) + I_soma)/C : volt",
        "dn/dt = (1/(1 + exp(-(v + 25*mV)/(4*mV))) - n)/(300*ms) : 1",
    )
    found = diagram(model)
    edges = {fold.parameter for fold in found.folds}
    oscillating = [b for b in found.branches if not b.stable and not {b.parameter[0], b.parameter[-1]} <= edges]
    assert oscillating and not found.exact


def test_a_parameter_that_moves_nothing_has_no_folds(dendrite):
    found = diagram(dendrite(), "C")
    assert not found.folds and found.bistable_here


def test_the_command_prints_one_object_and_draws_the_same_figure_twice(tmp_path, command):
    found = command("bifurcation", EQUATIONS / "dendrite_nmda.yaml", "--json", "--out", tmp_path / "a")
    figures = json.loads(found.stdout)
    assert figures["bistable"] is True and figures["closed_form"] and "7.5 > 4" in figures["condition"]
    assert [fold["w"] for fold in figures["folds"]] == pytest.approx([8.845, 31.31], abs=2e-3)
    assert [fold["v_mV"] for fold in figures["folds"]] == pytest.approx([-19.8, -63.0], abs=0.05)
    command("bifurcation", EQUATIONS / "dendrite_nmda.yaml", "--out", tmp_path / "b")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes() and (
        tmp_path / "a.png"
    ).stat().st_size


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("--parameter", "nope"), "expected a parameter of"),
        (("--low", "3*mV"), "expected that of 'w'"),
        (("--low", "many"), "unknown unit"),
        (("--low", "9", "--high", "3"), "expected one that ascends"),
        (("--parameter", "C", "--high", "30"), "expected that of 'C'"),
    ],
)
def test_bad_requests_get_one_line(command, arguments, words):
    found = command("bifurcation", EQUATIONS / "dendrite_nmda.yaml", *arguments)
    assert found.code == 2 and words in found.stderr and found.stderr.count("\n") == 1


def test_a_file_without_a_voltage_is_refused_in_words(command):
    found = command("bifurcation", EQUATIONS / "inputs_l5.yaml")
    assert found.code == 2 and "need a state v" in found.stderr and found.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "parameters, words",
    [
        (f"{ONE_MM}, E_L: -70*mV", "eta*exp(-gamma*E_L) = 21.49 is not above"),
        ("gamma: 0.05/mV", "gamma*(E - E_L) = 3.75 is not above 4"),
        ("w: 40", "s*w = 40 is above 31.309"),
        ("s_tonic: 0", "s*w = 0 is below 8.8454"),
    ],
)
def test_check_warns_where_a_dendrite_is_not_as_meant_and_names_the_condition(dendrite, parameters, words):
    summary = summarise(dendrite(parameters).path)
    (warning,) = summary.figures["warnings"]
    assert warning in summary.text and f"warning: meant to be bistable, but it is not: {words}" in summary.text


def test_check_warns_of_a_dendrite_without_a_closed_form_too(dendrite):
    model = dendrite("", BLOCKS["smooth"], DRIVE.format("(B + 0.1)*(E_N - v)"))
    (warning,) = summarise(model.path).figures["warnings"]
    assert "w·s is 15; bistable for no w·s from 0 to 60 (found numerically)" in warning


def test_check_warns_of_a_plateau_where_there_should_be_none(dendrite, tmp_path):
    (tmp_path / "other.yaml").write_text(f"extends: {EQUATIONS / 'dendrite_nmda.yaml'}\nbistable: false\n")
    (warning,) = summarise(tmp_path / "other.yaml").figures["warnings"]
    assert "-72.4 mV and -7.3 mV are both stable" in warning


@pytest.mark.parametrize("name", ["dendrite_nmda.yaml", "dendrite_nmda_linear.yaml"])
def test_the_projects_own_dendrites_are_as_meant(name):
    assert "warnings" not in summarise(EQUATIONS / name).figures


@pytest.mark.parametrize(
    "text, words",
    [
        ("kind: neuron\nequations: |\n  dx/dt = -x/second : 1\nbistable: true\n", "has no dv/dt"),
        ("extends: {}\nbistable: perhaps\n", "must be true or false, found 'perhaps'"),
    ],
)
def test_bistable_is_for_voltages_and_either_true_or_false(tmp_path, text, words):
    (tmp_path / "file.yaml").write_text(text.format(EQUATIONS / "dendrite_nmda.yaml"))
    with pytest.raises(equations.EquationError, match=words):
        equations.read(tmp_path / "file.yaml")


def test_what_a_file_is_meant_to_be_does_not_change_what_it_is(tmp_path):
    (tmp_path / "file.yaml").write_text(f"extends: {EQUATIONS / 'dendrite_nmda.yaml'}\nbistable: null\n")
    model = equations.read(tmp_path / "file.yaml")
    assert model.bistable is None and model.digest == equations.read(EQUATIONS / "dendrite_nmda.yaml").digest


def test_held_states_and_changed_parameters_move_the_fixed_points(dendrite):
    model = dendrite()
    assert len(fixed_points(model, s=0.5)) == 1 and len(fixed_points(model, s=0.5, w=30)) == 3
