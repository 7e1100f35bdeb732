"""From equation files to fitted neurons, tables, figures and one page: snakemake --cores 8 all"""

import shlex
import sys

# Rules ask the equation files what they depend on; jobs import the same packages from the same checkout.
sys.path.insert(0, str(workflow.basedir))

from workflow import study

configfile: "workflow/config/default.yaml"
configfile: study.scale_file(config["scale"])

study.check_configuration(config)
# In every shell command `python` is the interpreter that runs Snakemake.
shell.prefix(f'set -euo pipefail; python() {{{{ {shlex.quote(sys.executable)} "$@"; }}}}; ')


wildcard_constraints:
    split="|".join(study.SPLITS),
    shard=r"\d\d\d+",
    model="|".join(entry["name"] for entry in config["neuronio"]["models"]),
    seed=r"\d+",


include: "workflow/rules/neuronio.smk"
include: "workflow/rules/delay_memory.smk"
include: "workflow/rules/working_memory.smk"
include: "workflow/rules/place_cells.smk"
include: "workflow/rules/hypotheses.smk"
include: "workflow/rules/long_range.smk"
include: "workflow/rules/gradient_free.smk"
include: "workflow/rules/report.smk"


rule all:
    "Everything at the scale that the configuration asks for."
    default_target: True
    input:
        rules.neuronio.input,
        rules.delay_memory.input,
        rules.working_memory.input,
        rules.place_cells.input,
        HYPOTHESIS_RESULTS,
        rules.long_range.input,
        rules.gradient_free.input,
        "results/report.html",
