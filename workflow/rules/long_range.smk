"""Long-range tasks: what one ELM neuron, an LSTM and spiking neurons keep in mind over hundreds to thousands of steps."""

import json
import re
from pathlib import Path

RANGE = config["long_range"]
RANGE_LABEL = study.label(config["scale"], "long_range")
RANGE_DATA = f"data/long_range/{RANGE_LABEL}"
RANGE_RESULTS = f"results/long_range/{RANGE_LABEL}"
RANGES = {entry["name"]: entry for entry in study.long_ranges(RANGE)}
RANGE_FITS = [f"{RANGE_RESULTS}/{name}/seed{seed}" for name, entry in RANGES.items() for seed in entry["training"]["seeds"]]
RANGE_GROUPS = {
    group: [
        f"{RANGE_RESULTS}/{name}/seed{seed}"
        for name, entry in RANGES.items()
        if group in entry["groups"]
        for seed in entry["training"]["seeds"]
    ]
    for group in ("bins", "tau", "steps")
}
RANGE_FIGURES = [f"long_range_{group}" for group, fits in RANGE_GROUPS.items() if fits]
RANGE_FIGURES += ["long_range_pathfinder"] if "pathfinder" in RANGE["data"] else []


wildcard_constraints:
    ranged="|".join(map(re.escape, RANGES)),
    images="|".join(study.PATHFINDER_SIZES),


rule long_range:
    "The whole study: data, fits, their scores, figures."
    input:
        f"{RANGE_RESULTS}/metrics.csv",
        expand(f"{RANGE_RESULTS}/figures/{{name}}.{{ending}}", name=RANGE_FIGURES, ending=["svg", "png"]),


rule hear_long_range_digits:
    "Turn one split's spoken digits into spikes of a cochlea."
    output:
        f"{RANGE_DATA}/digits/{{split}}.h5",
    log:
        f"{RANGE_DATA}/digits/{{split}}.log",
    benchmark:
        f"{RANGE_DATA}/digits/{{split}}.tsv"
    params:
        source=lambda wildcards: RANGE["data"]["digits"]["source"],
        takes=lambda wildcards: f"--takes={takes}" if (takes := study.takes(RANGE["data"]["digits"])) else "",
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    shell:
        "python -m sims stimuli digits {output:q} --source {params.source} --split {wildcards.split} {params.takes} --seed {params.seed}"
        " > {log:q} 2>&1"


rule draw_pathfinder:
    "Draw the images of one split."
    input:
        "sims/stimuli/pathfinder.py",
    output:
        f"{RANGE_DATA}/{{images}}/{{split}}.npz",
    log:
        f"{RANGE_DATA}/{{images}}/{{split}}.log",
    benchmark:
        f"{RANGE_DATA}/{{images}}/{{split}}.tsv"
    params:
        size=lambda wildcards: study.PATHFINDER_SIZES[wildcards.images],
        images=lambda wildcards: RANGE["data"][wildcards.images][wildcards.split],
        first=lambda wildcards: study.FIRST_SIMULATION[wildcards.split],
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: attempt * (5 + RANGE["data"][wildcards.images][wildcards.split] // 10000),
    shell:
        "python -m sims stimuli pathfinder {output:q} --size {params.size} --images {params.images} --first {params.first}"
        " --seed {params.seed} > {log:q} 2>&1"


rule draw_listops:
    "Draw the trees of one split."
    input:
        "sims/stimuli/listops.py",
    output:
        f"{RANGE_DATA}/listops/{{split}}.tsv",
    log:
        f"{RANGE_DATA}/listops/{{split}}.log",
    benchmark:
        f"{RANGE_DATA}/listops/{{split}}.cost.tsv"
    params:
        grammar=RANGE["data"].get("listops", {}).get("grammar", "published"),
        trees=lambda wildcards: RANGE["data"]["listops"][wildcards.split],
        first=lambda wildcards: study.FIRST_SIMULATION[wildcards.split],
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    shell:
        "python -m sims stimuli listops {output:q} --grammar {params.grammar} --trees {params.trees} --first {params.first}"
        " --seed {params.seed} > {log:q} 2>&1"


rule write_cifar:
    "Write one split of CIFAR-10 in grey, from its archive."
    input:
        "sims/stimuli/cifar.py",
    output:
        f"{RANGE_DATA}/cifar/{{split}}.npz",
    log:
        f"{RANGE_DATA}/cifar/{{split}}.log",
    benchmark:
        f"{RANGE_DATA}/cifar/{{split}}.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    shell:
        "python -m sims stimuli cifar {output:q} --split {wildcards.split} > {log:q} 2>&1"


rule write_reviews:
    "Write one split of IMDb's reviews, from their archive."
    input:
        "sims/stimuli/reviews.py",
    output:
        f"{RANGE_DATA}/text/{{split}}.tsv",
    log:
        f"{RANGE_DATA}/text/{{split}}.log",
    benchmark:
        f"{RANGE_DATA}/text/{{split}}.cost.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    shell:
        "python -m sims stimuli reviews {output:q} --split {wildcards.split} > {log:q} 2>&1"


rule fit_long_range:
    "Have one model learn one task, one seed; a fit that was killed goes on from its checkpoint."
    input:
        unpack(lambda wildcards: study.long_range_files(RANGE, RANGES[wildcards.ranged]["task"], RANGE_DATA)),
    output:
        weights=f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/model.safetensors",
        config=f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/config.yaml",
        history=f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/history.csv",
    log:
        f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/fit.log",
    benchmark:
        f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        task=lambda wildcards: RANGES[wildcards.ranged]["task"],
        model=lambda wildcards: RANGES[wildcards.ranged]["model"],
        settings=lambda wildcards: [f"--set={name}={value}" for name, value in sorted(RANGES[wildcards.ranged]["settings"].items())],
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in sorted(RANGES[wildcards.ranged]["training"].items())
            if name != "seeds"
        ],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
        runtime=lambda wildcards, attempt: attempt * study.long_range_minutes(RANGES[wildcards.ranged]),
    message:
        "Learning of {wildcards.ranged}, seed {wildcards.seed}"
    shell:
        "python -m fitting fit {params.task} {params.model} --data {input.train:q} --valid {input.valid:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule score_long_range:
    "Score one fit on examples that neither its weights nor their choice have seen."
    input:
        unpack(lambda wildcards: study.long_range_files(RANGE, RANGES[wildcards.ranged]["task"], RANGE_DATA)),
        fit=rules.fit_long_range.output,
    output:
        metrics=f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/metrics.json",
        predictions=f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/predictions.npz",
    log:
        f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{RANGE_RESULTS}/{{ranged}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    message:
        "Scores of {wildcards.ranged}, seed {wildcards.seed}"
    shell:
        "python -m fitting evaluate {params.folder:q} --data {input.test:q} --out {output.metrics:q}"
        " --predictions {output.predictions:q} --threads {threads} > {log:q} 2>&1"


rule tabulate_long_range:
    "Put every fit and seed in one table."
    input:
        script="workflow/tables/long_range.py",
        metrics=expand("{fit}/metrics.json", fit=RANGE_FITS),
        histories=expand("{fit}/history.csv", fit=RANGE_FITS),
    output:
        report(
            f"{RANGE_RESULTS}/metrics.csv",
            caption="../report/long_range_metrics.rst",
            category="Long-range tasks",
            labels={"what": "accuracy of every fit"},
        ),
    log:
        f"{RANGE_RESULTS}/metrics.log",
    benchmark:
        f"{RANGE_RESULTS}/metrics.tsv"
    params:
        fits=RANGE_FITS,
        entries=json.dumps(list(RANGES.values()), sort_keys=True),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.long_range {params.fits:q} --fits {params.entries:q} --out {output:q} > {log:q} 2>&1"


rule draw_long_range_bins:
    "Accuracy on spoken digits against the size of a time bin, the published numbers beside ours."
    input:
        metrics=f"{RANGE_RESULTS}/metrics.csv",
        published="workflow/tables/published_long_range.csv",
        script="workflow/figures/long_range_bins.py",
        style=STYLE,
    output:
        svg=report(
            f"{RANGE_RESULTS}/figures/long_range_bins.svg",
            caption="../report/long_range_bins.rst",
            category="Long-range tasks",
            labels={"what": "accuracy against bin size"},
        ),
        png=f"{RANGE_RESULTS}/figures/long_range_bins.png",
    log:
        f"{RANGE_RESULTS}/figures/long_range_bins.log",
    benchmark:
        f"{RANGE_RESULTS}/figures/long_range_bins.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.long_range_bins {input.metrics:q} --published {input.published} --out {params.stem:q}"
        " > {log:q} 2>&1"


rule draw_long_range_tau:
    "Accuracy against the memory time constants that an ELM neuron starts with."
    input:
        metrics=f"{RANGE_RESULTS}/metrics.csv",
        script="workflow/figures/long_range_tau.py",
        style=STYLE,
    output:
        svg=report(
            f"{RANGE_RESULTS}/figures/long_range_tau.svg",
            caption="../report/long_range_tau.rst",
            category="Long-range tasks",
            labels={"what": "memory time constants"},
        ),
        png=f"{RANGE_RESULTS}/figures/long_range_tau.png",
    log:
        f"{RANGE_RESULTS}/figures/long_range_tau.log",
    benchmark:
        f"{RANGE_RESULTS}/figures/long_range_tau.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.long_range_tau {input.metrics:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_long_range_steps:
    "Accuracy on validation data against steps of learning."
    input:
        histories=expand("{fit}/history.csv", fit=RANGE_GROUPS["steps"]),
        metrics=f"{RANGE_RESULTS}/metrics.csv",
        script="workflow/figures/long_range_steps.py",
        style=STYLE,
    output:
        svg=report(
            f"{RANGE_RESULTS}/figures/long_range_steps.svg",
            caption="../report/long_range_steps.rst",
            category="Long-range tasks",
            labels={"what": "accuracy against steps"},
        ),
        png=f"{RANGE_RESULTS}/figures/long_range_steps.png",
    log:
        f"{RANGE_RESULTS}/figures/long_range_steps.log",
    benchmark:
        f"{RANGE_RESULTS}/figures/long_range_steps.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.long_range_steps {input.histories:q} --metrics {input.metrics:q} --out {params.stem:q}"
        " > {log:q} 2>&1"


rule draw_long_range_pathfinder:
    "A contact sheet of Pathfinder images of both kinds."
    input:
        images=f"{RANGE_DATA}/pathfinder/test.npz",
        script="workflow/figures/long_range_pathfinder.py",
        style=STYLE,
    output:
        svg=report(
            f"{RANGE_RESULTS}/figures/long_range_pathfinder.svg",
            caption="../report/long_range_pathfinder.rst",
            category="Long-range tasks",
            labels={"what": "Pathfinder images"},
        ),
        png=f"{RANGE_RESULTS}/figures/long_range_pathfinder.png",
    log:
        f"{RANGE_RESULTS}/figures/long_range_pathfinder.log",
    benchmark:
        f"{RANGE_RESULTS}/figures/long_range_pathfinder.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.long_range_pathfinder {input.images:q} --out {params.stem:q} > {log:q} 2>&1"


rule write_long_range_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/long_range.html.jinja",
        macros="workflow/report/macros.html.jinja",
        metrics=f"{RANGE_RESULTS}/metrics.csv",
        figures=expand(f"{RANGE_RESULTS}/figures/{{name}}.svg", name=RANGE_FIGURES),
        costs=expand("{fit}/{step}.tsv", fit=RANGE_FITS, step=["fit", "evaluate"]),
    output:
        f"{RANGE_RESULTS}/section.html",
    log:
        f"{RANGE_RESULTS}/section.log",
    benchmark:
        f"{RANGE_RESULTS}/section.tsv"
    params:
        scale=RANGE_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.metrics:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_long_range:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/long_range.py",
        metrics=f"{RANGE_RESULTS}/metrics.csv",
        pictures=expand(f"{RANGE_RESULTS}/figures/{{name}}.png", name=RANGE_FIGURES),
        costs=rules.write_long_range_section.input.costs,
    output:
        f"results/record/long_range/{RANGE_LABEL}/provenance.json",
    log:
        f"results/record_long_range_{RANGE_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 long_range --config scale={config['scale']}",
        scale=config["scale"],
        shown=RANGE["fits"][0]["name"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record long_range --out {params.folder:q} --readme README.md --command {params.command:q}"
        " --scale {params.scale} --shown {params.shown} --tables {input.metrics:q} --pictures {input.pictures:q}"
        " --costs {input.costs:q} > {log:q} 2>&1"
