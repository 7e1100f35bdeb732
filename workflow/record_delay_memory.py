"""Keep what a run of the study delay_memory came to in results/record/delay_memory/SCALE, and put it into the README.

As of workflow/record.py, a record has tables, pictures and provenance.json; the README shows the tables of all scales
that there are, and the pictures of the first, between the marks of delay_memory.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import pandas as pd

from sims import sealed
from sims.ground_truth import code_version
from workflow.figures.recall_capacity import ENOUGH, limit
from workflow.record import figures, kept, updated
from workflow.report.page import costs

MARK = "delay_memory"
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


def piece(records):
    """What the README shows of the study's records, a folder, as Markdown; empty where there are none."""
    folders = kept(records)
    return "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS) if folders else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="folder of the record")
    parser.add_argument("--readme", required=True, type=Path, help="file to update")
    parser.add_argument("--command", required=True, help="what a reader would type for the same run")
    parser.add_argument("--scale", required=True)
    parser.add_argument("--shown", required=True, help="the network of the raster and of the replay")
    parser.add_argument("--metrics", required=True, type=Path, help="CSV of workflow.tables.recall")
    parser.add_argument("--replay", required=True, type=Path, help="JSON of workflow.tables.replay")
    parser.add_argument("--pictures", required=True, nargs="+", type=Path)
    parser.add_argument("--costs", required=True, nargs="+", help="Snakemake's benchmark files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    made = {
        "command": arguments.command,
        "scale": arguments.scale,
        "shown": arguments.shown,
        "code_version": code_version(),
        "replay": json.loads(arguments.replay.read_text()),
        "cpu_hours": {row["step"]: round(row["cpu_s"] / 3600, 4) for row in costs(arguments.costs)},
        "python": platform.python_version(),
    }
    for source in (arguments.metrics, *arguments.pictures):
        shutil.copyfile(source, arguments.out / source.name)
    sealed.replace(arguments.out / "provenance.json", (json.dumps(made, indent=1) + "\n").encode())
    text = updated(arguments.readme.read_text(), {MARK: piece(arguments.out.parent)})
    sealed.replace(arguments.readme, text.encode())


if __name__ == "__main__":
    main()
