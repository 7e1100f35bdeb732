"""Learning by gradient: the one training loop of every task and model.

Adam, Adamax (Kingma & Ba 2015, arXiv 1412.6980), or steps of a given length down the gradient, however small it is
(`normalised`: where a network's activity died out, what little gradient is left still says how to revive it), with a
cosine schedule, lr(k) = lr/2 (1 + cos(π k/K)) at step k of K. Batches and schedule are functions of the step, so a
checkpoint holds no data loader: a run that was killed and resumed gives bit for bit the weights and the history of one
that was not (`cpu_s` apart). The weights kept are those of the lowest validation loss.

A folder of a fit: `config.yaml`, `history.csv` and, while running, `checkpoint.pt`; `model.safetensors` appears when it
is finished.
"""

import copy
import csv
import hashlib
import io
import math
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import safetensors
import safetensors.torch
import torch
import yaml
from tqdm import tqdm

from fitting.events import respond
from fitting.settings import found_in, require, restore
from sims import sealed
from sims.mistakes import Mistake
from sims.streams import stream

_OPTIMIZERS = Literal["adam", "adamax", "normalised"]
_UNCOMPARED = ("path", "code_version")
# The most work that a kill can cost; each validation leaves a checkpoint too.
_CHECKPOINT_SECONDS = 60


class FitError(Mistake):
    """A fit that cannot start, go on or be used."""


@dataclass(frozen=True)
class Training:
    """How to fit; defaults from the paper (30 epochs of 11,400 batches).

    clip: largest norm of the gradient, None for no limit.
    optimizer: adam, adamax, or normalised: each step as long, over all parameters, as the learning rate says.
    validate_every: steps between validations, None for twenty over the run.
    """

    steps: int = 342_000
    batch_size: int = 8
    learning_rate: float = 5e-4
    seed: int = 0
    clip: float | None = None
    validate_every: int | None = None
    optimizer: _OPTIMIZERS = "adam"

    def __post_init__(self):
        for name, least in (("steps", 0), ("batch_size", 1)):
            require(getattr(self, name) >= least, name, getattr(self, name), f"at least {least}")
        require(0 < self.learning_rate < math.inf, "learning_rate", self.learning_rate, "a finite number above 0")
        require(self.seed >= 0, "seed", self.seed, "at least 0")
        require(
            self.optimizer in get_args(_OPTIMIZERS), "optimizer", self.optimizer, " or ".join(get_args(_OPTIMIZERS))
        )
        require(self.clip is None or self.clip > 0, "clip", self.clip, "a number above 0")
        require(
            self.validate_every is None or self.validate_every >= 1, "validate_every", self.validate_every, "at least 1"
        )

    def as_plain(self):
        """What config.yaml says; the optimizer only where it is another than that of all fits before there was one."""
        plain = asdict(self)
        return {name: value for name, value in plain.items() if (name, value) != ("optimizer", "adam")}

    def generator(self, step):
        """The random generator that draws the batch of one step."""
        return stream(self.seed, "batches", step)

    def torch_seed(self, purpose):
        """A seed for torch's own generator."""
        return int(stream(self.seed, purpose).integers(2**63))

    def is_validated(self, step):
        """Whether a validation follows once `step` steps are done."""
        every = self.validate_every or max(1, self.steps // 20)
        return step % every == 0 or step == self.steps


def build(kind, settings, num_input, num_output, training, typical_output=None):
    """A model of class `kind` whose first weights depend on the seed alone.

    typical_output: [num_output], where the biases of a linear readout start, if the model has one; the mean over the
    data spares the first steps what is known before (Lin et al. 2017, arXiv 1708.02002, section 3.3).
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.torch_seed("initial weights"))
        model = kind(settings, num_input, num_output)
    if typical_output is not None and hasattr(model, "readout"):
        with torch.no_grad():
            model.readout.bias.copy_(typical_output)
    return model


def fit(
    model, batch, loss, validate, training, out, config, resume=False, replace=False, show_progress=True, start=None
):
    """Fit a model and leave its folder.

    batch(generator, size) -> (inputs, targets) draws a training batch with a numpy generator.
    loss(outputs, targets) -> scalar tensor.   validate(model) -> dict of numbers (or None) with at least "loss".
    training: Training.   out: folder, made if needed.
    config: everything else that decides the result, plain values for config.yaml.
    resume: go on from the folder's checkpoint, start where there is none, return at once where the fit is finished.
    replace: start anew where what the folder holds is of other data or settings, instead of refusing.
    start: called without arguments before the first step, gives the model weights that are validated as step 0.
    Returns the history, a list of dicts, one for each validation; the model is left with its best weights.
    Raises FitError where the folder holds another or (without `resume`) any fit, where its checkpoint is damaged, or
    where a loss is not finite; the folder then still holds its last checkpoint.
    """
    out = Path(out)
    config = {**config, "training": training.as_plain()}
    if refuse_unusable_folder(out, config, resume, replace):
        model.load_state_dict(read_weights(out / "model.safetensors"))
        return read_history(out / "history.csv")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.torch_seed("noise"))
        return _fit(model, batch, loss, validate, training, out, config, show_progress, start)


def refuse_unusable_folder(out, config, resume, replace=False):
    """Check, before any work, that a fit with `config` may run in the folder `out`.

    config: as `fit` writes it, with "training".
    Returns True where exactly this fit is finished there (and `resume` is set).
    With `replace`, a fit of other data or settings is removed.
    Raises FitError where the folder is not free.
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise FitError(f"--out {out}: found a file, expected a folder")
    finished, started = (out / "model.safetensors").exists(), (out / "checkpoint.pt").exists()
    if (finished or started) and not resume:
        raise FitError(
            f"--out {out}: found a {'started' if started else 'finished'} fit, expected an empty folder, "
            "or --resume to go on with it"
        )
    if started:
        before, source = read_checkpoint(out / "checkpoint.pt")["config"], out / "checkpoint.pt"
    elif finished:
        before, source = read_config(out), out / "config.yaml"
    else:
        return False
    before, now = _flatten(before), _flatten(config)
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name) and name.rpartition(".")[2] not in _UNCOMPARED:
            if replace:
                for left in (out / "model.safetensors", out / "checkpoint.pt"):
                    left.unlink(missing_ok=True)
                return False
            raise FitError(
                f"--resume: {source} was started with {name} = {before.get(name, 'nothing')}, "
                f"found {now.get(name, 'nothing')}, expected the same settings"
            )
    return finished and not started


def read_config(folder):
    """The config.yaml of a fit's folder as a dict; raises FitError where it is missing or not a mapping."""
    path = Path(folder) / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise FitError(
            f"{path}: cannot be read ({' '.join(str(error).split())}), expected the folder of a fit"
        ) from error
    if not isinstance(config, dict):
        raise FitError(f"{path}: found no mapping, expected the settings of a fit")
    return config


def keep(out, config, weights):
    """Leave the folder of a fit that was finished elsewhere: its settings and its weights, but no history.

    config: as for `fit`, with "training" if that is known.  weights: a state dict.
    Raises FitError where the folder holds a fit.
    """
    out = Path(out)
    refuse_unusable_folder(out, config, resume=False)
    out.mkdir(parents=True, exist_ok=True)
    write_config(out, config)
    write_weights(out / "model.safetensors", weights)


def finish(out, config, weights):
    """Leave settings and weights in a fit's folder whose checkpoint has come to its end, and remove the checkpoint."""
    write_config(out, config)
    write_weights(out / "model.safetensors", weights)
    (out / "checkpoint.pt").unlink(missing_ok=True)


def load(folder, models):
    """The fitted model of a folder.

    models: function from a name to the model class.   Returns (model, config).
    Raises FitError where the fit is unfinished, or its files are damaged or do not belong together, SettingError where
    config.yaml names a model or settings that there are not.
    """
    folder = Path(folder)
    config = read_config(folder)
    if not (folder / "model.safetensors").exists():
        raise FitError(
            f"{folder}: found no model.safetensors, expected a finished fit (finish this one with fit --resume)"
        )
    required = ("task", "task_settings", "model", "model_settings", "num_input", "num_output")
    missing = [key for key in required if key not in config]
    if missing:
        raise FitError(f"{folder / 'config.yaml'}: found no '{missing[0]}', expected the settings of a fit")
    for name in ("num_input", "num_output"):
        if type(config[name]) is not int or config[name] < 1:
            raise FitError(f"{folder / 'config.yaml'}: {name} is {config[name]!r}, expected a whole number above 0")
    if not isinstance(config.get("training", {}), dict):
        raise FitError(f"{folder / 'config.yaml'}: training is {config['training']!r}, expected settings")
    with found_in(folder / "config.yaml"):
        kind = models(config["model"])
    settings = restore(kind.Settings, config["model_settings"], folder / "config.yaml")
    with found_in(folder / "config.yaml"):
        model = kind(settings, config["num_input"], config["num_output"])
    weights, expected = read_weights(folder / "model.safetensors"), model.state_dict()
    for name in sorted(weights.keys() | expected.keys()):
        found, wanted = (
            f"the shape {tuple(tensors[name].shape)}" if name in tensors else "nothing"
            for tensors in (weights, expected)
        )
        if found != wanted:
            raise FitError(
                f"{folder / 'model.safetensors'}: found {found} for {name}, expected {wanted} by config.yaml "
                f"({config['model']})"
            )
    model.load_state_dict(weights)
    return model.eval(), config


def _fit(model, batch, loss, validate, training, out, config, show_progress, start):
    if training.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate, fused=True)
    elif training.optimizer == "adamax":
        optimizer = torch.optim.Adamax(model.parameters(), lr=training.learning_rate)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=training.learning_rate)
    state = {"step": 0, "losses": [], "history": [], "best_loss": math.inf, "best_weights": None, "cpu_s": 0.0}
    if (out / "checkpoint.pt").exists():
        state = _restore(out / "checkpoint.pt", model, optimizer, state)

    out.mkdir(parents=True, exist_ok=True)
    write_config(out, config)
    cpu_before, checkpointed = state["cpu_s"] - time.process_time(), time.monotonic()
    if not state["step"] and not state["history"] and (start or not training.steps):
        if start:
            start()
        _validate(model, validate, training, -1, state, cpu_before)
        _keep(out / "checkpoint.pt", state, model, optimizer, config)
    progress = tqdm(
        total=training.steps,
        initial=state["step"],
        desc="fit",
        unit="step",
        disable=not show_progress,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    with progress:
        for step in range(state["step"], training.steps):
            state["losses"].append(_step(model, optimizer, batch, loss, training, step))
            validated = training.is_validated(step + 1)
            if validated:
                _validate(model, validate, training, step, state, cpu_before)
                progress.set_postfix(valid_loss=f"{state['history'][-1]['valid_loss']:.4g}", refresh=False)
                write_history(out / "history.csv", state["history"])
            progress.update()
            if validated or time.monotonic() - checkpointed >= _CHECKPOINT_SECONDS:
                state["step"], state["cpu_s"] = step + 1, cpu_before + time.process_time()
                _keep(out / "checkpoint.pt", state, model, optimizer, config)
                checkpointed = time.monotonic()

    model.load_state_dict(state["best_weights"])
    write_history(out / "history.csv", state["history"])
    write_weights(out / "model.safetensors", state["best_weights"])
    (out / "checkpoint.pt").unlink(missing_ok=True)
    return state["history"]


def _step(model, optimizer, batch, loss, training, step):
    inputs, targets = batch(training.generator(step), training.batch_size)
    for group in optimizer.param_groups:
        group["lr"] = _learning_rate(training, step)
    optimizer.zero_grad(set_to_none=True)
    value = loss(respond(model, inputs), targets)
    if not torch.isfinite(value):
        _refuse_loss("training", value.item(), step)
    value.backward()
    if training.clip is not None:
        torch.nn.utils.clip_grad_norm_(model.parameters(), training.clip)
    if training.optimizer == "normalised":
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients).clamp(min=torch.finfo(torch.float32).tiny)
        torch._foreach_div_(gradients, norm)
    optimizer.step()
    return value.item()


def _validate(model, validate, training, step, state, cpu_before):
    """Add a row to the history, and keep the weights where they are the best so far."""
    model.eval()
    with torch.no_grad():
        validation = validate(model)
    model.train()
    if not math.isfinite(validation["loss"]):
        _refuse_loss("validation", validation["loss"], step)
    state["history"].append(
        {
            "step": step + 1,
            "loss": math.fsum(state["losses"]) / len(state["losses"]) if state["losses"] else None,
            **{f"valid_{name}": value for name, value in validation.items()},
            "learning_rate": _learning_rate(training, step),
            "cpu_s": round(cpu_before + time.process_time(), 3),
        }
    )
    state["losses"] = []
    if validation["loss"] < state["best_loss"]:
        state["best_loss"], state["best_weights"] = validation["loss"], copy.deepcopy(model.state_dict())


def _refuse_loss(kind, value, step):
    raise FitError(
        f"step {step + 1}: the {kind} loss is {value}, expected a finite number "
        "(a smaller --learning-rate or --clip may help)"
    )


def _learning_rate(training, step):
    return training.learning_rate * 0.5 * (1 + math.cos(math.pi * max(0, step) / max(1, training.steps)))


def _keep(path, state, model, optimizer, config):
    write_checkpoint(
        path,
        {
            **state,
            "config": config,
            "weights": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "torch_rng": torch.get_rng_state(),
        },
    )


def write_checkpoint(path, state):
    """Keep a dict of plain values and tensors, sealed; with "config", so that `refuse_unusable_folder` knows it."""
    file = io.BytesIO()
    torch.save(state, file)
    sealed.write(path, file.getvalue())


def read_checkpoint(path):
    """The dict of a checkpoint, with "config" in it; raises FitError where it is damaged."""
    try:
        checkpoint = torch.load(io.BytesIO(sealed.read(path)), weights_only=True)
    except sealed.SealError as error:
        raise FitError(f"{error}; delete it to start this fit again") from error
    except Exception as error:  # torch has no exception of its own for a file that is not a checkpoint
        raise FitError(f"{path}: found a file that torch does not load, expected a checkpoint") from error
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("config"), dict):
        raise FitError(f"{path}: found no settings in it, expected a checkpoint")
    return checkpoint


def _restore(path, model, optimizer, state):
    checkpoint = read_checkpoint(path)
    try:
        for weights in (checkpoint["best_weights"], checkpoint["weights"]):  # both must fit, the latter go on
            if weights is not None:
                model.load_state_dict(weights)
        optimizer.load_state_dict(checkpoint["optimizer"])
        torch.set_rng_state(checkpoint["torch_rng"])
        return {name: checkpoint[name] for name in state}
    except (KeyError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise FitError(
            f"{path}: does not belong to the settings in it ({' '.join(str(error).split())}), expected the checkpoint "
            "of this fit; delete it to start this fit again"
        ) from error


def write_config(out, config):
    """Leave config.yaml in a fit's folder."""
    sealed.replace(out / "config.yaml", yaml.safe_dump(config, sort_keys=False).encode())


def write_weights(path, weights):
    """Write a state dict."""
    # safetensors has no checksum of its own; a flipped bit in a weight would pass for a weight.
    sealed.replace(path, safetensors.torch.save(weights, metadata={"sha256": _digest(weights)}))


def read_weights(path):
    """The state dict that `write_weights` was given; raises FitError where the file is damaged."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}
            expected = (file.metadata() or {}).get("sha256")
    except (safetensors.SafetensorError, OSError) as error:
        raise FitError(f"{path}: cannot be read ({error}), expected the weights of a fit") from error
    if _digest(weights) != expected:
        raise FitError(
            f"{path}: found weights with sha256 {_digest(weights)}, expected {expected} as the file itself says "
            "(it was altered or damaged)"
        )
    return weights


def _digest(weights):
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {weights[name].dtype} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def write_history(path, history):
    """Write the rows of a history, dicts with the same keys."""
    table = io.StringIO()
    writer = csv.DictWriter(table, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    sealed.replace(path, table.getvalue().encode())


def read_history(path, needed="valid_loss"):
    """The rows of a history, numbers or None; raises FitError where it cannot be read or a row has no `needed`."""
    try:
        with open(path, newline="") as file:
            history = [
                {name: float(value) if value else None for name, value in row.items()} for row in csv.DictReader(file)
            ]
    except (OSError, ValueError, TypeError) as error:
        raise FitError(f"{path}: cannot be read ({error}), expected the history of a fit") from error
    if not history or any(row.get(needed) is None for row in history):
        raise FitError(f"{path}: found no {needed} in every row, expected the history of a fit")
    return history


def _flatten(config, prefix=""):
    """Nested settings as {"training.steps": …}, so that a difference has a name."""
    if isinstance(config, dict):
        items = config.items()
    elif isinstance(config, (list, tuple)):
        items = enumerate(config)
    else:
        return {prefix.rstrip("."): config}
    return {name: value for key, entry in items for name, value in _flatten(entry, f"{prefix}{key}.").items()}
