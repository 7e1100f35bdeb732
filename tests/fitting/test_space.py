import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays

from fitting.space import Space
from sims import equations
from sims.equations import EquationError

SPACE = Space(equations.read("equations/neuron_reduced.yaml"))


@given(arrays(float, len(SPACE), elements=some.floats(0, 1)))
def test_a_point_and_its_values_are_the_same_place(point):
    np.testing.assert_allclose(SPACE.point(SPACE.values(point)), point, atol=1e-9)


@given(arrays(float, len(SPACE), elements=some.floats(0, 1)))
def test_every_point_lies_within_the_bounds_of_the_file(point):
    for (name, value), low, high in zip(SPACE.numbers(point).items(), SPACE.low, SPACE.high, strict=True):
        assert low <= value <= high, name


def test_the_start_holds_the_values_of_the_file():
    for name, value in SPACE.values(SPACE.start).items():
        assert value == pytest.approx(SPACE.typical[SPACE.names.index(name)])


def test_bounds_that_span_decades_are_searched_by_their_logarithm():
    middle = SPACE.values(np.full(len(SPACE), 0.5))
    assert middle["dendrite1_w"] == pytest.approx(np.sqrt(0.05 * 100))
    assert middle["dendrite_feedback"] == 0.5


def test_tensors_give_the_same_values_with_gradients():
    point = torch.full((len(SPACE),), 0.3, dtype=torch.float64, requires_grad=True)
    values = SPACE.values(point)
    for name, value in SPACE.values(point.detach().numpy()).items():
        assert values[name].item() == pytest.approx(value, rel=1e-12)
    sum(values.values()).backward()
    assert (point.grad != 0).all()


def test_a_file_with_nothing_to_fit_is_refused():
    with pytest.raises(EquationError, match="marks no parameter `fit: true`"):
        Space(equations.read("equations/soma_lif.yaml"))
