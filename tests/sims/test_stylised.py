"""The stylised cell is made by its script and has the published cell's table."""

import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from neuron import h

from sims.cells import morphology, stylised


@pytest.fixture(scope="module", params=["committed", 3])
def swc(request, tmp_path_factory):
    """The file in the project, and another draw of the same cell."""
    if request.param == "committed":
        return morphology.find("stylised")
    path = tmp_path_factory.mktemp("stylised") / "another.swc"
    path.write_text(stylised.stylised_cell(request.param))
    return path


@pytest.fixture(scope="module")
def cell(swc):
    return morphology.with_axon_stub(morphology.load(swc))


@pytest.fixture(scope="module")
def segments(cell):
    return morphology.segments(cell)


def path_to_soma(cell, section):
    path = []
    while section > 0:
        path.append(section)
        section = cell.sections[section].parent
    return path


def test_the_committed_file_is_what_the_script_makes(tmp_path):
    out = tmp_path / "cell.swc"
    subprocess.run([sys.executable, "-m", "sims.cells.stylised", out], cwd=morphology.PROJECT, check=True)
    assert out.read_bytes() == morphology.find("stylised").read_bytes()
    assert os.listdir(tmp_path) == ["cell.swc"]


@pytest.mark.parametrize(
    "region, sections, length, area, histogram",
    [
        ("soma", 1, 23.1694, 1131.39, {1: 1}),
        ("basal", 84, 5133.49, 8862.96, {1: 41, 3: 15, 5: 14, 7: 10, 9: 4}),
        ("apical", 109, 7440.91, 21009.33, {1: 51, 3: 22, 5: 15, 7: 9, 9: 7, 11: 3, 13: 2}),
    ],
)
def test_the_stylised_cell_has_the_published_regions(cell, segments, region, sections, length, area, histogram):
    here = segments.region == region
    assert len(cell.of(region)) == sections
    assert Counter(morphology.segments_per_section(cell.sections[i].length) for i in cell.of(region)) == histogram
    assert segments.length[here].sum() == pytest.approx(length, rel=1e-5)
    assert segments.area[here].sum() == pytest.approx(area, rel=1e-5)


def test_the_stylised_soma_is_as_wide_as_the_published_one(cell):
    soma = morphology.build(cell)[0]
    assert soma(0.5).diam == pytest.approx(13.4715, abs=1e-3)


def test_the_stylised_dendrites_reach_as_far_as_the_published_ones(segments):
    assert segments.reach == pytest.approx({"basal": 293.711, "apical": 1312.118}, abs=0.01)


def test_the_stylised_trees_grow_from_the_middle_of_the_soma_and_branch_in_two(cell):
    primary = [s for s in cell.sections if s.parent == 0]
    assert {"dend[0]", "apic[0]"} < {s.name for s in primary}
    assert {s.parent_x for s in primary} == {0.5}
    children = Counter(s.parent for s in cell.sections if s.parent > 0 and s.region != "axon")
    assert set(children.values()) == {2}


def test_the_stylised_nexus_is_690_micrometres_from_the_soma(cell, segments):
    nexus = morphology.nexus(cell)
    here = segments.section == nexus.section
    assert np.abs(segments.soma_distance[here] - 690).min() < 0.01
    assert path_to_soma(cell, nexus.section)[-1] == cell.of("apical")[0]


def test_the_stylised_hot_zone_is_the_published_one(segments):
    hot = (segments.region == "apical") & (segments.rule_distance > 685) & (segments.rule_distance < 885)
    assert np.count_nonzero(hot) == 29
    assert segments.area[hot].sum() == pytest.approx(2437.7, abs=0.1)


def test_the_stylised_tuft_has_the_published_channels(cell, segments):
    """Channels 366 to 558 are the trunk's last section and the tuft; those around them end below the nexus."""
    dendritic = segments.dendritic
    first, last = segments.section[dendritic[366]], segments.section[dendritic[558]]
    tuft = range(first, last + 1)
    assert segments.section[dendritic[365]] == first - 1 and segments.section[dendritic[559]] == last + 1
    assert all(cell.sections[i].parent in tuft for i in tuft if i != first)
    outside = [i for i in dendritic[262:] if segments.section[i] not in tuft]
    assert len(outside) == 184
    assert segments.soma_distance[outside].max() < 690


def test_the_stylised_trunk_is_thick_and_tapers(cell, segments):
    trunk = path_to_soma(cell, morphology.nexus(cell).section)[1:]
    diameter = [cell.sections[i].points[-1, 3] for i in trunk[::-1]]
    assert min(diameter) > 2.4
    assert np.all(np.diff(diameter) < 0)
    tips = [s.points[-1, 3] for i, s in enumerate(cell.sections) if i not in {t.parent for t in cell.sections}]
    assert max(t for t in tips if t != morphology.STUB_DIAMETER) < 0.7


def passive_cable(cell):
    """Input resistance (Mohm) of soma and nexus at rest, and attenuation from each to the other."""
    live = morphology.build(cell)
    for section, made in zip(cell.sections, live, strict=True):
        dendrite = section.region in ("basal", "apical")
        made.insert("pas")
        made.Ra, made.cm, made.g_pas, made.e_pas = 100, 2 if dendrite else 1, 6e-5 if dendrite else 3e-5, -90
    nexus = morphology.nexus(cell)
    places = [live[0](0.5), live[nexus.section](nexus.x)]
    h.finitialize(-90)
    impedance = h.Impedance()
    found = []
    for here, there in (places, places[::-1]):
        impedance.loc(here)
        impedance.compute(0)
        found += [impedance.input(here), impedance.ratio(there)]
    return found


def test_the_stylised_cell_is_electrotonically_the_published_one(cell):
    # Measured on cell1 with the leak of the shared specification l5pc, section 3.
    assert passive_cable(cell) == pytest.approx([72.1, 0.389, 104.6, 0.564], rel=0.08)


def test_cell1_has_the_electrotonic_structure_that_the_stylised_cell_is_held_to(cell1_path):
    cell1 = morphology.with_axon_stub(morphology.load(cell1_path))
    assert passive_cable(cell1) == pytest.approx([72.1, 0.389, 104.6, 0.564], rel=0.002)


@pytest.mark.parametrize(
    "arguments, explanation", [(["--seed", "-1"], "expected a whole number"), ([], "cannot be written")]
)
def test_mistakes_on_the_command_line_are_explained(tmp_path, monkeypatch, capsys, arguments, explanation):
    monkeypatch.setattr(sys, "argv", ["stylised", str(tmp_path / "absent" / "cell.swc"), *arguments])
    with pytest.raises(SystemExit) as exit:
        stylised.main()
    assert exit.value.code == 2
    assert explanation in capsys.readouterr().err
