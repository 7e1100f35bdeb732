"""Networks of spiking neurons that remember, or do not."""

import pytest
import torch

from fitting import kernels, models
from fitting.models.spiking import LIFNetwork, LinearNMDANetwork, NMDANetwork
from fitting.settings import SettingError
from sims import equations
from sims.analysis.bifurcation import diagram
from tests.fitting.twins import assert_same, outputs_and_gradients

CHANNELS, CLASSES, STEPS = 32, 10, 30
KINDS = {"lif_network": LIFNetwork, "nmda_network": NMDANetwork, "nmda_linear_network": LinearNMDANetwork}


class Trials:
    """What a model's start reads."""

    def __init__(self, inputs):
        self.inputs = inputs

    def typical(self):
        return self.inputs


@pytest.fixture
def trials(make_events):
    return Trials(make_events(12, STEPS, CHANNELS, rate=0.3))


def built(kind, trials, members=1, **settings):
    model = kind(kind.Settings(**settings), CHANNELS, CLASSES, members)
    model.start(trials)
    return model


@pytest.mark.parametrize("name", KINDS)
def test_networks_are_registered_and_learn_the_delayed_digits(name):
    assert models.find(name) is KINDS[name] and KINDS[name].task == "delayed_digits"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS.values())
def test_a_network_and_its_gradients_are_those_of_the_plain_loop(kind, trials):
    model = built(kind, trials, hidden=9, units=5)
    ours = outputs_and_gradients(model, trials.inputs)
    with kernels.twins():
        twins = outputs_and_gradients(model, trials.inputs)
    assert all(gradient.abs().max() > 0 for gradient in twins[1:])
    assert_same(ours, twins)


@pytest.mark.parametrize("kind", KINDS.values())
def test_start_lifts_the_median_neuron_by_as_much_as_asked(kind, trials):
    model = built(kind, trials, drive=2.0)
    table = model.first.weights()["presynaptic"].transpose(0, 1).flatten(1)
    dense = trials.inputs.dense().transpose(0, 1) @ table
    assert torch.allclose(model.first.peaks({"presynaptic": dense}), torch.tensor(2.0), rtol=1e-3)


def test_dendrites_start_between_the_folds_that_the_bifurcation_analysis_finds_numerically(trials):
    model = built(NMDANetwork, trials)
    low, high = (fold.parameter for fold in diagram(equations.read("equations/dendrite_memory.yaml")).folds)
    assert model.second.folds.w_low == pytest.approx(low, rel=1e-4)
    assert model.second.folds.w_high == pytest.approx(high, rel=1e-4)
    weights = model.second.dendritic_weights()
    assert low < weights.min() and weights.max() < high
    assert (weights.min() - low) / (high - low) > 0.19 and (weights.max() - low) / (high - low) < 0.61


def held(model, seconds=3.0):
    """Which neurons of the second layer fire in the last 100 ms of a long silence after every dendrite was lifted."""
    layer, steps = model.second, round(seconds * 1e3 / model.settings.dt_ms)
    neuron, n = layer.neuron(torch.float32), layer.shape[1]
    pulse = torch.zeros(steps, 1, n)
    pulse[20:40] = 4.0
    parameters = neuron.parameters((1, n), layer.changes(), check=False)
    _, spikes, _ = neuron.run(parameters, {event: pulse for event in neuron.inputs})
    return spikes[-10:].amax((0, 1)) > 0


@pytest.mark.parametrize(
    "kind, settings, holds",
    [
        (NMDANetwork, {}, True),
        (NMDANetwork, {"window": "below"}, False),
        (NMDANetwork, {"tonic": 0.0}, False),
        (LinearNMDANetwork, {}, False),
        (LIFNetwork, {"tau_max_ms": 50.0}, False),
    ],
)
def test_only_a_dendrite_inside_its_window_with_tonic_glutamate_remembers_for_seconds(kind, settings, holds, trials):
    model = built(kind, trials, **settings)
    if kind is LIFNetwork:
        neuron, n = model.second.neuron(torch.float32), model.second.shape[1]
        pulse = torch.zeros(300, 1, n)
        pulse[20:40] = 1.0
        parameters = neuron.parameters((1, n), model.second.changes(), check=False)
        assert neuron.run(parameters, {"presynaptic": pulse})[1][-10:].sum() == 0
    else:
        assert held(model).all() == holds and held(model).any() == holds


def test_above_the_window_a_dendrite_is_up_before_any_input(trials):
    model = built(NMDANetwork, trials, window="above")
    layer = model.second
    neuron, n = layer.neuron(torch.float32), layer.shape[1]
    silence = torch.zeros(50, 1, n)
    parameters = neuron.parameters((1, n), layer.changes(), check=False)
    assert neuron.run(parameters, {event: silence for event in neuron.inputs})[1][-5:].amin() == 1


def drive_gradient(model, inputs, delay):
    """Norm of the gradient that reaches the second layer's weights from an answer after `delay` silent steps."""
    dense = inputs.dense()
    padded = torch.cat([dense, dense.new_zeros(len(dense), delay, CHANNELS)], dim=1)
    model.zero_grad()
    model(padded).square().sum().backward()
    return model.second.raw.grad.norm().item()


def test_through_a_plateau_the_exact_gradient_dies_within_a_delay_and_the_surrogate_does_not(trials):
    found = {}
    for gradient in ("exact", "plateau"):
        torch.manual_seed(0)
        model = built(NMDANetwork, trials, gradient=gradient)
        found[gradient] = [drive_gradient(model, trials.inputs, delay) for delay in (0, 60)]
    assert found["exact"][1] < 1e-6 * found["exact"][0]
    assert found["plateau"][1] > 0.1 * found["plateau"][0]


def test_both_gradients_belong_to_the_same_spikes(trials):
    answers = []
    for gradient in ("exact", "plateau"):
        torch.manual_seed(0)
        answers.append(built(NMDANetwork, trials, gradient=gradient)(trials.inputs))
    assert torch.equal(*answers)


def test_members_are_what_they_are_alone(trials):
    together = built(NMDANetwork, trials, members=3, hidden=9, units=5)
    answers = together(trials.inputs)
    assert answers.shape == (3, 12, 1, CLASSES)
    for member in range(3):
        alone = NMDANetwork(together.settings, CHANNELS, CLASSES)
        alone.load_state_dict({name: x[member : member + 1] for name, x in together.state_dict().items()})
        assert torch.allclose(alone(trials.inputs), answers[member], atol=1e-5)


def test_time_constants_stay_within_what_a_network_may_learn(trials):
    model = built(LIFNetwork, trials, tau_max_ms=50.0, tau_start="slow")
    with torch.no_grad():
        model.first.log_tau_m += 10
    taus = model.first.time_constants()
    assert torch.allclose(taus["tau_m"], torch.tensor(0.05)) and taus["tau_s"].max() <= 0.0501


def test_a_network_of_excitatory_neurons_has_no_negative_weight(trials):
    model = built(NMDANetwork, trials, signed=False)
    weights = [w for layer in (model.first, model.second) for w in layer.weights().values()]
    assert min(w.min() for w in weights) >= 0 and max(w.max() for w in weights) > 0


@pytest.mark.parametrize(
    "kind, settings, words",
    [
        (LIFNetwork, {"hidden": 90}, "hidden \\+ units: found 110, expected fewer than 100"),
        (LIFNetwork, {"readout_ms": 1.0}, "readout_ms: found 1.0"),
        (NMDANetwork, {"second": "equations/soma_lif.yaml"}, "no parameter 'dendrite_eta'"),
        (NMDANetwork, {"tonic": -1.0}, "tonic: found -1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(kind, settings, words):
    with pytest.raises(SettingError, match=words):
        kind(kind.Settings(**settings), CHANNELS, CLASSES)
