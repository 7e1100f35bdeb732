"""The study hypotheses: what each change does to the cell, and how hard it then is to imitate."""

import json

import pandas as pd

from workflow.record import figures

CAPTIONS = {
    "hypothesis_traces": "Somatic voltage in one simulation, the same input spikes for every hypothesis.",
    "hypothesis_scores": "Scores against the number of memories, with 95 % intervals over test simulations; right: the "
    "time constants that the largest neuron learned.",
    "hypothesis_cross": "The neuron fitted to one hypothesis (row), scored on another (column).",
}
KEPT = (
    "name",
    "runs",
    "reason",
    "question",
    "changes",
    "calibration",
    "unscaled",
    "difference",
    "test",
    "smallest_d_m",
)


def facts(results):
    """What its provenance keeps of the table, of workflow.tables.hypotheses."""
    found = results["hypotheses"]["hypotheses"]
    return {"hypotheses": [{key: each[key] for key in KEPT if key in each} for each in found]}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"hypotheses": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown, one row a hypothesis."""
    made, scores = json.loads((folder / "provenance.json").read_text()), pd.read_csv(folder / "scores.csv")
    minutes, names = 60 * sum(made["cpu_hours"].values()), list(dict.fromkeys(scores["model"]))
    lines = [
        f"`{made['command']}`",
        "",
        f"Scale {made['scale']}, code {made['code_version']}; {minutes:.0f} CPU minutes in all.",
        "",
        "| hypothesis | rate at the same inputs, Hz | excitation for 1 Hz | rate of the test simulations, Hz | "
        + " | ".join(f"AUC of {name} (95 %)" for name in names)
        + " | smallest d_m at 99 % of the best |",
        "|---" * (5 + len(names)) + "|",
    ]
    for each in made["hypotheses"]:
        if not each["runs"]:
            lines.append(f"| {each['name']} | cannot be simulated: {each['reason']} |" + " – |" * (3 + len(names)))
            continue
        rates = [_rate(each[of]) for of in ("unscaled", "test")]
        calibrated = f"× {each['calibration']['scale']:.3g}" + (
            "" if each["calibration"]["reached"] else ", not reached"
        )
        rows = scores[scores["hypothesis"] == each["name"]].set_index("model")
        cells = [_interval(rows.loc[name]) for name in names]
        lines.append(
            f"| {' | '.join([each['name'], rates[0], calibrated, rates[1], *cells])} | {each['smallest_d_m']} |"
        )
    return "\n".join([*lines, ""])


def _rate(found):
    error = found["rate_error_Hz"]
    return f"{found['rate_Hz']:.2f}" + ("" if error is None else f" ± {error:.2f}")


def _interval(row):
    return "–" if pd.isna(row["auc"]) else f"{row['auc']:.4f} ({row['auc_low']:.4f} to {row['auc_high']:.4f})"
