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
