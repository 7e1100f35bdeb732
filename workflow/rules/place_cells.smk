"""Place cells: a transformer whose feed-forward layers have the NMDA receptor's non-linearity learns grids of letters."""

import json
import re
from pathlib import Path

PLACE = config["place_cells"]
PLACE_LABEL = study.label(config["scale"], "place_cells")
PLACE_DATA = f"data/place_cells/{PLACE_LABEL}"
PLACE_RESULTS = f"results/place_cells/{PLACE_LABEL}"
NAVIGATORS = {entry["name"]: entry for entry in study.navigators(PLACE)}
PLACE_SEEDS = PLACE["training"]["seeds"]
PLACE_FITS = expand(f"{PLACE_RESULTS}/{{name}}/seed{{seed}}", name=NAVIGATORS, seed=PLACE_SEEDS)
# Those of which neurons are drawn: at the first number of maps, and not of the sweep.
PLACE_SHOWN = [
    name for name, entry in NAVIGATORS.items() if entry["maps"] == PLACE["maps"][0] and not entry["swept"]
]
PLACE_FIGURES = ["place_errors", "place_scores", "place_maps"]


wildcard_constraints:
    navigator="|".join(map(re.escape, NAVIGATORS)),
    maps=r"\d+",


rule place_cells:
    "The whole study: worlds, fits, their scores, figures."
    input:
        f"{PLACE_RESULTS}/metrics.csv",
        expand(f"{PLACE_RESULTS}/figures/{{name}}.{{ending}}", name=PLACE_FIGURES, ending=["svg", "png"]),


rule draw_world:
    "Draw the training and novel maps of one seed."
    input:
        "sims/stimuli/grid_world.py",
    output:
        f"{PLACE_DATA}/N{{maps}}_seed{{seed}}.npz",
    log:
        f"{PLACE_DATA}/N{{maps}}_seed{{seed}}.log",
    benchmark:
        f"{PLACE_DATA}/N{{maps}}_seed{{seed}}.tsv"
    params:
        world=[f"--{name}={value}" for name, value in sorted(PLACE["world"].items())],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m sims stimuli grid-world {output:q} --maps {wildcards.maps} --seed {wildcards.seed} {params.world:q} > {log:q} 2>&1"


rule fit_navigator:
    "Have one transformer learn the maps of one seed; a fit that was killed goes on from its checkpoint."
    input:
        world=lambda wildcards: f"{PLACE_DATA}/N{NAVIGATORS[wildcards.navigator]['maps']}_seed{wildcards.seed}.npz",
    output:
        weights=f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/model.safetensors",
        config=f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/config.yaml",
        history=f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/history.csv",
    log:
        f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/fit.log",
    benchmark:
        f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/fit.tsv"
    params:
        folder=lambda wildcards, output: Path(output.weights).parent,
        training=lambda wildcards: [
            f"--{name.replace('_', '-')}={value}"
            for name, value in sorted(NAVIGATORS[wildcards.navigator]["training"].items())
            if name != "seeds"
        ],
        settings=lambda wildcards: [f"--set={name}={value}" for name, value in sorted(study.navigator_settings(PLACE, NAVIGATORS[wildcards.navigator]).items())],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: study.navigation_minutes(PLACE) * attempt,
    message:
        "Learning of {wildcards.navigator}, seed {wildcards.seed}"
    shell:
        "python -m fitting fit navigation nmda_transformer --data {input.world:q} --valid {input.world:q} --out {params.folder:q}"
        " --resume --replace --seed {wildcards.seed} {params.training:q} {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule score_navigator:
    "Errors by working and reference memory, rate maps and place-cell scores of one transformer."
    input:
        fit=rules.fit_navigator.output,
        world=lambda wildcards: f"{PLACE_DATA}/N{NAVIGATORS[wildcards.navigator]['maps']}_seed{wildcards.seed}.npz",
    output:
        metrics=f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/metrics.json",
        predictions=f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/predictions.npz",
    log:
        f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/evaluate.log",
    benchmark:
        f"{PLACE_RESULTS}/{{navigator}}/seed{{seed}}/evaluate.tsv"
    params:
        folder=lambda wildcards, output: Path(output.metrics).parent,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1500 * attempt,
        runtime=lambda wildcards, attempt: 30 * attempt,
    message:
        "Scores of {wildcards.navigator}, seed {wildcards.seed}"
    shell:
        "python -m fitting evaluate {params.folder:q} --data {input.world:q} --out {output.metrics:q}"
        " --predictions {output.predictions:q} --threads {threads} > {log:q} 2>&1"


rule tabulate_place_cells:
    "Put every fit in one table, and what correlates with what in another."
    input:
        script="workflow/tables/place_cells.py",
        scores=expand("{fit}/{file}", fit=PLACE_FITS, file=["metrics.json", "predictions.npz"]),
    output:
        metrics=report(
            f"{PLACE_RESULTS}/metrics.csv",
            caption="../report/place_metrics.rst",
            category="Place cells",
            labels={"what": "memory errors and place-cell scores"},
        ),
        correlations=f"{PLACE_RESULTS}/correlations.csv",
    log:
        f"{PLACE_RESULTS}/metrics.log",
    benchmark:
        f"{PLACE_RESULTS}/metrics.tsv"
    params:
        fits=PLACE_FITS,
        entries=json.dumps(list(NAVIGATORS.values()), sort_keys=True),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 500 * attempt,
        runtime=lambda wildcards, attempt: 2 * attempt,
    shell:
        "python -m workflow.tables.place_cells {params.fits:q} --fits {params.entries:q} --out {output.metrics:q}"
        " --correlations {output.correlations:q} > {log:q} 2>&1"


rule draw_place_errors:
    "Reference and working memory over learning, and against alpha."
    input:
        histories=expand("{fit}/history.csv", fit=expand(f"{PLACE_RESULTS}/{{name}}/seed{{seed}}", name=PLACE_SHOWN, seed=PLACE_SEEDS)),
        metrics=f"{PLACE_RESULTS}/metrics.csv",
        script="workflow/figures/place_errors.py",
        style=STYLE,
    output:
        svg=report(
            f"{PLACE_RESULTS}/figures/place_errors.svg",
            caption="../report/place_errors.rst",
            category="Place cells",
            labels={"what": "memory errors"},
        ),
        png=f"{PLACE_RESULTS}/figures/place_errors.png",
    log:
        f"{PLACE_RESULTS}/figures/place_errors.log",
    benchmark:
        f"{PLACE_RESULTS}/figures/place_errors.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.place_errors {input.histories:q} --metrics {input.metrics:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_place_scores:
    "Place-cell scores of feed-forward layers and attention, and their correlation with errors."
    input:
        predictions=expand(f"{PLACE_RESULTS}/{{name}}/seed{{seed}}/predictions.npz", name=PLACE_SHOWN, seed=PLACE_SEEDS),
        metrics=f"{PLACE_RESULTS}/metrics.csv",
        correlations=f"{PLACE_RESULTS}/correlations.csv",
        script="workflow/figures/place_scores.py",
        style=STYLE,
    output:
        svg=report(
            f"{PLACE_RESULTS}/figures/place_scores.svg",
            caption="../report/place_scores.rst",
            category="Place cells",
            labels={"what": "place-cell scores"},
        ),
        png=f"{PLACE_RESULTS}/figures/place_scores.png",
    log:
        f"{PLACE_RESULTS}/figures/place_scores.log",
    benchmark:
        f"{PLACE_RESULTS}/figures/place_scores.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.place_scores {input.predictions:q} --metrics {input.metrics:q} --correlations {input.correlations:q} --out {params.stem:q} > {log:q} 2>&1"


rule draw_place_maps:
    "Rate maps of the neurons with the highest place-cell scores."
    input:
        predictions=expand(f"{PLACE_RESULTS}/{{name}}/seed{PLACE_SEEDS[0]}/predictions.npz", name=PLACE_SHOWN),
        script="workflow/figures/place_maps.py",
        style=STYLE,
    output:
        svg=report(
            f"{PLACE_RESULTS}/figures/place_maps.svg",
            caption="../report/place_maps.rst",
            category="Place cells",
            labels={"what": "rate maps"},
        ),
        png=f"{PLACE_RESULTS}/figures/place_maps.png",
    log:
        f"{PLACE_RESULTS}/figures/place_maps.log",
    benchmark:
        f"{PLACE_RESULTS}/figures/place_maps.tsv"
    params:
        stem=lambda wildcards, output: output.svg.removesuffix(".svg"),
        reference=PLACE["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.figures.place_maps {input.predictions:q} --reference {params.reference} --out {params.stem:q} > {log:q} 2>&1"


rule write_place_section:
    "This study's section of the report."
    input:
        script="workflow/report/section.py",
        template="workflow/report/place_cells.html.jinja",
        macros="workflow/report/macros.html.jinja",
        metrics=f"{PLACE_RESULTS}/metrics.csv",
        correlations=f"{PLACE_RESULTS}/correlations.csv",
        figures=expand(f"{PLACE_RESULTS}/figures/{{name}}.svg", name=PLACE_FIGURES),
        costs=expand("{fit}/{step}.tsv", fit=PLACE_FITS, step=["fit", "evaluate"]),
    output:
        f"{PLACE_RESULTS}/section.html",
    log:
        f"{PLACE_RESULTS}/section.log",
    benchmark:
        f"{PLACE_RESULTS}/section.tsv"
    params:
        scale=PLACE_LABEL,
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.report.section --out {output:q} --template {input.template} --scale {params.scale} --figures {input.figures:q}"
        " --tables {input.metrics:q} {input.correlations:q} --costs {input.costs:q} > {log:q} 2>&1"


rule record_place_cells:
    "Keep this run's results in results/record/ and show them in the README; asked for by name, after a run worth keeping."
    input:
        script="workflow/record.py",
        study="workflow/records/place_cells.py",
        tables=[f"{PLACE_RESULTS}/metrics.csv", f"{PLACE_RESULTS}/correlations.csv"],
        pictures=expand(f"{PLACE_RESULTS}/figures/{{name}}.png", name=PLACE_FIGURES),
        costs=rules.write_place_section.input.costs,
    output:
        f"results/record/place_cells/{PLACE_LABEL}/provenance.json",
    log:
        f"results/record_place_cells_{PLACE_LABEL}.log",
    params:
        folder=lambda wildcards, output: Path(output[0]).parent,
        command=f"snakemake --cores 8 place_cells --config scale={config['scale']}",
        scale=config["scale"],
        shown=PLACE["reference"],
    threads: 1
    resources:
        mem_mb=lambda wildcards, attempt: 1000 * attempt,
        runtime=lambda wildcards, attempt: 5 * attempt,
    shell:
        "python -m workflow.record place_cells --out {params.folder:q} --readme README.md --command {params.command:q}"
        " --scale {params.scale} --shown {params.shown} --tables {input.tables:q} --pictures {input.pictures:q} --costs {input.costs:q} > {log:q} 2>&1"
