import math

import pytest
import torch

from fitting import kernels, models
from fitting.models.lstm import LSTM, ChronoLSTM
from fitting.settings import SettingError
from tests.fitting.twins import assert_same, outputs_and_gradients, weighing

pytestmark = pytest.mark.usefixtures("float64")


def torch_outputs_and_gradients(model, events):
    """What torch's own LSTM and readout, with the model's weights, make of the same input; its second bias is 0."""
    lstm = torch.nn.LSTM(model.num_input, model.settings.hidden, batch_first=True)
    readout = torch.nn.Linear(model.settings.hidden, model.readout.out_features)
    readout.load_state_dict(model.readout.state_dict())
    with torch.no_grad():
        lstm.weight_ih_l0.copy_(model.input_weight.T)
        lstm.weight_hh_l0.copy_(model.recurrent_weight.T)
        lstm.bias_ih_l0.copy_(model.bias)
        lstm.bias_hh_l0.zero_()
    outputs = readout(lstm(events.dense(torch.float64))[0])
    outputs.backward(weighing(outputs))
    weights = lstm.weight_ih_l0.grad.T, lstm.weight_hh_l0.grad.T, lstm.bias_ih_l0.grad
    return outputs.detach(), *weights, readout.weight.grad, readout.bias.grad


@pytest.mark.parametrize("kind", [LSTM, ChronoLSTM])
@pytest.mark.parametrize("batch, hidden", [(1, 1), (3, 15), (8, 50), (17, 7), (2, 250)])
def test_from_events_as_from_a_tensor_a_model_is_torchs_lstm(kind, batch, hidden, make_events):
    model, events = kind(kind.Settings(hidden), 32, 2), make_events(batch)
    reference = torch_outputs_and_gradients(model, events)
    for inputs in (events, events.dense(torch.float64)):
        assert_same(outputs_and_gradients(model, inputs), reference)
        with kernels.twins():
            assert_same(outputs_and_gradients(model, inputs), reference)
    with torch.no_grad():
        assert_same([model(events)], reference[:1])


def test_in_float32_a_model_is_torchs_lstm_within_rounding(make_events):
    model, events = LSTM(LSTM.Settings(50), 64, 2).float(), make_events(8, 300, 64)
    single = outputs_and_gradients(model, events)
    assert_same(single, torch_outputs_and_gradients(model.double(), events), 1e-4)


def test_gradients_are_those_of_finite_differences(make_events):
    model, events = LSTM(LSTM.Settings(3), 8, 2), make_events(3, 12, 8)
    names = [name for name, _ in model.named_parameters()]

    def output(*values):
        return torch.func.functional_call(model, dict(zip(names, values, strict=True)), (events,))

    assert torch.autograd.gradcheck(output, tuple(model.parameters()))


def test_the_output_depends_on_no_later_input(make_events):
    model, x = LSTM(LSTM.Settings(7), 32, 2), make_events(1).dense(torch.float64)
    later = x.clone()
    later[:, 40:] = 1.0
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :40], model(later)[:, :40], rtol=0, atol=1e-14)
        assert (model(x)[:, 40:] != model(later)[:, 40:]).all()


@pytest.mark.parametrize("kind", [LSTM, ChronoLSTM])
@pytest.mark.parametrize("hidden, printed", LSTM.PRINTED.items())
def test_parameters_are_as_many_as_the_paper_prints(kind, hidden, printed):
    count = models.parameter_count(kind(kind.Settings(hidden), 1278, 2))
    assert count["printed"] == printed and count["live"] == count["trainable"]
    digits = len(printed[:-1].partition(".")[2])
    assert f"{count['trainable'] / 1000:.{digits}f}K" == printed


def test_an_lstm_of_50_units_has_265902_parameters_and_others_are_not_in_print():
    assert models.parameter_count(LSTM(LSTM.Settings(), 1278, 2))["trainable"] == 265_902
    assert LSTM(LSTM.Settings(51), 1278, 2).printed_count() is None
    assert LSTM(LSTM.Settings(50), 700, 2).printed_count() is None


def test_first_values_are_uniform_within_one_over_the_root_of_the_units():
    model = LSTM(LSTM.Settings(64), 300, 20)
    for name, parameter in model.named_parameters():
        assert parameter.abs().max() <= 1 / 8, name
        assert parameter.abs().max() > 0.95 / 8 or parameter.numel() < 100, name
    assert model.input_weight.std().item() == pytest.approx(1 / 8 / math.sqrt(3), rel=0.02)


def test_a_chrono_lstm_starts_with_time_scales_from_its_range_and_is_else_an_lstm():
    torch.manual_seed(2)
    plain = LSTM(LSTM.Settings(4000), 1, 1)
    torch.manual_seed(2)
    chrono = ChronoLSTM(ChronoLSTM.Settings(4000, t_min=10, t_max=500), 1, 1)
    bias_i, bias_f, *others = chrono.bias.detach().chunk(4)
    assert torch.equal(bias_i, -bias_f)
    time_scale = 1 / (1 - torch.sigmoid(bias_f))  # steps in which the forget gate alone lets 1/e remain, about
    assert 11 <= time_scale.min() < 12 and 499 < time_scale.max() <= 500
    assert time_scale.mean().item() == pytest.approx(255.5, rel=0.03)
    assert torch.equal(torch.cat(others), plain.bias[8000:])
    for name, parameter in plain.named_parameters():
        assert name == "bias" or torch.equal(parameter, chrono.state_dict()[name]), name


def test_a_chrono_lstm_remembers_an_event_hundreds_of_steps_later():
    x = torch.zeros(2, 500, 1)
    x[1, 0] = 1.0
    remains = {}
    for kind in (LSTM, ChronoLSTM):
        torch.manual_seed(0)
        without, with_event = kind(kind.Settings(50), 1, 2)(x).detach()
        difference = (with_event - without).norm(dim=1)
        remains[kind] = (difference[-1] / difference.max()).item()
    assert remains[LSTM] < 1e-6 and remains[ChronoLSTM] > 0.1


def test_operations_of_a_step_are_those_of_the_equations():
    # One unit: of each gate two products and two additions, of the cell three operations, of h one, of y two.
    assert LSTM(LSTM.Settings(1), 1, 1).flops_per_step() == 4 * 4 + 3 + 1 + 2
    model = LSTM(LSTM.Settings(50), 1278, 2)
    matrices = model.input_weight.numel() + model.recurrent_weight.numel() + model.readout.weight.numel()
    assert model.flops_per_step() == 2 * matrices + 4 * 50 == 531_600


@pytest.mark.parametrize(
    "settings, complaint",
    [
        ({"hidden": 0}, "hidden: found 0, expected at least 1"),
        ({"t_min": 0.0}, "t_min: found 0.0, expected a finite number above 0"),
        ({"t_min": 5.0, "t_max": 5.5}, "t_max: found 5.5, expected at least t_min \\+ 1 = 6.0"),
        ({"t_max": math.inf}, "t_max: found inf, .* finite"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, complaint):
    with pytest.raises(SettingError, match=complaint):
        ChronoLSTM.Settings(**settings)
