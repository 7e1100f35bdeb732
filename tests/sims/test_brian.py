"""Neurons in Brian2: in this process, and as programs that take new parameters and inputs as they are."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from sims import equations
from sims.arrivals import Arrivals, ArrivalsError
from sims.arrivals import read as read_arrivals
from sims.backends import brian, brian_program, steps
from sims.backends.brian import Setup, simulate
from sims.backends.brian_program import Program
from sims.backends.compiled import BackendError, cache_folder
from sims.documents import EquationError
from sims.mistakes import RequestError

PROJECT = Path(__file__).resolve().parents[2]
EQUATIONS = PROJECT / "equations"
NEURONS = sorted(path.name for path in EQUATIONS.glob("*.yaml") if path.name != "inputs_l5.yaml")
NEURONS = [name for name in NEURONS if equations.read(EQUATIONS / name).kind == "neuron"]
LEAK = "equations: |\n  dv/dt = -v/tau : 1\nparameters: {tau: {value: 10*ms, bounds: [1*ms, 100*ms]}}\n"


def model(name):
    return equations.read(EQUATIONS / f"{name}.yaml")


def written(tmp_path, text):
    (tmp_path / "model.yaml").write_text(text)
    return equations.read(tmp_path / "model.yaml")


def events(*rows):
    """Arrivals of (time ms, neuron, event, weight)."""
    time, neuron, name, weight = zip(*rows, strict=True)
    return Arrivals(np.array(time, float), np.array(neuron), np.array(name), np.array(weight, float))


def plain_neuron(p, neurons, count, dt, arrived):
    """neuron_nmda.yaml by exponential Euler, in plain NumPy: {state: [count, neurons]} and the spikes (step, neuron).

    arrived: {event: [count, neurons]}.
    """
    x = {"soma_v": np.full(neurons, p["soma_E_L"]), "rested": np.full(neurons, 10**6)}
    x |= {f"dendrite{k}_{name}": np.full(neurons, p[f"dendrite_{start}"])
          for k in (1, 2) for name, start in (("v", "E_L"), ("s", "s_tonic"))}  # fmt: skip
    kept, spikes = {name: np.empty((count, neurons)) for name in x if name != "rested"}, []

    def relaxed(value, rest, rate):
        return rest + (value - rest) * np.exp(-rate * dt)

    for step in range(count):
        for name, trace in kept.items():
            trace[step] = x[name]
        new, g_c, g, feedback = {}, p["g_c"], p["dendrite_g_L"], p["feedback"] * p["g_c"]
        rate = p["soma_g_L"] + 2 * g_c
        inflow = p["soma_g_L"] * p["soma_E_L"] + g_c * (x["dendrite1_v"] + x["dendrite2_v"])
        soma = relaxed(x["soma_v"], inflow / rate, rate / p["soma_C"])
        free = x["rested"] >= round(p["soma_t_refractory"] / dt)
        new["soma_v"] = np.where(free, soma, x["soma_v"])
        for k in (1, 2):
            v, s, w = x[f"dendrite{k}_v"], x[f"dendrite{k}_s"], p[f"dendrite{k}_w"]
            nmda = g * w * s / (1 + p["dendrite_eta"] * np.exp(-p["dendrite_gamma"] * v))
            rest = (g * p["dendrite_E_L"] + nmda * p["dendrite_E_N"] + feedback * x["soma_v"]) / (g + nmda + feedback)
            new[f"dendrite{k}_v"] = relaxed(v, rest, (g + nmda + feedback) / p["dendrite_C"])
            new[f"dendrite{k}_s"] = relaxed(s, p["dendrite_s_tonic"], 1 / p["dendrite_tau_s"])
            new[f"dendrite{k}_s"] += arrived[f"dendrite{k}_presynaptic"][step] * p["dendrite_ds"]
        fired = free & (new["soma_v"] > p["soma_v_threshold"])
        spikes += [(step, neuron) for neuron in np.flatnonzero(fired)]
        new["soma_v"] = new["soma_v"] - fired * (p["soma_v_threshold"] - p["soma_E_L"])
        x = new | {"rested": np.where(fired, 1, x["rested"] + 1)}
    return kept, spikes


KICKS = events(
    (10, 0, "dendrite1_presynaptic", 1),
    (50, 1, "dendrite1_presynaptic", 40),
    (50, 1, "dendrite2_presynaptic", 60),
    (120.05, 2, "dendrite2_presynaptic", 45),
    (120.01, 2, "dendrite2_presynaptic", 5),
)


@pytest.fixture(scope="session")
def setup():
    return Setup(model("neuron_nmda"), neurons=3, duration_ms=200, dt_ms=0.1, varied=("dendrite1_w",))


@pytest.fixture(scope="session")
def program(setup):
    return Program(setup)


@pytest.fixture(scope="session")
def in_process(setup):
    return simulate(setup, {"feedback": 0.1}, KICKS)


def test_brian2_takes_the_steps_of_a_plain_exponential_euler_loop(setup, in_process):
    arrived = {e: KICKS.weights(e, 3, setup.steps, 0.1) for e in ("dendrite1_presynaptic", "dendrite2_presynaptic")}
    expected, spikes = plain_neuron(setup.model.values(feedback=0.1), 3, setup.steps, 1e-4, arrived)
    for name, trace in expected.items():
        assert np.abs(in_process.values[name] - trace).max() < 1e-12, name
    found = zip(np.round(in_process.spike_time_ms / 0.1).astype(int), in_process.spike_neuron, strict=True)
    assert spikes and sorted(found) == sorted(spikes)


def test_a_program_gives_what_brian2_gives_in_process(program, in_process):
    (found,) = program.evaluate([{"feedback": 0.1}], KICKS)
    for name, trace in in_process.values.items():
        assert np.abs(found.values[name] - trace).max() < 1e-12, name
        assert np.abs(found.final[name] - in_process.final[name]).max() < 1e-12
    assert np.array_equal(found.spike_time_ms, in_process.spike_time_ms) and len(found.spike_time_ms) > 5
    assert np.array_equal(found.spike_neuron, in_process.spike_neuron) and found.finite


def test_a_compiled_program_takes_every_parameter_anew_and_starts_from_it(program, setup):
    changes = {
        name: parameter.value.si * 1.1 + 0.05 * (name == "feedback")
        for name, parameter in setup.model.parameters.items()
    } | {"dendrite1_w": np.array([5.0, 15.0, 40.0])}
    (found,) = program.evaluate([changes], KICKS)
    expected = simulate(setup, changes, KICKS)
    assert found.values["soma_v"][0] == pytest.approx(-0.075 * 1.1)
    for name, trace in expected.values.items():
        assert np.abs(found.values[name] - trace).max() < 1e-12, name
    assert not np.allclose(found.values["dendrite1_v"][:, 0], found.values["dendrite1_v"][:, 2])


def test_the_same_model_with_other_values_needs_no_other_program(program, setup):
    other = setup.model.with_values({"g_c": 2e-9, "dendrite_tau_s": 0.1})
    assert Program(Setup(other, 3, 200, 0.1, varied=("dendrite1_w",))).folder == program.folder
    assert Setup(other).values()["g_c"] == 2e-9


def test_candidates_and_their_inputs_come_back_in_order_whatever_the_workers(program):
    weights, inputs = np.linspace(5, 40, 5), [KICKS, None, KICKS, None, KICKS]
    candidates = [{"dendrite1_w": np.full(3, w)} for w in weights]
    one = program.evaluate(candidates, inputs)
    two = program.evaluate(candidates, inputs, workers=2)
    for a, b in zip(one, two, strict=True):
        assert all(np.array_equal(a.values[name], b.values[name]) for name in a.values)
    assert len({trace.values["dendrite1_v"].tobytes() for trace in one}) == 5
    assert program.evaluate([]) == []


@pytest.mark.parametrize("device", ["runtime", "cpp"])
def test_an_event_is_in_the_trace_from_the_sample_after_its_step(request, setup, device):
    given = events(
        (9.9, 0, "dendrite1_presynaptic", 1),
        (10, 1, "dendrite1_presynaptic", 1),
        (10.09, 2, "dendrite1_presynaptic", 2),
    )
    if device == "cpp":
        (found,) = request.getfixturevalue("program").evaluate([{}], given)
    else:
        found = simulate(setup, {}, given)
    s = found.values["dendrite1_s"]
    assert [np.flatnonzero(s[:, k] > 1.05)[0] for k in range(3)] == [100, 101, 101]
    assert s[101, 1:] == pytest.approx([1.1, 1.2], abs=1e-12) and found.time_ms[101] == pytest.approx(10.1)


def test_events_of_one_step_act_together_with_the_sum_of_their_weights(tmp_path):
    text = (
        "equations: |\n  dx/dt = 0/second*x : 1\n  dy/dt = 0/second*y : 1\n  dz/dt = 0/second*z : 1\n"
        "initial: {x: 8, y: 8, z: 8}\nevents: {add: x += 2; y -= 1, scale: x *= 3; y /= 2, put: z = 5}\n"
        "integration: euler\n"
    )
    rows = [
        (0, 0, "add", 1),
        (0, 0, "add", 1),
        (0, 1, "add", 0.5),
        (0, 2, "scale", 2),
        (0, 3, "put", 4),
        (0, 3, "put", 1),
    ]
    found = simulate(Setup(written(tmp_path, text), 5, 1, 0.5), {}, events(*rows)).final
    assert found["x"].tolist() == [12, 9, 72, 8, 8]
    assert found["y"].tolist() == [6, 7.5, 2, 8, 8] and found["z"].tolist() == [8, 8, 8, 5, 8]


@pytest.mark.parametrize("first, second, expected", [("z: x *= 2", "a: x += 1", 7), ("z: x += 1", "a: x *= 2", 8)])
def test_different_events_of_one_step_come_in_the_files_order(tmp_path, first, second, expected):
    text = (
        "equations: |\n  dx/dt = 0/second*x : 1\ninitial: {x: 3}\nintegration: euler\n"
        f"events: {{{first}, {second}}}\n"
    )
    found = simulate(Setup(written(tmp_path, text), 1, 1, 0.5), {}, events((0, 0, "a", 1), (0, 0, "z", 1)))
    assert found.final["x"].tolist() == [expected]


def test_what_is_refractory_neither_integrates_nor_hears_events_until_the_time_is_over(tmp_path):
    text = (
        "equations: |\n  dv/dt = 1/ms : 1 (unless refractory)\n  du/dt = 1/ms : 1\n"
        "threshold: v > 4.5\nrefractory: pause\nevents: {spike: v = 0, push: v += 1; u += 10}\n"
        "parameters: {pause: 3*ms}\ninitial: {v: 0, u: 0}\nintegration: euler\n"
    )
    found = simulate(Setup(written(tmp_path, text), 1, 12, 1), {}, events((6, 0, "push", 1), (9, 0, "push", 1)))
    assert found.spike_time_ms.tolist() == [4, 10]
    assert found.values["v"][:, 0].tolist() == [0, 1, 2, 3, 4, 0, 0, 0, 1, 2, 4, 0]
    assert found.final["u"].tolist() == [32]


@pytest.mark.parametrize("name", NEURONS)
def test_every_neuron_of_the_project_runs_and_stays_finite(name):
    found = simulate(Setup(equations.read(EQUATIONS / name), duration_ms=20))
    assert found.finite and all(np.isfinite(trace).all() for trace in found.values.values())


def test_a_neuron_rests_at_the_fixed_point_that_the_analysis_finds():
    from sims.analysis.fixed_points import fixed_points

    found = simulate(Setup(model("dendrite_nmda"), duration_ms=300))
    assert found.final["v"][0] == pytest.approx(fixed_points(model("dendrite_nmda"))[0].v, abs=1e-6)


def test_what_bends_with_a_state_is_held_over_a_step_and_what_does_not_is_not():
    assert steps.linear(model("dendrite_nmda")).held == {"B"}
    assert steps.linear(model("dendrite_nmda_linear")).held == frozenset()
    assert steps.linear(model("neuron_nmda")).held == {"dendrite1_B", "dendrite2_B"}


def test_a_state_without_an_initial_value_starts_at_rest(tmp_path):
    text = (
        "equations: |\n  dv/dt = (a - v)/tau : 1\n  da/dt = (2*b - a)/tau : 1\n  b = c + 1 : 1\n"
        "  dc/dt = (3 - c)/tau : 1\nparameters: {tau: 10*ms}\n"
    )
    starts = steps.starts(written(tmp_path, text))
    assert list(starts) == ["c", "a", "v"] and starts["a"].names == {"c"}
    found = simulate(Setup(written(tmp_path, text), duration_ms=1, dt_ms=0.5))
    assert {name: trace[0, 0] for name, trace in found.values.items()} == {"v": 8, "a": 8, "c": 3}


def test_subexpressions_can_be_recorded():
    found = simulate(Setup(model("dendrite_nmda"), duration_ms=1, record=("B",)))
    assert found.values["B"][0, 0] == pytest.approx(1 / (1 + 0.3 * np.exp(7.5)))


BENT = LEAK.replace("-v/tau", "-v*v/tau")
BAD = {
    "a negative time constant": (LEAK.replace(": 10", ": -10"), {}, EquationError, r"yaml:2: .* v, tau, is -0.01 s"),
    "a time constant of 0": (LEAK, {"tau": 0.0}, EquationError, "the time constant of v, tau, is 0 s"),
    "an unknown parameter": (LEAK, {"tao": 0.01}, RequestError, "no parameter 'tao'; expected one of: tau"),
    "a parameter that is no number": (LEAK, {"tau": float("nan")}, RequestError, "finite"),
    "an array for a shared parameter": (LEAK, {"tau": np.ones(2)}, RequestError, r"shape \(2,\), expected one number"),
    "an equation that is not linear": (BENT, {}, EquationError, r"yaml:2: exponential Euler .* dv/dt must be linear"),
    "exact integration of what bends": (
        BENT + "initial: {v: 1}\nintegration: exact\n", {}, EquationError, "yaml:2: Brian2 cannot run",
    ),
    "no resting value": (BENT + "integration: euler\n", {}, EquationError, r"yaml:2: v has no single resting value"),
    "states that start where the other does": (
        "equations: |\n  dv/dt = (2*u - v)/ms : 1\n  du/dt = (v - u)/ms : 1\n", {}, EquationError, "and the reverse",
    ),
    "a name of Brian2's own": (LEAK.replace("tau", "N"), {}, EquationError, r"yaml:3: Brian2 cannot run this.*'?N'?"),
    "a name of C++'s": (LEAK.replace("tau", "double"), {}, EquationError, r"yaml:3: Brian2 cannot run this: 'double'"),
    "a step too large for Euler": (
        LEAK.replace("10*ms", "0.04*ms") + "integration: euler\n", {}, RequestError, r"--dt: found 0.1 ms.* above 0.08",
    ),
    "a negative refractory time": (
        LEAK + "threshold: v > 1\nrefractory: 0.1*tau - 2*ms\nevents: {spike: v = 0}\n", {}, RequestError,
        "refractory time .* is negative",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, changes, kind, words", BAD.values(), ids=BAD)
def test_what_cannot_run_is_refused_before_anything_is_compiled(tmp_path, text, changes, kind, words):
    with pytest.raises(kind, match=words) as error:
        simulate(Setup(written(tmp_path, text)), changes)
    assert "\n" not in str(error.value)


def test_explicit_euler_is_held_to_the_fixed_points_where_the_plateau_is_stiff(tmp_path):
    text = f"extends: {EQUATIONS / 'dendrite_nmda.yaml'}\nintegration: euler\nparameters: {{C: 0.5*pF}}\n"
    with pytest.raises(RequestError, match=r"explicit Euler diverges for v at -7\.\d mV above 0\.13"):
        simulate(Setup(written(tmp_path, text), dt_ms=0.2))
    assert simulate(Setup(written(tmp_path, text), duration_ms=10, dt_ms=0.1)).finite


@pytest.mark.parametrize(
    "options, words",
    [
        ({"dt_ms": 0}, "--dt: found 0"),
        ({"dt_ms": float("nan")}, "--dt: found nan"),
        ({"duration_ms": 0.05}, "--duration: found 0.05"),
        ({"duration_ms": 1.05}, "whole number of steps"),
        ({"duration_ms": float("inf")}, "--duration: found inf"),
        ({"neurons": 0}, "--neurons: found 0"),
        ({"neurons": 10**6, "duration_ms": 10**6}, "too many to hold"),
        ({"record": ("v", "w")}, "--record: found 'w', expected some of: v"),
        ({"varied": ("tao",)}, "no parameter 'tao' to vary"),
    ],
)
def test_sizes_that_cannot_be_are_refused(tmp_path, options, words):
    with pytest.raises(RequestError, match=words):
        Setup(written(tmp_path, LEAK), **options).check()


def test_a_fit_may_not_leave_the_bounds_and_a_person_may(tmp_path):
    setup = Setup(written(tmp_path, LEAK))
    assert setup.values({"tau": 0.2})["tau"] == 0.2
    with pytest.raises(RequestError, match=r"'tau' was given 0.2 \(SI\), expected a value in \[1\*ms, 100\*ms\]"):
        setup.values({"tau": 0.2}, bounded=True)


def test_a_compilers_complaint_names_the_equation(tmp_path):
    error = brian.refused(written(tmp_path, LEAK), "code.cpp:3: error: something about tau here")
    assert "model.yaml:3: Brian2 cannot run the equation of 'tau'" in str(error)


def test_a_model_that_is_no_neuron_is_refused():
    with pytest.raises(EquationError, match="this file is of the kind channel"):
        Setup(equations.read(EQUATIONS / "l5pc" / "Ih.yaml")).check()


def archive(path, **arrays):
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(
    "arrays, words",
    [
        ({}, "no array 'event_time_ms'"),
        ({"event_time_ms": [-1.0]}, "-1, expected 0 or more"),
        ({"event_time_ms": [np.nan]}, "nan, expected numbers"),
        ({"event_time_ms": [1.0], "event_neuron": [2]}, "holds 2, expected 0 to 1"),
        ({"event_time_ms": [1.0], "event_neuron": [0.5]}, "whole numbers"),
        ({"event_time_ms": [1.0], "event_neuron": [0, 1]}, r"shape \(2,\), expected \(1,\)"),
        ({"event_time_ms": [1.0], "event_name": ["spike"]}, "'spike', expected one of: presynaptic"),
        ({"event_time_ms": [1.0], "event_name": [3]}, "expected texts"),
        ({"event_time_ms": ["now"]}, "expected real numbers"),
        ({"event_time_ms": np.array([{}], object)}, "not a NumPy archive of plain arrays"),
    ],
)
def test_events_that_cannot_be_delivered_are_refused(tmp_path, arrays, words):
    with pytest.raises(ArrivalsError, match=words):
        read_arrivals(archive(tmp_path / "events.npz", **arrays), model("dendrite_nmda"), 2)


def test_events_are_for_neuron_0_with_weight_1_unless_the_file_says_more(tmp_path):
    path = archive(tmp_path / "events.npz", event_time_ms=[3.0, 999.0])
    found = read_arrivals(path, model("dendrite_nmda"), 1)
    weights = found.weights("presynaptic", 1, 100, 0.1)
    assert weights.sum() == weights[30, 0] == 1
    with pytest.raises(ArrivalsError, match="event_name"):
        read_arrivals(path, model("neuron_nmda"), 1)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ArrivalsError, match="not a NumPy archive"):
        read_arrivals(tmp_path / "text.npz", model("dendrite_nmda"), 1)


def test_the_command_prints_one_line_and_writes_traces(command, tmp_path):
    given = archive(tmp_path / "events.npz", event_time_ms=[5.0], event_weight=[30.0])
    dendrite = "equations/dendrite_nmda.yaml", "--set", "w=20", "--set", "tau_s=100*ms"
    times = "--duration", 50, "--dt", 0.5, "--events", given
    run = command("simulate", *dendrite, *times, "--out", tmp_path / "out.npz")
    assert run.code == 0 and run.stdout.count("\n") == 1 and "v -" in run.stdout and " mV" in run.stdout
    with np.load(tmp_path / "out.npz") as found:
        assert found["v"].shape == found["s"].shape == (100, 1) and found["time_ms"][1] == 0.5
        assert found["s"][10:12, 0] == pytest.approx([1, 4])


@pytest.mark.parametrize(
    "given, words",
    [
        (["w"], "--set w: found no '='"),
        (["x=1"], "dendrite_nmda.yaml has no parameter 'x', expected one of: w, s_tonic"),
        (["tau_s=43"], r"found the unit 1 \(no unit\), expected s"),
        (["w=__import__('os')"], "not a number with a unit"),
        (["w=1", "w=2"], "a second value for 'w'"),
    ],
)
def test_a_value_on_the_command_line_must_fit_its_parameter(given, words):
    with pytest.raises(RequestError, match=words):
        brian.read_changes(model("dendrite_nmda"), given)


def test_the_command_refuses_in_one_line(command):
    run = command("simulate", "equations/dendrite_nmda.yaml", "--device", "tpu")
    assert run.code == 2 and "Traceback" not in run.stderr
    assert run.stderr.splitlines()[-1] == "error: --device: found 'tpu', expected one of: runtime, torch, cpp, cuda"


def test_an_unknown_benchmark_is_refused():
    from sims import benchmarks

    with pytest.raises(RequestError, match="NAME: found 'brain', expected one of: cable, brian"):
        benchmarks.find("brain")


def replaced(program, tmp_path, script):
    """The program with a script in the place of its binary, which notes its process's id."""
    import copy

    other = copy.copy(program)
    other.folder = tmp_path
    (tmp_path / "main").write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/ids\n{script}\n")
    (tmp_path / "main").chmod(0o755)
    return other


def living(tmp_path):
    ids = [int(text) for text in (tmp_path / "ids").read_text().split()]
    return [i for i in ids if Path(f"/proc/{i}").exists()]


@pytest.mark.faults
def test_a_killed_run_is_an_error_that_ends_the_others_and_leaves_nothing(program, tmp_path):
    script = 'case "$*" in *feedback=0.5*) sleep 0.3; kill -9 $$;; *) exec sleep 60;; esac'
    other = replaced(program, tmp_path, script)
    descriptors, start = len(os.listdir("/proc/self/fd")), time.monotonic()
    with pytest.raises(BackendError, match="killed by signal 9|because another failed"):
        other.evaluate([{"feedback": x} for x in (0.1, 0.5, 0.2, 0.3)], KICKS, workers=2)
    assert time.monotonic() - start < 30 and living(tmp_path) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors and sorted(os.listdir(tmp_path)) == ["ids", "main"]


@pytest.mark.faults
def test_a_run_that_writes_half_or_complains_is_an_error(program, tmp_path):
    with pytest.raises(BackendError, match="wrote 4 bytes, expected"):
        replaced(program, tmp_path, "printf half").evaluate([{}])
    with pytest.raises(BackendError, match="failed: no such array"):
        replaced(program, tmp_path, "echo no such array >&2").evaluate([{}])


@pytest.mark.faults
def test_a_program_whose_parent_is_killed_dies_with_it(program, tmp_path):
    os.mkfifo(tmp_path / "pipe")  # reading the parameter's values waits for someone to write them
    code = (
        f"import subprocess, time\nrun = subprocess.Popen(['./main', 'neurons.dendrite1_w={tmp_path}/pipe'],"
        f" cwd='{program.folder}')\nprint(run.pid, flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    stat = Path(f"/proc/{int(parent.stdout.readline())}/stat")
    while not stat.read_text().split(" ", 1)[1].startswith("(main) S"):
        time.sleep(0.02)
    parent.kill()
    parent.communicate()
    for _ in range(500):
        if not stat.exists() or ") Z" in stat.read_text():
            return
        time.sleep(0.02)
    pytest.fail("the program outlived its parent")


@pytest.mark.slow
def test_new_values_give_what_a_program_compiled_for_them_gives(program, setup, tmp_path):
    changes = {"g_c": 7e-9, "dendrite_tau_s": 0.06, "soma_v_threshold": -0.052}
    other = Setup(setup.model.with_values(changes), 3, 200, 0.1, varied=("dendrite1_w",))
    compiled_anew = Program(other, cache=tmp_path)
    assert compiled_anew.folder != program.folder
    (a,), (b,) = program.evaluate([changes], KICKS), compiled_anew.evaluate([{}], KICKS)
    assert all(np.array_equal(a.values[name], b.values[name]) for name in a.values)


@pytest.mark.slow
def test_a_new_value_costs_a_hundredth_of_compiling_anew():
    from sims.benchmarks import brian as benchmark

    figures = benchmark.benchmark()
    assert figures["recompile_over_run"] >= 100 and figures["overhead_ratio"] < 1.5
    assert "two workers" in benchmark.table(figures)


@pytest.mark.slow
@pytest.mark.faults
def test_a_compilation_that_is_killed_leaves_no_program_and_is_done_again(tmp_path):
    (tmp_path / "leak.yaml").write_text(LEAK + "initial: {v: 1}\n")
    code = (
        "from sims import equations\nfrom sims.backends.brian import Setup\n"
        "from sims.backends.brian_program import Program\n"
        f"traces, = Program(Setup(equations.read('{tmp_path}/leak.yaml'), duration_ms=10)).evaluate([{{}}])\n"
        "print(traces.final['v'][0])"
    )
    environment = {**os.environ, "DENDRITIC_CACHE": str(tmp_path / "cache")}
    process = subprocess.Popen([sys.executable, "-c", code], cwd=PROJECT, env=environment, start_new_session=True)
    while not list(tmp_path.glob("cache/brian/tmp*/main.cpp")):
        time.sleep(0.05)
        assert process.poll() is None
    os.killpg(process.pid, 9)
    process.wait()
    assert not list(tmp_path.glob("cache/brian/*/program.json"))
    run = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, env=environment, capture_output=True, text=True)
    assert float(run.stdout) == pytest.approx(np.exp(-1)), run.stderr


@pytest.mark.slow
def test_a_cuda_program_of_a_neuron_with_dendrites_compiles_and_runs_where_a_gpu_is(program, setup, tmp_path):
    pytest.importorskip("brian2cuda", reason="brian2cuda is an extra")
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on the PATH")
    on_gpu = Program(setup, "cuda", cache=tmp_path)
    assert (on_gpu.folder / "main").is_file() and len(on_gpu.output["files"]) == 2 * len(setup.model.states) + 2
    if not brian_program.gpu_capabilities():
        pytest.skip("compiled; there is no GPU to run it on")
    candidates = [{"g_c": 7e-9, "feedback": 0.1, "dendrite1_w": np.array([5.0, 15.0, 40.0])}, {}]
    for found, expected in zip(*(p.evaluate(candidates, KICKS) for p in (on_gpu, program)), strict=True):
        for name, trace in expected.values.items():
            assert np.abs(found.values[name] - trace).max() < 1e-9, name
        assert np.array_equal(found.spike_time_ms, expected.spike_time_ms) and len(found.spike_time_ms) > 5
        assert np.array_equal(found.spike_neuron, expected.spike_neuron)


def only_on_the_path(monkeypatch, tmp_path, **scripts):
    """A PATH with make and g++, and scripts of these names with this text."""
    for name in ("make", "g++", "sh", "as", "ld"):
        (tmp_path / name).symlink_to(shutil.which(name))
    for name, text in scripts.items():
        (tmp_path / name.replace("_", "-")).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name.replace("_", "-")).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize("scripts", [{}, {"nvidia_smi": "exit 9"}, {"nvidia_smi": ""}])
def test_without_a_gpu_the_device_cuda_is_refused_before_anything_is_compiled(monkeypatch, tmp_path, scripts):
    only_on_the_path(monkeypatch, tmp_path, **scripts)
    with pytest.raises(BackendError, match="--device cuda needs an NVIDIA GPU to run on, and nvidia-smi finds none"):
        simulate(Setup(model("dendrite_nmda"), duration_ms=1), device="cuda")


@pytest.mark.parametrize(
    "found, words", [(None, "needs brian2cuda, an extra of this project"), ("it", "needs NVIDIA's compiler nvcc")]
)
def test_what_cuda_programs_need_is_named_where_it_is_missing(monkeypatch, tmp_path, found, words):
    only_on_the_path(monkeypatch, tmp_path)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: found)
    with pytest.raises(BackendError, match=words):
        Program(Setup(model("dendrite_nmda"), duration_ms=1), "cuda", cache=tmp_path / "cache")


def test_a_cuda_programs_key_knows_the_gpu(monkeypatch, tmp_path):
    """A cache may serve machines with other GPUs."""

    def compiled(self, folder):
        for name in ("main", "static_arrays"):
            (folder / name).touch()
        return {}

    monkeypatch.setattr(Program, "_compile", compiled)
    setup, folders = Setup(model("dendrite_nmda"), duration_ms=1), set()
    for capabilities in ([], ["8.6"], ["9.0"]):
        monkeypatch.setattr(brian_program, "gpu_capabilities", lambda found=capabilities: found)
        folders.add(Program(setup, "cuda", cache=tmp_path).folder)
    assert len(folders) == 2


def test_the_cache_of_programs_is_the_projects(program):
    assert program.folder.parent == cache_folder() / "brian"
    assert json.loads((program.folder / "program.json").read_text())["files"]
