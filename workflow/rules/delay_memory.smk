"""Working memory by heterogeneous delays: networks that recall spike patterns from their beginnings."""

import json
import re
from pathlib import Path

RECALL = config["delay_memory"]
RECALL_LABEL = study.label(config["scale"], "delay_memory")
RECALL_DATA = f"data/delay_memory/{RECALL_LABEL}"
RECALL_RESULTS = f"results/delay_memory/{RECALL_LABEL}"
RECALLS = {entry["name"]: entry for entry in study.recalls(RECALL)}
RECALL_FITS = [f"{RECALL_RESULTS}/{name}/seed{seed}" for name, entry in RECALLS.items() for seed in entry["training"]["seeds"]]
# The first seed of each fit of a group, which figures of single networks show.
RECALL_SHOWN = {
    group: [
        f"{RECALL_RESULTS}/{name}/seed{entry['training']['seeds'][0]}"
        for name, entry in RECALLS.items()
        if group in entry["groups"]
    ]
    for group in ("first", "robustness", "sweep", "capacity")
}
RECALL_REFERENCE = f"{RECALL_RESULTS}/{RECALL['reference']}/seed{RECALLS[RECALL['reference']]['training']['seeds'][0]}"
RECALL_FIGURES = ["recall", "recall_robustness"]
RECALL_FIGURES += [f"recall_{name}" for name, group in (("sweeps", "sweep"), ("capacity", "capacity")) if RECALL_SHOWN[group]]


wildcard_constraints:
    recall="|".join(map(re.escape, RECALLS)),


rule delay_memory:
    "The whole study: network files, fits, their scores, the reference in Brian2, figures."
    input:
        f"{RECALL_RESULTS}/metrics.csv",
        f"{RECALL_RESULTS}/replay.json",
        expand(f"{RECALL_RESULTS}/figures/{{name}}.{{ending}}", name=RECALL_FIGURES, ending=["svg", "png"]),


rule write_recall_network:
    "Write the network file of one fit: the equation file with some parameters changed."
    input:
        equations=study.sources(RECALL["equations"]),
        script="workflow/network.py",
    output:
        f"{RECALL_DATA}/{{recall}}.yaml",
    log:
        f"{RECALL_DATA}/{{recall}}.log",
    benchmark:
        f"{RECALL_DATA}/{{recall}}.tsv"
    params:
        parameters=lambda wildcards: json.dumps(RECALLS[wildcards.recall]["network"]),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.network {input.equations[0]:q} --parameters {params.parameters:q} --out {output:q} > {log:q} 2>&1"


rule fit_recall:
    "Have one network learn its patterns, one seed; a fit that was killed goes on from its checkpoint."
    input:
        equations=study.sources(RECALL["equations"]),
        network=rules.write_recall_network.output,
    output:
        weights=f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/model.safetensors",
        config=f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/config.yaml",
        history=f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/history.csv",
    log:
        f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/fit.log",
    benchmark:
        f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        settings=lambda wildcards: [
            f"--set={name}={value}" for name, value in RECALLS[wildcards.recall]["settings"].items()
        ],
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in RECALLS[wildcards.recall]["training"].items()
            if name != "seeds"
        ],
        patterns=RECALL["patterns"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * study.recall_mb(RECALLS[wildcards.recall]),
        runtime=lambda wildcards, attempt: attempt * study.recall_minutes(RECALLS[wildcards.recall]),
    message:
        "Learning of {wildcards.recall}, seed {wildcards.seed}"
    shell:
        "python -m fitting fit recall delay_network --data {input.network:q} --valid {input.network:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} --set pattern_seed={wildcards.seed} --set patterns={params.patterns}"
        " {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule score_recall:
    "Score what a network recalls, and what its recall withstands."
    input:
        fit=rules.fit_recall.output,
        network=rules.write_recall_network.output,
    output:
        metrics=f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/metrics.json",
        predictions=f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/predictions.npz",
    log:
        f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{RECALL_RESULTS}/{{recall}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * study.recall_mb(RECALLS[wildcards.recall]),
        runtime=lambda wildcards, attempt: attempt * study.recall_minutes(RECALLS[wildcards.recall]),
    message:
        "Recall of {wildcards.recall}, seed {wildcards.seed}"
    shell:
        "python -m fitting evaluate {params.folder:q} --data {input.network:q} --out {output.metrics:q}"
        " --predictions {output.predictions:q} --threads {threads} > {log:q} 2>&1"


rule replay_recall:
    "Run the reference in Brian2, with a synapse for every weight, and compare spike by spike."
    input:
        weights=f"{RECALL_REFERENCE}/model.safetensors",
        predictions=f"{RECALL_REFERENCE}/predictions.npz",
        network=f"{RECALL_DATA}/{RECALL['reference']}.yaml",
        equations=study.sources(RECALL["equations"]),
        script="workflow/tables/replay.py",
    output:
        json=report(
            f"{RECALL_RESULTS}/replay.json",
            caption="../report/replay.rst",
            category="Delay memory",
            labels={"what": "the reference in Brian2"},
        ),
        spikes=f"{RECALL_RESULTS}/replay.npz",
    log:
        f"{RECALL_RESULTS}/replay.log",
    benchmark:
        f"{RECALL_RESULTS}/replay.tsv"
    params:
        trials=RECALL["replay"],
        patterns=RECALL["patterns"],
        seed=RECALLS[RECALL["reference"]]["training"]["seeds"][0],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    message:
        "Recall of {params.trials} patterns in Brian2"
    shell:
        "( python -m sims simulate {input.network:q} --weights {input.weights:q} --set M={params.trials} --seed {params.seed}"
        " --patterns {params.patterns} --device cpp --out {output.spikes:q}"
        " && python -m workflow.tables.replay {input.predictions:q} {output.spikes:q} --out {output.json:q} ) > {log:q} 2>&1"


rule tabulate_recall:
    "Put every network and seed in one table."
    input:
        script="workflow/tables/recall.py",
        metrics=expand("{fit}/metrics.json", fit=RECALL_FITS),
    output:
        report(
            f"{RECALL_RESULTS}/metrics.csv",
            caption="../report/recall_metrics.rst",
            category="Delay memory",
            labels={"what": "recall of every network"},
        ),
    log:
        f"{RECALL_RESULTS}/metrics.log",
    benchmark:
        f"{RECALL_RESULTS}/metrics.tsv"
    params:
        fits=RECALL_FITS,
        entries=json.dumps(list(RECALLS.values())),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.recall {params.fits:q} --fits {params.entries:q} --out {output:q} > {log:q} 2>&1"


rule draw_recall:
    "One pattern's spikes, and how recall goes on from the cue for each way to learn."
    input:
        predictions=expand("{fit}/predictions.npz", fit=RECALL_SHOWN["first"]),
        script="workflow/figures/recall.py",
        style=STYLE,
    output:
        svg=report(
            f"{RECALL_RESULTS}/figures/recall.svg",
            caption="../report/recall.rst",
            category="Delay memory",
            labels={"what": "recall over time"},
        ),
        png=f"{RECALL_RESULTS}/figures/recall.png",
    log:
        f"{RECALL_RESULTS}/figures/recall.log",
    benchmark:
        f"{RECALL_RESULTS}/figures/recall.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        shown=RECALL["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.recall {input.predictions:q} --shown {params.shown} --out {params.stem:q} > {log:q} 2>&1"


rule draw_recall_robustness:
    "What recall withstands."
    input:
        predictions=expand("{fit}/predictions.npz", fit=RECALL_SHOWN["robustness"]),
        script="workflow/figures/recall_robustness.py",
        task="fitting/tasks/recall.py",
        style=STYLE,
    output:
        svg=report(
            f"{RECALL_RESULTS}/figures/recall_robustness.svg",
            caption="../report/recall_robustness.rst",
            category="Delay memory",
            labels={"what": "robustness"},
        ),
        png=f"{RECALL_RESULTS}/figures/recall_robustness.png",
    log:
        f"{RECALL_RESULTS}/figures/recall_robustness.log",
    benchmark:
        f"{RECALL_RESULTS}/figures/recall_robustness.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.recall_robustness {input.predictions:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_recall_sweeps:
    "Loss against delays, steps, patterns, rate and neurons, the published numbers beside ours."
    input:
        metrics=f"{RECALL_RESULTS}/metrics.csv",
        published="workflow/tables/published_recall.csv",
        script="workflow/figures/recall_sweeps.py",
        style=STYLE,
    output:
        svg=report(
            f"{RECALL_RESULTS}/figures/recall_sweeps.svg",
            caption="../report/recall_sweeps.rst",
            category="Delay memory",
            labels={"what": "sweeps"},
        ),
        png=f"{RECALL_RESULTS}/figures/recall_sweeps.png",
    log:
        f"{RECALL_RESULTS}/figures/recall_sweeps.log",
    benchmark:
        f"{RECALL_RESULTS}/figures/recall_sweeps.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.recall_sweeps {input.metrics:q} --published {input.published} --out {params.stem:q}"
        " > {log:q} 2>&1"


rule draw_recall_capacity:
    "How many patterns a network holds, beside the theory's limit."
    input:
        metrics=f"{RECALL_RESULTS}/metrics.csv",
        script="workflow/figures/recall_capacity.py",
        style=STYLE,
    output:
        svg=report(
            f"{RECALL_RESULTS}/figures/recall_capacity.svg",
            caption="../report/recall_capacity.rst",
            category="Delay memory",
            labels={"what": "capacity"},
        ),
        png=f"{RECALL_RESULTS}/figures/recall_capacity.png",
    log:
        f"{RECALL_RESULTS}/figures/recall_capacity.log",
    benchmark:
        f"{RECALL_RESULTS}/figures/recall_capacity.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.recall_capacity {input.metrics:q} --out {params.stem:q} > {log:q} 2>&1"


rule write_recall_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/delay_memory.html.jinja",
        macros="workflow/report/macros.html.jinja",
        metrics=f"{RECALL_RESULTS}/metrics.csv",
        replay=f"{RECALL_RESULTS}/replay.json",
        figures=expand(f"{RECALL_RESULTS}/figures/{{name}}.svg", name=RECALL_FIGURES),
        equations=study.sources(RECALL["equations"]),
        costs=[*expand("{fit}/{step}.tsv", fit=RECALL_FITS, step=["fit", "evaluate"]), f"{RECALL_RESULTS}/replay.tsv"],
    output:
        f"{RECALL_RESULTS}/section.html",
    log:
        f"{RECALL_RESULTS}/section.log",
    benchmark:
        f"{RECALL_RESULTS}/section.tsv"
    params:
        scale=RECALL_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.metrics:q} --results {input.replay:q} --equations {input.equations:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_delay_memory:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/delay_memory.py",
        metrics=f"{RECALL_RESULTS}/metrics.csv",
        replay=f"{RECALL_RESULTS}/replay.json",
        pictures=expand(f"{RECALL_RESULTS}/figures/{{name}}.png", name=RECALL_FIGURES),
        costs=rules.write_recall_section.input.costs,
    output:
        f"results/record/delay_memory/{RECALL_LABEL}/provenance.json",
    log:
        f"results/record_delay_memory_{RECALL_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 delay_memory --config scale={config['scale']}",
        scale=config["scale"],
        shown=RECALL["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record delay_memory --out {params.folder:q} --readme README.md --command {params.command:q}"
        " --scale {params.scale} --shown {params.shown} --tables {input.metrics:q} --results {input.replay:q} --pictures {input.pictures:q}"
        " --costs {input.costs:q} > {log:q} 2>&1"
