"""A real Chromium for tests of pages that it draws."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.needs import AXE, BROWSER, DRIVER

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--window-size=1280,900",
)


def started(profile: Path) -> Iterator[Any]:
    """A driver of Chromium, ended when the iterator is."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


def wait(driver: Any, script: str, seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := driver.execute_script(script):
            return found
        time.sleep(0.1)
    raise AssertionError(f"never became true: {script}")


def draw_all(driver: Any) -> None:
    """Scroll through the page, as charts are drawn when they come into sight."""
    driver.execute_script(
        """window.scrolled = false;
           (async () => {
             for (const figure of document.querySelectorAll('figure[data-panel]:not([hidden])')) {
               figure.scrollIntoView();
               for (let i = 0; i < 400 && !figure.view; i += 1) {
                 await new Promise((done) => setTimeout(done, 25));
               }
             }
             window.scrolled = true;
           })();"""
    )
    wait(driver, "return window.scrolled", 60)
    figures = "[...document.querySelectorAll('figure[data-panel]:not([hidden])')]"
    drawn = f"return {figures}.every((f) => f.view)"
    assert driver.execute_script(drawn)


def opened(driver: Any, page: Path, *, width: int = 1440, scheme: str = "light") -> None:
    """The page at a width, light or dark, ready and with all charts drawn; logs begin with it."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for log in ("browser", "performance"):
        driver.get_log(log)
    driver.get(page.as_uri())
    wait(driver, "return document.documentElement.dataset.ready === 'yes'")
    draw_all(driver)


def reset(driver: Any) -> None:
    """Back to the driver's own window and scheme."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    features = [{"name": "prefers-color-scheme", "value": "light"}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def said(driver: Any) -> list[str]:
    """Errors and warnings in the console since it was read last."""
    entries = driver.get_log("browser")
    return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]


def asked(driver: Any) -> set[str]:
    """Addresses that were asked for since this was read last, but for the browser's own pages."""
    addresses = set()
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            addresses.add(message["params"]["request"]["url"])
    return {url for url in addresses if not url.startswith(("chrome:", "chrome-", "data:"))}


def violations(driver: Any) -> list[str]:
    """What axe-core finds wrong in the page, with the first element of each."""
    driver.set_script_timeout(120)  # a long page on a busy machine
    driver.execute_script(AXE.read_text(encoding="utf-8"))
    found = driver.execute_async_script(
        "const done = arguments[0];"
        "axe.run(document, {resultTypes: ['violations']}).then((result) => done(result.violations))"
    )
    return [f"{each['id']}: {each['nodes'][0]['html'][:160]}" for each in found]


_MARKS = """
const outside = [];
let number = 0;
for (const figure of document.querySelectorAll('figure[data-panel]:not([hidden])')) {
  const view = figure.view, width = view.width(), height = view.height(), slack = 0.6;
  const check = (mark, x, y) => {
    number += 1;
    if (!(x >= -slack && x <= width + slack && y >= -slack && y <= height + slack)) {
      outside.push([figure.querySelector('figcaption span').textContent, mark.marktype,
                    mark.name || '', x, y, width, height].join(' '));
    }
  };
  const walk = (mark, dx, dy) => {
    const role = mark.role || '';
    if (['axis', 'legend', 'title'].some((word) => role.startsWith(word))) return;
    for (const item of mark.items) {
      const x = dx + (item.x || 0), y = dy + (item.y || 0);
      if (mark.marktype === 'group') for (const inner of item.items) walk(inner, x, y);
      else if (mark.marktype !== 'text') {
        check(mark, x, y);
        const x2 = item.x2 === undefined ? x + (item.width || 0) : dx + item.x2;
        const y2 = item.y2 === undefined ? y + (item.height || 0) : dy + item.y2;
        check(mark, x2, y2);
      }
    }
  };
  for (const mark of view.scenegraph().root.items[0].items) walk(mark, 0, 0);
}
return [number, outside];
"""


def marks_outside(driver: Any) -> tuple[int, list[str]]:
    """How many ends of marks the drawn charts have, and those outside their axes, as Vega's scene
    graph places them: a mark that is cut at the frame counts too.
    """
    number, outside = driver.execute_script(_MARKS)
    return int(number), list(outside)


_WIDER = """
const wider = [], width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth > width) wider.push('the page');
for (const element of document.querySelectorAll('body *')) {
  if (element.closest('.scroll, .skip, .hidden-words, .offscreen, script')) continue;
  const box = element.getBoundingClientRect();
  if (box.width && (box.right > width + 0.5 || box.left < -0.5)) {
    wider.push(element.tagName + '.' + element.getAttribute('class') + ' '
      + element.textContent.slice(0, 60));
  }
}
for (const svg of document.querySelectorAll('.chart svg')) {
  const frame = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll('text')) {
    const box = text.getBoundingClientRect();
    if (box.width && (box.right > frame.right + 2 || box.left < frame.left - 2)) {
      wider.push('in a chart: ' + text.textContent);
    }
  }
}
return wider;
"""


def running_out(driver: Any) -> list[str]:
    """Elements and words of charts that stand outside the page's width; what scrolls by itself
    (tables) does not count.
    """
    return list(driver.execute_script(_WIDER))


def empty_sections(driver: Any) -> list[str]:
    """Headings of shown sections in which a reader finds nothing: no words, no chart, no table."""
    return list(
        driver.execute_script(
            """return [...document.querySelectorAll('main section')].filter((section) => {
                 if (section.hidden) return false;
                 const content = section.cloneNode(true);
                 for (const part of content.querySelectorAll(
                   'h2, .reading, .controls, thead, template, [hidden]')) part.remove();
                 const drawn = section.querySelector('figure:not([hidden]) svg.marks');
                 return !section.matches('.controls') && !drawn && !content.textContent.trim();
               }).map((section) => section.textContent.trim().slice(0, 60))"""
        )
    )


def pages_on_paper(driver: Any) -> int:
    """Pages of A4 that the page prints on."""
    printed = driver.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})
    document = base64.b64decode(printed["data"])
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", document))
