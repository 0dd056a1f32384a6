"""The site: it builds without a warning, holds every page, and opens offline from its files."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.rows import NAMES
from headwater.study import Study
from tests.browser import wait
from tests.needs import needs_browser

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[1]
MADE = runpy.run_path(str(ROOT / "tools" / "docs_site.py"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built in strict mode: a broken link is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return out


class Asked(HTMLParser):
    """What a page asks for when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = dict(attributes)
        if tag in ("script", "img", "iframe", "source"):
            self.addresses.append(values.get("src") or "")
        if tag == "link" and values.get("rel") != "canonical":
            self.addresses.append(values.get("href") or "")


def test_every_page_is_in_the_site_and_asks_for_files_of_the_site_alone(site: Path) -> None:
    pages = [page.relative_to(ROOT / "docs") for page in ROOT.glob("docs/*.md")]
    pages += map(Path, MADE["project_pages"]())
    for page in pages:
        assert (site / page.with_suffix(".html")).is_file(), page
    opened = sorted(site.rglob("*.html"))
    assert len(opened) > len(pages)
    for path in opened:
        asked = Asked()
        asked.feed(path.read_text(encoding="utf-8"))
        for address in filter(None, asked.addresses):
            if path.name == "404.html" or address.startswith("data:"):
                continue
            assert not re.match(r"[a-z]+:|//", address), f"{path.name} asks for {address}"
            target = path.parent / address.partition("#")[0].partition("?")[0]
            assert target.is_file(), f"{path.name} asks for {address}"


def test_the_reference_has_every_public_name_key_column_and_command(site: Path) -> None:
    python = (site / "reference" / "python.html").read_text(encoding="utf-8")
    for name in hw.__all__:
        assert f"hw.{name}" in python, name
    keys = (site / "reference" / "keys.html").read_text(encoding="utf-8")
    assert not {key for key in Study.model_fields if f"<code>{key}</code>" not in keys}
    rows = (site / "rows.html").read_text(encoding="utf-8")
    assert not {name for name in NAMES if f"<code>{name}</code>" not in rows}
    commands = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for command in ("headwater run", "headwater decide", "headwater labels levels"):
        assert f"<code>{command}</code>" in commands
    assert "<code>--until</code>" in commands


def test_a_link_is_rewritten_to_where_the_page_lies_in_the_site() -> None:
    moved = MADE["moved"]
    assert (
        moved("[a](../benchmarks/decide.md#x)", "docs/decide.md") == "[a](benchmarks/decide.md#x)"
    )
    assert moved("[a](../docs/study.md)", "benchmarks/decide.md") == "[a](../study.md)"
    assert moved("[a](docs/design.md)", "CONTRIBUTING.md") == "[a](design.md)"
    assert moved("[a](../CONTRIBUTING.md)", "docs/own.md") == "[a](CONTRIBUTING.md)"
    assert moved("[a](../README.md)", "docs/own.md") == "[a](index.md)"
    assert moved("[a](#b) [c](https://d)", "docs/own.md") == "[a](#b) [c](https://d)"
    assert moved("[mutants](../tools/mutants.yaml)", "benchmarks/mutants.md") == "[mutants]"


@needs_browser
def test_the_site_opens_from_its_files_and_finds_words_without_a_network(
    site: Path, driver: Any
) -> None:
    driver.get_log("browser"), driver.get_log("performance")
    driver.get((site / "index.html").as_uri())
    wait(driver, "return document.readyState === 'complete'")
    search = driver.find_element("css selector", ".md-search__input")
    search.click()
    search.send_keys("granularity")
    wait(driver, "return document.querySelector('.md-search-result__item a') !== null")
    found = driver.find_element("css selector", ".md-search-result__item a").get_attribute("href")
    assert found.startswith("file://") and ".html" in found
    driver.get((site / "claims.html").as_uri())
    time.sleep(0.5)
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    asked = [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked and not [url for url in asked if url.startswith(("http", "ws", "ftp"))]
