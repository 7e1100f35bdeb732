"""Networks of delays: kernels against twins and the simulator, what first weights recall, and what learning adds."""

import contextlib

import numpy as np
import pytest
import torch

from fitting import kernels
from fitting.benchmarks import delay as benchmark
from fitting.kernels.delays import Neuron, arriving, gather, run
from fitting.kernels.margin import learn
from fitting.models import delay_network
from fitting.models.delay_network import DelayNetwork, associate
from fitting.settings import SettingError
from fitting.tasks.recall import Patterns, Recall
from sims import delays, equations
from sims.backends import numpy_delays
from sims.backends.compiled import PROJECT
from sims.stimuli import patterns
from tests.fitting.twins import assert_same, weighing

FILE = PROJECT / "equations" / "delays.yaml"
SMALL = dict(N=24, D=7, T=80, M=3, p_A=0.03, lead=10, p_noise=0.03, tail=5, most_active=0.2)
ROW = dict(N=128, T=200, M=4, p_A=0.004)
TASK = Recall(Recall.Settings())


def patterns_of(**values):
    network = delays.network(equations.read(FILE).with_values(values))
    return Patterns(network, patterns.bernoulli(network, 0), 0)


def model_for(data, **settings):
    """A model with what the data say of it, and its first weights."""
    settings = TASK.known(data) | settings
    model = DelayNetwork(DelayNetwork.Settings(**settings), *TASK.sizes(data))
    torch.manual_seed(0)
    model.start(data)
    return model


def recalled(data, **settings):
    return TASK.evaluate(model_for(data, **settings), data)[0]


def lively(dtype, subtract, most_spikes=150):
    """A network that spikes a lot: (weight, imposed, neuron); a neuron is silenced, another made to spike once."""
    torch.manual_seed(0)
    imposed = -torch.ones(60, 3, 20, dtype=torch.int8)
    imposed[:12] = torch.rand(12, 3, 20) < 0.1
    imposed[30, :, 3], imposed[:, :, 5] = 1, 0
    imposed[40, 1] = 0
    return torch.randn(20, 7, 20, dtype=dtype) / 4, imposed, Neuron(0.7, 0.5, subtract, 5.0, most_spikes)


def spikes_and_gradient(weight, imposed, neuron):
    weight = weight.clone().requires_grad_()
    spikes = run(weight, imposed, neuron)
    return spikes.detach(), *torch.autograd.grad(spikes, weight, weighing(spikes))


@pytest.mark.parametrize("subtract", [True, False])
@pytest.mark.parametrize("most_spikes", [150, 10_000])
def test_spikes_and_gradients_are_those_of_the_twin(subtract, most_spikes):
    network = lively(torch.float64, subtract, most_spikes)
    ours = spikes_and_gradient(*network)
    with kernels.twins():
        twins = spikes_and_gradient(*network)
    assert torch.equal(ours[0], twins[0]) and 150 < ours[0].sum(dim=(0, 2)).min() < 600
    assert_same(ours[1:], twins[1:])


def test_in_float32_gradients_of_a_recall_stay_within_a_millionth_of_float64():
    data = patterns_of(**ROW)
    model, imposed = model_for(data), torch.from_numpy(data.imposed(range(4))).transpose(0, 1)
    network = model.weight.detach(), imposed, model.neuron(len(imposed))
    ours, exact = (spikes_and_gradient(network[0].to(dtype), *network[1:]) for dtype in (torch.float32, torch.float64))
    assert torch.equal(ours[0].double(), exact[0]) and ours[0].sum() > 300
    assert_same(ours[1:], exact[1:], 1e-6)


def test_a_runaway_delivers_by_delay_what_a_quiet_network_delivers_by_spike():
    weight, imposed, neuron = lively(torch.float64, True, 10_000)
    imposed[:] = (torch.rand(imposed.shape) < 0.9).to(torch.int8)  # many spikes a step
    together = arriving(weight, imposed.double())
    alone = torch.cat([arriving(weight, imposed[:, m : m + 1].double()) for m in range(3)], dim=1)
    with kernels.twins():
        assert_same([together], [arriving(weight, imposed.double())], 1e-13)
    assert_same([alone], [together], 1e-13)


@pytest.mark.parametrize("values", [{"theta": 0.35}, {"theta": 0.1}], ids=["recalls", "runs away"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_free_run_has_the_spikes_of_the_simulator(values, dtype):
    data = patterns_of(**ROW | values)
    model = model_for(data).to(dtype)
    imposed = data.imposed(range(4))
    found = TASK.run(model, imposed)
    weights = model.weight.detach().double().numpy().transpose(2, 0, 1)
    trials = [patterns.trial(data.network, pattern, 0, m) for m, pattern in enumerate(data.spikes)]
    assert np.array_equal(found, [numpy_delays.simulate(data.network, weights, trial) for trial in trials])
    assert found[:, data.network.scored].sum() > 50
    assert any(data.network.silenced(raster) is not None for raster in found) == (values["theta"] < 0.3)


def test_gathering_is_the_transpose_of_delivering():
    torch.manual_seed(0)
    spikes, grad = (torch.rand(30, 2, 9) < 0.2).double(), torch.randn(30, 2, 9, dtype=torch.float64)
    weight = torch.randn(9, 5, 9, dtype=torch.float64)
    found = (weight * gather(spikes, grad, 5)).sum()
    assert found.item() == pytest.approx((grad * arriving(weight, spikes)).sum().item(), rel=1e-12)
    with kernels.twins():
        assert found.item() == pytest.approx((weight * gather(spikes, grad, 5)).sum().item(), rel=1e-12)


@pytest.mark.parametrize("subtract", [True, False])
def test_margins_are_learnt_as_in_the_twin(subtract):
    events, found = patterns_of(**SMALL).events(), []
    torch.manual_seed(0)
    first = torch.randn(24, 7, 24, dtype=torch.float64) / 10
    for twin in (False, True):
        weight = first.clone()
        with kernels.twins() if twin else contextlib.nullcontext():
            lapses = learn(weight, events, Neuron(0.7, 0.3, subtract, 15.0, 0), 0.3, 0.5, 10)
        found.append((weight, lapses))
    (ours, lapses), (twins, twins_lapses) = found
    assert np.array_equal(lapses, twins_lapses) and lapses[0].sum() > 4 * lapses[-1].sum()
    assert_same([ours], [twins], 1e-12)


def test_a_learnt_margin_is_kept_at_every_step_of_the_imposed_patterns():
    data = patterns_of(**ROW)
    model = model_for(data, first="random", margin=0.4)
    theta, beta, D = 0.3, 0.7, data.network.D
    spikes = torch.from_numpy(data.spikes).float().transpose(0, 1)
    arrived, rested = arriving(model.weight.detach(), spikes), 0
    for t, (s, a) in enumerate(zip(spikes, arrived, strict=True)):
        u = beta * rested + a
        rested = u - theta * s
        if t >= D:
            assert ((2 * s - 1) * (u - theta)).min() >= 0.4 * theta - 1e-6


@pytest.mark.parametrize("first", ["random", "hebbian"])
@pytest.mark.parametrize("generator", ["bernoulli", "evidence"])
def test_margins_recall_every_pattern_from_any_first_weights(first, generator):
    network = delays.network(equations.read(FILE).with_values(ROW))
    data = Patterns(network, patterns.GENERATORS[generator](network, 1), 1)
    found = recalled(data, first=first, margin=0.3)
    assert found["f1"] == 1 and found["perfect"] == 4


@pytest.mark.slow
@pytest.mark.parametrize("p_A", [1e-3, 2e-3])
@pytest.mark.parametrize("first", ["random", "hebbian"])
def test_margins_recall_the_sixteen_published_patterns_without_a_mistake(first, p_A):
    found = recalled(patterns_of(p_A=p_A), first=first, margin=0.3)
    assert found["f1"] == 1 and found["perfect"] == 16


@pytest.mark.slow
def test_margins_recall_sixteen_times_as_many_patterns():
    found = recalled(patterns_of(M=256), first="random", margin=0.3)
    assert found["f1"] >= 0.999 and found["ran_away"] == 0


@pytest.mark.slow
def test_either_normaliser_of_gain_one_recalls_the_published_patterns_at_once():
    data = patterns_of()
    assert recalled(data)["f1"] >= 0.999 and recalled(data, first="hebbian_context", theta=0.5)["f1"] >= 0.999


def test_first_weights_are_what_the_module_says():
    data = patterns_of(**ROW, theta=0.8)
    found = {first: recalled(data, first=first) for first in ("hebbian", "pseudo_inverse", "random", "hebbian_text")}
    assert found["pseudo_inverse"]["f1"] > 0.99 and 0.2 < found["hebbian"]["f1"] < 0.7
    assert found["random"]["spikes"] == found["hebbian_text"]["spikes"] == 0
    assert recalled(data, first="hebbian_program")["ran_away"] == 4


def test_hebbian_weights_are_those_of_the_simulator():
    data = patterns_of(**SMALL)
    ours = associate(data, DelayNetwork.Settings(D=7), torch.float64).permute(2, 0, 1).numpy()
    assert np.abs(ours - patterns.hebbian(data.network, data.spikes)).max() < 1e-12


def test_the_pseudo_inverse_solves_for_what_must_arrive():
    data = patterns_of(**ROW)
    weight = associate(data, DelayNetwork.Settings(first="pseudo_inverse"), torch.float64)
    spikes = torch.from_numpy(data.spikes).double().transpose(0, 1)
    wanted = spikes[1:] - 0.7 * spikes[:-1]
    error = (arriving(weight, spikes)[1:] - wanted)[data.network.D :]
    assert error.abs().max() < 0.2 and error.square().sum() < 1e-3 * wanted.square().sum()


def test_the_models_defaults_are_the_files():
    data, default = patterns_of(), DelayNetwork.Settings()
    assert {name: getattr(default, name) for name in TASK.known(data)} == TASK.known(data)


@pytest.mark.parametrize(
    "settings", [{"D": 0}, {"beta": 1.5}, {"theta": 0.0}, {"margin": -1.0}, {"margin_epochs": 0}], ids=str
)
def test_settings_that_make_no_network_are_refused(settings):
    with pytest.raises(SettingError, match=f"setting {next(iter(settings))}: found"):
        delay_network.Settings(**settings)


def test_the_benchmark_ends_with_its_figures(monkeypatch, tmp_path):
    (tmp_path / "network.yaml").write_text(f"extends: {FILE}\nparameters: {{N: 128, T: 250, M: 4, p_A: 0.004}}\n")
    monkeypatch.setattr(benchmark, "FILE", tmp_path / "network.yaml")
    monkeypatch.setattr(benchmark, "_brian2", lambda *_: 1.0)
    figures = benchmark.measure(seed=0)
    assert figures["margin_f1"] == 1 and figures["forward_over_twin"] > 10
    assert {"epoch_cpu_s", "peak_rss_mb", "forward_over_brian2", "margin_cpu_s"} <= figures.keys()
