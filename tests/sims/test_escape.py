"""How long noise lets a plateau last: simulations against Kramers' estimate and its limits."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import quad

from sims import equations
from sims.analysis import escape

PROJECT = Path(__file__).resolve().parents[2]
NMDA = equations.read(PROJECT / "equations" / "dendrite_nmda.yaml")
PLATEAU = escape.plateau(NMDA)


def test_the_plateau_is_the_upper_state_and_its_noise_is_as_slow_as_its_gate():
    assert PLATEAU.up * 1e3 == pytest.approx(-7.328, abs=1e-3) and PLATEAU.tau == pytest.approx(43e-3)
    assert PLATEAU.fold == pytest.approx(8.845426 / 15, rel=1e-6)


@pytest.mark.parametrize("sd, lost_of_eight", [(0.1, 0), (0.2, 3), (0.3, 8)])
def test_the_plateaus_lost_in_4_5_s_are_as_many_as_found_in_eight_trials(sd, lost_of_eight):
    """A count of eight is not excluded, at five per cent, by the probability that more trials give."""
    lost = np.isfinite(escape.escape_times(PLATEAU, sd, 4.5, trials=150)).mean()
    chances = [math.comb(8, k) * lost**k * (1 - lost) ** (8 - k) for k in range(9)]
    assert sum(chance for chance in chances if chance <= chances[lost_of_eight] + 1e-12) > 0.05
    assert abs(lost - lost_of_eight / 8) < 0.35


@pytest.mark.parametrize("tau_ms, sd", [(10, 0.3), (43, 0.2), (43, 0.3)])
def test_kramers_estimate_agrees_with_simulation(tau_ms, sd):
    plateau = escape.plateau(NMDA, tau=tau_ms / 1e3)
    seconds = 6.0
    simulated = escape.mean_time(escape.escape_times(plateau, sd, seconds, trials=200), seconds)
    assert escape.most_probable_escape(plateau).time_to_escape(sd) == pytest.approx(simulated, rel=0.3)


def test_the_action_falls_to_the_adiabatic_one_for_slow_noise():
    adiabatic = (PLATEAU.mean - PLATEAU.fold) ** 2 / 2
    excess = [
        escape.most_probable_escape(dataclasses.replace(PLATEAU, tau=tau)).action / adiabatic - 1
        for tau in (0.043, 0.3, 1.0)
    ]
    assert excess[0] > excess[1] > excess[2] > 0 and excess[2] < 0.06


def test_the_action_tends_to_the_barrier_of_the_effective_potential_for_fast_noise():
    """White noise of intensity σ²τ: A = -∫ F/(τ G²) dv from the plateau down to the unstable state, G = ∂F/∂s."""

    def force(v):
        G = PLATEAU.drift(v, 1.0) - PLATEAU.drift(v, 0.0)
        return float(PLATEAU.drift(v, PLATEAU.mean) / G**2)

    barrier = quad(force, PLATEAU.middle, PLATEAU.up)[0]
    scaled = [
        escape.most_probable_escape(dataclasses.replace(PLATEAU, tau=tau)).action * tau for tau in (8e-3, 2e-3, 1e-3)
    ]
    assert scaled[0] > scaled[1] > scaled[2] > barrier and scaled[2] == pytest.approx(barrier, rel=0.05)


def test_the_most_probable_escape_dips_below_the_fold_and_comes_back():
    path = escape.most_probable_escape(PLATEAU)
    assert path.gate.min() < PLATEAU.fold and path.gate[[0, -1]] == pytest.approx([1, 1], abs=1e-3)
    assert np.all(np.diff(path.v) < 1e-9) and path.v[0] == PLATEAU.up and path.v[-1] == PLATEAU.middle


def test_the_adiabatic_time_has_its_known_limits():
    """For distant levels T → τ sqrt(2π)/b exp(b²/2); for a level at the mean, none."""
    assert escape.adiabatic_time(0, 1.0) == 0 and escape.adiabatic_time(50, 1.0) == math.inf
    assert escape.adiabatic_time(8, 1.0) == pytest.approx(math.sqrt(2 * math.pi) / 8 * math.exp(32), rel=0.03)


def test_the_same_seed_gives_the_same_escapes_and_another_seed_others():
    first, again, other = (escape.escape_times(PLATEAU, 0.3, 0.5, 50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_mean_of_censored_times_counts_what_outlived_the_trial():
    assert escape.mean_time(np.array([1.0, 3.0, np.inf, np.inf]), 4.0) == 6.0
    assert escape.mean_time(np.array([np.inf]), 4.0) == math.inf


def test_another_simulator_takes_the_same_arguments():
    figures = escape.compare(PLATEAU, [0.2], 4.5, 3, 1e-3, simulate=lambda *arguments: np.array([1.0, 2.0, np.inf]))
    (row,) = figures["rows"]
    assert row["simulated_s"] == 3.75 and row["lost"] == pytest.approx(2 / 3)
    assert "0.667" in escape.table(figures)


def test_brian2_loses_the_plateau_when_numpy_does_and_when_kramers_says():
    """Other random numbers, the same process: mean times agree within three standard errors, T/sqrt(lost) each."""
    from sims.backends import brian_escape

    times = [f(PLATEAU, 0.3, 2.0, trials=400) for f in (brian_escape.escape_times, escape.escape_times)]
    means, lost = [escape.mean_time(t, 2.0) for t in times], [np.isfinite(t).sum() for t in times]
    assert min(lost) > 300 and not np.array_equal(*times)
    assert abs(means[0] - means[1]) < 3 * math.hypot(
        *(mean / count**0.5 for mean, count in zip(means, lost, strict=True))
    )
    assert escape.most_probable_escape(PLATEAU).time_to_escape(0.3) == pytest.approx(means[0], rel=0.3)


def test_brian2_repeats_itself_and_leaves_numpys_random_state_alone():
    from sims.backends.brian_escape import escape_times

    before = np.random.get_state()[1].copy()
    first, again, other = (escape_times(PLATEAU, 0.3, 0.5, 50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other) and np.isfinite(first).any()
    assert np.array_equal(np.random.get_state()[1], before)


def test_without_noise_brian2_keeps_the_plateau():
    from sims.backends.brian_escape import escape_times

    assert np.isinf(escape_times(PLATEAU, 1e-9, 1.0, 3)).all()


def test_the_command_prints_a_table_or_one_object(command):
    options = "escape", PROJECT / "equations" / "dendrite_nmda.yaml", "--sd", "0.3", "--seconds", "1", "--trials", "20"
    assert "Kramers" in command(*options).stdout
    assert "Kramers" in command(*options, "--backend", "brian").stdout
    assert json.loads(command(*options, "--json").stdout)["rows"][0]["kramers_s"] == pytest.approx(0.709, abs=0.01)


@pytest.mark.parametrize(
    "arguments, words",
    [
        (("_linear",), "no plateau to escape from; stable voltages: -73.0 mV"),
        (("", "--on", "x"), "expected the one state"),
        (("", "--on", "v"), "expected the one state"),
        (("", "--sd", "-1"), "--sd: found -1"),
        (("", "--tau", "0"), "expected a positive time"),
        (("", "--dt", "0"), "expected a positive step"),
        (("", "--trials", "0"), "--trials: found 0"),
        (("", "--seconds", "-1"), "--seconds: found -1"),
        (("", "--backend", "neuron"), "--backend: found 'neuron', expected numpy or brian"),
        (("", "--backend", "brian", "--dt", "0"), "--dt: found 0"),
    ],
)
def test_bad_requests_get_one_line(command, arguments, words):
    file, *options = arguments
    found = command("escape", PROJECT / "equations" / f"dendrite_nmda{file}.yaml", *options)
    assert found.code == 2 and words in found.stderr and "Traceback" not in found.stderr
