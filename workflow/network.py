"""Write a network file that changes some parameters of another, as a fit of the study delay_memory takes it."""

import argparse
import json
import os
from pathlib import Path

import yaml

from sims import sealed


def text(equations, folder, parameters):
    """The file's content.  folder: where it will lie.  parameters: {name: value}."""
    changed = {"extends": os.path.relpath(equations, folder)} | ({"parameters": parameters} if parameters else {})
    return yaml.safe_dump(changed, sort_keys=False, default_flow_style=None)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("equations", type=Path, help="the network file to extend")
    parser.add_argument("--parameters", required=True, type=json.loads, help="those to change, as JSON")
    parser.add_argument("--out", required=True, type=Path)
    arguments = parser.parse_args()
    content = text(arguments.equations, arguments.out.parent, arguments.parameters)
    sealed.replace(arguments.out, content.encode())


if __name__ == "__main__":
    main()
