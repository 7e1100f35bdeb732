"""Tasks that ask one question about a sequence: what models are shown, what counts, and what files are refused."""

import h5py
import numpy as np
import pytest
import torch
from torch.nn import functional

from fitting import tasks
from fitting.events import Events, drop, one_each_step
from fitting.settings import SettingError
from fitting.tasks.classification import TaskError
from fitting.tasks.shd import AddingSettings, Settings
from sims.stimuli import image_files, listops
from sims.stimuli.digits import DigitsError

BINS = (1, 2, 4, 6, 8, 10, 20, 50, 100)


def task(name, **settings):
    kind = tasks.find(name)
    return kind(kind.Settings(**settings))


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A file in SHD's layout: thirty recordings of up to 1.2 s, spikes in no order, one recording silent."""
    path, draw = tmp_path_factory.mktemp("shd") / "digits.h5", np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (30,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (30,), h5py.vlen_dtype(np.uint16))
        for k in range(30):
            count = 0 if k == 7 else 400
            times[k], units[k] = draw.uniform(0, 1.2, count), draw.integers(700, size=count)
        file["labels"] = np.arange(30) % 20
    return path


def raw(path, k):
    with h5py.File(path) as file:
        return file["spikes/times"][k].astype(np.float64), file["spikes/units"][k].astype(int)


def images(folder, size, classes=2, count=6):
    draw = np.random.default_rng(0)
    image = draw.integers(256, size=(count, size, size), dtype=np.uint8)
    image_files.write(folder / f"{size}.npz", image, (np.arange(count) % classes).astype(np.uint8), {})
    return folder / f"{size}.npz", image


@pytest.mark.parametrize("bin_ms", BINS)
def test_spikes_lie_in_their_bins_and_those_after_a_second_are_left_out(digits, bin_ms):
    shd = task("shd", bin_ms=bin_ms, dropout=0)
    data = shd.read([digits])
    inputs, last = shd.inputs(data, np.array([3, 7]))
    steps = -(-1000 // bin_ms)
    assert inputs.shape == (2, steps, 700) and list(last) == [steps - 1] * 2
    times, units = raw(digits, 3)
    step = np.floor(times * 1000 / bin_ms).astype(int)
    expected = np.zeros((steps, 700))
    np.add.at(expected, (step[step < steps], units[step < steps]), 1)
    assert np.array_equal(inputs.dense()[0], expected) and not inputs.dense()[1].any()
    assert shd.known(data) == {"dt_ms": bin_ms}


def test_two_digits_come_one_after_the_other_and_their_sum_is_wanted(digits):
    adding, shd = task("shd_adding", bin_ms=10, pairs=50), task("shd", bin_ms=10)
    data = adding.read([digits])
    pairs = np.array([[3, 18], [29, 7]])
    inputs, last = adding.inputs(data, pairs)
    alone = [shd.inputs(data, pairs[:, side])[0].dense() for side in range(2)]
    assert torch.equal(inputs.dense(), torch.cat(alone, dim=1)) and list(last) == [199, 199]
    assert list(adding.labels(data, pairs)) == [3 + 8, 9 + 7]
    assert len(adding.examples(data)) == 50 and np.array_equal(adding.examples(data), adding.examples(data))
    assert adding.sizes(data) == (700, 19) and shd.sizes(data) == (700, 20)


def test_pairs_to_learn_from_are_drawn_independently(digits):
    adding = task("shd_adding", bin_ms=50)
    drawn = adding.draw(adding.read([digits]), np.random.default_rng(0), 4000)
    counts = np.histogram2d(*drawn.T, bins=30)[0]
    assert np.abs(counts - 4000 / 900).max() < 6 * np.sqrt(4000 / 900)


def test_digits_that_are_wrong_are_refused(digits, tmp_path):
    with h5py.File(digits) as whole, h5py.File(tmp_path / "digits.h5", "w") as file:
        whole.copy("spikes", file)
        file["labels"] = np.full(30, 20)
    with pytest.raises(DigitsError, match="digits.h5, recording 0: found label 20, expected 0 to 19"):
        task("shd").read([tmp_path / "digits.h5"])


@pytest.mark.parametrize("name, size, levels", [("cifar", 32, 16), ("pathfinder", 32, 16), ("pathfinder_x", 128, 8)])
def test_a_pixel_is_an_event_in_the_bin_of_its_grey_value(tmp_path, name, size, levels):
    path, image = images(tmp_path, size)
    asked = task(name, levels=levels)
    data = asked.read([path])
    inputs, last = asked.inputs(data, np.array([4, 1]))
    assert inputs.shape == (2, size * size, levels) and list(last) == [size * size - 1] * 2
    expected = functional.one_hot(torch.from_numpy(image[[4, 1]].reshape(2, -1).astype(int) * levels // 256), levels)
    assert torch.equal(inputs.dense(), expected.float())
    assert list(asked.labels(data, np.array([4, 1]))) == [0, 1]


def test_images_of_another_size_or_kind_are_refused(tmp_path):
    path, _ = images(tmp_path, 32, classes=3)
    with pytest.raises(TaskError, match="found images of 32 x 32 pixels, expected 128 x 128"):
        task("pathfinder_x").read([path])
    with pytest.raises(TaskError, match="found the label 2, expected 0 to 1"):
        task("pathfinder").read([path])


def test_trees_of_different_lengths_end_with_their_own_last_token(tmp_path):
    path = tmp_path / "trees.tsv"
    path.write_text("Source\tTarget\n[MAX 1 2 ]\t2\n[SM 1 [MIN 3 4 ] ]\t4\n")
    asked = task("listops")
    data = asked.read([path, path])
    inputs, last = asked.inputs(data, np.array([0, 1]))
    assert inputs.shape == (2, 7, 15) and list(last) == [3, 6]
    assert inputs.dense()[0].sum(1).tolist() == [1, 1, 1, 1, 0, 0, 0]
    assert inputs.dense()[1].argmax(1).tolist() == [listops.TOKENS.index(word) for word in "[SM 1 [MIN 3 4 ] ]".split()]
    assert list(asked.labels(data, np.arange(4))) == [2, 4, 2, 4]


def test_bytes_of_a_review_and_of_two_papers(tmp_path):
    (tmp_path / "reviews.tsv").write_bytes("1\tjé\n0\tno film\n".encode())
    text = task("text", longest=4)
    inputs, last = text.inputs(text.read([tmp_path / "reviews.tsv"]), np.array([0, 1]))
    assert inputs.shape == (2, 4, 256) and inputs.channel.tolist() == [*"jé".encode(), *b"no f"]
    assert list(last) == [2, 3]
    (tmp_path / "pairs.tsv").write_bytes(b"1.0\tA\tB\tone\ttwo\n")
    retrieval = task("retrieval")
    data = retrieval.read([tmp_path / "pairs.tsv"])
    inputs, _ = retrieval.inputs(data, np.array([0]))
    assert inputs.channel.tolist() == [*b"one", 256, *b"two"] and inputs.shape[2] == 257 and list(data.label) == [1]


@pytest.mark.parametrize(
    "text, message",
    [
        (b"1\tgood", "ends within line 1"),
        (b"", "found no texts"),
        (b"1\tgood\n2\tbad\n", "line 2: found 2 columns and the label b'2'"),
        (b"1\tgood\tvery\n", "line 1: found 3 columns"),
        (b"1\t\n", "line 1: .*not empty"),
    ],
)
def test_a_table_of_texts_that_is_wrong_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "reviews.tsv").write_bytes(text)
    with pytest.raises(TaskError, match=message):
        task("text").read([tmp_path / "reviews.tsv"])


def test_only_the_last_output_of_each_example_counts_or_the_mean_until_it():
    outputs = torch.randn(3, 5, 4)
    last, labels = torch.tensor([4, 2, 0]), torch.tensor([1, 0, 3])
    answers = {
        "last": torch.stack([outputs[0, 4], outputs[1, 2], outputs[2, 0]]),
        "mean": torch.stack([outputs[0].mean(0), outputs[1, :3].mean(0), outputs[2, 0]]),
    }
    for readout, expected in answers.items():
        asked = task("listops", readout=readout)
        torch.testing.assert_close(asked.answer(outputs, last), expected)
        assert asked.loss(outputs, (labels, last)) == pytest.approx(functional.cross_entropy(expected, labels).item())


def test_scores_are_those_of_the_answers(tmp_path):
    path, _ = images(tmp_path, 32, count=30)
    asked = task("pathfinder", dropout=0.9)
    data = asked.read([path])

    class Guess(torch.nn.Module):
        takes_events = True

        def forward(self, inputs):
            counts = torch.from_numpy(np.diff(inputs.bounds)).float()
            assert (counts == 1).all()  # nothing is dropped
            return torch.stack([2 * counts, 0 * counts], dim=2)

    metrics, predictions = asked.evaluate(Guess(), data)
    assert metrics["accuracy"] == metrics["chance"] == 0.5 and (metrics["examples"], metrics["classes"]) == (30, 2)
    assert metrics["loss"] == pytest.approx(np.log(1 + np.exp(2)) - 1)
    assert predictions()["answer"].tolist() == [0] * 30 and predictions()["label"].sum() == 15


def test_dropout_takes_entries_away_at_its_rate_and_scales_the_rest():
    draw = np.random.default_rng(0)
    counts = draw.poisson(6, size=(4, 300))
    ends = np.cumsum(counts).reshape(4, 300)
    bounds = np.concatenate([ends[:, :1] - counts[:, :1], ends], axis=1).astype(np.int32)
    events = Events(draw.integers(20, size=counts.sum(), dtype=np.uint16), bounds, np.ones(20, np.float32))
    dense, dropped = events.dense(), drop(events, 0.3, np.random.default_rng(1))
    ratio = dropped.dense()[dense > 0] / dense[dense > 0]
    zero = (ratio == 0).double().mean().item()
    assert abs(zero - 0.3) < 4 * np.sqrt(0.21 / ratio.numel())
    torch.testing.assert_close(ratio[ratio > 0], torch.full_like(ratio[ratio > 0], 1 / 0.7))
    assert not dropped.dense()[dense == 0].any()
    again = drop(events, 0.3, np.random.default_rng(1))
    assert np.array_equal(again.channel, dropped.channel) and np.array_equal(again.bounds, dropped.bounds)
    other = drop(events, 0.3, np.random.default_rng(2))
    shared = ((other.dense() > 0) & (dropped.dense() > 0)).double().sum() / (dense > 0).sum()
    assert abs(shared - 0.49) < 0.03  # one draw says nothing of another
    assert drop(events, 0.0, np.random.default_rng(1)) is events


def test_sequences_that_end_early_are_silent_from_there():
    events = one_each_step(np.array([1, 2, 0], np.uint16), [2, 1], 3)
    assert events.dense().tolist() == [[[0, 1, 0], [0, 0, 1]], [[1, 0, 0], [0, 0, 0]]]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: task("listops", dropout=1.0), "dropout: found 1.0, expected from 0 to below 1"),
        (lambda: task("cifar", levels=1), "levels: found 1"),
        (lambda: task("text", longest=0), "longest: found 0"),
        (lambda: Settings(bin_ms=0), "bin_ms: found 0"),
        (lambda: Settings(duration_ms=1), "duration_ms: found 1"),
        (lambda: AddingSettings(pairs=0), "pairs: found 0"),
    ],
)
def test_settings_without_sense_are_refused(make, message):
    with pytest.raises(SettingError, match=message):
        make()
