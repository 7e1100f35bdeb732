import pytest
import torch

from sims import neuronio

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shards(make_shard, tmp_path_factory):
    """Training and validation shard files: 40 channels, so that a fit takes seconds."""
    folder = tmp_path_factory.mktemp("shards")
    for name, seed in (("train", 0), ("valid", 1)):
        neuronio.write(make_shard(seed, simulations=6, duration_ms=1500, segments=20), folder / f"{name}.nc")
    return {"train": folder / "train.nc", "valid": folder / "valid.nc"}
