"""The published pickles of NeuronIO: read as data, written for their own loaders, refused in every other case."""

import base64
import io
import json
import lzma
import os
import pickle
import pickletools
import struct
import sys
import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sims import __main__ as command_line
from sims import neuronio
from sims.neuronio_pickles import PublishedFileError, read, write

ARRAYS = [name for name in neuronio.Shard.__dataclass_fields__ if name != "attributes"]


def published(milliseconds=1000, numbers=2):
    """What the published script stores: NumPy's integers in dictionaries and lists, no silent segments, float16."""
    simulations = []
    for number in range(numbers):
        time = np.arange(milliseconds)
        trains = {
            kind: {
                segment: list(np.arange(1 + number + segment, milliseconds, step * (segment + 1)))
                for segment in np.arange(4)
                if (kind, segment) != ("inh", 2)
            }
            for kind, step in (("ex", 19), ("inh", 29))
        }
        trains["ex"][np.int64(3)] = [np.int64(milliseconds - 1)]
        voltage = -67 + time % 64 / 16.0 + number
        spikes = np.array([12.375, 0.7 * milliseconds + 0.125, milliseconds - 0.125][: 3 * (1 - number)])
        simulations.append(
            {
                "recordingTimeHighRes": np.arange(0, 2, 0.125).astype(np.float32),
                "somaVoltageHighRes": np.zeros(16, np.float16),
                "nexusVoltageHighRes": np.zeros(16, np.float16),
                "recordingTimeLowRes": time.astype(np.float32),
                "somaVoltageLowRes": voltage.astype(np.float16),
                "nexusVoltageLowRes": voltage.astype(np.float16),
                "exInputSpikeTimes": trains["ex"],
                "inhInputSpikeTimes": trains["inh"],
                "outputSpikeTimes": spikes.astype(np.float16),
                "dendriticVoltagesLowRes": np.zeros((4, milliseconds), np.float16),
            }
        )
    params = {
        "randomSeed": 100512,
        "numSimulations": numbers,
        "totalSimDurationInSec": milliseconds // 1000 or milliseconds / 1000.0,
        "collectAndSaveDVTs": True,
        "useActiveDendrites": True,
        "excitatorySynapseType": "NMDA",
        "num_bas_ex_spikes_per_100ms_range": [0, 800],
        "num_bas_ex_inh_spike_diff_per_100ms_range": [-600, 200],
        "allSegmentsType": ["basal", "basal", "apical", "apical"],
        "allSegments_DistFromSoma": [0.5, 20.25, 8.0, 650.0],
        "ISICV": np.float64(0.5),
        "listOfISIs": list(np.array([687.75, 299.75])),
        "averageOutputFrequency": 1.5,
        "entireExperimentDurationInMinutes": None,
    }
    return {"Params": params, "Results": {"listOfSingleSimulationDicts": simulations}}


# pickle.dumps(published(), protocol=2) of Python 2.7.18's cPickle with NumPy 1.16.6; LZMA, base 85.
ORIGINAL = lzma.decompress(
    base64.b85decode(
        "T>t<81poj4|NsC0{{TP$iz(NLoL$g7bAJxQBjL(C$L4N%02`nCGk>8%i*8_N)stwps?)}w)=UIZC;#-S^rOoberK5`{S&g6+n(N+j<)x00lh"
        "FW`pw>iZ3oFy?LZ0NL2s^RX)DN&e;Lx(={&q|Am0o#h-=VYHe9V|M_|rbYHrF#7R&DocZUq88)-NEW=~`kd4J|xxtR{}w1gnf#{W$KrA+g`B"
        "(4n;N`#2x7|j6>IgNH-jF+{kVQO%S->2>6VrLeYs20DPiAUrZ-dI(gme>3o{0r6B+ySYKa!eo$vY^5_X^*pkC4Ef$f27xA^DwB|8ct$jD4KP"
        "?QkD-Y89Sx`R!<_LB375e1hXf?vwv}@p>ebf#B(12d=yQ8&>)Fb?)gdqBtb<)g}nnWohW`!P`B>0d+O*qp3C#GgN`rOpTDz)s!<pf1zT?T$="
        "N~`&DZLnemP8^))jMhUTO%(XA7Y~P@qZe_&ps5TGf)2dYz(wssrECzpj!)g{CQb^PCx=v71Yzw9+CBXov-Td7+(zFfotvKe}Qe=<Uo}9sX<R"
        "*%=_8$s=i^$?1h6PS3SP`z~s4#O#D4rsNNii8oa&82Axo{Cy%z@khks-nm;;zgmD1<+OUuHx+4EoIJTCh_!;6JJeR)hT|Y{<{H08Wp!#dX&y"
        "R)SQa+}^p}z8QD_DmopRaybtemp#_<ek$_)WSLh~9cisU{(KOilMF)Ic~=U2Dd>QU7Y>yO!`)O)+wKLG6L=?>3ISK|%c5=iWyKV{y;gRvC*d"
        "<d!35^K2WounuYJWJRveM9^`T5c<P6q!i#*@k#mcZ3{vm{tmohI%VHv_o~2v<B_%Y+i)oOrH4w`}AbHzU-z1829&(=V_7RlNmE>KQ&+O1<7d"
        "a3J?**OnTC@>p^WmW)7%fP{#OsZmOI%Uq;MTeL-PcpYK3dZ=@BMCf?TmE!s{;NIP%obJ;~kQ_3O?*8Oa`)mu+FNh-{J;<vut9n|Ab4T{lL;@"
        "O+rAy!)tfUUhcJ~S}<Lht{{hOW)eK+R`~b%_@hk+dO!=blRy3YGKP@scJ!tZY$vY4SuFd#dZxHxIQ1hEpF8uar(DWGH#eg%L+AoYC`(vVG0e"
        "t^M-;)yvb{kWpVVSxlN`8`eLW^5A|2CNA#%w?U?*_!f8Q@7UlM%U*ycs_Qdh3;nY$r+*I~mnTa6Sg20b5k4jBA_4oPIgq&1f;>P;*}sD8npQ"
        "4Z98a@A@^@!+W-z*>b*b$Ly<AFj42<Nnxe~}l^Bf=0_XSY4X*BPrMq#G0XXaCQRWdXd8ov2Xh{4|Z0G@`=B^KvQe0>!zD(})dw5SkNkV!#@u"
        "&5|gl13E&-^s#cI#>(dNKjw13~M`hceScrQUj1yF^8=!jXjdlag(y}0qw`+4-BnFT5sN0an@Is1m;7M|6O}H;Kv*@UL~kts95awY(D@HO0aV"
        "5Qy4c>LCUVjzH{6#bC@E4-p(>s9@ptwDl1yonm&|LEe~7{85Qdc0J3w`Ez=38H8Wm7a|w+3x!P5e)<x9z`zTYd_{*NBH;m^qF?xbwjwmlRZ5"
        "yV{*!>qkIl^aq%<1HT=%>Tg5=0(YgmP0eZXrE1R06~F+NEjH=ek;yg`;Hf+*ncF;z7u^2GK&DM9KW5y<WPbj|Sr8_?dG3!17qAuza$<L&-n1"
        "tUa>YfI0#IR|-`j(G=4tPnBJ}P)~#R2~q0bbDy=1u=#Cm9*<+RxP<!6p7#<I3OQ&v+zHq|7v@kK#7hY{e=9pMPm_;|;Znu=UY>+p)zZ7_S(m"
        "+kL}!YGi$bJdRk9A>EoYnf`T$b;P_2np-jdJ`NloAE6AuT{ei?PCW6~TEu|d_*=!LPIK+RZ}XT{HW7F_vvaRH*gY>jIksiC?*nzcY(U-1Sqv"
        "P!_vR2Ix(mq<(37s#~kv)JD#fWvUkTRwN;2aOb-2FiAT&YeKnhJYK`Z=zZ55qVE!5h77K$V|_RE?pi#JXAg#5NT#5I7k~$>G+se1oK4f_Y)i"
        "mQ=qQg?z(WAhkCHrtEoI$EUCV4FhmsO+@Bv`guE0tbZQHx?2v>9XTy~RiulmNteF35lYo$^_S)2%cxp|vR5<&G`KN{a@xq;kI;!;^;hXGEOR"
        "TQi%IRR!sDC?G><{tKKz3f9yNbA2PV<fTRIn%m?e1icR}$c~HzU6TQBQ~9=qriV4S=U*xox#1-x(J~?Sb#+wTzkJ$L`h&EBOirYwAbmi=%{C"
        "3?d5uAm0LT0n*kl@HjKku;tve#1HANo>mFf517!foay#o<<1pisKn0j$t|K#6QBOrSTL-`o2&qTI!W};?mR~$!otVlov~%MH1ReBxAWunDdt"
        "snKPL@V@2;R!eMXDJp=>TOhRmHdE~j&T&bV6gQ0r~R_cID#2xJ+=y<ArgaG%fVKK!}1ig%j~Bb~QL&6IusW~8~oOj_KyBDVlR)dbqd%TfcA-"
        "ZY`waf+p%+Gc)|5=!;`+2o-})PLx?{f_P^$?X6;U>Z2m{U&5*{(_^FCl*|CWUB4?1Eo*;Ue`R>k$rejYwTid%IHqsA_}lJ>22n%Beg!Z<D|>"
        "I^P*Uqf1!-WJx7F*YR5)p<_15l{8LRW#KduI|5NiKZ+$2eDZ65a;A2U{=P<bT1z5Yeawnscu_gVusQ3MMK~L+y1duh!O2#!m_w9LaaDScfL@"
        ">EXDiFe^@9T#6_Mo%R6qIV>@HwDy7pNp@%o$rV|J<;l2dAA@!zhqnFfC=L&wF*vh(0RN27zp;un)CP?!EzQZLCXu_h356nz5ZAo}c^S64+i&"
        "gP^(+5j2##ClF{`%haXVr<?djkC)T8NRgP&JTO)(<6&2;de>Os@1Ni{P$0H3JiMV=UlKsP|7>(sTOgxI=fj|TYYHf?n8=b$Muw2!ntyp<M`+"
        "da+%h}F{hluTvu^9u)vkp6&y{PRp<~Nh3eLc{a6RpLO!UuP4&U&JS9G|{8?Y*Cll)(o)Z-80N?{C|tSH=)6q}qb=tu7xC7ImWu8m0OJwD&d>"
        "TW`jm*P^fexcrg+s~Fm>qlH~W9Hh%TY?6j!Vf5D%k~C_kNXWo8@?cRbusD72#=6&?>sj03y>{ojw@4d;s~#%E9Zq646P~t>Yrsx-9VR<f3<v"
        "Z`Rd({;`Ph`g)b$3J_m@?aO}hE$QPJG4#f*%5Y0l$V16~oE2U|e41Zr;(|gkgGLuur;MtL}!dXY8OKaUR;WjadYQo1}s^%v-Pf}#z6`7<Aa}"
        "O=U8$e0XOABUJ!fj<re8+pXXULd-XoxmIH`#FNo(|I)@lChu%s_++6Dx+|oIKQh^d7OdQ|(S4yR9DDH9tS~u$_&<vZ@m}Dj})Dgz2qF#6EFY"
        "*kdJ_ULbcHB-z_H+xG&(DDF|k848}XvfMh-OfYNE{?+zFIOyZFar@XuFpr%Nrp$$=(WIq<Jqilw00S6X+KrlYoTQ=*GgS!fE?CzP_pJVEZcZ"
        "&~XNVp5)OQiN*Q(1-Sq40^8m{MYa$JJtGUnciD=D`~V=2|+U-h}VBp_rr&&qV<D?l;y`(=WoeOiY^ih|Ok{yPNG>1^HxsVSG?l0Kn}e&iy$E"
        ";nUJi5w^ABz-x+&i<E~GoVNkoQ1>S677a3^pHRnsrjlGO?%tU_(2(Y?+KxT9~>eD6*eGck(2Nz^82|-?CC^|9UH)>E8bW`Y+hvvU#)RC7h&i"
        "b@qEJ57f6J&4Qe%4&@TowcT#sWd1O-V@u&V<0O9KG)RktI*Naj@fr@tGuLriCNiz#1(-^w=YwrVlpjta!T8E6j#I5l3Xh;8A1VR7"
    )
)


def in_python3(content):
    """Python 3's pickle of protocol 2: unicode strings, bytes by way of a codec, NumPy's new module names."""
    return pickle.dumps(content, protocol=2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "published.p"


@pytest.fixture
def original(path):
    path.write_bytes(ORIGINAL)
    return path


def load(path):
    """Open a file as the published loaders do."""
    with open(path, "rb") as file:
        return pickle.load(file, encoding="latin1")


def loaded(path):
    """(inputs [channel, ms, simulation], spikes [ms, simulation], soma voltage [ms, simulation]) in the way of the
    published loaders: all sizes from Params, spikes in the bin of their time less half a millisecond."""
    content = load(path)
    simulations = content["Results"]["listOfSingleSimulationDicts"]
    n, milliseconds = len(content["Params"]["allSegmentsType"]), content["Params"]["totalSimDurationInSec"] * 1000
    inputs = np.zeros((2 * n, milliseconds, len(simulations)), bool)
    spikes, soma = np.zeros((2, milliseconds, len(simulations)))
    for k, simulation in enumerate(simulations):
        for first, trains in ((0, simulation["exInputSpikeTimes"]), (n, simulation["inhInputSpikeTimes"])):
            for segment in trains:
                for when in trains[segment]:
                    inputs[first + segment, when, k] = True
        spikes[(simulation["outputSpikeTimes"].astype(float) - 0.5).astype(int), k] = 1
        soma[:, k] = simulation["somaVoltageLowRes"]
    return inputs, spikes, soma


@pytest.fixture(scope="module")
def shard(make_shard):
    return make_shard(simulations=3, duration_ms=2000, segments=7)


@pytest.mark.parametrize("data", [ORIGINAL, in_python3(published())], ids=["python 2", "python 3"])
def test_a_published_file_becomes_the_shard_that_it_describes(path, data):
    path.write_bytes(data)
    shard = read(path, "1.0")
    time = np.arange(1000)
    np.testing.assert_array_equal(
        shard.soma_voltage, np.float32([-67 + time % 64 / 16 + number for number in range(2)]), strict=True
    )
    for number in range(2):
        when, channel = shard.events(number)
        assert (np.diff(when.astype(int) * 8 + channel) > 0).all()
        for segment in range(4):
            excitation = np.arange(1 + number + segment, 1000, 19 * (segment + 1)) if segment < 3 else [999]
            inhibition = np.arange(1 + number + segment, 1000, 29 * (segment + 1)) if segment != 2 else []
            np.testing.assert_array_equal(when[channel == segment], excitation)
            np.testing.assert_array_equal(when[channel == 4 + segment], inhibition)
    # 700.125 and 999.875 are stored as 700 and 1000 ms; a shard's spikes lie before the end.
    np.testing.assert_array_equal(shard.spikes(0), np.float32([12.375, 700, np.nextafter(np.float32(1000), 0)]))
    assert shard.spike_counts.tolist() == [3, 0]
    assert shard.region.tolist() == ["basal", "basal", "apical", "apical"] * 2
    assert shard.path_distance.tolist() == [0.5, 20.25, 8, 650] * 2
    assert shard.sign.tolist() == [1] * 4 + [-1] * 4 and shard.segment.tolist() == [0, 1, 2, 3] * 2
    generator = json.loads(shard.attributes.pop("generator"))
    assert shard.attributes == {
        "seed": 100512,
        "first_simulation": 0,
        "code_version": "1.0",
        "equations_digest": "published",
        "cell": "cell1",
        "backend": "published",
        "dt_ms": 0.0,
        "precision": "float16",
    }
    assert generator == {
        "excitatorySynapseType": "NMDA",
        "useActiveDendrites": True,
        "num_bas_ex_spikes_per_100ms_range": [0, 800],
        "num_bas_ex_inh_spike_diff_per_100ms_range": [-600, 200],
    }


def test_what_is_read_can_be_stored_as_a_shard(original, tmp_path):
    neuronio.write(read(original, "1.0"), tmp_path / "shard.nc")
    assert neuronio.read(tmp_path / "shard.nc").content_sha256() == read(original, "1.0").content_sha256()


def test_reading_reports_how_far_it_is(original):
    steps = []
    read(original, "1.0", steps.append)
    assert sum(steps) == len(ORIGINAL) and min(steps) > 0


def test_a_read_file_is_written_with_the_same_arrays_and_events(original, tmp_path):
    write(read(original, "1.0"), tmp_path / "again.p")
    before, after = load(original), load(tmp_path / "again.p")
    for old, new in zip(
        *(content["Results"]["listOfSingleSimulationDicts"] for content in (before, after)), strict=True
    ):
        for key in ("recordingTimeLowRes", "somaVoltageLowRes", "outputSpikeTimes"):
            np.testing.assert_array_equal(new[key], old[key], strict=True)
        for key in ("exInputSpikeTimes", "inhInputSpikeTimes"):
            assert list(new[key]) == [0, 1, 2, 3]
            assert new[key] == {segment: [] for segment in range(4)} | old[key]
            assert {type(when) for train in new[key].values() for when in train} == {int}
    same = [
        "randomSeed",
        "numSimulations",
        "totalSimDurationInSec",
        "allSegmentsType",
        "allSegments_DistFromSoma",
        "num_bas_ex_spikes_per_100ms_range",
        "num_bas_ex_inh_spike_diff_per_100ms_range",
    ]
    assert {key: after["Params"][key] for key in same} == {key: before["Params"][key] for key in same}
    assert after["Params"]["numOutputSpikesPerSim"] == [3, 0]
    write(read(tmp_path / "again.p", "1.0"), tmp_path / "third.p")
    assert (tmp_path / "third.p").read_bytes() == (tmp_path / "again.p").read_bytes()


def test_a_shard_comes_back_with_voltages_and_spikes_rounded_to_float16_and_events_exact(shard, path):
    write(shard, path)
    back = read(path, "another version")
    rounded = {
        "soma_voltage": shard.soma_voltage.astype(np.float16).astype(np.float32),
        "spike_time": shard.spike_time.astype(np.float16).astype(np.float32),
    }
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), rounded.get(name, getattr(shard, name)), strict=True)
    assert len(shard.spike_time) > 10 and (rounded["spike_time"] != shard.spike_time).any()
    assert back.attributes == shard.attributes | {"precision": "float16"}


def test_the_published_loaders_find_in_a_written_file_what_the_shard_holds(shard, path):
    write(shard, path)
    inputs, spikes, soma = loaded(path)
    for k in range(shard.simulations):
        when, channel = shard.events(k)
        expected = np.zeros(inputs.shape[:2], bool)
        expected[channel, when] = True
        np.testing.assert_array_equal(inputs[..., k], expected)
    assert spikes.sum(axis=0).tolist() == shard.spike_counts.tolist()
    np.testing.assert_allclose(soma.T, shard.soma_voltage, atol=0.032)


@pytest.mark.parametrize("seconds", [6, 35])
def test_a_spike_at_the_very_end_stays_inside_for_the_published_loaders_and_for_a_shard(make_shard, path, seconds):
    shard = make_shard(simulations=1, duration_ms=1000 * seconds, segments=1)
    late = replace(shard, spike_time=np.float32([1000 * seconds - 1]), spike_start=np.array([0, 1]))
    write(late, path)
    assert loaded(path)[1].sum() == 1
    back = read(path, "1.0").spike_time
    assert 1000 * seconds - 32 <= back[0] < 1000 * seconds


def test_a_written_file_has_only_what_python_2_and_old_numpy_know(shard, path):
    write(shard, path)
    instructions = list(pickletools.genops(path.read_bytes()))
    assert max(instruction.proto for instruction, _, _ in instructions) == 2
    names = {argument for instruction, argument, _ in instructions if instruction.name == "GLOBAL"}
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    strings = {i.name for i, argument, _ in instructions if i.stack_after and isinstance(argument, (str, bytes))}
    assert strings == {"GLOBAL", "SHORT_BINSTRING", "BINSTRING"}


def test_what_a_shard_does_not_hold_is_written_as_empty_arrays(shard, path):
    write(shard, path)
    simulation = load(path)["Results"]["listOfSingleSimulationDicts"][0]
    empty = ("recordingTimeHighRes", "somaVoltageHighRes", "nexusVoltageHighRes", "nexusVoltageLowRes")
    assert [simulation[key].shape for key in empty] == [(0,)] * 4
    write(shard, path, nexus=shard.soma_voltage + 2)
    simulation = load(path)["Results"]["listOfSingleSimulationDicts"][0]
    np.testing.assert_array_equal(simulation["nexusVoltageLowRes"], np.float16(shard.soma_voltage[0] + 2), strict=True)


def test_the_generators_settings_get_their_published_names(shard, path):
    card = {"hold_ms": [25.0], "smoothing_ms": [40.0], "drives_Hz": {"basal": {"excitation": [0, 8000]}}}
    card["drives_Hz"]["basal"]["inhibition"] = [-6000, 2000]
    write(replace(shard, attributes=shard.attributes | {"generator": json.dumps(card)}), path)
    params = load(path)["Params"]
    assert params["inst_rate_sampling_time_interval_options_ms"] == [25]
    assert params["temporal_inst_rate_smoothing_sigma_options_ms"] == [40]
    assert params["num_bas_ex_spikes_per_100ms_range"] == [0, 800]
    assert params["num_bas_ex_inh_spike_diff_per_100ms_range"] == [-600, 200]


def test_names_beyond_ascii_and_large_seeds_survive(shard, path):
    attributes = shard.attributes | {"cell": "Zelle_ö.asc", "seed": 2**62}
    write(replace(shard, attributes=attributes), path)
    assert read(path, "1.0").attributes == attributes | {"precision": "float16"}


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({"soma_voltage": np.zeros((3, 1500), np.float32)}, "simulations of 1500 ms, expected whole seconds"),
        ({"soma_voltage": np.full((3, 2000), 1e6, np.float32)}, "soma_voltage reaches 1e.06 mV"),
        ({"sign": np.tile(np.int8([1, -1]), 7)}, "channels are arranged differently"),
        ({"segment": np.arange(14, dtype=np.int32)}, "channels are arranged differently"),
    ],
)
def test_a_shard_that_the_format_cannot_hold_is_refused(shard, path, change, complaint):
    with pytest.raises(PublishedFileError, match=f"published.p: .*{complaint}"):
        write(replace(shard, **change), path)
    assert not path.exists()


def test_a_nexus_of_another_shape_is_refused(shard, path):
    with pytest.raises(PublishedFileError, match=r"nexus has the shape \(3, 5\), expected \(3, 2000\)"):
        write(shard, path, nexus=np.zeros((3, 5)))


def params(**changes):
    return lambda content: content["Params"].update(changes)


def simulation(**changes):
    return lambda content: content["Results"]["listOfSingleSimulationDicts"][1].update(changes)


def without(*keys):
    def remove(content):
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return remove


def voltage(value):
    return simulation(somaVoltageLowRes=np.array([-67] * 19 + [value], np.float16))


def shared(content):
    simulations = content["Results"]["listOfSingleSimulationDicts"]
    simulations[:] = [simulations[0]] * 5000
    content["Params"]["numSimulations"] = 5000


FIRST = ("Results", "listOfSingleSimulationDicts", 0)


@pytest.mark.parametrize(
    "change, complaint",
    [
        (without("Params"), "the pickle has no 'Params', expected .*'Results'"),
        (without("Results"), "the pickle has no 'Results'"),
        (without("Results", "listOfSingleSimulationDicts"), "Results has no 'listOfSingleSimulationDicts'.*none"),
        (without("Params", "totalSimDurationInSec"), "totalSimDurationInSec is missing"),
        (without("Params", "allSegmentsType"), "Params has no 'allSegmentsType'"),
        (without("Params", "allSegments_DistFromSoma"), "Params has no 'allSegments_DistFromSoma'"),
        (without("Params", "randomSeed"), "randomSeed is None, expected a 64-bit integer"),
        (without(*FIRST, "somaVoltageLowRes"), "simulation 0 has no 'somaVoltageLowRes'"),
        (without(*FIRST, "recordingTimeLowRes"), "simulation 0 has no 'recordingTimeLowRes'"),
        (without(*FIRST, "exInputSpikeTimes"), "simulation 0 has no 'exInputSpikeTimes'"),
        (without(*FIRST, "inhInputSpikeTimes"), "simulation 0 has no 'inhInputSpikeTimes'"),
        (without(*FIRST, "outputSpikeTimes"), "simulation 0 has no 'outputSpikeTimes'"),
        (without(*FIRST), "listOfSingleSimulationDicts has 1 entries, expected numSimulations, 2"),
        (lambda content: content.update(Params=[1, 2]), "Params is a list of 1 entries, expected a dict"),
        (lambda content: content["Results"].update(listOfSingleSimulationDicts={}), "is a dict of 0 entries"),
        (lambda content: content["Results"].update(listOfSingleSimulationDicts=[None, 2.5]), "simulation 0 is None"),
        (params(numSimulations="128"), "expected numSimulations, '128'"),
        (params(randomSeed=2**80), "randomSeed is 1208925819614629174706176"),
        (params(randomSeed=True), "randomSeed is True"),
        (params(totalSimDurationInSec="6"), "totalSimDurationInSec is '6'"),
        (params(totalSimDurationInSec=66), "totalSimDurationInSec is 66, expected whole milliseconds, 0.001 to 65.535"),
        (params(totalSimDurationInSec=float("nan")), "totalSimDurationInSec is nan"),
        (params(totalSimDurationInSec=0.03), "recordingTimeLowRes is an array of float32 .* of 30 values"),
        (params(allSegmentsType=["basal", "axon", "apical", "apical"]), "holds 'axon', expected basal or apical"),
        (params(allSegmentsType=["basal", 7, "apical", "apical"]), "allSegmentsType holds"),
        (params(allSegmentsType=[]), "allSegmentsType has 0 entries"),
        (params(allSegments_DistFromSoma=[1.0]), "allSegments_DistFromSoma has 1 entries, expected 4"),
        (params(allSegments_DistFromSoma=[1.0, 2.0, float("nan"), 3.0]), "holds nan, expected µm"),
        (params(allSegments_DistFromSoma=[1, 2, 3, -4]), "holds -4, expected µm"),
        (params(shardAttributes="{}"), "shardAttributes is .*{}.*, expected the attributes of a shard"),
        (params(shardAttributes="[" * 100_000), "shardAttributes is .*, expected the attributes of a shard"),
        (voltage(np.nan), "simulation 1: somaVoltageLowRes holds NaN or infinity"),
        (voltage(np.inf), "simulation 1: somaVoltageLowRes holds NaN or infinity"),
        (simulation(somaVoltageLowRes=np.full(20, 1e300)), "somaVoltageLowRes holds NaN or infinity"),
        (simulation(somaVoltageLowRes=np.zeros(19, np.float16)), r"float16 with shape \(19\), expected .* 20 values"),
        (simulation(somaVoltageLowRes=np.zeros((1, 20), np.float16)), r"shape \(1, 20\), expected one dimension"),
        (simulation(somaVoltageLowRes=np.zeros(20, np.int16)), "an array of int16 .*expected .*floating-point"),
        (simulation(somaVoltageLowRes=[-67.0] * 20), "somaVoltageLowRes is a list of 20 entries, expected a"),
        (simulation(recordingTimeLowRes=np.arange(1, 21, dtype=np.float32)), "recordingTimeLowRes holds other times"),
        (simulation(outputSpikeTimes=np.array([3, 2.5], np.float16)), "outputSpikeTimes goes backward"),
        (simulation(outputSpikeTimes=np.array([-1], np.float16)), "outputSpikeTimes spans -1.0 to -1.0 ms"),
        (simulation(outputSpikeTimes=np.array([20.5], np.float16)), "outputSpikeTimes spans 20.5 to 20.5 ms"),
        (simulation(outputSpikeTimes=np.array([np.nan], np.float16)), "outputSpikeTimes holds NaN"),
        (simulation(exInputSpikeTimes=[[1, 2]]), "exInputSpikeTimes is a list of 1 entries, expected a dict"),
        (simulation(exInputSpikeTimes={4: [1]}), "exInputSpikeTimes holds the segment 4, expected 0 to 3"),
        (simulation(exInputSpikeTimes={-1: [1]}), "exInputSpikeTimes holds the segment -1"),
        (simulation(exInputSpikeTimes={"0": [1]}), "exInputSpikeTimes holds the segment '0'"),
        (simulation(exInputSpikeTimes={0: (1, 2)}), "segment 0 is a tuple of 2 entries, expected a list"),
        (simulation(exInputSpikeTimes={0: [1, "2"]}), "exInputSpikeTimes of segment 0 holds '2', expected whole"),
        (simulation(exInputSpikeTimes={0: [1.5]}), "segment 0 holds 1.5, expected whole"),
        (simulation(exInputSpikeTimes={0: [1, 2**90]}), "segment 0 holds 1237940039285380274899124224"),
        (simulation(inhInputSpikeTimes={2: [1, 20]}), "inhInputSpikeTimes of segment 2 holds 20 ms, expected 0 <= "),
        (simulation(inhInputSpikeTimes={2: [-1, 2]}), "inhInputSpikeTimes of segment 2 holds -1 ms"),
        (simulation(inhInputSpikeTimes={2: [5, 3]}), "inhInputSpikeTimes of segment 2 goes backward"),
        (simulation(inhInputSpikeTimes={2: [[3]]}), "inhInputSpikeTimes of segment 2 holds a list of 1 entries"),
        (shared, "refers to more data than the file's .* bytes hold"),
    ],
)
def test_content_that_no_simulation_can_have_is_refused_with_file_place_and_cause(path, change, complaint):
    content = published(20)
    change(content)
    path.write_bytes(in_python3(content))
    with pytest.raises(PublishedFileError, match=f"published.p: .*{complaint}"):
        read(path, "1.0")


def program(*parts):
    return b"\x80\x02" + b"".join(parts)


TOUCH = b"U\x0etouch executed"
DTYPE = b"cnumpy\ndtype\nU\x02f2K\x00K\x01\x87R"
OBJECTS = b"cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R"
EMPTY = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"


@pytest.mark.parametrize(
    "data, complaint",
    [
        (program(b"cposix\nsystem\n", TOUCH, b"\x85R."), "'posix.system'"),
        (program(b"cos\nsystem\n", TOUCH, b"\x85R."), "'os.system'"),
        (program(b"}U\x06Params(cos\nsystem\n", TOUCH, b"tRs."), "'os.system'"),
        (program(b"cos\nsystem\n."), "'os.system'"),
        (program(b"c__builtin__\neval\nU\x03key\x85R."), "'__builtin__.eval'"),
        (program(b"cbuiltins\nexec\n."), "'builtins.exec'"),
        (program(b"cbuiltins\ngetattr\n."), "'builtins.getattr'"),
        (program(b"c__builtin__\nset\n]\x85R."), "'__builtin__.set'"),
        (program(b"ccopy_reg\n_reconstructor\n."), "'copy_reg._reconstructor'"),
        (program(b"cnumpy.testing._private.utils\nrunstring\n."), "'numpy.testing._private.utils.runstring'"),
        (program(b"cnumpy\nload\n."), "'numpy.load'"),
        (program(b"cnumpy\nfromfile\n."), "'numpy.fromfile'"),
        (program(b"cnumpy.core.multiarray\nfromstring\n."), "'numpy.core.multiarray.fromstring'"),
        (program(b"cnumpy\ncore.multiarray\n."), "'numpy.core.multiarray'"),
        (program(b"U\x05posixU\x06system\x93", TOUCH, b"\x85R."), "STACK_GLOBAL on b'posix' and b'system'"),
        (program(b"(", TOUCH, b"ios\nsystem\n."), "INST"),
        (program(b"(cos\nsystem\n", TOUCH, b"o."), "'os.system'"),
        (program(b"(", TOUCH, b"o."), "OBJ"),
        (program(b"\x82\x01."), "EXT1"),
        (program(b"\x83\x01\x00."), "EXT2"),
        (program(b"Pexecuted\n."), "PERSID"),
        (program(TOUCH, b"Q."), "BINPERSID"),
        (program(b"cnumpy\nndarray\n)\x81."), "NEWOBJ"),
        (program(b"cnumpy\nndarray\n)}\x92."), "NEWOBJ_EX"),
        (program(b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R."), "calls ndarray with .2147483647"),
        (program(TOUCH, b"K\x01\x85R."), "calls b'touch executed' with"),
        (program(b"}K\x01K\x02sK\x05R."), r"calls a dict of 1 entries with \(5\)"),
        (program(OBJECTS, b"."), "calls dtype with .b'O8'"),
        (program(b"cnumpy\ndtype\nU\x0ei4,(200000,)f8\x85R."), "calls dtype with"),
        (program(b"cnumpy\ndtype\n]\x85R."), "calls dtype with .a list"),
        (program(DTYPE, b"(K\x03U\x01<NNU\x01aJ\xff\xff\xff\x7fK\x01K\x10tb."), "sets the state of a dtype f2"),
        (program(DTYPE, b"(K\x03U\x01<(", DTYPE, b"K\x05\x85tNNK\x01K\x01K\x00tb."), "sets the state of a dtype f2"),
        (program(DTYPE, b"}U\x01aK\x01sb."), "sets the state of a dtype f2 to a dict"),
        (program(b"cnumpy.core.multiarray\nscalar\n", OBJECTS, b"]\x86R."), "calls dtype with .b'O8'"),
        (program(b"cnumpy.core.multiarray\nscalar\n", DTYPE, b"U\x01a\x86R."), "calls scalar with .a dtype f2, b'a'"),
        (program(b"cnumpy.core.multiarray\nscalar\n", DTYPE, b"\x85R."), "calls scalar with"),
        (program(b"cnumpy.core.multiarray\n_reconstruct\nU\x01a\x85R."), "calls _reconstruct with"),
        (program(EMPTY, b"(K\x01K\x05\x85", DTYPE, b"\x89]tb."), "sets the state of an array"),
        (program(b"}}b."), "sets the state of a dict"),
        (program(b"c_codecs\nencode\nX\x01\x00\x00\x00aU\x03bz2\x86R."), "calls encode with .'a', b'bz2'"),
        (program(b"c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R."), "calls bytes with .2147483647"),
        (program(b"c", b"a" * 300, b"\n\n."), "more than 256 bytes"),
        (program(b"I", b"9" * 200, b"\n."), "holds the integer"),
        (program(b"}]K\x01s."), "uses a list of 0 entries as a key"),
        (program(b"}\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x01K\x01s."), "uses 72057594037927936 as a key"),
        (program(b"}", b")" + b"\x85" * 200_000, b"K\x01s."), "uses a tuple of 1 entries as a key"),
        (program(b"X\x01\x00\x00\x00\xff."), "not UTF-8"),
        (program(b"T\xff\xff\xff\xff."), "a string of -1 bytes"),
        (program(b"h\x07."), "refers back to value 7"),
        (program(b"e."), "never put there"),
        (program(b"R."), "never put there"),
        (program(b"."), "in the midst"),
        (program(b"(NN."), "in the midst"),
        (program(b"N(NNu."), "fills None as if it were a dict"),
        (program(b"}(NNNu."), "a key without a value"),
        (program(b"}]e."), "never put there"),
        (program(b"}a."), "never put there|fills"),
        (program(b"\xfe."), "0xfe, which is no instruction"),
        (program(b"N.N"), "1 bytes after the pickle's end"),
        (program(b"N."), "the pickle is None, expected a dict"),
        (program(b"].") + b"", "the pickle is a list of 0 entries"),
        (program(b"}q\x00U\x06Paramsh\x00s."), "the pickle has no 'Results'"),
        (program(b"}q\x00(U\x06Paramsh\x00U\x07Resultsh\x00u."), "Results has no 'listOfSingleSimulationDicts'"),
        (b"\x80\x04\x95\x00\x00\x00\x00\x00\x00\x00\x00N.", "found a pickle of protocol 4, expected 2"),
        (b"(dp0\n.", "found another kind of file, expected a pickle of protocol 2"),
        (b"\x89HDF\r\n\x1a\n", "found another kind of file"),
        (b"", "found 0 bytes, expected 2 or more"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_asks_for_more_than_data_is_refused_and_nothing_of_it_is_executed(
    path, tmp_path, monkeypatch, data, complaint
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("executed"))
    path.write_bytes(data)
    imported = set(sys.modules)
    with pytest.raises(PublishedFileError, match=f"published.p: .*({complaint})"):
        read(path, "1.0")
    assert [file.name for file in tmp_path.iterdir()] == ["published.p"]
    assert set(sys.modules) == imported


class Executed:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    "trap",
    [
        Executed(os.system, "touch executed"),
        Executed(eval, "open('executed', 'w')"),
        Executed(io.open, "executed", "w"),
        np.array([Executed(os.system, "touch executed")], dtype=object),
    ],
    ids=["system", "eval", "open", "object array"],
)
def test_a_trap_inside_an_otherwise_sound_file_does_not_spring(path, tmp_path, monkeypatch, trap, protocol):
    monkeypatch.chdir(tmp_path)
    content = published(20)
    content["Params"]["ISICV"] = trap
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(PublishedFileError, match="published.p: "):
        read(path, "1.0")
    assert not (tmp_path / "executed").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "executed").exists()  # the trap was a real one


@pytest.mark.parametrize(
    "data",
    [
        program(b"Nr\xff\xff\xff\xff."),
        program(b"T\xff\xff\xff\x7f"),
        program(b"X\xff\xff\xff\xff"),
        program(b"(" * 20_000, b"."),
        program(b"](" * 10_000, b"."),
        program(b"]" + b"](" * 10_000 + b"K\x01" * 10_000),
        program(b")", b"\x85" * 40_000, b"."),
        program(b"}q\x00]q\x01", b"h\x00h\x01\x86" * 10_000),
        program(EMPTY, b"(K\x01", b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85", DTYPE, b"\x89U\x00tb."),
        # 2 MB of text, to be encoded ten thousand times over
        program(
            b"X", struct.pack("<I", 2_000_000), b"a" * 2_000_000, b"q\x00", b"c_codecs\nencode\nq\x01U\x06latin1q\x02"
        )
        + b"h\x01h\x00h\x02\x86R" * 10_000,
        # doubling: a list of two references to a list of two references to …
        program(b"]q\x00", b"".join(b"](h%ch%ceq%c" % (k, k, k + 1) for k in range(60)), b"."),
    ],
    ids=range(11),
)
def test_a_file_takes_time_and_memory_by_its_size_and_not_by_what_it_declares(path, data):
    path.write_bytes(data)
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(PublishedFileError, match="published.p: "):
        read(path, "1.0")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000 + 250 * len(data)
    assert time.process_time() - started < 5


def test_an_array_whose_shape_promises_more_than_its_bytes_is_refused(path):
    sound = in_python3(published(20, 1))
    promise = sound.replace(b"K\x01K\x14\x85", b"K\x01M\xff\xff\x85")
    assert promise != sound
    path.write_bytes(promise)
    with pytest.raises(PublishedFileError, match=r"shape \(65535\), expected one dimension of 20 values"):
        read(path, "1.0")
    path.write_bytes(in_python3(published(20, 1)).replace(b"X\x02\x00\x00\x00f2", b"X\x02\x00\x00\x00f4"))
    with pytest.raises(PublishedFileError, match="has 40 bytes, expected 4 bytes a value"):
        read(path, "1.0")


@pytest.mark.faults
@pytest.mark.parametrize("data", [ORIGINAL, in_python3(published(20))], ids=["python 2", "python 3"])
def test_a_file_cut_anywhere_is_refused_with_its_name(path, data):
    for kept in [*range(0, 60), *np.linspace(60, len(data) - 60, 50).astype(int), *range(len(data) - 60, len(data))]:
        path.write_bytes(data[:kept])
        with pytest.raises(PublishedFileError, match=f"published.p: found {kept} bytes, expected .*cut short"):
            read(path, "1.0")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(PublishedFileError, match="absent.p: cannot be read .No such file"):
        read(tmp_path / "absent.p", "1.0")
    with pytest.raises(PublishedFileError, match="cannot be read .Is a directory"):
        read(tmp_path, "1.0")


@pytest.fixture(scope="module")
def small_files(make_shard, tmp_path_factory):
    """Sound files that are mostly structure: Python 3's, and one of `write`."""
    path = tmp_path_factory.mktemp("small") / "mangled.p"
    write(make_shard(simulations=2, duration_ms=1000, segments=2), path)
    return path, [in_python3(published(20)), path.read_bytes()]


@pytest.mark.faults
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mangled_bytes_give_a_sound_shard_or_the_modules_own_error(small_files, data):
    path, files = small_files
    mangled = bytearray(data.draw(st.sampled_from(files)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(mangled) - 1) | st.integers(0, 400))
        piece = data.draw(st.binary(max_size=3) | st.sampled_from([b"(", b"]", b"}", b"R", b"b", b"h\x01", b"e", b"."]))
        mangled[place : place + data.draw(st.integers(0, 3))] = piece
    path.write_bytes(mangled)
    try:
        shard = read(path, "1.0")
    except PublishedFileError as error:
        assert "mangled.p: " in str(error) and len(str(error)) < 1000
    else:
        neuronio._check(shard, path)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["sims", "neuronio", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        command_line.main()
    return stopped.value.code or 0


def test_the_command_line_imports_and_exports(original, tmp_path, monkeypatch):
    assert run(monkeypatch, "import", original, tmp_path / "shard.nc") == 0
    shard = neuronio.read(tmp_path / "shard.nc")
    assert shard.simulations == 2 and shard.attributes["backend"] == "published"
    assert run(monkeypatch, "export", tmp_path / "shard.nc", tmp_path / "back.p") == 0
    for before, after in zip(loaded(original), loaded(tmp_path / "back.p"), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_command_line_answers_a_mistake_in_one_line(original, tmp_path, monkeypatch, capfd):
    original.write_bytes(program(b"cos\nsystem\n", TOUCH, b"\x85R."))
    assert run(monkeypatch, "import", original, tmp_path / "shard.nc") == 2
    assert run(monkeypatch, "import", tmp_path / "absent.p", tmp_path / "shard.nc") == 2
    assert run(monkeypatch, "export", original, tmp_path / "back.p") == 2
    errors = [line for line in capfd.readouterr().err.splitlines() if "error: " in line]
    assert len(errors) == 3 and "published.p" in errors[0] and "'os.system'" in errors[0] and "absent.p" in errors[1]
    assert [file.name for file in tmp_path.iterdir()] == ["published.p"]
