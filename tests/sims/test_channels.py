"""The layer-5 cell's gates against formulas written here anew, through NumPy and through compiled NMODL.

Voltages in mV, times in ms, as in the publications.
"""

from math import exp, expm1
from pathlib import Path

import numpy as np
import pytest

from sims import equations
from sims.backends.neuron import load, mechanisms
from sims.backends.nmodl import nmodl_name

L5PC = Path(__file__).resolve().parents[2] / "equations" / "l5pc"
# 48 voltages, the removable singularities of the rates among them.
SINGULAR = [-154.9, -66.0, -64.4, -60.0, -38.0, -32.0, -27.0, -17.0]
VOLTAGES = [*SINGULAR, *np.linspace(-110, 48, 40).tolist()]
Q = 2.3**1.3


def vtrap(x, k):
    """x/(exp(x/k) - 1), k at x = 0."""
    return k if x == 0 else x / expm1(x / k)


def alpha_beta(a, b, factor=1.0):
    return a / (a + b), 1 / ((a + b) * factor)


def sodium_m(v, half):
    return alpha_beta(0.182 * vtrap(-(v - half), 6), 0.124 * vtrap(v - half, 6), Q)


def sodium_h(v, half):
    return alpha_beta(0.015 * vtrap(v - half, 6), 0.015 * vtrap(-(v - half), 6), Q)


def boltzmann(x, k):
    return 1 / (1 + exp(-x / k))


GATES = {
    ("Ih", "m"): lambda v: alpha_beta(0.00643 * vtrap(v + 154.9, 11.9), 0.193 * exp(v / 33.1)),
    ("Im", "m"): lambda v: alpha_beta(0.0033 * exp(0.1 * (v + 35)), 0.0033 * exp(-0.1 * (v + 35)), Q),
    ("SKv3_1", "m"): lambda v: (boltzmann(v - 18.7, 9.7), 4 / (1 + exp(-(v + 46.56) / 44.14))),
    ("K_Pst", "m"): lambda v: (
        boltzmann(v + 11, 12),
        (1.25 + (175.03 * exp(0.026 * (v + 10)) if v + 10 < -50 else 13 * exp(-0.026 * (v + 10)))) / Q,
    ),
    ("K_Pst", "h"): lambda v: (
        boltzmann(-(v + 64), 11),
        (360 + (1010 + 24 * (v + 65)) * exp(-(((v + 85) / 48) ** 2))) / Q,
    ),
    ("K_Tst", "m"): lambda v: (boltzmann(v + 10, 19), (0.34 + 0.92 * exp(-(((v + 81) / 59) ** 2))) / Q),
    ("K_Tst", "h"): lambda v: (boltzmann(-(v + 76), 10), (8 + 49 * exp(-(((v + 83) / 23) ** 2))) / Q),
    ("NaTa_t", "m"): lambda v: sodium_m(v, -38),
    ("NaTa_t", "h"): lambda v: sodium_h(v, -66),
    ("NaTs2_t", "m"): lambda v: sodium_m(v, -32),
    ("NaTs2_t", "h"): lambda v: sodium_h(v, -60),
    ("Nap_Et2", "m"): lambda v: (boltzmann(v + 52.6, 4.6), 6 * sodium_m(v, -38)[1]),
    ("Nap_Et2", "h"): lambda v: (
        boltzmann(-(v + 48.8), 10),
        1 / ((2.88e-6 * vtrap(v + 17, 4.63) + 6.94e-6 * vtrap(-(v + 64.4), 2.63)) * Q),
    ),
    ("Ca_LVAst", "m"): lambda v: (boltzmann(v + 40, 6), (5 + 20 / (1 + exp((v + 35) / 5))) / Q),
    ("Ca_LVAst", "h"): lambda v: (boltzmann(-(v + 90), 6.4), (20 + 50 / (1 + exp((v + 50) / 7))) / Q),
    ("Ca_HVA", "m"): lambda v: alpha_beta(0.055 * vtrap(-27 - v, 3.8), 0.94 * exp((-75 - v) / 17)),
    ("Ca_HVA", "h"): lambda v: alpha_beta(0.000457 * exp((-13 - v) / 50), 0.0065 / (exp((-v - 15) / 28) + 1)),
}
NAMES = [f"{channel}-{gate}" for channel, gate in GATES]


@pytest.mark.parametrize("channel, gate", GATES, ids=NAMES)
def test_steady_state_and_time_constant_are_the_published_ones(channel, gate):
    model = equations.read(L5PC / f"{channel}.yaml")
    values = model.values(v=np.array(VOLTAGES) * 1e-3)
    found = model.compute(values, [f"{gate}_inf", f"tau_{gate}"])
    expected = np.array([GATES[channel, gate](v) for v in VOLTAGES])
    np.testing.assert_allclose(found[f"{gate}_inf"], expected[:, 0], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(found[f"tau_{gate}"] * 1e3, expected[:, 1], rtol=1e-12)


@pytest.fixture(scope="module")
def compiled():
    """{channel: its name in NEURON}, all compiled and loaded, for a fixed step."""
    models = {channel: equations.read(L5PC / f"{channel}.yaml") for channel, _ in GATES}
    models["SK_E2"] = equations.read(L5PC / "SK_E2.yaml")
    shell = equations.read(L5PC / "calcium_shell.yaml")
    found = mechanisms(models, dict.fromkeys(models, ("gbar",)), shell)
    load(found.values())
    return {channel: mechanism.name for channel, mechanism in found.items()}


def clamped(mechanism, v, dt, **states):
    """A gate's states in NEURON at start and one step later, with the voltage standing still since no current flows."""
    from neuron import h

    section = h.Section(name="clamped")
    section.insert(mechanism)
    instance = getattr(section(0.5), mechanism)
    setattr(instance, nmodl_name("gbar"), 0)
    h.CVode().active(False)
    h.dt = dt
    h.finitialize(v)
    start = {name: getattr(instance, nmodl_name(name)) for name in states}
    for name, value in states.items():
        setattr(instance, nmodl_name(name), value)
    h.fadvance()
    return start, {name: getattr(instance, nmodl_name(name)) for name in states}


@pytest.mark.parametrize("channel, gate", GATES, ids=NAMES)
@pytest.mark.parametrize("dt", [0.025, 0.5])
def test_neuron_starts_at_the_steady_state_and_steps_by_the_exact_exponential(compiled, channel, gate, dt):
    for v in VOLTAGES:
        rest, tau = GATES[channel, gate](v)
        start, after = clamped(compiled[channel], v, dt, **{gate: 0.3})
        assert start[gate] == pytest.approx(rest, rel=1e-12, abs=1e-15)
        assert after[gate] == pytest.approx(rest + (0.3 - rest) * exp(-dt / tau), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("calcium", [1e-9, 5e-5, 1e-4, 4.3e-4, 1e-2])
def test_the_sk_channel_opens_with_calcium(calcium):
    model = equations.read(L5PC / "SK_E2.yaml")
    expected = 1 / (1 + (0.00043 / (calcium + (1e-7 if calcium < 1e-7 else 0))) ** 4.8)
    assert model.compute(model.values(Ca_i=calcium), ["z_inf"])["z_inf"] == pytest.approx(expected, rel=1e-12)
    assert model.values()["tau_z"] == 1e-3


@pytest.mark.parametrize("calcium, expected", [(5e-5, 127.59), (1e-4, 119.24)])
def test_the_calcium_reversal_potential_is_that_of_6_3_degrees(calcium, expected):
    model = equations.read(L5PC / "calcium_shell.yaml")
    assert model.compute(model.values(Ca_i=calcium), ["E_Ca"])["E_Ca"] * 1e3 == pytest.approx(expected, abs=0.005)


def test_the_calcium_shell_fills_with_inward_current_and_empties_with_its_time_constant():
    model = equations.read(L5PC / "calcium_shell.yaml")
    current, calcium = -0.01, 3e-4  # mA/cm², mM
    slope = model.derivative("Ca_i", model.values(Ca_i=calcium, I_Ca=current * 10)) * 1e-3  # mM/ms
    expected = -1e4 * current * 0.000509 / (2 * 96485.3 * 0.1) - (calcium - 1e-4) / 294.679571
    assert slope == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    "receptor, rise, decay, gmax, reversal",
    [("AMPA", 0.3, 3, 0.0004, 0), ("NMDA", 2, 70, 0.0004, 0), ("GABA_A", 0.2, 8, 0.001, -80)],
)
def test_one_event_peaks_at_the_maximal_conductance(receptor, rise, decay, gmax, reversal):
    model = equations.read(L5PC / f"{receptor}.yaml")
    peak = rise * decay / (decay - rise) * np.log(decay / rise)
    found = model.compute(model.values(), ["t_peak", "unit_peak"])
    assert found["t_peak"] * 1e3 == pytest.approx(peak, rel=1e-12)
    states = {"A": found["unit_peak"] * exp(-peak / rise), "B": found["unit_peak"] * exp(-peak / decay)}
    current = model.compute(model.values(v=-0.05, **states), ["I"])["I"] * 1e9  # nA
    block = 1 / (1 + exp(0.08 * 50) / 3.57) if receptor == "NMDA" else 1
    assert current == pytest.approx(gmax * block * (-50 - reversal), rel=1e-12)
