"""The figures of simulated networks in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.theory.report import save_theory
from tests.browser import draw_all, wait
from tests.needs import needs_browser
from tests.theory.simulated_table import story

pytestmark = [needs_browser, pytest.mark.slow]


def test_figures_of_simulated_networks_draw_in_one_page_with_no_warning(
    driver: Any, tmp_path: Path
) -> None:
    driver.get_log("browser")
    driver.get(save_theory(story(seeds=3), tmp_path / "theory.html")[0].as_uri())
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    draw_all(driver)
    shown = driver.execute_script("return document.querySelector('main').innerText")
    for title in (
        "Errors against the number of subclasses",
        "fine features against common ones",
        "Which features are learned",
        "by number of subclasses and noise",
        "it is a U",
    ):
        assert title.lower() in shown.lower(), title
    marks = "return document.querySelectorAll('.chart svg .mark-symbol.role-mark path').length"
    assert driver.execute_script(marks) > 50
    assert [
        entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []
