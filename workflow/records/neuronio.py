"""The study NeuronIO: its table, the picture that the README opens with, and its figures."""

import json

import pandas as pd

from workflow.record import figures
from workflow.report.page import differences, scores

CAPTIONS = {
    "performance": "Scores against live parameters: mean and standard deviation over seeds. Open symbols: what the "
    "papers print, on their own simulations.",
    "ablations": "AUC after changing one thing of one neuron; red: the neuron unchanged. Panels with other numbers of "
    "steps do not compare.",
    "curves": "Above: test AUC of whole fits to more data and of more steps. Below: their validation loss.",
}
SIMULATORS = {"neuron": "NEURON", "cable": "the cable solver"}


def facts(results):
    """What its provenance keeps of the data card, of workflow.tables.data_card."""
    card = results["data_card"]
    data = {name: ", ".join(values) for name, values in card["attributes"].items()}
    return {"data": data} | {name: card[name] for name in ("channels", "splits", "statistics")}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    tables = "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)
    return {"picture": picture(folders[0]), "neuronio": tables}


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


def _mean(pair):
    mean, spread = pair
    return _number(mean) if spread is None else f"{_number(mean)} ± {spread:.2g}"


def _number(value):
    return "–" if value is None or pd.isna(value) else f"{value:.4g}"
