import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from sims.stimuli import cifar, image_files
from sims.stimuli.image_files import ImageError

DATA = Path(os.environ.get("DENDRITIC_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def archive(path, count=4, **changes):
    """An archive in the official format with a few images a part; returns its md5."""
    draw = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as file:
        for part in [f"data_batch_{k}" for k in range(1, 6)] + ["test_batch"]:
            pixels = draw.integers(256, size=(count, 3072), dtype=np.uint8)
            content = {"data": pixels, "labels": list(range(count)), "batch_label": part} | changes
            data = pickle.dumps(content, protocol=2)
            member = tarfile.TarInfo(f"cifar-10-batches-py/{part}")
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return hashlib.md5(path.read_bytes()).hexdigest()


def table(path, size=(32, 32), count=20):
    """A table as of DENDRITIC_DATA; every image has one colour."""
    rows = {"split": [], "label": [], "jpeg": []}
    for k in range(count):
        file = io.BytesIO()
        Image.new("RGB", size, (10 * k, 0, 255 - 10 * k)).save(file, "JPEG", quality=95)
        for name, value in (("split", "test" if k % 4 == 3 else "train"), ("label", k % 10), ("jpeg", file.getvalue())):
            rows[name].append(value)
    parquet.write_table(pyarrow.table(rows), path)


def test_grey_is_the_luma_of_itu_r_601():
    colours = np.random.default_rng(0).integers(256, size=(500, 3), dtype=np.uint8)
    expected = colours @ [0.299, 0.587, 0.114]
    assert np.abs(cifar.luma(colours) - expected).max() <= 0.5 + 1e-2
    assert np.array_equal(cifar.luma(colours), np.asarray(Image.fromarray(colours[None]).convert("L"))[0])


def test_the_official_archive_is_read_image_by_image(tmp_path):
    path = tmp_path / cifar.ARCHIVE
    md5 = archive(path)
    image, label = cifar.read(path, "train", md5)
    assert image.shape == (20, 32, 32) and list(label) == [0, 1, 2, 3] * 5
    first = np.random.default_rng(0).integers(256, size=(4, 3072), dtype=np.uint8)[1].reshape(3, 32, 32)
    assert np.array_equal(image[1], cifar.luma(first.transpose(1, 2, 0)))
    assert len(cifar.read(path, "test", md5)[0]) == 4


@pytest.mark.faults
def test_another_archive_and_a_cut_one_are_refused_by_their_checksum(tmp_path):
    path = tmp_path / cifar.ARCHIVE
    md5 = archive(path)
    with pytest.raises(ImageError, match=f"md5 {md5}, expected {cifar.MD5}"):
        cifar.read(path, "train")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ImageError, match=f"expected {md5} .cut short"):
        cifar.read(path, "train", md5)
    with pytest.raises(ImageError, match="cannot be read"):
        cifar.read(tmp_path / "nowhere.tar.gz", "train")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data": np.zeros((4, 300), np.uint8)}, "cannot be read"),
        ({"data": np.zeros((4, 3072), np.float32)}, "found no array of bytes under 'data'"),
        ({"labels": [1, 2]}, "found 4 images and 2 labels"),
        ({"labels": [1, 2, 3, 12]}, "labels up to 12, expected 0 to 9"),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path, changes, message):
    path = tmp_path / cifar.ARCHIVE
    md5 = archive(path, **changes)
    with pytest.raises(ImageError, match=message):
        cifar.read(path, "train", md5)


@pytest.mark.faults
def test_an_archive_is_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return open, (str(tmp_path / "sprung"), "w")

    path = tmp_path / cifar.ARCHIVE
    md5 = archive(path, data=Trap())
    with pytest.raises(ImageError, match="cannot be read"):
        cifar.read(path, "train", md5)
    assert not (tmp_path / "sprung").exists()


def test_a_table_of_jpegs_is_read_too(tmp_path):
    table(tmp_path / "images.parquet")
    image, label = cifar.read(tmp_path / "images.parquet", "test")
    assert list(label) == [3, 7, 1, 5, 9]
    assert abs(image[0].mean() - (0.299 * 30 + 0.114 * 225)) < 2


@pytest.mark.faults
def test_a_table_that_is_cut_or_has_other_pictures_is_refused(tmp_path):
    path = tmp_path / "images.parquet"
    table(path, size=(28, 28))
    with pytest.raises(ImageError, match="row 0: found 28 x 28 pixels, expected a JPEG of 32 x 32"):
        cifar.read(path, "train")
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageError, match="expected a whole table"):
        cifar.read(path, "train")


def test_validation_is_a_tenth_of_the_training_images_and_shares_none_with_them(tmp_path):
    source = tmp_path / "images.parquet"
    table(source, count=80)
    found = {}
    for split in cifar.SPLITS:
        cifar.write(tmp_path / f"{split}.npz", split, source)
        found[split] = image_files.read(tmp_path / f"{split}.npz", 32)
    assert [len(found[split][1]) for split in cifar.SPLITS] == [54, 6, 20]
    with pytest.raises(ImageError, match="--split: found 'dev'"):
        cifar.write(tmp_path / "dev.npz", "dev", source)


def test_the_real_table_has_ten_thousand_test_images_of_ten_kinds():
    if not (DATA / cifar.TABLE).is_file():
        pytest.skip(f"{cifar.TABLE} is not in {DATA}")
    image, label = cifar.read(DATA / cifar.TABLE, "test")
    assert image.shape == (10_000, 32, 32) and (np.bincount(label) == 1000).all()
    assert image.mean() == pytest.approx(121.9, abs=3)
