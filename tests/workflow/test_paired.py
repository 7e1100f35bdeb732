"""Paired differences: that resampled scores are those of the simulations drawn, and what the intervals mean."""

import numpy as np
import pandas as pd
import pytest

from fitting.tasks import neuronio as task
from workflow.tables import paired

SIMULATIONS, MS = 12, 150


@pytest.fixture
def simulations():
    """(spike, target), lists of arrays over the same test simulations, one of which is silent."""
    generator = np.random.default_rng(0)
    spike = [(generator.random(MS) < 0.04).astype(np.uint8) for _ in range(SIMULATIONS)]
    spike[3][:] = 0
    return spike, [generator.normal(-67, 3, MS).astype(np.float32) for _ in range(SIMULATIONS)]


@pytest.fixture
def predict(simulations):
    """Maker of one fit's predictions (logit, voltage), the better the greater `signal`."""

    def make(signal, seed):
        generator, (spike, target) = np.random.default_rng(seed), simulations
        logit = [(generator.normal(size=MS) + signal * bins).astype(np.float32) for bins in spike]
        return logit, [v + generator.normal(0, 1 / signal, MS).astype(np.float32) for v in target]

    return make


@pytest.fixture
def contributed(simulations):
    """From predictions to what an evaluation keeps of them."""
    spike, target = simulations

    def make(logit, voltage):
        few = np.array([bins.sum() <= 6 for bins in spike])
        return task.contributions(logit, spike, voltage, target) | {"few_spikes": few}

    return make


def test_scores_of_a_resample_are_those_of_its_simulations_laid_end_to_end(simulations, predict, contributed):
    spike, target = simulations
    logit, voltage = predict(1, 0)
    kept = contributed(logit, voltage)
    draws = np.random.default_rng(1).integers(SIMULATIONS, size=(20, SIMULATIONS))
    found = paired.scores(kept, np.array([np.bincount(drawn, minlength=SIMULATIONS) for drawn in draws]))
    for suffix, allowed in (("", np.full(SIMULATIONS, True)), ("_few_spikes", kept["few_spikes"])):
        for place, drawn in enumerate(draws):
            chosen = [k for k in drawn if allowed[k]]
            exact = task.score(*([array[k] for k in chosen] for array in (logit, spike, voltage, target)))
            for metric in ("auc", "voltage_rmse_mV"):
                assert found[metric + suffix][place] == pytest.approx(exact[metric], rel=1e-10)


def test_differences_are_those_of_the_mean_over_seeds_and_intervals_hold_them(simulations, predict, contributed):
    spike, target = simulations
    fits = {"good": [predict(2.0, seed) for seed in range(3)], "poor": [predict(1.0, seed + 9) for seed in range(2)]}
    kept = {name: [contributed(*one) for one in seeds] for name, seeds in fits.items()}
    table = paired.compare(kept, [("good", "poor"), ("poor", "good"), ("good", "good")], seed=0)
    means = {
        name: np.mean([task.score(logit, spike, voltage, target)["auc"] for logit, voltage in seeds])
        for name, seeds in fits.items()
    }
    ahead, behind, itself = (
        rows.set_index("metric").loc["auc"] for _, rows in table.groupby(["model", "other"], sort=False)
    )
    assert ahead["difference"] == pytest.approx(means["good"] - means["poor"], rel=1e-10)
    assert 0 < ahead["low"] < ahead["difference"] < ahead["high"]
    assert behind["low"] == pytest.approx(-ahead["high"]) and (ahead["seeds"], ahead["other_seeds"]) == (3, 2)
    assert itself["low"] == itself["high"] == 0


def test_pairing_takes_out_what_makes_simulations_hard_for_both(contributed, simulations):
    """The same fit but for a little noise: the difference is known far better than either score."""
    generator, (spike, target) = np.random.default_rng(2), simulations
    logit = [generator.normal(size=MS) + 1.5 * bins for bins in spike]
    twin = [values + generator.normal(0, 0.05, MS) for values in logit]
    fits = {name: [contributed(values, target)] for name, values in (("one", logit), ("twin", twin))}
    row = paired.compare(fits, [("one", "twin")], seed=0).iloc[0]
    counts = np.random.default_rng(0).multinomial(SIMULATIONS, np.full(SIMULATIONS, 1 / SIMULATIONS), 2000)
    low, high = np.quantile(paired.scores(fits["one"][0], counts)["auc"], (0.025, 0.975))
    assert row["high"] - row["low"] < (high - low) / 4


def test_an_interval_covers_the_truth_as_often_as_it_says(contributed):
    """RMSE of two models whose errors have a common part, over repeated draws of 30 simulations."""
    generator, covered, repeats = np.random.default_rng(3), 0, 200
    for _ in range(repeats):
        hardness = generator.uniform(0.5, 2, (30, 1))
        one = {"bins": np.full(30, 40), "spikes": np.ones(30, int), "won": np.ones((30, 30))}
        one["few_spikes"] = np.full(30, True)
        errors = [(hardness * generator.normal(size=(30, 40)) * scale) ** 2 for scale in (1.0, 1.2)]
        fits = {name: [one | {"squared_error": error.sum(1)}] for name, error in zip("ab", errors, strict=True)}
        row = paired.compare(fits, [("b", "a")], seed=0, resamples=300).set_index("metric").loc["voltage_rmse_mV"]
        covered += row["low"] <= 0.2 * np.sqrt(np.mean(np.linspace(0.5, 2, 10001) ** 2)) <= row["high"]
    assert 0.88 <= covered / repeats <= 0.99


def test_where_nothing_spikes_a_difference_of_auc_is_undefined_and_that_of_rmse_is_not(contributed, simulations):
    simulations[0][:] = [np.zeros(MS, np.uint8)] * SIMULATIONS
    still = np.zeros((SIMULATIONS, MS))
    fits = {name: [contributed(list(still), list(still - 67 - off))] for off, name in enumerate("ab")}
    rows = paired.compare(fits, [("a", "b")], seed=0).set_index("metric")
    assert rows.loc["auc", ["difference", "low", "high"]].isna().all() and rows.loc["voltage_rmse_mV"].notna().all()


def test_other_test_simulations_are_refused(predict, contributed):
    fits = {"a": [contributed(*predict(1, 0))], "b": [contributed(*predict(1, 1))]}
    fits["b"][0]["spikes"] = fits["b"][0]["spikes"][::-1]
    with pytest.raises(paired.PairError, match="b: found other test simulations than those of a"):
        paired.compare(fits, [("a", "b")], seed=0)


def test_the_table_comes_from_the_files_of_evaluations(predict, contributed, tmp_path, run_module):
    paths = []
    for seed, name in enumerate(("a", "b", "b")):
        paths.append(tmp_path / name / f"seed{seed}" / "predictions.npz")
        paths[-1].parent.mkdir(parents=True)
        kept = {f"simulation_{key}": value for key, value in contributed(*predict(1, seed)).items()}
        np.savez(paths[-1], roc_false_positive=np.empty(0), **kept)
    for options, rows in ((["--pair", "a,b"], 4), ([], 0)):
        run_module("workflow.tables.paired", *(paths if options else []), *options, "--out", tmp_path / "paired.csv")
        assert len(pd.read_csv(tmp_path / "paired.csv")) == rows
