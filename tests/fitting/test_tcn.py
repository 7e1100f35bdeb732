import pytest
import torch

from fitting import models
from fitting.models.tcn import TCN, Settings
from fitting.settings import SettingError
from tests.fitting.twins import assert_same, outputs_and_gradients

SMALL = Settings(layers=3, width=5, first_filter=7, filter=4, first_weights=0.3)

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("batch", [1, 3, 9])
@pytest.mark.parametrize("settings", [SMALL, Settings(layers=1, width=3, first_filter=1, first_weights=0.3)])
def test_events_are_filtered_like_the_dense_input(settings, batch, make_events):
    model, events = TCN(settings, 32, 2), make_events(batch)
    of_events, of_tensor = (outputs_and_gradients(model, inputs) for inputs in (events, events.dense(torch.float64)))
    assert_same(of_events, of_tensor)


def test_an_output_depends_on_the_steps_of_its_field_and_no_others():
    model, x = TCN(SMALL, 8, 2).eval(), torch.rand(1, 60, 8)
    for convolution in model.convolutions:  # so that no rectification hides a step
        convolution.weight.data.abs_()
    field = 7 + 2 * (4 - 1)
    for step in range(60):
        changed = x.clone()
        changed[:, step] += 1
        with torch.no_grad():
            differs = (model(changed) != model(x)).any(dim=2)[0]
        assert differs.nonzero().flatten().tolist() == list(range(step, min(step + field, 60)))


def test_the_published_network_sees_153_steps_with_ten_million_parameters():
    settings = Settings()
    assert settings.first_filter + (settings.layers - 1) * (settings.filter - 1) == 153
    count = models.parameter_count(TCN(settings, 1278, 2))
    weights = 1278 * 51 * 128 + 6 * 128 * 18 * 128 + 128 * 2
    assert count == {"trainable": weights + 7 * 128 + 7 * 2 * 128 + 2, "live": count["trainable"], "printed": "~10M"}
    assert TCN(settings, 1278, 2).flops_per_step() == 2 * weights + 2 * 7 * 128
    assert models.parameter_count(TCN(SMALL, 1278, 2))["printed"] is None


def test_it_learns_a_delayed_difference():
    torch.manual_seed(1)
    model = TCN(Settings(layers=2, width=8, first_filter=6, filter=3), 4, 1)
    optimizer, losses = torch.optim.Adam(model.parameters(), lr=1e-2), []
    for _ in range(150):
        x = torch.randn(16, 40, 4)
        target = torch.roll(x[..., 0] - x[..., 1], 3, dims=1)
        loss = (model(x)[:, 8:, 0] - target[:, 8:]).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


def test_evaluation_uses_running_means_so_that_a_window_does_not_depend_on_its_batch():
    model, x = TCN(SMALL, 8, 2), torch.randn(5, 30, 8)
    model(x)
    restored = TCN(SMALL, 8, 2)
    restored.load_state_dict(model.state_dict())
    with torch.no_grad():
        whole, alone = model.eval()(x), restored.eval()(x[:1])
    assert torch.allclose(whole[:1], alone, rtol=0, atol=1e-12)


def test_bad_settings_are_refused():
    with pytest.raises(SettingError, match="setting width: found 0, expected at least 1"):
        Settings(width=0)
