"""A single neuron in Python's numbers is the neuron of torch."""

from pathlib import Path

import numpy as np
import pytest
import torch

from sims import equations
from sims.arrivals import input_events
from sims.backends import torch_code
from sims.backends.floats import PLAIN, Single

PROJECT = Path(__file__).resolve().parents[2]
NEURONS = [
    path for path in sorted((PROJECT / "equations").glob("*.yaml")) if equations.read(path).kind == "neuron"
]  # fmt: skip
FUNCTIONS = """kind: neuron
equations: |
  dx/dt = (target - x)/tau : 1
  target = {expression} : 1
events:
  presynaptic: x += 1
initial: {{x: 0.6*a}}
parameters:
  tau: 10*ms
  a: 0.5
"""


def written(tmp_path, expression):
    (tmp_path / "one.yaml").write_text(FUNCTIONS.format(expression=expression))
    return equations.read(tmp_path / "one.yaml")


def difference(model, inputs, values=None, steps=400):
    """Of Single's traces from torch's, relative to the largest value of each; both must spike at the same steps."""
    single = Single(model, 0.5, tuple(inputs))
    mine, spikes = single.run(values or {}, inputs, steps)
    theirs, expected, _ = single.tensors.run(single.tensors.parameters((), values), inputs, steps)
    if spikes is not None:
        assert (spikes == (expected.numpy() > 0)).all()
    pairs = [(mine[name], trace.numpy()) for name, trace in theirs.items()]
    return max(np.abs(a - b).max() / np.abs(b).max().clip(1e-9) for a, b in pairs)


@pytest.mark.parametrize("path", NEURONS, ids=lambda path: path.stem)
def test_floats_and_tensors_go_the_same_way(path):
    model = equations.read(path)
    time = np.arange(400)
    inputs = {event: 3.0 * (time % (7 + k) == 0) for k, event in enumerate(input_events(model))}
    assert difference(model, inputs) < 1e-12


def test_a_step_of_current_makes_the_same_spikes():
    model = equations.read(PROJECT / "equations" / "soma_lif.yaml")
    current = np.where(np.arange(400) > 100, 4e-10, 0.0)
    assert difference(model, {"I": current}, {"g_L": 8e-9}) < 1e-12
    assert Single(model, 0.5, ("I",)).run({}, {"I": current}, 400)[1].sum() > 5


@pytest.mark.parametrize(
    "expression",
    [
        "exprel(-x) + clip(x, 0, a)", "sqrt(abs(x)) + log1p(x) - log10(x + 1)", "x**a + x % a + sign(x - a)",
        "floor(3*x) + ceil(x) + int(x > a)", "int(x > a and x < 2*a or x == a) + int(not (x > a))",
        "sin(x)*cos(x) + tanh(x) + arctan(x)", "int(4*x) + expm1(-x) + 1/(1 + x)",
    ],
)  # fmt: skip
def test_functions_have_the_same_values(tmp_path, expression):
    arrived = {"presynaptic": (np.arange(400) % 30 == 9).astype(float)}
    assert difference(written(tmp_path, expression), arrived) < 1e-12


def test_what_floats_refuse_tensors_compute(tmp_path):
    model = written(tmp_path, "1/(1 + exp(a*1600*(x + 1)))")
    single = Single(model, 0.5, ())
    with pytest.raises(OverflowError):
        single._step({"x": 0.3}, tuple(map(float, single.tensors.parameters(()).once)), {})
    found, _ = single.run({}, {}, 20)
    assert found["x"] == pytest.approx(0.3 * np.exp(-np.arange(20) * 0.05))


def test_every_function_that_torch_has_floats_have():
    library = {function for function in torch_code.FUNCTIONS.values() if function.__module__ != "_operator"}
    assert library <= set(PLAIN)
    assert not any(isinstance(function(0.5), torch.Tensor) for function in (PLAIN[torch.exp], PLAIN[torch.floor]))
