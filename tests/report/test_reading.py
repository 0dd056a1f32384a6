"""Reading a report in a real Chromium: menus, sorting, files of charts and tables, links, and the
rows by keyboard.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.analysis import Aim, decide, prepare, summarise
from headwater.report import write_report
from headwater.rows import inert
from tests.analysis.synthetic import one_row, synthetic_rows
from tests.browser import draw_all, wait
from tests.needs import needs_browser

pytestmark = [needs_browser, pytest.mark.slow]

SOURCES = ("photos", '=HYPERLINK("http://x")')
ROWS = synthetic_rows(seeds=2, sources=SOURCES, tasks=("birds", "scenes"), shots=(5, None), draws=1)
ONE_OF_EACH = ROWS[
    ~((ROWS["protocol"] == "finetune") & (ROWS["shots"].notna() | (ROWS["task"] == "birds")))
]
"""Fine-tuning was measured with all images on scenes alone; the probe with both on both."""
SUMMARY = "[...document.querySelectorAll('#summary tbody tr')]"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def report(driver: Any, downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(ONE_OF_EACH, path, title="Reading")
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
    )
    show(driver, path)
    return path


def show(driver: Any, path: Path, fragment: str = "") -> None:
    driver.get("about:blank")
    driver.get(path.as_uri() + fragment)
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")


def options(driver: Any, menu: str) -> list[str]:
    return list(
        driver.execute_script(
            f"return [...document.getElementById('choose-{menu}').options].map((o) => o.text)"
        )
    )


def choose(driver: Any, menu: str, word: str) -> None:
    driver.execute_script(
        """const menu = document.getElementById('choose-' + arguments[0]);
           menu.value = [...menu.options].find((o) => o.text === arguments[1]).value;
           menu.dispatchEvent(new Event('change'));""",
        menu,
        word,
    )


def column(driver: Any, table: str, place: int) -> list[str]:
    return list(
        driver.execute_script(
            f"return [...document.querySelectorAll('{table} tbody tr')]"
            f".map((row) => row.cells[{place}].textContent)"
        )
    )


def downloaded(folder: Path, clicked: Callable[[], object]) -> Path:
    """The one file that a click brings."""
    before = set(folder.iterdir())
    clicked()
    end = time.monotonic() + 10
    while time.monotonic() < end:
        new = [path for path in set(folder.iterdir()) - before if path.suffix != ".crdownload"]
        if new and new[0].stat().st_size:
            return new[0]
        time.sleep(0.05)
    raise AssertionError("nothing was downloaded")


def click(driver: Any, label: str) -> Callable[[], object]:
    script = "document.querySelector(`button[aria-label='${arguments[0]}']`).click()"
    return lambda: driver.execute_script(script, label)


def test_it_opens_on_the_setting_of_the_verdict(driver: Any, report: Path) -> None:
    decision = decide(ONE_OF_EACH)
    assert (decision.protocol, decision.shots, decision.tasks) == ("finetune", (-1,), ("scenes",))
    chosen = driver.execute_script(
        "return ['protocol', 'shots', 'task'].map((name) => {"
        "const menu = document.getElementById('choose-' + name);"
        "return menu.options[menu.selectedIndex].text})"
    )
    assert chosen == ["finetune", "all", "scenes"]
    shown = driver.execute_script(
        "return [...document.querySelectorAll('section.charts:not([hidden])')]"
        ".map((section) => section.querySelectorAll('figure:not([hidden])').length)"
    )
    assert shown and all(shown)


def test_menus_offer_what_was_measured_and_nothing_else(driver: Any, report: Path) -> None:
    """Every path through the menus, against the settings of the rows."""
    show(driver, report)
    measured = {
        (str(row.protocol), "all" if pd.isna(row.shots) else str(row.shots), str(row.task))
        for row in summarise(ONE_OF_EACH).itertuples()
    }
    offered = set()
    for protocol in options(driver, "protocol"):
        choose(driver, "protocol", protocol)
        for shots in options(driver, "shots"):
            choose(driver, "shots", shots)
            for task in options(driver, "task"):
                choose(driver, "task", task)
                assert driver.execute_script(f"return {SUMMARY}.length") > 0
                if not task.startswith("all "):
                    offered.add((protocol, shots, task))
    assert offered == measured


def test_a_choice_that_was_not_measured_gives_way(driver: Any, report: Path) -> None:
    show(driver, report)
    choose(driver, "protocol", "probe")
    choose(driver, "shots", "5")
    choose(driver, "task", "birds")
    choose(driver, "protocol", "finetune")
    assert driver.execute_script(f"return {SUMMARY}.map((r) => r.dataset.shots)[0]") == "all"
    assert set(column(driver, "#summary", 1)) == {"scenes"}


@pytest.mark.parametrize("aim", [Aim(protocol="probe", shots=(5, -1)), Aim(protocol="probe")])
def test_a_verdict_over_several_shots_opens_on_all_of_them(
    driver: Any, tmp_path: Path, aim: Aim
) -> None:
    path = write_report(ONE_OF_EACH, tmp_path / "r.html", title="T", aim=aim)
    show(driver, path)
    shots = driver.execute_script(f"return [...new Set({SUMMARY}.map((r) => r.dataset.shots))]")
    assert set(shots) == {"5", "all"}
    assert options(driver, "shots")[0] == "the verdict's: 5, all"


def test_numbers_are_sorted_by_a_heading_with_the_keyboard(driver: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(driver, report)
    choose(driver, "protocol", "probe")
    heading = "#summary th:nth-child(5)"
    button = driver.find_element("css selector", f"{heading} button")
    for state, falling in (("descending", True), ("ascending", False)):
        button.send_keys(Keys.ENTER)
        assert (
            driver.execute_script(
                f"return document.querySelector('{heading}').getAttribute('aria-sort')"
            )
            == state
        )
        means = [float(text.split()[0]) for text in column(driver, "#summary", 4)]
        assert len(means) > 10 and means == sorted(means, reverse=falling)
    others = driver.execute_script(
        "return [...document.querySelectorAll('#summary th[aria-sort]')]"
        ".filter((head) => head.ariaSort !== 'none').length"
    )
    assert others == 1


def test_all_arms_are_sorted_by_their_numbers_with_what_is_missing_last(
    driver: Any, tmp_path: Path
) -> None:
    rows = [one_row(cell=f"{k}{s}", seed=s, labels=f"level:{k}", value=v + 0.01 * s * (k + 1))
            for s in range(3) for k, v in enumerate((0.5, 0.09, 0.7))]  # fmt: skip
    rows.append(one_row(cell="x", labels="level:3", status="failed", value=None, reason="oom"))
    show(driver, write_report(pd.DataFrame(rows), tmp_path / "r.html", title="T"))
    script = "document.querySelector('table.whole th:nth-child(2) button').click()"
    driver.execute_script(script)
    assert [text[:2] for text in column(driver, "table.whole", 1)] == ["73", "51", "11", ""]
    driver.execute_script(script)
    assert [text[:2] for text in column(driver, "table.whole", 1)] == ["11", "51", "73", ""]
    assert "not in the verdict" in column(driver, "table.whole", 5)[-1]


def test_the_csv_of_the_rows_is_their_table_with_formulas_made_inert(
    driver: Any, report: Path, downloads: Path
) -> None:
    show(driver, report)
    path = downloaded(downloads, click(driver, "Download these rows as CSV"))
    written = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert len(written) == len(ONE_OF_EACH)
    table = inert(prepare(ONE_OF_EACH))
    for name in ("cell", "source", "task", "method", "reason"):
        assert sorted(written[name]) == sorted(table[name].fillna("").astype(str))
    assert "'" + SOURCES[1] in set(written["source"])
    numbers = pd.to_numeric(written["value"]).dropna()
    assert sorted(numbers) == sorted(ONE_OF_EACH["value"].dropna())


def test_the_csv_of_numbers_and_arms_holds_what_is_shown(
    driver: Any, report: Path, downloads: Path
) -> None:
    show(driver, report)
    shown = [text.split()[0] for text in column(driver, "#summary", 4)]
    path = downloaded(downloads, click(driver, "Download the numbers of this choice as CSV"))
    numbers = pd.read_csv(path)
    assert [f"{mean:.1f}" for mean in numbers["mean_percent"]] == shown
    assert set(numbers["protocol"]) == {"finetune"}
    arms = pd.read_csv(downloaded(downloads, click(driver, "Download all arms as CSV")))
    assert arms["arm"].tolist() == column(driver, "table.whole", 0)


def test_the_page_makes_inert_what_rows_make_inert(driver: Any, report: Path) -> None:
    texts = [
        "=1",
        "+1",
        "-1.5e3",
        "'=1",
        "@a",
        "\ta",
        "plain",
        "''+x",
        "'+5",
        "a,b",
        'q"q',
        "-",
        "",
    ]
    show(driver, report)
    table = "<table class=whole><thead><tr><th>a</th></tr></thead><tbody></tbody></table>"
    told = driver.execute_script(
        """const scripts = [...document.scripts].map((s) => s.textContent);
           const text = scripts[scripts.length - 1];
           const from = text.indexOf('const runs ='), to = text.indexOf('const csv =');
           return text.slice(from, to)"""
    )
    assert table and "isNumber" in told
    # the page's policy runs no text as code, so its own function is run in a page without one
    driver.get("about:blank")
    written = driver.execute_script(f"{told}; return arguments[0].map(field)", texts)
    expected = inert(pd.DataFrame({"a": texts}))["a"]
    assert [pd.NA if text == "" else _unquoted(text) for text in written] == [
        pd.NA if text == "" else text for text in expected
    ]


def _unquoted(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def test_a_chart_is_downloaded_as_svg_png_and_csv(
    driver: Any, report: Path, downloads: Path
) -> None:
    show(driver, report)
    draw_all(driver)
    label = "Download Accuracy of each arm: scenes (finetune, all images) as "
    svg = downloaded(downloads, click(driver, label + "SVG")).read_text()
    assert svg.startswith("<svg") and "Accuracy of each arm: scenes" in svg and "simclr" in svg
    png = downloaded(downloads, click(driver, label + "PNG")).read_bytes()
    assert png.startswith(b"\x89PNG") and len(png) > 5000
    numbers = pd.read_csv(downloaded(downloads, click(driver, label + "CSV")))
    summary = summarise(ONE_OF_EACH)
    means = summary[(summary["protocol"] == "finetune") & (summary["metric"] == "top1")
                    & (summary["subset"] == "all")]["mean"]  # fmt: skip
    assert sorted(numbers["right, %"].round(2)) == sorted((100 * means.astype(float)).round(2))
    assert driver.execute_script("return document.querySelectorAll('.offscreen').length") == 0


def test_the_numbers_of_a_chart_open_as_a_table_under_it(driver: Any, report: Path) -> None:
    show(driver, report)
    driver.execute_script("document.querySelector('figure:not([hidden]) summary').click()")
    rows = wait(
        driver,
        "return [...document.querySelectorAll('figure:not([hidden]) .numbers tbody tr')]"
        ".map((r) => r.cells[0].textContent)",
    )
    assert "simclr \u00b7 photos" in rows and len(rows) == 15


def test_a_buttons_count_is_what_it_shows(driver: Any, report: Path) -> None:
    show(driver, report)
    buttons = driver.execute_script(
        "return [...document.querySelectorAll('button.trace:not([hidden])')].map((button) => {"
        "button.click(); return [button.textContent,"
        " document.getElementById('found').textContent]})"
    )
    assert len(buttons) > 20
    for count, found in buttons:
        assert found.startswith(count + " "), (count, found)


def test_every_section_of_the_contents_is_there_and_links_to_itself(
    driver: Any, report: Path
) -> None:
    show(driver, report)
    targets = driver.execute_script(
        "return [...document.querySelectorAll('.contents li:not([hidden]) a')]"
        ".map((link) => [link.hash, document.querySelector(link.hash)?.tagName || null])"
    )
    assert {"#numbers", "#arms", "#rows", "#chart-accuracy", "#findings"} <= {
        each[0] for each in targets
    }
    assert all(tag is not None for _, tag in targets)
    orders = driver.execute_script(
        "return [...document.querySelectorAll('.contents li:not([hidden]) a')]"
        ".map((link) => document.querySelector(link.hash).getBoundingClientRect().top)"
    )
    assert orders == sorted(orders)


def test_an_arm_and_a_cell_have_links_that_hold(driver: Any, report: Path) -> None:
    show(driver, report, "#arm-simclr-photos")
    arm = "return document.querySelector(':target').cells[0].textContent"
    assert driver.execute_script(arm) == "simclr \u00b7 photos"
    cell = str(ONE_OF_EACH["cell"].iloc[7])
    show(driver, report, f"#cell-{cell}")
    rows = ONE_OF_EACH[ONE_OF_EACH["cell"] == cell]
    assert set(column(driver, "#explorer", 0)) >= {prepare(rows)["name"].iloc[0]}
    found = driver.execute_script("return document.getElementById('found').textContent")
    assert found == f"{len(rows)} row{'s' * (len(rows) > 1)} of cell {cell}"
    assert cell in driver.execute_script(
        "return document.querySelector('#explorer .open').textContent"
    )
    show(driver, report, "#cell-nowhere")
    found = driver.execute_script("return document.getElementById('found').textContent")
    assert found == "This page holds no cell nowhere"


def test_rows_are_read_with_the_keyboard_alone(driver: Any, report: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    show(driver, report)
    driver.execute_script("document.querySelector('button.row').focus()")

    def press(key: str) -> None:
        driver.switch_to.active_element.send_keys(key)

    def at() -> int:
        return int(
            driver.execute_script(
                "return [...document.querySelectorAll('button.row')]"
                ".indexOf(document.activeElement)"
            )
        )

    for key, place in ((Keys.ARROW_DOWN, 1), (Keys.ARROW_DOWN, 2), (Keys.ARROW_UP, 1),
                       (Keys.END, 49), (Keys.HOME, 0)):  # fmt: skip
        press(key)
        assert at() == place
    press(Keys.ENTER)
    opened = "return document.activeElement.getAttribute('aria-expanded')"
    assert driver.execute_script(opened) == "true"
    assert driver.execute_script("return document.querySelectorAll('#explorer .open').length") == 1
    press(Keys.ENTER)
    assert driver.execute_script(opened) == "false"


def test_all_rows_can_be_reached_page_by_page(driver: Any, report: Path) -> None:
    show(driver, report)
    seen = 0
    while True:
        seen += len(column(driver, "#explorer", 0))
        if driver.execute_script("return document.getElementById('on').disabled"):
            break
        driver.execute_script("document.getElementById('on').click()")
    assert seen == len(ONE_OF_EACH)


def test_rows_are_sorted_over_all_pages(driver: Any, report: Path) -> None:
    show(driver, report)
    driver.execute_script("document.querySelector('#explorer th:nth-child(9) button').click()")
    best = ONE_OF_EACH["value"].max()
    assert column(driver, "#explorer", 8)[0] == f"{100 * best:.1f} %"
