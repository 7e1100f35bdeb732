"""Learning without gradients: CMA-ES over the parameters that an equation file marks `fit: true`.

A generation of candidates is drawn from a normal distribution over the unit cube of fitting/space.py, simulated as a
whole, by a compiled program in so many processes or by torch in one batch, and judged (fitting/trials.py); the better
half moves and shapes the distribution. All that a generation draws is keyed by the seed and its number, so a
checkpoint holds no more than the losses so far: a run that was killed tells them to the algorithm again and goes on to
the same result, bit for bit, as one that was not (`cpu_s` apart).

A folder of a fit is as fitting/gradient.py leaves it: `config.yaml`, `history.csv`, `checkpoint.pt` while running,
`model.safetensors` when it is finished, and `metrics.json` with what was found.

Source: Hansen 2016, The CMA evolution strategy: a tutorial (arXiv 1604.00772), as implemented in `cma`.
"""

import io
import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import cma
import numpy as np
import torch
from tqdm import tqdm

from fitting import gradient
from fitting.settings import SettingError, require
from sims import sealed
from sims.backends import torch as torch_backend
from sims.backends.brian_program import Program
from sims.streams import stream

DEVICES = ("cpp", "torch")


@dataclass(frozen=True)
class Evolution:
    """How to search.

    candidates: of a generation.  spread: standard deviation of the first generation, in widths of the bounds.
    device: cpp, Brian2's compiled program, or torch.  validate_every: generations between validations, None for twenty
    over the run.
    """

    generations: int = 200
    candidates: int = 16
    spread: float = 0.2
    seed: int = 0
    device: str = "cpp"
    validate_every: int | None = None

    def __post_init__(self):
        require(self.generations >= 1, "generations", self.generations, "at least 1")
        require(self.candidates >= 4, "candidates", self.candidates, "at least 4")
        require(0 < self.spread <= 1, "spread", self.spread, "a number above 0 and at most 1")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        require(self.device in DEVICES, "device", self.device, " or ".join(DEVICES))
        require(
            self.validate_every is None or self.validate_every >= 1, "validate_every", self.validate_every, "at least 1"
        )

    def is_validated(self, generation):
        """Whether a validation follows a generation, counted from 1."""
        every = self.validate_every or max(1, self.generations // 20)
        return generation % every == 0 or generation == self.generations


class Simulator:
    """Candidates of one simulation.  setup: a Setup.  device: cpp or torch.  workers: processes of the former."""

    def __init__(self, setup, device="cpp", workers=1):
        self.setup, self.workers = setup.check(), workers
        self.program = Program(setup) if device == "cpp" else None

    def evaluate(self, candidates, inputs, then):
        """[then(Traces) of each candidate].

        candidates: list of {parameter: SI value}, each within its bounds.  inputs: {name: array} of Setup.shapes.
        """
        if self.program is None:
            return torch_backend.evaluate(self.setup, candidates, inputs, then, bounded=True)
        return self.program.evaluate(candidates, workers=self.workers, bounded=True, shared=inputs, then=then)


class Search:
    """CMA-ES in the unit cube.  start: float64 [parameter], two or more.  how: an Evolution."""

    def __init__(self, start, how):
        if len(start) < 2:
            raise SettingError(f"found {len(start)} parameter to fit, expected two or more marked `fit: true`")
        self.how, self.generation, self.points = how, 0, []
        options = {
            "bounds": [0, 1], "popsize": how.candidates, "seed": np.nan, "verbose": -9,
            "randn": lambda *shape: self.random.standard_normal(shape),
        }  # fmt: skip
        self.random = stream(how.seed, "evolution", 0)
        self.strategy = cma.CMAEvolutionStrategy(np.clip(start, 1e-6, 1 - 1e-6), how.spread, options)

    def ask(self):
        """The points of the next generation, list of float64 [parameter] within 0 to 1."""
        self.random = stream(self.how.seed, "evolution", self.generation)
        self.points = self.strategy.ask()
        return [np.clip(point, 0, 1) for point in self.points]

    def tell(self, losses):
        """Learn the losses of the points that were asked for."""
        self.strategy.tell(self.points, losses)
        self.generation += 1

    @property
    def spread(self):
        """The largest standard deviation of the next generation's parameters, in widths of the bounds."""
        return float(np.max(self.strategy.stds))


def evolve(space, trials, how, out, config, workers=1, resume=False, replace=False, show_progress=True):
    """Search, and leave the folder of the fit.

    space, trials, how: a Space, trials (fitting/trials.py) and an Evolution.  out: folder, made if needed.
    config: everything else that decides the result, plain values for config.yaml.
    resume, replace: as of `gradient.fit`.
    Returns the history, a list of dicts, one for each generation.
    Raises FitError where the folder is not free, BackendError where a simulation fails; the folder then still holds its
    last checkpoint.
    """
    if workers < 1:
        raise SettingError(f"--workers: found {workers}, expected 1 or more")
    out, config = Path(out), {**config, "evolution": asdict(how)}
    if gradient.refuse_unusable_folder(out, config, resume, replace):
        return gradient.read_history(out / "history.csv", "best_loss")
    evaluate = Simulator(trials.setup, how.device, workers).evaluate
    began = cpu_seconds()
    trials.prepare(evaluate)
    search = Search(trials.start(space), how)
    state = {"losses": [], "history": [], "best": None, "cpu_s": 0.0}
    if (out / "checkpoint.pt").exists():
        state = _restore(out / "checkpoint.pt", search, state)
    out.mkdir(parents=True, exist_ok=True)
    gradient.write_config(out, config)
    began -= state["cpu_s"]
    progress = tqdm(
        total=how.generations,
        initial=search.generation,
        desc="evolve",
        unit="generation",
        disable=not show_progress,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    with progress:
        while search.generation < how.generations:
            _generation(search, space, trials, evaluate, state)
            best = state["best"]
            told = trials.report(evaluate, space.numbers(best["point"]), best, how.is_validated(search.generation))
            state["cpu_s"] = cpu_seconds() - began
            row = {
                "generation": search.generation,
                "evaluations": search.generation * how.candidates,
                "loss": min(state["losses"][-1]),
                "best_loss": best["loss"],
                "spread": search.spread,
                **told,
                "cpu_s": round(state["cpu_s"], 3),
            }
            state["history"].append(row)
            progress.set_postfix(best_loss=f"{best['loss']:.4g}", refresh=False)
            progress.update()
            gradient.write_history(out / "history.csv", state["history"])
            _keep(out / "checkpoint.pt", state, config)
    values = space.numbers(state["best"]["point"])
    metrics = state["history"][-1] | {"parameters": values}
    sealed.replace(out / "metrics.json", (json.dumps(metrics, indent=1) + "\n").encode())
    gradient.write_weights(out / "model.safetensors", trials.weights(values, state["best"]))
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return state["history"]


def cpu_seconds():
    """CPU seconds of this process and of those that it has waited for."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in usage)


def _generation(search, space, trials, evaluate, state):
    """Simulate and judge a generation, and tell the search."""
    points = search.ask()
    judged = evaluate([space.numbers(point) for point in points], trials.inputs, trials.judge)
    losses = [one.loss for one in judged]
    search.tell(losses)
    state["losses"].append(losses)
    first = int(np.argmin(losses))
    if state["best"] is None or losses[first] < state["best"]["loss"]:
        state["best"] = {"point": torch.from_numpy(points[first]), **vars(judged[first])}


def _keep(path, state, config):
    file = io.BytesIO()
    torch.save({**state, "config": config}, file)
    sealed.write(path, file.getvalue())


def _restore(path, search, state):
    """The state of a checkpoint; the search is told all that it had found."""
    checkpoint = gradient.read_checkpoint(path)
    try:
        for losses in checkpoint["losses"]:
            search.ask()
            search.tell(losses)
        return {name: checkpoint[name] for name in state}
    except (KeyError, TypeError, ValueError) as error:
        raise gradient.FitError(
            f"{path}: does not belong to the settings in it ({' '.join(str(error).split())}), expected the checkpoint "
            "of this fit; delete it to start this fit again"
        ) from error
