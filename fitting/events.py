"""The input of a batch of windows as events: what happens in which step on which channel, and no array of zeros."""

from dataclasses import dataclass

import numpy as np
import torch

from sims.mistakes import Mistake


class InputError(Mistake):
    """An input that a model cannot take."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events in time order, window after window; several may meet in one channel and step, and add up.

    channel: uint16 [event].  bounds: int32 [batch, time + 1], the events of window b in step t are
    channel[bounds[b, t]:bounds[b, t + 1]].  value: float32 [channels], what one event adds to its channel, as +1 or -1.
    Raises InputError where they do not belong together.
    """

    channel: np.ndarray
    bounds: np.ndarray
    value: np.ndarray

    def __post_init__(self):
        for name, dtype, dimensions in (("channel", np.uint16, 1), ("bounds", np.int32, 2), ("value", np.float32, 1)):
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != dimensions:
                raise InputError(
                    f"events: {name} is {array.dtype} with {array.ndim} dimensions, "
                    f"expected {np.dtype(dtype)} with {dimensions}"
                )
            object.__setattr__(self, name, np.ascontiguousarray(array))
        if self.bounds.size and (
            self.bounds.min() < 0 or self.bounds.max() > len(self.channel) or (np.diff(self.bounds) < 0).any()
        ):
            raise InputError(
                f"events: bounds run from {self.bounds.min()} to {self.bounds.max()} or go backward, "
                f"expected them to rise within 0 to {len(self.channel)}, the number of events"
            )
        if len(self.channel) and self.channel.max() >= len(self.value):
            raise InputError(f"events: found channel {self.channel.max()}, expected one below {len(self.value)}")
        if not np.isfinite(self.value).all():
            raise InputError(f"events: channel {np.argmin(np.isfinite(self.value))} has a value that is not finite")

    @property
    def shape(self):
        """(batch, time, channels), that of the dense input."""
        return len(self.bounds), self.bounds.shape[1] - 1, len(self.value)

    def dense(self, dtype=torch.float32, device=None):
        """The same input as a tensor [batch, time, channels]."""
        batch, time, channels = self.shape
        counts = np.diff(self.bounds).ravel()
        step = np.repeat(np.arange(counts.size), counts)
        skipped = self.bounds[:, :-1].ravel() - (np.cumsum(counts) - counts)
        channel = self.channel[np.arange(len(step)) + np.repeat(skipped, counts)].astype(np.int64)
        x = torch.zeros(batch * time * channels, dtype=dtype)
        x.index_add_(0, torch.from_numpy(step * channels + channel), torch.from_numpy(self.value[channel]).to(dtype))
        return x.view(batch, time, channels).to(device)


def respond(model, inputs):
    """What a model makes of Events or of a tensor [batch, time, channels].

    A model whose class says `takes_events = True` gets events as they are, any other a dense tensor.
    """
    if isinstance(inputs, Events) and not getattr(model, "takes_events", False):
        inputs = inputs.dense()
    return model(inputs)


def check_input(inputs, channels):
    """Raise InputError unless inputs are Events or a finite tensor [batch, time, channels]."""
    if len(inputs.shape) != 3 or inputs.shape[2] != channels:
        raise InputError(f"input: found the shape {tuple(inputs.shape)}, expected [batch, time, {channels} channels]")
    if not isinstance(inputs, Events) and not torch.isfinite(inputs.sum()):
        raise InputError("input: found numbers that are not finite")
