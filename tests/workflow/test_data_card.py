"""The data card: that its numbers are those of the shards, and that it compares only what can be compared."""

import numpy as np
import pandas as pd
import pytest

from sims import ground_truth, neuronio
from sims.cells import l5pc
from sims.stimuli import l5
from workflow.tables import data_card as card

PUBLISHED = {"cell": "cell1", "equations_digest": card.PUBLISHED_DIGEST}


@pytest.fixture
def shards(tmp_path, make_shard):
    """Maker of one shard in each split; returns their paths."""

    def make(simulations=3, duration_ms=1500, **attributes):
        paths = []
        for seed, (split, precision) in enumerate({"train": "float32", "test": "float64"}.items()):
            (tmp_path / split).mkdir(exist_ok=True)
            paths.append(tmp_path / split / "000.nc")
            shard = make_shard(seed, simulations, duration_ms, 20, precision=precision, **attributes)
            neuronio.write(shard, paths[-1])
        return paths

    return make


def test_the_published_digest_is_that_of_this_projects_own_files():
    assert ground_truth.equations_digest(l5pc.read(), l5.read()) == card.PUBLISHED_DIGEST


def test_statistics_are_those_of_the_shards_laid_end_to_end(shards):
    paths = shards()
    found = {row["name"]: row for row in card.statistics(card.gather(paths)["sums"], comparable=False)}
    together = [neuronio.read(path) for path in paths]
    voltage = np.concatenate([shard.soma_voltage[:, 500:] for shard in together]).astype(float)
    spikes = sum(np.count_nonzero(shard.spike_time >= 500) for shard in together)
    excitation = sum(np.count_nonzero(shard.event_channel < 20) for shard in together)
    for name, value in {
        "output rate": spikes / 6,
        "mean voltage": voltage.mean(),
        "SD of the voltage": voltage.std(),
        "mean of the capped voltage": np.minimum(voltage, -55).mean(),
        "SD of the capped voltage": np.minimum(voltage, -55).std(),
        "excitatory input rate": excitation / 20 / 9,
    }.items():
        assert found[name]["value"] == pytest.approx(value), name
    # Of means over simulations, the jackknife's error is the ordinary one.
    error = voltage.mean(axis=1).std(ddof=1) / np.sqrt(len(voltage))
    assert found["mean voltage"]["standard_error"] == pytest.approx(error)


def test_the_standard_error_of_an_sd_is_that_of_independent_repetitions():
    """64 simulations of 100 samples each, whose SD differs between simulations."""
    generator = np.random.default_rng(0)
    sds, errors = [], []
    for _ in range(300):
        voltage = generator.normal(-67, generator.uniform(1, 5, (64, 1)), (64, 100))
        sums = {name: voltage.sum(axis=1) for name in ("v", "capped")}
        sums |= {name: np.square(voltage).sum(axis=1) for name in ("v2", "capped2")}
        one = dict.fromkeys(("duration_ms", "samples", "spikes", "excitation", "inhibition"), 100)
        rows = card.statistics(pd.DataFrame(sums | one), comparable=False)
        found = next(row for row in rows if row["name"] == "SD of the voltage")
        sds.append(found["value"])
        errors.append(found["standard_error"])
    assert np.mean(errors) == pytest.approx(np.std(sds), rel=0.15)


@pytest.mark.parametrize(
    "attributes, duration_ms, reason",
    [
        ({}, 6000, "the cell is leaky and not cell1; the equation files are not the published ones"),
        (PUBLISHED | {"equations_digest": "changed"}, 6000, "the equation files are not the published ones"),
        (PUBLISHED, 1500, "simulations last 1.5 s and not 6 s"),
        (PUBLISHED, 6000, ""),
    ],
)
def test_only_the_published_cell_is_held_to_the_reference(shards, attributes, duration_ms, reason):
    found = card.gather(shards(2, duration_ms, **attributes))
    assert card.incomparable(found) == reason


def test_what_lies_beyond_three_standard_errors_is_named(shards, data_card, tmp_path):
    made = data_card(*shards(4, 6000, **PUBLISHED), out=tmp_path, cell="cell1")
    within = {row["name"]: row["within"] for row in made["statistics"]}
    assert within["output rate"] is False and set(within.values()) <= {True, False}
    page = (tmp_path / "README.md").read_text()
    assert "| **no** |" in page and "The reference is 800 simulations" in page and "Another morphology" not in page


def test_the_card_names_every_value_that_occurs_and_what_the_splits_hold(shards, data_card, tmp_path):
    paths = shards()
    made = data_card(*paths, out=tmp_path)
    page = (tmp_path / "README.md").read_text()
    assert "| precision | float32, float64 |" in page and "| seed | 0, 1 |" in page
    events, spikes = (len(getattr(neuronio.read(paths[0]), name)) for name in ("event_time", "spike_time"))
    assert f"| train | 1 | 3 | 0 to 2 | 0.001 | {events:,} | {spikes} |" in page
    assert made["splits"][1]["split"] == "test" and made["channels"] == 40
    assert "cannot be held to the reference" in page and {row["within"] for row in made["statistics"]} == {None}
    assert "python -m sims neuronio generate" in page and "soma_voltage   float32 [simulation, time]" in page
    assert "NeuronIO here: MIT" in page and "rate_hz" in page


def test_the_same_shards_make_the_same_card(shards, data_card, tmp_path):
    paths, pages = shards(), []
    for _ in range(2):
        data_card(*paths, out=tmp_path)
        pages.append((tmp_path / "README.md").read_bytes() + (tmp_path / "data_card.json").read_bytes())
    assert pages[0] == pages[1]


def test_one_simulation_has_no_standard_error(shards, data_card, tmp_path):
    made = data_card(shards(1)[0], out=tmp_path)
    assert {row["standard_error"] for row in made["statistics"]} == {None}
