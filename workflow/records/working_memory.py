"""The study working_memory: accuracy after each silence, where the curves cross, and its figures."""

import json

import pandas as pd

from workflow.figures.forgetting import crossing, curves, delays
from workflow.record import figures

CAPTIONS = {
    "digits": "Test digits as spikes of a cochlea, and the mean rate of every channel.",
    "forgetting": "Accuracy on test digits against the silence before the answer; means over seeds, bars: their "
    "standard deviation. Right: what each ingredient is worth.",
    "time_constants": "Shares of neurons whose learnt time constant is below; grey: 50 ms.",
    "lineages": "Left: validation loss of every member of a population, joined to its parent's; red: ancestors of the "
    "best. Right: their numbers.",
}


def facts(results):
    """What its provenance keeps of the replay, of python -m fitting replay."""
    return {"replay": results["replay"]}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"working_memory": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown: every network, then where the reference overtakes the others."""
    made, found = json.loads((folder / "provenance.json").read_text()), pd.read_csv(folder / "metrics.csv")
    replay, delay, shown = made["replay"], delays(found), made["shown"]
    lines = [
        f"`{made['command']}`",
        "",
        f"Scale {made['scale']}, {found['recordings'].iloc[0]} test digits, code {made['code_version']}; "
        f"{60 * sum(made['cpu_hours'].values()):.1f} CPU minutes in all. In Brian2 "
        f"{100 * replay['equal_spikes']:.3f} % of {shown}'s {replay['spikes']} spikes in {replay['recordings']} trials "
        f"are at the same step; accuracy {replay['accuracy']:.3f} here and {replay['brian2_accuracy']:.3f} there.",
        "",
        f"| accuracy, % after a silence of … inputs | {' | '.join(f'{d:g}' for d in delay)} | seeds | median τ, ms | "
        "τ above 50 ms |",
        "|" + "---|" * (len(delay) + 4),
    ]
    named, mean = {}, found.groupby("name", sort=False)
    for group in ("delays", "ingredients"):
        named = curves(found, group) | named
    for name, rows in mean:
        accuracy, sd = named[name]
        several = len(rows) > 1
        cells = [f"{100 * a:.1f}" + (f" ± {100 * s:.1f}" if several else "") for a, s in zip(accuracy, sd, strict=True)]
        tau = f"{rows['tau_median_ms'].mean():.0f} | {100 * rows['tau_above_50_ms'].mean():.0f} %"
        lines.append(f"| {name} | {' | '.join(cells)} | {len(rows)} | {tau} |")
    where = {name: crossing(delay, named[shown][0], named[name][0]) for name in curves(found, "delays")}
    where = {name: value for name, value in where.items() if name != shown}
    words = [f"{name} {'nowhere' if value is None else f'{value:.2f}'}" for name, value in where.items()]
    return "\n".join([*lines, "", f"{shown} is ahead for good from a silence of … inputs: {', '.join(words)}.", ""])
