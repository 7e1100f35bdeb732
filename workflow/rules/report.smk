"""The page that a reader opens first."""


rule write_report:
    "One self-contained page: question, data, figures, scores, equations, configuration, versions, cost."
    input:
        script="workflow/report/page.py",
        template="workflow/report/report.html.jinja",
        macros="workflow/report/macros.html.jinja",
        sections=[
            rules.write_recall_section.output,
            rules.write_memory_section.output,
            rules.write_long_range_section.output,
            rules.write_place_section.output,
            rules.write_gradient_free_section.output,
            HYPOTHESIS_RESULTS,
        ],
        summary="results/neuronio/equations.txt",
        metrics=f"{RESULTS}/metrics.csv",
        paired=f"{RESULTS}/paired.csv",
        figures=expand(f"{RESULTS}/figures/{{name}}.svg", name=FIGURES),
        card=rules.write_data_card.output.json,
        cross_check=rules.cross_check.output,
        equations=study.sources(config["equations"]) + study.sources(config["inputs"]),
        costs=COSTS,
    output:
        report("results/report.html", caption="../report/page.rst", category="Overview", labels={"what": "report"}),
    log:
        "results/report.log",
    benchmark:
        "results/report.tsv"
    params:
        configuration=json.dumps(config, sort_keys=True),
        card_page=rules.write_data_card.output.card,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    message:
        "Writing {output}"
    shell:
        "python -m workflow.report.page --out {output} --template {input.template} --configuration {params.configuration:q}"
        " --summary {input.summary} --metrics {input.metrics:q} --paired {input.paired:q} --figures {input.figures:q}"
        " --card {input.card:q} --card-page {params.card_page:q} --cross-check {input.cross_check:q} --equations {input.equations:q}"
        " --sections {input.sections:q} --costs {input.costs:q} > {log} 2>&1"
