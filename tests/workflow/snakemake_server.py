"""Runs Snakemake in forks of a process that has imported it, since importing is most of a dry run's time.

Reads one JSON object a line from standard input: `folder` to run in, `arguments`, `environment` to add, and the file
`output` to which standard output and error go.  Answers each with the exit status.
"""

import json
import os
import sys

# What every run imports, apart from the modules of the checkout that it runs.
import jsonschema  # noqa: F401
import numpy  # noqa: F401
import snakemake.persistence.file  # noqa: F401
import snakemake.report  # noqa: F401
from snakemake import cli

for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        sys.path[0] = asked["folder"]
        output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        cli.main(asked["arguments"])
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
