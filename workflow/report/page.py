"""The report: one HTML page that carries its figures, tables and equation files, and asks no other machine."""

import argparse
import base64
import json
import platform
from importlib.metadata import version
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
import yaml

PACKAGES = ("brian2", "neuron", "numpy", "scipy", "snakemake", "torch", "xarray")


def image(path):
    """A figure as a data URI, which keeps the names inside one SVG apart from those in another."""
    return "data:image/svg+xml;base64," + base64.b64encode(Path(path).read_bytes()).decode()


def rendered(template, **values):
    """A template's text with its values filled in and escaped; it may import others of its folder."""
    loader = jinja2.FileSystemLoader(template.parent)
    strict = {"autoescape": True, "undefined": jinja2.StrictUndefined}
    environment = jinja2.Environment(loader=loader, **strict, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template(template.name).render(values)


def scores(path):
    """The table of metrics, one row a model; scores are (mean, standard deviation) over seeds, None where undefined."""
    table = pd.read_csv(path)
    rows = []
    for name, group in table.groupby("name", sort=False):
        first = group.iloc[0]
        rows.append(
            {
                "name": name,
                "headline": "performance" in first["groups"].split(),
                "seeds": len(group),
                "steps": int(first["steps"]),
                "parameters": int(first["parameters_live"]),
                "flops": int(first["flops_per_step"]),
                "paper": {key: _given(first[f"paper_{key}"]) for key in ("auc", "voltage_rmse_mV")},
                **{
                    key: (_given(group[key].mean()), _given(group[key].std(ddof=1)))
                    for key in ("auc", "auc_few_spikes", "voltage_rmse_mV", "voltage_rmse_aligned_mV_few_spikes")
                },
            }
        )
    return rows


def differences(path):
    """The table of paired differences as rows, None where undefined; of AUC and of RMSE with at most 24 spikes."""
    table = pd.read_csv(path)
    kept = table[table["metric"].isin(["auc_few_spikes", "voltage_rmse_mV_few_spikes"])]
    return [{key: _given(value) for key, value in row.items()} for row in kept.to_dict("records")]


def costs(paths):
    """Time and memory by step, from Snakemake's benchmark files: rows with step, jobs, cpu_s, wall_s and rss_mb."""
    groups = {}
    for path in map(Path, paths):
        step = "generate" if path.parent.name in ("train", "valid", "test") else path.stem
        groups.setdefault(step, []).append(pd.read_csv(path, sep="\t", na_values="-").iloc[0])
    return [
        {
            "step": step,
            "jobs": len(rows),
            "cpu_s": float(np.nansum([row["cpu_time"] for row in rows])),
            "wall_s": float(np.nansum([row["s"] for row in rows])),
            "rss_mb": float(np.nanmax([row["max_rss"] for row in rows] + [0])),
        }
        for step, rows in groups.items()
    ]


def _given(value):
    return None if pd.isna(value) else value


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--template", required=True, type=Path)
    parser.add_argument("--configuration", required=True, type=json.loads, help="the whole configuration, as JSON")
    parser.add_argument("--summary", required=True, type=Path, help="what `sims check` says of the equation files")
    parser.add_argument("--metrics", required=True, help="CSV of workflow.tables.metrics")
    parser.add_argument("--paired", required=True, help="CSV of workflow.tables.paired")
    parser.add_argument("--figures", required=True, nargs="+", type=Path, help="SVG files")
    parser.add_argument("--card", required=True, type=Path, help="JSON of workflow.tables.data_card")
    parser.add_argument("--card-page", required=True, help="where the data card is, for the reader")
    parser.add_argument("--cross-check", required=True, type=Path, help="JSON of sims neuronio cross-check")
    parser.add_argument("--equations", required=True, nargs="+", type=Path)
    parser.add_argument("--sections", default=[], nargs="+", type=Path, help="HTML of the other studies")
    parser.add_argument("--costs", required=True, nargs="+", help="Snakemake's benchmark files")
    arguments = parser.parse_args()

    page = rendered(
        arguments.template,
        config=arguments.configuration,
        configuration=yaml.safe_dump(arguments.configuration, sort_keys=False, default_flow_style=None, width=110),
        card=json.loads(arguments.card.read_text()),
        card_page=arguments.card_page,
        cross_check=json.loads(arguments.cross_check.read_text()),
        scores=scores(arguments.metrics),
        differences=differences(arguments.paired),
        figures={path.stem: image(path) for path in arguments.figures},
        summary=arguments.summary.read_text(),
        equations={str(path): path.read_text() for path in dict.fromkeys(arguments.equations)},
        sections=[path.read_text() for path in arguments.sections],
        costs=costs(arguments.costs),
        versions={"Python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    )
    arguments.out.write_text(page)


if __name__ == "__main__":
    main()
