"""The study place_cells: memory errors and place-cell scores by activation, and its figures."""

import json

import pandas as pd

from workflow.record import figures

CAPTIONS = {
    "place_errors": "Left: RM error over learning on training maps (solid) and novel ones (dotted); inset: WM error on "
    "novel maps. Right: RM error on training maps after learning. Mean and standard deviation over seeds.",
    "place_scores": "Distributions of place-cell scores, and mean scores against RM errors with Spearman's rank "
    "correlation. Above, activations below zero are no firing; below, a neuron's lowest mean activation is its rate "
    "of zero.",
    "place_maps": "Rate maps of 64 neurons with the highest place-cell scores, from high to low.",
}
_SCORES = ("ffn_clipped", "ffn_shifted", "attention_clipped", "attention_shifted")


def facts(results):
    """Nothing beside its tables."""
    return {}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"place_cells": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown, means and standard deviations over seeds."""
    made, found = json.loads((folder / "provenance.json").read_text()), pd.read_csv(folder / "metrics.csv")
    minutes = 60 * sum(made["cpu_hours"].values())
    lines = [
        f"`{made['command']}`",
        "",
        f"Scale {made['scale']}, code {made['code_version']}; {minutes:.1f} CPU minutes in all.",
        "",
        "| activation | maps | learning rate | seeds | steps | RM error | RM, novel maps | WM error "
        "| WM, novel maps | feed-forward scores: clipped, shifted | attention's: clipped, shifted | CPU s of a fit "
        "|",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, rows in found.groupby("name", sort=False):
        row, errors = rows.iloc[0], ("rm_error", "rm_novel", "wm_error", "wm_novel")
        said = "GELU" if row["activation"] == "gelu" else f"α {row['alpha']:g}"
        scores = [f"{rows[name].mean():.3f}" for name in _SCORES]
        cells = [said, row["maps"], f"{row['learning_rate']:g}", len(rows), row["steps"]]
        cells += [_spread(rows[name]) for name in errors] + [", ".join(scores[:2]), ", ".join(scores[2:])]
        lines.append(f"| {' | '.join(map(str, cells))} | {rows['cpu_s'].mean():.0f} |")
    lines += [
        "",
        "| mean score against RM error | negative activations | fits | Spearman's r | p |",
        "|---|---|---|---|---|",
    ]
    for row in pd.read_csv(folder / "correlations.csv").itertuples():
        r, p = ("–", "–") if pd.isna(row.r) else (f"{row.r:.2f}", f"{row.p:.2g}")
        lines.append(f"| {row.neurons} | {row.convention} | {row.fits} | {r} | {p} |")
    return "\n".join([*lines, ""])


def _spread(values):
    return f"{values.mean():.3f}" + (f" ± {values.std():.3f}" if len(values) > 1 else "")
