"""The pages: their links lead somewhere, and README stays short."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

from headwater.registry import ENGINES, LABEL_VIEWS, METHODS, PROTOCOLS, SOURCE_KINDS
from tests.needs import NEEDS

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src" / "headwater"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")])
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    names = set()
    for title in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", title.lower())
        names.add(words.strip().replace(" ", "-"))
    return names


@pytest.mark.docs
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_a_heading_that_exist(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name} links to {link}"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {link}"


@pytest.mark.docs
def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        for link in LINK.findall(page.read_text()):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target.suffix == ".md" and target.exists():
                waiting.append(target)
    assert not set(PAGES) - reached


@pytest.mark.docs
@pytest.mark.parametrize("page", ["study.md", "tasks.md", "transfer.md"])
def test_the_tables_of_a_page_are_what_the_entries_declare(page: str) -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_study.py"))["with_blocks"]
    text = (ROOT / "docs" / page).read_text()
    assert made(page, text) == text, "run python tools/make_study.py"


@pytest.mark.docs
def test_the_page_of_studies_names_every_entry_and_every_key_of_a_recipe() -> None:
    text = (ROOT / "docs" / "study.md").read_text()
    names = {entry.name for axis in (METHODS, SOURCE_KINDS, ENGINES) for entry in axis}
    for method in METHODS:
        names |= set(method.recipe.model_fields if method.recipe else ())
    for protocol in PROTOCOLS:
        names |= set(protocol.words.model_fields)
    names |= {view.form for view in LABEL_VIEWS}
    assert not {name for name in names if f"| `{name}` |" not in text}


@pytest.mark.docs
def test_the_readme_has_at_most_120_lines() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.docs
def test_docs_rows_is_the_schema() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "make_rows.py"))["page"]()
    assert (ROOT / "docs" / "rows.md").read_text() == page, "run: python tools/make_rows.py"
    from headwater.rows import NAMES

    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(NAMES)


PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.mark.docs
def test_python_of_the_pages_is_python_and_its_names_are_public() -> None:
    import headwater as hw

    found = set()
    for page in PAGES:
        for block in PYTHON.findall(page.read_text()):
            tree = ast.parse(block)
            for node in ast.walk(tree):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "hw":
                    assert node.attr in {*hw.__all__, "__version__"}, f"{page.name}: hw.{node.attr}"
                    found.add(node.attr)
    assert {"run", "decide", "figure", "Study", "read_rows"} <= found


@pytest.mark.docs
def test_the_study_of_the_page_on_notebooks_is_one_that_loads() -> None:
    import headwater as hw

    (block, *_) = PYTHON.findall((ROOT / "docs" / "notebooks.md").read_text())
    names: dict[str, object] = {}
    exec(block, names)
    study = names["study"]
    assert isinstance(study, hw.Study) and len(study.arms()) == 9


@pytest.mark.docs
def test_the_tree_of_the_design_is_the_tree() -> None:
    design = (ROOT / "docs" / "design.md").read_text()
    blocks = [
        block
        for block in re.findall(r"^```\w*\n(.*?)^```", design, re.MULTILINE | re.DOTALL)
        if block.lstrip().startswith("src/headwater/")
    ]
    assert blocks
    for block in blocks:
        named = {
            word
            for line in block.splitlines()[1:]
            for word in re.findall(r"^[\s│├└─]*([\w/]+(?:\.py|/))", line)
        }
        there = {
            path.name + "/"
            for path in SRC.iterdir()
            if path.is_dir() and list(path.glob("*.*")) and path.name != "__pycache__"
        }
        there |= {path.name for path in SRC.glob("*.py")}
        assert {name for name in named if name.endswith("/")} <= there
        assert {name for name in there if name.endswith("/")} <= named
        assert {name for name in named if name.endswith(".py")} <= {
            path.name for path in SRC.rglob("*.py")
        }


@pytest.mark.docs
def test_contributing_says_what_a_plain_make_test_leaves_out() -> None:
    """Every need that a test is skipped for, and every mark that is not run."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    section = page.split("### What a plain `make test` leaves out")[1].split("\n## ")[0].lower()
    words = {"data": "headwater_data", "git": "git checkout", "gpu": "cuda gpu"}
    for need in NEEDS:
        assert words.get(need, need) in section, need
    for mark in ("slow", "docs"):
        assert f"the tests marked `{mark}`" in section
