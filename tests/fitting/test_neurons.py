"""Compiled steps of equation files against the plain loop."""

from pathlib import Path

import pytest
import torch

from fitting import kernels
from fitting.kernels import neuron_code, neurons
from sims import equations
from sims.backends.torch import Neuron, Surrogate
from sims.backends.torch_step import Plateau

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"
N = 11
LEARNT = {
    "neuron_lif": {"tau_m": 0.02, "tau_s": 0.01},
    "neuron_memory": {"dendrite1_w": 15, "dendrite2_w": 15},
    "neuron_memory_linear": {"dendrite1_w": 15, "dendrite2_w": 15},
    "soma_lif": {"v_threshold": -0.055},
}


def read(name):
    return equations.read(EQUATIONS / f"{name}.yaml")


def case(name, reset_gradient=False, plateau=False, time=40, dtype=torch.float64):
    """(Neuron, learnt parameters, inputs) of neurons that fire now and then."""
    model, plateaus = read(name), None
    if plateau:
        plateaus = {f"{d}_v": Plateau(f"{d}_w*{d}_s", 31.3, -0.055) for d in ("dendrite1", "dendrite2")}
    inputs = ("I",) if name == "soma_lif" else None
    surrogate = Surrogate(reset_gradient=reset_gradient)
    neuron = Neuron(model, 10.0, inputs, surrogate, dtype, plateaus=plateaus)
    learnt = {n: (x * (1 + 0.3 * torch.rand(N, dtype=dtype))).requires_grad_() for n, x in LEARNT[name].items()}
    size = {"neuron_lif": 1.0, "soma_lif": 4e-10, "neuron_memory_linear": 30.0}.get(name, 1.0)
    noise = (0.2 + torch.randn(len(neuron.inputs), 2, time, 3, N, dtype=dtype)) * size
    return neuron, learnt, {e: x.requires_grad_() for e, x in zip(neuron.inputs, noise, strict=True)}


def spikes_and_gradients(run, neuron, learnt, inputs):
    found = run(neuron, neuron.parameters((N,), learnt), inputs)
    weighing = torch.randn(found.shape, generator=torch.Generator().manual_seed(3), dtype=found.dtype)
    return found.detach(), *torch.autograd.grad(found, [*learnt.values(), *inputs.values()], weighing)


@pytest.mark.parametrize("name, plateau", [*((name, False) for name in LEARNT), ("neuron_memory", True)])
@pytest.mark.parametrize("reset_gradient", [False, True])
def test_the_kernel_gives_the_loops_spikes_and_gradients_to_rounding(name, plateau, reset_gradient):
    given = case(name, reset_gradient, plateau)
    ours, twins = (spikes_and_gradients(run, *given) for run in (neurons.run, neurons.run_twin))
    assert 0.01 < twins[0].mean() < 0.9 and torch.equal(ours[0], twins[0])
    for mine, twin in zip(ours[1:], twins[1:], strict=True):
        assert twin.abs().max() > 0 and (mine - twin).abs().max() <= 1e-12 * twin.abs().max()


@pytest.mark.parametrize("time", [2, neuron_code.CHUNK - 1, neuron_code.CHUNK, neuron_code.CHUNK + 1])
def test_it_agrees_whatever_number_of_steps_is_left_for_the_last_chunk(time):
    given = case("neuron_lif", time=time)
    ours, twins = (spikes_and_gradients(run, *given) for run in (neurons.run, neurons.run_twin))
    for mine, twin in zip(ours, twins, strict=True):
        assert (mine - twin).abs().max() <= 1e-12 * twin.abs().max()


def test_float32_is_the_same_but_for_rounding():
    given = case("neuron_lif", dtype=torch.float32)
    ours, twins = (spikes_and_gradients(run, *given) for run in (neurons.run, neurons.run_twin))
    assert (ours[0] != twins[0]).float().mean() < 1e-3
    assert (ours[1] - twins[1]).abs().max() <= 1e-3 * twins[1].abs().max()


def test_what_nobody_learns_needs_no_gradient():
    neuron, learnt, inputs = case("neuron_lif")
    plain = {name: x.detach() for name, x in learnt.items()}
    found = neurons.run(neuron, neuron.parameters((N,), plain), inputs)
    assert torch.autograd.grad(found.sum(), list(inputs.values()))[0].abs().max() > 0
    silent = {name: x.detach() for name, x in inputs.items()}
    assert not neurons.run(neuron, neuron.parameters((N,), plain), silent).requires_grad


def test_the_twin_takes_what_there_is_no_code_for(tmp_path):
    (tmp_path / "model.yaml").write_text(
        "equations: |\n  dv/dt = (tanh(t/second) - v)/tau : 1\n  tau = 10*ms : second\nthreshold: v > 0.5\n"
        "events: {spike: v = 0, presynaptic: v += 1}\ninitial: {v: 0}\n"
    )
    neuron = Neuron(equations.read(tmp_path / "model.yaml"), 1.0, surrogate=Surrogate(scale=1.0))
    with pytest.raises(neuron_code.CodeError, match="tanh"):
        neuron_code.write(neuron, ())
    found = neurons.run(neuron, neuron.parameters((N,)), {"presynaptic": torch.rand(1, 20, 2, N).double()})
    assert found.shape == (1, 20, 2, N) and found.sum() > 0


def test_twins_takes_the_kernels_place_here_too(monkeypatch):
    called = []
    monkeypatch.setattr(neurons, "run_twin", lambda *given: called.append(given))
    neuron, learnt, inputs = case("neuron_lif")
    with kernels.twins():
        neurons.run(neuron, neuron.parameters((N,), learnt), inputs)
    assert called
