"""Keep what a run of a study came to in results/record/, and put it into the README between its marks.

A record is a folder, results/record/STUDY/SCALE: tables, pictures, and provenance.json, which says by which command, at
which scale, with which version of the code and at what cost it was made, and the facts that the study adds. What the
README shows of it is written in workflow/records/STUDY.py: `facts` of the results, plain data, and `pieces` of the
records that there are, those of SCALES in this order, as Markdown by mark. Pictures are those of the first.
"""

import argparse
import importlib
import json
import platform
import shutil
from pathlib import Path

from sims import sealed
from sims.ground_truth import code_version
from workflow.report.page import costs

MARK = "<!-- record: {name} -->\n"
END = "<!-- /record -->\n"
SCALES = ("paper", "long", "default")
STUDIES = sorted(path.stem for path in (Path(__file__).parent / "records").glob("*.py"))


def figures(folder, captions):
    """Those of the record's pictures that have a caption in {name: text}, as Markdown."""
    there = [(name, text) for name, text in captions.items() if (folder / f"{name}.png").exists()]
    return "".join(f"\n![{name}]({folder / name}.png)\n\n*{text}*\n" for name, text in there)


def kept(records):
    """The records that there are of one study, a folder, in the order in which the README shows them."""
    return [records / scale for scale in SCALES if (records / scale / "provenance.json").exists()]


def shown(records, study):
    """What the README shows of the records of a study, a folder: {mark: Markdown}, nothing where there are none."""
    folders = kept(records)
    return importlib.import_module(f"workflow.records.{study}").pieces(folders) if folders else {}


def updated(readme, pieces):
    """The README's text with the pieces {name: Markdown} between their marks.

    Raises ValueError where a mark is missing.
    """
    for name, text in pieces.items():
        start = readme.index(MARK.format(name=name)) + len(MARK.format(name=name))
        readme = readme[:start] + text + readme[readme.index(END, start) :]
    return readme


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--out", required=True, type=Path, help="folder of the record")
    parser.add_argument("--readme", required=True, type=Path, help="file to update")
    parser.add_argument("--command", required=True, help="what a reader would type for the same run")
    parser.add_argument("--scale", required=True)
    parser.add_argument("--shown", required=True, help="the fit in the pictures")
    parser.add_argument("--tables", required=True, nargs="+", type=Path, help="CSV files")
    parser.add_argument("--pictures", required=True, nargs="+", type=Path, help="PNG files")
    parser.add_argument("--results", default=[], nargs="+", type=Path, help="JSON files")
    parser.add_argument("--costs", required=True, nargs="+", help="Snakemake's benchmark files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = {path.stem: json.loads(path.read_text()) for path in arguments.results}
    made = {
        "command": arguments.command,
        "scale": arguments.scale,
        "shown": arguments.shown,
        "code_version": code_version(),
        **importlib.import_module(f"workflow.records.{arguments.study}").facts(results),
        "cpu_hours": {row["step"]: round(row["cpu_s"] / 3600, 4) for row in costs(arguments.costs)},
        "python": platform.python_version(),
    }
    for source in (*arguments.tables, *arguments.pictures):
        shutil.copyfile(source, arguments.out / source.name)
    sealed.replace(arguments.out / "provenance.json", (json.dumps(made, indent=1) + "\n").encode())
    text = updated(arguments.readme.read_text(), shown(arguments.out.parent, arguments.study))
    sealed.replace(arguments.readme, text.encode())


if __name__ == "__main__":
    main()
