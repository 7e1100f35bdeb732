"""Hypotheses: a few lines of the cell changed, from the edited file to what is hard to imitate about the cell.

A hypothesis that cannot be read or simulated says so in its verdict. Later steps then leave their files empty, so that
the others go on, and the report gives the reason.
"""

import json
from pathlib import Path

HYPOTHESES = config["hypotheses"]
HYPOTHESIS_FILES = study.hypothesis_files(HYPOTHESES)
HYPOTHESIS_SETS = {"listed": HYPOTHESES["listed"], "every": list(HYPOTHESIS_FILES)}
HYPOTHESIS_LABEL = study.label(config["scale"], "hypotheses")
HYPOTHESIS_DATA = f"data/hypotheses/{CELL}/{HYPOTHESIS_LABEL}"
HYPOTHESIS_OUT = f"results/hypotheses/{CELL}/{HYPOTHESIS_LABEL}"
HYPOTHESIS_PATHS = study.Hypotheses(HYPOTHESES, HYPOTHESIS_DATA, HYPOTHESIS_OUT, config["equations"], config["inputs"])
HYPOTHESIS_MODELS = {entry["name"]: entry for entry in study.models(HYPOTHESES)}
HYPOTHESIS_FIGURES = ["hypothesis_traces", "hypothesis_scores", "hypothesis_cross"]
HYPOTHESIS_RESULTS = [f"{HYPOTHESIS_OUT}/listed/section.html"]
# What a command's output is where the hypothesis cannot be simulated.
IF_IT_RUNS = "if ! grep -q '\"runs\": true' {input.verdict:q}; then for file in {output:q}; do : > $file; done; exit 0; fi; "


wildcard_constraints:
    hypothesis=r"\w+",
    tested=r"\w+",
    extent="listed|every",
    surrogate="|".join(HYPOTHESIS_MODELS),


rule hypotheses:
    "The whole study, of every file found: check, calibrate, generate, fit, evaluate, test on one another, draw."
    input:
        f"{HYPOTHESIS_OUT}/every/section.html",
        expand(f"{HYPOTHESIS_OUT}/every/figures/{{name}}.{{ending}}", name=HYPOTHESIS_FIGURES, ending=["svg", "png"]),


rule check_hypothesis:
    "Read a hypothesis; write the cell and the inputs that it stands for, and what it changes."
    input:
        sources=lambda wildcards: HYPOTHESIS_PATHS.sources(wildcards.hypothesis),
        script="workflow/verdict.py",
    output:
        cell=f"{HYPOTHESIS_DATA}/{{hypothesis}}/cell.yaml",
        inputs=f"{HYPOTHESIS_DATA}/{{hypothesis}}/inputs.yaml",
        changes=f"{HYPOTHESIS_DATA}/{{hypothesis}}/changes.json",
        verdict=f"{HYPOTHESIS_DATA}/{{hypothesis}}/check.json",
    log:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/check.log",
    benchmark:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/check.tsv"
    params:
        folder=lambda wildcards, output: Path(output.cell).parent,
        cell=config["equations"],
        inputs=config["inputs"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    message:
        "Checking the hypothesis {wildcards.hypothesis}"
    shell:
        "python -m workflow.verdict {output.verdict:q} --outputs {output.cell:q} {output.inputs:q} {output.changes:q} --"
        " sims neuronio hypothesis {input.sources[0]:q} {params.folder:q} --equations {params.cell:q} --inputs {params.inputs:q}"
        " > {log:q} 2>&1"


rule calibrate_hypothesis:
    "Scale the excitation until the cell spikes at the rate that all share; keep the simulations at scale 1."
    input:
        sources=lambda wildcards: HYPOTHESIS_PATHS.sources(wildcards.hypothesis),
        cell=rules.check_hypothesis.output.cell,
        inputs=rules.check_hypothesis.output.inputs,
        checked=rules.check_hypothesis.output.verdict,
        morphology=study.morphology_files(config["cell"]),
        script="workflow/verdict.py",
    output:
        inputs=f"{HYPOTHESIS_DATA}/{{hypothesis}}/calibrated.yaml",
        json=f"{HYPOTHESIS_DATA}/{{hypothesis}}/calibration.json",
        unscaled=f"{HYPOTHESIS_DATA}/{{hypothesis}}/unscaled.nc",
        verdict=f"{HYPOTHESIS_DATA}/{{hypothesis}}/verdict.json",
    log:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/calibrate.log",
    benchmark:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/calibrate.tsv"
    params:
        options=[f"--{name}={value}" for name, value in sorted(HYPOTHESES["calibration"].items())],
        first=study.FIRST_CALIBRATION,
        cell=config["cell"],
        backend=config["backend"],
        precision=config["precision"],
        dt=config["dt"],
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (800 + HYPOTHESES["calibration"]["simulations"] * 2),
        runtime=lambda wildcards, attempt: attempt
        * study.simulation_minutes(config["backend"], config["dt"], study.calibration_seconds(HYPOTHESES)),
    message:
        "Calibrating the inputs of {wildcards.hypothesis}"
    shell:
        "python -m workflow.verdict {output.verdict:q} --after {input.checked:q} --outputs {output.inputs:q} {output.json:q} {output.unscaled:q} --"
        " sims neuronio calibrate {output.inputs:q} --json {output.json:q} --unscaled {output.unscaled:q} --equations {input.cell:q}"
        " --inputs {input.inputs:q} --cell {params.cell:q} --backend {params.backend} --precision {params.precision} --dt {params.dt}"
        " --seed {params.seed} --first {params.first} {params.options:q} > {log:q} 2>&1"


rule generate_hypothesis:
    "Simulate one shard of a hypothesis with its calibrated inputs."
    input:
        cell=lambda wildcards: [f"{HYPOTHESIS_DATA}/{wildcards.hypothesis}/cell.yaml", *HYPOTHESIS_PATHS.sources(wildcards.hypothesis)],
        inputs=[rules.calibrate_hypothesis.output.inputs],
        verdict=rules.calibrate_hypothesis.output.verdict,
        morphology=study.morphology_files(config["cell"]),
    output:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/{{split}}/{{shard}}.nc",
    log:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/{{split}}/{{shard}}.log",
    benchmark:
        f"{HYPOTHESIS_DATA}/{{hypothesis}}/{{split}}/{{shard}}.tsv"
    params:
        cell=config["cell"],
        first=lambda wildcards: study.first_simulation(HYPOTHESES, wildcards.split, wildcards.shard),
        simulations=lambda wildcards: HYPOTHESES["splits"][wildcards.split]["simulations"],
        seconds=lambda wildcards: HYPOTHESES["splits"][wildcards.split]["seconds"],
        seed=config["seed"],
        backend=config["backend"],
        precision=config["precision"],
        dt=config["dt"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (800 + study.shard_seconds(HYPOTHESES, wildcards.split) // 4),
        runtime=lambda wildcards, attempt: attempt
        * study.simulation_minutes(config["backend"], config["dt"], study.shard_seconds(HYPOTHESES, wildcards.split)),
    message:
        "Data of {wildcards.hypothesis}, {wildcards.split} {wildcards.shard}"
    shell:
        IF_IT_RUNS + GENERATE


rule fit_hypothesis:
    "Fit one surrogate to one hypothesis, one seed; a fit that was killed goes on from its checkpoint."
    input:
        train=lambda wildcards: HYPOTHESIS_PATHS.shards(wildcards.hypothesis, "train"),
        valid=lambda wildcards: HYPOTHESIS_PATHS.shards(wildcards.hypothesis, "valid"),
        verdict=rules.calibrate_hypothesis.output.verdict,
    output:
        weights=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/model.safetensors",
        config=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/config.yaml",
        history=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/history.csv",
    log:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/fit.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        train=lambda wildcards, input: [f"--data={path}" for path in input.train],
        valid=lambda wildcards, input: [f"--valid={path}" for path in input.valid],
        model=lambda wildcards: HYPOTHESIS_MODELS[wildcards.surrogate]["model"],
        settings=lambda wildcards: [
            f"--set={name}={value}" for name, value in sorted(HYPOTHESIS_MODELS[wildcards.surrogate]["settings"].items())
        ],
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in sorted(HYPOTHESIS_MODELS[wildcards.surrogate]["training"].items())
            if name not in ("shards", "seeds")
        ],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt
        * (1500 + int(450 * HYPOTHESIS_MODELS[wildcards.surrogate]["hours"]) + study.simulated_seconds(HYPOTHESES, "valid") // 8),
        runtime=lambda wildcards, attempt: attempt
        * study.fit_minutes(HYPOTHESIS_MODELS[wildcards.surrogate]["model"], HYPOTHESIS_MODELS[wildcards.surrogate]["training"]),
    message:
        "Fitting {wildcards.surrogate} to {wildcards.hypothesis}, seed {wildcards.seed}"
    shell:
        IF_IT_RUNS + FIT


rule evaluate_hypothesis:
    "Score a surrogate on test simulations of the hypothesis that it was fitted to."
    input:
        fit=rules.fit_hypothesis.output,
        test=lambda wildcards: HYPOTHESIS_PATHS.shards(wildcards.hypothesis, "test"),
        verdict=rules.calibrate_hypothesis.output.verdict,
    output:
        metrics=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/metrics.json",
        predictions=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/predictions.npz",
    log:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
        test=lambda wildcards, input: [f"--data={path}" for path in input.test],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (1500 + study.simulated_seconds(HYPOTHESES, "test") // 8),
        runtime=lambda wildcards, attempt: attempt * (5 + study.simulated_seconds(HYPOTHESES, "test") // 60),
    message:
        "Scoring {wildcards.surrogate} of {wildcards.hypothesis}, seed {wildcards.seed}"
    shell:
        IF_IT_RUNS + EVALUATE


rule cross_test_hypothesis:
    "Score a surrogate on test simulations of another hypothesis than the one that it was fitted to."
    input:
        fit=rules.fit_hypothesis.output,
        test=lambda wildcards: HYPOTHESIS_PATHS.shards(wildcards.tested, "test"),
        verdict=rules.calibrate_hypothesis.output.verdict,
        tested=f"{HYPOTHESIS_DATA}/{{tested}}/verdict.json",
    output:
        metrics=f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/on/{{tested}}.json",
        predictions=temp(f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/on/{{tested}}.npz"),
    log:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/on/{{tested}}.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{hypothesis}}/{{surrogate}}/seed{{seed}}/on/{{tested}}.tsv"
    params:
        folder=lambda wildcards, input: Path(input.fit[0]).parent,
        test=lambda wildcards, input: [f"--data={path}" for path in input.test],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: attempt * (1500 + study.simulated_seconds(HYPOTHESES, "test") // 8),
        runtime=lambda wildcards, attempt: attempt * (5 + study.simulated_seconds(HYPOTHESES, "test") // 60),
    message:
        "Scoring {wildcards.surrogate} of {wildcards.hypothesis} on {wildcards.tested}"
    shell:
        IF_IT_RUNS + IF_IT_RUNS.replace("input.verdict", "input.tested") + EVALUATE


rule tabulate_hypotheses:
    "Put what every hypothesis changes, does and takes to imitate side by side."
    input:
        script="workflow/tables/hypotheses.py",
        verdicts=lambda wildcards: HYPOTHESIS_PATHS.files(HYPOTHESIS_SETS[wildcards.extent], "verdict.json"),
        changes=lambda wildcards: HYPOTHESIS_PATHS.files(HYPOTHESIS_SETS[wildcards.extent], "changes.json"),
        unscaled=lambda wildcards: HYPOTHESIS_PATHS.files(HYPOTHESIS_SETS[wildcards.extent], "unscaled.nc"),
        test=lambda wildcards: [path for name in HYPOTHESIS_SETS[wildcards.extent] for path in HYPOTHESIS_PATHS.shards(name, "test")],
        fits=lambda wildcards: HYPOTHESIS_PATHS.scored(HYPOTHESIS_SETS[wildcards.extent]),
        cross=lambda wildcards: HYPOTHESIS_PATHS.crossed(HYPOTHESIS_SETS[wildcards.extent]),
    output:
        json=f"{HYPOTHESIS_OUT}/{{extent}}/hypotheses.json",
        scores=report(
            f"{HYPOTHESIS_OUT}/{{extent}}/scores.csv",
            caption="../report/hypothesis_scores.rst",
            category="Hypotheses",
            labels={"what": "scores, {extent}"},
        ),
    log:
        f"{HYPOTHESIS_OUT}/{{extent}}/hypotheses.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{extent}}/hypotheses.tsv"
    params:
        names=lambda wildcards: HYPOTHESIS_SETS[wildcards.extent],
        data=HYPOTHESIS_DATA,
        results=lambda wildcards, output: Path(output.json).parents[1],
        models=json.dumps(list(HYPOTHESIS_MODELS.values()), sort_keys=True),
        reference=HYPOTHESES["reference"],
        shards=HYPOTHESES["splits"]["test"]["shards"],
        seed=config["seed"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 10 * attempt,
    shell:
        "python -m workflow.tables.hypotheses {params.names} --data {params.data:q} --results {params.results:q} --models {params.models:q}"
        " --reference {params.reference} --shards {params.shards} --seed {params.seed} --out {output.json:q} --scores {output.scores:q}"
        " > {log:q} 2>&1"


rule draw_hypotheses:
    "One figure over all hypotheses: traces on the same inputs, scores and time constants, or the cross-test."
    input:
        json=rules.tabulate_hypotheses.output.json,
        unscaled=lambda wildcards: HYPOTHESIS_PATHS.files(HYPOTHESIS_SETS[wildcards.extent], "unscaled.nc"),
        script="workflow/figures/{figure}.py",
        style=STYLE,
    output:
        svg=report(
            f"{HYPOTHESIS_OUT}/{{extent}}/figures/{{figure}}.svg",
            caption="../report/{figure}.rst",
            category="Hypotheses",
            labels={"what": "{figure}, {extent}"},
        ),
        png=f"{HYPOTHESIS_OUT}/{{extent}}/figures/{{figure}}.png",
    log:
        f"{HYPOTHESIS_OUT}/{{extent}}/figures/{{figure}}.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{extent}}/figures/{{figure}}.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    wildcard_constraints:
        figure="|".join(HYPOTHESIS_FIGURES),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.{wildcards.figure} {input.json:q} --shards {input.unscaled:q} --out {params.stem:q} > {log:q} 2>&1"


rule write_hypotheses_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/hypotheses.html.jinja",
        macros="workflow/report/macros.html.jinja",
        scores=rules.tabulate_hypotheses.output.scores,
        json=rules.tabulate_hypotheses.output.json,
        figures=expand(f"{HYPOTHESIS_OUT}/{{{{extent}}}}/figures/{{name}}.svg", name=HYPOTHESIS_FIGURES),
        equations=lambda wildcards: [HYPOTHESIS_FILES[name] for name in HYPOTHESIS_SETS[wildcards.extent]],
        costs=lambda wildcards: HYPOTHESIS_PATHS.costs(HYPOTHESIS_SETS[wildcards.extent]),
    output:
        f"{HYPOTHESIS_OUT}/{{extent}}/section.html",
    log:
        f"{HYPOTHESIS_OUT}/{{extent}}/section.log",
    benchmark:
        f"{HYPOTHESIS_OUT}/{{extent}}/section.tsv"
    params:
        scale=HYPOTHESIS_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.scores:q} --results {input.json:q} --equations {input.equations:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_hypotheses:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/hypotheses.py",
        scores=f"{HYPOTHESIS_OUT}/listed/scores.csv",
        json=f"{HYPOTHESIS_OUT}/listed/hypotheses.json",
        pictures=expand(f"{HYPOTHESIS_OUT}/listed/figures/{{name}}.png", name=HYPOTHESIS_FIGURES),
        costs=HYPOTHESIS_PATHS.costs(HYPOTHESES["listed"]),
    output:
        f"results/record/hypotheses/{HYPOTHESIS_LABEL}/provenance.json",
    log:
        f"results/record_hypotheses_{HYPOTHESIS_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 hypotheses --config cell={config['cell']} scale={config['scale']}",
        scale=config["scale"],
        shown=HYPOTHESES["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record hypotheses --out {params.folder:q} --readme README.md --command {params.command:q} --scale {params.scale}"
        " --shown {params.shown} --tables {input.scores:q} --results {input.json:q} --pictures {input.pictures:q} --costs {input.costs:q}"
        " > {log:q} 2>&1"
