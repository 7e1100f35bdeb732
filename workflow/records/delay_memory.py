"""The study delay_memory: every listed network, then capacities, and its figures."""

import json

import pandas as pd

from workflow.figures.recall_capacity import ENOUGH, limit
from workflow.record import figures

CAPTIONS = {
    "recall": "Left: one pattern's spikes (circles) and those that the network emits (dots); shaded: the cue. Right: "
    "F1 in stretches of D steps from the cue on.",
    "recall_robustness": "F1 of the first 16 patterns over bins that nothing is imposed on, when the cue is damaged, "
    "neurons are silenced or noise is added.",
    "recall_sweeps": "1 - F1 against one parameter with the others held. Grey: what the source prints, for training of "
    "its own at N 1024; a loss of zero is drawn at 1e-5.",
    "recall_capacity": "Left: F1 against the number of patterns. Right: the most patterns at F1 of at least 0.99, of "
    "those tried, against the limit of Gardner's theory, a landmark and no bound.",
}


def facts(results):
    """What its provenance keeps of the replay, of workflow.tables.replay."""
    return {"replay": results["replay"]}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"delay_memory": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown: every listed network, then capacities."""
    made, found = json.loads((folder / "provenance.json").read_text()), pd.read_csv(folder / "metrics.csv")
    replay, listed = made["replay"], found[found["sweep"].isna()]
    first, hours = listed.iloc[0], made["cpu_hours"]
    lines = [
        f"`{made['command']}`",
        "",
        f"D {first['D']}, p_A {first['p_A']:g} where N is {first['N']}, scale {made['scale']}, "
        f"code {made['code_version']}; {60 * sum(hours.values()):.1f} CPU minutes in all. The weights of "
        f"{made['shown']} as N × N × D delayed synapses of Brian2: {replay['in_both']} of {replay['spikes']} spikes in "
        f"{replay['trials']} patterns are those of its own run, which had {replay['spikes_of_the_fit']}.",
        "",
        "| network | N, T, M | θ | first weights | margin | steps of backpropagation | F1 before them | F1 | "
        "precision | patterns without a mistake | CPU s of learning |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for _, rows in listed.groupby("name", sort=False):
        row, mean = rows.iloc[0], rows[["f1_before_steps", "f1", "precision", "cpu_s"]].mean()
        precision = "–" if pd.isna(mean["precision"]) else f"{mean['precision']:.4f}"
        lines.append(
            f"| {row['name']} | {row['N']}, {row['T']}, {row['M']} | {row['theta']:g} | {row['first']} | "
            f"{row['margin']:g} | {row['steps']} | {mean['f1_before_steps']:.4f} | {mean['f1']:.4f} | "
            f"{precision} | {rows['perfect'].sum()} of {rows['patterns'].sum()} | {mean['cpu_s']:.1f} |"
        )
    return "\n".join([*lines, *_capacities(found[found["groups"] == "capacity"]), ""])


def _capacities(found):
    """Lines of a table: the most patterns that each network was seen to hold."""
    if found.empty:
        return []
    lines = [
        "",
        f"| N | D | T | p_A | most patterns at F1 ≥ {ENOUGH:g} | fewest below | limit of Gardner's theory |",
        "|---|---|---|---|---|---|---|",
    ]
    for _, rows in found.groupby("sweep", sort=False):
        sizes, f1 = [rows.iloc[0][name] for name in ("N", "D", "T", "p_A")], rows.groupby("M")["f1"].mean()
        held, lost = f1.index[f1 >= ENOUGH], f1.index[f1 < ENOUGH]
        most = f"{held.max()} ({f1[held.max()]:.4f})" if len(held) else "–"
        fewest = f"{lost.min()} ({f1[lost.min()]:.4f})" if len(lost) else "–"
        lines.append(f"| {' | '.join(f'{size:g}' for size in sizes)} | {most} | {fewest} | {limit(*sizes):.0f} |")
    return lines
