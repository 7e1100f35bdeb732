"""NeuronIO: the layer-5 cell's answers to synaptic events, and surrogates that learn to give them."""

import json
import math
from pathlib import Path

NEURONIO = config["neuronio"]
CELL = study.cell_name(config["cell"])
LABEL = study.label(config["scale"], "neuronio")
DATA = study.data_folder(config["cell"], config["scale"])
RESULTS = f"results/neuronio/{CELL}/{LABEL}"
SHARDS = {split: study.shards(NEURONIO, DATA, split) for split in study.SPLITS}
EVERY_SHARD = [path for split in study.SPLITS for path in SHARDS[split]]
MODELS = {entry["name"]: entry for entry in study.models(NEURONIO)}
FITS = study.fit_folders(NEURONIO, RESULTS)
HEADLINE = study.fit_folders(NEURONIO, RESULTS, "performance")
PAIRS = study.pairs(NEURONIO)
COMPARED = [fit for fit in FITS if Path(fit).parent.name in {name for pair in PAIRS for name in pair}]
CURVES = study.fit_folders(NEURONIO, RESULTS, "curve_data", "curve_steps")
# The first fit of the reference, which figures of a single neuron show.
SHOWN = next(fit for fit in FITS if Path(fit).parent.name == NEURONIO["reference"])
STYLE = ["sims/style.py", "workflow/figures/style.py"]
FIGURES = ["cell", "input_map", "rates", "statistics", "performance", "flops", "trace", "memory", "roc", "learning"]
FIGURES += ["ablations"] if study.fit_folders(NEURONIO, RESULTS, *study.ABLATIONS) else []
FIGURES += ["curves"] if CURVES else []
COSTS = [
    "results/neuronio/equations.tsv",
    *(path.replace(".nc", ".tsv") for path in EVERY_SHARD),
    f"{RESULTS}/cross_check.tsv",
    *expand("{fit}/{step}.tsv", fit=FITS, step=["fit", "evaluate"]),
]

# Commands that the study of hypotheses runs too.
GENERATE = (
    "python -m sims neuronio generate {output:q} --cell {params.cell:q} --equations {input.cell[0]:q}"
    " --inputs {input.inputs[0]:q} --backend {params.backend} --precision {params.precision} --dt {params.dt}"
    " --seed {params.seed} --first {params.first} --simulations {params.simulations} --seconds {params.seconds}"
    " > {log:q} 2>&1"
)
FIT = (
    "python -m fitting fit neuronio {params.model} {params.train:q} {params.valid:q} --out {params.folder:q} --resume --replace"
    " --seed {wildcards.seed} {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"
)
EVALUATE = (
    "python -m fitting evaluate {params.folder:q} {params.test:q} --out {output.metrics:q}"
    " --predictions {output.predictions:q} --threads {threads} > {log:q} 2>&1"
)


rule neuronio:
    "The whole study: data and their card, fits, tables and figures."
    input:
        f"data/neuronio/{CELL}/{LABEL}.md",
        f"{RESULTS}/cross_check.json",
        f"{RESULTS}/metrics.csv",
        f"{RESULTS}/paired.csv",
        expand(f"{RESULTS}/figures/{{name}}.{{ending}}", name=FIGURES, ending=["svg", "png"]),


rule check_equations:
    "Check units, names and bounds of the cell's and the inputs' files; keep the one-page summaries."
    input:
        cell=study.sources(config["equations"]),
        inputs=study.sources(config["inputs"]),
    output:
        "results/neuronio/equations.txt",
    log:
        "results/neuronio/equations.log",
    benchmark:
        "results/neuronio/equations.tsv"
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    message:
        "Checking {input.cell[0]} and {input.inputs[0]}"
    shell:
        "( python -m sims check {input.cell[0]:q} && echo && python -m sims check {input.inputs[0]:q} ) > {output} 2> {log}"


rule generate_shard:
    "Simulate one shard of the data set: draw the inputs, run the cell, store both."
    input:
        cell=study.sources(config["equations"]),
        inputs=study.sources(config["inputs"]),
        morphology=study.morphology_files(config["cell"]),
    output:
        f"{DATA}/{{split}}/{{shard}}.nc",
    log:
        f"{DATA}/{{split}}/{{shard}}.log",
    benchmark:
        f"{DATA}/{{split}}/{{shard}}.tsv"
    params:
        cell=config["cell"],
        first=lambda wildcards: study.first_simulation(NEURONIO, wildcards.split, wildcards.shard),
        simulations=lambda wildcards: NEURONIO["splits"][wildcards.split]["simulations"],
        seconds=lambda wildcards: NEURONIO["splits"][wildcards.split]["seconds"],
        seed=config["seed"],
        backend=config["backend"],
        precision=config["precision"],
        dt=config["dt"],
    threads: 1
    resources:
        # The first job compiles, in NEURON on two cores with up to 650 MB; a shard takes a quarter of a MB a second.
        mem_mb=lambda wildcards, attempt: attempt * (800 + study.shard_seconds(NEURONIO, wildcards.split) // 4),
        runtime=lambda wildcards, attempt: attempt
        * study.simulation_minutes(config["backend"], config["dt"], study.shard_seconds(NEURONIO, wildcards.split)),
    message:
        "Simulating {params.simulations} x {params.seconds} s of {params.cell} ({wildcards.split} {wildcards.shard})"
    shell:
        GENERATE


rule cross_check:
    "Simulate a few test simulations again in NEURON, at the same step, and compare."
    input:
        shard=SHARDS["test"][0],
        cell=study.sources(config["equations"]),
        inputs=study.sources(config["inputs"]),
        morphology=study.morphology_files(config["cell"]),
    output:
        report(
            f"{RESULTS}/cross_check.json",
            caption="../report/cross_check.rst",
            category="NeuronIO",
            labels={"what": "the data against NEURON"},
        ),
    log:
        f"{RESULTS}/cross_check.log",
    benchmark:
        f"{RESULTS}/cross_check.tsv"
    params:
        cell=config["cell"],
        simulations=NEURONIO["cross_check"]["simulations"],
        seconds=NEURONIO["cross_check"]["seconds"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (800 + study.shard_seconds(NEURONIO, "test") // 4),
        runtime=lambda wildcards, attempt: attempt
        * study.simulation_minutes("neuron", config["dt"], math.prod(NEURONIO["cross_check"].values())),
    message:
        "Simulating {params.simulations} x {params.seconds} s of {input.shard} again in NEURON"
    shell:
        "python -m sims neuronio cross-check {input.shard:q} {output:q} --cell {params.cell:q} --equations {input.cell[0]:q}"
        " --inputs {input.inputs[0]:q} --simulations {params.simulations} --seconds {params.seconds} > {log:q} 2>&1"


rule write_data_card:
    "Say what the data set is, how it was made, and whether its statistics are the published ones."
    input:
        shards=EVERY_SHARD,
        script="workflow/tables/data_card.py",
        template="workflow/tables/data_card.md.jinja",
        registry="data/registry.csv",
    output:
        card=report(
            f"data/neuronio/{CELL}/{LABEL}.md",
            caption="../report/data_card.rst",
            category="NeuronIO",
            labels={"what": "data card"},
        ),
        json=f"{RESULTS}/data_card.json",
    log:
        f"{RESULTS}/data_card.log",
    benchmark:
        f"{RESULTS}/data_card.tsv"
    params:
        cell=config["cell"],
        equations=config["equations"],
        inputs=config["inputs"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 800 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    message:
        "Writing {output.card}"
    shell:
        "python -m workflow.tables.data_card {input.shards:q} --cell {params.cell:q} --equations {params.equations:q}"
        " --inputs {params.inputs:q} --template {input.template} --registry {input.registry} --out {output.card:q}"
        " --json {output.json:q} > {log:q} 2>&1"


rule fit_surrogate:
    "Fit one surrogate to the ground truth, one seed; a fit that was killed goes on from its checkpoint."
    input:
        train=lambda wildcards: SHARDS["train"][: MODELS[wildcards.model]["training"].get("shards")],
        valid=SHARDS["valid"],
    output:
        weights=f"{RESULTS}/{{model}}/seed{{seed}}/model.safetensors",
        config=f"{RESULTS}/{{model}}/seed{{seed}}/config.yaml",
        history=f"{RESULTS}/{{model}}/seed{{seed}}/history.csv",
    log:
        f"{RESULTS}/{{model}}/seed{{seed}}/fit.log",
    benchmark:
        f"{RESULTS}/{{model}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        train=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        model=lambda wildcards: MODELS[wildcards.model]["model"],
        settings=lambda wildcards: [
            f"--set={name}={value}" for name, value in MODELS[wildcards.model]["settings"].items()
        ],
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in MODELS[wildcards.model]["training"].items()
            if name not in ("shards", "seeds")
        ],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * (1500 + int(450 * MODELS[wildcards.model]["hours"]) + study.simulated_seconds(NEURONIO, "valid") // 8),
        runtime=lambda wildcards, attempt: attempt
        * study.fit_minutes(MODELS[wildcards.model]["model"], MODELS[wildcards.model]["training"]),
    message:
        "Fitting {wildcards.model}, seed {wildcards.seed}"
    shell:
        FIT


rule evaluate_surrogate:
    "Score a fitted surrogate on simulations that neither its weights nor their choice have seen."
    input:
        fit=rules.fit_surrogate.output,
        test=SHARDS["test"],
    output:
        metrics=f"{RESULTS}/{{model}}/seed{{seed}}/metrics.json",
        predictions=f"{RESULTS}/{{model}}/seed{{seed}}/predictions.npz",
    log:
        f"{RESULTS}/{{model}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{RESULTS}/{{model}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
        test=lambda wildcards, input: [f"--data={path}" for path in input.test],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (1500 + study.simulated_seconds(NEURONIO, "test") // 8),
        runtime=lambda wildcards, attempt: attempt * (5 + study.simulated_seconds(NEURONIO, "test") // 60),
    message:
        "Scoring {wildcards.model}, seed {wildcards.seed}"
    shell:
        EVALUATE


rule tabulate_metrics:
    "Put every model and seed in one table, the paper's number beside ours."
    input:
        script="workflow/tables/metrics.py",
        published="workflow/tables/published.csv",
        metrics=expand("{fit}/metrics.json", fit=FITS),
        fits=expand("{fit}/fit.tsv", fit=FITS),
    output:
        report(
            f"{RESULTS}/metrics.csv",
            caption="../report/metrics.rst",
            category="NeuronIO",
            labels={"what": "scores of the surrogates"},
        ),
    log:
        f"{RESULTS}/metrics.log",
    benchmark:
        f"{RESULTS}/metrics.tsv"
    params:
        fits=FITS,
        models=json.dumps(list(MODELS.values())),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 300 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.metrics {params.fits:q} --published {input.published} --models {params.models:q} --out {output:q}"
        " > {log:q} 2>&1"


rule compare_pairs:
    "Differences between models on the same test simulations, with intervals."
    input:
        script="workflow/tables/paired.py",
        predictions=expand("{fit}/predictions.npz", fit=COMPARED),
    output:
        report(
            f"{RESULTS}/paired.csv",
            caption="../report/paired.rst",
            category="NeuronIO",
            labels={"what": "differences between the surrogates"},
        ),
    log:
        f"{RESULTS}/paired.log",
    benchmark:
        f"{RESULTS}/paired.tsv"
    params:
        pairs=[f"--pair={name},{other}" for name, other in PAIRS],
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    shell:
        "python -m workflow.tables.paired {input.predictions:q} {params.pairs:q} --seed {params.seed} --out {output:q} > {log:q} 2>&1"


rule draw_performance:
    "Scores against live parameters, and against operations a step; the published ones beside ours."
    input:
        metrics=f"{RESULTS}/metrics.csv",
        published="workflow/tables/published.csv",
        script="workflow/figures/performance.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/{{figure}}.svg",
            caption="../report/performance.rst",
            category="NeuronIO",
            labels={"what": "{figure}"},
        ),
        png=f"{RESULTS}/figures/{{figure}}.png",
    log:
        f"{RESULTS}/figures/{{figure}}.log",
    benchmark:
        f"{RESULTS}/figures/{{figure}}.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        against=lambda wildcards: {"performance": "parameters_live", "flops": "flops_per_step"}[wildcards.figure],
    wildcard_constraints:
        figure="performance|flops",
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.performance {input.metrics:q} --published {input.published} --against {params.against}"
        " --out {params.stem:q} > {log:q} 2>&1"


rule draw_ablations:
    "What changing one thing of one neuron does to its score."
    input:
        metrics=f"{RESULTS}/metrics.csv",
        script="workflow/figures/ablations.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/ablations.svg",
            caption="../report/ablations.rst",
            category="NeuronIO",
            labels={"what": "ablations"},
        ),
        png=f"{RESULTS}/figures/ablations.png",
    log:
        f"{RESULTS}/figures/ablations.log",
    benchmark:
        f"{RESULTS}/figures/ablations.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        models=json.dumps(list(MODELS.values())),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.ablations {input.metrics:q} --models {params.models:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_curves:
    "What more data and more steps are worth."
    input:
        metrics=f"{RESULTS}/metrics.csv",
        histories=expand("{fit}/history.csv", fit=CURVES),
        script="workflow/figures/curves.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/curves.svg",
            caption="../report/curves.rst",
            category="NeuronIO",
            labels={"what": "curves over data and steps"},
        ),
        png=f"{RESULTS}/figures/curves.png",
    log:
        f"{RESULTS}/figures/curves.log",
    benchmark:
        f"{RESULTS}/figures/curves.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.curves {input.metrics:q} --histories {input.histories:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_memory:
    "Inside the reference: its input, branches, memories and outputs over a second, and its synaptic weights."
    input:
        fit=f"{SHOWN}/model.safetensors",
        config=f"{SHOWN}/config.yaml",
        shard=SHARDS["test"][0],
        script="workflow/figures/memory.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/memory.svg",
            caption="../report/memory.rst",
            category="NeuronIO",
            labels={"what": "inside a surrogate"},
        ),
        png=f"{RESULTS}/figures/memory.png",
    log:
        f"{RESULTS}/figures/memory.log",
    benchmark:
        f"{RESULTS}/figures/memory.tsv"
    params:
        folder=lambda wildcards, input: Path(input.fit).parent,
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 2000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.memory {params.folder:q} {input.shard:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_trace:
    "The neuron and the reference on one test simulation."
    input:
        predictions=f"{SHOWN}/predictions.npz",
        script="workflow/figures/trace.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/trace.svg",
            caption="../report/trace.rst",
            category="NeuronIO",
            labels={"what": "example trace"},
        ),
        png=f"{RESULTS}/figures/trace.png",
    log:
        f"{RESULTS}/figures/trace.log",
    benchmark:
        f"{RESULTS}/figures/trace.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        label=NEURONIO["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.trace {input.predictions:q} --out {params.stem:q} --label {params.label} > {log:q} 2>&1"


rule draw_roc:
    "Spikes found against false alarms, over milliseconds of the test simulations."
    input:
        predictions=expand("{fit}/predictions.npz", fit=HEADLINE),
        script="workflow/figures/roc.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/roc.svg",
            caption="../report/roc.rst",
            category="NeuronIO",
            labels={"what": "ROC curves"},
        ),
        png=f"{RESULTS}/figures/roc.png",
    log:
        f"{RESULTS}/figures/roc.log",
    benchmark:
        f"{RESULTS}/figures/roc.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.roc {input.predictions:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_learning:
    "Loss and AUC on the validation simulations while fitting."
    input:
        histories=expand("{fit}/history.csv", fit=HEADLINE),
        script="workflow/figures/learning.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/learning.svg",
            caption="../report/learning.rst",
            category="NeuronIO",
            labels={"what": "learning curves"},
        ),
        png=f"{RESULTS}/figures/learning.png",
    log:
        f"{RESULTS}/figures/learning.log",
    benchmark:
        f"{RESULTS}/figures/learning.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.learning {input.histories:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_statistics:
    "Somatic voltage, spike counts and intervals of all simulations, rates of the input channels."
    input:
        shards=EVERY_SHARD,
        script="workflow/figures/statistics.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/statistics.svg",
            caption="../report/statistics.rst",
            category="NeuronIO",
            labels={"what": "statistics of the data"},
        ),
        png=f"{RESULTS}/figures/statistics.png",
    log:
        f"{RESULTS}/figures/statistics.log",
    benchmark:
        f"{RESULTS}/figures/statistics.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.statistics {input.shards:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_cell:
    "The morphology, with its nexus and calcium hot zone; mechanism files do not enter."
    input:
        equations=study.cell_files(config["equations"]),
        morphology=study.morphology_files(config["cell"]),
        script="workflow/figures/cell.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/cell.svg",
            caption="../report/cell.rst",
            category="NeuronIO",
            labels={"what": "the cell"},
        ),
        png=f"{RESULTS}/figures/cell.png",
    log:
        f"{RESULTS}/figures/cell.log",
    benchmark:
        f"{RESULTS}/figures/cell.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        cell=config["cell"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.cell {params.cell:q} {input.equations[0]:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_rates:
    "Input rates of either tree and the output rate over the time in a simulation."
    input:
        shards=EVERY_SHARD,
        script="workflow/figures/rates.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/rates.svg",
            caption="../report/rates.rst",
            category="NeuronIO",
            labels={"what": "rates over time"},
        ),
        png=f"{RESULTS}/figures/rates.png",
    log:
        f"{RESULTS}/figures/rates.log",
    benchmark:
        f"{RESULTS}/figures/rates.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.rates {input.shards:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_input_map:
    "Where the input arrives: the mean rates of every segment's channels on the morphology."
    input:
        shards=EVERY_SHARD,
        morphology=study.morphology_files(config["cell"]),
        drawing="workflow/figures/cell.py",
        script="workflow/figures/input_map.py",
        style=STYLE,
    output:
        svg=report(
            f"{RESULTS}/figures/input_map.svg",
            caption="../report/input_map.rst",
            category="NeuronIO",
            labels={"what": "map of the inputs"},
        ),
        png=f"{RESULTS}/figures/input_map.png",
    log:
        f"{RESULTS}/figures/input_map.log",
    benchmark:
        f"{RESULTS}/figures/input_map.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        cell=config["cell"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.input_map {params.cell:q} {input.shards:q} --out {params.stem:q} > {log:q} 2>&1"


rule record_neuronio:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/neuronio.py",
        tables=[f"{RESULTS}/metrics.csv", f"{RESULTS}/paired.csv"],
        pictures=expand(
            f"{RESULTS}/figures/{{name}}.png",
            name=[name for name in FIGURES if name in ("trace", "cell", "performance", "ablations", "curves")],
        ),
        card=rules.write_data_card.output.json,
        costs=COSTS,
    output:
        f"results/record/neuronio/{LABEL}/provenance.json",
    log:
        f"results/record_neuronio_{LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 all --config cell={config['cell']} scale={config['scale']}",
        scale=config["scale"],
        shown=NEURONIO["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record neuronio --out {params.folder:q} --readme README.md --command {params.command:q} --scale {params.scale}"
        " --shown {params.shown} --tables {input.tables:q} --pictures {input.pictures:q} --results {input.card:q} --costs {input.costs:q}"
        " > {log:q} 2>&1"
