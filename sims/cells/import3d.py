"""NEURON's Import3d in a process of its own: python -m sims.cells.import3d READER FILE OUT.json.

Where its parser meets a mistake it stops the interpreter of hoc half-way, after which NEURON's stack is no longer in
order and a later call may abort Python. The reading process is therefore thrown away after each file, and the caller's
NEURON never knows of it.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from sims.cells.morphology_text import MorphologyError

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 300  # s; cell1 takes one


def imported_sections(reader, text, path):
    """The sections that Import3d makes of a text.

    reader: Import3d_Neurolucida3 or Import3d_SWC_read.  text: the file's content.  path: its name, for messages.
    Returns a list of (name, parent's name or None, place on the parent, [[x, y, z, diameter], …]) in µm, in the order
    soma, dend, apic, axon, others.  Raises MorphologyError where Import3d gives up.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy, out = Path(folder) / "morphology", Path(folder) / "sections.json"
        copy.write_text(text, encoding="latin-1", newline="\n")
        command = [sys.executable, "-m", "sims.cells.import3d", reader, copy, out]
        try:
            run = subprocess.run(
                command, cwd=PROJECT, capture_output=True, text=True, errors="replace", timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            raise MorphologyError(f"{path}: NEURON's Import3d did not finish in {PATIENCE} s") from None
        stopped = re.search(r"^parse error\n.*\nline (\d+): (.*)$", run.stdout, re.MULTILINE)
        if run.returncode == 0 and not stopped:
            return json.loads(out.read_text())
    if stopped:
        raise MorphologyError(
            f"{path}, line {stopped[1]}: {stopped[2].strip()[:60]!r} found, "
            "expected Neurolucida's grammar of contours and trees"
        )
    raise MorphologyError(
        f"{path}: NEURON's Import3d cannot make a cell of it, expected a soma with the trees that grow from it"
    )


def main(reader, path, out):
    os.environ["NEURON_MODULE_OPTIONS"] = "-nogui"
    from neuron import h

    class Cell:
        pass

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    source, cell = getattr(h, reader)(), Cell()
    source.quiet = 1
    source.input(path)
    h.Import3d_GUI(source, 0).instantiate(cell)
    kinds = ["soma", "dend", "apic", "axon"]
    kinds += sorted(vars(cell).keys() - {*kinds, "all"})
    sections = []
    for section in (section for kind in kinds for section in getattr(cell, kind, [])):
        at = section.parentseg()
        points = [[section.x3d(i), section.y3d(i), section.z3d(i), section.diam3d(i)] for i in range(section.n3d())]
        sections.append((_short(section), _short(at.sec) if at else None, at.x if at else 0.0, points))
    Path(out).write_text(json.dumps(sections))


def _short(section):
    return section.name().rpartition(".")[2]


if __name__ == "__main__":
    main(*sys.argv[1:])
