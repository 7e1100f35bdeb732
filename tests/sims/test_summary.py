"""`python -m sims check`: one page about a file, and the fixed points of a dendrite."""

import json
from pathlib import Path

import pytest

from sims import equations
from sims.analysis.fixed_points import fixed_points
from sims.summary import summarise

PROJECT = Path(__file__).resolve().parents[2]
EQUATIONS = PROJECT / "equations"


def dendrite(tmp_path, parameters, base="dendrite_nmda.yaml"):
    (tmp_path / "dendrite.yaml").write_text(f"extends: {EQUATIONS / base}\nparameters: {parameters}\n")
    return equations.read(tmp_path / "dendrite.yaml")


# Bistable windows of w: known from the folds of w(v) = (v - E_L)(1 + eta exp(-gamma v))/(E - v).
@pytest.mark.parametrize(
    "rest, low, high", [("-70*mV", 8.04, 20.71), ("-75*mV", 8.845, 31.31), ("-80*mV", 9.64, 47.72)]
)
def test_a_dendrite_has_three_fixed_points_inside_its_window_and_one_outside(tmp_path, rest, low, high):
    for w, count in ((low * 0.99, 1), (low * 1.01, 3), (high * 0.99, 3), (high * 1.01, 1)):
        points = fixed_points(dendrite(tmp_path, f"{{E_L: {rest}, w: {w}}}"))
        assert [point.stable for point in points] == ([True, False, True] if count == 3 else [True])


def test_the_linearised_dendrite_has_one_fixed_point_for_every_w(tmp_path):
    for w in (1, 10, 20, 60):
        assert len(fixed_points(dendrite(tmp_path, f"{{w: {w}}}", "dendrite_nmda_linear.yaml"))) == 1


def test_textbook_magnesium_constants_leave_no_plateau_at_minus_70_mV(tmp_path):
    for w in range(1, 60):
        parameters = f"{{E_L: -70*mV, eta: 0.2801, gamma: 0.062/mV, w: {w}}}"
        assert len(fixed_points(dendrite(tmp_path, parameters))) == 1


def test_explicit_euler_diverges_above_two_over_the_rate(tmp_path):
    (point,) = fixed_points(dendrite(tmp_path, "{w: 0}"))
    assert point.v == pytest.approx(-0.075) and point.largest_euler_step == pytest.approx(0.020, rel=1e-3)


@pytest.mark.parametrize("path", sorted(EQUATIONS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_every_file_has_a_summary_with_its_equations_and_plain_figures(path):
    summary = summarise(path)
    assert str(path) in summary.text and json.loads(json.dumps(summary.figures))["file"] == str(path)


@pytest.mark.parametrize(
    "arguments, code, words",
    [
        (["equations/dendrite_nmda.yaml"], 0, "stable   v =  -72.412 mV"),
        (["equations/nowhere.yaml"], 2, "cannot read"),
        (["README.md"], 2, "README.md:"),
        (["equations"], 2, "cannot read"),
    ],
)
def test_the_command_prints_the_page_or_one_line_of_complaint(command, arguments, code, words):
    run = command("check", *arguments)
    assert run.code == code and words in run.stdout + run.stderr and "Traceback" not in run.stderr
    assert code == 0 or run.stderr.count("\n") == 1


def test_json_is_one_object(command):
    run = command("check", "equations/dendrite_nmda.yaml", "--json")
    assert [point["stable"] for point in json.loads(run.stdout)["fixed_points"]] == [True, False, True]
