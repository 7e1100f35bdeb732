"""What holds for every model of the registry."""

import math

import pytest
import torch

from fitting import models
from fitting.events import InputError

SMALL = {"branch_elm": {"d_tree": 4, "d_brch": 9}, "tcn": {"layers": 2, "width": 3}}
FOUND_40 = r"found the shape \(2, 60, 40\), expected \[batch, time, 32 channels\]"


# A transformer sees walks, not events.
@pytest.fixture(params=[name for name in models.MODELS if name != "nmda_transformer"])
def model(request):
    """A model of each kind with 32 channels."""
    kind = models.find(request.param)
    return kind(kind.Settings(**SMALL.get(request.param, {})), 32, 2)


@pytest.mark.parametrize(
    "inputs, complaint",
    [
        (torch.zeros(2, 10, 31), r"found the shape \(2, 10, 31\), expected \[batch, time, 32 channels\]"),
        (torch.zeros(10, 32), r"found the shape \(10, 32\)"),
        (torch.full((1, 3, 32), math.nan), "found numbers that are not finite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(model, inputs, complaint):
    with pytest.raises(InputError, match=complaint):
        model(inputs)


def test_events_of_other_channels_are_refused(model, make_events):
    with pytest.raises(InputError, match=FOUND_40):
        model(make_events(channels=40))
