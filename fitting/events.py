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
        step, channel = self._each()
        x = torch.zeros(batch * time * channels, dtype=dtype)
        x.index_add_(0, torch.from_numpy(step * channels + channel), torch.from_numpy(self.value[channel]).to(dtype))
        return x.view(batch, time, channels).to(device)

    def counts(self, group, groups):
        """How many events groups of channels have in each step, float64 [batch, time, groups].

        group: int64 [channels], from 0.
        """
        batch, time, _ = self.shape
        step, channel = self._each()
        found = np.bincount(step * groups + group[channel], minlength=batch * time * groups)
        return found.reshape(batch, time, groups).astype(float)

    def _each(self):
        """(step, counted through all windows, and channel) of every event, int64 both."""
        counts = np.diff(self.bounds).ravel()
        step = np.repeat(np.arange(counts.size), counts)
        skipped = self.bounds[:, :-1].ravel() - (np.cumsum(counts) - counts)
        return step, self.channel[np.arange(len(step)) + np.repeat(skipped, counts)].astype(np.int64)


def between(inputs, first, end):
    """Steps first to end - 1 of Events or of a tensor [batch, time, channels]."""
    if isinstance(inputs, Events):
        return Events(inputs.channel, inputs.bounds[:, first : end + 1], inputs.value)
    return inputs[:, first:end]


def one_each_step(tokens, lengths, channels):
    """Events of sequences with one event a step, on the channel that the token says; short ones end in silence.

    tokens: uint16, one sequence after another.  lengths: of each.   Returns Events [sequence, longest, channel].
    """
    lengths = np.asarray(lengths)
    first = np.cumsum(lengths) - lengths
    bounds = first[:, None] + np.minimum(np.arange(lengths.max() + 1), lengths[:, None])
    return Events(tokens, bounds.astype(np.int32), np.ones(channels, np.float32))


def drop(events, probability, generator):
    """Dropout: what is in a channel in a step is taken away with a probability, and the rest scaled by 1/(1 - p).

    Events that meet in one channel and step go or stay together, as an entry of the dense input would.
    generator: NumPy's.   Source: Srivastava et al. 2014, JMLR 15:1929.
    """
    if not probability:
        return events
    batch, time, channels = events.shape
    counts = np.diff(events.bounds, axis=1).ravel()
    starts = np.repeat(events.bounds[:, :-1].ravel() - (np.cumsum(counts) - counts), counts)
    channel = events.channel[np.arange(len(starts)) + starts]
    # A number of its own for each entry of the dense input, but only where there are events (Steele et al. 2014).
    mixed = np.repeat(np.arange(batch * time, dtype=np.uint64), counts) * np.uint64(channels) + channel
    mixed += generator.integers(2**63, dtype=np.uint64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    kept = (mixed ^ (mixed >> np.uint64(31))) >= np.uint64(probability * 2**64)
    ends = np.concatenate([[0], np.cumsum(kept)])[np.cumsum(counts)].reshape(batch, time)
    first = np.concatenate([[0], ends[:-1, -1]])[:, None]
    bounds = np.concatenate([first, ends], axis=1).astype(np.int32)
    return Events(channel[kept], bounds, events.value / np.float32(1 - probability))


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
