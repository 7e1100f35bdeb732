"""The cable solver against NEURON, its lanes against each other, its tables against what they stand for."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from sims.backends import cable_code, compiled
from sims.backends.cable import CableCell
from sims.backends.neuron import NeuronCell
from sims.cells import l5pc, morphology
from sims.cells.cable_tree import cable_tree
from sims.cells.morphology import Morphology, Section
from sims.cross_check import compare
from sims.documents import EquationError
from sims.stimuli import l5

CELLS = ("stylised", "cell1")
ROUNDING = 1e-6  # mV; float64 and the same steps leave 1e-9 after a second
# Every mechanism file, and a constant of it that a person may change.
MUTATIONS = {
    "leak": "E_L: -88*mV",
    "Ih": "A_beta: 0.25/ms",
    "Im": "V_half: -38*mV",
    "Ca_LVAst": "V_tau_h: -45*mV",
    "Ca_HVA": "A_m: 0.06/ms/mV",
    "SK_E2": "Ca_half: 0.0005*mM",
    "SKv3_1": "k_m: 11*mV",
    "NaTs2_t": "V_m: -33*mV",
    "NaTa_t": "A_h: 0.02/ms/mV",
    "Nap_Et2": "k_beta: 3*mV",
    "K_Tst": "tau_h1: 40*ms",
    "K_Pst": "V_m: -3*mV",
    "calcium_shell": "Ca_rest: 2e-4*mM",
    "AMPA": "tau_rise: 0.5*ms",
    "NMDA": "gamma: 0.07/mV",
    "GABA_A": "E: -78*mV",
}


def parts(name, request, cell=None):
    path = request.getfixturevalue("cell1_path") if name == "cell1" else morphology.find(name)
    tree = morphology.with_axon_stub(morphology.load(path))
    return (cell or l5pc.read()), tree, morphology.segments(tree)


@pytest.fixture(scope="module", params=CELLS)
def cell(request):
    return parts(request.param, request)


@pytest.fixture(scope="module")
def stylised(request):
    return parts("stylised", request)


def drive(segments, duration_ms, trials, seed=0, rate_hz=12.0):
    """Trials of independent Poisson events on all channels, from the first step on."""
    generator = np.random.default_rng(seed)
    channels = 2 * len(segments.dendritic)
    drawn = []
    for _ in range(trials):
        events = generator.poisson(rate_hz * channels * duration_ms / 1e3)
        drawn.append((np.sort(generator.integers(0, duration_ms, events)), generator.integers(0, channels, events)))
    return drawn


def test_cell1_has_its_735_nodes(request):
    _, tree, segments = parts("cell1", request)
    nodes = cable_tree(tree)
    assert len(nodes) == 735 and len(segments) == 642 and len(np.unique(nodes.node)) == 642
    assert (nodes.parent[1:] < np.arange(1, 735)).all() and nodes.parent[0] == -1 and (nodes.axial[1:] > 0).all()


def test_float64_follows_neuron_to_rounding(cell):
    trials = drive(cell[2], 120, 2, rate_hz=15)
    neuron, cable = NeuronCell(*cell).run(trials, 120), CableCell(*cell).run(trials, 120)
    for a, b in zip(neuron, cable, strict=True):
        assert np.ptp(a.soma_voltage) > 3
        np.testing.assert_allclose(b.soma_voltage, a.soma_voltage, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(b.nexus_voltage, a.nexus_voltage, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(b.trace_voltage, a.trace_voltage, rtol=0, atol=ROUNDING)


def test_a_spike_comes_at_the_same_sample_as_in_neuron(stylised):
    generator = np.random.default_rng(0)
    trial = np.sort(generator.integers(5, 25, 2500)), generator.integers(0, 639, 2500)
    (neuron,), (cable,) = NeuronCell(*stylised).run([trial], 60), CableCell(*stylised).run([trial], 60)
    assert len(neuron.spike_time) >= 2
    np.testing.assert_array_equal(cable.spike_time, neuron.spike_time)
    np.testing.assert_allclose(cable.trace_voltage, neuron.trace_voltage, rtol=0, atol=1e-3)


@pytest.mark.parametrize("dt", [0.1, 0.03])
def test_other_steps_agree_too_even_where_no_whole_number_of_them_makes_a_millisecond(stylised, dt):
    trials = drive(stylised[2], 50, 1)
    (neuron,), (cable,) = NeuronCell(*stylised, dt).run(trials, 50), CableCell(*stylised, dt).run(trials, 50)
    np.testing.assert_allclose(cable.soma_voltage, neuron.soma_voltage, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("simd, tables", [*((simd, False) for simd in compiled.SIMD), (compiled.widest_simd(), True)])
def test_float32_stays_near_float64_with_every_kind_of_instructions(stylised, simd, tables):
    if list(compiled.SIMD).index(simd) < list(compiled.SIMD).index(compiled.widest_simd()):
        pytest.skip(f"this machine has no {simd}")
    trials = drive(stylised[2], 50, 2)
    exact = CableCell(*stylised).run(trials, 50)
    near = CableCell(*stylised, precision="float32", tables=tables, simd=simd).run(trials, 50)
    for a, b in zip(exact, near, strict=True):
        np.testing.assert_allclose(b.soma_voltage, a.soma_voltage, rtol=0, atol=5e-4)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_a_trial_is_the_same_in_any_lane_and_company(stylised, precision):
    solver = CableCell(*stylised, precision=precision)
    trials = drive(stylised[2], 30, solver.lanes + 3)
    together = solver.run(trials, 30)
    assert len(together) == solver.lanes + 3
    for k in (0, 1, solver.lanes - 1, solver.lanes, solver.lanes + 2):
        (alone,) = solver.run([trials[k]], 30)
        np.testing.assert_array_equal(alone.soma_voltage, together[k].soma_voltage)
        np.testing.assert_array_equal(alone.nexus_voltage, together[k].nexus_voltage)
    assert not np.array_equal(together[0].soma_voltage, together[1].soma_voltage)


def test_the_order_in_which_events_are_given_does_not_matter(stylised):
    ((time, channel),) = drive(stylised[2], 30, 1)
    order = np.random.default_rng(1).permutation(len(time))
    solver = CableCell(*stylised)
    (sorted_,), (shuffled,) = solver.run([(time, channel)], 30), solver.run([(time[order], channel[order])], 30)
    np.testing.assert_allclose(shuffled.soma_voltage, sorted_.soma_voltage, rtol=0, atol=ROUNDING)


def mutated(tmp_path, name, change):
    file = l5pc.PUBLISHED.parent / f"{name}.yaml"
    (tmp_path / f"{name}.yaml").write_text(f"extends: {file}\nparameters: {{{change}}}\n")
    path = tmp_path / "cell.yaml"
    path.write_text(f"extends: {l5pc.PUBLISHED}\nmechanisms: {{{name}: {{file: {name}.yaml}}}}\n")
    return l5pc.read(path)


def test_every_mechanism_is_mutated():
    assert set(MUTATIONS) == set(l5pc.read().mechanisms)


@pytest.fixture(scope="module")
def published_run(stylised):
    trials = drive(stylised[2], 25, 1, rate_hz=40)
    return trials, CableCell(*stylised).run(trials, 25)[0]


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_changed_constant_changes_both_simulators_alike(stylised, published_run, tmp_path, name):
    trials, before = published_run
    changed = mutated(tmp_path, name, MUTATIONS[name]), *stylised[1:]
    (neuron,), (cable,) = NeuronCell(*changed).run(trials, 25), CableCell(*changed).run(trials, 25)
    disagreement = np.abs(cable.trace_voltage - neuron.trace_voltage).max()
    assert disagreement <= ROUNDING
    assert np.abs(cable.trace_voltage - before.trace_voltage).max() > 1000 * disagreement


def test_a_changed_constant_runs_the_same_binary(stylised, tmp_path):
    before = CableCell(*stylised).source
    assert CableCell(mutated(tmp_path, "NMDA", "Mg: 2*mM"), *stylised[1:]).source == before


def test_a_cell_without_calcium_agrees_too(stylised, tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(
        f"extends: {l5pc.PUBLISHED}\n"
        "mechanisms: {calcium_shell: null, SK_E2: null, Ca_HVA: null, Ca_LVAst: null, Ih: null}\n"
    )
    trials, cell = drive(stylised[2], 30, 1), (l5pc.read(path), *stylised[1:])
    (neuron,), (cable,) = NeuronCell(*cell).run(trials, 30), CableCell(*cell).run(trials, 30)
    np.testing.assert_allclose(cable.soma_voltage, neuron.soma_voltage, rtol=0, atol=ROUNDING)


def test_dendrites_may_grow_from_anywhere_on_their_parents():
    """Children at both ends, in the middle of a long soma, along a dendrite, and one that goes on unbranched."""

    def straight(name, region, parent, parent_x, start, end, diameter):
        points = np.array([[*start, diameter], [*end, diameter]], float)
        return Section(name, region, parent, parent_x, points)

    tree = Morphology(
        "odd",
        (
            straight("soma", "soma", -1, 0.0, (0, 0, 0), (0, 90, 0), 12),
            straight("dend[0]", "basal", 0, 0.0, (0, 0, 0), (0, -130, 0), 2),
            straight("dend[1]", "basal", 1, 1.0, (0, -130, 0), (0, -200, 0), 1),
            straight("dend[2]", "basal", 1, 0.4, (0, -52, 0), (60, -52, 0), 1),
            straight("dend[3]", "basal", 0, 0.0, (0, 0, 0), (50, 0, 0), 1),
            straight("dend[4]", "basal", 1, 0.0, (0, 0, 0), (-50, 0, 0), 1),
            straight("apic[0]", "apical", 0, 1.0, (0, 90, 0), (0, 900, 0), 3),
            straight("apic[1]", "apical", 6, 1.0, (0, 900, 0), (50, 1000, 0), 1),
            straight("apic[2]", "apical", 6, 1.0, (0, 900, 0), (-50, 1000, 0), 1),
        ),
    )
    tree = morphology.with_axon_stub(tree)
    cell = l5pc.read(), tree, morphology.segments(tree)
    trials = drive(cell[2], 40, 1, rate_hz=30)
    (neuron,), (cable,) = NeuronCell(*cell).run(trials, 40), CableCell(*cell).run(trials, 40)
    assert np.ptp(neuron.soma_voltage) > 1
    np.testing.assert_allclose(cable.soma_voltage, neuron.soma_voltage, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(cable.nexus_voltage, neuron.nexus_voltage, rtol=0, atol=ROUNDING)


def test_a_channel_that_reads_calcium_needs_a_shell_in_its_region(stylised, tmp_path):
    path = tmp_path / "cell.yaml"
    path.write_text(f"extends: {l5pc.PUBLISHED}\nregions: {{basal: {{mechanisms: {{SK_E2: {{}}}}}}}}\n")
    with pytest.raises(
        EquationError, match="'SK_E2' in region 'basal' reads Ca_i, but the region has no calcium shell"
    ):
        CableCell(l5pc.read(path), *stylised[1:])


@pytest.mark.parametrize(
    "equation, line, words",
    [("m_inf = (v/mV) % 2 : 1", 3, "the operator %"), ("m_inf = int(v/mV) : 1", 3, "int() of anything but")],
)
def test_an_equation_that_the_solver_cannot_run_is_named(stylised, tmp_path, equation, line, words):
    (tmp_path / "Im.yaml").write_text(f"extends: {l5pc.PUBLISHED.parent / 'Im.yaml'}\nequations: |\n  {equation}\n")
    path = tmp_path / "cell.yaml"
    path.write_text(f"extends: {l5pc.PUBLISHED}\nmechanisms: {{Im: {{file: Im.yaml}}}}\n")
    with pytest.raises(EquationError, match=rf"Im.yaml:{line}: the cable solver cannot run this equation") as error:
        CableCell(l5pc.read(path), *stylised[1:])
    assert words in str(error.value)


def test_a_voltage_that_runs_away_is_reported(stylised):
    cell = replace(stylised[0], reversal_potentials={"E_K": -85.0, "E_Na": np.inf})
    with pytest.raises(compiled.BackendError, match="no longer finite before t = .* ms at dt = 0.025"):
        CableCell(cell, *stylised[1:], precision="float32", tables=False).run([([1], [0])], 20)


def test_a_table_follows_its_function_and_refuses_one_that_jumps():
    gate = lambda v: 1 / (1 + np.exp(-(v + 40) / 5))  # noqa: E731
    coefficients = cable_code.tabulate(gate, "v")
    assert coefficients.shape == (cable_code.DEGREE + 1, cable_code.INTERVALS)
    low, high = cable_code.VOLTAGE_RANGE
    v = np.linspace(low, high, 5001)[:-1]
    above = (v - low) / (high - low) * cable_code.INTERVALS
    interval = above.astype(int)
    found = sum(c[interval] * (above - interval - 0.5) ** power for power, c in enumerate(coefficients))
    assert np.abs(found - gate(v)).max() < cable_code.TABLE_TOLERANCE
    assert cable_code.tabulate(lambda v: (v > -43.2).astype(float), "v") is None
    assert cable_code.tabulate(lambda calcium: 1 / (1 + (4.3e-4 / calcium) ** 4.8), "Ca_i") is not None


@pytest.mark.slow
@pytest.mark.parametrize("cell_name", CELLS)
def test_two_seconds_of_the_published_inputs_agree_with_neuron(request, cell_name):
    """At least four seeds that stay silent, and whatever spikes among the first twelve."""
    cell = parts(cell_name, request)
    inputs, duration = l5.read(), 2000
    trials = [l5.draw(inputs, cell[2], duration, 1, k) for k in range(16)]
    cable = CableCell(*cell).run(trials, duration)
    silent = [k for k in range(16) if not len(cable[k].spike_time)][:4]
    spiking = [k for k in range(16) if len(cable[k].spike_time)][:1]
    assert len(silent) == 4
    neuron = NeuronCell(*cell)
    for k in silent + spiking:
        (reference,) = neuron.run([trials[k]], duration)
        found = compare(cable[k].soma_voltage, cable[k].spike_time, reference.soma_voltage, reference.spike_time)
        print(f"{cell_name}, simulation {k}: {found}")
        assert found["quiet_ms"] and found["largest_difference_mV"] <= 1e-3
        if k in silent:
            assert not len(reference.spike_time) and found["rms_capped_mV"] <= 0.02


def both_precisions(request, simulations, duration_ms, seed):
    """(cell1, trials of the published inputs, the solver's answers in float64, in float32 with tables)."""
    cell = parts("cell1", request)
    trials = [l5.draw(l5.read(), cell[2], duration_ms, seed, k) for k in range(simulations)]
    exact = CableCell(*cell).run(trials, duration_ms)
    return cell, trials, exact, CableCell(*cell, precision="float32", tables=True).run(trials, duration_ms)


@pytest.mark.slow
def test_float32_with_tables_errs_less_than_neuron_at_its_step(request):
    """Until the first spike, against the same solver in float64; NEURON's error is that of dt 0.025 against 0.0125."""
    cell, trials, exact, near = both_precisions(request, 8, 1500, 2)
    coarse, fine = (NeuronCell(*cell, dt).run(trials[:2], 1500) for dt in (0.025, 0.0125))

    def error(a, b):
        quiet = [int(min([*x.spike_time, *y.spike_time, 1500])) - 5 for x, y in zip(a, b, strict=True)]
        return max(np.abs(x.soma_voltage - y.soma_voltage)[:n].max() for x, y, n in zip(a, b, quiet, strict=True))

    print(f"float32 with tables {error(near, exact):.1e} mV, NEURON's step {error(coarse, fine):.1e} mV")
    assert error(near, exact) < error(coarse, fine)


@pytest.mark.slow
def test_float32_with_tables_and_float64_are_one_population(request):
    """64 simulations of 6 s: rate, mean and SD of the voltage, intervals between spikes."""
    *_, exact, near = both_precisions(request, 64, 6000, 3)

    def figures(recordings):
        voltage = np.array([recording.soma_voltage[500:] for recording in recordings])
        spikes = [recording.spike_time[recording.spike_time >= 500] for recording in recordings]
        intervals = np.concatenate([np.diff(times) for times in spikes])
        return np.array([len(times) / 5.5 for times in spikes]), voltage.mean(1), voltage.std(1), intervals

    for name, a, b in zip(("rate", "mean", "SD"), figures(exact), figures(near), strict=False):
        paired = b - a
        print(f"{name}: float64 {a.mean():.4f}, float32 with tables {b.mean():.4f} ± {paired.std() / 8:.4f} (paired)")
        # Pairs share their inputs, so that chaos after spikes is all the noise there is.
        assert abs(paired.mean()) <= 3 * max(paired.std() / 8, 1e-6)
    statistic = ks_2samp(figures(exact)[3], figures(near)[3])
    print(f"intervals: KS {statistic.statistic:.3f}, p = {statistic.pvalue:.2f}")
    assert statistic.pvalue > 0.01
