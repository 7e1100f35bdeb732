"""Calibration: the search on toys, the scaled inputs, and the command on the cell."""

import json

import numpy as np
import pytest

from sims import calibration, neuronio
from sims.calibration import Measurement
from sims.stimuli import l5


def toy(rate):
    """A measurement of a rate that is a function of the scale; and the list of scales it was asked for."""
    asked = []

    def measure(scale):
        asked.append(scale)
        return Measurement(scale, rate(scale), 0.1)

    return measure, asked


@pytest.mark.parametrize("threshold, gain", [(0.2, 5), (0.9, 3), (1.8, 0.7), (3, 1), (6, 10), (0.05, 20)])
def test_the_search_converges_on_a_cell_with_a_threshold(threshold, gain):
    measure, asked = toy(lambda scale: gain * max(0, scale - threshold))
    found = calibration.search(measure, 1, 0.2, 20)
    assert found.reached and abs(found.chosen.rate - 1) <= 0.2 and found.spikes
    assert found.scale == pytest.approx(threshold + 1 / gain, abs=0.2 / gain + 1e-9)
    assert asked[0] == 1 and [each.scale for each in found.measured] == asked and len(asked) <= 12


def test_a_cell_that_is_there_already_is_left_as_it_is():
    measure, asked = toy(lambda scale: 1.15 * scale)
    assert calibration.search(measure, 1, 0.2, 20).scale == 1 and asked == [1]


def test_a_cell_that_never_spikes_is_said_to_be_silent_and_the_search_ends():
    measure, asked = toy(lambda scale: 0)
    found = calibration.search(measure, 1, 0.2, 50)
    assert not found.reached and not found.spikes and max(asked) == calibration.LARGEST_SCALE


def test_a_rate_that_jumps_over_the_target_gives_the_nearest_and_says_so():
    measure, asked = toy(lambda scale: 0.5 if scale < 1.7 else 4)
    found = calibration.search(measure, 1, 0.2, 9)
    assert not found.reached and found.chosen.rate == 0.5 and len(asked) == 9


def test_few_evaluations_end_the_search():
    measure, asked = toy(lambda scale: 0.1 * scale)
    assert calibration.search(measure, 1, 0.2, 1).scale == 1 and len(asked) == 1


def test_scaled_inputs_are_those_of_the_file_that_is_written(tmp_path):
    inputs = l5.read()
    (tmp_path / "scaled.yaml").write_text(calibration.scaled_text(l5.PUBLISHED, inputs, 2**0.25, tmp_path))
    again = l5.read(tmp_path / "scaled.yaml")
    assert again.drives == calibration.scaled(inputs, 2**0.25).drives
    assert again.drives["basal"]["excitation"][1] == pytest.approx(8000 * 2**0.25)
    # What excitation and inhibition can at most differ by, where excitation is strongest, grows with it.
    assert again.drives["apical"]["inhibition"] == pytest.approx((-6000 - 8000 * (2**0.25 - 1), 2000))
    (tmp_path / "same.yaml").write_text(calibration.scaled_text(l5.PUBLISHED, inputs, 1, tmp_path))
    assert l5.read(tmp_path / "same.yaml").digest == inputs.digest


def test_the_rate_is_counted_after_the_start_and_its_error_is_over_simulations(make_shard):
    shard = make_shard(simulations=5, duration_ms=1500, segments=20)
    each = [np.count_nonzero(shard.spikes(k) >= 500) / 1.0 for k in range(5)]
    assert calibration.rate(shard) == pytest.approx((np.mean(each), np.std(each, ddof=1) / 5**0.5))


@pytest.fixture(scope="module")
def calibrated(ended, tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrated")
    files = folder / "inputs.yaml", "--json", folder / "calibration.json", "--unscaled", folder / "unscaled.nc"
    sizes = "--simulations", 2, "--seconds", 1, "--dt", 0.1, "--seed", 3, "--first", 0
    run = ended("sims", "neuronio", "calibrate", *files, *sizes, "--rate", 30, "--tolerance", 1, "--evaluations", 2)
    assert run.code == 0, run.stderr
    return folder, run


def test_the_command_says_what_it_measured_and_keeps_the_unscaled_simulations(calibrated, ended):
    folder, run = calibrated
    card = json.loads((folder / "calibration.json").read_text())
    assert [each["scale"] for each in card["measured"]] == [1, 2] and not card["reached"]
    assert card["scale"] in (1, 2) and "was not reached" in run.stdout
    assert l5.read(folder / "inputs.yaml").drives["basal"]["excitation"][1] == pytest.approx(8000 * card["scale"])
    shard = folder / "generated.nc"
    sizes = "--simulations", 2, "--seconds", 1, "--dt", 0.1, "--seed", 3, "--first", 0
    ended("sims", "neuronio", "generate", shard, *sizes)
    found, expected = neuronio.read(folder / "unscaled.nc"), neuronio.read(shard)
    np.testing.assert_array_equal(found.soma_voltage, expected.soma_voltage)
    assert calibration.rate(found)[0] == card["measured"][0]["rate_Hz"]


def test_cells_that_share_a_generator_are_given_the_same_inputs(calibrated, ended, tmp_path):
    files = tmp_path / "i.yaml", "--json", tmp_path / "c.json", "--unscaled", tmp_path / "unscaled.nc"
    sizes = "--simulations", 2, "--seconds", 1, "--dt", 0.1, "--seed", 3, "--first", 0, "--evaluations", 1
    run = ended(
        "sims", "neuronio", "calibrate", *files, *sizes, "--equations", "equations/hypotheses/no_ca_hot_zone.yaml"
    )
    assert run.code == 0, run.stderr
    ours, published = neuronio.read(tmp_path / "unscaled.nc"), neuronio.read(calibrated[0] / "unscaled.nc")
    np.testing.assert_array_equal(ours.event_time, published.event_time)
    np.testing.assert_array_equal(ours.event_channel, published.event_channel)
    assert not np.array_equal(ours.soma_voltage, published.soma_voltage)


@pytest.mark.parametrize(
    "options, words",
    [
        (["--rate", 0], "--rate: found 0"),
        (["--tolerance", "nan"], "--tolerance: found nan"),
        (["--evaluations", 0], "--evaluations: found 0"),
        (["--seconds", 0], "--seconds: found 0"),
        (["--simulations", 0], "--simulations: found 0"),
        (["--equations", "equations/l5pc/NMDA.yaml"], "unknown key 'equations' in a cell file"),
    ],
)
def test_impossible_options_are_refused(options, words, ended, tmp_path):
    run = ended("sims", "neuronio", "calibrate", tmp_path / "i.yaml", "--json", tmp_path / "c.json", *options)
    assert run.code == 2 and words in run.stderr and not list(tmp_path.iterdir())
