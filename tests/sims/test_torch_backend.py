"""Neurons in torch: the same traces as in Brian2, and derivatives."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from brian2.units import amp

from sims import equations
from sims.arrivals import Arrivals, input_events
from sims.backends import brian
from sims.backends.brian import Setup
from sims.backends.torch import Neuron, Surrogate, simulate
from sims.backends.torch_step import Plateau
from sims.documents import EquationError
from sims.mistakes import RequestError

EQUATIONS = Path(__file__).resolve().parents[2] / "equations"
MODELS = [equations.read(path) for path in sorted(EQUATIONS.glob("*.yaml"))]
NEURONS = {model.path.name: model for model in MODELS if model.kind == "neuron"}


def named(name):
    return NEURONS[f"{name}.yaml"]


def written(tmp_path, text):
    (tmp_path / "model.yaml").write_text(text)
    return equations.read(tmp_path / "model.yaml")


def driven(model, neurons=4):
    """(Setup, changes, Arrivals) that make neurons of a file rest, spike, or rise to a plateau and stay.

    Bursts of every input event between 100 and 550 ms, ever larger from neuron to neuron, and so currents where the
    model takes any. Where it spikes and takes none, the last neuron's synapses are strong.
    """
    currents = [n for n, p in model.parameters.items() if p.value.dimension is amp.dim and p.bounds]
    changes = {n: np.linspace(0, 0.4, neurons) * model.parameters[n].bounds[1].si for n in currents}
    if model.threshold and not currents and model.integration != "euler":
        strengths = [n for n in model.parameters if n.endswith(("_w", "_dampa"))]
        changes = {
            n: model.parameters[n].value.si * np.where(np.arange(neurons) < neurons - 1, 1, 150) for n in strengths
        }
    draw, rows = np.random.default_rng(1), []
    for event in input_events(model):
        for neuron in range(neurons):
            burst, weights = draw.uniform(100, 450) + draw.uniform(0, 100, 30), draw.uniform(0, neuron, 30)
            rows += [(time, neuron, event, weight) for time, weight in zip(burst, weights, strict=True)]
    columns = [np.array(column) for column in zip(*rows, strict=True)]
    setup = Setup(model, neurons, 1000, 0.25 if model.integration == "euler" else 0.5, varied=tuple(changes))
    return setup, changes, Arrivals(*columns) if rows else None


def assert_the_same(setup, changes, arrivals):
    """Run both; every trace agrees to 1e-9 of its root mean square, and so does every spike.  Returns torch's Traces.

    Operations differ in rounding, by some 1e-15: no neuron here comes that near to its threshold without crossing it.
    """
    expected, found = brian.simulate(setup, changes, arrivals), simulate(setup, changes, arrivals)
    assert list(found.values) == list(expected.values) and np.array_equal(found.time_ms, expected.time_ms)
    for name, trace in expected.values.items():
        scale = np.sqrt(np.mean(trace**2))
        assert np.abs(found.values[name] - trace).max() <= 1e-9 * scale, name
        if name in expected.final:
            assert np.abs(found.final[name] - expected.final[name]).max() <= 1e-9 * scale, name
    assert np.array_equal(found.spike_time_ms, expected.spike_time_ms)
    assert np.array_equal(found.spike_neuron, expected.spike_neuron)
    return found


def holds_a_plateau(trace, dt_ms):
    """Which neurons are above -40 mV throughout the last 300 ms, long after the last event."""
    return trace[-round(300 / dt_ms) :].min(axis=0) > -0.04


@pytest.mark.parametrize("name", NEURONS)
def test_brian2_and_torch_give_the_same_traces_of_every_neuron_of_the_project(name):
    setup, changes, arrivals = driven(NEURONS[name])
    found = assert_the_same(setup, changes, arrivals)
    assert all(np.ptp(trace) > 0 for trace in found.values.values())
    if setup.model.threshold:
        assert len(found.spike_time_ms) > 20 and 0 not in found.spike_neuron
    if setup.model.bistable:
        assert holds_a_plateau(found.values["v"], setup.dt_ms).any()


def test_the_same_plateaus_and_spikes_of_a_neuron_whose_dendrites_hold_them(tmp_path):
    setup, _, arrivals = driven(named("neuron_nmda"))
    found = assert_the_same(setup, {"feedback": 0.01}, arrivals)
    up = np.array([holds_a_plateau(found.values[f"dendrite{k}_v"], setup.dt_ms) for k in (1, 2)])
    assert up.any() and not up.all()
    late = found.spike_neuron[found.spike_time_ms > 700]
    assert set(late) == set(np.flatnonzero(up.any(axis=0)))


NMDA, SOMA, NEURON = (EQUATIONS / f"{name}.yaml" for name in ("dendrite_nmda", "soma_lif", "neuron_nmda"))
VARIANTS = {
    "another block": f"extends: {NMDA}\nequations: |\n  B = 1/(1 + exp(-(v + 30*mV)/(8*mV))) : 1\n"
    "parameters: {eta: null, gamma: null}\n",
    "a gate that saturates": f"extends: {NMDA}\nevents: {{presynaptic: s += ds*(2 - s)}}\n",
    "a slower gate and a weight": f"extends: {NMDA}\nparameters: {{tau_s: 120*ms, w: 25}}\n",
    "a reset to rest": f"extends: {SOMA}\nevents: {{spike: v = E_L}}\nparameters: {{t_refractory: 0.3*ms}}\n",
    "constants as equations": f"extends: {SOMA}\nequations: |\n  g_L = 9*nS : siemens\n  C = 20*ms*g_L : farad\n"
    "  E_L = -70*mV : volt\nparameters: {g_L: null, C: null, E_L: null}\n",
    "a constant of a constant by Euler": f"extends: {NMDA}\nequations: |\n  eta = exp(-k) : 1\n  k = 1.2 : 1\n"
    "parameters: {eta: null}\nintegration: euler\n",
    "a threshold in time": f"extends: {SOMA}\nthreshold: t > 300*ms\nparameters: {{v_threshold: -60*mV}}\n",
    "a soma by Euler": f"extends: {SOMA}\nintegration: euler\n",
    "a soma solved exactly": f"extends: {SOMA}\nintegration: exact\n",
    "a dendrite by Euler": f"extends: {NMDA}\nintegration: euler\n",
    "a neuron by Euler": f"extends: {NEURON}\nintegration: euler\nparameters: {{feedback: 0.01}}\n",
    "a current that is switched on": f"extends: {SOMA}\nequations: |\n"
    "  dv/dt = (g_L*(E_L - v) + I*int(t >= 100*ms and not t > 600*ms))/C : volt (unless refractory)\n",
}


@pytest.mark.parametrize("text", VARIANTS.values(), ids=VARIANTS)
def test_brian2_and_torch_give_the_same_traces_of_what_extends_another_file(tmp_path, text):
    setup, changes, arrivals = driven(written(tmp_path, text))
    found = assert_the_same(setup, changes, arrivals)
    assert len(found.spike_time_ms) > 20 or setup.model.threshold is None


def test_brian2_and_torch_agree_on_every_function_and_every_statement(tmp_path):
    text = """
equations: |
  du/dt = (exprel(-u) + abs(sin(3*u)) - clip(u, 0, 0.7) + sqrt(u)/2 - u)/tau : 1
  dx/dt = (tanh(u - x)*int(x < 3) + log1p(u) + 2**(-x) + x % 0.3 - x**3)/tau : 1
  dy/dt = (a - y)/tau : 1 (unless refractory)
  a = floor(3*(t + 0.13*ms)/tau) % 3 + sign(u - 1) + arctan(x)*b + expm1(-x)**2 : 1
  b = cos(pi*scale) + log10(ceil(scale + 1)) + 1/(1 + x*x)**1.5 : 1
threshold: y > 1.2 and not x > 2.5
refractory: tau*(1 + u)/8
events:
  kick: u += 0.3; x *= 1.1
  spike: y /= 2; x -= 0.1*y
  clear: u = 0.5*u
parameters: {tau: 20*ms, scale: 0.4}
initial: {u: 0.2, x: 0.1, y: 0}
integration: euler
"""
    model = written(tmp_path, text)
    draw = np.random.default_rng(2)
    given = Arrivals(draw.uniform(0, 990, 300), draw.integers(3, size=300), draw.choice(["kick", "clear"], 300),
                     draw.uniform(0, 2, 300))  # fmt: skip
    found = assert_the_same(Setup(model, 3, 1000, 0.5, record=("u", "x", "y", "a", "b")), {}, given)
    assert len(found.spike_time_ms) > 20


def test_what_is_held_over_a_step_is_held_for_its_events_too(tmp_path):
    text = (
        "equations: |\n  dv/dt = (B - v)/tau : 1 (unless refractory)\n  B = 2*exp(-v*v) : 1\n"
        "threshold: v > B\nrefractory: 3*ms\nevents: {push: v += 0.4*B, spike: v -= 0.9*B}\n"
        "parameters: {tau: 10*ms}\ninitial: {v: 0}\n"
    )
    given = Arrivals(np.arange(5.0, 100, 3), np.zeros(32, int), np.full(32, "push"), np.ones(32))
    found = assert_the_same(Setup(written(tmp_path, text), 1, 100, 0.5, record=("v", "B")), {}, given)
    assert len(found.spike_time_ms) > 5


def test_parameters_differ_between_neurons_and_states_start_from_them():
    changes = {"v_threshold": np.array([-0.05, -0.06]), "E_L": -0.07, "I": 3e-10}
    setup = Setup(named("soma_lif"), 2, 100, 0.25, varied=("v_threshold",))
    found = assert_the_same(setup, changes, None)
    assert found.values["v"][0].tolist() == [-0.07, -0.07] and len(set(found.spike_neuron)) == 2


def test_float32_follows_float64_until_rounding_moves_a_spike():
    setup, changes, arrivals = driven(named("dendrite_nmda"))
    single, double = (simulate(setup, changes, arrivals, dtype) for dtype in (torch.float32, torch.float64))
    assert single.values["v"].dtype == np.float32
    assert np.abs(single.values["v"] - double.values["v"]).max() < 2e-5


def batch(neuron, shape, steps, seed=0):
    """Inputs of a few steps that make neurons spike: {event: [steps, *shape]}."""
    draw = np.random.default_rng(seed)
    size = (steps, *shape)
    return {name: torch.tensor(draw.poisson(0.2, size) * draw.uniform(1, 20, size)) for name in neuron.inputs}


def test_a_batch_is_what_its_members_are_alone():
    neuron, shape = Neuron(named("neuron_nmda"), 0.5), (3, 2)
    inputs = batch(neuron, shape, 150)
    values = {"dendrite1_w": torch.linspace(10, 30, 6).reshape(3, 2).double(), "g_c": torch.tensor([1e-9, 1e-8])}
    traces, spikes, state = neuron.run(neuron.parameters(shape, values), inputs)
    assert spikes.shape == (150, 3, 2) and set(spikes.unique().tolist()) == {0, 1}
    for b, n in np.ndindex(shape):
        alone = {"dendrite1_w": values["dendrite1_w"][b, n], "g_c": values["g_c"][n]}
        one = {name: value[:, b, n, None] for name, value in inputs.items()}
        found, fired, final = neuron.run(neuron.parameters((1,), alone), one)
        assert all(torch.equal(found[name][:, 0], traces[name][:, b, n]) for name in traces)
        assert torch.equal(fired[:, 0], spikes[:, b, n])
        assert all(torch.equal(final[name][0], state[name][b, n]) for name in final)


def test_a_parameter_that_comes_with_each_step_is_the_same_as_one_that_stands():
    model, shape = named("soma_lif"), (2,)
    steady, stepwise = Neuron(model, 0.5), Neuron(model, 0.5, ("I",))
    current = torch.tensor([3e-10, 6e-10]).double()
    expected, spikes, _ = steady.run(steady.parameters(shape, {"I": current}), count=200)
    found, fired, _ = stepwise.run(stepwise.parameters(shape), {"I": current.expand(200, 2)})
    assert spikes.sum() > 4 and torch.equal(fired, spikes)
    assert torch.allclose(found["v"], expected["v"], rtol=1e-13, atol=0)


def test_a_run_goes_on_where_another_ended():
    neuron = Neuron(named("neuron_nmda"), 0.5)
    parameters, inputs = neuron.parameters((2,)), batch(neuron, (2,), 100)
    whole, spikes, _ = neuron.run(parameters, inputs)
    _, early, state = neuron.run(parameters, {name: value[:37] for name, value in inputs.items()})
    traces, late, _ = neuron.run(parameters, {name: value[37:] for name, value in inputs.items()}, state=state)
    assert torch.equal(torch.cat([early, late]), spikes) and spikes.sum() > 3
    assert torch.equal(traces["dendrite1_v"], whole["dendrite1_v"][37:])


SMOOTH = {
    "dendrite_nmda": ("w", "s_tonic", "ds", "tau_s", "eta", "gamma", "g_L", "C", "E_L", "E_N", "I_soma"),
    "dendrite_nmda_linear": ("w", "eta", "gamma", "E_L"),
    "neuron_nmda": ("g_c", "feedback", "dendrite1_w", "dendrite_tau_s", "soma_g_L", "soma_C", "soma_E_L"),
}


@pytest.mark.parametrize("scheme", ["exponential_euler", "euler"])
@pytest.mark.parametrize("name, varied", SMOOTH.items(), ids=SMOOTH)
def test_where_nothing_spikes_derivatives_are_those_of_differences(tmp_path, name, varied, scheme):
    model = written(tmp_path, f"extends: {EQUATIONS / name}.yaml\nintegration: {scheme}\n")
    neuron = Neuron(model, 0.5)
    inputs = batch(neuron, (2,), 8)
    units = {n: model.parameters[n].value.si or 1e-2 for n in varied}  # so that all arguments are of order 1

    def run(weights, *values):
        changes = {n: value * units[n] for n, value in zip(varied, values, strict=True)}
        parameters = neuron.parameters((2,), changes, check=False)
        traces, *_, state = neuron.run(parameters, inputs | {neuron.inputs[0]: weights})
        return tuple(trace[1:] * 100 for trace in traces.values())

    values = [torch.tensor([1.0, 1.1]).double().requires_grad_() for _ in varied]
    if "I_soma" in varied:
        units["I_soma"] = 1e-12
    assert torch.autograd.gradcheck(run, (inputs[neuron.inputs[0]].requires_grad_(), *values), atol=1e-7, rtol=1e-5)


def soma(surrogate, count, dt_ms=0.5):
    """(voltages, spikes, current) of the soma under 800 pA; the current can be differentiated."""
    neuron = Neuron(named("soma_lif"), dt_ms, surrogate=surrogate)
    current = torch.tensor(8e-10, dtype=torch.float64).requires_grad_()
    traces, spikes, _ = neuron.run(neuron.parameters((1,), {"I": current}), count=count)
    return traces["v"][:, 0], spikes[:, 0], current


@pytest.mark.parametrize("slope, scale", [(5, 0.02), (1, 0.005), (10, None)])
def test_the_derivative_of_a_spike_is_the_surrogates(slope, scale):
    voltage, spikes, current = soma(Surrogate(slope, scale), 30)
    first = int(spikes.argmax())
    assert spikes[first] == 1 and 3 < first < 29
    for k in (0, first - 1, first):
        (found,) = torch.autograd.grad(spikes[k], current, retain_graph=True)
        v = -0.075 + 0.08 * (1 - np.exp(-(k + 1) * 0.5 / 20))  # g_L = 10 nS, tau = 20 ms
        dv = (v + 0.075) / 8e-10
        size = scale or 0.02
        expected = dv / (size * (slope * abs(v + 0.055) / size + 1) ** 2)
        assert found.item() == pytest.approx(expected, rel=1e-9)
    assert torch.autograd.grad(spikes[first + 1], current)[0] == 0  # refractory


@pytest.mark.parametrize("through", [False, True])
def test_a_reset_passes_the_spikes_derivative_on_only_where_asked(through):
    voltage, spikes, current = soma(Surrogate(reset_gradient=through), 20)
    first, decay = int(spikes.argmax()), np.exp(-0.5 / 20)
    assert first < 18
    v = slope = 0.0
    for _ in range(first + 1):  # v over rest in volts; its derivative, steps without a spike included
        v, slope = 0.08 + (v - 0.08) * decay, 1e8 + (slope - 1e8) * decay
        before = slope
        slope -= through * 0.02 * slope / (0.02 * (5 * abs(v - 0.02) / 0.02 + 1) ** 2)
    (found,) = torch.autograd.grad(voltage[first + 1], current)
    assert found.item() == pytest.approx(slope, rel=1e-9) and (slope == before) != through


def test_a_slope_may_differ_between_neurons():
    neuron = Neuron(named("soma_lif"), 0.5, inputs=("I",))
    parameters, slope = neuron.parameters((2,), {"v_threshold": -0.05}), torch.tensor([5.0, 20.0])
    found = []
    for given in (parameters, neuron.parameters((2,), {"v_threshold": -0.05}, slope=slope)):
        current = torch.full((2,), 1e-10, dtype=torch.float64, requires_grad=True)
        _, spikes = neuron.step(neuron.start(given), given, {"I": current})
        found.append(torch.autograd.grad(spikes.sum(), current)[0])
    assert found[0][0] == found[1][0] and found[0][1] > 2 * found[1][1]


def test_through_a_plateau_a_step_passes_voltage_on_and_counts_inputs_by_the_distance_to_the_fold():
    model, rule = named("dendrite_nmda"), Plateau("w*s", edge=31.3, middle=-0.055)
    v = torch.tensor([-0.07, -0.01], dtype=torch.float64, requires_grad=True)  # down and up
    s = torch.ones(2, dtype=torch.float64, requires_grad=True)
    found = []
    for plateaus in (None, {"v": rule}):
        neuron = Neuron(model, 1.0, plateaus=plateaus)
        parameters = neuron.parameters((2,))
        state, _ = neuron.step({"v": v, "s": s}, parameters, {"presynaptic": torch.zeros(2)})
        found.append((state["v"].detach(), *torch.autograd.grad(state["v"].sum(), (v, s))))
    (exact_v, exact_dv, exact_ds), (plateau_v, plateau_dv, plateau_ds) = found
    assert torch.equal(exact_v, plateau_v)
    assert exact_dv.max() < 0.95 and torch.equal(plateau_dv, torch.ones(2, dtype=torch.float64))
    psi = 15 * rule.peak / (1 + (31.3 - 15) / rule.width) ** 2
    assert torch.allclose(plateau_ds - exact_ds, torch.tensor([psi, 0.0], dtype=torch.float64), atol=1e-15)


def test_without_a_surrogate_spikes_carry_no_derivative():
    voltage, spikes, current = soma(None, 30)
    assert spikes.sum() > 0 and not spikes.requires_grad and voltage.requires_grad


def test_gradient_descent_finds_the_weight_that_gives_a_rate():
    neuron = Neuron(named("neuron_nmda"), 1.0)
    inputs = batch(neuron, (4,), 60)
    log_g = torch.tensor(np.log(2e-9)).requires_grad_()
    optimiser, losses = torch.optim.Adam([log_g], 0.1), []
    for _ in range(25):
        _, spikes, _ = neuron.run(neuron.parameters((4,), {"g_c": log_g.exp()}), inputs)
        loss = (spikes.sum(0).mean() - 3) ** 2
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[0] == 9 and min(losses) < 0.5


def test_the_derivative_of_exprel_keeps_its_digits_near_0():
    from sims.backends.torch_code import exprel

    x = torch.tensor([-1e-3, -1e-9, 0.0, 1e-12, 9.99e-4, 1.001e-3, 2.0]).double().requires_grad_()
    (slope,) = torch.autograd.grad(exprel(x).sum(), x)
    exact = [0.5 + x / 3 + x**2 / 8 + x**3 / 30 for x in x[:-1].tolist()] + [(np.exp(2) * (2 - 1) + 1) / 4]
    assert slope.tolist() == pytest.approx(exact, rel=1e-11)


def test_a_step_compiles_in_one_piece():
    neuron = Neuron(named("neuron_nmda"), 0.5)
    inputs, current = batch(neuron, (2,), 30), torch.tensor(1.0).double().requires_grad_()
    compiled = torch.compile(neuron.step, backend="eager", fullgraph=True)
    states = [neuron.start(neuron.parameters((2,)))] * 2
    for k in range(30):
        given = {name: value[k] * current for name, value in inputs.items()}
        (first, spikes), (second, expected) = (
            step(state, neuron.parameters((2,)), given)
            for step, state in zip((compiled, neuron.step), states, strict=True)
        )
        states = [first, second]
        assert torch.equal(spikes, expected) and all(torch.equal(first[name], second[name]) for name in first)
    first["soma_v"].sum().backward()
    assert current.grad.abs() > 0


def test_a_neuron_can_be_copied_and_stored():
    neuron = Neuron(named("dendrite_nmda"))
    for other in (copy.deepcopy(neuron), pickle.loads(pickle.dumps(neuron))):
        assert torch.equal(*(n.run(n.parameters(), {"presynaptic": torch.ones(9, 1)})[0]["v"] for n in (neuron, other)))


LEAK = "equations: |\n  dv/dt = -v/tau : 1\nparameters: {tau: {value: 10*ms, bounds: [1*ms, 100*ms]}}\n"
SPIKING = LEAK + "threshold: v > 1\nevents: {spike: v = 0}\n"
BAD = {
    "a product with a comparison": (
        LEAK.replace("-v/tau", "-v/tau*(v > 1)"), EquationError, r"yaml:2: torch cannot compute '-v/tau\*\(v > 1\)'",
    ),
    "a function of nothing": (
        LEAK.replace("-v/tau", "-v/tau*clip(3, 0, 1)"), EquationError, "yaml:2: torch cannot compute .* all times",
    ),
    "what is not linear": (LEAK.replace("-v/tau", "-v*v/tau"), EquationError, "yaml:2: exponential Euler .* linear"),
    "exact integration of what is coupled": (
        LEAK.replace("-v/tau : 1", "(u - v)/tau : 1\n  du/dt = -u/tau : 1") + "integration: exact\n", EquationError,
        "yaml:2: torch solves exactly what relaxes on its own, but dv/dt reads u",
    ),
    "a threshold that never changes": (
        SPIKING.replace("v > 1", "1 > 2"), EquationError,
        "yaml:1: threshold or refractory time: torch cannot compute '1 > 2'",
    ),
    "a surrogate of two comparisons": (
        SPIKING.replace("v > 1", "v > 1 and t > 5*ms"), EquationError, "a surrogate gradient needs one comparison",
    ),
    "a surrogate without its scale": (SPIKING, RequestError, r"the surrogate needs a `scale`.* the unit 1 \(no unit\)"),
    "a name with two meanings": (
        LEAK + "events: {tau: v += 1}\n", RequestError,
        "'tau' is both an event and a parameter",
    ),
}  # fmt: skip


@pytest.mark.parametrize("text, kind, words", BAD.values(), ids=BAD)
def test_a_file_that_torch_cannot_run_says_which_equation_and_why(tmp_path, text, kind, words):
    with pytest.raises(kind, match=words) as error:
        Neuron(written(tmp_path, text))
    assert "\n" not in str(error.value)


def test_what_is_no_neuron_is_refused():
    with pytest.raises(EquationError, match="this file is of the kind channel"):
        Neuron(equations.read(EQUATIONS / "l5pc" / "Ih.yaml"))


@pytest.mark.parametrize(
    "options, words",
    [
        ({"dt_ms": 0}, "dt_ms: found 0"),
        ({"inputs": ("presynaptic", "q")}, "the input 'q' is neither an event nor a parameter"),
        ({"surrogate": {"slope": -1}}, "slope of the surrogate: found -1"),
        ({"surrogate": {"scale": 0.0}}, "scale of the surrogate: found 0.0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, words):
    with pytest.raises(RequestError, match=words):
        if "surrogate" in options:
            options["surrogate"] = Surrogate(**options["surrogate"])
        Neuron(named("dendrite_nmda"), **options)


@pytest.mark.parametrize(
    "shape, changes, kind, words",
    [
        ((4,), {"x": 1}, RequestError, "has no parameter 'x'; expected one of: w, s_tonic"),
        ((4,), {"w": torch.ones(3)}, RequestError, r"'w' was given the shape \(3,\), .* broadcasts to \(4,\)"),
        ((4,), {"w": torch.ones(2, 4)}, RequestError, r"'w' was given the shape \(2, 4\)"),
        ((4,), {"w": float("nan")}, RequestError, "'w' was given nan, expected finite numbers"),
        ((4,), {"tau_s": torch.tensor([0.04, 0.04, -0.04, 0.04])}, EquationError, "constant of s, tau_s, is -0.04"),
    ],
)
def test_parameters_that_cannot_be_are_refused(shape, changes, kind, words):
    with pytest.raises(kind, match=words):
        Neuron(named("dendrite_nmda")).parameters(shape, changes)


def test_a_step_too_large_for_explicit_euler_is_refused(tmp_path):
    text = f"extends: {EQUATIONS / 'dendrite_nmda.yaml'}\nintegration: euler\nparameters: {{C: 0.5*pF}}\n"
    with pytest.raises(RequestError, match="explicit Euler diverges for v at"):
        Neuron(written(tmp_path, text), 0.2).parameters()


def test_inputs_that_cannot_be_are_refused():
    neuron = Neuron(named("dendrite_nmda"))
    parameters = neuron.parameters((2,))
    with pytest.raises(RequestError, match="inputs of a step: found none, expected presynaptic"):
        neuron.step(neuron.start(parameters), parameters)
    with pytest.raises(RequestError, match="found w, expected presynaptic"):
        neuron.run(parameters, {"w": torch.ones(3, 2)})
    with pytest.raises(RequestError, match=r"'presynaptic' was given the shape \(4,\), .* broadcasts to \(2,\)"):
        neuron.run(parameters, {"presynaptic": torch.ones(3, 4)})
    with pytest.raises(RequestError, match="'presynaptic' has 3 steps, expected 5"):
        neuron.run(parameters, {"presynaptic": torch.ones(3, 2)}, count=5)
    with pytest.raises(RequestError, match="found neither inputs nor a count"):
        Neuron(named("soma_lif")).run(parameters)


def test_the_command_runs_torch(command, tmp_path):
    runs = {
        device: command("simulate", EQUATIONS / "soma_lif.yaml", "--set", "I=400*pA", "--duration", 100,
                        "--device", device, "--out", tmp_path / f"{device}.npz")
        for device in ("torch", "runtime")
    }  # fmt: skip
    assert runs["torch"].code == 0 and runs["torch"].stdout == runs["runtime"].stdout
    with np.load(tmp_path / "torch.npz") as found, np.load(tmp_path / "runtime.npz") as expected:
        assert sorted(found) == sorted(expected) and len(found["spike_time_ms"]) > 3
        assert np.abs(found["v"] - expected["v"]).max() < 1e-12
