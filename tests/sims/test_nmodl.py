"""NMODL from equation files: exact numbers, and words for what NEURON cannot run."""

from pathlib import Path

import pytest

from sims import equations
from sims.backends.nmodl import generate
from sims.documents import EquationError

L5PC = Path(__file__).resolve().parents[2] / "equations" / "l5pc"


def extended(tmp_path, base, text):
    (tmp_path / "changed.yaml").write_text(f"extends: {L5PC / base}\n{text}\n")
    return equations.read(tmp_path / "changed.yaml")


def test_a_constant_keeps_every_digit_that_was_written(tmp_path):
    model = extended(tmp_path, "Ih.yaml", "parameters: {V_alpha: -154.90123456789*mV}")
    assert "V_alpha_ = -154.90123456789\n" in generate(model, "Ih", ["gbar"])


def test_a_linear_current_comes_with_its_conductance_and_a_blocked_one_with_its_derivative():
    leak, nmda = (generate(equations.read(L5PC / f"{name}.yaml"), name) for name in ("leak", "NMDA"))
    assert "conductance = (gbar_)" in leak
    assert nmda.count("exp((- gamma_) * v)") + nmda.count("exp((- v) * gamma_)") == 1


def test_what_depends_on_parameters_alone_is_computed_beforehand():
    text = generate(equations.read(L5PC / "Im.yaml"), "Im", ["gbar"])
    assert "q_ = 2.95288264141212" in text and "Q10" not in text


def test_the_variable_step_gets_derivatives_and_the_fixed_step_an_exact_exponential():
    model = equations.read(L5PC / "AMPA.yaml")
    assert "A_' = (- A_) / tau_rise_" in generate(model, "AMPA", fixed_step=False)
    assert "A_ = A_*decay_A" in generate(model, "AMPA")


@pytest.mark.parametrize(
    "text, line, words",
    [
        ("equations: |\n  m_inf = sign(v/mV) : 1", 3, "'sign' has no counterpart in NMODL"),
        ("equations: |\n  m_inf = int(v/mV) : 1", 3, "anything but a comparison"),
        ("equations: |\n  dm/dt = (m_inf - m**2)/tau_m : 1", 3, "must be linear in m"),
        ("equations: |\n  dm/dt = m_inf/tau_m : 1", 3, "must be linear in m"),
    ],
)
def test_an_equation_that_neuron_cannot_run_is_named(tmp_path, text, line, words):
    with pytest.raises(EquationError, match=rf"changed.yaml:{line}: ") as error:
        generate(extended(tmp_path, "Ih.yaml", text), "Ih", ["gbar"])
    assert words in str(error.value)


def test_a_channel_that_reads_calcium_needs_a_shell():
    with pytest.raises(EquationError, match="no calcium shell provides"):
        generate(equations.read(L5PC / "Ca_HVA.yaml"), "Ca_HVA")
