"""The report in a real Chromium: it must draw, under its own strict policy, and ask nothing of any
network.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from headwater.report import write_report
from tests.analysis.synthetic import synthetic_rows
from tests.browser import asked, draw_all, said, wait
from tests.needs import needs_browser

pytestmark = needs_browser


@pytest.fixture(scope="module")
def report(driver: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = synthetic_rows(
        seeds=2, sources=("photos", "</script><b>x</b>"), shots=(5, None), draws=1
    )
    path = write_report(
        rows, tmp_path_factory.mktemp("report") / "report.html", title="Photos or <b>sketches</b>?"
    )
    driver.get(path.as_uri())
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    return path


@pytest.mark.slow
def test_all_charts_are_drawn_with_marks_that_have_a_size(driver: Any, report: Path) -> None:
    draw_all(driver)
    kinds = driver.execute_script(
        """return [...document.querySelectorAll('section.charts')].map((section) => {
             const shown = 'figure:not([hidden]) svg .mark-symbol.role-mark path';
             const marks = [...section.querySelectorAll(shown)];
             const sized = marks.every((m) => m.getBoundingClientRect().width > 0);
             return [section.dataset.kind, marks.length, sized];
           })"""
    )
    assert {k for k, _, _ in kinds} == {"accuracy", "granularity", "gap", "shots"}
    assert all(number > 10 and sized for _, number, sized in kinds), kinds


@pytest.mark.slow
def test_no_chart_or_text_is_wider_than_the_page(driver: Any, report: Path) -> None:
    for width in (1280, 390):
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        assert driver.execute_script(
            "return document.documentElement.scrollWidth <= window.innerWidth"
        ), width
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_a_tooltip_shows_the_number_under_the_pointer(driver: Any, report: Path) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    draw_all(driver)
    mark = driver.find_elements(
        By.CSS_SELECTOR,
        "section[data-kind=accuracy] figure:not([hidden]) .mark-symbol.role-mark path",
    )[4]
    driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", mark)
    ActionChains(driver).move_to_element(mark).perform()
    text = wait(
        driver,
        "const t = document.querySelector('#vg-tooltip-element.visible'); return t && t.innerText",
    )
    name, mean = driver.execute_script(
        "const value = arguments[0].__data__.datum; return [value.name, value.mean.toFixed(1)]",
        mark,
    )
    assert name in text and mean in text and "seeds" in text


@pytest.mark.slow
def test_the_choice_of_protocol_changes_charts_and_numbers(driver: Any, report: Path) -> None:
    count = (
        "return [...document.querySelectorAll('#summary tbody tr')].filter((r) => "
        "r.dataset.protocol === '{}').length"
    )
    choose = (
        "const s = document.getElementById('choose-protocol'); s.value = '={}'; "
        "s.dispatchEvent(new Event('change'))"
    )
    driver.execute_script(choose.format("probe"))
    assert (
        driver.execute_script(count.format("finetune")) == 0
        and driver.execute_script(count.format("probe")) == 15 * 4
    )
    draw_all(driver)
    driver.execute_script(choose.format("finetune"))


@pytest.mark.slow
def test_a_number_leads_to_its_rows_and_the_search_narrows_them(driver: Any, report: Path) -> None:
    driver.execute_script(
        "[...document.querySelectorAll('#summary tbody tr')].find((r) => "
        "!r.hidden).querySelector('button').click()"
    )
    assert driver.execute_script("return document.getElementById('found').textContent").endswith(
        "rows behind that number"
    )
    cells = driver.execute_script(
        "return new Set([...document.querySelectorAll('#explorer tbody tr')].map((r) => "
        "r.lastChild.textContent)).size"
    )
    assert cells == 2  # two seeds at full size
    driver.execute_script("document.getElementById('clear').click()")
    driver.execute_script(
        "const s = document.getElementById('search'); s.value = 'failed'; s.dispatchEvent(new "
        "Event('input'))"
    )
    wait(driver, "return document.getElementById('found').textContent.startsWith('3 rows')")
    driver.execute_script("document.querySelector('#explorer tbody tr').click()")
    assert "out of memory" in driver.execute_script(
        "return document.querySelector('#explorer .open').innerText"
    )


@pytest.mark.slow
def test_markup_in_names_is_text_in_the_page(driver: Any, report: Path) -> None:
    assert (
        driver.execute_script("return document.querySelector('h1').textContent")
        == "Photos or <b>sketches</b>?"
    )
    assert driver.execute_script("return document.querySelectorAll('h1 b, td b b').length") == 0


@pytest.mark.slow
def test_a_dark_page_redraws_its_charts_in_light_ink(driver: Any, report: Path) -> None:
    inks = (
        "return [...document.querySelectorAll('figure:not([hidden]) svg .role-axis-label "
        "text')].map((t) => t.getAttribute('fill').toLowerCase())"
    )
    driver.execute_script("document.querySelector('section.charts').scrollIntoView()")
    wait(driver, inks + ".includes('#1f2933')")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    wait(driver, inks + ".includes('#e6e8eb')")
    driver.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "light"}]},
    )
    # the page hears of it in its own time, and what it then draws is what the next test looks at
    light = f"const inks = (() => {{ {inks} }})(); return inks.length > 0 && !inks.includes"
    wait(driver, light + "('#e6e8eb')")


@pytest.mark.slow
def test_a_scheme_that_changes_while_charts_are_drawn_leaves_the_last_ones_ink(
    driver: Any, report: Path
) -> None:
    driver.get(report.as_uri())
    for scheme in ("dark", "light"):
        driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    draw_all(driver)
    inks = driver.execute_script(
        "return [...document.querySelectorAll('figure:not([hidden]) svg .role-axis-label text')]"
        ".map((t) => t.getAttribute('fill').toLowerCase())"
    )
    assert inks and set(inks).isdisjoint({"#e6e8eb"})


@pytest.mark.slow
def test_nothing_went_wrong_and_nothing_was_asked_of_a_network(driver: Any, report: Path) -> None:
    """Runs last: the logs hold all that the tests above did."""
    draw_all(driver)
    assert said(driver) == []
    assert asked(driver) == {report.as_uri()}


@pytest.mark.slow
def test_a_chart_of_label_views_draws_in_a_page_of_its_own(driver: Any, tmp_path: Path) -> None:
    from headwater.report import save_label_chart

    against = {
        "target": "t",
        "nesting": 1.0,
        "nesting_by_chance": 0.5,
        "nmi": 1.0,
        "expected": "finer",
        "reason": "why",
    }
    view = {
        "view": "level:0",
        "classes": 9,
        "smallest": 1,
        "median": 5.0,
        "largest": 9,
        "singletons": 0,
        "note": None,
        "against": [against],
    }
    source = {
        "source": "</script><b>x</b>",
        "targets": [{"target": "t", "classes": 2}],
        "views": [view],
    }
    driver.get_log("browser")
    driver.get(
        save_label_chart({"study": None, "sources": [source]}, tmp_path / "chart.html").as_uri()
    )
    assert "level:0" in wait(driver, "return document.querySelector('.chart svg')?.textContent")
    assert not driver.execute_script("return document.querySelectorAll('b').length")
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.slow
def test_gains_on_hard_and_easy_samples_draw_in_a_page_of_their_own(
    driver: Any, tmp_path: Path
) -> None:
    from headwater.analysis import read_answers
    from headwater.report import hardness_settings, save_hardness

    answers = read_answers(
        Path(__file__).parents[2] / "docs" / "results" / "hardness_answers.parquet"
    )
    driver.get_log("browser")
    facts = {"study": "photos", "hard_share": None, "settings": hardness_settings(answers)}
    driver.get(save_hardness(facts, tmp_path / "hardness.html").as_uri())
    drawn = wait(driver, "return document.querySelector('.chart svg')?.textContent")
    assert "grocery-43" in drawn and "world-2" in drawn
    assert [
        entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []


@pytest.mark.slow
def test_a_page_of_a_part_says_how_many_of_a_numbers_cells_it_holds(
    driver: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater.report import embedded, page

    for module in (embedded, page):
        monkeypatch.setattr(module, "MOST_ROWS", 100)
    rows = synthetic_rows(seeds=2, shots=(5,), draws=2)
    driver.get(write_report(rows, tmp_path / "report.html", title="A part").as_uri())
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    driver.execute_script("document.querySelector('.verdict button.trace').click()")
    found = driver.execute_script("return document.getElementById('found').textContent")
    held, of_all = map(int, re.findall(r"this page holds (\d+) of its (\d+) cells", found)[0])
    assert 0 < held < of_all
    cells = driver.execute_script(
        "return new Set([...document.querySelectorAll('#explorer tbody tr')].map((r) => "
        "r.lastChild.textContent)).size"
    )
    assert cells == held
    link = driver.execute_script("return document.querySelector('#part a').href")
    assert link == (tmp_path / "report.rows.parquet").as_uri()


@pytest.mark.slow
def test_an_address_that_is_no_encoded_text_breaks_no_page(driver: Any, tmp_path: Path) -> None:
    rows = synthetic_rows(seeds=2, shots=(5,), draws=1)
    page = write_report(rows, tmp_path / "report.html", title="An address").as_uri()
    for end in ("#%", "#cell-%"):
        driver.get("about:blank")
        driver.get(page + end)
        wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    found = driver.execute_script("return document.getElementById('found').textContent")
    assert found == "This page holds no cell %"
