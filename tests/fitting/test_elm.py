import math

import numpy as np
import pytest
import torch

from fitting import events, kernels, models
from fitting.kernels.synapses import Wiring
from fitting.models import elm, routing
from fitting.models.elm import ELM, BranchELM, BranchSettings
from fitting.settings import SettingError, change
from tests.fitting.twins import assert_same, outputs_and_gradients

SMALL = dict(d_m=4, d_tree=5, d_brch=9)
VARIANTS = [
    {},
    {"gain": "v2", "lambda_value": 10.0},
    {"activation": "silu"},
    {"learn_tau_m": True, "tau_m_max": 100.0, "tau_m_spacing": "linear"},
    {"d_mlp": 3, "tau_s": 8.0, "dt_ms": 2.0},
    {"d_mlp": 20},  # by way of the branches
    {"mlp_layers": 0},
    {"mlp_layers": 0, "gain": "v2"},
    {"mlp_layers": 2, "activation": "silu"},
    {"mlp_layers": 3, "learn_tau_m": True},
    {"routing": "random"},
    {"routing": "random", "routing_seed": 1, "activation": "silu", "learn_tau_m": True, "gain": "v2"},
    {"tau_s_of_each_synapse": True},
]

pytestmark = pytest.mark.usefixtures("float64")


def small_model(num_input=32, kind=BranchELM, **settings):
    known = kind.Settings.__dataclass_fields__
    settings = {name: value for name, value in {**SMALL, **settings}.items() if name in known}
    model = kind(kind.Settings(**settings), num_input, 2)
    # Weights of both signs, so that the rectification of synapses counts.
    torch.nn.init.normal_(model.w_s)
    return model


def published_equations(model, x):
    """(b, m, y) of the neuron, synapse by synapse and step by step, from the paper and the routing alone."""
    p, s = {name: value.detach().numpy() for name, value in model.named_parameters()}, model.settings
    channels, steps = x.shape[1], len(x)
    if isinstance(model, BranchELM):
        order = [channel for i in range(channels // 2) for channel in (i, i + channels // 2)]
        stride = math.ceil(channels / s.d_tree)
        wires = [[k * stride + j for j in range(s.d_brch)] for k in range(s.d_tree)]
        wires = [[order[place] if place < channels else None for place in row] for row in wires]
    else:
        wires = [[channel] for channel in range(channels)]
    w_s = p["w_s"].reshape(len(wires), -1)
    if s.learn_tau_m:
        tau_m = s.tau_m_lower + (s.tau_m_upper - s.tau_m_lower) / (1 + np.exp(-p["proto_tau_m"]))
    else:
        tau_m = np.exp(np.linspace(np.log(s.tau_m_min), np.log(s.tau_m_max), s.d_m))
    kappa_s, kappa_m = np.exp(-s.dt_ms / s.tau_s), np.exp(-s.dt_ms / tau_m)
    layers = ["mlp_in", *(f"mlp_hidden.{i}" for i in range(s.mlp_layers - 1)), *["mlp_out"] * (s.mlp_layers > 0)]
    synapses, memory, trace = np.zeros_like(w_s), np.zeros(s.d_m), []
    for t in range(steps):
        branches = np.zeros(len(wires))
        for k, row in enumerate(wires):
            for j, channel in enumerate(row):
                arriving = 0.0 if channel is None else x[t, channel]
                synapses[k, j] = kappa_s * synapses[k, j] + max(w_s[k, j], 0) * arriving
                branches[k] += synapses[k, j]
        h = np.concatenate([branches, kappa_m * memory])
        for i, layer in enumerate(layers):
            if i:
                h = np.maximum(h, 0) if s.activation == "relu" else h / (1 + np.exp(-h))
            h = p[f"{layer}.weight"] @ h + p[f"{layer}.bias"]
        gain = s.lambda_value * (1 - kappa_m) if s.gain == "v1" else 1 - np.exp(-s.lambda_value * s.dt_ms / tau_m)
        memory = kappa_m * memory + gain * 1.7159 * np.tanh(2 / 3 * h)
        trace.append((branches, memory, p["readout.weight"] @ memory + p["readout.bias"]))
    return [np.array(values) for values in zip(*trace, strict=True)]


@pytest.mark.parametrize("kind", [ELM, BranchELM])
@pytest.mark.parametrize("settings", [v for v in VARIANTS if "routing" not in v], ids=str)
def test_branches_memories_and_outputs_are_those_of_the_published_equations(kind, settings, make_events):
    model, events = small_model(kind=kind, **settings), make_events(2, 80)
    with torch.no_grad():
        ours = model.trace(events)
    for window, x in enumerate(events.dense(torch.float64)):
        for mine, published in zip(ours, published_equations(model, x.numpy()), strict=True):
            np.testing.assert_allclose(mine[window].numpy(), published, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", [ELM, BranchELM])
@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_from_events_as_from_a_tensor_a_model_is_its_equations(kind, settings, make_events):
    model, events = small_model(kind=kind, **settings), make_events(3)
    reference = outputs_and_gradients(model, events, model.equations)
    for inputs in (events, events.dense(torch.float64)):
        assert_same(outputs_and_gradients(model, inputs), reference)
        with kernels.twins():
            assert_same(outputs_and_gradients(model, inputs), reference)
    with torch.no_grad():
        assert_same([model(events)], reference[:1])


@pytest.mark.parametrize("kind", [ELM, BranchELM])
@pytest.mark.parametrize("batch, d_m", [(1, 1), (3, 7), (8, 20), (17, 33), (2, 150)])
def test_a_model_of_any_size_is_its_equations(kind, batch, d_m, make_events):
    model, events = small_model(kind=kind, d_m=d_m), make_events(batch, 40)
    reference = outputs_and_gradients(model, events, model.equations)
    assert_same(outputs_and_gradients(model, events), reference)


@pytest.mark.parametrize("kind", [ELM, BranchELM])
def test_in_float32_a_model_is_its_equations_within_rounding(kind, make_events):
    events = make_events(8, 300, 64)
    model = small_model(64, kind, d_m=20).float()
    single = outputs_and_gradients(model, events)
    model = model.double()
    assert_same(single, outputs_and_gradients(model, events, model.equations), 1e-4)


def test_windows_without_any_event_answer_with_the_bias_alone(make_events):
    model, events = small_model(), make_events(2)  # the second window is empty
    silent = torch.zeros(1, 60, 32)
    with torch.no_grad():
        torch.testing.assert_close(model(events)[1:], model.equations(silent), rtol=0, atol=1e-13)


def test_training_on_the_same_events_gives_the_same_bytes(make_events):
    events = make_events(17)

    def train():
        torch.manual_seed(4)
        model = small_model(d_m=20).float()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(5):
            optimizer.zero_grad()
            model(events).square().mean().backward()
            optimizer.step()
        return model.parameters()

    assert all(torch.equal(once, again) for once, again in zip(train(), train(), strict=True))


def test_a_tau_s_for_each_synapse_is_kept_with_the_weights(make_events):
    model, events = small_model(tau_s_of_each_synapse=True), make_events()
    assert model.state_dict()["tau_s"].shape == model.w_s.shape
    with torch.no_grad():
        uniform = model(events)
        model.tau_s[0] = 50.0
        assert not torch.equal(model(events), uniform)


def test_gradients_reach_every_live_parameter_and_no_dead_one(make_events):
    model = BranchELM(BranchSettings(**SMALL, learn_tau_m=True, activation="silu"), 32, 2)
    model(make_events(4, 300)).square().sum().backward()
    live = torch.from_numpy(routing.neuronio(32, 5, 9) >= 0)
    assert 0 < (~live).sum() == model.dead_parameters()
    assert (model.w_s.grad[~live] == 0).all() and (model.w_s.grad[live] != 0).all()
    for name, parameter in model.named_parameters():
        if name != "w_s":
            assert (parameter.grad != 0).all(), name


@pytest.mark.parametrize("kind", [ELM, BranchELM])
def test_gradients_are_those_of_finite_differences(kind, make_events):
    model, events = small_model(kind=kind, activation="silu", learn_tau_m=True), make_events(1, 20)
    names = [name for name, _ in model.named_parameters()]

    def output(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (events,))

    assert torch.autograd.gradcheck(output, tuple(model.parameters()))


def test_the_output_depends_on_no_later_input(make_events):
    model, x = small_model(), make_events(1, 300).dense(torch.float64)
    later = x.clone()
    later[:, 200:] = 1.0
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :200], model(later)[:, :200], rtol=0, atol=1e-13)


def test_neuronio_routing_interleaves_and_leaves_218_synapses_dead():
    channel = routing.neuronio(1278, 45, 100)
    assert channel[0, :4].tolist() == [0, 639, 1, 640]
    assert channel[1, 0] == 653  # place 29 is the fifteenth inhibitory channel
    assert (channel >= 0).sum() == 4282
    assert set(channel[channel >= 0].tolist()) == set(range(1278))


def test_random_routing_covers_every_channel_about_equally_and_follows_its_seed():
    channel = routing.random(700, 45, 65, seed=3)
    uses = np.bincount(channel.ravel(), minlength=700)
    assert channel.shape == (45, 65) and set(uses) == {4, 5}
    np.testing.assert_array_equal(channel, routing.random(700, 45, 65, seed=3))
    assert (channel != routing.random(700, 45, 65, seed=4)).any()
    with pytest.raises(SettingError, match="d_brch: found 15, expected at least 16, to cover all channels"):
        routing.random(700, 45, 15, seed=3)


def test_a_wiring_knows_the_live_synapses_of_each_channel():
    wiring = Wiring(np.array([[2, 0], [-1, 2]]), 4)
    start, synapse, branch = (array.tolist() for array in wiring.arrays)
    assert (start, synapse, branch) == ([0, 1, 1, 3, 3], [1, 0, 3], [0, 0, 1])


def test_parameters_are_those_of_the_equations_next_to_the_papers():
    count = models.parameter_count(BranchELM(BranchSettings(), 1278, 2))
    assert count == {"trainable": 8002, "live": 7784, "printed": "8104"}
    assert models.parameter_count(BranchELM(BranchSettings(learn_tau_m=True), 1278, 2))["trainable"] == 8022
    assert models.parameter_count(BranchELM(BranchSettings(d_tree=35, d_brch=65), 1278, 2))["printed"] == "5479"
    assert models.parameter_count(BranchELM(BranchSettings(d_tree=30), 1278, 2))["printed"] is None


@pytest.mark.parametrize(
    "d_m, printed", [(10, "26.06K"), (15, "39.39K"), (20, "52.92K"), (25, "66.65K"), (35, "94.71K"), (50, "138.3K")]
)
def test_an_elm_has_the_papers_count_but_for_what_its_authors_added(d_m, printed):
    count = models.parameter_count(ELM(ELM.Settings(d_m=d_m), 1278, 2))
    assert count["printed"] == printed and count["live"] == count["trainable"]
    # The paper counts 5 d_m + 2 more, and leaves out the synaptic weights.
    assert count["trainable"] - 1278 + 5 * d_m + 2 == pytest.approx(1000 * float(printed[:-1]), abs=60)


def test_memory_starts_log_spaced_and_learnable_time_constants_start_there_too():
    fixed = BranchELM(BranchSettings(tau_m_max=100.0), 1278, 2).tau_m()
    learned = BranchELM(BranchSettings(tau_m_max=100.0, learn_tau_m=True), 1278, 2).tau_m()
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
    assert model(torch.zeros(1, 1, 32))[0, 0, 0].item() == pytest.approx(1.7159 * 10 * (1 - kappa))
    model.settings = BranchSettings(**SMALL, gain="v2", lambda_value=10.0)
    assert model(torch.zeros(1, 1, 32))[0, 0, 0].item() == pytest.approx(1.7159 * (1 - math.exp(-10)))


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
        change({"model": BranchSettings()}, [override])


def test_overrides_are_read_by_the_type_of_their_setting():
    changed = change({"model": BranchSettings()}, ["d_m=7", "tau_s=3", "learn_tau_m=true", "d_mlp=none", "gain=v2"])[
        "model"
    ]
    assert changed == BranchSettings(d_m=7, tau_s=3.0, learn_tau_m=True, gain="v2")


def test_a_tree_with_branches_beyond_the_channels_is_refused():
    with pytest.raises(SettingError, match="d_tree: found 1000, expected fewer"):
        BranchELM(BranchSettings(d_tree=1000), 1278, 2)
    with pytest.raises(SettingError, match="input channels: found 7, expected an even number"):
        BranchELM(BranchSettings(d_tree=2), 7, 2)


@pytest.mark.parametrize("kind", [ELM, BranchELM])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("settings", [{}, {"d_mlp": 20}, {"mlp_layers": 2, "activation": "silu"}, {"mlp_layers": 0}])
def test_long_inputs_in_stretches_give_what_they_give_in_one_piece(monkeypatch, make_events, kind, dense, settings):
    model, inputs = small_model(kind=kind, **settings), make_events(9)
    inputs = inputs.dense(torch.float64) if dense else inputs
    whole = outputs_and_gradients(model, inputs)
    monkeypatch.setattr(elm, "_MOST_KEPT", 1)
    monkeypatch.setattr(elm, "_STRETCH_KEPT", 9 * 8 * 25)
    pieces = []
    monkeypatch.setattr(elm, "between", lambda *cut: pieces.append(cut[1:]) or events.between(*cut))
    assert_same(outputs_and_gradients(model, inputs), whole)
    assert len(pieces) > 2
    with torch.no_grad():
        assert_same([model(inputs)], whole[:1])
