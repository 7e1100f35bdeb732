"""The command line of fitting: python -m fitting --help.

Bad input ends with one line on stderr and exit code 2. torch takes seconds to import, so commands import what they
need.
"""

import contextlib
import functools
import json
import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from sims import mistakes

app = typer.Typer(
    help="Fit models to tasks, score and describe them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a setting of the model or the task; repeatable."),
]
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# How torch says with a plain RuntimeError that a size is beyond memory.
_MEMORY_SIGNS = ("can't allocate memory", "Storage size calculation overflowed")

Threads = Annotated[int, typer.Option(min=1, help="Threads of one process; small models are fastest with one.")]


@contextlib.contextmanager
def refused():
    """`mistakes.refused`, to which sizes that no memory holds are a mistake too."""
    with mistakes.refused():
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in _MEMORY_SIGNS):
                raise
            cause = " ".join(str(error).split()) or "no more to be had"
            raise mistakes.Mistake(f"sizes are beyond this memory ({cause}), expected smaller ones") from error


@app.command()
def fit(
    task: Annotated[str, typer.Argument(help="What to learn, e.g. neuronio.")],
    model: Annotated[str, typer.Argument(help="What learns it, e.g. branch_elm.")],
    data: Annotated[list[Path], typer.Option(help="Training data; repeatable.")],
    valid: Annotated[list[Path], typer.Option(help="Validation data, which picks the weights to keep; repeatable.")],
    out: Annotated[Path, typer.Option(help="Folder of the fit: model.safetensors, config.yaml, history.csv.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    steps: Annotated[
        int, typer.Option(min=0, help="Batches to learn from; the default is the paper's, 0 leaves first weights.")
    ] = 342_000,
    batch_size: Annotated[int, typer.Option(min=1)] = 8,
    learning_rate: Annotated[float, typer.Option(help="At the first step; falls to 0 along a cosine.")] = 5e-4,
    clip: Annotated[float | None, typer.Option(help="Largest norm of the gradient.")] = None,
    optimizer: Annotated[
        str,
        typer.Option(
            help="adam, adamax, or normalised: steps as long as the learning rate, however small the gradient."
        ),
    ] = "adam",
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Steps between validations and checkpoints; by default a twentieth.")
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's checkpoint, if it has one.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="With --resume: start anew where the folder's fit is of other data or settings."
        ),
    ] = False,
    threads: Threads = 1,
):
    """Fit MODEL to TASK."""
    with refused():
        from fitting import gradient, models, settings, tasks

        _settle_process(threads)
        task_class, model_class = tasks.find(task), models.find(model)
        if (found := getattr(task_class, "model", model)) != model or getattr(model_class, "task", task) != task:
            wanted = f"{found} for the task {task}" if found != model else f"the task {model_class.task} for {model}"
            raise settings.SettingError(f"fit {task} {model}: found two that do not fit, expected {wanted}")
        chosen = settings.change({"model": model_class.Settings(), "task": task_class.Settings()}, overrides or [])
        training = gradient.Training(steps, batch_size, learning_rate, seed, clip, validate_every, optimizer)
        task_object = task_class(chosen["task"])
        train_data, valid_data = task_object.read(data), task_object.read(valid)
        if hasattr(task_object, "known"):
            default = settings.default(model_class.Settings, task_object.known(train_data))
            chosen = settings.change(chosen | {"model": default}, overrides or [])
        num_input, num_output = task_object.sizes(train_data)
        if task_object.sizes(valid_data) != (num_input, num_output):
            raise settings.SettingError(
                f"--valid {valid[0]}: found (inputs, outputs) {task_object.sizes(valid_data)}, expected "
                f"{(num_input, num_output)} as in --data {data[0]}"
            )
        config = {
            "task": task,
            "task_settings": settings.as_plain(chosen["task"]),
            "model": model,
            "model_settings": settings.as_plain(chosen["model"]),
            "num_input": num_input,
            "num_output": num_output,
            "data": _sources(data),
            "valid": _sources(valid),
        }
        typical = task_object.typical_output(train_data)
        fitted = gradient.build(model_class, chosen["model"], num_input, num_output, training, typical)

        def validate(model):
            if hasattr(task_object, "validate"):
                metrics = task_object.validate(model, valid_data)
            else:
                metrics, _ = task_object.evaluate(model, valid_data)
            return {name: value for name, value in metrics.items() if not isinstance(value, int)}  # counts never change

        history = gradient.fit(
            fitted,
            lambda generator, size: task_object.batch(train_data, generator, size),
            task_object.loss,
            validate,
            training,
            out,
            config,
            resume,
            replace,
            start=functools.partial(fitted.start, train_data) if hasattr(fitted, "start") else None,
        )
        best = min(history, key=lambda row: row["valid_loss"])
        typer.echo(
            f"{out}: {models.parameter_count(fitted)['live']} live parameters, "
            f"lowest validation loss {best['valid_loss']:.5f} at step {int(best['step'])} of {training.steps}"
        )


@app.command()
def evolve(
    equations: Annotated[Path, typer.Argument(help="Equation file of a neuron, with parameters marked `fit: true`.")],
    task: Annotated[str, typer.Argument(help="recovery: the file's own parameters, from its voltages; or neuronio.")],
    out: Annotated[Path, typer.Option(help="Folder of the fit, as that of `fit`.")],
    data: Annotated[list[Path] | None, typer.Option(help="neuronio: training data; repeatable.")] = None,
    valid: Annotated[list[Path] | None, typer.Option(help="neuronio: validation data; repeatable.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    generations: Annotated[int, typer.Option(min=1)] = 200,
    candidates: Annotated[int, typer.Option(min=4, help="Of a generation.")] = 16,
    spread: Annotated[float, typer.Option(help="Of the first generation, in widths of the bounds.")] = 0.2,
    device: Annotated[str, typer.Option(help="cpp: Brian2's compiled program; or torch.")] = "cpp",
    workers: Annotated[int, typer.Option(min=1, help="Processes of the former; the result is the same.")] = 1,
    validate_every: Annotated[
        int | None, typer.Option(min=1, help="Generations between validations; by default a twentieth.")
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's checkpoint, if it has one.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option(
            "--replace", help="With --resume: start anew where the folder's fit is of other data or settings."
        ),
    ] = False,
):
    """Fit the parameters of a neuron's equation file without gradients, by CMA-ES."""
    with refused():
        from fitting import evolution, trials
        from fitting.space import Space

        _settle_process(threads=1)
        how = evolution.Evolution(generations, candidates, spread, seed, device, validate_every)
        found, config = trials.find(task)(equations, overrides or [], seed, data or [], valid or [])
        config |= {"data": _sources(data or []), "valid": _sources(valid or [])}
        history = evolution.evolve(Space(found.setup.model), found, how, out, config, workers, resume, replace)
        last = {name: value for name, value in history[-1].items() if value is not None}
        typer.echo(f"{out}: " + ", ".join(f"{name} {value:.5g}" for name, value in last.items()))


@app.command()
def population(
    task: Annotated[str, typer.Argument(help="What to learn: delayed_digits.")],
    model: Annotated[str, typer.Argument(help="What learns it: a network of spiking neurons, e.g. nmda_network.")],
    data: Annotated[list[Path], typer.Option(help="Training data; repeatable.")],
    valid: Annotated[list[Path], typer.Option(help="Validation data, which ranks the members; repeatable.")],
    out: Annotated[Path, typer.Option(help="Folder: lineages.csv, and the best member as a fit.")],
    members: Annotated[int, typer.Option(min=4, help="How many networks learn.")] = 8,
    every: Annotated[int, typer.Option(min=1, help="Steps between rounds of copying and altering.")] = 50,
    steps: Annotated[int, typer.Option(min=1, help="Batches that each learns from.")] = 600,
    batch_size: Annotated[int, typer.Option(min=1)] = 128,
    learning_rate: Annotated[float, typer.Option(help="Where the members start; falls to 0 along a cosine.")] = 0.02,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    together: Annotated[
        int | None, typer.Option(min=1, help="Members in one batch; by default all, fewer for less memory.")
    ] = None,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the folder's checkpoint, if it has one.")
    ] = False,
    threads: Threads = 1,
):
    """Train a population of MODEL on TASK: the worst become altered copies of the best."""
    with refused():
        from fitting import models, settings, tasks
        from fitting.population import Population, fit

        _settle_process(threads)
        task_class, kind = tasks.find(task), models.find(model)
        if getattr(kind, "task", None) != task:
            raise settings.SettingError(f"population {task} {model}: found two that do not fit, expected nmda_network")
        chosen = settings.change({"model": kind.Settings(), "task": task_class.Settings()}, overrides or [])
        task_object = task_class(chosen["task"])
        train_data, valid_data = task_object.read(data), task_object.read(valid)
        default = settings.default(kind.Settings, task_object.known(train_data))
        chosen = settings.change(chosen | {"model": default}, overrides or [])
        num_input, num_output = task_object.sizes(train_data)
        config = {
            "task": task,
            "task_settings": settings.as_plain(chosen["task"]),
            "model": model,
            "model_settings": settings.as_plain(chosen["model"]),
            "num_input": num_input,
            "num_output": num_output,
            "data": _sources(data),
            "valid": _sources(valid),
        }
        how = Population(members, steps, every, batch_size, learning_rate, seed=seed, together=together)
        lineages = fit(kind, chosen["model"], task_object, train_data, valid_data, how, out, config, resume)
        best = min(lineages[-members:], key=lambda row: row["valid_loss"])
        typer.echo(
            f"{out}: {how.rounds} rounds of {members} members, lowest validation loss {best['valid_loss']:.5f} of "
            f"member {best['member']}"
        )


@app.command()
def evaluate(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished fit.")],
    data: Annotated[list[Path], typer.Option(help="Data to score on; repeatable.")],
    out: Annotated[Path, typer.Option(help="metrics.json to write.")],
    predictions: Annotated[Path | None, typer.Option(help="Also write arrays for figures (.npz).")] = None,
    threads: Threads = 1,
):
    """Score a fit on data and write its metrics."""
    with refused():
        import io

        import numpy as np

        from fitting import gradient, models, settings, tasks
        from sims import sealed

        for path in filter(None, (out, predictions)):
            sealed.check_writable(path)
        _settle_process(threads)
        model, config = gradient.load(folder, models.find)
        with settings.found_in(folder / "config.yaml"):
            task_class = tasks.find(config["task"])
        task_object = task_class(settings.restore(task_class.Settings, config["task_settings"], folder / "config.yaml"))
        read = task_object.read(data)
        sizes, expected = task_object.sizes(read), (config["num_input"], config["num_output"])
        if sizes != expected:
            raise settings.SettingError(
                f"--data {data[0]}: found (inputs, outputs) {sizes}, expected {expected} as {folder} was fitted to"
            )
        metrics, arrays_for_figures = task_object.evaluate(model, read, show_progress=True)
        if not math.isfinite(metrics["loss"]):
            raise gradient.FitError(f"{folder}: the loss is {metrics['loss']}, expected weights with a finite one")
        report = {
            **metrics,
            "task": config["task"],
            "model": config["model"],
            "model_settings": config["model_settings"],
            "seed": config.get("training", {}).get("seed"),
            "parameters": models.parameter_count(model),
            "flops_per_step": model.flops_per_step(),
            "data": [str(path) for path in data],
        }
        if predictions is not None:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays_for_figures())
            sealed.replace(predictions, buffer.getvalue())
        sealed.replace(out, (json.dumps(report, indent=1) + "\n").encode())
        typer.echo(
            f"{out}: " + ", ".join(f"{name} {value:.5g}" for name, value in metrics.items() if isinstance(value, float))
        )


@app.command()
def describe(
    model: Annotated[str, typer.Argument(help="A model, e.g. branch_elm.")],
    overrides: Overrides = None,
    inputs: Annotated[int, typer.Option(min=1, help="Input channels; the default is NeuronIO's.")] = 1278,
    outputs: Annotated[int, typer.Option(min=1, help="Outputs; the default is NeuronIO's.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON object.")] = False,
):
    """Count a model's parameters, next to what its paper prints, and the operations of a step."""
    with refused():
        from fitting import models, settings

        model_class = models.find(model)
        chosen = settings.change({"model": model_class.Settings()}, overrides or [])["model"]
        built = model_class(chosen, inputs, outputs)
        count = models.parameter_count(built)
        typer.echo(f"{model} with {inputs} inputs and {outputs} outputs")
        plain = settings.as_plain(chosen)
        for name, value in plain.items():
            typer.echo(f"  {name:<16}{'none' if value is None else value}")
        typer.echo(
            f"parameters  trainable {count['trainable']}, live {count['live']}, "
            f"printed in the paper {count['printed'] or 'nowhere'}"
        )
        flops = built.flops_per_step()
        typer.echo(f"inference   {flops} operations a step, as the equations stand")
        if as_json:
            typer.echo(json.dumps({"model": model, "settings": plain, **count, "flops_per_step": flops}))


@app.command("import-elm")
def import_elm(
    state: Annotated[Path, typer.Argument(help="STATE.pt or .safetensors: the state dict; nothing in it is executed.")],
    config: Annotated[Path, typer.Argument(help="CONFIG.json: what the published module was built with.")],
    out: Annotated[Path, typer.Argument(help="Folder to make, which evaluate takes like that of a fit.")],
):
    """Read a neuron that the ELM paper's code published."""
    with refused():
        from fitting import gradient, models, released, settings, tasks

        name, model = released.read(state, config)
        description = {
            "task": "neuronio",
            "task_settings": settings.as_plain(tasks.find("neuronio").Settings()),
            "model": name,
            "model_settings": settings.as_plain(model.settings),
            "num_input": model.num_input,
            "num_output": model.readout.out_features,
            "imported": _sources([state, config]),
        }
        gradient.keep(out, description, model.state_dict())
        typer.echo(f"{out}: {name} with {models.parameter_count(model)['live']} live parameters")


@app.command()
def replay(
    folder: Annotated[Path, typer.Argument(help="Folder of a finished fit of a spiking network to delayed_digits.")],
    data: Annotated[list[Path], typer.Option(help="Recordings to replay; repeatable.")],
    out: Annotated[Path, typer.Option(help="JSON to write.")],
    recordings: Annotated[int, typer.Option(min=1, help="How many, evenly from all.")] = 50,
    delay: Annotated[float, typer.Option(min=0, help="Silence before the answer, in lengths of the input.")] = 1.0,
    threads: Threads = 1,
):
    """Run a fit's network in Brian2 from the same equation files, and compare spikes and answers."""
    with refused():
        import numpy as np

        from fitting import gradient, models, settings, tasks
        from fitting.replay import compare
        from sims import sealed

        sealed.check_writable(out)
        _settle_process(threads)
        model, config = gradient.load(folder, models.find)
        if config["task"] != "delayed_digits":
            raise settings.SettingError(f"{folder}: found a fit to {config['task']}, expected one to delayed_digits")
        task_class = tasks.find(config["task"])
        task = task_class(settings.restore(task_class.Settings, config["task_settings"], folder / "config.yaml"))
        read = task.read(data)
        if (sizes := task.sizes(read)[0]) != config["num_input"]:
            raise settings.SettingError(
                f"--data {data[0]}: found {sizes} channels, expected {config['num_input']} as {folder} was fitted to"
            )
        chosen = np.unique(np.linspace(0, len(read) - 1, min(recordings, len(read))).astype(int))
        inputs = read.events(chosen, task.settings.silence(delay))
        found = {"delay": delay, "recordings": len(chosen), **compare(model, inputs, read.label[chosen])}
        sealed.replace(out, (json.dumps(found, indent=1) + "\n").encode())
        typer.echo(
            f"{out}: {100 * found['equal_spikes']:.3f} % of {found['spikes']} spikes equal, accuracy "
            f"{found['accuracy']:.3f} here and {found['brian2_accuracy']:.3f} in Brian2"
        )


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="What to measure, e.g. elm.")],
    seed: Annotated[int, typer.Option(min=0, help="Of weights and data.")] = 0,
):
    """Compare with the plain twin in CPU time, in one thread; ends with one JSON object."""
    with refused():
        from fitting import benchmarks

        measure = benchmarks.find(name)
        _settle_process(threads=1)
        figures = measure(seed)
        typer.echo(json.dumps(figures))


def _sources(paths):
    """What config.yaml says of data: where it was and which bytes it had."""
    import hashlib

    return [{"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()} for path in paths]


def _settle_process(threads):
    import ctypes
    import gc

    import torch

    gc.freeze()  # the collector need not walk over all of torch again and again

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    # glibc would give the memory of large tensors back after every step and have it cleared again at the next: a fifth
    # of a batch of 64's time.
    if hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, 1 << 30)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)


if __name__ == "__main__":
    sys.exit(app())
