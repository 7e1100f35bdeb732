"""The explorer: what its sliders mean, what it draws, and the page itself in a browser."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from bokeh.document import Document

from sims import equations
from sims.analysis.fixed_points import fixed_points
from sims.explorer import portraits
from sims.explorer.focus import felt, focused, voltages
from sims.explorer.page import Page
from sims.explorer.sliders import differences, extension, moved, save, sliders
from sims.explorer.traces import Protocol, Rehearsal, Step, Train
from sims.mistakes import RequestError
from tests import chromium

PROJECT = Path(__file__).resolve().parents[2]
NEURONS = sorted(
    path for path in (PROJECT / "equations").glob("*.yaml") if equations.read(path).kind == "neuron"
)  # fmt: skip


def model(name):
    return equations.read(PROJECT / "equations" / f"{name}.yaml")


def values(given, **changes):
    return {slider.name: slider.value for slider in given} | changes


def traces(name, protocol, **changes):
    """A neuron's traces with some parameters changed, {name: number in its slider's unit}."""
    found = model(name)
    given = sliders(found)
    moved = differences(given, values(given, **changes))
    return Rehearsal(found).run(protocol, moved, {slider.name: slider.size for slider in given})


def test_a_slider_speaks_the_unit_of_the_file_and_goes_along_its_bounds():
    found = {slider.name: slider for slider in sliders(model("dendrite_nmda"))}
    assert (found["tau_s"].value, found["tau_s"].unit, found["tau_s"].ends) == (43, "ms", (5, 300))
    assert found["gamma"].unit == "1/mV" and found["gamma"].text(0.08) == "0.08/mV"
    assert found["w"].text(20) == "20" and found["E_L"].text(-70.5) == "-70.5*mV"
    assert (found["E_N"].low, found["E_N"].high, found["E_N"].bounded) == (-100, 50, False)


def test_a_slider_between_far_ends_goes_by_factors_and_stands_where_the_file_says():
    for slider in sliders(model("dendrite_nmda")):
        assert slider.at(slider.position(slider.value)) == slider.value
    capacitance = next(slider for slider in sliders(model("dendrite_nmda")) if slider.name == "C")
    assert capacitance.logarithmic and capacitance.ends == (0, 3)
    assert capacitance.at(2) == 100 and capacitance.at(1.1) == 12.59
    assert not next(slider for slider in sliders(model("dendrite_nmda")) if slider.name == "tau_s").logarithmic


@pytest.mark.parametrize("path", NEURONS, ids=lambda path: path.stem)
def test_every_neuron_of_the_project_can_be_explored(path):
    page = Page(path, Document())
    assert not page.error.visible, page.error.text
    assert all(slider.low <= slider.value <= slider.high and slider.low < slider.high for slider in page.sliders)
    assert page.extension.text == f"extends: {os.path.relpath(path)}\n"
    assert all(np.isfinite(source.data["y"]).all() for source in page.traces.sources.values())
    assert len(page.plane.lines.data["x"]) and len(page.diagram.branches["stable"].data["x"])


def test_what_was_moved_makes_a_file_that_extends_the_first(tmp_path):
    found = model("dendrite_nmda")
    given = sliders(found)
    at, target = values(given, w=22.5, tau_s=80.0, gamma=0.09), tmp_path / "mine.yaml"
    save(target, extension(found.path, target, given, at))
    mine = equations.read(target).values()
    assert [slider.name for slider in moved(given, at)] == ["w", "tau_s", "gamma"]
    assert mine == pytest.approx(found.values() | {"w": 22.5, "tau_s": 0.08, "gamma": 90})


@pytest.mark.parametrize(
    "name, words", [("there.yaml", "is there already"), ("x.txt", ".yaml"), ("no/x.yaml", "No such")]
)
def test_a_file_is_saved_only_under_a_new_name(tmp_path, name, words):
    (tmp_path / "there.yaml").write_text("mine")
    with pytest.raises(RequestError, match=words):
        save(tmp_path / name, "other")
    assert (tmp_path / "there.yaml").read_text() == "mine"


def test_a_strong_train_lifts_the_dendrite_to_its_plateau_and_a_weak_one_does_not():
    weak, strong = (
        traces("dendrite_nmda", Protocol(Train("presynaptic", interval=5, count=60, weight=weight), duration=1500))
        for weight in (0.5, 3.0)
    )
    assert weak[0]["v"][-1] < -70 and strong[0]["v"][-1] > -15


@pytest.mark.parametrize("current_pA, C_pF", [(150, 200), (500, 200), (500, 100)])
def test_a_soma_spikes_as_often_as_its_membrane_and_refractory_time_let_it(current_pA, C_pF):
    """From rest to 20 mV above it in C/g ln(u/(u - 20 mV)), u = I/g; then 2 ms of rest."""
    found, spikes = traces("soma_lif", Protocol(step=Step("I", current_pA, onset=300, length=200), dt=0.1), C=C_pF)
    above = current_pA / 10
    climb = C_pF / 10 * np.log(above / (above - 20)) if above > 20 else np.inf
    assert len(spikes) == (1 + (200 - climb) // (climb + 2) if climb < 200 else 0)
    assert all((300 < spikes) & (spikes < 500)) and found["v"][0] == pytest.approx(-75)


def test_one_dendrite_on_its_plateau_makes_the_soma_spike_after_the_input_has_ended():
    found, spikes = traces("neuron_nmda", Protocol(Train("dendrite1_presynaptic", first=100, count=20)))
    assert found["dendrite1_v"][-1] > -15 and found["dendrite2_v"][-1] < -70
    assert spikes.max() > 900 and spikes.min() > 100


@pytest.mark.parametrize(
    "protocol, words",
    [
        (Protocol(duration=None), "'simulate' is empty"),
        (Protocol(Train(interval=-1)), "'interval' is -1"),
        (Protocol(dt=0), "steps of 0 ms"),
        (Protocol(duration=1e6), "expected 1 to 20000 steps"),
        (Protocol(Train(count=1e9)), "at most 10000"),
        (Protocol(step=Step("I_soma", float("nan"))), "'step to' is empty"),
    ],
)
def test_an_input_that_makes_no_sense_is_refused(protocol, words):
    with pytest.raises(RequestError, match=words):
        traces("dendrite_nmda", protocol)


def test_nullclines_cross_where_the_neuron_rests():
    found = portraits.nullclines(model("dendrite_nmda"))
    assert found.other == "s" and [stable for *_, stable in found.points] == [True, False, True]
    for v, s, _ in found.points:
        for line in (found.voltage, found.gate):
            assert min(np.hypot((x - v) / 120, y - s).min() for x, y in line) < 0.01
    assert portraits.nullclines(model("soma_lif")).other is None


def test_the_diagram_follows_the_sliders():
    found = model("dendrite_nmda")
    slider = next(slider for slider in sliders(found) if slider.name == "w")
    curve = portraits.diagram(found.with_values({"w": 20}), slider)
    assert curve.here == pytest.approx(20) and curve.label == "w·s"
    assert [x for x, _ in curve.folds] == pytest.approx([8.845, 31.31], rel=1e-3)
    assert curve.windows == [pytest.approx((8.845, 31.31), rel=1e-3)]
    steeper = portraits.diagram(found.with_values({"gamma": 120}), slider)
    assert steeper.windows[0][1] > 60


def test_one_voltage_of_a_neuron_has_the_portrait_of_its_part():
    neuron, dendrite = model("neuron_nmda"), model("dendrite_nmda")
    assert voltages(neuron) == ["soma_v", "dendrite1_v", "dendrite2_v"] and voltages(dendrite) == ["v"]
    alone = focused(neuron, "dendrite2_v")
    assert (
        set(alone.states) == {"v", "dendrite2_s"} and "dendrite2_w" in felt(alone) and "dendrite1_w" not in felt(alone)
    )
    expected = [point.v for point in fixed_points(dendrite)]
    assert [point.v for point in fixed_points(alone)] == pytest.approx(expected)
    soma = focused(neuron, "soma_v")
    up, down = (soma.with_values({"dendrite1_v": v, "dendrite2_v": -0.075}) for v in (-0.007, -0.075))
    assert fixed_points(up)[0].v > -0.055 > fixed_points(down)[0].v


def test_a_page_is_redrawn_in_a_tenth_of_a_second():
    page = Page(PROJECT / "equations" / "dendrite_nmda.yaml", Document())
    cost = []
    for w in range(10, 25):
        page.widgets["w"].value = w
        start = time.process_time()
        page.draw()
        cost.append(time.process_time() - start)
    assert min(cost) < 0.1  # s of CPU; the others may have had to share it


def test_a_neuron_without_a_voltage_has_traces_and_no_portrait(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("equations: 'dx/dt = (a - x)/(10*ms) : 1'\nparameters: {a: 0}\n")
    page = Page(path, Document())
    assert "no state is named v" in page.note.text and not page.error.visible
    assert page.traces.sources["x"].data["y"][[900, 1200]] == pytest.approx([0, 0.5], abs=0.01)  # a steps to a half


def test_what_was_broken_stays_said_while_sliders_move_and_is_shown_again_when_mended(tmp_path):
    base, path = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    whole = (PROJECT / "equations" / "dendrite_nmda.yaml").read_text()
    base.write_text(whole)
    path.write_text("extends: base.yaml\n")
    page = Page(path, Document())
    page.widgets["w"].value, page.inputs["weight"].value = 20, 7
    base.write_text(whole.replace("tau_s: {value: 43*ms", "tau_s: {value: 43*mV"))
    page.look()
    page.draw()
    assert page.error.visible and "base.yaml:" in page.error.text and page.widgets["w"].value == 20
    path.write_text("extends: other.yaml\n")
    page.look()
    assert "other.yaml" in page.error.text
    (tmp_path / "other.yaml").write_text(whole.replace("  g_L: {value: 1*nS", "  g_L: {value: 2*nS"))
    page.look()
    assert not page.error.visible and page.widgets["g_L"].value == pytest.approx(np.log10(2))
    assert page.widgets["w"].value == 20 and page.inputs["weight"].value == 7


def test_a_slider_that_is_gone_is_forgotten_and_a_new_one_stands_where_the_file_says(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {PROJECT / 'equations' / 'soma_lif.yaml'}\n")
    page = Page(path, Document())
    page.widgets["E_L"].value = -70
    path.write_text(f"extends: {PROJECT / 'equations' / 'neuron_lif.yaml'}\nparameters: {{E_L: -80*mV}}\n")
    page.look()
    assert "I" not in page.widgets and page.widgets["E_L"].value == -70
    assert page.widgets["tau_m"].value == 20 and page.inputs["step of"].value == "none"


def test_no_other_command_imports_bokeh():
    code = "import sys, sims.__main__, sims.summary, sims.analysis.bifurcation; sys.exit('bokeh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


@pytest.mark.parametrize(
    "file, words",
    [
        ("delays.yaml", "only neurons can be explored"),
        ("nowhere.yaml", "cannot read"),
        ("l5pc/cell.yaml", "of the kind cell"),
    ],
)
def test_what_is_no_neuron_is_refused_in_one_line(command, file, words):
    found = command("explore", PROJECT / "equations" / file, "--no-browser")
    assert found.code == 2 and words in found.stderr and found.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """An equation file, and a browser that shows it."""
    if chromium.executable() is None:
        pytest.skip("no Chromium is installed")
    folder = tmp_path_factory.mktemp("page")
    file = shutil.copy(PROJECT / "equations" / "dendrite_nmda.yaml", folder)
    command = [sys.executable, "-m", "sims", "explore", file, "--no-browser"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        browser = chromium.Browser(folder / "profile")
        try:
            address = server.stdout.readline().split()[1]
            assert address.startswith("http://127.0.0.1:")
            browser.open(address)
            browser.wait(f"{shown('traces v')}.data.y.length > 100")
            yield Path(file), browser
            assert all(one.startswith((address, "data:", "about:")) for one in browser.requested())
            assert not browser.complaints()
        finally:
            browser.close()
            server.kill()


def shown(name):
    """A part of the page as it now is, by its name, in JavaScript; parts of before are forgotten only after a while."""
    return f"[...Bokeh.documents[0].roots()[0].references()].find(part => part.name == '{name}')"


def element(name, selector):
    """What a part of the page shows of itself, in JavaScript: the first of its elements that a CSS selector finds."""
    return f"Bokeh.index.find_one({shown(name)}).el.shadowRoot.querySelector('{selector}')"


def press(browser, name, key):
    """Press a key on the handle of a slider, as a person does."""
    browser.value(f"{element(name, '.noUi-handle')}.focus(); 0")
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=39)


def click(browser, name):
    browser.value(f"{element(name, 'button')}.click(); 0")


def test_moving_a_slider_changes_the_plots_and_the_file_to_be(page):
    _, browser = page
    before = browser.value(f"{shown('traces v')}.data.y[100]")
    browser.value(f"{shown('slider E_L')}.value = -65; 0")
    browser.wait(f"Math.abs({shown('traces v')}.data.y[100] - {before}) > 5")
    browser.wait(f"{shown('extension')}.text.includes('E_L: -65*mV')")
    browser.value(f"{shown('slider w')}.value = 12; 0")
    browser.wait(f"Math.abs({shown('here')}.location - 12) < 1e-6")
    browser.value(f"{shown('slider E_L')}.value = -75; {shown('slider w')}.value = 15; 0")
    browser.wait(f"Math.abs({shown('traces v')}.data.y[100] - {before}) < 0.01")


def test_a_slider_is_moved_by_its_handle_and_what_it_says_is_saved(page, tmp_path):
    _, browser = page
    press(browser, "slider ds", "ArrowRight")
    browser.wait(f"{shown('extension')}.text.includes('ds: 0.10')")
    target = tmp_path / "mine.yaml"
    browser.value(f"{shown('target')}.value = '{target}'; 0")
    browser.wait(f"{shown('extension')}.text.startsWith('extends: ../')")
    for words in ("sims check", "is there already"):
        click(browser, "save")
        browser.wait(f"{shown('saved')}.text.includes('{words}')")
    assert 0.1 < equations.read(target).values()["ds"] < 0.11
    click(browser, "reset")
    browser.wait(f"!{shown('extension')}.text.includes(' ds:')")


def test_a_broken_file_is_explained_and_a_mended_one_shown_with_the_sliders_where_they_were(page):
    file, browser = page
    whole = file.read_text()
    browser.value(f"{shown('slider w')}.value = 12; 0")
    browser.wait(f"{shown('extension')}.text.includes('w: 12')")
    file.write_text(whole.replace("tau_s: {value: 43*ms", "tau_s: {value: 43*mV"))
    browser.wait(f"{shown('error')}.visible && {shown('error')}.text.includes('dendrite_nmda.yaml:')")
    browser.wait(f"{element('error', 'div.bk-clearfix')}.innerText.includes('dendrite_nmda.yaml:')")
    assert browser.value(f"{shown('traces v')}.data.y.length") > 100
    file.write_text(whole.replace("tau_s: {value: 43*ms", "tau_s: {value: 44*ms"))
    browser.wait(f"!{shown('error')}.visible && {shown('slider tau_s')}.value == 44")
    assert browser.value(f"{shown('slider w')}.value") == 12
