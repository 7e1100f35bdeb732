import hashlib
import io
import tarfile

import pytest

from sims.stimuli import reviews
from sims.stimuli.reviews import ReviewError

TEXTS = {
    "train/pos/0_9.txt": b"A fine\tfilm.\n",
    "train/neg/0_2.txt": "Un désastre.".encode(),
    "train/unsup/0_0.txt": b"?",
}


def archive(path, texts):
    with tarfile.open(path, "w:gz") as file:
        for name, text in texts.items():
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_reviews_are_read_with_their_labels_and_those_without_left_out(tmp_path):
    md5 = archive(tmp_path / "a.tar.gz", TEXTS)
    assert reviews.read(tmp_path / "a.tar.gz", "train", md5) == [(0, "Un désastre.".encode()), (1, b"A fine\tfilm.\n")]


@pytest.mark.faults
def test_another_archive_a_cut_one_and_one_without_reviews_are_refused(tmp_path):
    path = tmp_path / "a.tar.gz"
    md5 = archive(path, TEXTS)
    with pytest.raises(ReviewError, match=f"md5 {md5}, expected {reviews.MD5}"):
        reviews.read(path, "train")
    with pytest.raises(ReviewError, match="found no reviews in aclImdb/test"):
        reviews.read(path, "test", md5)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ReviewError, match="found 100 bytes"):
        reviews.read(path, "train", md5)


def test_a_split_is_written_one_review_a_line(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    texts = {f"train/{kind}/{k}_1.txt": b"so\tso \n" for kind in ("pos", "neg") for k in range(10)}
    monkeypatch.setattr(reviews.read, "__defaults__", (archive(path, texts),))
    for split, count in (("train", 18), ("valid", 2)):
        reviews.write(tmp_path / split, split, path)
        lines = (tmp_path / split).read_bytes().splitlines()
        assert len(lines) == count and {line[1:] for line in lines} == {b"\tso so"}
    with pytest.raises(ReviewError, match="--split: found 'dev'"):
        reviews.write(tmp_path / "dev", "dev", path)
