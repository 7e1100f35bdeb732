"""Every figure script, from a small input to an SVG and a PNG, through its command line."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fitting import gradient, models
from fitting.settings import as_plain
from fitting.tasks.neuronio import NeuronIO
from sims import neuronio
from sims.stimuli import digits
from workflow.figures import ablations, input_map, memory, performance, rates

PROJECT = Path(__file__).resolve().parents[2]
_SMALL_CELL_SEGMENTS = 72
# Figures of other studies are drawn in test_recall.py, test_working_memory.py, test_place_cells.py, test_hypotheses.py,
# test_long_range.py and test_gradient_free.py.
OTHERS = ("style", "forgetting", "time_constants", "lineages")
SCRIPTS = sorted(
    path.stem
    for path in (PROJECT / "workflow" / "figures").glob("*.py")
    if path.stem not in OTHERS
    and not path.stem.startswith(("recall", "place", "hypothesis", "long_range", "gradient_free"))
)


def _predictions(folder, spikes=True):
    generator = np.random.default_rng(0)
    time = np.arange(650, 1500)
    voltage = -67 + 3 * np.sin(time / 60)
    rising = np.linspace(0, 1, 20) if spikes else np.empty(0)
    folder.mkdir(parents=True)
    np.savez(
        folder / "predictions.npz",
        roc_false_positive=rising,
        roc_true_positive=rising**0.2,
        trace_simulation=0,
        trace_time_ms=time,
        trace_spike=((time % 200 == 0) & spikes).astype(np.uint8),
        trace_spike_probability=generator.random(len(time)).astype(np.float32),
        trace_voltage_mV=voltage,
        trace_predicted_voltage_mV=voltage + generator.normal(0, 0.5, len(time)),
    )
    return folder / "predictions.npz"


def _history(folder, defined=True):
    folder.mkdir(parents=True)
    steps = np.arange(1, 21)
    table = {"step": steps, "loss": 1 / steps, "valid_loss": 1.1 / steps, "valid_auc": 1 - 0.3 / steps}
    pd.DataFrame(table if defined else table | {"valid_auc": None}).to_csv(folder / "history.csv", index=False)
    return folder / "history.csv"


def _digits(folder):
    """Four recordings of three digits, one of them silent."""
    draw = np.random.default_rng(0)
    events = [(draw.uniform(0, 0.5, size), draw.integers(700, size=size)) for size in (200, 100, 0, 300)]
    digits.write(digits.gather(events, [3, 3, 5, 19], [0, 4, 5, 1]), folder / "digits.h5")
    return folder / "digits.h5"


def _small_cell(folder):
    """A soma, a basal dendrite, and an apical one that forks at 700 µm."""
    rows = ["1 1 0 0 0 8 -1", "2 1 0 16 0 8 1", "3 3 0 -20 0 1 1", "4 3 0 -120 0 1 3"]
    rows += ["5 4 0 30 0 2 2", "6 4 0 700 0 1.5 5", "7 4 60 1000 0 0.5 6", "8 4 -60 1000 0 0.5 6"]
    path = folder / "small.swc"
    path.write_text("\n".join(rows) + "\n")
    return path


def _shards(folder, make_shard, spikes=True, **options):
    """Two shards, the second of longer simulations."""
    paths = [folder / f"{number:03d}.nc" for number in range(2)]
    for number, path in enumerate(paths):
        shard = make_shard(seed=number, simulations=2, duration_ms=1000 + 500 * number, **options)
        silent = {"spike_time": shard.spike_time[:0], "spike_start": 0 * shard.spike_start}
        neuronio.write(shard if spikes else dataclasses.replace(shard, **silent), path)
    return paths


MODELS = [
    {"name": "plain", "own": {}, "groups": ["performance", "ablation_lambda", "ablation_tau_m_range", "curve_data"]},
    {"name": "strong", "own": {"lambda_value": 10}, "groups": ["ablation_lambda"]},
    {"name": "slow", "own": {"tau_m_max": 500.0}, "groups": ["ablation_tau_m_range"]},
    {"name": "little", "own": {}, "groups": ["curve_data"]},
    {"name": "large", "own": {"d_m": 50}, "groups": ["performance"]},
    {"name": "lstm", "own": {"hidden": 2}, "groups": ["performance"]},
]
for _entry in MODELS:
    _entry["settings"] = {"lambda_value": 5, "tau_m_min": 1, "tau_m_max": 150} | _entry["own"]


def _metrics(folder, defined=True):
    """A table of scores of MODELS, two seeds of the first and one of each other."""
    rows = []
    for place, name in enumerate(["plain", *(entry["name"] for entry in MODELS)]):
        entry = next(entry for entry in MODELS if entry["name"] == name)
        score = 0.98 + 0.002 * place if defined else None
        row = {"name": name, "model": "lstm" if name == "lstm" else "branch_elm", "groups": " ".join(entry["groups"])}
        row |= {"seed": place == 1, "steps": 40_000, "hours": 1 / (1 + place), "parameters_live": 1000 * 3**place}
        row |= {"flops_per_step": 5000 * 3**place, "auc_few_spikes": score}
        rows.append(row | {"voltage_rmse_aligned_mV_few_spikes": 0.8 - 0.03 * place})
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
    return folder / "metrics.csv"


def _fit(folder, kind="branch_elm"):
    """A finished fit of no steps at all, to 40 channels."""
    task_settings = as_plain(NeuronIO.Settings())
    training = gradient.Training(1, 1, 0.1, 0, None, None)
    kind_settings = models.find(kind).Settings(d_m=3, **({"d_tree": 5, "d_brch": 9} if kind == "branch_elm" else {}))
    model = gradient.build(models.find(kind), kind_settings, 40, 2, training)
    config = {"task": "neuronio", "task_settings": task_settings, "model": kind}
    config |= {"model_settings": as_plain(kind_settings), "num_input": 40, "num_output": 2}
    batch = torch.zeros(1, 10, 40), (torch.zeros(1, 10), torch.zeros(1, 10))
    gradient.fit(
        model,
        lambda generator, size: batch,
        NeuronIO(NeuronIO.Settings(burn_in_ms=0)).loss,
        lambda model: {"loss": 1.0, "auc": None},
        training,
        folder,
        config,
        show_progress=False,
    )
    return folder


def _inputs(script, folder, make_shard):
    """Command-line arguments for one script."""
    seeds = [folder / model / seed for model in ("one", "two") for seed in ("seed0", "seed1")]
    match script:
        case "trace":
            return [_predictions(seeds[0]), "--label", "one"]
        case "roc":
            return [_predictions(seed) for seed in seeds]
        case "learning":
            return [_history(seed) for seed in seeds]
        case "performance":
            return [_metrics(folder), "--published", "workflow/tables/published.csv"]
        case "ablations":
            return [_metrics(folder), "--models", json.dumps(MODELS)]
        case "curves":
            return [
                _metrics(folder),
                "--histories",
                *(_history(folder / name / "seed0") for name in ("plain", "little")),
            ]
        case "memory":
            return [_fit(folder / "fit"), _shards(folder, make_shard, segments=20)[1]]
        case "statistics" | "rates":
            return _shards(folder, make_shard, segments=20)
        case "digits":
            return [_digits(folder), _digits(folder), "--names", "espeak", "fsdd", "--channels", "140"]
        case "cell":
            return [_small_cell(folder), "equations/l5pc/cell.yaml"]
        case "input_map":
            return [_small_cell(folder), *_shards(folder, make_shard, segments=_SMALL_CELL_SEGMENTS, cell="small")]


@pytest.fixture
def draw(run_module):
    """Runner of a script of workflow/figures; fails unless it writes an SVG and a PNG."""

    def run(script, arguments, stem):
        run_module(f"workflow.figures.{script}", *arguments, "--out", stem)
        assert Path(f"{stem}.svg").read_text().rstrip().endswith("</svg>")
        assert Path(f"{stem}.png").read_bytes().startswith(b"\x89PNG")

    return run


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_writes_its_figure_as_svg_and_png(draw, script, tmp_path, make_shard):
    draw(script, _inputs(script, tmp_path, make_shard), tmp_path / "figures" / script)


@pytest.mark.parametrize("script", ["statistics", "rates"])
def test_silent_shards_are_drawn_too(draw, script, tmp_path, make_shard):
    draw(script, _shards(tmp_path, make_shard, spikes=False, segments=20), tmp_path / script)


@pytest.mark.parametrize("script", ["performance", "ablations", "curves"])
def test_undefined_scores_are_drawn_too(draw, script, tmp_path, make_shard):
    arguments = _inputs(script, tmp_path, make_shard)
    _metrics(tmp_path, defined=False)
    draw(script, arguments, tmp_path / script)


def test_performance_is_drawn_against_operations_too(draw, tmp_path, make_shard):
    arguments = _inputs("performance", tmp_path, make_shard)
    draw("performance", [*arguments, "--against", "flops_per_step"], tmp_path / "flops")


def test_performance_has_the_headline_alone_and_means_over_seeds(tmp_path):
    found = performance.averages(pd.read_csv(_metrics(tmp_path)), "parameters_live")
    assert {model: list(rows.index.get_level_values("name")) for model, rows in found.items()} == {
        "branch_elm": ["plain", "large"],
        "lstm": ["lstm"],
    }
    plain = found["branch_elm"].iloc[0]
    assert plain["auc"] == pytest.approx(0.981) and plain["auc_sd"] == pytest.approx(0.002 / 2**0.5)
    assert np.isnan(found["lstm"].iloc[0]["auc_sd"])


def test_the_papers_operations_are_those_of_one_step():
    published = pd.read_csv(PROJECT / "workflow" / "tables" / "published.csv")
    lstm = performance.theirs(published, "flops_per_step").set_index(["model", "settings"]).loc[("lstm", "hidden=50")]
    # A multiplication and an addition for each of its weights.
    assert lstm["x"] == pytest.approx(2 * 265_900, rel=0.01)
    assert performance.theirs(published, "parameters_live")["x"].between(1000, 2e7).all()


def test_a_panel_of_ablations_holds_its_group_by_rising_values(tmp_path):
    found = ablations.panels(pd.read_csv(_metrics(tmp_path)), MODELS)
    assert list(found) == ["ablation_lambda", "ablation_tau_m_range"]
    assert [(text, len(scores), unchanged) for text, scores, _, unchanged in found["ablation_lambda"]] == [
        ("5", 2, True),
        ("10", 1, False),
    ]
    assert [text for text, *_ in found["ablation_tau_m_range"]] == ["1–150", "1–500"]


@pytest.mark.parametrize("kind", ["branch_elm", "elm"])
def test_what_is_shown_of_a_neurons_inside_is_what_it_computed(kind, tmp_path, make_shard):
    folder, shard = _fit(tmp_path / "fit", kind), _shards(tmp_path, make_shard, segments=20)[1]
    inside = memory.look(folder, shard)
    model, _ = gradient.load(folder, models.find)
    start, length = inside.time_ms[0], len(inside.time_ms)
    assert length == 1000 and start >= 500
    with torch.no_grad():
        outputs = model.readout(torch.from_numpy(inside.memories)).numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-outputs[:, 0])), inside.spike_probability, rtol=1e-5)
    read = neuronio.read(shard)
    within = [(t >= start) & (t < start + length) for t in (read.events(k)[0] for k in range(read.simulations))]
    assert len(inside.event_time) in [each.sum() for each in within]
    rising = np.diff(np.nan_to_num(inside.weights, nan=-9), axis=1) > 0
    assert not (rising & (inside.weights[:, 1:] > 0) & (inside.weights[:, :-1] < 0)).any()
    live = inside.weights[np.isfinite(inside.weights)]
    assert inside.weights.shape == ((5, 9) if kind == "branch_elm" else (2, 20)) and set(np.sign(live)) == {-1, 1}


def test_rates_over_time_are_those_of_the_events(tmp_path, make_shard):
    found, example = rates.gather(_shards(tmp_path, make_shard, segments=20))
    shards = [neuronio.read(tmp_path / f"{number:03d}.nc") for number in range(2)]
    first = sum(np.count_nonzero(shard.event_time < 1000) for shard in shards)
    second = np.count_nonzero(shards[1].event_time >= 1000)
    channels = {key: np.sum((shards[0].sign == key[0]) & (shards[0].region == key[1])) for key in found.inputs}
    per_bin = sum(rate * channels[key] for key, rate in found.inputs.items()) * rates.INPUT_BIN / 1000
    assert per_bin[: 1000 // rates.INPUT_BIN].sum() * 4 == pytest.approx(first)
    assert per_bin[1000 // rates.INPUT_BIN :].sum() * 2 == pytest.approx(second)
    assert len(example.spike_time) and example.rates.output.sum() * rates.OUTPUT_BIN / 1000 == len(example.spike_time)


def test_a_map_of_another_cells_inputs_is_refused(tmp_path, make_shard):
    with pytest.raises(neuronio.ShardError, match="40 channels of the cell leaky, expected 40 of small"):
        input_map.gather(_shards(tmp_path, make_shard, segments=20), "small", 40)


@pytest.mark.parametrize("script, inputs", [("trace", _predictions), ("roc", _predictions), ("learning", _history)])
def test_silent_simulations_are_drawn_too(draw, script, inputs, tmp_path):
    draw(script, [inputs(tmp_path / "one" / "seed0", False)], tmp_path / script)


def test_the_same_input_draws_the_same_svg(draw, tmp_path):
    inputs = [_history(tmp_path / "one" / "seed0")]
    for name in ("first", "second"):
        draw("learning", inputs, tmp_path / name)
    assert (tmp_path / "first.svg").read_text() == (tmp_path / "second.svg").read_text()
