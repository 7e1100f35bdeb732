"""The transformer with NMDA non-linearity: its limits, its two procedures, what it may see, and what it learns."""

import json
import math

import numpy as np
import pytest
import torch
from torch.nn import functional
from typer.testing import CliRunner

from fitting import gradient
from fitting.__main__ import app
from fitting.benchmarks import place_cells as benchmark
from fitting.models.nmda_transformer import NMDA, NMDATransformer, WindowError
from fitting.settings import SettingError
from fitting.tasks.navigation import Navigation, TaskError
from sims.stimuli import grid_world

SIZES = dict(segment=6, width=16, heads=2, feed_forward=24, path_width=8, dropout=0.0)
WORLD = grid_world.draw(4, 3, 5, 6, 0)


def task(**settings):
    return Navigation(Navigation.Settings(**{"scored_walks": 64, "place_steps": 500} | settings))


def made(**settings):
    """A model whose weights are all somewhere, those that start at zero too."""
    torch.manual_seed(0)
    model = NMDATransformer(NMDATransformer.Settings(**SIZES | settings), 5, WORLD.letters)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def drawn(size=5, segments=3, **settings):
    return task(segments=segments, **settings).batch(WORLD, np.random.default_rng(0), size)


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_without_magnesium_the_activation_is_the_identity_and_at_one_it_is_silu():
    x = torch.linspace(-30, 30, 301)
    assert torch.equal(NMDA(0)(x), x)
    assert torch.allclose(NMDA(1)(x), functional.silu(x), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.01, 0.5, 10])
def test_the_activation_is_equation_one_and_stays_finite(alpha, float64):
    x = torch.linspace(-20, 20, 101)
    assert torch.allclose(NMDA(alpha)(x), x / (1 + alpha * torch.exp(-x)), rtol=1e-12, atol=1e-15)
    assert torch.isfinite(NMDA(alpha)(torch.tensor([-1e4, 1e4]))).all()
    zero = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(NMDA(alpha)(zero), zero)
    assert slope.item() == pytest.approx(1 / (1 + alpha))


@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"layers": 3, "heads": 4}, {"activation": "gelu"}])
@pytest.mark.parametrize("segments", [1, 2, 4])
def test_one_pass_gives_what_a_pass_for_each_prefix_gives(settings, segments, float64):
    model = made(**settings)
    window, wanted = drawn(segments=segments)
    outputs, gradients = [], []
    for procedure in (model, model.by_prefix):
        model.zero_grad()
        found = procedure(window)
        functional.cross_entropy(found.flatten(0, 1), wanted.flatten()).backward()
        outputs.append(found.detach())
        gradients.append([p.grad for p in model.parameters()])
    assert outputs[0].shape == (5, 6, 5)
    assert torch.allclose(*outputs, rtol=0, atol=1e-12)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)


def test_a_prediction_sees_neither_its_own_letter_nor_later_ones_but_all_before(float64):
    model = made()
    window, _ = drawn(segments=2)
    before = model(window).detach()
    for step in range(12):
        letter = window.letter.clone()
        letter[:, step] = (letter[:, step] + 1) % WORLD.letters
        changed = ((model(window._replace(letter=letter)) - before).abs() > 1e-9).any(0).any(-1)
        assert changed.tolist() == [6 + t > step for t in range(6)]


def test_the_published_batches_are_prefixes_of_which_the_last_letter_counts(float64):
    model, task_ = made(), task(letters="last")
    lengths = set()
    for seed in range(40):
        window, wanted = task_.batch(WORLD, np.random.default_rng(seed), 2)
        lengths.add(window.letter.shape[1])
        assert torch.allclose(model(window), model.by_prefix(window), rtol=0, atol=1e-12) and wanted.shape == (2, 1)
    assert lengths == set(range(13, 19))


def test_no_gradient_goes_through_the_memory():
    model = made()
    window, wanted = drawn(segments=2)
    letter = window.letter.clone()
    letter[:, :6], letter[:, 6:] = 4, letter[:, 6:] % 4
    task().loss(model(window._replace(letter=letter)), wanted % 4).backward()
    assert (model.letters.weight.grad[4] == 0).all() and (model.letters.weight.grad[:4] != 0).any()


def test_walks_of_other_shapes_are_refused():
    window, _ = drawn()
    with pytest.raises(WindowError, match="1 to 6 of the last segment"):
        made()(window._replace(scored=7))
    with pytest.raises(WindowError, match="expected one shape"):
        made()(window._replace(action=window.action[:, 1:]))


@pytest.mark.parametrize(
    "wrong, message",
    [({"alpha": -1.0}, "alpha"), ({"alpha": math.inf}, "alpha"), ({"width": 15}, "even"), ({"heads": 3}, "multiple")],
)
def test_settings_that_make_no_sense_are_refused(wrong, message):
    with pytest.raises(SettingError, match=message):
        NMDATransformer.Settings(**SIZES | wrong)


def test_letters_of_a_batch_are_those_of_one_training_map_along_the_walk():
    task_ = task()
    window, chosen, cells = task_.window(WORLD, WORLD.training, 50, 18, 6, np.random.default_rng(0))
    assert set(chosen) == {0, 1, 2}
    for walk, letters, index in zip(cells, window.letter, chosen, strict=True):
        assert np.array_equal(WORLD.training[index].ravel()[walk], letters)


def test_an_oracle_of_the_training_maps_makes_no_mistake_there_and_many_on_novel_ones():
    """Scores count what they say: a model that knows each training map by its first letters."""

    class Oracle(torch.nn.Module):
        def forward(self, window):
            return functional.one_hot(window.letter[:, -window.scored :], WORLD.letters).float()

    class Ignorant(torch.nn.Module):
        def forward(self, window):
            return torch.zeros(len(window.letter), window.scored, WORLD.letters)

    metrics, _ = task(scored_walks=2000).evaluate(Oracle(), WORLD)
    assert metrics["rm_error"] == metrics["wm_error"] == metrics["rm_novel"] == metrics["wm_novel"] == 0
    assert metrics["rm_steps"] + metrics["wm_steps"] == 2000 and metrics["rm_steps"] > 100
    metrics, _ = task(scored_walks=2000).evaluate(Ignorant(), WORLD)
    first = [(maps != 0).mean() for maps in (WORLD.training, WORLD.novel)]
    assert metrics["loss"] == pytest.approx(math.log(5), rel=1e-5)
    assert metrics["wm_error"] == pytest.approx(first[0], abs=0.08)
    assert metrics["wm_novel"] == pytest.approx(first[1], abs=0.08)


def test_rate_maps_are_of_every_neuron_under_both_conventions():
    _, predictions = task().evaluate(made(), WORLD)
    arrays = predictions()
    for kind, neurons in (("ffn", 2 * 24), ("attention", 2 * 2 * 13)):
        for convention in ("clipped", "shifted"):
            score = arrays[f"{kind}_{convention}_score"]
            assert score.shape == (neurons,) and np.nanmax(score) <= 1 and np.nanmin(score) > 0
            assert arrays[f"{kind}_{convention}_map"].shape[1:] == (4, 4)
    own = arrays["attention_clipped_score"].reshape(2, 2, 13)[..., -2]
    assert np.isnan(own).all()  # the last letter of a segment is behind every prediction in it


def test_a_fit_learns_letters_and_is_scored_from_the_command_line(tmp_path):
    world, out = tmp_path / "world.npz", tmp_path / "fit"
    grid_world.write(world, grid_world.draw(3, 1, 3, 6, 0))
    options = [f"--set={name}={value}" for name, value in (SIZES | {"scored_walks": 200, "place_steps": 300}).items()]
    files = ("--data", world, "--valid", world, "--out", out)
    training = ("--steps", 150, "--batch-size", 32, "--learning-rate", 0.01, "--clip", 0.25)
    result = call("fit", "navigation", "nmda_transformer", *files, *training, *options[1:])
    assert result.exit_code == 0, result.output
    history = gradient.read_history(out / "history.csv")
    assert history[-1]["valid_loss"] < 0.7 < history[0]["valid_loss"]
    result = call("evaluate", out, "--data", world, "--out", tmp_path / "m.json", "--predictions", tmp_path / "p.npz")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["wm_error"] < 0.3 and metrics["model_settings"]["segment"] == 6
    again, _ = task(scored_walks=200).evaluate(gradient.load(out, lambda _: NMDATransformer)[0], grid_world.read(world))
    assert again["loss"] == metrics["loss"]


@pytest.mark.parametrize(
    "name, model, expected",
    [
        ("navigation", "elm", "expected nmda_transformer for the task navigation"),
        ("neuronio", "nmda_transformer", "expected the task navigation for nmda_transformer"),
    ],
)
def test_the_transformer_and_navigation_go_only_together(tmp_path, name, model, expected):
    file = tmp_path / "world.npz"
    grid_world.write(file, WORLD)
    result = call("fit", name, model, "--data", file, "--valid", file, "--out", tmp_path / "fit")
    assert result.exit_code == 2 and expected in " ".join(result.output.split())


def test_no_walk_is_both_validated_and_scored(monkeypatch):
    walks, draw = [], Navigation.window
    monkeypatch.setattr(Navigation, "window", lambda *arguments: walks.append(draw(*arguments)) or walks[-1])
    task().validate(made(), WORLD)
    task().evaluate(made(), WORLD)
    validated, scored = walks[:2], walks[2:]
    for (_, maps, cells), (_, other_maps, other_cells) in zip(validated, scored, strict=True):
        assert not (np.equal(cells[:, None], other_cells).all(-1) & np.equal(maps[:, None], other_maps)).any()


def test_several_files_are_refused():
    with pytest.raises(TaskError, match="found 2 files, expected one world"):
        task().read(["a", "b"])


@pytest.mark.slow
def test_all_positions_cost_a_tenth_of_a_pass_for_each_prefix():
    figures = benchmark.measure(0)
    assert figures["over_per_prefix"] >= 10 and figures["gradient_difference"] < 1e-5
