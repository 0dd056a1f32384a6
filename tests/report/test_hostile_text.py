"""Text of data in pages and charts: shown, and obeyed by nobody."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pytest

from headwater.report.chart_page import chart_page
from headwater.report.figures import draw
from headwater.report.leaks_page import save_leaks
from headwater.report.page import render
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row
from tests.test_plain import HOSTILE, obeyed


def chart(text: str) -> dict[str, object]:
    return {
        "title": {"text": text},
        "data": {"values": [{"a": text, "b": 1}]},
        "mark": "bar",
        "encoding": {
            "x": {"field": "a", "type": "nominal", "title": text},
            "y": {"field": "b", "type": "quantitative"},
        },
    }


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_chart_of_any_text_is_drawn_and_holds_nothing_that_is_obeyed(text: str) -> None:
    """vl-convert ends the process at some control characters."""
    svg = draw(chart(text), "svg").decode()
    assert svg.startswith("<svg")
    assert not obeyed(svg.replace("\n", ""))


def test_a_page_shows_text_of_any_origin_and_obeys_none() -> None:
    """Title, question and notes, and in its data whatever a table may hold."""
    everything = "".join(HOSTILE.values())
    rows = to_frame([one_row(), one_row(cell="c1", seed=1)])
    page = render(rows, title=everything, question=everything, notes=[everything])
    before_scripts = page.split("<script", 1)[0]
    assert "\\x1b" in before_scripts
    assert not obeyed(before_scripts.replace("\n", ""))
    assert not obeyed(_data(page))


def _data(page: str) -> str:
    """All text that a page carries for its scripts."""
    packed = max(re.findall(r">([A-Za-z0-9+/=]{200,})<", page), key=len)
    return "".join(_texts(json.loads(gzip.decompress(base64.b64decode(packed)))))


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    return [text for item in value for text in _texts(item)] if isinstance(value, list) else []


def test_a_chart_page_holds_nothing_that_is_obeyed(tmp_path: Path) -> None:
    page = chart_page(chart(HOSTILE["an override"]), title=HOSTILE["a colour"])
    assert not obeyed(page.split("<script", 1)[0].replace("\n", ""))
    assert not obeyed(_data(page))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_page_of_leaks_shows_names_of_any_origin_and_obeys_none(
    text: str, tmp_path: Path
) -> None:
    hostile = f'{text}"><script>alert(1)</script>'
    pair = {"test": hostile, "source": hostile, "kind": "crop", "similarity": 0.9}
    record = {
        "source": hostile,
        "task": hostile,
        "images": 4,
        "test_images": 3,
        "equal_files": 0,
        "by_kind": {"pixels": 0, "hash": 0, "crop": 1},
        "num_flagged": 1,
        "share_flagged": 1 / 3,
        "shown": [pair | {"mirrored": False, "pngs": ["", ""]}],
    }
    facts = {"study": hostile, "pairs": [record], "own": [], "told": [hostile]}
    page = save_leaks(facts, tmp_path / "leaks.html").read_text(encoding="utf-8")
    before_scripts = page.split('<script type="application/gzip"', 1)[0]
    assert "<script>alert" not in page and "&lt;script&gt;" in before_scripts
    assert not obeyed(before_scripts.replace("\n", ""))
