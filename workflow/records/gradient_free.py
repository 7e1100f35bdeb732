"""The study gradient_free: recovered parameters, reduced neurons against others, and its figures."""

import json

import pandas as pd

from workflow.record import figures

CAPTIONS = {
    "gradient_free_scores": "Scores on the test simulations against parameters, readout included; mean and standard "
    "deviation over seeds.",
    "gradient_free_cost": "Lowest validation loss so far against CPU time, validation included and compilation not: "
    "searches without gradients (solid) and descents (dotted).",
    "gradient_free_recovery": "Relative error of the parameter that is farthest from the one that made the traces.",
}


def facts(results):
    """Nothing beside its tables."""
    return {}


def pieces(folders):
    """What the README shows of its records, as Markdown by mark."""
    return {"gradient_free": "\n".join(map(table, folders)) + figures(folders[0], CAPTIONS)}


def table(folder):
    """The record's results as Markdown, means and standard deviations over seeds."""
    made = json.loads((folder / "provenance.json").read_text())
    found, recovery = pd.read_csv(folder / "metrics.csv"), pd.read_csv(folder / "recovery.csv")
    minutes, worst = 60 * sum(made["cpu_hours"].values()), recovery.loc[recovery["error"].idxmax()]
    lines = [
        f"`{made['command']}`",
        "",
        f"Cell {made['shown']}, scale {made['scale']}, code {made['code_version']}; {minutes:.1f} CPU minutes in all. "
        f"Recovery of {worst['parameters']:.0f} parameters in {worst['generation']:.0f} generations "
        f"({worst['evaluations']:.0f} evaluations, {worst['cpu_s']:.0f} CPU s): the farthest is {worst['error']:.1g} "
        f"from its true value (relative; the worst of {len(recovery)}).",
        "",
        "| fit | by | parameters | seeds | AUC | AUC, ≤ 24 spikes | voltage RMSE, mV | evaluations or steps | CPU s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, rows in found.groupby("name", sort=False):
        row = rows.iloc[0]
        work = row["evaluations"] if row["method"] == "evolution" else row["steps"]
        cells = [name, row["method"], row["parameters"], len(rows)]
        cells += [_spread(rows[score], 4) for score in ("auc", "auc_few_spikes")]
        cells += [_spread(rows["voltage_rmse_mV"], 3), f"{work:.0f}", f"{rows['cpu_s'].mean():.0f}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    spikes, simulations = found[["spikes", "simulations"]].iloc[0]
    return "\n".join(
        [*lines, "", f"Scores are over {spikes:.0f} output spikes of {simulations:.0f} test simulations.", ""]
    )


def _spread(values, digits):
    return f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else "")
