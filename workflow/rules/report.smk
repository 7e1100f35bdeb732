"""The page that a reader opens first."""


rule write_report:
    "One self-contained page: question, data, figures, scores, equations, configuration, versions, cost."
    input:
        script="workflow/report/page.py",
        template="workflow/report/report.html.jinja",
        summary="results/neuronio/equations.txt",
        metrics=f"{RESULTS}/metrics.csv",
        figures=expand(f"{RESULTS}/figures/{{name}}.svg", name=["trace", "roc", "learning", "cell", "statistics"]),
        shards=[path for split in study.SPLITS for path in SHARDS[split]],
        equations=documents.sources(config["equations"]) + documents.sources(config["inputs"]),
        costs=[
            "results/neuronio/equations.tsv",
            *(path.replace(".nc", ".tsv") for split in study.SPLITS for path in SHARDS[split]),
            *expand("{fit}/{step}.tsv", fit=FITS, step=["fit", "evaluate"]),
        ],
    output:
        report("results/report.html", caption="../report/page.rst", category="Overview", labels={"what": "report"}),
    log:
        "results/report.log",
    benchmark:
        "results/report.tsv"
    params:
        configuration=json.dumps(config, sort_keys=True),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    message:
        "Writing {output}"
    shell:
        "python -m workflow.report.page --out {output} --template {input.template} --configuration {params.configuration:q}"
        " --summary {input.summary} --metrics {input.metrics:q} --figures {input.figures:q} --shards {input.shards:q}"
        " --equations {input.equations:q} --costs {input.costs:q} > {log} 2>&1"
