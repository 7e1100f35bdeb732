import csv
import io
import math

import pytest
import torch
import yaml

from fitting import gradient, models
from fitting.gradient import FitError, Training, fit
from fitting.settings import SettingError
from sims import sealed

TRUE_WEIGHTS = torch.tensor([[1.0, -2.0, 0.5]])
TRAINING = Training(steps=60, batch_size=16, learning_rate=0.1, seed=3, validate_every=10)


class Linear(torch.nn.Module):
    """A linear model with dropout, so that torch's own random state matters as well."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)
        self.dropout = torch.nn.Dropout(0.1)

    def forward(self, x):
        return self.dropout(self.layer(x))


class Killed(BaseException):
    pass


def new_model():
    return gradient.build(lambda *_: Linear(), None, 3, 1, TRAINING)


def batch(generator, size):
    x = torch.from_numpy(generator.normal(size=(size, 3))).float()
    return x, x @ TRUE_WEIGHTS.T


def loss(outputs, targets):
    return torch.nn.functional.mse_loss(outputs, targets)


def validate(model):
    return {"loss": float((model.layer.weight - TRUE_WEIGHTS).square().sum()), "auc": None}


def killed_at(step):
    """`batch`, but the process dies when it draws the batch of this step."""
    drawn = iter(range(step))

    def draw(generator, size):
        if next(drawn, None) is None:
            raise Killed
        return batch(generator, size)

    return draw


def run(out, model=None, batch=batch, validate=validate, training=TRAINING, resume=False, replace=False, **config):
    model = model or new_model()
    history = fit(model, batch, loss, validate, training, out, config, resume, replace, show_progress=False)
    return model.state_dict(), [{key: value for key, value in row.items() if key != "cpu_s"} for row in history]


def test_the_loss_falls_and_the_folder_is_complete(tmp_path):
    _, history = run(tmp_path / "fit", model_name="linear")
    assert history[-1]["valid_loss"] < 0.1 * history[0]["valid_loss"]
    assert {file.name for file in (tmp_path / "fit").iterdir()} == {"config.yaml", "history.csv", "model.safetensors"}
    config = yaml.safe_load((tmp_path / "fit" / "config.yaml").read_text())
    assert config["model_name"] == "linear" and config["training"]["steps"] == 60
    with open(tmp_path / "fit" / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == [10, 20, 30, 40, 50, 60]
    assert list(rows[0]) == ["step", "loss", "valid_loss", "valid_auc", "learning_rate", "cpu_s"]
    assert float(rows[-1]["loss"]) == history[-1]["loss"] and rows[0]["valid_auc"] == ""


def test_the_learning_rate_falls_along_a_cosine(tmp_path):
    _, history = run(tmp_path)
    for row in history:
        assert row["learning_rate"] == pytest.approx(0.05 * (1 + math.cos(math.pi * (row["step"] - 1) / 60)))


@pytest.mark.faults
@pytest.mark.parametrize("step", [0, 7, 10, 34, 59])
def test_a_killed_and_resumed_fit_is_bit_for_bit_an_uninterrupted_one(tmp_path, step):
    weights, history = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", batch=killed_at(step))
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    torch.manual_seed(99)  # the new process has another random state
    resumed, resumed_history = run(tmp_path / "killed", resume=True)
    assert resumed_history == history
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    whole, killed = (tmp_path / folder / "model.safetensors" for folder in ("whole", "killed"))
    assert whole.read_bytes() == killed.read_bytes()
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()


@pytest.mark.faults
def test_a_fit_between_validations_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    weights, history = run(tmp_path / "whole")
    monkeypatch.setattr(gradient, "_CHECKPOINT_SECONDS", 0)
    with pytest.raises(Killed):
        run(tmp_path / "killed", batch=killed_at(37))
    with pytest.raises(Killed):
        run(tmp_path / "killed", batch=killed_at(22), resume=True)
    resumed, resumed_history = run(tmp_path / "killed", batch=killed_at(60 - 37 - 22), resume=True)
    assert resumed_history == history
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)


@pytest.mark.faults
def test_a_fit_killed_between_its_weights_and_the_end_finishes_the_same(tmp_path, monkeypatch):
    weights, _ = run(tmp_path / "whole")
    with monkeypatch.context() as dying:
        dying.setattr(gradient.Path, "unlink", lambda *a, **k: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            run(tmp_path / "killed")
    assert (tmp_path / "killed" / "model.safetensors").exists()
    resumed, _ = run(tmp_path / "killed", resume=True)
    assert all(torch.equal(resumed[name], weights[name]) for name in weights)
    assert not (tmp_path / "killed" / "checkpoint.pt").exists()


def test_the_best_weights_are_kept_and_not_the_last(tmp_path):
    seen = []

    def worse_from_the_third_on(model):
        seen.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"loss": abs(len(seen) - 3)}

    weights, _ = run(tmp_path, validate=worse_from_the_third_on)
    assert len(seen) == 6
    assert all(torch.equal(weights[name], seen[2][name]) for name in weights)
    assert not torch.equal(weights["layer.weight"], seen[5]["layer.weight"])


def test_batches_depend_on_seed_and_step_alone():
    draw = Training(seed=1).generator(5).random()
    assert Training(seed=1, batch_size=3).generator(5).random() == draw
    assert Training(seed=2).generator(5).random() != draw != Training(seed=1).generator(6).random()


def test_a_fit_leaves_the_callers_random_state_alone(tmp_path):
    before = torch.get_rng_state()
    run(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_loss_that_is_not_finite_stops_with_its_step(tmp_path):
    calls = []

    def poisoned(generator, size):
        calls.append(1)
        x, y = batch(generator, size)
        return x, y * (math.inf if len(calls) == 24 else 1)

    with pytest.raises(FitError, match="step 24: the training loss is inf, expected a finite number"):
        run(tmp_path, batch=poisoned)
    assert (tmp_path / "checkpoint.pt").exists() and not (tmp_path / "model.safetensors").exists()


def test_clipping_bounds_the_step(tmp_path):
    sizes = []

    def record(model):
        sizes.append(sum(p.grad.square().sum() for p in model.parameters()).sqrt().item())
        return validate(model)

    run(tmp_path, validate=record, training=Training(20, 16, 0.1, 3, clip=0.01, validate_every=1))
    assert max(sizes) <= 0.01 + 1e-6


def test_a_folder_with_a_fit_is_not_overwritten(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path / "started", batch=killed_at(15))
    with pytest.raises(FitError, match="started: found a started fit, expected an empty folder, or --resume"):
        run(tmp_path / "started")
    run(tmp_path / "finished")
    with pytest.raises(FitError, match="finished: found a finished fit"):
        run(tmp_path / "finished")


def test_resuming_with_other_settings_names_the_setting(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, batch=killed_at(15), model_settings={"d_m": 20}, data=[{"path": "a", "sha256": "1"}])
    with pytest.raises(FitError, match="model_settings.d_m = 20, found 10"):
        run(tmp_path, resume=True, model_settings={"d_m": 10}, data=[{"path": "a", "sha256": "1"}])
    with pytest.raises(FitError, match="data.0.sha256 = 1, found 2"):
        run(tmp_path, resume=True, model_settings={"d_m": 20}, data=[{"path": "a", "sha256": "2"}])
    other = Training(steps=61, batch_size=16, learning_rate=0.1, seed=3, validate_every=10)
    with pytest.raises(FitError, match="training.steps = 60, found 61"):
        run(tmp_path, resume=True, training=other, model_settings={"d_m": 20}, data=[{"path": "a", "sha256": "1"}])
    run(tmp_path, resume=True, model_settings={"d_m": 20}, data=[{"path": "moved", "sha256": "1"}])


def test_a_killed_fit_whose_data_changed_starts_anew_when_told_to_replace(tmp_path):
    data = {"data": [{"path": "a", "sha256": "2"}]}
    fresh, fresh_history = run(tmp_path / "fresh", **data)
    with pytest.raises(Killed):
        run(tmp_path / "edited", batch=killed_at(15), data=[{"path": "a", "sha256": "1"}])
    anew, anew_history = run(tmp_path / "edited", resume=True, replace=True, **data)
    assert anew_history == fresh_history
    assert all(torch.equal(anew[name], fresh[name]) for name in fresh)


def test_resuming_a_finished_fit_does_nothing(tmp_path):
    weights, history = run(tmp_path)
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    again, again_history = run(tmp_path, batch=killed_at(0), resume=True)
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert again_history == history
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.faults
@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b[:900] + bytes([b[900] ^ 4]) + b[901:], lambda b: b""]
)
def test_a_damaged_checkpoint_is_refused_with_its_name(tmp_path, damage):
    with pytest.raises(Killed):
        run(tmp_path, batch=killed_at(15))
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FitError, match="checkpoint.pt.*expected"):
        run(tmp_path, resume=True)
    sealed.write(path, b"not a checkpoint")
    with pytest.raises(FitError, match="checkpoint.pt.*expected a checkpoint"):
        run(tmp_path, resume=True)


@pytest.mark.faults
@pytest.mark.parametrize(
    "name, value",
    [
        ("weights", {"layer.weight": torch.zeros(1, 4), "layer.bias": torch.zeros(1)}),
        ("best_weights", {"other": torch.zeros(1)}),
        ("optimizer", {"state": {}, "param_groups": []}),
        ("torch_rng", None),
        ("step", None),
    ],
)
def test_a_checkpoint_that_holds_another_model_or_less_is_refused(tmp_path, name, value):
    with pytest.raises(Killed):
        run(tmp_path, batch=killed_at(15))
    path, file = tmp_path / "checkpoint.pt", io.BytesIO()
    checkpoint = torch.load(io.BytesIO(sealed.read(path)), weights_only=True)
    checkpoint.pop(name)
    torch.save(checkpoint if value is None else {**checkpoint, name: value}, file)
    sealed.write(path, file.getvalue())
    with pytest.raises(FitError, match="checkpoint.pt: does not belong to the settings in it"):
        run(tmp_path, resume=True)


def test_a_checkpoint_opens_with_torch_and_holds_no_code(tmp_path):
    with pytest.raises(Killed):
        run(tmp_path, batch=killed_at(15))
    checkpoint = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == 10


def test_training_settings_out_of_range_are_refused():
    with pytest.raises(SettingError, match="learning_rate: found nan"):
        Training(learning_rate=math.nan)
    with pytest.raises(SettingError, match="clip: found -1, expected a number above 0"):
        Training(clip=-1)


def test_a_linear_readout_starts_at_the_typical_output_and_the_rest_of_the_model_stays():
    kind = models.find("lstm")
    plain, typical = (
        gradient.build(kind, kind.Settings(3), 8, 2, TRAINING, start) for start in (None, torch.tensor([-6.0, 0.1]))
    )
    assert typical.readout.bias.tolist() == pytest.approx([-6.0, 0.1])
    for (name, ours), other in zip(plain.named_parameters(), typical.parameters(), strict=True):
        assert name == "readout.bias" or torch.equal(ours, other)
