import builtins
import errno
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
import xarray

from sims import neuronio, sealed
from sims.neuronio import ShardError

ARRAYS = [name for name in neuronio.Shard.__dataclass_fields__ if name != "attributes"]


@pytest.fixture(scope="module")
def shard(make_shard):
    return make_shard(simulations=2, duration_ms=300, segments=7)


@pytest.fixture
def path(shard, tmp_path):
    neuronio.write(shard, tmp_path / "shard.nc")
    return tmp_path / "shard.nc"


def test_a_shard_comes_back_as_it_was_written(shard, path):
    back = neuronio.read(path)
    assert back.attributes == shard.attributes
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(shard, name), strict=True)


def test_the_same_shard_gives_the_same_bytes(make_shard, path, tmp_path):
    neuronio.write(make_shard(simulations=2, duration_ms=300, segments=7), tmp_path / "again.nc")
    assert (tmp_path / "again.nc").read_bytes() == path.read_bytes()


def test_the_file_opens_in_xarray_under_the_documented_names(shard, path):
    with xarray.open_dataset(path, engine="h5netcdf") as dataset:
        assert dataset.soma_voltage.dims == ("simulation", "time")
        assert dataset.event_start.sizes["boundary"] == 3
        assert dataset.attrs["content_sha256"] == shard.content_sha256()


def test_hdf5_stores_no_time_of_writing(path):
    with h5py.File(path) as file:
        assert all(h5py.h5o.get_info(file[name].id).mtime == 0 for name in ARRAYS)


def test_silent_simulations_without_any_event_are_a_shard(shard, tmp_path):
    nothing = replace(
        shard,
        event_time=shard.event_time[:0],
        event_channel=shard.event_channel[:0],
        event_start=np.zeros(3, np.int64),
        spike_time=shard.spike_time[:0],
        spike_start=np.zeros(3, np.int64),
    )
    neuronio.write(nothing, tmp_path / "silent.nc")
    assert neuronio.read(tmp_path / "silent.nc").spike_counts.tolist() == [0, 0]


@pytest.mark.faults
def test_a_flipped_byte_anywhere_is_refused_with_the_files_name(path):
    whole = path.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 200).astype(int):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ShardError, match="shard.nc"):
            neuronio.read(path)


@pytest.mark.faults
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_shard_is_refused_with_the_files_name(path, kept):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(ShardError, match="shard.nc.*expected"):
        neuronio.read(path)


@pytest.mark.faults
def test_a_shard_that_another_program_changed_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["soma_voltage"][0, 0] += 1
    with pytest.raises(ShardError, match="shard.nc"):
        neuronio.read(path)
    sealed.write(path, path.read_bytes())
    with pytest.raises(ShardError, match="shard.nc.*altered"):
        neuronio.read(path)


def test_a_missing_file_and_a_foreign_one_are_refused(tmp_path):
    with pytest.raises(ShardError, match="absent.nc.*No such file"):
        neuronio.read(tmp_path / "absent.nc")
    with pytest.raises(ShardError, match="cannot be read"):
        neuronio.read(tmp_path)
    sealed.write(tmp_path / "text.nc", b"seven spikes")
    with pytest.raises(ShardError, match="text.nc.*expected a NeuronIO shard"):
        neuronio.read(tmp_path / "text.nc")
    foreign = xarray.Dataset({"v": ("time", np.zeros(3))}).to_netcdf(engine="h5netcdf")
    sealed.write(tmp_path / "foreign.nc", foreign)
    with pytest.raises(ShardError, match="foreign.nc.*format"):
        neuronio.read(tmp_path / "foreign.nc")


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


@pytest.mark.parametrize(
    "name, change, complaint",
    [
        ("event_channel", lambda a: changed(a, 0, 14), "event_channel reaches 14, expected channels below 14"),
        ("event_start", lambda a: changed(a, 1, a[2] + 1), "event_start is unsorted"),
        ("event_start", lambda a: changed(a, 0, 1), "event_start runs from 1"),
        ("event_time", lambda a: a[::-1].copy(), "event_time goes backward within a simulation"),
        ("event_time", lambda a: changed(a, -1, 300), "event_time spans"),
        ("event_time", lambda a: a.astype(np.int64), "event_time has dtype int64, expected uint16"),
        ("soma_voltage", lambda a: changed(a, (1, 5), np.nan), "soma_voltage holds NaN"),
        ("soma_voltage", lambda a: a.astype(np.float64), "soma_voltage has dtype float64, expected float32"),
        ("soma_voltage", lambda a: a[0], "soma_voltage has 1 dimensions, expected 2"),
        ("spike_time", lambda a: np.full_like(a, np.nan), "spike_time spans nan"),
        ("spike_start", lambda a: np.append(a, a[-1]), "spike_start has 4 entries"),
        ("sign", lambda a: changed(a, 0, 0), "sign holds"),
        ("region", lambda a: changed(a, 0, "axon"), "region holds .'axon'., expected basal or apical"),
        ("path_distance", lambda a: changed(a, 0, -1), "path_distance holds values below 0"),
        ("attributes", lambda a: {**a, "cell": 7}, "attribute cell is 7, expected a str"),
        ("attributes", lambda a: {k: v for k, v in a.items() if k != "seed"}, "attribute seed is missing"),
        ("attributes", lambda a: {**a, "ranges": [1, 2]}, "attribute ranges is a list"),
        ("attributes", lambda a: {**a, "entropy": 2**80}, "attribute entropy .* 64-bit"),
    ],
)
def test_what_breaks_the_schema_is_neither_written_nor_read(shard, tmp_path, monkeypatch, name, change, complaint):
    path, broken = tmp_path / "broken.nc", replace(shard, **{name: change(getattr(shard, name))})
    with pytest.raises(ShardError, match=f"broken.nc.*{complaint}"):
        neuronio.write(broken, path)
    assert not path.exists()
    if name != "attributes":
        with monkeypatch.context() as careless:
            careless.setattr(neuronio, "_check", lambda shard, path: None)
            try:
                neuronio.write(broken, path)
            except ValueError:
                return  # xarray refuses dimensions that disagree before any file exists
        with pytest.raises(ShardError, match="broken.nc"):
            neuronio.read(path)


def test_shards_of_different_sets_are_not_mixed(make_shard, path, tmp_path):
    def other(segments=7, **attributes):
        neuronio.write(make_shard(1, 2, 300, segments, **attributes), tmp_path / "other.nc")
        return [path, tmp_path / "other.nc"]

    assert len(neuronio.read_all(other(backend="neuron", first_simulation=128))) == 2
    for key, value in (("cell", "cell1"), ("dt_ms", 0.1), ("equations_digest", "else"), ("generator", "{}")):
        with pytest.raises(ShardError, match=f"other.nc: {key} is .*{value}.*shard.nc"):
            neuronio.read_all(other(**{key: value}))
    with pytest.raises(ShardError, match="other.nc.*channel table.*shard.nc"):
        neuronio.read_all(other(segments=8))


@pytest.mark.faults
def test_a_full_disk_leaves_nothing_behind_and_names_the_file(shard, tmp_path, monkeypatch):
    monkeypatch.setattr(sealed, "open", lambda *a: _FullDisk(builtins.open(*a)), raising=False)
    with pytest.raises(OSError, match="No space left.*shard.nc"):
        neuronio.write(shard, tmp_path / "shard.nc")
    assert list(tmp_path.iterdir()) == []


class _FullDisk:
    """A file on a disk that fills up."""

    def __init__(self, file):
        self.file = file

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
