"""Keep what a run came to in results/record/, and put it into the README between its marks.

A record is a folder, results/record/STUDY/SCALE: metrics.csv, paired.csv, pictures, and provenance.json, which says by
which command, at which scale, on which cell, with which version of the code and at what cost it was made. The README
shows the tables of all scales in SCALES that there are, and the pictures of the first.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import pandas as pd

from sims import sealed
from workflow.report.page import costs, differences, scores

MARK = "<!-- record: {name} -->\n"
END = "<!-- /record -->\n"
SCALES = ("paper", "long", "default")
CAPTIONS = {
    "performance": "Scores against live parameters: mean and standard deviation over seeds. Open symbols: what the "
    "papers print, on their own simulations.",
    "ablations": "AUC after changing one thing of one neuron; red: the neuron unchanged. Panels with other numbers of "
    "steps do not compare.",
    "curves": "Above: test AUC of whole fits to more data and of more steps. Below: their validation loss.",
}
SIMULATORS = {"neuron": "NEURON", "cable": "the cable solver"}


def provenance(command, scale, shown, card, cost_files):
    """Where a record comes from, as plain data; card: of workflow.tables.data_card.  Costs in CPU hours by step.

    shown: the model in its pictures, with which the others are compared.
    """
    return {
        "command": command,
        "scale": scale,
        "shown": shown,
        "data": {name: ", ".join(values) for name, values in card["attributes"].items()},
        "channels": card["channels"],
        "splits": card["splits"],
        "statistics": card["statistics"],
        "cpu_hours": {row["step"]: round(row["cpu_s"] / 3600, 3) for row in costs(cost_files)},
        "python": platform.python_version(),
    }


def table(folder):
    """The record's results as Markdown, headline models only."""
    made = json.loads((folder / "provenance.json").read_text())
    rows = {row["split"]: row for row in made["splits"]}
    scored = pd.read_csv(folder / "metrics.csv").iloc[0]
    compared = differences(folder / "paired.csv") if (folder / "paired.csv").exists() else []
    compared = {
        row["model"]: f"{row['difference']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})".replace("-", "−")
        for row in compared
        if row["metric"] == "auc_few_spikes" and row["other"] == made["shown"] and row["low"] is not None
    }
    lines = [
        "| model | live parameters | operations a step | steps | AUC | AUC, ≤ 24 spikes | voltage RMSE, mV | "
        f"AUC, ≤ 24 spikes, minus that of {made['shown']} (95 %) | paper: AUC, RMSE |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in scores(folder / "metrics.csv"):
        if row["headline"]:
            auc, few, rmse = (_mean(row[key]) for key in ("auc", "auc_few_spikes", "voltage_rmse_mV"))
            paper = ", ".join(_number(row["paper"][key]) for key in ("auc", "voltage_rmse_mV"))
            cells = row["name"], row["parameters"], row["flops"], row["steps"], auc, few, rmse
            lines.append(f"| {' | '.join(map(str, cells))} | {compared.get(row['name'], '–')} | {paper} |")
    train, test = rows["train"], rows["test"]
    hours, simulator = made["cpu_hours"], SIMULATORS.get(made["data"]["backend"], made["data"]["backend"])
    return "\n".join(
        [
            f"`{made['command']}`",
            "",
            f"Cell {made['data']['cell']}, scale {made['scale']}, {simulator} at dt {made['data']['dt_ms']} ms, code "
            f"{made['data']['code_version']}: {train['simulations']} training and {test['simulations']} test "
            f"simulations, {test['rate']:.2f} output spikes a second in the latter; {sum(hours.values()):.2f} CPU "
            f"hours in all, {hours['generate']:.2f} of them in {simulator}.",
            "",
            *lines,
            "",
            f"Scores are over {int(scored['spikes'])} output spikes of {int(scored['simulations'])} test simulations. "
            "The paper's numbers are for the original data set, and 342,000 steps.",
            "",
        ]
    )


def picture(folder):
    """What the README opens with, as Markdown."""
    made = json.loads((folder / "provenance.json").read_text())
    return (
        f"![A test simulation]({folder / 'trace.png'})\n\n"
        f"*The cell {made['data']['cell']} and its surrogate {made['shown']} on a test simulation that neither the "
        f"weights nor their choice have seen (`{made['command']}`).*\n\n"
        f'<img alt="The cell" src="{folder / "cell.png"}" height="480">\n'
    )


def figures(folder, captions):
    """Those of the record's pictures that have a caption in {name: text}, as Markdown."""
    there = [(name, text) for name, text in captions.items() if (folder / f"{name}.png").exists()]
    return "".join(f"\n![{name}]({folder / name}.png)\n\n*{text}*\n" for name, text in there)


def kept(records):
    """The records that there are of one study, a folder, in the order in which the README shows them."""
    return [records / scale for scale in SCALES if (records / scale / "provenance.json").exists()]


def pieces(records):
    """What the README shows of the records of one study, a folder: {mark: Markdown}, nothing where there are none."""
    folders = kept(records)
    if not folders:
        return {}
    return {"picture": picture(folders[0]), "table": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def updated(readme, pieces):
    """The README's text with the pieces {name: Markdown} between their marks.

    Raises ValueError where a mark is missing.
    """
    for name, text in pieces.items():
        start = readme.index(MARK.format(name=name)) + len(MARK.format(name=name))
        readme = readme[:start] + text + readme[readme.index(END, start) :]
    return readme


def _mean(pair):
    mean, spread = pair
    return _number(mean) if spread is None else f"{_number(mean)} ± {spread:.2g}"


def _number(value):
    return "–" if value is None or pd.isna(value) else f"{value:.4g}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="folder of the record")
    parser.add_argument("--readme", required=True, type=Path, help="file to update")
    parser.add_argument("--command", required=True, help="what a reader would type for the same run")
    parser.add_argument("--scale", required=True)
    parser.add_argument("--shown", required=True, help="the model in the pictures, the others' reference")
    parser.add_argument("--tables", required=True, nargs="+", type=Path)
    parser.add_argument("--pictures", required=True, nargs="+", type=Path)
    parser.add_argument("--card", required=True, type=Path, help="JSON of workflow.tables.data_card")
    parser.add_argument("--costs", required=True, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    card = json.loads(arguments.card.read_text())
    made = provenance(arguments.command, arguments.scale, arguments.shown, card, arguments.costs)
    for source in (*arguments.tables, *arguments.pictures):
        shutil.copyfile(source, arguments.out / source.name)
    sealed.replace(arguments.out / "provenance.json", (json.dumps(made, indent=1) + "\n").encode())
    text = updated(arguments.readme.read_text(), pieces(arguments.out.parent))
    sealed.replace(arguments.readme, text.encode())


if __name__ == "__main__":
    main()
