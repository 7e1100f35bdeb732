import math

import numpy as np
import pytest
import torch

from fitting import gradient, kernels, models
from fitting.kernels.spiking import integrate_and_fire
from fitting.models.lif import ALIF, LIF
from fitting.settings import SettingError, change
from tests.fitting.twins import assert_same, outputs_and_gradients

KAPPA_S, KAPPA_M, KAPPA_A = 0.8, 0.9, 0.97
KINDS = [LIF, ALIF]

pytestmark = pytest.mark.usefixtures("float64")


def constants(bias=0.4, reset=1.0, beta=0.0):
    return torch.tensor([KAPPA_S, KAPPA_M, bias, reset, KAPPA_A, beta])


def random_input(batch, time=120):
    """That of a neuron which `constants` makes fire now and then."""
    blocks, windows = kernels.in_blocks(batch)
    return 1 + 3 * torch.randn(blocks, time, windows)


def with_gradients(u, values, width=0.5, reset_gradient=True):
    """(v, θ, gradients of the input and of the constants) for random gradients of v and θ."""
    u, values = u.detach().clone().requires_grad_(), values.detach().clone().requires_grad_()
    states = integrate_and_fire(u, values, width, reset_gradient)
    generator = torch.Generator().manual_seed(3)
    weighing = [torch.randn(u.shape, generator=generator, dtype=torch.float64).to(u) for _ in states]
    return *(state.detach() for state in states), *torch.autograd.grad(states, (u, values), weighing)


def small_model(kind, num_input=32, **settings):
    """A neuron with synapses of both signs that fires often."""
    settings = {"bias": 1.5, **settings}
    model = kind(kind.Settings(**settings), num_input, 2)
    torch.nn.init.normal_(model.w, 0.5, 1.0)
    return model


def spike_times(constants, drive, time=400):
    v, theta = integrate_and_fire(torch.full((1, time, 1), drive), constants, 0.5, True)
    return torch.nonzero((v >= theta).flatten()).flatten()


def published_equations(model, x):
    """Output of the neuron for x [time, channel], from the equations of fitting/models/lif.py alone."""
    p, adaptive = {name: value.detach().numpy() for name, value in model.named_parameters()}, isinstance(model, ALIF)
    kappa_s, kappa_m = np.exp(-model.settings.dt_ms / np.exp(p["log_tau"]))
    kappa_a = np.exp(-model.settings.dt_ms / np.exp(p["log_tau_a"][0])) if adaptive else 0.0
    beta, bias, reset = p["beta"][0] if adaptive else 0.0, p["bias"][0], np.exp(p["log_reset"][0])
    s = v = a = z = 0.0
    outputs = []
    for x_t in x:
        s = kappa_s * s + (1 - kappa_s) * sum(max(w, 0) * x_c for w, x_c in zip(p["w"], x_t, strict=True))
        v = kappa_m * v + (1 - kappa_m) * (s + bias) - reset * z
        a = kappa_a * a + z
        theta = 1 + beta * a
        z = float(v >= theta)
        outputs.append(p["scale"] * [v - theta, v] + p["offset"])
    return np.array(outputs)


@pytest.mark.parametrize("reset_gradient", [True, False])
@pytest.mark.parametrize("beta", [0.0, 0.3, -0.1])
@pytest.mark.parametrize("batch", [1, 3, 8, 17])
def test_the_kernel_is_its_twin(batch, beta, reset_gradient):
    u, values = random_input(batch), constants(beta=beta)
    ours = with_gradients(u, values, reset_gradient=reset_gradient)
    assert 0.02 < (ours[0] >= ours[1]).double().mean() < 0.5
    with kernels.twins():
        assert_same(ours, with_gradients(u, values, reset_gradient=reset_gradient))


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_in_float32_the_kernel_stays_within_rounding_of_float64(beta):
    u, values = random_input(8).float(), constants(beta=beta).float()
    assert_same(with_gradients(u, values), with_gradients(u.double(), values.double()), 1e-4)


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_where_no_surrogate_counts_gradients_are_those_of_finite_differences(beta):
    u, values = random_input(3, time=50).requires_grad_(), constants(beta=beta).requires_grad_()
    v, theta = integrate_and_fire(u, values, 1e30, True)
    assert (v >= theta).sum() >= 2
    assert torch.autograd.gradcheck(lambda *tensors: integrate_and_fire(*tensors, 1e30, True), (u, values))


@pytest.mark.parametrize("width", [0.2, 0.5, 2.0])
def test_the_surrogate_is_the_derivative_of_a_step_from_0_to_1(width):
    # One spike short before the end raises the last threshold: the gradient of that by the input is the surrogate.
    distance = torch.linspace(-400 * width, 400 * width, 800_001)
    u = torch.stack([1 + distance, torch.zeros_like(distance)])[None].requires_grad_()
    _, theta = integrate_and_fire(u, torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0, 1.0]), width, True)
    theta[:, 1].sum().backward()
    surrogate = u.grad[0, 0]
    assert surrogate.max() == pytest.approx(1 / (2 * width))
    assert torch.trapezoid(surrogate, distance).item() == pytest.approx(1, abs=0.01)


def test_below_threshold_the_voltage_is_the_closed_form_of_two_filters():
    u = torch.zeros(1, 100, 1)
    u[0, 0] = 2.0
    v, theta = integrate_and_fire(u, constants(bias=0.3), 0.5, True)
    t = torch.arange(1.0, 101.0)[:, None]
    kick = 2 * (1 - KAPPA_S) * (1 - KAPPA_M) * (KAPPA_M**t - KAPPA_S**t) / (KAPPA_M - KAPPA_S)
    torch.testing.assert_close(v[0], kick + 0.3 * (1 - KAPPA_M**t), rtol=0, atol=1e-14)
    assert (v < theta).all() and (theta == 1).all()


@pytest.mark.parametrize("drive", [0.999, 1.2, 2.0, 3.5])
def test_a_constant_current_makes_it_fire_at_the_interval_of_its_equations(drive):
    # Without a synaptic filter, n steps after a spike at v the voltage is drive - (drive - v + reset/κ_m) κ_m^n.
    values = constants(bias=0.0)
    values[0] = 0.0
    times = spike_times(values, drive)
    if drive < 1:
        assert len(times) == 0
        return
    assert times[0] == math.ceil(math.log(1 - 1 / drive) / math.log(KAPPA_M)) - 1
    v = integrate_and_fire(torch.full((1, 400, 1), drive), values, 0.5, True)[0].flatten()
    for here, after in zip(times[:-1], times[1:], strict=True):
        gap = drive - v[here] + 1 / KAPPA_M
        assert after - here == max(1, math.ceil(math.log((drive - 1) / gap) / math.log(KAPPA_M)))


def test_an_alif_fires_at_ever_longer_intervals_and_a_lif_does_not():
    intervals = {}
    for beta in (0.0, 0.15, -0.05):
        values = torch.tensor([KAPPA_S, 0.995, 0.0, 1.0, 0.998, beta])
        intervals[beta] = spike_times(values, 2.0, 3000).diff().double()
    assert intervals[0.0].max() - intervals[0.0].min() <= 1
    early, late = intervals[0.15][:6], intervals[0.15][-6:]
    assert (early.diff() > 0).all() and (late > early[-1]).all()
    assert (intervals[-0.05][:4].diff() < 0).all()  # and with β < 0 at ever shorter ones


def test_a_loss_that_only_spikes_can_change_falls_along_the_surrogate_gradient():
    # The mean threshold counts spikes, and its true derivative by the input's constants is 0 or none.
    u, values, losses = random_input(8), constants(bias=-0.5, beta=0.05), []
    bias = values[2:3].clone().requires_grad_()
    optimizer = torch.optim.Adam([bias], 0.02)
    for _ in range(60):
        _, theta = integrate_and_fire(u, torch.cat([values[:2], bias, values[3:]]), 0.5, True)
        losses.append((theta.mean() - 1.08).square())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize(
    "settings", [{}, {"reset_gradient": False}, {"dt_ms": 2.0, "tau_s": 3.0, "reset": 0.4}], ids=str
)
@pytest.mark.parametrize("kind", KINDS)
def test_from_events_as_from_a_tensor_it_is_its_equations(kind, settings, make_events):
    settings = settings | ({"beta": 0.2} if kind is ALIF else {})
    model, events = small_model(kind, **settings), make_events(3)
    dense = events.dense(torch.float64)
    ours = outputs_and_gradients(model, events)
    v, theta = model.membrane(events)
    assert (v >= theta).sum() > 10
    for window, x in zip(ours[0], dense, strict=True):
        np.testing.assert_allclose(window, published_equations(model, x.numpy()), rtol=0, atol=1e-12)
    assert_same(outputs_and_gradients(model, dense), ours)
    for inputs in (events, dense):
        with kernels.twins():
            assert_same(outputs_and_gradients(model, inputs), ours)
    with torch.no_grad():
        assert_same([model(events)], ours[:1])


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind, make_events):
    model = small_model(kind, **({"beta": 0.2} if kind is ALIF else {}))
    torch.nn.init.uniform_(model.w)
    model(make_events(4, 300)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).all(), name


def test_a_student_learns_the_output_of_its_teacher(make_events):
    events = make_events(16, 200)
    teacher = LIF(LIF.Settings(w=0.8, tau_s=3.0, tau_m=15.0, bias=0.6, reset=0.7), 32, 2)
    student = LIF(LIF.Settings(), 32, 2)
    with torch.no_grad():
        target = teacher(events)
    optimizer, losses = torch.optim.Adam(student.parameters(), 2e-2), []
    for _ in range(300):
        losses.append((student(events) - target).square().mean())
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.05 * losses[0]


@pytest.mark.parametrize("kind", KINDS)
def test_with_the_input_of_neuronio_a_fresh_neuron_fires_now_and_then(kind):
    draw = torch.Generator().manual_seed(0)
    rates = torch.cat([torch.full((639,), 0.012), torch.full((639,), 0.010)])
    x = torch.bernoulli(rates.expand(8, 500, -1), generator=draw)
    x[:, :, 639:] *= -1
    v, theta = kind(kind.Settings(), 1278, 2).membrane(x)
    assert 1 < 1000 * (v >= theta).double().mean() < 50


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind, make_events, tmp_path):
    torch.set_default_dtype(torch.float32)
    events, settings = make_events(2, 50), kind.Settings(tau_m=12.0)
    training = gradient.Training(steps=3, batch_size=2, learning_rate=1e-2)
    name = kind.__name__.lower()
    config = {"task": "neuronio", "task_settings": {}, "model": name, "model_settings": vars(settings)}
    config |= {"num_input": 32, "num_output": 2}
    model = gradient.build(kind, settings, 32, 2, training)
    gradient.fit(
        model,
        lambda generator, size: (events, torch.zeros(size, 50, 2)),
        lambda outputs, targets: (outputs - targets).square().mean(),
        lambda model: {"loss": model(events).square().mean().item()},
        training,
        tmp_path,
        config,
        show_progress=False,
    )
    loaded, _ = gradient.load(tmp_path, models.find)
    with torch.no_grad():
        assert torch.equal(loaded(events), model(events))


def test_parameters_and_operations_are_those_of_the_equations_next_to_the_papers():
    lif, alif = (kind(kind.Settings(), 1278, 2) for kind in KINDS)
    # w, two time constants, bias, reset and four of the readout; an ALIF has τ_a and β more.
    assert models.parameter_count(lif) == {"trainable": 1286, "live": 1286, "printed": "1280"}
    assert models.parameter_count(alif) == {"trainable": 1288, "live": 1288, "printed": None}
    assert models.parameter_count(LIF(LIF.Settings(), 40, 2))["printed"] is None
    # Three channels: 5 for their sum and 3 for s, 5 for v, 1 for v - θ, 4 for the readout.
    assert LIF(LIF.Settings(), 3, 2).flops_per_step() == 18
    assert ALIF(ALIF.Settings(), 3, 2).flops_per_step() == 22
    assert lif.flops_per_step() == 2 * 1278 + 12


def test_other_outputs_than_neuronios_are_refused():
    with pytest.raises(SettingError, match="number of outputs: found 3, expected 2, the logit of a spike and the volt"):
        ALIF(ALIF.Settings(), 32, 3)


@pytest.mark.parametrize(
    "override, complaint",
    [
        ("tau_s=0", "tau_s: found 0.0, expected a finite number above 0"),
        ("tau_a=inf", "tau_a: found inf, expected a finite number above 0"),
        ("surrogate_width=-1", "surrogate_width: found -1.0, expected a finite number above 0"),
        ("beta=nan", "beta: found nan, expected a finite number"),
        ("reset=-0.5", "reset: found -0.5, expected a finite number above 0"),
    ],
)
def test_a_setting_out_of_bounds_is_refused(override, complaint):
    with pytest.raises(SettingError, match=complaint):
        change({"model": ALIF.Settings()}, [override])
