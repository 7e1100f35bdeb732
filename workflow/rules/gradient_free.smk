"""Fitting without gradients: CMA-ES recovers a neuron's parameters, and fits reduced neurons to the detailed cell."""

import json
import re
from pathlib import Path

FREE = config["gradient_free"]
FREE_LABEL = study.label(config["scale"], "gradient_free")
FREE_RESULTS = f"results/gradient_free/{CELL}/{FREE_LABEL}"
FREE_FITS = {entry["name"]: entry for entry in study.gradient_free_fits(FREE)}
FREE_BY = {
    method: [name for name, entry in FREE_FITS.items() if entry["method"] == method] for method in ("evolution", "gradient")
}
FREE_FOLDERS = expand(f"{FREE_RESULTS}/{{name}}/seed{{seed}}", name=FREE_FITS, seed=FREE["seeds"])
FREE_RECOVERIES = expand(f"{FREE_RESULTS}/recovery/seed{{seed}}", seed=FREE["recovery"]["seeds"])
FREE_TRAIN = SHARDS["train"][: FREE["shards"]]
FREE_FIGURES = ["gradient_free_recovery", "gradient_free_scores", "gradient_free_cost"]


wildcard_constraints:
    evolved="|".join(map(re.escape, FREE_BY["evolution"])) or "none",
    descended="|".join(map(re.escape, FREE_BY["gradient"])) or "none",
    free="|".join(map(re.escape, FREE_FITS)),


rule gradient_free:
    "The whole study: recovery, fits with and without gradients, their scores, figures."
    input:
        f"{FREE_RESULTS}/metrics.csv",
        expand(f"{FREE_RESULTS}/figures/{{name}}.{{ending}}", name=FREE_FIGURES, ending=["svg", "png"]),


rule recover_parameters:
    "Find the parameters of a neuron again from its own voltages; a search that was killed goes on from its checkpoint."
    input:
        equations=study.sources(FREE["recovery"]["equations"]),
    output:
        metrics=f"{FREE_RESULTS}/recovery/seed{{seed}}/metrics.json",
        history=f"{FREE_RESULTS}/recovery/seed{{seed}}/history.csv",
    log:
        f"{FREE_RESULTS}/recovery/seed{{seed}}/fit.log",
    benchmark:
        f"{FREE_RESULTS}/recovery/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
        evolution=study.options(FREE["recovery"]["evolution"]),
        settings=[f"--set={name}={value}" for name, value in sorted(FREE["recovery"]["settings"].items())],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    message:
        "Recovery of {input.equations[0]}, seed {wildcards.seed}"
    shell:
        "python -m fitting evolve {input.equations[0]:q} recovery --out {params.folder:q} --resume --replace --seed {wildcards.seed}"
        " {params.evolution:q} {params.settings:q} --workers {threads} > {log:q} 2>&1"


rule evolve_neuron:
    "Fit a reduced neuron to the detailed cell without gradients, one seed; goes on from its checkpoint."
    input:
        train=FREE_TRAIN,
        valid=SHARDS["valid"],
        equations=lambda wildcards: study.sources(FREE_FITS[wildcards.evolved]["equations"]),
    output:
        weights=f"{FREE_RESULTS}/{{evolved}}/seed{{seed}}/model.safetensors",
        config=f"{FREE_RESULTS}/{{evolved}}/seed{{seed}}/config.yaml",
        history=f"{FREE_RESULTS}/{{evolved}}/seed{{seed}}/history.csv",
    log:
        f"{FREE_RESULTS}/{{evolved}}/seed{{seed}}/fit.log",
    benchmark:
        f"{FREE_RESULTS}/{{evolved}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        data=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        evolution=lambda wildcards: study.options(FREE_FITS[wildcards.evolved]["training"]),
        settings=lambda wildcards: study.gradient_free_settings(FREE, FREE_FITS[wildcards.evolved]),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2500 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    message:
        "Evolution of {wildcards.evolved}, seed {wildcards.seed}"
    shell:
        "python -m fitting evolve {input.equations[0]:q} neuronio {params.data:q} {params.valid:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} {params.evolution:q} {params.settings:q} --workers {threads} > {log:q} 2>&1"


rule descend_neuron:
    "Fit a neuron to the same simulations by gradients, one seed; goes on from its checkpoint."
    input:
        train=FREE_TRAIN,
        valid=SHARDS["valid"],
        equations=lambda wildcards: study.sources(FREE_FITS[wildcards.descended]["equations"])
        if FREE_FITS[wildcards.descended]["equations"]
        else [],
    output:
        weights=f"{FREE_RESULTS}/{{descended}}/seed{{seed}}/model.safetensors",
        config=f"{FREE_RESULTS}/{{descended}}/seed{{seed}}/config.yaml",
        history=f"{FREE_RESULTS}/{{descended}}/seed{{seed}}/history.csv",
    log:
        f"{FREE_RESULTS}/{{descended}}/seed{{seed}}/fit.log",
    benchmark:
        f"{FREE_RESULTS}/{{descended}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        model=lambda wildcards: FREE_FITS[wildcards.descended]["model"],
        data=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        training=lambda wildcards: study.options(FREE_FITS[wildcards.descended]["training"]),
        settings=lambda wildcards: study.gradient_free_settings(FREE, FREE_FITS[wildcards.descended]),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 120 * attempt,
    message:
        "Fitting {wildcards.descended} by gradients, seed {wildcards.seed}"
    shell:
        "python -m fitting fit neuronio {params.model} {params.data:q} {params.valid:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule score_gradient_free:
    "Score one fit on the test simulations, which nothing before has seen."
    input:
        test=SHARDS["test"],
        fit=lambda wildcards: expand(
            f"{FREE_RESULTS}/{wildcards.free}/seed{wildcards.seed}/{{file}}", file=["model.safetensors", "config.yaml"]
        ),
    output:
        f"{FREE_RESULTS}/{{free}}/seed{{seed}}/scores.json",
    log:
        f"{FREE_RESULTS}/{{free}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{FREE_RESULTS}/{{free}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        data=lambda wildcards, input: [f"--data={path}" for path in input.test],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    message:
        "Scores of {wildcards.free}, seed {wildcards.seed}"
    shell:
        "python -m fitting evaluate {params.folder:q} {params.data:q} --out {output:q} --threads {threads} > {log:q} 2>&1"


rule tabulate_gradient_free:
    "Put every fit in one table, and every recovery in another."
    input:
        script="workflow/tables/gradient_free.py",
        scores=expand("{fit}/scores.json", fit=FREE_FOLDERS),
        histories=expand("{fit}/history.csv", fit=FREE_FOLDERS),
        recoveries=expand("{fit}/metrics.json", fit=FREE_RECOVERIES),
    output:
        metrics=report(
            f"{FREE_RESULTS}/metrics.csv",
            caption="../report/gradient_free_metrics.rst",
            category="Without gradients",
            labels={"what": "scores of fits with and without gradients"},
        ),
        recovery=f"{FREE_RESULTS}/recovery.csv",
    log:
        f"{FREE_RESULTS}/metrics.log",
    benchmark:
        f"{FREE_RESULTS}/metrics.tsv"
    params:
        fits=FREE_FOLDERS,
        recoveries=FREE_RECOVERIES,
        entries=json.dumps(list(FREE_FITS.values()), sort_keys=True),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.gradient_free {params.fits:q} --recoveries {params.recoveries:q} --fits {params.entries:q}"
        " --out {output.metrics:q} --recovery {output.recovery:q} > {log:q} 2>&1"


rule draw_gradient_free_recovery:
    "The relative error of the farthest parameter against generations."
    input:
        histories=expand("{fit}/history.csv", fit=FREE_RECOVERIES),
        script="workflow/figures/gradient_free_recovery.py",
        style=STYLE,
    output:
        svg=report(
            f"{FREE_RESULTS}/figures/gradient_free_recovery.svg",
            caption="../report/gradient_free_recovery.rst",
            category="Without gradients",
            labels={"what": "recovery of known parameters"},
        ),
        png=f"{FREE_RESULTS}/figures/gradient_free_recovery.png",
    log:
        f"{FREE_RESULTS}/figures/gradient_free_recovery.log",
    benchmark:
        f"{FREE_RESULTS}/figures/gradient_free_recovery.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.gradient_free_recovery {input.histories:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_gradient_free_scores:
    "AUC and voltage error against the number of parameters."
    input:
        metrics=f"{FREE_RESULTS}/metrics.csv",
        script="workflow/figures/gradient_free_scores.py",
        style=STYLE,
    output:
        svg=report(
            f"{FREE_RESULTS}/figures/gradient_free_scores.svg",
            caption="../report/gradient_free_scores.rst",
            category="Without gradients",
            labels={"what": "scores against parameters"},
        ),
        png=f"{FREE_RESULTS}/figures/gradient_free_scores.png",
    log:
        f"{FREE_RESULTS}/figures/gradient_free_scores.log",
    benchmark:
        f"{FREE_RESULTS}/figures/gradient_free_scores.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.gradient_free_scores {input.metrics:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_gradient_free_cost:
    "Validation loss against CPU time, with gradients and without."
    input:
        histories=expand("{fit}/history.csv", fit=FREE_FOLDERS),
        script="workflow/figures/gradient_free_cost.py",
        style=STYLE,
    output:
        svg=report(
            f"{FREE_RESULTS}/figures/gradient_free_cost.svg",
            caption="../report/gradient_free_cost.rst",
            category="Without gradients",
            labels={"what": "loss against CPU time"},
        ),
        png=f"{FREE_RESULTS}/figures/gradient_free_cost.png",
    log:
        f"{FREE_RESULTS}/figures/gradient_free_cost.log",
    benchmark:
        f"{FREE_RESULTS}/figures/gradient_free_cost.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.gradient_free_cost {input.histories:q} --out {params.stem:q} > {log:q} 2>&1"


rule write_gradient_free_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/gradient_free.html.jinja",
        macros="workflow/report/macros.html.jinja",
        tables=[f"{FREE_RESULTS}/metrics.csv", f"{FREE_RESULTS}/recovery.csv"],
        figures=expand(f"{FREE_RESULTS}/figures/{{name}}.svg", name=FREE_FIGURES),
        equations=sorted({source for path in study.gradient_free_files(FREE) for source in study.sources(path)}),
        costs=[
            *expand("{fit}/fit.tsv", fit=FREE_RECOVERIES),
            *expand("{fit}/{step}.tsv", fit=FREE_FOLDERS, step=["fit", "evaluate"]),
        ],
    output:
        f"{FREE_RESULTS}/section.html",
    log:
        f"{FREE_RESULTS}/section.log",
    benchmark:
        f"{FREE_RESULTS}/section.tsv"
    params:
        scale=FREE_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.tables:q} --equations {input.equations:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_gradient_free:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/gradient_free.py",
        tables=rules.write_gradient_free_section.input.tables,
        pictures=expand(f"{FREE_RESULTS}/figures/{{name}}.png", name=FREE_FIGURES),
        costs=rules.write_gradient_free_section.input.costs,
    output:
        f"results/record/gradient_free/{FREE_LABEL}/provenance.json",
    log:
        f"results/record_gradient_free_{FREE_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 gradient_free --config cell={config['cell']} scale={config['scale']}",
        scale=config["scale"],
        cell=CELL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record gradient_free --out {params.folder:q} --readme README.md --command {params.command:q}"
        " --scale {params.scale} --shown {params.cell} --tables {input.tables:q} --pictures {input.pictures:q} --costs {input.costs:q}"
        " > {log:q} 2>&1"
