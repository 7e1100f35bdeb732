"""Hypotheses: each file reads and changes what it says, and nothing else."""

import json

import pytest

from sims import documents, hypotheses
from sims.cells import l5pc, morphology
from sims.documents import EquationError
from sims.hypotheses import Change
from sims.stimuli import l5

FOLDER = l5pc.PROJECT / "equations" / "hypotheses"
REGIONAL = ("regions", "apical", "mechanisms")
ACTIVE = ("Ih", "Im", "Ca_LVAst", "Ca_HVA", "SK_E2", "SKv3_1", "NaTs2_t", "calcium_shell")
# What each file may change, place by place, and what is there afterwards; None: nothing.
CHANGED = {
    "published": {},
    "ampa_only": {("mechanisms", "NMDA"): None},
    "nmda_linear": {
        ("mechanisms", "NMDA", "equations", "block"): "block = 1/(1 + Mg/Mg_half*exp(-gamma*v_held)) : 1",
        ("mechanisms", "NMDA", "parameters", "v_held"): "-67*mV",
    },
    "magnesium_half": {("mechanisms", "NMDA", "parameters", "Mg"): "0.5*mM"},
    "magnesium_double": {("mechanisms", "NMDA", "parameters", "Mg"): "2*mM"},
    "no_ih": {("mechanisms", "Ih"): None},
    "no_ca_hot_zone": {(*REGIONAL, "Ca_LVAst", "gbar"): "0.002271264*siemens/cm**2"},
    "passive_dendrites": {
        ("regions", "basal", "mechanisms", "Ih"): None,
        **{(*REGIONAL, name): None for name in ACTIVE},
    },
    "nmda_ratio_double": {("mechanisms", "NMDA", "parameters", "gmax"): "0.0008*uS"},
    "nmda_slow": {("mechanisms", "NMDA", "parameters", "tau_decay"): "140*ms"},
    "gaba_off_tuft": {(*REGIONAL, "GABA_A", "gmax"): "0.001*uS*int(distance < 600*um)"},
}


def test_every_file_of_the_folder_is_known_here():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(CHANGED)


@pytest.fixture(scope="module")
def published():
    return l5pc.read()


@pytest.fixture(scope="module", params=CHANGED)
def hypothesis(request):
    """(its name, what was read), once for all tests."""
    return request.param, hypotheses.read(FOLDER / f"{request.param}.yaml")


@pytest.fixture(scope="module")
def segments():
    return morphology.segments(morphology.with_axon_stub(morphology.load(morphology.find("stylised"))))


def test_a_hypothesis_changes_what_it_says_and_nothing_else(hypothesis):
    name, found = hypothesis
    assert {change.place: change.after for change in found.changes} == CHANGED[name]
    assert found.question.endswith((".", "?")) and (found.reference or name == "published")


def test_the_files_that_stand_for_a_hypothesis_are_that_cell_and_those_inputs(hypothesis, published, tmp_path):
    name, found = hypothesis
    for file, text in found.files(tmp_path).items():
        (tmp_path / file).write_text(text)
    cell = l5pc.read(tmp_path / "cell.yaml")
    assert documents.sources(tmp_path / "inputs.yaml")[1] == l5.PUBLISHED
    assert (cell.digest == published.digest) == (name == "published")
    assert FOLDER / f"{name}.yaml" in [path.resolve() for path in documents.sources(tmp_path / "cell.yaml")]
    # Mechanisms that no change names are as they were.
    touched = {place[1] for place in CHANGED[name] if place[0] == "mechanisms"}
    for mechanism in published.mechanisms.keys() - touched:
        assert cell.mechanisms[mechanism].digest == published.mechanisms[mechanism].digest


def test_gaba_goes_from_the_tuft_and_no_oblique(segments):
    cell = l5pc.read(FOLDER / "gaba_off_tuft.yaml")
    placed = cell.placements(segments)["GABA_A"]
    silenced = {segment for segment, gmax in zip(placed.segments, placed.values["gmax"], strict=True) if gmax == 0}
    tuft = set(segments.dendritic[366:559])
    assert silenced < tuft and len(silenced) > 0.9 * len(tuft)


def test_the_hot_zone_gone_leaves_the_density_of_the_other_segments(segments, published):
    hot, cold = (
        cell.placements(segments)["Ca_LVAst"].values["gbar"]
        for cell in (published, l5pc.read(FOLDER / "no_ca_hot_zone.yaml"))
    )
    assert (abs(hot / cold - 1) > 1e-9).sum() == 29 and (hot / cold).max() == pytest.approx(100)


def write(folder, text, name="mine.yaml"):
    (folder / name).write_text(text.replace("HERE", str(l5pc.PROJECT / "equations")))
    return folder / name


def test_a_hypothesis_may_be_about_the_inputs(tmp_path):
    text = "extends: HERE/inputs_l5.yaml\ndescription: Lockstep?\nparameters: {gain_high: 1, gain_low: 1}\n"
    found = hypotheses.read(write(tmp_path, text))
    assert set(found.changes) == {
        Change(("parameters", "gain_low"), "0.5", "1"),
        Change(("parameters", "gain_high"), "1.5", "1"),
    }
    assert "mine.yaml" in found.files(tmp_path)["inputs.yaml"] and "cell.yaml" in found.files(tmp_path)["cell.yaml"]


def test_a_hypothesis_may_extend_another(tmp_path):
    text = "extends: HERE/hypotheses/magnesium_half.yaml\nparameters: {tau_decay: 140*ms}\n"
    found = hypotheses.read(write(tmp_path, text))
    assert {change.place[-1]: change.after for change in found.changes} == {"Mg": "0.5*mM", "tau_decay": "140*ms"}
    assert found.mechanisms == ("NMDA",) and found.question == ""


def test_a_mechanism_that_two_names_share_changes_under_both(tmp_path):
    cell = write(
        tmp_path,
        "extends: HERE/l5pc/cell.yaml\nmechanisms: {leak_too: {file: HERE/l5pc/leak.yaml}}\n"
        "regions: {soma: {mechanisms: {leak_too: {gbar: 1e-5*siemens/cm**2}}}}\n",
        "cell.yaml",
    )
    found = hypotheses.read(write(tmp_path, "extends: HERE/l5pc/leak.yaml\nparameters: {E_L: -80*mV}\n"), cell)
    assert {change.place[1] for change in found.changes} == {"leak", "leak_too"}


@pytest.mark.parametrize(
    "text, words",
    [
        ("extends: HERE/l5pc/NMDA.yaml\nparameters: {Mg: 1*mV}\n", "has the unit mM, expected V"),
        ("extends: HERE/l5pc/NMDA.yaml\nparameters: {Mgg: 1*mM}\n", "mine.yaml:2"),
        ("extends: HERE/l5pc/nowhere.yaml\n", "there is no file"),
        ("extends: HERE/dendrite_nmda.yaml\n", "extends no mechanism of"),
        ("kind: cell\ndescription: none\n", "does not extend"),
        ("kind: cell\nextends: HERE/inputs_l5.yaml\n", "does not extend"),
        ("extends: mine.yaml\n", "circle"),
        ("", "is empty"),
        ("- 1\n", "must be a mapping"),
        ("extends: HERE/l5pc/cell.yaml\nmechanisms: {calcium_shell: null}\n", "this cell has none"),
        ("extends: HERE/l5pc/NMDA.yaml\nkind: channel\n", "in a channel it must be"),
        ("extends: HERE/inputs_l5.yaml\ntrees: {basal: {excitation: [1*Hz]}}\n", "must be [lowest, highest]"),
    ],
)
def test_a_file_that_is_no_hypothesis_is_refused_in_words(text, words, tmp_path):
    with pytest.raises(EquationError) as error:
        hypotheses.read(write(tmp_path, text))
    assert words in str(error.value) and "\n" not in str(error.value)


def test_the_command_writes_what_the_study_takes(ended, tmp_path):
    run = ended("sims", "neuronio", "hypothesis", FOLDER / "magnesium_half.yaml", tmp_path / "new")
    assert run.code == 0 and "- 1*mM" in run.stdout and "+ 0.5*mM" in run.stdout
    card = json.loads((tmp_path / "new" / "changes.json").read_text())
    place = ["mechanisms", "NMDA", "parameters", "Mg"]
    assert card["changes"] == [{"place": place, "before": "1*mM", "after": "0.5*mM"}] and "?" in card["question"]
    refused = ended("sims", "neuronio", "hypothesis", write(tmp_path, ""), tmp_path / "other")
    assert refused.code == 2 and not (tmp_path / "other").exists()
