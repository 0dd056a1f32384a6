"""What stands in a page before a browser draws it: its parts, its anchors, what it opens on."""

from __future__ import annotations

import re
import time
from typing import Any

import numpy as np
import pytest

from headwater.analysis import decide, prepare, summarise
from headwater.analysis.configurations import main_metric
from headwater.analysis.gap import source_gap
from headwater.report.arms import arm_lines, colours_by_name
from headwater.report.chart_page import chart_page
from headwater.report.charts import panels
from headwater.report.opening import opening, setting_words
from headwater.report.page import render
from headwater.report.shell import anchors
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row, synthetic_rows
from tests.report.test_page import data_of

ROWS = synthetic_rows(seeds=2, tasks=("birds", "scenes"), shots=(5, None), draws=1)


def leaf(title: Any = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "data": {"values": [{"x": 1}]},
        "width": 300,
        "mark": "point",
        "encoding": {"x": {"field": "x", "type": "quantitative"}},
    }
    return spec if title is None else spec | {"title": title}


def test_a_composed_chart_becomes_sections_of_figures_with_what_it_says_as_text() -> None:
    caption = {
        "data": {"values": [{}]},
        "mark": {"type": "text", "text": ["It falls", "and falls."]},
    }
    spec = {
        "title": {"text": "Whole", "subtitle": "how to read it"},
        "vconcat": [
            {"title": {"text": "First", "subtitle": ["a", "b"]}, "hconcat": [leaf("one"), leaf()]},
            caption,
            leaf({"text": "Second", "subtitle": "c"}) | {"description": "two"},
            {"concat": [leaf({"text": "three", "subtitle": ["at k = 1"]})]},
        ],
    }
    page = chart_page(spec, title="Whole")
    assert re.findall(r"<h2.*?>([^<>]+)</a>", page) == ["First", "Second"]
    assert re.findall(r"<figcaption><span>(.*?)</span>", page) == ["one", "First", "two", "three"]
    said = re.findall(r'<p class="(?:reading|question)">(.*?)</p>', page)
    assert said == ["how to read it", "a", "b", "It falls and falls.", "c", "at k = 1"]
    drawn = [panel["spec"] for panel in data_of(page)["panels"]]
    assert len(drawn) == 4
    assert all("width" not in spec and "title" not in spec for spec in drawn)


def test_anchors_are_made_of_names_alone_and_are_unique_in_any_order() -> None:
    names = ["c d", "a b", "A  b", "a-b", "·", "é", "写真", "", "a b"]
    named_as_a_digest = anchors("arm", names)["é"].removeprefix("arm-")
    names.append(named_as_a_digest)
    made = anchors("arm", names)
    assert made["c d"] == "arm-c-d" and len(set(made.values())) == len(set(names)) == len(made)
    assert all(re.fullmatch(r"arm(-[a-z0-9]+)+", anchor) for anchor in made.values())
    assert anchors("arm", reversed(names)) == made
    alone = anchors("arm", ["写真", "z"])
    assert alone["写真"] == made["写真"], "whatever else is in the report"


def test_anchors_of_many_names_that_are_alike_take_no_time() -> None:
    began = time.perf_counter()
    assert len(set(anchors("arm", map(chr, range(0x4E00, 0x8E00))).values())) == 0x4000
    assert time.perf_counter() - began < 5


@pytest.mark.slow
def test_ids_of_a_page_are_unique_whatever_arms_and_charts_are_called() -> None:
    rows = synthetic_rows(seeds=2, sources=("photos", "pho tos", "PHOTOS"), shots=(5,), draws=1)
    ids = re.findall(r'\sid="([^"]+)"', render(rows, title="T").split("<script", 1)[0])
    assert len(ids) > 30 and len(ids) == len(set(ids))


@pytest.mark.slow
def test_every_link_within_a_page_leads_somewhere() -> None:
    page = render(ROWS, title="T").split("<script", 1)[0]
    links = set(re.findall(r'href="#([^"]+)"', page))
    assert len(links) > 20 and links <= set(re.findall(r'\sid="([^"]+)"', page))


def test_a_page_opens_on_the_decisions_protocol_shots_and_tasks() -> None:
    decision = decide(ROWS)
    shown = opening(summarise(ROWS), decision, main_metric(prepare(ROWS)))
    assert (shown["protocol"], shown["shots"]) == ("finetune", "all")
    assert shown["tasks"] == list(decision.tasks) and shown["metric"] == "top1"
    assert shown["order"]["shots"] == ["5", "all"]
    assert shown["order"]["metric"][0] == "top1"
    assert setting_words(decision).startswith("Measured by finetune with all images on ")


@pytest.mark.parametrize("rows", [[], [one_row(status="failed", value=None, reason="oom")]])
def test_a_page_without_a_decision_opens_on_what_there_is(rows: list[dict[str, Any]]) -> None:
    table = prepare(to_frame(rows))
    shown = opening(summarise(table), decide(table), main_metric(table))
    assert shown["protocol"] == ("finetune" if rows else "")
    assert setting_words(decide(table)) == ""


def test_the_table_of_arms_says_what_the_decision_says_of_each() -> None:
    decision, colours = decide(ROWS), colours_by_name(summarise(ROWS))
    names = [*decision.means, "not measured"]
    lines = arm_lines(decision, colours, anchors("arm", names))
    assert [line.name for line in lines] == names
    assert lines[0].said == "leads" and lines[0].behind == "0.0" and not lines[0].interval
    for line in lines[1:-1]:
        lead, low, high = decision.behind[line.name]
        assert line.behind == f"{100 * lead:.1f}"
        assert line.interval == f"{100 * low:.1f} to {100 * high:.1f}"
        assert line.mean == f"{100 * decision.means[line.name]:.1f}"
        assert ("could be the best" in line.said) == (line.name in decision.shortlist)
        assert line.chance == f"{100 * decision.p_best[line.name]:.0f}"
    assert lines[-1].said == "not in the verdict: not measured in its setting"
    assert lines[-1].mean == ""


@pytest.mark.slow
def test_a_gap_that_one_seed_alone_measured_has_no_interval_and_is_drawn() -> None:
    """Of three sources on two seeds one lost a seed: no noise is known, and none is infinite."""
    rows = synthetic_rows(seeds=2, sources=("a", "b", "c"), shots=(5,), draws=1)
    gaps = source_gap(prepare(rows))
    assert not np.isinf(gaps[["low", "high"]].to_numpy(dtype=float)).any()
    alone = gaps[gaps["num_seeds"] == 1]
    assert len(alone) and alone[["low", "high"]].isna().all(axis=None)
    values = [value for panel in panels(rows) for value in panel.spec["data"]["values"]]
    assert any(value.get("spread") == "one seed: no interval" for value in values)
