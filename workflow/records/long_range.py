"""The study long_range: accuracy of every fit beside chance and the published numbers, and its figures."""

import json
from pathlib import Path

import pandas as pd

from workflow.record import figures

PUBLISHED = Path(__file__).resolve().parents[1] / "tables" / "published_long_range.csv"
CAPTIONS = {
    "long_range_bins": "Accuracy on spoken digits and on the sum of two against the size of a time bin, with 95 % "
    "intervals. Dashed: what the source prints on the official recordings, after many times as many steps. Dotted: "
    "chance.",
    "long_range_tau": "Accuracy of ELM neurons against the longest memory time constant that they start with. Dotted: "
    "chance.",
    "long_range_steps": "Accuracy on validation data while models learn. Dotted: chance.",
    "long_range_pathfinder": "Pathfinder: do both disks mark the ends of one dashed snake? Above: they do.",
}


def facts(results):
    """What its provenance keeps of results: nothing more."""
    return {}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"long_range": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown, the mean over seeds."""
    made, found = json.loads((folder / "provenance.json").read_text()), pd.read_csv(folder / "metrics.csv")
    published, hours = pd.read_csv(PUBLISHED), made["cpu_hours"]
    lines = [
        f"`{made['command']}`",
        "",
        f"Scale {made['scale']}, code {made['code_version']}; {60 * sum(hours.values()):.1f} CPU minutes in all.",
        "",
        "| fit | task | bin, ms | live parameters | steps | seeds | accuracy (95 %) | chance | CPU s a step | "
        "published accuracy |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, rows in found.groupby("name", sort=False):
        row, mean = rows.iloc[0], rows[["accuracy", "low", "high", "cpu_s_per_step", "chance"]].mean()
        bin_ms = "–" if pd.isna(row["bin_ms"]) else f"{row['bin_ms']:g}"
        same = published[(published["task"] == row["task"]) & (published["model"] == row["model"])]
        same = same[same["bin_ms"].isna() if pd.isna(row["bin_ms"]) else same["bin_ms"] == row["bin_ms"]]
        theirs = f"{same['accuracy'].iloc[0]:.3f}" if len(same) else "–"
        lines.append(
            f"| {row['method']} | {row['task']} | {bin_ms} | {row['parameters']} | {row['steps']} | {len(rows)} | "
            f"{mean['accuracy']:.3f} ({mean['low']:.3f} to {mean['high']:.3f}) | {mean['chance']:.3f} | "
            f"{mean['cpu_s_per_step']:.3f} | {theirs} |"
        )
    return "\n".join([*lines, ""])
