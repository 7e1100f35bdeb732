"""Every figure script, from a small input to an SVG and a PNG, through its command line."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sims import neuronio
from workflow.figures import input_map, rates

PROJECT = Path(__file__).resolve().parents[2]
_SMALL_CELL_SEGMENTS = 72
SCRIPTS = sorted(path.stem for path in (PROJECT / "workflow" / "figures").glob("*.py") if path.stem != "style")


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
        case "statistics" | "rates":
            return _shards(folder, make_shard, segments=20)
        case "cell":
            return [_small_cell(folder), "equations/l5pc/cell.yaml"]
        case "input_map":
            return [_small_cell(folder), *_shards(folder, make_shard, segments=_SMALL_CELL_SEGMENTS, cell="small")]


def _draw(script, arguments, stem):
    command = [sys.executable, "-m", f"workflow.figures.{script}", *map(str, arguments), "--out", str(stem)]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert Path(f"{stem}.svg").read_text().rstrip().endswith("</svg>")
    assert Path(f"{stem}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_writes_its_figure_as_svg_and_png(script, tmp_path, make_shard):
    _draw(script, _inputs(script, tmp_path, make_shard), tmp_path / "figures" / script)


@pytest.mark.parametrize("script", ["statistics", "rates"])
def test_silent_shards_are_drawn_too(script, tmp_path, make_shard):
    _draw(script, _shards(tmp_path, make_shard, spikes=False, segments=20), tmp_path / script)


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
def test_silent_simulations_are_drawn_too(script, inputs, tmp_path):
    _draw(script, [inputs(tmp_path / "one" / "seed0", False)], tmp_path / script)


def test_the_same_input_draws_the_same_svg(tmp_path):
    inputs = [_history(tmp_path / "one" / "seed0")]
    for name in ("first", "second"):
        _draw("learning", inputs, tmp_path / name)
    assert (tmp_path / "first.svg").read_text() == (tmp_path / "second.svg").read_text()
