import hashlib
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from neuron import h

from sims.cells import morphology
from sims.cells.morphology import MorphologyError

BALL_AND_STICKS = """\
# a soma, a basal and an apical dendrite, and an axon
1 1 0 0 0 8 -1
2 3 0 -10 0 1 1
3 3 0 -60 0 0.5 2
4 4 0 10 0 2 1
5 4 0 110 0 1 4
6 4 -50 150 0 0.5 5
7 4 50 150 0 0.5 5
8 2 10 0 0 0.5 1
9 2 90 0 0 0.5 8
"""

CONTOUR = """\
("CellBody" (Color Yellow) (CellBody)
  (-5 0 0 1) (0 8 0 1) (5 0 0 1) (0 -8 0 1) )
"""
DENDRITE = "( (Color Red) (%s)\n  (0 9 0 2) (0 50 0 1.5) (0 90 0 1) )\n"


@pytest.fixture(scope="module")
def cell1(cell1_path):
    return morphology.load(cell1_path)


@pytest.fixture(scope="module")
def cell1_segments(cell1):
    return morphology.segments(morphology.with_axon_stub(cell1))


@pytest.fixture(autouse=True)
def neuron_is_left_as_it_was():
    before = len(list(h.allsec()))
    yield
    assert len(list(h.allsec())) == before


def refusal(tmp_path, text, ending=".swc"):
    path = tmp_path / f"broken{ending}"
    path.write_bytes(text.encode("latin-1") if isinstance(text, str) else text)
    with pytest.raises(MorphologyError) as refused:
        morphology.load(path)
    assert str(path) in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    "region, sections, segments, length, area, shortest, longest",
    [
        ("soma", 1, 1, 23.1694, 1131.39, 23.17, 23.17),
        ("basal", 84, 262, 5133.492, 8862.96, 1.75, 199.77),
        ("apical", 109, 377, 7440.906, 21009.33, 2.10, 276.37),
        ("axon", 2, 2, 60, 188.50, 30, 30),
    ],
)
def test_cell1_has_the_published_regions(
    cell1, cell1_segments, region, sections, segments, length, area, shortest, longest
):
    lengths = [s.length for s in morphology.with_axon_stub(cell1).sections if s.region == region]
    here = cell1_segments.region == region
    assert (len(lengths), np.count_nonzero(here)) == (sections, segments)
    assert cell1_segments.length[here].sum() == pytest.approx(length, abs=1e-3)
    assert cell1_segments.area[here].sum() == pytest.approx(area, abs=6e-3)
    assert (min(lengths), max(lengths)) == pytest.approx((shortest, longest), abs=6e-3)


@pytest.mark.parametrize(
    "region, histogram, points",
    [
        ("basal", {1: 41, 3: 15, 5: 14, 7: 10, 9: 4}, 1723),
        ("apical", {1: 51, 3: 22, 5: 15, 7: 9, 9: 7, 11: 3, 13: 2}, 2516),
    ],
)
def test_cell1_is_divided_as_published(cell1, region, histogram, points):
    sections = [s for s in cell1.sections if s.region == region]
    assert Counter(morphology.segments_per_section(s.length) for s in sections) == histogram
    assert sum(len(s.points) for s in sections) == points


def test_cell1_reaches_as_far_as_published(cell1_segments):
    assert cell1_segments.reach == pytest.approx({"basal": 293.711, "apical": 1312.118}, abs=1e-3)
    assert cell1_segments.rule_distance[cell1_segments.region == "apical"].max() == pytest.approx(1300.5335, abs=1e-4)


def test_the_channels_of_cell1_run_through_the_basal_and_then_the_apical_sections(cell1, cell1_segments):
    dendritic = cell1_segments.dendritic
    assert len(dendritic) == 639
    assert Counter(cell1_segments.region[dendritic[:262]]) == {"basal": 262}
    names = [cell1.sections[i].name for i in cell1_segments.section[dendritic]]
    assert list(dict.fromkeys(names)) == [f"dend[{i}]" for i in range(84)] + [f"apic[{i}]" for i in range(109)]
    within = cell1_segments.section[dendritic][1:] == cell1_segments.section[dendritic][:-1]
    assert (np.diff(cell1_segments.x[dendritic])[within] > 0).all()


def test_the_calcium_hot_zone_of_cell1_has_29_segments_only_when_last_segments_count_by_their_end(cell1_segments):
    hot = (cell1_segments.rule_distance > 685) & (cell1_segments.rule_distance < 885)
    assert np.count_nonzero(hot) == 29
    assert cell1_segments.area[hot].sum() == pytest.approx(2437.7, abs=0.05)
    centres = (cell1_segments.apical_distance > 685) & (cell1_segments.apical_distance < 885)
    assert np.count_nonzero(centres) != 29


def test_the_nexus_of_cell1_is_the_published_site(cell1, cell1_segments):
    nexus = morphology.nexus(cell1)
    assert nexus.name == "apic[50](0.9)"
    here = (cell1_segments.section == nexus.section) & (cell1_segments.x > 2 / 3)
    assert cell1_segments.soma_distance[here] == pytest.approx([689.98], abs=0.01)


def test_sections_built_by_us_are_the_ones_that_import3d_makes(cell1_path, cell1):
    class Cell:
        pass

    h.load_file("stdrun.hoc")
    h.load_file("import3d.hoc")
    theirs = Cell()
    reader = h.Import3d_Neurolucida3()
    reader.quiet = 1
    reader.input(str(cell1_path))
    h.Import3d_GUI(reader, 0).instantiate(theirs)
    ours = morphology.build(cell1)
    for mine, original in zip(ours, [*theirs.soma, *theirs.dend, *theirs.apic, *theirs.axon], strict=True):
        original.nseg = mine.nseg
        assert (mine.name(), mine.L) == (original.name().rpartition(".")[2], original.L)
        assert [s.area() for s in mine] == [s.area() for s in original]
        assert [s.ri() for s in mine] == [s.ri() for s in original]
        at, there = mine.parentseg(), original.parentseg()
        assert (at is None) == (there is None)
        if at is not None:
            assert (at.sec.name(), at.x) == (there.sec.name().rpartition(".")[2], there.x)
    assert {str(ours[i].parentseg()) for i in (1, 85)} == {"soma[0](0.5)"}
    for section in theirs.all:
        h.delete_section(sec=section)


def test_the_axon_is_replaced_by_two_cylinders(cell1):
    sections = morphology.with_axon_stub(cell1).sections
    axon = [s for s in sections if s.region == "axon"]
    assert [(s.name, s.length, set(s.points[:, 3])) for s in axon] == [("axon[0]", 30, {1.0}), ("axon[1]", 30, {1.0})]
    assert [(sections[s.parent].name, s.parent_x) for s in axon] == [("soma[0]", 0.5), ("axon[0]", 1.0)]


def test_an_swc_file_is_read_whatever_its_line_ends_and_numbers(tmp_path):
    path = tmp_path / "cell.swc"
    path.write_text(BALL_AND_STICKS)
    plain = morphology.load(path)
    assert [s.name for s in plain.sections] == ["soma[0]", "dend[0]", "apic[0]", "apic[1]", "apic[2]", "axon[0]"]
    assert [s.parent for s in plain.sections] == [-1, 0, 0, 2, 2, 0]
    assert plain.sections[2].length == pytest.approx(100)
    renumbered = [line.split() for line in BALL_AND_STICKS.splitlines()[1:]]
    rows = [[str(10**9 * int(r[0])), *r[1:6], "-1" if r[6] == "-1" else str(10**9 * int(r[6]))] for r in renumbered]
    path.write_bytes("\r\n".join(map(" ".join, reversed(rows))).encode())
    for section, original in zip(morphology.load(path).sections, plain.sections, strict=True):
        assert (section.name, section.parent) == (original.name, original.parent)
        assert np.array_equal(section.points, original.points)


@pytest.mark.parametrize(
    "text, explanation",
    [
        ("", "no points found"),
        ("# only a comment\n", "no points found"),
        ("\x7fELF\x02\x01", "line 1: 1 fields found"),
        ("1 1 0 0 0 8\n", "line 1: 6 fields found"),
        ("1 1 0 0 zero 8 -1\n", "line 1: '1 1 0 0 zero 8 -1' found, expected 7 numbers"),
        (BALL_AND_STICKS.replace("2 3 0 -10", "2 5 0 -10"), "line 3: type 5 found, expected 1 (soma)"),
        (BALL_AND_STICKS.replace("2 3 0 -10", "2.5 3 0 -10"), "line 3: '2.5 3 0 -10 0 1 1' found, expected 7 numbers"),
        (BALL_AND_STICKS.replace("0 1 4\n", "0 -1 4\n"), "line 6: radius -1 found, expected µm, positive"),
        (BALL_AND_STICKS.replace("0 1 4\n", "0 0 4\n"), "line 6: radius 0 found, expected µm, positive"),
        (BALL_AND_STICKS.replace("0 1 4\n", "0 nan 4\n"), "line 6: radius nan found, expected µm, positive"),
        (BALL_AND_STICKS.replace("110", "nan"), "line 6: position 0 nan 0 found, expected µm"),
        (BALL_AND_STICKS.replace("110", "1e40"), "line 6: position 0 1e+40 0 found, expected µm"),
        (BALL_AND_STICKS.replace("0.5 2\n", "0.5 77\n"), "line 4: parent 77 does not exist"),
        (BALL_AND_STICKS.replace("0.5 2\n", "0.5 3\n"), "line 4: point 3 is its own ancestor"),
        (BALL_AND_STICKS.replace("2 1\n3", "2 5\n3").replace("0 2 1\n", "0 2 5\n"), "its own ancestor"),
        (BALL_AND_STICKS.replace("0 8 -1", "0 8 9"), "its own ancestor"),
        (BALL_AND_STICKS.replace("3 3 0", "2 3 0"), "line 4: identifier 2 was already used in line 3"),
        (BALL_AND_STICKS.replace("0.5 2\n", "0.5 -1\n"), "line 4: a second root"),
        (BALL_AND_STICKS.replace("1 1 0", "1 3 0"), "line 2: no soma found"),
        (BALL_AND_STICKS.replace("9 2 90", "9 1 90"), "line 10: a soma point grows from type axon"),
        (
            BALL_AND_STICKS.replace("2 3 0 -10 0 1 1", "2 3 0 -10 0 1 3").replace("0.5 2\n", "0.5 1\n"),
            "line 3: parent 3",
        ),
    ],
)
def test_a_broken_swc_file_is_explained_by_its_line(tmp_path, text, explanation):
    assert explanation in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "text, explanation",
    [
        ("", "the file is empty"),
        ("not a morphology\n", "line 1: 'not' found outside parentheses"),
        ("\x00\x01\x02", "line 1"),
        (CONTOUR + DENDRITE % "Apical" + "(", "the file ends before the '(' of line 5 is closed"),
        (CONTOUR + ")", "line 3: ')' found without its '('"),
        (CONTOUR.replace('"CellBody"', '"Wall"') + DENDRITE % "Apical", "no soma found"),
        (CONTOUR + DENDRITE.replace("1.5", "nan") % "Apical", "line 4: the number nan found"),
        (CONTOUR + DENDRITE.replace("1.5", "0") % "Apical", "apic[0] has a diameter of 0 µm"),
        (
            CONTOUR + DENDRITE.replace("(0 50 0 1.5)", "(0 fifty 0 1.5)") % "Apical",
            "line 4: '(0 9 0 2) (0 fifty 0 1.5)",
        ),
        (CONTOUR.replace("8", "0") + DENDRITE % "Apical", "line 1: a soma's contour of 4 points without area found"),
        (CONTOUR + " ".join(["(0 0 0 1)"] * 2000), "line 3: 19999 characters found, expected at most 10000"),
        ('("CellBody', "line 1: '\"' found"),
    ],
)
def test_a_broken_neurolucida_file_is_explained(tmp_path, text, explanation):
    assert explanation in refusal(tmp_path, text, ".asc")


def test_a_small_neurolucida_file_is_read_without_a_word(tmp_path, capfd):
    path = tmp_path / "cell.asc"
    path.write_text(CONTOUR + DENDRITE % "Dendrite" + DENDRITE % "Apical")
    assert [s.region for s in morphology.load(path).sections] == ["soma", "basal", "apical"]
    assert capfd.readouterr() == ("", "")


def test_a_file_that_is_not_there_or_of_another_kind_is_named(tmp_path):
    with pytest.raises(MorphologyError, match="no such file"):
        morphology.load(tmp_path / "absent.swc")
    with pytest.raises(MorphologyError, match="not a file"):
        morphology.load(tmp_path)
    assert "expected .asc (Neurolucida) or .swc" in refusal(tmp_path, "v", ".obj")


def test_a_dendrite_that_grows_from_the_axon_cannot_lose_it(tmp_path):
    path = tmp_path / "cell.swc"
    path.write_text(BALL_AND_STICKS + "10 3 90 50 0 0.5 9\n")
    with pytest.raises(MorphologyError, match=r"dend\[1\] grows from axon\[0\]"):
        morphology.with_axon_stub(morphology.load(path))


def test_a_cell_without_apical_dendrite_has_no_nexus(tmp_path):
    path = tmp_path / "cell.swc"
    path.write_text("\n".join(BALL_AND_STICKS.splitlines()[:4]))
    with pytest.raises(MorphologyError, match="no apical dendrite found"):
        morphology.nexus(morphology.load(path))


@pytest.mark.parametrize("length, segments", [(1.75, 1), (39.99, 1), (40, 3), (61.93, 3), (199.77, 9), (276.37, 13)])
def test_a_section_gets_two_more_segments_for_every_40_micrometres(length, segments):
    assert morphology.segments_per_section(length) == segments


def test_cell1_is_found_in_the_folder_that_the_environment_names_and_checked(tmp_path, monkeypatch):
    monkeypatch.setenv("DENDRITIC_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(morphology, "MORPHOLOGIES", tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cell1.asc").write_text("altered")
    with pytest.raises(MorphologyError, match="sha256 .* found, expected a8afc092"):
        morphology.find("cell1")
    monkeypatch.setattr(morphology, "CELL1_SHA256", hashlib.sha256(b"altered").hexdigest())
    assert morphology.find("cell1") == tmp_path / "data" / "cell1.asc"


def test_an_impossible_download_says_where_to_put_the_file(tmp_path, monkeypatch):
    monkeypatch.delenv("DENDRITIC_DATA", raising=False)
    monkeypatch.setattr(morphology, "MORPHOLOGIES", tmp_path)
    monkeypatch.setattr(morphology, "CELL1_URL", "http://127.0.0.1:9/cell1.asc")
    with pytest.raises(MorphologyError, match=r"put the file .* at .*cell1\.asc"):
        morphology.find("cell1")
    assert not list(tmp_path.iterdir())


def test_any_other_cell_is_a_path_that_must_exist(tmp_path):
    with pytest.raises(MorphologyError, match="expected stylised, cell1 or the path"):
        morphology.find(tmp_path / "absent.swc")
    path = tmp_path / "mine.swc"
    path.touch()
    assert morphology.find(str(path)) == path


FIELD = st.one_of(
    st.integers(-2, 12).map(str),
    st.floats(-100, 100).map(repr),
    st.sampled_from(["nan", "inf", "1e400", "0x1p3", "", "#", "9" * 30, "-0", "1_0", "é"]),
)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 6), FIELD), min_size=1, max_size=3))
def test_an_swc_file_with_random_edits_is_read_or_refused_by_name(tmp_path, edits):
    lines = [line.split() for line in BALL_AND_STICKS.splitlines()]
    for line, column, value in edits:
        lines[line][column] = value
    path = tmp_path / "edited.swc"
    path.write_text("\n".join(map(" ".join, lines)), encoding="utf-8")
    try:
        sections = morphology.load(path).sections
    except MorphologyError as refused:
        assert str(path) in str(refused)
    else:
        assert all(math.isfinite(s.length) and s.length > 0 for s in sections)
        assert [s.region for s in sections].count("soma") == 1


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.integers(0, 120),
    length=st.integers(0, 20),
    inserted=st.text('()<>|,;" \n-.0123456789eCelBodyApinfas', max_size=12),
)
def test_a_neurolucida_file_with_random_edits_is_read_or_refused_by_name(tmp_path, where, length, inserted):
    text = CONTOUR + DENDRITE % "Apical"
    path = tmp_path / "edited.asc"
    path.write_text(text[:where] + inserted + text[where + length :])
    try:
        sections = morphology.load(path).sections
    except MorphologyError as refused:
        assert str(path) in str(refused)
    else:
        assert [s.region for s in sections].count("soma") == 1
