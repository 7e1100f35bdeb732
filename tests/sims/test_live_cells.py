"""What a layer-5 cell does: spikes that travel back up the trunk, and calcium spikes in the tuft that make it burst."""

from pathlib import Path

import numpy as np
import pytest

from sims.backends.neuron import NeuronCell
from sims.cells import l5pc, morphology

L5PC = Path(__file__).resolve().parents[2] / "equations" / "l5pc"
DT = 0.1  # ms


class Probe:
    """A live cell with electrodes in the soma, in the trunk 300 µm up, and at the nexus."""

    def __init__(self, path, cell):
        tree = morphology.with_axon_stub(morphology.load(path))
        self.segments = morphology.segments(tree)
        self.live = NeuronCell(cell, tree, self.segments, DT)
        distance, thickness = self.segments.soma_distance, self.segments.area / self.segments.length
        near = np.flatnonzero((self.segments.region == "apical") & (np.abs(distance - 300) < 25))
        trunk = self.live.live[near[np.argmax(thickness[near])]]
        self.electrodes = {"trunk": trunk._ref_v, "nexus": self.live.nexus._ref_v, "soma": self.live.soma._ref_v}

    def answer(self, channels, times):
        """Traces (mV) after all the channels get an event at each of the times."""
        time, channel = np.repeat(times, len(channels)), np.tile(channels, len(times))
        recording, traces = self.live.run_trial(time, channel, 250, record=self.electrodes)
        return recording.spike_time, {name: trace[traces["time"] > 90] for name, trace in traces.items()}

    def channels(self, region, beyond, number):
        dendritic = self.segments.dendritic
        here = (self.segments.region[dendritic] == region) & (self.segments.soma_distance[dendritic] > beyond)
        return np.random.default_rng(0).choice(np.flatnonzero(here), number, replace=False)


@pytest.fixture(scope="module", params=["cell1", "stylised"])
def path(request):
    return request.getfixturevalue("cell1_path") if request.param == "cell1" else morphology.find("stylised")


@pytest.fixture(scope="module")
def probe(path):
    return Probe(path, l5pc.read())


def test_at_rest_the_cell_is_silent(probe):
    spikes, traces = probe.answer([], [])
    assert len(spikes) == 0 and traces["soma"].max() < -70


def test_a_somatic_spike_travels_back_up_the_trunk(probe):
    spikes, traces = probe.answer(probe.channels("basal", 0, 160), [100, 100])
    first = np.argmax(traces["soma"])
    rest, around = traces["trunk"][0], traces["trunk"][first : first + int(10 / DT)]
    assert len(spikes) >= 1 and traces["soma"].max() > 20
    assert around.max() > rest + 25 and np.argmax(around) > 0


def test_tuft_input_makes_a_calcium_spike_at_the_nexus_and_a_burst_at_the_soma(probe):
    spikes, traces = probe.answer(probe.channels("apical", 700, 100), [100, 105, 110])
    assert traces["nexus"].max() > 0 and np.sum(traces["nexus"] > -30) * DT > 15
    assert len(spikes) >= 2 and np.diff(spikes)[0] < 20


def test_without_dendritic_calcium_channels_the_same_input_makes_neither(tmp_path, path):
    none = "{gbar: 0*siemens/cm**2}"
    (tmp_path / "cell.yaml").write_text(
        f"extends: {L5PC / 'cell.yaml'}\nregions: {{apical: {{mechanisms: {{Ca_LVAst: {none}, Ca_HVA: {none}}}}}}}\n"
    )
    probe = Probe(path, l5pc.read(tmp_path / "cell.yaml"))
    spikes, traces = probe.answer(probe.channels("apical", 700, 100), [100, 105, 110])
    assert np.sum(traces["nexus"] > -30) * DT < 8 and len(spikes) < 2
