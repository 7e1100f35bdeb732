"""The command line of the simulators: python -m sims --help."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from sims.mistakes import RequestError, refused

# Simulators and unit systems take seconds to import; a command imports what it needs.
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Simulate what equation files define.",
)
neuronio_commands = typer.Typer(
    no_args_is_help=True, help="The NeuronIO data set: inputs and outputs of the layer-5 cell."
)
app.add_typer(neuronio_commands, name="neuronio")
stimuli_commands = typer.Typer(no_args_is_help=True, help="Data that tasks are made of.")
app.add_typer(stimuli_commands, name="stimuli")

Cell = Annotated[str, typer.Option(help="morphology: stylised, cell1, or the path of a .asc or .swc file")]
Equations = Annotated[Path, typer.Option(help="the cell's equation file")]
InputFile = Annotated[Path, typer.Option(help="equation file of the input generator")]
Backend = Annotated[str, typer.Option(help="simulator: cable, neuron or brian")]
Step = Annotated[float, typer.Option(help="time step, ms; 0 for NEURON's variable step")]
Precision = Annotated[str | None, typer.Option(help="float64 or, on the cable solver, float32")]
Tables = Annotated[
    bool | None, typer.Option(help="take rates from tables, in float32 on the cable solver; by default where faster")
]
Simd = Annotated[str | None, typer.Option(help="instructions of the cable solver: avx512, avx2 or none")]

PUBLISHED_CELL = Path("equations/l5pc/cell.yaml")
PUBLISHED_INPUTS = Path("equations/inputs_l5.yaml")


@app.command()
def check(file: Path, as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False):
    """Check an equation file: units, names, bounds; print what it says on one page."""
    from sims.summary import summarise

    summary = summarise(file)
    print(json.dumps(summary.figures) if as_json else summary.text)


@app.command()
def explore(
    file: Annotated[Path, typer.Argument(metavar="EQUATIONS", help="equation file of a neuron")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="of the page; 0 for any that is free")] = 0,
    browser: Annotated[bool, typer.Option(help="open the page in a browser")] = True,
):
    """Play with a neuron on a page of this machine: sliders for its parameters, traces, nullclines, fixed points.

    The page follows the file whenever it is saved, and writes what was moved as a file that extends it."""
    from sims.explorer import page

    server = page.server(file, port)
    address = f"http://{page.ADDRESS}:{server.port}/"
    print(f"{file}: {address} (Ctrl-C ends)", flush=True)
    if browser:
        server.io_loop.add_callback(server.show, "/")
    try:
        server.run_until_shutdown()
    except KeyboardInterrupt:
        server.stop()


@app.command()
def bifurcation(
    file: Annotated[Path, typer.Argument(help="equation file of a neuron with dv/dt")],
    parameter: Annotated[str, typer.Option(help="what to vary; a strength w of a gate s goes as w·s")] = "w",
    low: Annotated[str | None, typer.Option(help="start of its range, with its unit; by default its bounds")] = None,
    high: Annotated[str | None, typer.Option(help="end of its range")] = None,
    out: Annotated[Path | None, typer.Option(help="draw OUT.svg and OUT.png")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
):
    """Fixed points against a parameter: stability, folds, and the condition that decides whether a plateau can hold."""
    from sims import equations, sealed
    from sims.analysis import bifurcation

    found = bifurcation.diagram(equations.read(file), parameter, low, high)
    if out:
        from sims import style
        from sims.analysis import portrait

        sealed.check_writable(Path(f"{out}.svg"))
        style.save(portrait.draw(found), out)
    print(json.dumps(bifurcation.figures(found)) if as_json else bifurcation.table(found))


@app.command()
def escape(
    file: Annotated[Path, typer.Argument(help="equation file of a bistable dendrite")],
    sd: Annotated[
        list[float] | None,
        typer.Option(help="standard deviation, any number of times; by default 0.1, 0.2, 0.3"),
    ] = None,
    on: Annotated[str, typer.Option(help="the gate that carries the noise")] = "s",
    tau: Annotated[float | None, typer.Option(help="its correlation time, ms; by default the gate's own")] = None,
    seconds: Annotated[float, typer.Option(help="how long each trial lasts")] = 4.5,
    trials: Annotated[int, typer.Option(help="how many")] = 200,
    dt: Annotated[float, typer.Option(help="time step, ms")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the noise")] = 0,
    backend: Annotated[str, typer.Option(help="simulator: numpy or brian")] = "numpy",
    as_json: Annotated[bool, typer.Option("--json", help="print one JSON object")] = False,
):
    """How long a plateau outlasts Ornstein-Uhlenbeck noise on its gate: simulated, and as theory has it."""
    from sims import equations
    from sims.analysis import escape

    if backend not in ("numpy", "brian"):
        raise RequestError(f"--backend: found '{backend}', expected numpy or brian")
    if backend == "brian":
        from sims.backends.brian_escape import escape_times as simulate
    else:
        simulate = escape.escape_times
    sd = sd or (0.1, 0.2, 0.3)
    plateau = escape.plateau(equations.read(file), on, None if tau is None else tau / 1e3)
    with _progress(max(0, len(sd) * seconds * 1e3)) as bar:
        figures = escape.compare(plateau, sd, seconds, trials, dt / 1e3, seed, bar.update, simulate)
    print(json.dumps(figures) if as_json else escape.table(figures))


@app.command()
def l5pc(
    events: Annotated[
        Path, typer.Argument(help="EVENTS.npz with event_time_ms, event_channel and optionally event_trial")
    ],
    out: Annotated[Path, typer.Argument(help="OUT.npz, written whole or not at all")],
    cell: Cell = "stylised",
    equations: Equations = PUBLISHED_CELL,
    backend: Backend = "cable",
    dt: Step = 0.025,
    precision: Precision = "float64",
    tables: Tables = None,
    simd: Simd = None,
    duration: Annotated[
        int | None, typer.Option(help="ms; by default the last event rounded up to a whole second")
    ] = None,
):
    """Simulate the layer-5 pyramidal cell's answer to given input spikes."""
    from sims import sealed, trials
    from sims.ground_truth import Setup, Simulator

    setup = Setup(cell, equations, backend, dt, precision, tables, simd).check()
    given = trials.read_events(events, duration)
    sealed.check_writable(out)
    simulator = Simulator(setup)
    given.check_channels(simulator.channels, events)
    with _progress(given.trials * given.duration_ms) as bar:
        recordings = simulator.run([given.of(trial) for trial in range(given.trials)], given.duration_ms, bar.update)
    trials.write_recordings(recordings, out)


@neuronio_commands.command()
def generate(
    out: Annotated[Path, typer.Argument(help="OUT.nc, written whole or not at all")],
    seed: Annotated[int, typer.Option(help="of the data set")] = 0,
    simulations: Annotated[int, typer.Option(help="how many")] = 128,
    seconds: Annotated[int, typer.Option(help="length of each")] = 6,
    first: Annotated[
        int, typer.Option(help="number of the first; simulation k of a seed is the same in any shard")
    ] = 0,
    cell: Cell = "stylised",
    equations: Equations = PUBLISHED_CELL,
    inputs: InputFile = PUBLISHED_INPUTS,
    backend: Backend = "cable",
    dt: Step = 0.025,
    precision: Precision = None,
    tables: Tables = None,
    simd: Simd = None,
):
    """Generate one shard: draw inputs, simulate the cell, store both.  The cable solver computes in float32 unless told
    otherwise."""
    from sims import ground_truth, neuronio, sealed
    from sims.stimuli import l5

    setup = ground_truth.Setup(cell, equations, backend, dt, _precision(precision, backend), tables, simd).check()
    sealed.check_writable(out)
    with _progress(max(0, simulations * seconds) * 1000) as bar:
        shard = ground_truth.generate(setup, l5.read(inputs), seed, simulations, seconds, first, bar.update)
    neuronio.write(shard, out)


@neuronio_commands.command()
def calibrate(
    out: Annotated[Path, typer.Argument(help="OUT.yaml: the input file with its excitation scaled")],
    report: Annotated[Path, typer.Option("--json", help="FILE.json: what was measured at which scale")],
    unscaled: Annotated[Path | None, typer.Option(help="FILE.nc: also keep the simulations at scale 1")] = None,
    rate: Annotated[float, typer.Option(help="output rate to reach, Hz")] = 1,
    tolerance: Annotated[float, typer.Option(help="how near is enough, Hz")] = 0.2,
    evaluations: Annotated[int, typer.Option(help="scales to try at most")] = 10,
    seed: Annotated[int, typer.Option(help="of the inputs, the same at every scale")] = 0,
    simulations: Annotated[int, typer.Option(help="how many at every scale")] = 32,
    seconds: Annotated[int, typer.Option(help="length of each")] = 4,
    first: Annotated[int, typer.Option(help="number of the first; see generate")] = 3_000_000,
    cell: Cell = "stylised",
    equations: Equations = PUBLISHED_CELL,
    inputs: InputFile = PUBLISHED_INPUTS,
    backend: Backend = "cable",
    dt: Step = 0.025,
    precision: Precision = None,
):
    """Scale the range of the excitation, by bisection, until the cell spikes at a given rate; write the input file that
    does it.  A cell that cannot be taken there gets the nearest scale that was tried, and the report says so."""
    from sims import calibration, ground_truth, neuronio, sealed
    from sims.stimuli import l5

    setup = ground_truth.Setup(cell, equations, backend, dt, _precision(precision, backend)).check()
    for path in filter(None, (out, report, unscaled)):
        sealed.check_writable(path)
    read = l5.read(inputs)
    with _progress(max(0, simulations * seconds * evaluations) * 1000) as bar:
        found, shard = calibration.calibrate(
            setup, read, rate, tolerance, evaluations, seed, simulations, seconds, first, bar.update
        )
    if unscaled is not None:
        neuronio.write(shard, unscaled)
    sealed.replace(out, calibration.scaled_text(inputs, read, found.scale, out.parent).encode())
    sealed.replace(report, (json.dumps(found.card(rate, tolerance), indent=1) + "\n").encode())
    print(f"{out}: {found.summary()}")


@neuronio_commands.command()
def hypothesis(
    file: Annotated[Path, typer.Argument(help="equation file that extends the cell, a mechanism of it, or the inputs")],
    folder: Annotated[Path, typer.Argument(help="FOLDER: cell.yaml, inputs.yaml and changes.json are written there")],
    equations: Equations = PUBLISHED_CELL,
    inputs: InputFile = PUBLISHED_INPUTS,
):
    """Check a hypothesis; write the cell and the inputs that it stands for, and what it changes."""
    from sims import hypotheses, sealed

    found = hypotheses.read(file, equations, inputs)
    sealed.check_writable(folder / "changes.json")
    for name, text in found.files(folder).items():
        sealed.replace(folder / name, text.encode())
    sealed.replace(folder / "changes.json", (json.dumps(found.card, indent=1) + "\n").encode())
    print(found.summary())


@neuronio_commands.command("import")
def import_published(
    file: Annotated[Path, typer.Argument(help="FILE.p, one of the published pickles; nothing in it is executed")],
    out: Annotated[Path, typer.Argument(help="OUT.nc, written whole or not at all")],
):
    """Turn a published file of the original data set into a shard."""
    from sims import neuronio, neuronio_pickles, sealed
    from sims.ground_truth import code_version

    sealed.check_writable(out)
    size = file.stat().st_size
    with tqdm(total=size, unit="B", unit_scale=True, desc="read", mininterval=1, file=sys.stderr) as bar:
        shard = neuronio_pickles.read(file, code_version(), bar.update)
    neuronio.write(shard, out)


@neuronio_commands.command("export")
def export_published(
    shard: Annotated[Path, typer.Argument(help="IN.nc, a shard")],
    out: Annotated[Path, typer.Argument(help="FILE.p, written whole or not at all")],
):
    """Write a shard in the format of the original data set, for programs that read the published files."""
    from sims import neuronio, neuronio_pickles, sealed

    sealed.check_writable(out)
    neuronio_pickles.write(neuronio.read(shard), out)


@neuronio_commands.command("cross-check")
def cross_check_shard(
    shard: Annotated[Path, typer.Argument(help="SHARD.nc")],
    out: Annotated[Path, typer.Argument(help="OUT.json, written whole or not at all")],
    simulations: Annotated[int, typer.Option(help="how many of the shard's first")] = 2,
    seconds: Annotated[float, typer.Option(help="how much of each, from the start")] = 2,
    cell: Cell = "stylised",
    equations: Equations = PUBLISHED_CELL,
    inputs: InputFile = PUBLISHED_INPUTS,
):
    """Simulate a few of a shard's trials again, in NEURON at the same step, and say how far the two differ."""
    from sims import cross_check, sealed

    sealed.check_writable(out)
    with _progress(max(0, simulations * seconds) * 1000) as bar:
        found = cross_check.cross_check(shard, cell, equations, inputs, simulations, seconds, bar.update)
    sealed.replace(out, (json.dumps(found, indent=1) + "\n").encode())


@stimuli_commands.command("pathfinder")
def draw_pathfinder(
    out: Annotated[Path, typer.Argument(help="OUT.npz, written whole or not at all")],
    images: Annotated[int, typer.Option(min=1, help="how many")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="number of the first; an image depends on it and the seed")] = 0,
    size: Annotated[int, typer.Option(help="pixels in each direction: 32, or 128 for Path-X")] = 32,
    seed: Annotated[int, typer.Option(min=0)] = 0,
):
    """Draw Pathfinder images: are both markers on one snake?"""
    from sims import sealed
    from sims.stimuli import pathfinder

    drawing = pathfinder.find(size)
    sealed.check_writable(out)
    with tqdm(total=images, unit="image", desc="drawn", mininterval=1, file=sys.stderr) as bar:
        pathfinder.write(out, drawing, seed, first, images, bar.update)


@stimuli_commands.command("listops")
def draw_listops(
    out: Annotated[Path, typer.Argument(help="OUT.tsv, written whole or not at all")],
    trees: Annotated[int, typer.Option(min=1, help="how many")] = 1000,
    first: Annotated[int, typer.Option(min=0, help="number of the first; a tree depends on it and the seed")] = 0,
    grammar: Annotated[str, typer.Option(help="published (501 to 1999 tokens) or small (51 to 199)")] = "published",
    seed: Annotated[int, typer.Option(min=0)] = 0,
):
    """Draw ListOps trees: nested MIN, MAX, MED and SM of digits, and their values."""
    from sims import sealed
    from sims.stimuli import listops

    chosen = listops.find(grammar)
    sealed.check_writable(out)
    with tqdm(total=trees, unit="tree", desc="drawn", mininterval=1, file=sys.stderr) as bar:
        listops.write(out, chosen, seed, first, trees, bar.update)


@stimuli_commands.command("grid-world")
def draw_grid_world(
    out: Annotated[Path, typer.Argument(help="OUT.npz, written whole or not at all")],
    size: Annotated[int, typer.Option(min=2, help="cells in each direction")] = 11,
    maps: Annotated[int, typer.Option(min=1, help="training maps, and as many novel ones")] = 32,
    letters: Annotated[int, typer.Option(min=2)] = 10,
    segment: Annotated[int, typer.Option(min=1, help="steps of a segment of a walk")] = 32,
    seed: Annotated[int, typer.Option(min=0)] = 0,
):
    """Draw a world for the task navigation: grids of letters."""
    from sims import sealed
    from sims.stimuli import grid_world

    sealed.check_writable(out)
    world = grid_world.draw(size, maps, letters, segment, seed)
    grid_world.write(out, world)
    typer.echo(f"{out}: {maps} training and {maps} novel maps of {size} x {size} cells, {letters} letters")


@stimuli_commands.command("cifar")
def write_cifar(
    out: Annotated[Path, typer.Argument(help="OUT.npz, written whole or not at all")],
    split: Annotated[str, typer.Option(help="train, valid (a tenth of the official training images) or test")],
    source: Annotated[
        Path | None,
        typer.Option(help="cifar-10-python.tar.gz or cifar10_jpeg.parquet; by default looked for, then downloaded"),
    ] = None,
):
    """Write the images of CIFAR-10 in grey."""
    from sims import sealed
    from sims.stimuli import cifar

    sealed.check_writable(out)
    cifar.write(out, split, source)


@stimuli_commands.command("reviews")
def write_reviews(
    out: Annotated[Path, typer.Argument(help="OUT.tsv, written whole or not at all")],
    split: Annotated[str, typer.Option(help="train, valid (a tenth of the official training reviews) or test")],
    source: Annotated[
        Path | None, typer.Option(help="aclImdb_v1.tar.gz; by default looked for, then downloaded")
    ] = None,
):
    """Write IMDb's reviews, one a line, for the task text."""
    from sims import sealed
    from sims.stimuli import reviews

    sealed.check_writable(out)
    reviews.write(out, split, source)


@stimuli_commands.command("digits")
def write_digits(
    out: Annotated[Path, typer.Argument(help="OUT.h5 in SHD's layout, written whole or not at all")],
    source: Annotated[
        str, typer.Option(help="espeak (synthetic speech), fsdd (real speech) or shd (published spikes)")
    ],
    split: Annotated[str, typer.Option(help="train, valid (a tenth of what is learnt from) or test")] = "train",
    takes: Annotated[int | None, typer.Option(help="of a speaker's word; by default all")] = None,
    seed: Annotated[int, typer.Option(min=0, help="of the synthesiser and of the cochlea's fibres")] = 0,
    shard: Annotated[int, typer.Option(help="which part of the split, from 0")] = 0,
    shards: Annotated[int, typer.Option(min=1, help="in how many parts the split is made")] = 1,
):
    """Write spoken digits as spikes of a cochlea with 700 channels."""
    import time

    from sims import sealed
    from sims.stimuli import digit_sources, digits

    sealed.check_writable(out)
    start = time.process_time()
    with tqdm(unit="recording", desc="heard", mininterval=1, file=sys.stderr) as bar:
        made = digit_sources.generate(source, split, takes, seed, shard, shards, bar.update)
    digits.write(made, out)
    seconds = time.process_time() - start
    print(
        f"{out}: {len(made)} recordings of {made.start[-1] / len(made):.0f} spikes, "
        f"{seconds / len(made):.3f} CPU s for each"
    )


@app.command()
def simulate(
    context: typer.Context,
    file: Annotated[
        Path, typer.Argument(metavar="EQUATIONS", help="equation file of a neuron, composed or not, or of a network")
    ],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="change a parameter, with its unit: w=20, tau_s=100*ms"),
    ] = None,
    duration: Annotated[float, typer.Option(help="ms")] = 1000,
    dt: Annotated[float, typer.Option(help="time step, ms")] = 0.1,
    events: Annotated[
        Path | None,
        typer.Option(help="EVENTS.npz: event_time_ms, and optionally event_neuron, event_name, event_weight"),
    ] = None,
    neurons: Annotated[int, typer.Option(help="how many, side by side")] = 1,
    record: Annotated[str | None, typer.Option(help="variables to keep, with commas; by default the states")] = None,
    device: Annotated[
        str, typer.Option(help="torch, or of Brian2: runtime, cpp (a compiled program) or cuda (one for a GPU)")
    ] = "runtime",
    out: Annotated[
        Path | None,
        typer.Option(help="OUT.npz: time_ms, each variable [sample, neuron] in SI, spike_time_ms, spike_neuron"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of a network's patterns and noise")] = 0,
    weights: Annotated[
        Path | None, typer.Option(help="model.safetensors of a fitted network; without it Hebb's rule")
    ] = None,
    patterns: Annotated[str, typer.Option(help="of a network: bernoulli or evidence")] = "bernoulli",
):
    """Simulate neurons of an equation file in Brian2 or torch; print how it ended in one line.  A network recalls the
    patterns that its file describes, from their beginnings and with the weights of a fit or of Hebb's rule."""
    from sims import arrivals, equations, sealed
    from sims.backends import brian

    model = equations.read(file)
    _check_options(context, model)
    if out is not None:
        sealed.check_writable(out)
    if model.kind == "network":
        from sims import delays
        from sims.recall import read_weights, recall

        learnt = None if weights is None else read_weights(weights)
        network = delays.network(model.with_values(brian.read_changes(model, changes or [])))
        with tqdm(total=network.M, unit="trial", desc="simulated", mininterval=1, file=sys.stderr) as bar:
            recalled = recall(network, seed, device, bar.update, learnt, patterns)
        print(f"{file}: {recalled.summary()}")
        if out is not None:
            sealed.replace(out, recalled.archive())
        return
    kept = None if record is None else tuple(filter(None, map(str.strip, record.split(","))))
    setup = brian.Setup(model, neurons, duration, dt, kept).check()
    values = brian.read_changes(setup.model, changes or [])
    inputs = arrivals.read(events, setup.model, neurons) if events is not None else None
    if device == "torch":
        from sims.backends import torch

        traces = torch.simulate(setup, values, inputs)
    else:
        traces = brian.simulate(setup, values, inputs, device)
    print(f"{file}: {traces.summary(setup.model)}")
    if out is not None:
        sealed.replace(out, traces.archive())


@app.command()
def benchmark(
    name: Annotated[str, typer.Argument(help="cable: the cable solver against NEURON; brian: programs against builds")],
    cell: Annotated[str, typer.Option(help="cable: stylised, cell1, or the path of a .asc or .swc file")] = "stylised",
    dt: Annotated[float, typer.Option(help="cable: time step, ms")] = 0.025,
    seed: Annotated[int, typer.Option(help="of the inputs")] = 0,
):
    """Measure what a simulator costs; the last line is one JSON object of all figures."""
    from sims import benchmarks

    module = benchmarks.find(name)
    figures = module.benchmark(cell, dt, seed)
    print(module.table(figures))
    print(json.dumps(figures))


def _check_options(context, model):
    """Raise RequestError where an option of `simulate` is given that a file of this kind does not heed."""
    network = model.kind == "network"
    for name in ("duration", "dt", "events", "neurons", "record") if network else ("seed", "weights", "patterns"):
        if context.get_parameter_source(name).name != "DEFAULT":
            found = "a network, whose file says it (N, T, step, …; see --set)" if network else f"a {model.kind}"
            raise RequestError(f"--{name}: found it for {model.path}, {found}; expected to leave it away")


def _precision(given, backend):
    """What data are computed in unless told otherwise."""
    return given or ("float32" if backend == "cable" else "float64")


def _progress(milliseconds):
    return tqdm(total=milliseconds, unit="ms", unit_scale=True, desc="simulated", mininterval=1, file=sys.stderr)


def main():
    """Run the command line; a mistake of the user's is one line and exit code 2."""
    with refused():
        app()


if __name__ == "__main__":
    main()
