"""The pages: their links lead somewhere, and README stays short."""

from __future__ import annotations

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


def readme() -> str:
    return (ROOT / "README.md").read_text()


def shell_lines() -> list[list[str]]:
    """The words of each command in README's sh blocks; continued lines joined, comments dropped."""
    blocks = re.findall(r"^```(?:sh|bash|console)\n(.*?)^```", readme(), re.MULTILINE | re.DOTALL)
    lines = [
        line.split("#")[0].strip().removeprefix("$ ")
        for block in blocks
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return [line.split() for line in lines if line]


@pytest.mark.docs
def test_the_commands_of_the_readme_exist() -> None:
    from typer.main import get_command

    from headwater.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    for words in shell_lines():
        program = words[0].rpartition("/")[2]
        if program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert {word for word in words[1:] if "=" not in word} <= set(targets), words
        if program == "headwater" and len(words) > 1 and not words[1].startswith("-"):
            assert words[1] in commands, words
            command = commands[words[1]]
            if hasattr(command, "commands"):
                if (
                    words[2:] == [] and "show" in command.commands
                ):  # the group's command that needs no name
                    continue
                assert words[2] in command.commands, words
                command = command.commands[words[2]]
            options = {option for parameter in command.params for option in parameter.opts} | {
                "--help",
                "-h",
            }
            assert {
                word.split("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)
            } <= options, words


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
