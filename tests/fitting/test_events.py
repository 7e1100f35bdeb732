import numpy as np
import pytest
import torch

from fitting.events import Events, InputError, respond


def events(channel=(0, 2, 2, 1), bounds=((0, 1, 3), (3, 3, 4)), value=(1, 1, -1)):
    return Events(np.array(channel, np.uint16), np.array(bounds, np.int32), np.array(value, np.float32))


def test_events_stand_for_a_dense_tensor_in_which_those_that_meet_add_up():
    dense = events().dense(torch.float64)
    assert dense.tolist() == [[[1, 0, 0], [0, 0, -2]], [[0, 0, 0], [0, 1, 0]]]
    assert dense.dtype == torch.float64 and events().shape == dense.shape


def test_windows_may_share_events_and_leave_some_out():
    assert events(bounds=((1, 2, 2), (1, 3, 3))).dense().tolist() == [[[0, 0, -1], [0, 0, 0]], [[0, 0, -2], [0, 0, 0]]]


def test_only_a_model_that_says_so_is_given_events():
    class Model(torch.nn.Module):
        def forward(self, x):
            return x

    class Eventful(Model):
        takes_events = True

    given = events()
    assert respond(Eventful(), given) is given
    torch.testing.assert_close(respond(Model(), given), given.dense())
    tensor = torch.zeros(1, 2, 3)
    assert respond(Eventful(), tensor) is tensor


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"channel": (0, 3, 2, 1)}, "found channel 3, expected one below 3"),
        (
            {"bounds": ((0, 1, 5), (3, 3, 4))},
            "bounds run from 0 to 5 or go backward, expected them to rise within 0 to 4",
        ),
        ({"bounds": ((0, 2, 1), (3, 3, 4))}, "or go backward"),
        ({"bounds": ((-1, 1, 2), (3, 3, 4))}, "bounds run from -1"),
        ({"value": (1, np.nan, -1)}, "channel 1 has a value that is not finite"),
        ({"channel": ((0, 1), (2, 1))}, "channel is uint16 with 2 dimensions, expected uint16 with 1"),
    ],
)
def test_events_that_do_not_belong_together_are_refused(change, complaint):
    with pytest.raises(InputError, match=complaint):
        events(**change)


def test_events_of_other_types_are_refused():
    with pytest.raises(InputError, match="bounds is int64 with 2 dimensions, expected int32 with 2"):
        Events(np.zeros(1, np.uint16), np.zeros((1, 2), np.int64), np.ones(1, np.float32))
