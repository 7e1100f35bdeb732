"""Snakemake's linter, but for what this project does on purpose: python -m workflow.lint"""

import re
import subprocess
import sys

# One locked environment runs every rule, so that none needs a container of its own.
ALLOWED = ("Specify a conda environment or container for each rule.",)


def complaints(text):
    """(place, complaint) of everything in the linter's output that is not allowed."""
    found, place = [], "the workflow"
    for line in text.splitlines():
        if match := re.match(r"Lints for (.*):$", line):
            place = match[1]
        elif match := re.match(r"    \* (.*):$", line):
            if match[1] not in ALLOWED:
                found.append((place, match[1]))
    return found


def main():
    run = subprocess.run([sys.executable, "-m", "snakemake", "--lint"], capture_output=True, text=True)
    output = run.stdout + run.stderr
    found = complaints(output)
    for place, complaint in found:
        print(f"{place}: {complaint}", file=sys.stderr)
    # The linter fails when it complains; failing without a complaint, it did not get that far.
    if run.returncode != 0 and "Lints for" not in output:
        print(output, file=sys.stderr)
        sys.exit(run.returncode)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
