"""Keep what a run came to in results/record/, and put it into the README between its marks.

A record is a folder: metrics.csv, the pictures that the README shows, and provenance.json, which says by which command,
at which scale, on which cell, with which version of the code and at what cost it was made.
"""

import argparse
import json
import platform
import shutil
from pathlib import Path

import pandas as pd

from sims import sealed
from workflow.report.page import costs, scores

MARK = "<!-- record: {name} -->\n"
END = "<!-- /record -->\n"
SIMULATORS = {"neuron": "NEURON", "cable": "the cable solver"}


def provenance(command, scale, card, cost_files):
    """Where a record comes from, as plain data; card: of workflow.tables.data_card.  Costs in CPU hours by step."""
    return {
        "command": command,
        "scale": scale,
        "data": {name: ", ".join(values) for name, values in card["attributes"].items()},
        "channels": card["channels"],
        "splits": card["splits"],
        "statistics": card["statistics"],
        "cpu_hours": {row["step"]: round(row["cpu_s"] / 3600, 3) for row in costs(cost_files)},
        "python": platform.python_version(),
    }


def table(folder):
    """The record's results as Markdown."""
    made = json.loads((folder / "provenance.json").read_text())
    rows = {row["split"]: row for row in made["splits"]}
    scored = pd.read_csv(folder / "metrics.csv").iloc[0]
    lines = [
        "| model | live parameters | steps | AUC | AUC, ≤ 24 spikes | voltage RMSE, mV | paper: AUC, RMSE |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in scores(folder / "metrics.csv"):
        auc, few, rmse = (_mean(row[key]) for key in ("auc", "auc_few_spikes", "voltage_rmse_mV"))
        paper = ", ".join(_number(row["paper"][key]) for key in ("auc", "voltage_rmse_mV"))
        lines.append(f"| {row['name']} | {row['parameters']} | {row['steps']} | {auc} | {few} | {rmse} | {paper} |")
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
            "The paper's numbers are for the original data set, which is far larger, and 342,000 steps.",
            "",
        ]
    )


def picture(folder):
    """The record's pictures as Markdown."""
    made = json.loads((folder / "provenance.json").read_text())
    model = scores(folder / "metrics.csv")[-1]["name"]
    return (
        f"![A test simulation]({folder / 'trace.png'})\n\n"
        f"*The cell {made['data']['cell']} and its surrogate {model} on a test simulation that neither the weights "
        f"nor their choice have seen (`{made['command']}`). Below: the cell.*\n\n"
        f'<img alt="The cell" src="{folder / "cell.png"}" height="480">\n'
    )


def updated(readme, pieces):
    """The README's text with the pieces {name: Markdown} between their marks.

    Raises ValueError where a mark is missing.
    """
    for name, text in pieces.items():
        start = readme.index(MARK.format(name=name)) + len(MARK.format(name=name))
        readme = readme[:start] + text + readme[readme.index(END, start) :]
    return readme


def write_readme(readme, folder):
    """Put a record into a README file."""
    text = updated(readme.read_text(), {"picture": picture(folder), "table": table(folder)})
    sealed.replace(readme, text.encode())


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
    parser.add_argument("--metrics", required=True, type=Path)
    parser.add_argument("--pictures", required=True, nargs="+", type=Path)
    parser.add_argument("--card", required=True, type=Path, help="JSON of workflow.tables.data_card")
    parser.add_argument("--costs", required=True, nargs="+")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    card = json.loads(arguments.card.read_text())
    made = provenance(arguments.command, arguments.scale, card, arguments.costs)
    for source in (arguments.metrics, *arguments.pictures):
        shutil.copyfile(source, arguments.out / source.name)
    sealed.replace(arguments.out / "provenance.json", (json.dumps(made, indent=1) + "\n").encode())
    write_readme(arguments.readme, arguments.out)


if __name__ == "__main__":
    main()
