"""The table of scores and the page, from small synthetic results, through their command lines."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sims import cross_check, neuronio
from tests import chromium
from workflow import study

PROJECT = Path(__file__).resolve().parents[2]
METRICS = {
    "loss": 0.1,
    "simulations": 3,
    "simulations_few_spikes": 2,
    "spikes": 12,
    "flops_per_step": 15_000,
    "parameters": {"trainable": 8002, "live": 7784, "printed": "8104"},
    **{
        f"{name}{suffix}": value
        for name, value in {
            "auc": 0.97,
            "voltage_rmse_mV": 0.9,
            "voltage_rmse_aligned_mV": 0.8,
            "variance_explained": 0.9,
        }.items()
        for suffix in ("", "_few_spikes")
    },
}
MODELS = study.models(
    {
        "splits": {"train": {"shards": 2, "simulations": 60, "seconds": 15}},
        "training": {"steps": 20, "seeds": [0]},
        "models": [
            {"name": "plain", "model": "branch_elm", "settings": {"d_m": 20}},
            {"name": "changed", "model": "branch_elm", "settings": {"d_m": 20, "d_tree": 35}},
            {"name": "short", "model": "branch_elm", "settings": {"d_m": 20}, "groups": ["curve_steps"]},
            {"name": "tree", "model": "branch_elm", "settings": {"d_brch": 65, "d_tree": 35}},
            {"name": "point", "model": "lif"},
        ],
    }
)
PAIRED = """model,other,metric,difference,low,high,seeds,other_seeds
point,plain,auc,-0.05,-0.06,-0.04,1,2
point,plain,auc_few_spikes,-0.0512,-0.0634,-0.0421,1,2
point,plain,voltage_rmse_mV_few_spikes,0.1,,,1,2
"""
COST = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"


@pytest.fixture
def table(tmp_path, run_module):
    """metrics.csv of MODELS, the first with two seeds."""
    folders = [tmp_path / name / "seed0" for name in ("plain", "changed", "short", "tree", "point")]
    folders.insert(1, tmp_path / "plain" / "seed1")
    for seed, folder in enumerate(folders):
        folder.mkdir(parents=True)
        auc = None if folder.parent.name == "changed" else METRICS["auc"] + 0.01 * seed
        (folder / "metrics.json").write_text(json.dumps(METRICS | {"seed": seed % 2, "auc": auc}))
        (folder / "history.csv").write_text("step,loss\n10,0.5\n20,0.4\n")
    published = PROJECT / "workflow" / "tables" / "published.csv"
    options = ("--published", published, "--models", json.dumps(MODELS), "--out", tmp_path / "metrics.csv")
    run_module("workflow.tables.metrics", *folders, *options)
    return tmp_path / "metrics.csv"


def test_the_papers_number_stands_only_beside_the_model_that_the_paper_describes(table):
    rows = pd.read_csv(table).groupby("name")["paper_auc"].agg(list)
    assert rows["plain"] == [0.9924, 0.9924] and rows["point"] == [0.9117] and rows["tree"] == [0.991]
    assert np.isnan([*rows["changed"], *rows["short"]]).all()


def test_a_row_says_what_was_fitted_and_for_what(table):
    rows = pd.read_csv(table).set_index("name")
    assert set(rows["steps"]) == {20} and set(rows["hours"]) == {0.5} and set(rows["flops_per_step"]) == {15_000}
    assert rows.loc["short", ["model", "groups"]].tolist() == ["branch_elm", "curve_steps"]


@pytest.fixture
def report(table, tmp_path, make_shard, run_module, data_card):
    """The page of a small study, and how many figures it was given."""
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "000.tsv").write_text(COST + "10\t0:00:10\t500\t0\t0\t0\t0\t0\t90\t9.5\n")
    neuronio.write(make_shard(simulations=2, duration_ms=1000, segments=20), tmp_path / "test" / "000.nc")
    data_card(tmp_path / "test" / "000.nc", out=tmp_path)
    voltage, spikes = np.full(1000, -70.0), np.array([400.0])
    compared = {"simulation": 2_000_000, **cross_check.compare(voltage, spikes, voltage + 1e-5, spikes + 3)}
    result = {"seconds": 1.0, "neuron": "9", "trials": [compared], "total": cross_check.total([compared])}
    (tmp_path / "cross_check.json").write_text(json.dumps(result))
    (tmp_path / "fit.tsv").write_text(COST + "0.1\t0:00:00\t-\t-\t-\t-\t-\t-\t-\t-\n")
    figures = [
        tmp_path / f"{name}.svg"
        for name in ("performance", "trace", "roc", "learning", "cell", "input_map", "rates", "statistics")
    ]
    for figure in figures:
        figure.write_text("<svg xmlns='http://www.w3.org/2000/svg' width='900' height='300'/>")
    (tmp_path / "paired.csv").write_text(PAIRED)
    (tmp_path / "note.yaml").write_text("description: a < b & <script>alert(1)</script>\n")
    configuration = yaml.safe_load((PROJECT / "workflow" / "config" / "default.yaml").read_text())
    run_module(
        "workflow.report.page",
        *("--out", tmp_path / "report.html", "--template", "workflow/report/report.html.jinja"),
        *("--configuration", json.dumps(configuration), "--summary", tmp_path / "note.yaml", "--metrics", table),
        *("--paired", tmp_path / "paired.csv"),
        *("--figures", *figures, "--card", tmp_path / "data_card.json", "--card-page", "data/neuronio/leaky/README.md"),
        *("--cross-check", tmp_path / "cross_check.json", "--equations", tmp_path / "note.yaml"),
        *("--costs", tmp_path / "train" / "000.tsv", tmp_path / "test" / "000.tsv", tmp_path / "fit.tsv"),
    )
    return tmp_path / "report.html", len(figures)


def test_the_page_carries_everything_and_asks_no_other_machine(report):
    path, figures = report
    page = path.read_text()
    assert page.count('<img src="data:image/svg+xml;base64,') == figures
    assert not re.search(r"""(?:src|href)=["'](?!data:)|@import|url\(""", page)
    assert "<script>" not in page
    assert "0.9750 ± 0.0071" in page and "0.9924" in page
    assert "data/neuronio/leaky/README.md" in page and "the cell is leaky and not cell1" in page
    assert "−0.0512" in page and "−0.0634 to −0.0421" in page and "– to –" in page
    headline, rest = page.split("Ablations and learning curves")
    assert "<td>tree</td>" in headline and "<td>short</td>" in rest and "<td>15,000</td>" in headline
    assert "1.0e−05" in page and "<td>2000000</td><td>395</td>" in page
    assert "leaky" in page and "prefers-color-scheme: dark" in page and "width=device-width" in page
    _Closed().feed(page)


def test_the_page_is_readable_on_a_phone_and_in_the_dark(report):
    """In a browser: nothing is asked of any machine, nothing complains, every image loads, and nothing is cut off."""
    if chromium.executable() is None:
        pytest.skip("no Chromium is installed")
    path, figures = report
    browser = chromium.Browser(path.parent / "profile")
    try:
        papers = set()
        for width, height, colours in ((1280, 900, "light"), (390, 844, "light"), (390, 844, "dark")):
            browser.appear(width, height, colours)
            browser.open(path.as_uri())
            browser.wait(
                f"document.readyState == 'complete' && document.images.length == {figures} && innerWidth == {width}"
            )
            browser.wait("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
            assert browser.value("document.documentElement.scrollWidth") <= width
            ink, paper = (
                browser.value(f"getComputedStyle(document.body).{name}") for name in ("color", "backgroundColor")
            )
            assert (brightness(ink) > brightness(paper)) == (colours == "dark")
            assert abs(brightness(ink) - brightness(paper)) > 0.5
            papers.add(paper)
        assert len(papers) == 2
        assert {address.split(":")[0] for address in browser.requested()} == {"file", "data"}
        assert not browser.complaints()
    finally:
        browser.close()


def brightness(colour):
    """Of a colour such as rgb(21, 24, 27), from 0 to 1."""
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 765


class _Closed(HTMLParser):
    """Fails where an element is closed that was not the last one opened."""

    EMPTY = {"meta", "link", "img", "br"}

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> after {self.open[-3:]}"
        self.open.pop()
