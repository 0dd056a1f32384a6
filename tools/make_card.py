"""Draws docs/card.png, the decision card of a report, and docs/report.png, the page from its top,
from committed rows: python tools/make_card.py

It needs Chromium and its driver (Debian: chromium, chromium-driver).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from headwater.facts.decisions import aim_of
from headwater.report import write_report
from headwater.rows import read_rows
from headwater.study import Study

ROOT = Path(__file__).parents[1]
NAME = "grocery"
CARD, TOP = ROOT / "docs" / "card.png", ROOT / "docs" / "report.png"
WIDTH, HEIGHT = 1000, 1700
HIDE = """
for (const part of document.querySelectorAll(".grounds, .small")) {
  const above = part.previousElementSibling;
  if (above?.textContent.trim() === "Why") above.remove();
  part.remove();
}
"""
"""The grounds are text; the picture ends with what to run next."""
TO_THE_CHARTS = "document.querySelector('figure:not([hidden])').scrollIntoView()"
"""Charts are drawn when they come into sight."""
DRAWN = "return document.querySelector('figure:not([hidden]) :is(svg, canvas)') !== null"
COLOURS = 128
"""A page of few colours needs no more, and is a third of the size."""


def page(folder: Path) -> Path:
    """The report of the study whose card is shown."""
    study = Study.load(ROOT / "studies" / f"{NAME}.yaml")
    rows = read_rows(ROOT / "docs" / "results" / f"{NAME}.parquet")
    return write_report(
        rows,
        folder / "report.html",
        title=study.study,
        question=study.question,
        aim=aim_of(study),
    )


def shrunk(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        few = image.convert("RGB").quantize(COLOURS)
    few.save(path, optimize=True)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.browser import started, wait

    with tempfile.TemporaryDirectory() as folder:
        drivers = started(Path(folder) / "profile")
        driver = next(drivers)
        try:
            driver.set_window_size(WIDTH, HEIGHT)
            driver.get(page(Path(folder)).as_uri())
            driver.execute_script(TO_THE_CHARTS)
            wait(driver, DRAWN)
            driver.execute_script("window.scrollTo(0, 0)")
            driver.save_screenshot(str(TOP))
            driver.execute_script(HIDE)
            driver.find_element("css selector", "section.verdict").screenshot(str(CARD))
        finally:
            next(drivers, None)
    for path in (CARD, TOP):
        shrunk(path)


if __name__ == "__main__":
    main()
