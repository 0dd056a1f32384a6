"""Every page that Headwater writes, in a real Chromium: wide and on a phone, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import (
    asked,
    empty_sections,
    marks_outside,
    opened,
    pages_on_paper,
    reset,
    running_out,
    said,
    violations,
)
from tests.needs import needs_axe, needs_browser
from tests.report.pages import CHARTLESS, PAGES, QUICK

pytestmark = needs_browser

LOOKS = [(width, scheme) for width in (1440, 360) for scheme in ("light", "dark")]
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow, id=name) for name in PAGES
]
SMALL = ("report-one-arm", "labels-one-view", "leaks")
"""For axe, which takes long on long pages."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Writes a page when it is first asked for."""
    folder = tmp_path_factory.mktemp("pages")

    def page(name: str) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            PAGES[name](path)
        return path

    return page


@pytest.fixture
def seen(driver: Any) -> Iterator[Any]:
    yield driver
    reset(driver)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_opens_whole_and_asks_nothing(name: str, seen: Any, written: Any) -> None:
    """No error, no request, no empty section, no mark outside its axis, nothing that runs out."""
    page = written(name)
    for width, scheme in LOOKS[1:3] if name in QUICK else LOOKS:
        opened(seen, page, width=width, scheme=scheme)
        assert said(seen) == [], (width, scheme)
        assert asked(seen) == {page.as_uri()}, (width, scheme)
        assert empty_sections(seen) == [], (width, scheme)
        assert running_out(seen) == [], (width, scheme)
        number, outside = marks_outside(seen)
        assert outside == [], (width, scheme)
        assert (number > 0) == (name not in CHARTLESS)


@needs_axe
@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_axe_finds_no_violation(
    name: str, width: int, scheme: str, seen: Any, written: Any
) -> None:
    opened(seen, written(name), width=width, scheme=scheme)
    assert violations(seen) == []


@pytest.mark.slow
@needs_axe
@pytest.mark.parametrize("name", SMALL)
def test_axe_finds_no_violation_in_small_pages(name: str, seen: Any, written: Any) -> None:
    for width, scheme in LOOKS[1:3]:
        opened(seen, written(name), width=width, scheme=scheme)
        assert violations(seen) == [], (width, scheme)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_page_prints_on_three_pages_or_fewer(name: str, seen: Any, written: Any) -> None:
    opened(seen, written(name))
    assert pages_on_paper(seen) <= 3


@needs_axe
def test_axe_finds_a_fault_that_is_there(seen: Any, written: Any) -> None:
    opened(seen, written("labels-one-view"))
    seen.execute_script("document.querySelector('h1').style.color = '#bbb'")
    assert any("color-contrast" in fault for fault in violations(seen))


def test_a_mark_outside_its_axis_is_found(seen: Any, written: Any) -> None:
    opened(seen, written("labels-one-view"))
    seen.execute_script(
        """const walk = (mark) => mark.items.forEach((item) =>
             mark.marktype === 'symbol' && mark.role === 'mark' ? item.x = -20
               : (item.items || []).forEach(walk));
           walk(document.querySelector('figure').view.scenegraph().root);"""
    )
    assert marks_outside(seen)[1]


def test_what_runs_out_and_what_is_empty_is_found(seen: Any, written: Any) -> None:
    opened(seen, written("labels-one-view"), width=360)
    seen.execute_script(
        """const wide = document.createElement('section');
           wide.style.width = '500px';
           wide.innerHTML = '<h2>Empty</h2>';
           document.querySelector('main').append(wide);"""
    )
    assert any("Empty" in each for each in running_out(seen))
    assert empty_sections(seen) == ["Empty"]
