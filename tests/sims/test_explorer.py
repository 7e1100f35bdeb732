"""The explorer: what its sliders mean, what it draws, and the page itself in a browser."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sims import equations
from sims.explorer import views
from sims.explorer.sliders import changed, extension, moved, sliders
from tests.sims import chromium

PROJECT = Path(__file__).resolve().parents[2]
NEURONS = sorted(
    path for path in (PROJECT / "equations").glob("*.yaml") if equations.read(path).kind == "neuron"
)  # fmt: skip


def model(name):
    return equations.read(PROJECT / "equations" / f"{name}.yaml")


def values(given, **changes):
    return {slider.name: slider.value for slider in given} | changes


def test_a_slider_speaks_the_unit_of_the_file_and_goes_along_its_bounds():
    found = {slider.name: slider for slider in sliders(model("dendrite_nmda"))}
    assert (found["tau_s"].value, found["tau_s"].unit, found["tau_s"].low, found["tau_s"].high) == (43, "ms", 5, 300)
    assert found["gamma"].unit == "1/mV" and found["gamma"].text(0.08) == "0.08/mV"
    assert found["w"].text(20) == "20" and found["E_L"].text(-70.5) == "-70.5*mV"
    assert (found["E_N"].low, found["E_N"].high) == (-1, 1)  # no bounds, and a value of 0


@pytest.mark.parametrize("path", NEURONS, ids=lambda path: path.stem)
def test_every_neuron_of_the_project_can_be_explored(path):
    found = equations.read(path)
    given = sliders(found)
    assert all(slider.low <= slider.value <= slider.high and slider.low < slider.high for slider in given)
    assert changed(found, given, values(given)) == found
    events = views.trains(found)
    traces, _ = views.traces(found, views.Train(events[0] if events else "", duration=50))
    assert set(traces) == {"time_ms", *found.states} and all(np.isfinite(trace).all() for trace in traces.values())


def test_what_was_moved_makes_a_file_that_extends_the_first(tmp_path):
    found = model("dendrite_nmda")
    given = sliders(found)
    at = values(given, w=22.5, tau_s=80.0, gamma=0.09)
    (tmp_path / "mine.yaml").write_text(extension(found.path, given, at))
    mine = equations.read(tmp_path / "mine.yaml").values()
    assert [slider.name for slider in moved(given, at)] == ["w", "tau_s", "gamma"]
    assert mine == pytest.approx(changed(found, given, at).values())
    assert mine["tau_s"] == pytest.approx(0.08) and mine["E_L"] == found.values()["E_L"]


def test_a_strong_train_lifts_the_dendrite_to_its_plateau_and_a_weak_one_does_not():
    found = model("dendrite_nmda")
    ends = [
        views.traces(found, views.Train("presynaptic", interval=5, count=60, weight=weight, duration=1500))[0]["v"][-1]
        for weight in (0.5, 3.0)
    ]
    assert ends[0] < -70 and ends[1] > -15


def test_nullclines_cross_where_the_neuron_rests():
    found = views.nullclines(model("dendrite_nmda"))
    assert found.other == "s" and [stable for *_, stable in found.points] == [True, False, True]
    for v, s, _ in found.points:
        for line in (found.voltage, found.gate):
            assert min(np.hypot((x - v) / 120, y - s).min() for x, y in line) < 0.01
    assert views.nullclines(model("soma_lif")).other is None


def test_the_diagram_follows_the_sliders():
    found = model("dendrite_nmda")
    given = sliders(found)
    *_, folds, here = views.diagram(changed(found, given, values(given, w=20)), "w", 1)
    assert here == pytest.approx(20) and [x for x, _ in folds] == pytest.approx([8.845, 31.31], rel=1e-3)


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
    """A part of the page by its name, in JavaScript."""
    return f"Bokeh.documents[0].get_model_by_name('{name}')"


def test_moving_a_slider_changes_the_plots_and_the_file_to_be(page):
    _, browser = page
    before = browser.value(f"{shown('traces v')}.data.y[900]")
    browser.value(f"{shown('slider E_L')}.value = -65; 0")
    browser.wait(f"Math.abs({shown('traces v')}.data.y[900] - {before}) > 5")
    browser.wait(f"{shown('extension')}.text.includes('E_L: -65*mV')")
    browser.value(f"{shown('slider E_L')}.value = -75; 0")
    browser.wait(f"Math.abs({shown('traces v')}.data.y[900] - {before}) < 0.01")


def test_a_broken_file_is_explained_and_a_mended_one_shown_with_the_sliders_where_they_were(page):
    file, browser = page
    whole = file.read_text()
    browser.value(f"{shown('slider w')}.value = 12; 0")
    browser.wait(f"{shown('extension')}.text.includes('w: 12')")
    file.write_text(whole.replace("tau_s: {value: 43*ms", "tau_s: {value: 43*mV"))
    browser.wait(f"{shown('error')}.visible && {shown('error')}.text.includes('dendrite_nmda.yaml:')")
    assert browser.value(f"{shown('traces v')}.data.y.length") > 100
    file.write_text(whole.replace("tau_s: {value: 43*ms", "tau_s: {value: 44*ms"))
    browser.wait(f"!{shown('error')}.visible && {shown('slider tau_s')}.value == 44")
    assert browser.value(f"{shown('slider w')}.value") == 12
