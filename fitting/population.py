"""Population-based training: networks that learn side by side, of which the worst become altered copies of the best.

All members see the same batches. After every `every` steps they are scored on the validation data; each of the worst
quarter then takes the weights and the optimizer's state of one of the best quarter (exploit), and each of its numbers
below times 0.8 or 1.25 (explore), as far as BOUNDS allow:

    learning_rate   of Adam                       slope     of the surrogate
    scale           what the second layer's       tonic     times the file's tonic glutamate
                    weights are multiplied by     penalty   of activity: penalty x (mean spikes a step)²
                    when it is altered

Members differ from the start in these numbers too, each times 0.8, 1 or 1.25, and in their first weights. The whole
population is one batch: its neurons lie side by side in the same kernels (fitting/kernels/neurons.py), `together` of
them at a time. Every random choice is a function of the seed, the round and the member, so a run that was killed and
resumed gives the same bytes as one that was not.

A folder: `lineages.csv`, a row for each round and member, and `checkpoint.pt` while running; then the best member as a
fit, `config.yaml` and `model.safetensors`.

Source: Jaderberg et al. 2017, Population Based Training of Neural Networks, arXiv 1711.09846.
"""

import csv
import io
import math
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from fitting import gradient
from fitting.models.spiking import SpikingNetwork
from fitting.settings import SettingError, require
from sims import sealed
from sims.streams import stream

FACTORS = (0.8, 1.25)
# How far each number may go, in units of where it starts; penalty in its own.
BOUNDS = {
    "learning_rate": (0.05, 20.0),
    "scale": (0.25, 4.0),
    "slope": (0.2, 5.0),
    "tonic": (0.5, 1.5),
    "penalty": (1e-4, 10.0),
}
_FIRST_PENALTY = 0.01
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Population:
    """members: how many.  steps: batches that each learns from.  every: steps between rounds.  together: members side
    by side, None for all.  clip: largest norm of each member's gradient."""

    members: int = 8
    steps: int = 600
    every: int = 50
    batch_size: int = 128
    learning_rate: float = 0.02
    clip: float = 1.0
    seed: int = 0
    together: int | None = None

    def __post_init__(self):
        for name, least in (("members", 4), ("steps", 1), ("every", 1), ("batch_size", 1), ("seed", 0)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")
        for name in ("learning_rate", "clip"):
            require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a finite number above 0")
        require(self.together is None or self.together >= 1, "together", self.together, "at least 1")

    @property
    def rounds(self):
        """How many times members are scored."""
        return -(-self.steps // self.every)

    @property
    def groups(self):
        """How many members each group has that learns side by side."""
        size = min(self.members, self.together or self.members)
        return [min(size, self.members - first) for first in range(0, self.members, size)]


def fit(kind, settings, task, train, valid, population, out, config, resume=False, show_progress=True):
    """Train a population and leave its folder.

    kind, settings: class of a SpikingNetwork and its settings.  task: a DelayedDigits.  train, valid: data it has read.
    out: folder.  config: everything else that decides the result, for config.yaml.
    Returns the lineages, a list of rows: round, member, parent (the member of the round before whose weights it began
    with), the numbers, `train_loss` and `valid_loss`.
    Raises SettingError for a model without members, FitError as `gradient.fit`.
    """
    if not issubclass(kind, SpikingNetwork):
        raise SettingError(f"population: found {kind.__name__}, expected a network of spiking neurons")
    out, plain = Path(out), asdict(population)
    plain.pop("together")  # decides how fast it goes, and nothing else
    config = {**config, "population": plain}
    if gradient.refuse_unusable_folder(out, config, resume):
        return read_lineages(out / "lineages.csv")
    run = _Run(kind, settings, task, train, valid, population)
    if (out / "checkpoint.pt").exists():
        run.restore(gradient.read_checkpoint(out / "checkpoint.pt"), out / "checkpoint.pt")
    out.mkdir(parents=True, exist_ok=True)
    progress = tqdm(
        total=population.steps,
        initial=run.step,
        desc="population",
        unit="step",
        disable=not show_progress,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    with progress:
        while run.step < population.steps:
            run.learn(min(population.every, population.steps - run.step), progress.update)
            run.score()
            if run.step < population.steps:
                run.exploit_and_explore()
            _write_lineages(out / "lineages.csv", run.lineages)
            gradient.write_checkpoint(out / "checkpoint.pt", {**run.state(), "config": config})
    gradient.finish(out, config, run.best())
    return run.lineages


class _Run:
    """All that changes while a population learns: lists and tensors over its members."""

    def __init__(self, kind, settings, task, train, valid, population):
        self.kind, self.settings, self.task = kind, settings, task
        self.train, self.valid, self.population = train, valid, population
        self.sizes = task.sizes(train)
        self.models = [self._built(group, members) for group, members in enumerate(population.groups)]
        self.parents, self.lineages, self.step, self.train_loss = list(range(population.members)), [], 0, None
        names = [name for name, parameter in self.models[0].named_parameters() if parameter.requires_grad]
        self.names = names
        self.moments = {f"{m}.{n}": torch.zeros_like(self.weights()[n]) for n in names for m in ("first", "second")}
        first = {"learning_rate": population.learning_rate, "scale": 1.0, "slope": float(settings.slope), "tonic": 1.0}
        draw = stream(population.seed, "population numbers")
        self.first = first | {"penalty": _FIRST_PENALTY}
        self.numbers = {
            name: torch.from_numpy(value * draw.choice([FACTORS[0], 1.0, FACTORS[1]], population.members))
            for name, value in self.first.items()
        }
        self._rescale(range(population.members), self.numbers["scale"])
        self._apply_numbers()

    def _built(self, group, members):
        training = gradient.Training(seed=self.population.seed)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(training.torch_seed(f"initial weights of group {group}"))
            model = self.kind(self.settings, *self.sizes, members)
            model.start(self.train)
        return model

    def weights(self):
        """{parameter: [members, …]}, copies."""
        parts = [dict(model.named_parameters()) for model in self.models]
        return {name: torch.cat([part[name].detach() for part in parts]) for name in parts[0]}

    def _set_weights(self, weights):
        first = 0
        for model in self.models:
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(weights[name][first : first + model.members])
            first += model.members

    def _apply_numbers(self):
        first = 0
        for model in self.models:
            mine = slice(first, first + model.members)
            model.tonic, model.slope = (self.numbers[name][mine].float() for name in ("tonic", "slope"))
            first += model.members

    def _rescale(self, members, factors):
        weights = self.weights()
        for member in members:
            weights["second.raw"][member] *= factors[member].float()
        self._set_weights(weights)

    def learn(self, steps, done):
        """`steps` batches."""
        losses = []
        for _ in range(steps):
            generator = stream(self.population.seed, "population batches", self.step)
            inputs, targets = self.task.batch(self.train, generator, self.population.batch_size)
            found, first = [], 0
            for model in self.models:
                found.append(self._step(model, slice(first, first + model.members), inputs, targets))
                first += model.members
            self.step += 1
            losses.append(torch.cat(found))
            done()
        self.train_loss = torch.stack(losses).mean(0)

    def _step(self, model, members, inputs, targets):
        """One step of Adam for each member; returns their losses."""
        model.zero_grad(set_to_none=True)
        layers = model.spikes(inputs)
        answers = model.read(layers[1], inputs.shape[0], [inputs.shape[1] - 1])
        losses = torch.stack([self.task.loss(answer, targets) for answer in answers])
        activity = sum(z.unflatten(3, (model.members, -1)).mean((0, 1, 2, 4)) for z in layers) / len(layers)
        (losses + self.numbers["penalty"][members].float() * activity.square()).sum().backward()
        if not torch.isfinite(losses).all():
            raise gradient.FitError(
                f"step {self.step + 1}: the loss of a member is not finite, expected finite numbers "
                "(a smaller --learning-rate may help)"
            )
        parameters = {name: dict(model.named_parameters())[name] for name in self.names}
        squares = sum(p.grad.flatten(1).square().sum(1) for p in parameters.values())
        shrink = (self.population.clip / squares.sqrt().clamp(min=self.population.clip)).float()
        done, (beta_1, beta_2) = self.step + 1, _BETAS
        decay = 0.5 * (1 + math.cos(math.pi * self.step / self.population.steps))
        rate = self.numbers["learning_rate"][members] * decay * math.sqrt(1 - beta_2**done) / (1 - beta_1**done)
        with torch.no_grad():
            for name, parameter in parameters.items():
                shape = (-1,) + (1,) * (parameter.ndim - 1)
                slope = parameter.grad * shrink.view(shape)
                first, second = self.moments[f"first.{name}"][members], self.moments[f"second.{name}"][members]
                first.lerp_(slope, 1 - beta_1)
                second.lerp_(slope.square(), 1 - beta_2)
                parameter -= rate.float().view(shape) * first / (second.sqrt() + _EPSILON)
        return losses.detach()

    def score(self):
        """Score every member on the validation data, and add the round to the lineages."""
        with torch.no_grad():
            losses = torch.cat([self._validate(model) for model in self.models])
        number = len(self.lineages) // self.population.members
        for member, parent in enumerate(self.parents):
            row = {"round": number, "step": self.step, "member": member, "parent": parent}
            row |= {name: values[member].item() for name, values in self.numbers.items()}
            row |= {"train_loss": self.train_loss[member].item(), "valid_loss": losses[member].item()}
            self.lineages.append(row)

    def _validate(self, model):
        """[members], the mean loss."""
        total, count = torch.zeros(model.members), 0
        for inputs, targets in self.task.trials(self.valid):
            answers = model.read(model.spikes(inputs)[1], inputs.shape[0], [inputs.shape[1] - 1])
            total += len(targets) * torch.stack([self.task.loss(answer, targets) for answer in answers])
            count += len(targets)
        return total / count

    def latest(self):
        """Validation losses of the last round, [members]."""
        return np.array([row["valid_loss"] for row in self.lineages[-self.population.members :]])

    def exploit_and_explore(self):
        """The worst quarter become copies of the best, with other numbers."""
        members, quarter = self.population.members, self.population.members // 4
        order = np.argsort(self.latest(), kind="stable")
        draw = stream(self.population.seed, "explore", len(self.lineages) // members)
        parents = np.arange(members)
        parents[order[-quarter:]] = draw.choice(order[:quarter], quarter)
        factors = draw.choice(FACTORS, (len(self.numbers), members))
        index = torch.from_numpy(parents)
        weights = {name: value[index] for name, value in self.weights().items()}
        self.moments = {name: value[index] for name, value in self.moments.items()}
        altered = order[-quarter:].tolist()
        scale = self.numbers["scale"].clone()[index]
        for (name, values), factor in zip(self.numbers.items(), torch.from_numpy(factors), strict=True):
            values = values[index]
            unit = 1.0 if name == "penalty" else self.first[name]
            low, high = (unit * bound for bound in BOUNDS[name])
            values[altered] = (values * factor)[altered].clamp(low, high)
            self.numbers[name] = values
        self._set_weights(weights)
        self._rescale(altered, self.numbers["scale"] / scale)
        self._apply_numbers()
        self.parents = parents.tolist()

    def best(self):
        """The state dict of the member with the lowest loss of the last round."""
        member, first = int(self.latest().argmin()), 0
        for model in self.models:
            if member < first + model.members:
                break
            first += model.members
        return {name: value[member - first : member - first + 1].clone() for name, value in model.state_dict().items()}

    def state(self):
        """What a checkpoint holds."""
        return {
            "step": self.step,
            "weights": self.weights(),
            "moments": self.moments,
            "numbers": self.numbers,
            "parents": self.parents,
            "lineages": self.lineages,
        }

    def restore(self, state, path):
        """Go on from what `state` gave."""
        try:
            self.step, self.moments, self.numbers = state["step"], state["moments"], state["numbers"]
            self.parents, self.lineages = state["parents"], state["lineages"]
            self._set_weights(state["weights"])
            self._apply_numbers()
        except (KeyError, RuntimeError, TypeError, AttributeError) as error:
            raise gradient.FitError(
                f"{path}: does not belong to the settings in it ({' '.join(str(error).split())}), expected the "
                "checkpoint of this population; delete it to start again"
            ) from error


def _write_lineages(path, rows):
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    sealed.replace(path, table.getvalue().encode())


def read_lineages(path):
    """The rows of a lineages.csv, numbers; raises FitError where there is none."""
    whole = ("round", "step", "member", "parent")
    try:
        with open(path, newline="") as file:
            return [
                {name: int(value) if name in whole else float(value) for name, value in row.items()}
                for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise gradient.FitError(f"{path}: cannot be read ({error}), expected the lineages of a population") from error
