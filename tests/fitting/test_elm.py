import math

import numpy as np
import pytest
import torch

from fitting import models
from fitting.models.elm import BranchELM, Settings, low_pass, route
from fitting.settings import SettingError, change

SMALL = dict(d_m=4, d_tree=5, d_brch=9)
VARIANTS = [
    {},
    {"gain": "v2", "lambda_value": 10.0},
    {"activation": "silu"},
    {"learn_tau_m": True, "tau_m_max": 100.0, "tau_m_spacing": "linear"},
    {"d_mlp": 3, "tau_s": 8.0, "dt_ms": 2.0},
]


@pytest.fixture(autouse=True)
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def small_model(num_input=32, **settings):
    model = BranchELM(Settings(**{**SMALL, **settings}), num_input, 2)
    # Weights of both signs, so that the rectification of synapses counts.
    torch.nn.init.normal_(model.w_s)
    return model


def events(batch=2, time=300, channels=32, probability=0.1):
    x = (torch.rand(batch, time, channels) < probability).double()
    x[..., channels // 2 :] *= -1
    return x


def published_equations(model, x):
    """The Branch-ELM synapse by synapse and step by step, from the paper and the routing's description alone."""
    p, s = {name: value.detach().numpy() for name, value in model.named_parameters()}, model.settings
    channels, steps = x.shape[1], len(x)
    order = [channel for i in range(channels // 2) for channel in (i, i + channels // 2)]
    stride = math.ceil(channels / s.d_tree)
    if s.learn_tau_m:
        tau_m = s.tau_m_lower + (s.tau_m_upper - s.tau_m_lower) / (1 + np.exp(-p["proto_tau_m"]))
    else:
        tau_m = np.exp(np.linspace(np.log(s.tau_m_min), np.log(s.tau_m_max), s.d_m))
    kappa_s, kappa_m = np.exp(-s.dt_ms / s.tau_s), np.exp(-s.dt_ms / tau_m)
    synapses, memory, outputs = np.zeros((s.d_tree, s.d_brch)), np.zeros(s.d_m), np.empty((steps, 2))
    for t in range(steps):
        branches = np.zeros(s.d_tree)
        for k in range(s.d_tree):
            for j in range(s.d_brch):
                place = k * stride + j
                arriving = x[t, order[place]] if place < channels else 0.0
                synapses[k, j] = kappa_s * synapses[k, j] + max(p["w_s"][k, j], 0) * arriving
                branches[k] += synapses[k, j]
        hidden = p["mlp_in.weight"] @ np.concatenate([branches, kappa_m * memory]) + p["mlp_in.bias"]
        hidden = np.maximum(hidden, 0) if s.activation == "relu" else hidden / (1 + np.exp(-hidden))
        update = 1.7159 * np.tanh(2 / 3 * (p["mlp_out.weight"] @ hidden + p["mlp_out.bias"]))
        gain = s.lambda_value * (1 - kappa_m) if s.gain == "v1" else 1 - np.exp(-s.lambda_value * s.dt_ms / tau_m)
        memory = kappa_m * memory + gain * update
        outputs[t] = p["readout.weight"] @ memory + p["readout.bias"]
    return outputs


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_fast_forward_is_the_published_equations(settings):
    model, x = small_model(**settings), events()
    with torch.no_grad():
        fast = model(x).numpy()
    for batch in range(len(x)):
        np.testing.assert_allclose(fast[batch], published_equations(model, x[batch].numpy()), rtol=0, atol=1e-12)


def test_the_low_pass_of_blocks_is_the_recurrence():
    u, s = torch.randn(300, 3), torch.zeros(3)
    filtered = low_pass(u, 0.9)
    for t in range(len(u)):
        s = 0.9 * s + u[t]
        torch.testing.assert_close(filtered[t], s, rtol=0, atol=1e-13)


def test_gradients_reach_every_live_parameter_and_no_dead_one():
    model = BranchELM(Settings(**SMALL, learn_tau_m=True, activation="silu"), 32, 2)
    model(events(batch=4)).square().sum().backward()
    live = torch.from_numpy(route(32, 5, 9) >= 0)
    assert 0 < (~live).sum() == model.dead_parameters()
    assert (model.w_s.grad[~live] == 0).all() and (model.w_s.grad[live] != 0).all()
    for name, parameter in model.named_parameters():
        if name != "w_s":
            assert (parameter.grad != 0).all(), name


def test_gradients_are_those_of_finite_differences():
    model, x = small_model(activation="silu", learn_tau_m=True), events(batch=1, time=20)
    names = [name for name, _ in model.named_parameters()]

    def output(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(output, tuple(model.parameters()))


def test_the_output_depends_on_no_later_input():
    model, x = small_model(), events(batch=1)
    later = x.clone()
    later[:, 200:] = 1.0
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :200], model(later)[:, :200], rtol=0, atol=1e-13)


def test_neuronio_routing_interleaves_and_leaves_218_synapses_dead():
    channel = route(1278, 45, 100)
    assert channel[0, :4].tolist() == [0, 639, 1, 640]
    assert channel[1, 0] == 653  # place 29 is the fifteenth inhibitory channel
    assert (channel >= 0).sum() == 4282
    assert set(channel[channel >= 0].tolist()) == set(range(1278))


def test_parameters_are_those_of_the_equations_next_to_the_papers():
    count = models.parameter_count(BranchELM(Settings(), 1278, 2))
    assert count == {"trainable": 8002, "live": 7784, "printed": "8104"}
    assert models.parameter_count(BranchELM(Settings(learn_tau_m=True), 1278, 2))["trainable"] == 8022
    assert models.parameter_count(BranchELM(Settings(d_tree=35, d_brch=65), 1278, 2))["printed"] == "5479"
    assert models.parameter_count(BranchELM(Settings(d_tree=30), 1278, 2))["printed"] is None


def test_memory_starts_log_spaced_and_learnable_time_constants_start_there_too():
    fixed = BranchELM(Settings(tau_m_max=100.0), 1278, 2).tau_m()
    learned = BranchELM(Settings(tau_m_max=100.0, learn_tau_m=True), 1278, 2).tau_m()
    np.testing.assert_allclose(fixed.numpy(), np.geomspace(1, 100, 20), rtol=1e-12)
    torch.testing.assert_close(learned, fixed, rtol=1e-9, atol=0)


def test_only_the_v2_gain_stays_below_one():
    model = small_model(gain="v1", lambda_value=10.0)
    kappa = math.exp(-1)
    assert 10 * (1 - kappa) == pytest.approx(6.32, abs=0.01)
    # From an empty memory one step writes at most gain * 1.7159.
    torch.nn.init.constant_(model.mlp_out.bias, 100.0)
    torch.nn.init.zeros_(model.mlp_out.weight)
    torch.nn.init.eye_(model.readout.weight)
    torch.nn.init.zeros_(model.readout.bias)
    assert model(events(1, 1))[0, 0, 0].item() == pytest.approx(1.7159 * 10 * (1 - kappa))
    model.settings = Settings(**SMALL, gain="v2", lambda_value=10.0)
    assert model(events(1, 1))[0, 0, 0].item() == pytest.approx(1.7159 * (1 - math.exp(-10)))


@pytest.mark.parametrize(
    "override, complaint",
    [
        ("d_m=twenty", "found 'twenty', expected a whole number"),
        ("d_m=2.5", "found '2.5', expected a whole number"),
        ("d_m", "expected NAME=VALUE"),
        ("depth=2", "no setting called 'depth', expected one of: d_m"),
        ("gain=v3", "found 'v3', expected v1 or v2"),
        ("learn_tau_m=maybe", "expected true or false"),
        ("d_m=0", "d_m: found 0, expected at least 1"),
        ("tau_s=nan", "tau_s: found nan, expected a finite number"),
    ],
)
def test_an_override_that_does_not_fit_its_setting_is_refused(override, complaint):
    with pytest.raises(SettingError, match=complaint):
        change({"model": Settings()}, [override])


def test_overrides_are_read_by_the_type_of_their_setting():
    changed = change({"model": Settings()}, ["d_m=7", "tau_s=3", "learn_tau_m=true", "d_mlp=none", "gain=v2"])["model"]
    assert changed == Settings(d_m=7, tau_s=3.0, learn_tau_m=True, gain="v2")


def test_a_tree_with_branches_beyond_the_channels_is_refused():
    with pytest.raises(SettingError, match="d_tree: found 1000, expected fewer"):
        BranchELM(Settings(d_tree=1000), 1278, 2)
    with pytest.raises(SettingError, match="input channels: found 7, expected an even number"):
        BranchELM(Settings(d_tree=2), 7, 2)
