"""The NMDA dendrite in time: what a pulse of glutamate leaves behind, and which steps are safe."""

from pathlib import Path

import numpy as np
import pytest

from sims import equations
from sims.analysis.integrate import Integrator, StepError

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"
NMDA = equations.read(EQUATIONS / "dendrite_nmda.yaml")
LINEAR = equations.read(EQUATIONS / "dendrite_nmda_linear.yaml")
W = np.array([6.0, 9, 12, 15, 30, 35])
PLATEAU = -0.030  # volt: above it, no resting dendrite; below it, no plateau


def pulsed(model, w, tonic, dt=1e-3, tau_s=43e-3, after=5.2):
    """Half a second at the tonic drive from E_L, 300 ms at 1.5 more, and what follows.

    Returns v before the pulse, at its end, the trace after it, and s at the pulse's end."""
    integrator = Integrator(model, dt)
    shape = np.zeros(np.shape(w))
    values = model.values(w=w, tau_s=tau_s, s_tonic=tonic, v=shape - 0.075, s=shape + tonic, t=0.0)
    before, _ = integrator.run(0.5, values)
    during, _ = integrator.run(0.3, before | {"s_tonic": tonic + 1.5})
    _, trace = integrator.run(after, during | {"s_tonic": tonic})
    return before["v"], during["v"], trace, during["s"]


def test_a_pulse_lifts_and_the_plateau_holds_where_w_is_inside_the_window_and_the_pulse_beyond_it():
    before, end, trace, _ = pulsed(NMDA, W, tonic=1.0)
    assert (before > PLATEAU).tolist() == [False] * 5 + [True]  # 35 is up before the pulse
    assert (end > PLATEAU).tolist() == [False] * 3 + [True] * 3  # 2.5 w < w_high for 6, 9 and 12
    assert (trace[-1] > PLATEAU).tolist() == [False] * 3 + [True] * 3


def test_a_dendrite_placed_on_its_plateau_stays_there_only_above_the_lower_fold():
    integrator = Integrator(NMDA, 1e-3)
    values, _ = integrator.run(5.5, NMDA.values(w=W, v=np.full(6, -0.005), s=np.ones(6), t=0.0))
    assert (values["v"] > PLATEAU).tolist() == [False] + [True] * 5
    assert values["v"][2] * 1e3 == pytest.approx(-9.8, abs=0.05)


def test_a_dendrite_with_a_constant_block_always_returns():
    before, _, trace, _ = pulsed(LINEAR, W, tonic=1.0)
    np.testing.assert_allclose(trace[-1], before, atol=1e-9)


@pytest.mark.parametrize("w, tau_ms, lasts_ms", [(30, 43, 94), (60, 100, 258), (60, 300, 604)])
def test_without_tonic_drive_the_plateau_outlives_its_input_by_what_the_gate_allows(w, tau_ms, lasts_ms):
    """Until v falls below -50 mV; about τ_s ln(w s/w_low) + 25 ms."""
    *_, trace, s = pulsed(NMDA, np.array(float(w)), tonic=0.0, dt=2.5e-4, tau_s=tau_ms / 1e3, after=0.8)
    found = np.argmax(trace < -0.050) * 0.25
    assert found == pytest.approx(lasts_ms, abs=2.5)
    assert found == pytest.approx(tau_ms * np.log(w * s / 8.845) + 25, rel=0.04)


def test_explicit_euler_diverges_on_a_plateau_where_exponential_euler_does_not():
    """A block held at its value on the plateau: explicit Euler needs dt (1 + w s B)/τ_m < 2."""
    values = LINEAR.values(w=30.0, eta=0.01, E_L=-0.020, t=0.0)
    B = LINEAR.compute(values, ["B"])["B"]
    limit = 2 * 10e-3 / (1 + 30 * B)
    start = values | {"v": np.array(-0.001), "s": np.array(1.0)}
    at_rest = Integrator(LINEAR, 1e-3).run(0.2, start)[0]["v"]
    cases = [(0.99, "euler", True), (1.01, "euler", False)]
    cases += [(1.01, "exponential_euler", True), (50, "exponential_euler", True)]
    for factor, scheme, holds in cases:
        dt = factor * limit
        end = Integrator(LINEAR, dt, scheme=scheme).run(1000 * dt, start)[0]["v"]
        assert (abs(end - at_rest) < 1e-6) == holds, (factor, scheme)


def test_the_scheme_is_of_first_order():
    def end(dt):
        return float(Integrator(NMDA, dt).run(0.05, NMDA.values(v=np.array(-0.030), s=np.array(1.2), t=0.0))[0]["v"])

    coarse, middle, fine = (end(dt) for dt in (4e-4, 2e-4, 1e-4))
    assert (coarse - middle) / (middle - fine) == pytest.approx(2, rel=0.1)


def test_a_trial_does_not_depend_on_its_company():
    together = pulsed(NMDA, W, tonic=1.0, after=0.1)[2]
    alone = pulsed(NMDA, W[3], tonic=1.0, after=0.1)[2]
    np.testing.assert_allclose(together[:, 3], alone, rtol=1e-13)


def test_bad_steps_and_schemes_are_refused(tmp_path):
    with pytest.raises(StepError, match="expected a positive step"):
        Integrator(NMDA, 0)
    (tmp_path / "exact.yaml").write_text(f"extends: {EQUATIONS / 'dendrite_nmda.yaml'}\nintegration: exact\n")
    with pytest.raises(StepError, match="found integration exact"):
        Integrator(equations.read(tmp_path / "exact.yaml"), 1e-3)
