"""The figures of simulated networks in a real Chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headwater.theory.report import save_theory
from tests.browser import wait
from tests.needs import needs_browser
from tests.theory.simulated_table import story

pytestmark = [needs_browser, pytest.mark.slow]


def test_figures_of_simulated_networks_draw_in_one_page_with_no_warning(
    driver: Any, tmp_path: Path
) -> None:
    driver.get_log("browser")
    driver.get(save_theory(story(seeds=3), tmp_path / "theory.html")[0].as_uri())
    drawn = wait(driver, "return document.querySelector('#chart svg')?.textContent", 60)
    for title in (
        "Errors against the number of subclasses",
        "fine features against common ones",
        "Which features are learned",
        "strong noise",
        "it is a U",
    ):
        assert title.lower() in drawn.lower(), title
    assert (
        driver.execute_script(
            "return document.querySelectorAll('#chart svg .mark-symbol path').length"
        )
        > 50
    )
    assert [
        entry for entry in driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")
    ] == []
