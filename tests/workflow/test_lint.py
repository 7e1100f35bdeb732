"""The gate on Snakemake's linter."""

from workflow import lint

REPORT = """Lints for rule draw_roc (line 12, workflow/rules/neuronio.smk):
    * Specify a conda environment or container for each rule.:
      This way, the used software for each specific step is documented.
    * No log directive defined:
      Without a log directive, all output will be printed to the terminal.
"""


def test_what_the_project_does_on_purpose_passes_and_the_rest_is_named():
    assert lint.complaints(REPORT) == [
        ("rule draw_roc (line 12, workflow/rules/neuronio.smk)", "No log directive defined")
    ]
