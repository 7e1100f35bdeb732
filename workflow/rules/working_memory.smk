"""Working memory of single neurons: digits that are asked for after a silence, NMDA dendrites against learnt time constants."""

import json
import re
from pathlib import Path

MEMORY = config["working_memory"]
MEMORY_LABEL = study.label(config["scale"], "working_memory")
MEMORY_DATA = f"data/working_memory/{MEMORY['source']}_{study.takes(MEMORY) or 'all'}"
MEMORY_RESULTS = f"results/working_memory/{MEMORY_LABEL}"
MEMORIES = {entry["name"]: entry for entry in study.memories(MEMORY)}
MEMORY_FITS = [f"{MEMORY_RESULTS}/{name}/seed{seed}" for name, entry in MEMORIES.items() for seed in entry["training"]["seeds"]]
MEMORY_REFERENCE = f"{MEMORY_RESULTS}/{MEMORY['reference']}/seed{MEMORIES[MEMORY['reference']]['training']['seeds'][0]}"
MEMORY_FIGURES = ["digits", "forgetting", "time_constants", "lineages"]
MEMORY_FILES = {split: study.memory_files(MEMORY, MEMORY_DATA, split) for split in study.SPLITS}
# What the contact sheet shows: test digits of the study, and of people where their speech is here.
MEMORY_SHEET = {MEMORY["source"]: MEMORY_FILES["test"][0]}
if study.real_speech() and MEMORY["source"] != "fsdd":
    MEMORY_SHEET["fsdd"] = "data/working_memory/fsdd_6/test/000_of_7.h5"
MEMORY_EQUATIONS = [
    source
    for name in ("neuron_lif", "neuron_memory", "neuron_memory_linear")
    for source in study.sources(f"equations/{name}.yaml")
]


wildcard_constraints:
    memory="|".join(map(re.escape, MEMORIES)),
    source="espeak|fsdd|shd",
    takes=r"\d+|all",
    of=r"\d+",


rule working_memory:
    "The whole study: spoken digits, fits, their scores, the reference in Brian2, a population, figures."
    input:
        f"{MEMORY_RESULTS}/metrics.csv",
        f"{MEMORY_RESULTS}/replay.json",
        expand(f"{MEMORY_RESULTS}/figures/{{name}}.{{ending}}", name=MEMORY_FIGURES, ending=["svg", "png"]),


rule generate_digits:
    "One shard of the spoken digits as spikes of a cochlea."
    output:
        "data/working_memory/{source}_{takes}/{split}/{shard}_of_{of}.h5",
    log:
        "data/working_memory/{source}_{takes}/{split}/{shard}_of_{of}.log",
    benchmark:
        "data/working_memory/{source}_{takes}/{split}/{shard}_of_{of}.tsv"
    params:
        takes=lambda wildcards: "" if wildcards.takes == "all" else f"--takes {wildcards.takes}",
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 60 * attempt,
    message:
        "Spoken digits of {wildcards.source}, {wildcards.split}, shard {wildcards.shard} of {wildcards.of}"
    shell:
        "python -m sims stimuli digits {output:q} --source {wildcards.source} --split {wildcards.split} {params.takes}"
        " --seed {params.seed} --shard {wildcards.shard} --shards {wildcards.of} > {log:q} 2>&1"


rule fit_memory:
    "Have one network learn the digits, one seed; a fit that was killed goes on from its checkpoint."
    input:
        train=MEMORY_FILES["train"],
        valid=MEMORY_FILES["valid"],
        equations=MEMORY_EQUATIONS,
    output:
        weights=f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/model.safetensors",
        config=f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/config.yaml",
        history=f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/history.csv",
    log:
        f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/fit.log",
    benchmark:
        f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        model=lambda wildcards: MEMORIES[wildcards.memory]["model"],
        train=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        settings=lambda wildcards: study.arguments(MEMORIES[wildcards.memory]["settings"]),
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in sorted(MEMORIES[wildcards.memory]["training"].items())
            if name != "seeds"
        ],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: attempt * study.memory_minutes(MEMORIES[wildcards.memory]["training"]),
    message:
        "Delayed digits with {wildcards.memory}, seed {wildcards.seed}"
    shell:
        "python -m fitting fit delayed_digits {params.model} {params.train:q} {params.valid:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule score_memory:
    "Score a network on the test digits after every silence."
    input:
        fit=rules.fit_memory.output,
        test=MEMORY_FILES["test"],
    output:
        metrics=f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/metrics.json",
        predictions=f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/predictions.npz",
    log:
        f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{MEMORY_RESULTS}/{{memory}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
        test=lambda wildcards, input: [f"--data={path}" for path in input.test],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    message:
        "Accuracy of {wildcards.memory}, seed {wildcards.seed}"
    shell:
        "python -m fitting evaluate {params.folder:q} {params.test:q} --out {output.metrics:q}"
        " --predictions {output.predictions:q} --threads {threads} > {log:q} 2>&1"


rule replay_memory:
    "Run the reference in Brian2 from the same equation files, and compare spike by spike."
    input:
        weights=f"{MEMORY_REFERENCE}/model.safetensors",
        test=MEMORY_FILES["test"],
        equations=MEMORY_EQUATIONS,
    output:
        report(
            f"{MEMORY_RESULTS}/replay.json",
            caption="../report/replay_memory.rst",
            category="Working memory",
            labels={"what": "the reference in Brian2"},
        ),
    log:
        f"{MEMORY_RESULTS}/replay.log",
    benchmark:
        f"{MEMORY_RESULTS}/replay.tsv"
    params:
        folder=lambda wildcards, input: Path(input.weights).parent,
        test=lambda wildcards, input: [f"--data={path}" for path in input.test],
        recordings=MEMORY["replay"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
        runtime=lambda wildcards, attempt: 20 * attempt,
    message:
        "{params.recordings} digits in Brian2"
    shell:
        "python -m fitting replay {params.folder:q} {params.test:q} --recordings {params.recordings} --delay 1 --out {output:q}"
        " --threads {threads} > {log:q} 2>&1"


rule fit_population:
    "A population of the reference's kind: the worst become altered copies of the best."
    input:
        train=MEMORY_FILES["train"],
        valid=MEMORY_FILES["valid"],
        equations=MEMORY_EQUATIONS,
    output:
        weights=f"{MEMORY_RESULTS}/population/model.safetensors",
        lineages=f"{MEMORY_RESULTS}/population/lineages.csv",
    log:
        f"{MEMORY_RESULTS}/population/fit.log",
    benchmark:
        f"{MEMORY_RESULTS}/population/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        model=MEMORIES[MEMORY["reference"]]["model"],
        train=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        settings=study.arguments(MEMORIES[MEMORY["reference"]]["settings"]),
        sizes=[f"--{name}={value}" for name, value in sorted(MEMORY["population"].items())],
        batch=MEMORY["training"]["batch_size"],
        rate=MEMORY["training"]["learning_rate"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (2000 + 500 * MEMORY["population"]["members"]),
        runtime=lambda wildcards, attempt: attempt
        * study.memory_minutes(MEMORY["training"] | MEMORY["population"], MEMORY["population"]["members"]),
    message:
        "A population of {params.model}"
    shell:
        "python -m fitting population delayed_digits {params.model} {params.train:q} {params.valid:q} --out {params.folder:q} --resume"
        " {params.sizes:q} --batch-size {params.batch} --learning-rate {params.rate} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule tabulate_memory:
    "Put every network and seed in one table."
    input:
        script="workflow/tables/working_memory.py",
        metrics=expand("{fit}/metrics.json", fit=MEMORY_FITS),
    output:
        report(
            f"{MEMORY_RESULTS}/metrics.csv",
            caption="../report/memory_metrics.rst",
            category="Working memory",
            labels={"what": "accuracy of every network"},
        ),
    log:
        f"{MEMORY_RESULTS}/metrics.log",
    benchmark:
        f"{MEMORY_RESULTS}/metrics.tsv"
    params:
        fits=MEMORY_FITS,
        entries=json.dumps(list(MEMORIES.values()), sort_keys=True),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.working_memory {params.fits:q} --fits {params.entries:q} --out {output:q} > {log:q} 2>&1"


rule draw_digits:
    "A contact sheet of spoken digits as spikes."
    input:
        digits=list(MEMORY_SHEET.values()),
        script="workflow/figures/digits.py",
        style=STYLE,
    output:
        svg=report(
            f"{MEMORY_RESULTS}/figures/digits.svg",
            caption="../report/digits.rst",
            category="Working memory",
            labels={"what": "spoken digits"},
        ),
        png=f"{MEMORY_RESULTS}/figures/digits.png",
    log:
        f"{MEMORY_RESULTS}/figures/digits.log",
    benchmark:
        f"{MEMORY_RESULTS}/figures/digits.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        names=list(MEMORY_SHEET),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.digits {input.digits:q} --names {params.names} --out {params.stem:q} > {log:q} 2>&1"


rule draw_forgetting:
    "Accuracy against the silence before the answer."
    input:
        metrics=rules.tabulate_memory.output,
        script="workflow/figures/forgetting.py",
        style=STYLE,
    output:
        svg=report(
            f"{MEMORY_RESULTS}/figures/forgetting.svg",
            caption="../report/forgetting.rst",
            category="Working memory",
            labels={"what": "accuracy against delay"},
        ),
        png=f"{MEMORY_RESULTS}/figures/forgetting.png",
    log:
        f"{MEMORY_RESULTS}/figures/forgetting.log",
    benchmark:
        f"{MEMORY_RESULTS}/figures/forgetting.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.forgetting {input.metrics:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_time_constants:
    "The time constants that current-based networks learn."
    input:
        weights=expand("{fit}/model.safetensors", fit=MEMORY_FITS),
        script="workflow/figures/time_constants.py",
        style=STYLE,
    output:
        svg=report(
            f"{MEMORY_RESULTS}/figures/time_constants.svg",
            caption="../report/time_constants.rst",
            category="Working memory",
            labels={"what": "learnt time constants"},
        ),
        png=f"{MEMORY_RESULTS}/figures/time_constants.png",
    log:
        f"{MEMORY_RESULTS}/figures/time_constants.log",
    benchmark:
        f"{MEMORY_RESULTS}/figures/time_constants.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.time_constants {input.weights:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_lineages:
    "Who descends from whom in a population, and how the losses fall."
    input:
        lineages=rules.fit_population.output.lineages,
        script="workflow/figures/lineages.py",
        style=STYLE,
    output:
        svg=report(
            f"{MEMORY_RESULTS}/figures/lineages.svg",
            caption="../report/lineages.rst",
            category="Working memory",
            labels={"what": "lineages of a population"},
        ),
        png=f"{MEMORY_RESULTS}/figures/lineages.png",
    log:
        f"{MEMORY_RESULTS}/figures/lineages.log",
    benchmark:
        f"{MEMORY_RESULTS}/figures/lineages.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.lineages {input.lineages:q} --out {params.stem:q} > {log:q} 2>&1"


rule write_memory_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/working_memory.html.jinja",
        macros="workflow/report/macros.html.jinja",
        metrics=f"{MEMORY_RESULTS}/metrics.csv",
        replay=f"{MEMORY_RESULTS}/replay.json",
        figures=expand(f"{MEMORY_RESULTS}/figures/{{name}}.svg", name=MEMORY_FIGURES),
        equations=MEMORY_EQUATIONS,
        costs=[
            *expand("{fit}/{step}.tsv", fit=MEMORY_FITS, step=["fit", "evaluate"]),
            f"{MEMORY_RESULTS}/replay.tsv",
            f"{MEMORY_RESULTS}/population/fit.tsv",
        ],
    output:
        f"{MEMORY_RESULTS}/section.html",
    log:
        f"{MEMORY_RESULTS}/section.log",
    benchmark:
        f"{MEMORY_RESULTS}/section.tsv"
    params:
        scale=MEMORY_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.metrics:q} --results {input.replay:q} --equations {input.equations:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_working_memory:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/working_memory.py",
        metrics=f"{MEMORY_RESULTS}/metrics.csv",
        replay=f"{MEMORY_RESULTS}/replay.json",
        pictures=expand(f"{MEMORY_RESULTS}/figures/{{name}}.png", name=MEMORY_FIGURES),
        costs=rules.write_memory_section.input.costs,
    output:
        f"results/record/working_memory/{MEMORY_LABEL}/provenance.json",
    log:
        f"results/record_working_memory_{MEMORY_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 working_memory --config scale={config['scale']}",
        scale=config["scale"],
        shown=MEMORY["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record working_memory --out {params.folder:q} --readme README.md --command {params.command:q}"
        " --scale {params.scale} --shown {params.shown} --tables {input.metrics:q} --results {input.replay:q} --pictures {input.pictures:q}"
        " --costs {input.costs:q} > {log:q} 2>&1"
