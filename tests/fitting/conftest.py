import numpy as np
import pytest
import torch

from fitting.events import Events
from sims import neuronio

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shards(make_shard, tmp_path_factory):
    """Training and validation shard files: 40 channels, so that a fit takes seconds."""
    folder = tmp_path_factory.mktemp("shards")
    for name, seed in (("train", 0), ("valid", 1)):
        neuronio.write(make_shard(seed, simulations=6, duration_ms=1500, segments=20), folder / f"{name}.nc")
    return {"train": folder / "train.nc", "valid": folder / "valid.nc"}


@pytest.fixture
def float64():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def make_events():
    """Maker of Events, of which some meet in one channel and step, and of which the last window has none."""

    def make(batch=2, time=60, channels=32, rate=0.1, seed=0):
        draw = np.random.default_rng(seed)
        counts = draw.poisson(rate * channels, size=(batch, time))
        if batch > 1:
            counts[-1] = 0
        ends = np.cumsum(counts).reshape(batch, time)
        bounds = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int32)
        value = np.where(np.arange(channels) < channels // 2, 1, -1).astype(np.float32)
        return Events(draw.integers(channels, size=counts.sum(), dtype=np.uint16), bounds, value)

    return make


@pytest.fixture(scope="session")
def spoken(tmp_path_factory):
    """Training and validation files in SHD's layout: each digit sweeps 200 ms over channels of its own, with jitter."""
    from sims.stimuli import digits

    folder = tmp_path_factory.mktemp("spoken")
    for name, seed, takes in (("train", 0, 12), ("valid", 1, 4)):
        draw = np.random.default_rng(seed)
        label, events = np.tile(np.arange(10), takes), []
        for digit in label:
            time = np.sort(draw.uniform(0, 0.2, 120))
            place = 70 * digit + 60 * np.abs(time / 0.2 - draw.uniform(0.4, 0.6)) + draw.uniform(0, 20, 120)
            events.append((time, place.astype(np.uint16)))
        speaker = np.arange(len(label)) % 3
        digits.write(digits.gather(events, label, speaker), folder / f"{name}.h5")
    return {"train": folder / "train.h5", "valid": folder / "valid.h5"}
