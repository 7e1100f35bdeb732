"""One study's section of the report, from its figures and tables: HTML for workflow/report/page.py to put in."""

import argparse
import json
from pathlib import Path

import pandas as pd

from sims import sealed
from workflow.report.page import costs, image, rendered


def rows(path):
    """A CSV table as dicts, None where undefined."""
    table = pd.read_csv(path)
    return table.astype(object).where(table.notna(), None).to_dict("records")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--template", required=True, type=Path)
    parser.add_argument("--scale", required=True)
    parser.add_argument("--figures", required=True, nargs="+", type=Path, help="SVG files")
    parser.add_argument("--tables", required=True, nargs="+", type=Path, help="CSV files")
    parser.add_argument("--results", default=[], nargs="+", type=Path, help="JSON files")
    parser.add_argument("--equations", default=[], nargs="+", type=Path)
    parser.add_argument("--costs", required=True, nargs="+", help="Snakemake's benchmark files")
    arguments = parser.parse_args()
    text = rendered(
        arguments.template,
        scale=arguments.scale,
        figures={path.stem: image(path) for path in arguments.figures},
        tables={path.stem: rows(path) for path in arguments.tables},
        results={path.stem: json.loads(path.read_text()) for path in arguments.results},
        equations={str(path): path.read_text() for path in dict.fromkeys(arguments.equations)},
        costs=costs(arguments.costs),
    )
    sealed.replace(arguments.out, text.encode())


if __name__ == "__main__":
    main()
