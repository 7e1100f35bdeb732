"""The layer-5 cell in Brian2 against NEURON: the same compartments, the same step, in this process and as a program."""

import numpy as np
import pytest

from sims.backends.brian_cell import BrianCell
from sims.backends.brian_tree import brian_tree
from sims.backends.cable import CableCell
from sims.backends.compiled import BackendError
from sims.backends.neuron import NeuronCell
from sims.cells import l5pc, morphology
from sims.cells.cable_tree import cable_tree
from sims.cells.morphology import Morphology, Section
from sims.documents import EquationError
from sims.mistakes import RequestError

DT = 0.1  # ms
ROUNDING = 1e-6  # mV


def section(name, region, parent, parent_x, start, end, *diameters):
    """A straight section whose diameter changes along it, µm."""
    share = np.linspace(0, 1, len(diameters))[:, None]
    points = np.hstack([(1 - share) * start + share * end, np.array(diameters)[:, None]])
    return Section(name, region, parent, parent_x, points)


def small(*places):
    """A soma of three compartments from which dendrites of any shape grow, at 0.5 and at further places."""
    at = [np.array(point, float) for point in ((0, 0, 0), (90, 0, 0), (90, 100, 0), (150, 160, 0), (40, 190, 0))]
    sections = [
        section("soma[0]", "soma", -1, 0, at[0], at[1], 8, 20, 10),
        section("dend[0]", "basal", 0, 0.5, at[0], at[1], 1, 0.4, 2, 0.8),
        section("apic[0]", "apical", 0, 0.5, at[1], at[2], 3, 2.5, 1),
        section("apic[1]", "apical", 2, 1, at[2], at[3], 1, 0.5),
        section("apic[2]", "apical", 2, 1, at[2], at[4], 0.9, 1.2, 0.3),
    ]
    for number, x in enumerate(places, 1):
        sections.append(section(f"dend[{number}]", "basal", 0, x, at[0], at[number], 1, 0.7))
    order = ("soma", "basal", "apical")
    kept = sorted(range(len(sections)), key=lambda i: order.index(sections[i].region))
    place = {-1: -1} | {old: new for new, old in enumerate(kept)}
    moved = [Section(s.name, s.region, place[s.parent], s.parent_x, s.points) for s in map(sections.__getitem__, kept)]
    return morphology.with_axon_stub(Morphology("small", tuple(moved)))


def parts(tree, cell=None):
    return cell or l5pc.read(), tree, morphology.segments(tree)


def changed(folder, text):
    (folder / "cell.yaml").write_text(f"extends: {l5pc.PUBLISHED}\n{text}\n")
    return l5pc.read(folder / "cell.yaml")


def barrage(segments, start, stop, events):
    generator = np.random.default_rng(0)
    time = generator.integers(start, stop, events)
    return time, generator.integers(0, 2 * len(segments.dendritic), events)


@pytest.fixture(scope="module")
def tree():
    return small(0.0, 1.0)


def test_the_tree_has_neurons_compartments_and_conductances(tree):
    """Brian2's matrix, written out from its arrays, is the one that NEURON's geometry gives."""
    segments, nodes = morphology.segments(tree), cable_tree(tree)
    made, order = brian_tree(nodes, segments, np.full(len(segments), 100.0))
    np.testing.assert_array_equal(np.sort(order[np.isin(order, nodes.node)]), np.sort(nodes.node))
    where = {node: np.flatnonzero(nodes.node == node)[0] for node in order if node in nodes.node}
    index, waiting = 0, [made]
    while waiting:
        part = waiting.pop(0)
        for area, between in zip(part.area, np.append(0, 1 / np.asarray(part.r_length_2[:-1])), strict=True):
            node = order[index]
            if node in where:
                assert area / 1e-12 == pytest.approx(segments.area[where[node]])
            if between:
                resistance = between + 1 / float(part.r_length_1[index - part.indices[0]])
                assert resistance == pytest.approx(nodes.axial[node] * 100)
            index += 1
        waiting = [*part.children, *waiting]


@pytest.mark.parametrize(
    "change",
    ["", "regions: {basal: {axial_resistivity: 250*ohm*cm}, soma: {capacitance: 2*uF/cm**2}}"],
    ids=["published", "each region its own"],
)
def test_a_small_cell_follows_neuron_through_a_spike(tree, tmp_path, change):
    cell = parts(tree, changed(tmp_path, change))
    trial = barrage(cell[2], 0, 4, 3000)
    (neuron,), (brian,) = (live.run([trial], 8) for live in (NeuronCell(*cell, DT), BrianCell(*cell, DT, "runtime")))
    assert np.ptp(neuron.soma_voltage) > 20
    np.testing.assert_allclose(brian.trace_voltage, neuron.trace_voltage, rtol=0, atol=1e-5)
    np.testing.assert_allclose(brian.nexus_voltage, neuron.nexus_voltage, rtol=0, atol=1e-5)


def test_events_at_the_same_time_and_place_add_up(tree):
    cell = parts(tree)
    live = BrianCell(*cell, DT, "runtime"), CableCell(*cell, DT)
    (twice,), (solver,) = (one.run([(np.array([1, 1, 1]), np.array([0, 2, 0]))], 4) for one in live)
    np.testing.assert_allclose(twice.trace_voltage, solver.trace_voltage, rtol=0, atol=ROUNDING)
    assert twice.soma_voltage[0] == -76 and len(twice.trace_time) == 4 * 8 + 1


@pytest.mark.parametrize("dt", [0.03, 0.0, -0.1, 2.0, float("nan")])
def test_a_step_that_does_not_divide_a_millisecond_is_refused(tree, dt):
    with pytest.raises(RequestError, match="--dt: found .*whole number"):
        BrianCell(*parts(tree), dt)


@pytest.mark.parametrize(
    "options, words",
    [
        (("--dt", 0.03), "--dt: found 0.03, but with --backend brian"),
        (("--dt", 0), "--dt: found 0.0, expected a fixed step"),
        (("--precision", "float32"), "but Brian2 computes in float64 only"),
        (("--simd", "none"), "--tables and --simd: found with --backend brian"),
    ],
)
def test_an_option_without_meaning_is_refused(command, options, words):
    run = command("l5pc", "absent.npz", "out.npz", "--backend", "brian", *options)
    assert run.code == 2 and words in run.stderr


@pytest.mark.parametrize(
    "equations, words",
    [
        (
            "dm/dt = (m_inf - m**2)/tau_m : 1",
            r"Im.yaml:\d+: Brian2 cannot run this equation: dm/dt must be linear in m",
        ),
        (
            "alpha_post = A : 1/second\n  alpha = alpha_post*exp((v - V_half)/k) : 1/second",
            r"Im.yaml:\d+: Brian2 cannot run this: 'alpha_post'",
        ),
    ],
)
def test_an_equation_that_brian_cannot_run_is_named(tree, tmp_path, equations, words):
    original = l5pc.PUBLISHED.parent / "Im.yaml"
    (tmp_path / "Im.yaml").write_text(f"extends: {original}\nequations: |\n  {equations}\n")
    cell = changed(tmp_path, f"mechanisms: {{Im: {{file: {tmp_path / 'Im.yaml'}}}}}")
    with pytest.raises(EquationError, match=words):
        BrianCell(*parts(tree, cell), DT)


def test_a_region_that_reads_calcium_needs_a_shell(tree, tmp_path):
    cell = changed(tmp_path, "regions: {apical: {mechanisms: {calcium_shell: null}}}")
    with pytest.raises(EquationError, match="'Ca_LVAst' in region 'apical' reads .*no calcium shell"):
        BrianCell(*parts(tree, cell), DT)


def test_names_that_meet_are_refused(tree, tmp_path):
    (tmp_path / "leak.yaml").write_text(
        f"extends: {l5pc.PUBLISHED.parent / 'leak.yaml'}\nequations: |\n  I = gbar*(v - Na) : amp/meter**2\n"
        "parameters: {E_L: null, Na: 50*mV}\n"
    )
    cell = changed(tmp_path, f"mechanisms: {{E: {{file: {tmp_path / 'leak.yaml'}}}}}")
    with pytest.raises(EquationError, match=r"leak.yaml:\d+: .*'Na' of 'E' becomes E_Na"):
        BrianCell(*parts(tree, cell), DT)


@pytest.fixture(scope="module", params=["stylised", "cell1"])
def whole(request):
    path = request.getfixturevalue("cell1_path") if request.param == "cell1" else morphology.find("stylised")
    return parts(morphology.with_axon_stub(morphology.load(path)))


@pytest.mark.slow
def test_a_whole_cell_below_threshold_agrees_with_neuron_to_a_nanovolt(whole):
    """200 ms, 600 events on all channels alike, dt 0.025 ms: root mean square over soma and nexus."""
    trial = barrage(whole[2], 0, 200, 600)
    (neuron,), (brian,) = NeuronCell(*whole).run([trial], 200), BrianCell(*whole).run([trial], 200)
    assert len(neuron.spike_time) == 0 and np.ptp(neuron.soma_voltage) > 1
    for a, b in ((neuron.soma_voltage, brian.soma_voltage), (neuron.nexus_voltage, brian.nexus_voltage)):
        rms = np.sqrt(np.mean((a - b) ** 2))
        print(f"{whole[1].name}: {rms:.2g} mV")
        assert rms < 1e-6


@pytest.mark.slow
def test_one_program_takes_new_densities_events_and_durations(whole, tmp_path):
    first = BrianCell(*whole, DT)
    blocked = changed(tmp_path, "regions: {soma: {capacitance: 2*uF/cm**2, mechanisms: {Ih: {gbar: 0*siemens/cm**2}}}}")
    second = BrianCell(blocked, *whole[1:], DT)
    assert second.folder == first.folder
    shown, given = [], [barrage(whole[2], 1, 30, 200), (np.zeros(0, int), np.zeros(0, int))]
    several = second.run(given, 40, shown.append)
    assert sum(shown) == 80
    for recording, expected in zip(several, CableCell(blocked, *whole[1:], DT).run(given, 40), strict=True):
        np.testing.assert_allclose(recording.trace_voltage, expected.trace_voltage, rtol=0, atol=ROUNDING)


@pytest.mark.slow
def test_the_command_finds_the_spikes_that_neuron_finds(command, tmp_path):
    generator = np.random.default_rng(0)
    np.savez(
        tmp_path / "events.npz",
        event_time_ms=generator.integers(5, 25, 5000),
        event_channel=generator.integers(0, 639, 5000),
        event_trial=np.repeat([0, 1], 2500),
    )
    out, found = tmp_path / "out.npz", {}
    for backend in ("brian", "neuron"):
        assert command("l5pc", tmp_path / "events.npz", out, "--backend", backend, "--duration", 60).code == 0
        with np.load(out) as archive:
            found[backend] = dict(archive)
    assert len(found["neuron"]["spike_time_ms"]) >= 4 and found["brian"]["soma_voltage"].shape == (2, 60)
    for name in ("spike_time_ms", "spike_trial"):
        np.testing.assert_array_equal(found["brian"][name], found["neuron"][name])
    np.testing.assert_allclose(found["brian"]["soma_voltage"], found["neuron"]["soma_voltage"], rtol=0, atol=0.01)


@pytest.mark.slow
def test_a_voltage_that_runs_away_is_refused(tmp_path):
    (tmp_path / "leak.yaml").write_text(
        f"extends: {l5pc.PUBLISHED.parent / 'leak.yaml'}\nequations: |\n  I = -gbar*(v - E_L)**3/mV**2 : amp/meter**2\n"
    )
    cell = changed(tmp_path, f"mechanisms: {{leak: {{file: {tmp_path / 'leak.yaml'}}}}}")
    with pytest.raises(BackendError, match="the voltage is no longer finite"):
        BrianCell(*parts(small(), cell), 1.0).run([(np.zeros(0, int), np.zeros(0, int))], 3000)
