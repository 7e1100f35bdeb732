import functools
import math
import warnings

import numpy as np
import pytest
import torch

from fitting import kernels
from fitting.kernels.lstm import recur
from fitting.kernels.memory import remember
from fitting.kernels.spiking import integrate_and_fire
from fitting.kernels.synapses import Wiring, gather, low_pass, project
from sims.backends import compiled

KAPPA = 0.8
BATCHES = [1, 3, 8, 17]


def wiring(channels=32, branches=5, synapses=9, seed=1):
    """Synapses at random, some of which nothing reaches."""
    draw = np.random.default_rng(seed)
    channel = draw.integers(channels, size=(branches, synapses))
    return Wiring(np.where(draw.random(channel.shape) < 0.1, -1, channel), channels)


def layers(d_m, d_mlp, depth, d_out=2):
    widths = [d_m, *[d_mlp] * depth, d_m, d_out]
    return [
        (torch.randn(out, into) / math.sqrt(into), torch.randn(out) / 4)
        for into, out in zip(widths[:-1], widths[1:], strict=True)
    ]


def memory_inputs(batch, d_m, d_mlp, depth, time=25):
    blocks, windows = kernels.in_blocks(batch)
    kappa = torch.exp(-1 / torch.logspace(0, 2, d_m))
    return (
        torch.randn(blocks, time, windows, d_mlp if depth else d_m),
        layers(d_m, d_mlp, depth),
        kappa,
        3 * (1 - kappa),
    )


def lstm_inputs(batch, n, time=25):
    drive = kernels.to_blocks(torch.randn(batch, time, 4 * n))
    return drive, torch.randn(n, 4 * n) / math.sqrt(n), torch.randn(4 * n)


def with_gradients(work, *tensors):
    """(result, gradients of the tensors) for a random gradient of the result."""
    tensors = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    result = work(*tensors)
    weighing = torch.randn(result.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return result.detach(), *torch.autograd.grad(result, tensors, weighing.to(result.dtype))


def agree(ours, twins, tolerance):
    for mine, twin in zip(ours, twins, strict=True):
        assert (mine - twin).abs().max() <= tolerance * twin.abs().max()


def remember_flat(activation, batch):
    """`remember` with one argument for each tensor."""

    def work(drive, kappa, gain, *parameters):
        pairs = list(zip(parameters[::2], parameters[1::2], strict=True))
        return remember(drive, pairs, kappa, gain, activation, batch)

    return work


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 7, 40, 150])
def test_the_projection_of_events_is_that_of_the_dense_input(make_events, batch, n):
    events, wires = make_events(batch), wiring()
    tensors = torch.randn(wires.shape), torch.randn(n, wires.shape[0])

    def work(weights, mixing):
        return project(events, weights, mixing, wires, KAPPA)

    ours = with_gradients(work, *tensors)
    with kernels.twins():
        agree(ours, with_gradients(work, *tensors), 1e-13)


@pytest.mark.usefixtures("float64")
def test_the_projection_is_its_equation(make_events):
    events, wires = make_events(3), wiring()
    weights, mixing = torch.randn(wires.shape), torch.randn(4, wires.shape[0])
    y = kernels.from_blocks(project(events, weights, mixing, wires, KAPPA), 3)
    x, state = events.dense(torch.float64), torch.zeros(3, 4)
    for t in range(x.shape[1]):
        arriving = torch.zeros(3, 4)
        for synapse, channel, branch in zip(wires.live, wires.channel, wires.branch, strict=True):
            arriving += weights.flatten()[synapse] * x[:, t, channel, None] * mixing[:, branch]
        state = KAPPA * state + arriving
        torch.testing.assert_close(y[:, t], state, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("time", [1, 50, 300])
def test_the_low_pass_is_the_recurrence_in_the_kernel_and_in_its_twin(time):
    u, s = torch.randn(2, time, 3, 5), torch.zeros(2, 3, 5)
    ours = with_gradients(lambda u: low_pass(u, KAPPA), u)
    for t in range(time):
        s = KAPPA * s + u[:, t]
        torch.testing.assert_close(ours[0][:, t], s, rtol=0, atol=1e-13)
    with kernels.twins():
        agree(ours, with_gradients(lambda u: low_pass(u, KAPPA), u), 1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("batch, d_m, d_mlp", [(1, 1, 2), (3, 7, 9), (8, 20, 40), (17, 33, 50), (5, 150, 300)])
def test_the_memory_is_that_of_its_twin(activation, depth, batch, d_m, d_mlp):
    drive, pairs, kappa, gain = memory_inputs(batch, d_m, d_mlp, depth)
    tensors = drive, kappa, gain, *(tensor for pair in pairs for tensor in pair)
    work = remember_flat(activation, batch)
    ours = with_gradients(work, *tensors)
    with kernels.twins():
        agree(ours, with_gradients(work, *tensors), 1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("depth", range(3))
@pytest.mark.parametrize("batch, d_m, d_mlp", [(1, 1, 2), (8, 20, 40), (17, 33, 50)])
def test_a_memory_that_is_handed_on_goes_on_as_if_it_had_not_been(activation, depth, batch, d_m, d_mlp):
    drive, pairs, kappa, gain = memory_inputs(batch, d_m, d_mlp, depth)
    start = torch.randn(drive.shape[0], drive.shape[2], d_m)
    tensors = drive, start, kappa, gain, *(tensor for pair in pairs for tensor in pair)

    def work(cuts, drive, memory, kappa, gain, *parameters):
        pairs, outputs = list(zip(parameters[::2], parameters[1::2], strict=True)), []
        for stretch in drive.split(cuts, dim=1):
            y, memory = remember(stretch, pairs, kappa, gain, activation, batch, memory)
            outputs.append(y)
        # The last memory counts too, as it does for what comes after.
        return torch.cat([torch.cat(outputs, dim=1).flatten(), memory.flatten()])

    whole = with_gradients(functools.partial(work, drive.shape[1]), *tensors)
    agree(with_gradients(functools.partial(work, 7), *tensors), whole, 1e-12)
    with kernels.twins():
        agree(whole, with_gradients(functools.partial(work, 10), *tensors), 1e-12)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 60, 200])
def test_rows_gathered_by_events_are_the_product_with_the_dense_input(make_events, batch, n):
    events, table = make_events(batch), torch.randn(32, n)
    ours = with_gradients(lambda table: gather(events, table), table)
    agree(ours, with_gradients(lambda table: gather(events.dense(torch.float64), table), table), 1e-13)
    with kernels.twins():
        agree(ours, with_gradients(lambda table: gather(events, table), table), 1e-13)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("n", [1, 7, 15, 25, 50, 100, 250])
def test_the_recurrence_of_an_lstm_is_that_of_its_twin(batch, n):
    inputs = lstm_inputs(batch, n)
    ours = with_gradients(recur, *inputs)
    with kernels.twins():
        agree(ours, with_gradients(recur, *inputs), 1e-12)
    with torch.no_grad():  # without a trace
        assert torch.equal(recur(*inputs), ours[0])


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_in_float32_both_stay_within_rounding_of_float64(make_events, activation):
    drive, pairs, kappa, gain = memory_inputs(8, 20, 40, 1)
    tensors = drive, kappa, gain, *(tensor for pair in pairs for tensor in pair)
    exact = with_gradients(remember_flat(activation, 8), *(tensor.double() for tensor in tensors))
    agree(with_gradients(remember_flat(activation, 8), *tensors), exact, 1e-5)
    events, wires = make_events(8), wiring()
    tensors = torch.randn(wires.shape), torch.randn(40, wires.shape[0])
    results = [
        with_gradients(lambda w, m: project(events, w, m, wires, KAPPA), *(tensor.to(dtype) for tensor in tensors))
        for dtype in (torch.float32, torch.float64)
    ]
    agree(*results, 1e-6)


def test_in_float32_an_lstm_stays_within_rounding_of_float64():
    inputs = lstm_inputs(8, 50)
    agree(with_gradients(recur, *inputs), with_gradients(recur, *(tensor.double() for tensor in inputs)), 1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("activation, depth", [("silu", 0), ("silu", 1), ("silu", 2), ("relu", 1), ("relu", 3)])
def test_gradients_of_the_memory_are_those_of_finite_differences(activation, depth):
    drive, pairs, kappa, gain = memory_inputs(3, 4, 5, depth, time=6)
    tensors = drive, kappa, gain, *(tensor for pair in pairs for tensor in pair)
    tensors = [tensor.requires_grad_() for tensor in tensors]
    assert torch.autograd.gradcheck(remember_flat(activation, 3), tensors)


@pytest.mark.usefixtures("float64")
def test_gradients_of_the_synapses_are_those_of_finite_differences(make_events):
    events, wires = make_events(3, time=10, channels=8), wiring(8, 2, 3)
    tensors = torch.randn(wires.shape, requires_grad=True), torch.randn(4, wires.shape[0], requires_grad=True)
    assert torch.autograd.gradcheck(lambda w, m: project(events, w, m, wires, KAPPA), tensors)
    assert torch.autograd.gradcheck(lambda u: low_pass(u, KAPPA), torch.randn(2, 9, 1, 3, requires_grad=True))
    assert torch.autograd.gradcheck(lambda table: gather(events, table), torch.randn(8, 5, requires_grad=True))


@pytest.mark.usefixtures("float64")
def test_gradients_of_an_lstm_are_those_of_finite_differences():
    assert torch.autograd.gradcheck(recur, [tensor.requires_grad_() for tensor in lstm_inputs(3, 5, time=6)])


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 5e-16), (torch.float32, 3e-7)])
def test_the_kernels_tanh_and_sigmoid_are_accurate_to_the_last_digits(dtype, tolerance):
    u = torch.cat([torch.logspace(-30, 2.5, 500), torch.linspace(-30, 30, 4001)]).to(dtype)
    drive, one, none = u[None, :, None, None], torch.ones(1, dtype=dtype), torch.zeros(1, dtype=dtype)
    identity = torch.eye(1, dtype=dtype)
    tanh = remember(drive * 1.5, [(0 * identity, none), (identity, none)], none, one, "relu", 1).flatten()
    # One hidden unit that nothing feeds back to: its output is tanh(2/3 silu(u)).
    silent = [(0 * identity, none), (identity * 1e-4, none), (identity * 1.5e4, none)]
    silu = remember(drive, silent, none, one, "silu", 1).flatten().double()
    exact = u.double()
    torch.testing.assert_close(tanh.double(), torch.tanh(exact), rtol=2 * tolerance, atol=0)
    expected = torch.tanh(torch.nn.functional.silu(exact) * 2e-4 / 3) * 1.5e4
    torch.testing.assert_close(silu, expected, rtol=10 * tolerance, atol=1e-38 if dtype == torch.float32 else 1e-300)


@pytest.mark.parametrize("activation", ["relu", "silu"])
@pytest.mark.parametrize("depth", [0, 1])
def test_a_nan_comes_out_at_the_other_end(activation, depth):
    drive, pairs, kappa, gain = memory_inputs(1, 4, 5, depth)
    drive[0, 3, 0, 1] = math.nan
    y = remember(drive, pairs, kappa, gain, activation, 1)
    assert not y[:, :3].isnan().any() and y[:, 3:].isnan().all()


def test_a_nan_comes_out_of_an_lstm_and_spreads():
    drive, *network = lstm_inputs(1, 5)
    drive[0, 3, 0, 1] = math.nan
    h = recur(drive, *network)[0, :, 0]
    assert not h[:3].isnan().any() and h[3, 1].isnan() and h[4:].isnan().all()


def test_the_same_input_gives_the_same_bytes(make_events):
    events, wires = make_events(17), wiring()
    tensors = torch.randn(wires.shape), torch.randn(40, wires.shape[0])
    network, table, lstm = memory_inputs(17, 20, 40, 1), torch.randn(32, 60), lstm_inputs(17, 15)

    def run():
        drive, pairs, *constants = network
        parameters = *constants, *(tensor for pair in pairs for tensor in pair)
        return [
            *with_gradients(lambda w, m: project(events, w, m, wires, KAPPA), *tensors),
            *with_gradients(remember_flat("silu", 17), drive, *parameters),
            *with_gradients(lambda table: gather(events, table), table),
            *with_gradients(recur, *lstm),
        ]

    assert all(torch.equal(once, again) for once, again in zip(run(), run(), strict=True))


def test_a_window_does_not_depend_on_those_beside_it(make_events):
    events, wires = make_events(17), wiring()
    weights, mixing = torch.rand(wires.shape), torch.randn(40, wires.shape[0])
    _, pairs, kappa, gain = memory_inputs(1, 20, 40, 1)

    def outputs(events):
        drive = project(events, weights, mixing, wires, KAPPA)
        return remember(drive, pairs, kappa, gain, "relu", events.shape[0])

    together = outputs(events)
    for window in (0, 8, 16):
        alone = type(events)(events.channel, events.bounds[window : window + 1], events.value)
        torch.testing.assert_close(outputs(alone)[0], together[window], rtol=1e-5, atol=1e-5)


@pytest.fixture
def fresh_library(monkeypatch, tmp_path):
    """The next use of a kernel compiles it anew, and so does the first after the test."""
    monkeypatch.setenv("DENDRITIC_CACHE", str(tmp_path))
    kernels._library.cache_clear()
    compiled._features.cache_clear()
    yield
    monkeypatch.undo()
    kernels._library.cache_clear()
    compiled._features.cache_clear()


def test_without_a_compiler_the_twins_take_over_with_one_warning(fresh_library, monkeypatch):
    monkeypatch.setenv("CXX", "/nonexistent/g++")
    drive, pairs, kappa, gain = memory_inputs(3, 7, 9, 1)
    with pytest.warns(UserWarning, match="'/nonexistent/g.*was not found.*plain torch, about 35 times slower"):
        plain = remember(drive, pairs, kappa, gain, "relu", 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(remember(drive, pairs, kappa, gain, "relu", 3), plain, rtol=0, atol=0)
    monkeypatch.undo()
    kernels._library.cache_clear()
    torch.testing.assert_close(remember(drive, pairs, kappa, gain, "relu", 3), plain, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("simd", ["avx2", "none"])
def test_a_smaller_processor_computes_the_same(fresh_library, monkeypatch, make_events, simd):
    if list(compiled.SIMD).index(simd) < list(compiled.SIMD).index(compiled.widest_simd()):
        pytest.skip(f"this machine has no {simd}")
    monkeypatch.setattr(compiled, "widest_simd", lambda: simd)
    for batch, d_m, d_mlp, depth in ((3, 7, 9, 2), (8, 20, 40, 1), (17, 33, 50, 0)):
        test_the_memory_is_that_of_its_twin("silu", depth, batch, d_m, d_mlp)
        test_the_projection_of_events_is_that_of_the_dense_input(make_events, batch, d_mlp)
        spiking = 1 + 3 * torch.randn(1, 99, batch), torch.tensor([0.8, 0.9, 0.4, 1.0, 0.97, 0.3])
        ours = with_gradients(lambda *tensors: sum(integrate_and_fire(*tensors, 0.3, True)), *spiking)
        with kernels.twins():
            agree(ours, with_gradients(lambda *tensors: sum(integrate_and_fire(*tensors, 0.3, True)), *spiking), 1e-12)
    for batch, n in ((3, 7), (8, 50), (17, 15)):
        test_rows_gathered_by_events_are_the_product_with_the_dense_input(make_events, batch, 4 * n)
        test_the_recurrence_of_an_lstm_is_that_of_its_twin(batch, n)
