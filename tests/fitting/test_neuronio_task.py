import numpy as np
import pytest
import torch

from fitting.tasks import neuronio as task_module
from fitting.tasks.neuronio import NeuronIO, Settings, TaskError, auc, gather, recordings, roc, spike_bins
from sims import neuronio


@pytest.fixture(scope="module")
def two_shards(make_shard):
    return [make_shard(0, 2, 1300, 20), make_shard(1, 3, 1650, 20)]


@pytest.fixture(scope="module")
def data(two_shards):
    return recordings(two_shards)


def rows(shards):
    """(shard, row) of every simulation."""
    return [(shard, row) for shard in shards for row in range(shard.simulations)]


class Oracle(torch.nn.Module):
    """A model that adds up everything it was given: causal, and dependent on where its window starts."""

    def forward(self, x):
        total = x.sum(-1).cumsum(1)
        return torch.stack([total, total / 100], dim=-1)


def test_events_become_plus_and_minus_one_in_their_millisecond(data, two_shards):
    x = gather(data, np.array([3, 4, 0]), np.array([500, 1200, 1250]), 100).dense().numpy()
    for window, (shard, row, start) in enumerate(
        [(two_shards[1], 1, 500), (two_shards[1], 2, 1200), (two_shards[0], 0, 1250)]
    ):
        expected = np.zeros((100, 40))  # and nothing beyond the end of the simulation
        for time, channel in zip(*shard.events(row), strict=True):
            if start <= time < start + 100:
                expected[time - start, channel] += shard.sign[channel]
        np.testing.assert_array_equal(x[window], expected)


def test_windows_start_from_500_ms_on_and_reach_the_last_one(data):
    seen = []
    task = NeuronIO(Settings(window_ms=500))
    task._windows = lambda data, simulations, starts: seen.extend(zip(simulations, starts, strict=True))
    task.batch(data, np.random.default_rng(0), 20_000)
    for simulation, duration in enumerate((1300, 1300, 1650, 1650, 1650)):
        starts = [start for number, start in seen if number == simulation]
        assert (min(starts), max(starts)) == (500, duration - 500)
        assert len(starts) == pytest.approx(4000, rel=0.1)


def test_targets_are_the_capped_scaled_voltage_and_the_spikes_of_the_window(data, two_shards):
    task = NeuronIO(Settings(window_ms=400))
    _, (spike, voltage) = task._windows(data, np.array([1]), np.array([700]))
    capped = np.minimum(two_shards[0].soma_voltage[1, 700:1100], -55)
    np.testing.assert_allclose(voltage[0], (capped + 67.7) * 0.1, rtol=1e-5)
    np.testing.assert_array_equal(spike[0], spike_bins(two_shards[0])[1, 700:1100])


def test_a_spike_falls_into_the_bin_of_the_published_reader(make_shard):
    from dataclasses import replace

    shard = replace(
        make_shard(0, 1, 600, 3),
        spike_time=np.array([0.25, 10.375, 10.5, 11.375, 599.875], np.float32),
        spike_start=np.array([0, 5]),
    )
    assert np.flatnonzero(spike_bins(shard)[0]).tolist() == [0, 9, 10, 599]


def test_a_model_that_always_says_the_typical_output_is_calibrated(data):
    odds, voltage = NeuronIO(Settings()).typical_output(data).tolist()
    kept = [(data.of(k, data.spike)[500:], data.of(k, data.voltage)[500:]) for k in range(len(data))]
    rate = np.mean(np.concatenate([spike for spike, _ in kept]))
    assert 1 / (1 + np.exp(-odds)) == pytest.approx(rate, rel=0.02)
    assert voltage == pytest.approx(
        (np.minimum(np.concatenate([v for _, v in kept]), -55).mean() + 67.7) / 10, abs=1e-5
    )


def test_what_happens_in_the_burn_in_costs_nothing(data):
    task = NeuronIO(Settings())
    outputs, targets = torch.randn(2, 500, 2), (torch.randint(2, (2, 500)).float(), torch.randn(2, 500))
    cost = task.loss(outputs, targets)
    probability = torch.sigmoid(outputs[:, 150:, 0])
    spike, voltage = (target[:, 150:] for target in targets)
    cross_entropy = -(spike * probability.log() + (1 - spike) * (1 - probability).log()).mean()
    expected = 0.5 * cross_entropy + 0.5 * (outputs[:, 150:, 1] - voltage).square().mean()
    torch.testing.assert_close(cost, expected)
    outputs[:, :150] = 1e6
    assert task.loss(outputs, targets) == cost


def test_every_millisecond_after_650_is_predicted_once_from_its_own_window(data, two_shards):
    task = NeuronIO(Settings())
    logits, voltages = task.predict(Oracle(), data, range(5))
    for simulation, (shard, row) in enumerate(rows(two_shards)):
        duration = shard.duration_ms
        assert len(logits[simulation]) == len(voltages[simulation]) == duration - 650
        time, channel = shard.events(row)
        drive = np.bincount(time, shard.sign[channel], minlength=duration)
        for t in (650, 849, 999, 1000, 1299, duration - 1):
            window_start = 500 + (t - 650) // 350 * 350
            assert logits[simulation][t - 650] == pytest.approx(drive[window_start : t + 1].sum())
    np.testing.assert_allclose(voltages[0], logits[0] / 100 / 0.1 - 67.7, rtol=1e-5)


def test_a_perfect_prediction_scores_perfectly_and_the_loss_is_that_of_training(data):
    task = NeuronIO(Settings())
    spike, target = task._targets(data, range(5))
    perfect = task_module.score([s * 20.0 - 10 for s in spike], spike, target, target)
    assert perfect["auc"] == 1 and perfect["voltage_rmse_mV"] == 0 and perfect["variance_explained"] == 1
    assert perfect["spikes"] == sum(int(s.sum()) for s in spike) and perfect["bins"] == 2 * 650 + 3 * 1000
    doubled = task_module.score([s * 1.0 for s in spike], spike, [2 * v + 5 for v in target], target)
    assert doubled["voltage_rmse_mV"] > 10 and doubled["voltage_rmse_aligned_mV"] == pytest.approx(0, abs=1e-5)


def test_simulations_with_few_spikes_are_scored_apart(data):
    limit = int(np.sort(data.spike_counts)[2])
    metrics, _ = NeuronIO(Settings(few_spikes=limit)).evaluate(Oracle(), data)
    assert metrics["simulations"] == 5 and metrics["simulations_few_spikes"] == (data.spike_counts <= limit).sum()
    nothing, _ = NeuronIO(Settings(few_spikes=0)).evaluate(Oracle(), data)
    assert nothing["simulations_few_spikes"] == 0 and nothing["auc_few_spikes"] is None


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_the_share_of_pairs_in_the_right_order(ties):
    generator = np.random.default_rng(0)
    positive = generator.random(200) < 0.2
    value = generator.normal(size=200) + positive
    value = np.round(value) if ties else value
    pairs = value[positive][:, None] - value[~positive]
    brute_force = np.mean((pairs > 0) + 0.5 * (pairs == 0))
    assert auc(value, positive) == pytest.approx(brute_force, abs=1e-12)
    false_positive, true_positive = roc(value, positive)
    assert np.trapezoid(true_positive, false_positive) == pytest.approx(brute_force, abs=1e-12)
    assert false_positive[0] == true_positive[0] == 0 and false_positive[-1] == true_positive[-1] == 1


def test_scores_of_any_choice_of_simulations_follow_from_what_each_contributes():
    generator = np.random.default_rng(0)
    lengths = (300, 200, 250, 300)
    spike = [(generator.random(n) < 0.05).astype(np.uint8) for n in lengths]
    spike[2][:] = 0
    logit = [np.round(generator.normal(size=n) + s, 1).astype(np.float32) for n, s in zip(lengths, spike, strict=True)]
    voltage, target = ([generator.normal(-67, 3, n).astype(np.float32) for n in lengths] for _ in range(2))
    each = task_module.contributions(logit, spike, voltage, target)
    for drawn in ([0, 1, 2, 3], [3, 3, 0, 2], [1, 2, 2, 2]):
        exact = task_module.score(*([array[k] for k in drawn] for array in (logit, spike, voltage, target)))
        w = np.bincount(drawn, minlength=4)
        silent = each["bins"] - each["spikes"]
        assert w @ each["won"] @ w / ((w @ each["spikes"]) * (w @ silent)) == pytest.approx(exact["auc"], rel=1e-14)
        rmse = np.sqrt(w @ each["squared_error"] / (w @ each["bins"]))
        assert rmse == pytest.approx(exact["voltage_rmse_mV"], rel=1e-12)


def test_auc_without_a_spike_is_undefined():
    assert auc(np.arange(5.0), np.zeros(5)) is None
    assert roc(np.arange(5.0), np.zeros(5))[0].size == 0


def test_a_trace_lines_up_target_and_prediction(data, two_shards):
    trace = NeuronIO(Settings()).trace(Oracle(), data, 3)
    assert trace["time_ms"][0] == 650 and trace["time_ms"][-1] == 1649 and trace["simulation"] == 3
    np.testing.assert_array_equal(trace["voltage_mV"], np.minimum(two_shards[1].soma_voltage[1, 650:], -55))
    assert all(len(trace[name]) == 1000 for name in ("spike", "spike_probability", "predicted_voltage_mV"))


def test_simulations_too_short_for_a_window_are_refused(make_shard, tmp_path):
    neuronio.write(make_shard(0, 1, 999, 3), tmp_path / "short.nc")
    with pytest.raises(TaskError, match="short.nc: simulations last 999 ms, expected at least 1000 ms"):
        NeuronIO(Settings()).read([tmp_path / "short.nc"])


def test_channels_that_are_not_excitatory_then_inhibitory_are_refused(make_shard, tmp_path):
    from dataclasses import replace

    shard = make_shard(0, 1, 1000, 3)
    neuronio.write(replace(shard, sign=-shard.sign), tmp_path / "swapped.nc")
    with pytest.raises(TaskError, match="swapped.nc: found other signs, expected excitatory"):
        NeuronIO(Settings()).read([tmp_path / "swapped.nc"])
