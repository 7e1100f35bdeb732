"""Networks of delays: the file, its Brian2 network against plain NumPy, and what Hebb's rule recalls."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from sims import delays, equations
from sims.backends import brian_delays, numpy_delays
from sims.delays import Trial
from sims.documents import EquationError
from sims.mistakes import RequestError
from sims.recall import Recall, f1, read_weights
from sims.recall import recall as recalled
from sims.stimuli import patterns
from sims.summary import summarise

FILE = Path(__file__).resolve().parents[2] / "equations" / "delays.yaml"
SMALL = dict(N=64, D=16, T=100, M=3, p_A=0.015, lead=20, p_noise=0.01, tail=10, theta=0.4, most_active=0.1)
ROW = dict(N=128, T=200, M=4, p_A=0.004, lead=0, tail=0)  # of the published flaw


def network(**values):
    return delays.network(equations.read(FILE).with_values(values))


def changed(tmp_path, text):
    (tmp_path / "network.yaml").write_text(f"extends: {FILE}\n{text}")
    return tmp_path / "network.yaml"


def remembered(network, z=None, seed=0):
    """(weights, trials, patterns) by Hebb's rule."""
    given = patterns.bernoulli(network, seed)
    trials = [patterns.trial(network, pattern, seed, m) for m, pattern in enumerate(given)]
    return patterns.hebbian(network, given, z), trials, given


def score(network, z=None):
    weights, trials, given = remembered(network, z)
    return Recall(network, given, np.array([numpy_delays.simulate(network, weights, trial) for trial in trials])).f1


def test_a_step_is_leak_arrival_threshold_and_reset():
    """Two neurons and a synapse of weight w from 0 to 1 at a delay of 3: u_1 = w at 3, then leaks and resets."""
    net = network(N=2, D=4, T=10, lead=0, tail=0, M=1, cue=0.25, theta=1, most_active=1)
    weights = np.zeros((2, 2, 4))
    weights[1, 0, 2] = 1.5
    given = np.zeros((10, 2))
    given[5, 1] = 0.9  # β² (1.5 - θ) + 0.9 = 1.145 at step 5, one below at 4
    spikes = numpy_delays.simulate(net, weights, Trial(np.array([[1, 0]], np.int8), given))
    assert np.argwhere(spikes).tolist() == [[0, 0], [3, 1], [5, 1]]
    given[5, 1] = 1 - 0.7**2 * 0.5 - 1e-9
    spikes = numpy_delays.simulate(net, weights, Trial(np.array([[1, 0]], np.int8), given))
    assert np.argwhere(spikes).tolist() == [[0, 0], [3, 1]]


@pytest.mark.parametrize("theta, recall, runs_away", [(0.3, 0.1, True), (0.4, 0.98, False), (0.5, 0.76, False)])
def test_brian2_and_numpy_emit_the_same_spikes(theta, recall, runs_away):
    net = network(**SMALL | {"theta": theta})
    weights, trials, given = remembered(net)
    expected = np.array([numpy_delays.simulate(net, weights, trial) for trial in trials])
    found = brian_delays.simulate(net, weights, trials)
    assert np.array_equal(found, expected) and found.any(axis=(1, 2)).all()
    assert Recall(net, given, found).f1 == pytest.approx(recall, abs=0.01)
    assert all((net.silenced(raster) is not None) == runs_away for raster in found)


VARIANTS = {
    "a reset to zero": "events: {spike: u = 0}\n",
    "a threshold that adapts": (
        "equations: |\n  dh/dt = -h/tau_h : 1\nthreshold: u >= theta + h\ninitial: {h: 0}\n"
        "events: {spike: u -= theta; h += jump}\nparameters: {tau_h: 20*ms, jump: 0.05}\n"
    ),
    "synapses of another sign and gain": "events: {presynaptic: u -= gain/2}\nparameters: {gain: {value: -2}}\n",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_any_neuron_that_a_file_describes_runs_in_both(tmp_path, text):
    net = delays.network(equations.read(changed(tmp_path, text)).with_values(SMALL))
    weights, trials, _ = remembered(net)
    noise = np.random.default_rng(1).normal(0, 0.05, (net.steps, net.N))
    trials = [Trial(trial.imposed, noise) for trial in trials]
    expected = np.array([numpy_delays.simulate(net, weights, trial) for trial in trials])
    assert np.array_equal(brian_delays.simulate(net, weights, trials), expected)
    assert expected[:, net.scored].sum() > 20


@pytest.mark.slow
def test_a_program_with_all_its_synapses_takes_any_weights_and_trials(tmp_path, monkeypatch):
    monkeypatch.setenv("DENDRITIC_CACHE", str(tmp_path))
    net = network(**SMALL)
    for seed in (0, 1):
        weights, trials, _ = remembered(net, seed=seed)
        expected = np.array([numpy_delays.simulate(net, weights, trial) for trial in trials])
        assert np.array_equal(brian_delays.simulate(net, weights, trials, "cpp", workers=2), expected)
    assert len(list(tmp_path.glob("brian/delays_cpp_*/main"))) == 1


def test_imposed_spikes_and_silence_overrule_the_threshold():
    net = network(**SMALL)
    weights, (trial, *_), _ = remembered(net)
    imposed = np.full((net.steps, net.N), -1, np.int8)
    imposed[: len(trial.imposed)] = trial.imposed
    imposed[:, :16] = 0  # a quarter of the neurons is silenced for good
    imposed[80, 20] = 1
    (found,) = brian_delays.simulate(net, weights, [Trial(imposed)])
    assert np.array_equal(found, numpy_delays.simulate(net, weights, Trial(imposed)))
    assert not found[:, :16].any() and found[80, 20] and found[60:].sum() > 20


def test_with_the_right_normaliser_hebbian_weights_recall_until_the_threshold_is_too_high():
    """F1 before any training at N 128, T 200, M 4, p_A .004: θ .35 → 1, and less at .5 and .8, where chains die."""
    found = [score(network(theta=theta, **ROW)) for theta in (0.35, 0.5, 0.8)]
    assert found[0] > 0.995 and 0.8 < found[1] < 0.95 and 0.3 < found[2] < 0.6


def test_with_the_published_normalisers_they_run_away_or_fall_silent():
    """The program's has the gain N D/(M (T - D)), eight here; the paper's 1/M."""
    net = network(theta=0.8, **ROW)
    weights, trials, _ = remembered(net, z=net.p_A * net.M * (net.T - net.D))
    assert all(net.silenced(numpy_delays.simulate(net, weights, trial)) for trial in trials)
    net = network(theta=1, **ROW)
    weights, trials, _ = remembered(net, z=net.N * net.D * net.p_A * net.M)
    assert not any(numpy_delays.simulate(net, weights, trial)[net.scored].any() for trial in trials)


@pytest.mark.slow
def test_the_file_recalls_its_sixteen_patterns_in_brian2():
    found = recalled(delays.read(FILE))
    assert found.f1 > 0.995 and "over 16 patterns" in found.summary() and "runaway" not in found.summary()


def test_hebbian_weights_are_the_sum_over_spikes_at_each_delay():
    net = network(N=5, D=3, T=20, M=2, p_A=0.2)
    given = patterns.bernoulli(net, 0)
    expected = np.zeros((5, 5, 3))
    for pattern in given.astype(float):
        for t in range(20):
            target = pattern[t] - (0.7 * pattern[t - 1] if t else 0)
            for d in range(1, min(3, t) + 1):
                expected[:, :, d - 1] += np.outer(target, pattern[t - d]) / (5 * 3 * 0.2)
    assert np.abs(patterns.hebbian(net, given) - expected).max() < 1e-12


def test_patterns_have_the_rate_asked_for_and_streams_of_their_own():
    given = patterns.bernoulli(network(M=4), 3)
    assert given.shape == (4, 1000, 512) and given.mean() == pytest.approx(0.001, rel=0.1)
    assert np.array_equal(given[:2], patterns.bernoulli(network(M=2), 3))
    assert not np.array_equal(given[0], given[1])


def test_f1_counts_hits_against_misses_and_false_alarms():
    wanted = np.array([1, 1, 0, 0], bool)
    assert f1(wanted, wanted) == 1 and f1(~wanted, wanted) == 0
    assert f1(np.array([1, 0, 1, 0], bool), wanted) == 0.5
    assert f1(wanted & False, wanted) == 0 and f1(wanted & False, wanted & False) == 1


def test_check_says_what_a_trial_is_and_how_many_synapses_there_are():
    summary = summarise(FILE)
    assert summary.figures["synapses"] == 512 * 512 * 41 and summary.figures["steps"] == 1100
    assert "10,747,904 synapses" in summary.text and "u >= theta" in summary.text


BAD = {
    "no neurons": ("parameters: {N: 0}", r"network.yaml:2: 'N' is 0, expected a whole number from 1"),
    "half a delay": ("parameters: {D: 1.5}", "'D' is 1.5, expected a whole number"),
    "a leak that grows": ("parameters: {beta: 1.1}", "'beta' is 1.1, expected a number from 1e-09 to 1"),
    "a step without a unit": ("parameters: {step: 1}", r"the units do not fit|'step' has the unit"),
    "a probability above 1": ("parameters: {p_A: 2}", "'p_A' is 2, expected a number"),
    "a parameter gone": ("parameters: {most_active: null}", "a network needs the parameter 'most_active'"),
    "a parameter too many": ("parameters: {gamma: 3}", "network.yaml:2: nothing in this network uses .*'gamma'"),
    "a pattern within the delays": ("parameters: {T: 30}", "a pattern of 30 steps; expected more than the 41 delays"),
    "more synapses than can be counted": ("parameters: {N: 10000}", "10000 neurons with 41 delays have 4100000000"),
    "no spikes": ("threshold: null\nevents: {spike: null}", "a network needs a threshold and the events"),
    "another event": ("events: {reward: u += 1}", "a network needs a threshold and the events"),
    "arrivals whose order matters": ("events: {presynaptic: u *= 2}", r"must add .* found 'u \*= 2'"),
    "arrivals that read the state": ("events: {presynaptic: u += 1 - u}", "must add what parameters decide"),
    "a refractory time": ("refractory: 2*ms", "only a neuron has a refractory"),
    "a kind of its own": ("kind: neuron", "nothing in this model uses the parameter 'N'"),
}


@pytest.mark.parametrize("text, words", BAD.values(), ids=BAD)
def test_a_network_that_cannot_be_is_refused(tmp_path, text, words):
    with pytest.raises(EquationError, match=words) as error:
        delays.read(changed(tmp_path, text + "\n"))
    assert "\n" not in str(error.value)


def test_weights_and_trials_must_fit_the_network():
    net = network(**SMALL)
    trial = Trial(np.zeros((5, net.N), np.int8))
    with pytest.raises(RequestError, match=r"weights: found the shape \(2, 2, 2\)"):
        brian_delays.simulate(net, np.zeros((2, 2, 2)), [trial])
    with pytest.raises(RequestError, match="found 'cuda', expected runtime or cpp"):
        brian_delays.simulate(net, np.zeros((64, 64, 16)), [trial], "cuda")
    for bad in (Trial(np.zeros((5, 3), np.int8)), Trial(trial.imposed, np.zeros((5, net.N)))):
        with pytest.raises(ValueError, match="expected"):
            numpy_delays.simulate(net, np.zeros((64, 64, 16)), bad)


def test_the_command_recalls_and_writes_spikes(command, tmp_path):
    settings = [option for name, value in (SMALL | {"M": 2}).items() for option in ("--set", f"{name}={value}")]
    found = command("simulate", FILE, *settings, "--seed", "1", "--out", tmp_path / "out.npz")
    assert found.code == 0 and "over 2 patterns" in found.stdout and found.stdout.count("\n") == 1
    with np.load(tmp_path / "out.npz") as archive:
        assert set(archive["spike_trial"]) == {0, 1} and archive["spike_time_ms"].max() < 130
        assert archive["pattern_time_ms"].min() >= 20
    assert json.loads(command("check", FILE, "--json").stdout)["kind"] == "network"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((FILE, "--dt", "0.1"), "--dt: found it for"),
        ((FILE, "--neurons", "3"), "a network, whose file says it"),
        ((FILE.with_name("soma_lif.yaml"), "--seed", "3"), "--seed: found it for"),
        ((FILE, "--set", "N=0"), "'N' is 0.0 (SI), expected a whole number"),
        ((FILE, "--device", "cuda"), "expected runtime or cpp"),
    ],
)
def test_bad_requests_get_one_line(command, arguments, words):
    found = command("simulate", *arguments)
    assert found.code == 2 and words in found.stderr and "Traceback" not in found.stderr


def test_patterns_of_evidence_have_the_spikes_asked_for_and_the_interval():
    net = network(M=3, **{name: value for name, value in ROW.items() if name != "M"} | {"p_A": 0.02})
    given = patterns.evidence(net, 3)
    assert (given.sum(axis=(1, 2)) == round(0.02 * 200 * 128)).all()
    gaps = [np.diff(np.flatnonzero(train)) for pattern in given for train in pattern.T]
    assert min(gap.min() for gap in gaps if len(gap)) == patterns.INTERVAL_MS
    assert np.array_equal(given[:2], patterns.evidence(delays.network(net.model.with_values({"M": 2})), 3))


LEAKY = {
    "the file's": ("", "subtract"),
    "a reset to zero": (VARIANTS["a reset to zero"], "zero"),
    "a reset in other words": ("events: {spike: u *= 0}\n", "zero"),
    "an arrival in other words": (VARIANTS["synapses of another sign and gain"], "subtract"),
}


@pytest.mark.parametrize("text, reset", LEAKY.values(), ids=LEAKY)
def test_a_leaky_neuron_is_known_by_what_its_steps_do(tmp_path, text, reset):
    found = numpy_delays.leaky(delays.read(changed(tmp_path, text)))
    assert found == {"beta": pytest.approx(0.7, rel=1e-14), "theta": 0.3, "reset": reset}


OTHERS = {
    "adapts": VARIANTS["a threshold that adapts"],
    "hears twice": "events: {presynaptic: u += 2}\n",
    "drifts": 'equations: "du/dt = log(beta)/step*u + 0.1/step : 1"\n',
    "compares otherwise": "threshold: u > theta\n",
    "is reset to somewhere": "events: {spike: u = 0.1}\n",
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_a_neuron_that_is_not_leaky_alone_is_refused(tmp_path, text):
    with pytest.raises(EquationError, match="found another neuron, expected one that can learn"):
        numpy_delays.leaky(delays.read(changed(tmp_path, text)))


def test_learnt_weights_are_replayed(command, tmp_path):
    net = network(**SMALL)
    weights, _, given = remembered(net)
    stored = np.ascontiguousarray(weights.transpose(1, 2, 0), np.float32)
    safetensors.numpy.save_file({"weight": stored}, tmp_path / "model.safetensors")
    assert np.abs(read_weights(tmp_path / "model.safetensors") - weights).max() < 1e-6
    settings = [option for name, value in (SMALL | {"theta": 0.5}).items() for option in ("--set", f"{name}={value}")]
    hebb = command("simulate", FILE, *settings)
    learnt = command("simulate", FILE, *settings, "--weights", tmp_path / "model.safetensors")
    assert hebb.code == learnt.code == 0 and hebb.stdout == learnt.stdout
    (tmp_path / "model.safetensors").write_bytes(b"no weights")
    found = command("simulate", FILE, "--weights", tmp_path / "model.safetensors")
    assert found.code == 2 and "expected the weights of a fit" in found.stderr
    found = command("simulate", FILE, *settings, "--patterns", "poisson")
    assert found.code == 2 and "--patterns: found 'poisson', expected one of: bernoulli, evidence" in found.stderr
