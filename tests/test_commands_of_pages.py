"""The commands of README and of the pages: each exists with its options, and each that stands in a
block of its own is run, or there is a reason why not.
"""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.rows import write_rows
from tests.analysis.synthetic import rows_of_shots, rows_of_sizes, synthetic_rows
from tests.conftest import Cli, tiny, write_study

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in ROOT.glob("docs/*.md"))]
BLOCK = re.compile(r"^```(?:sh|bash|console)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`(headwater [^`\n]+)`(?!`)")
NOT_RUN = {
    r"make \w+": "installs, or runs these very tests; the targets are checked to exist",
    r"\.venv/bin/python -m pytest .*": "runs tests within a test; the files are checked to exist",
    r"python3 -m venv .*|\.venv/bin/pip install .*": "installs from a package index",
    r"headwater try .*": "trains for half an hour; tests of the command run it on less",
    r"torchrun .*": "asks for eight processes; tests/pretrain/test_scale.py has two",
    r"headwater (run|hardness) studies/.*": "trains for hours on photos that are not here",
    r"headwater sources check .*": "checks a copy that is not here; tests/cli/test_sources.py",
    r"headwater theory run.*": "simulates for minutes; tests/theory runs smaller sweeps",
    r"headwater theory plot .*": "draws what the sweep before it left; tests/theory/test_cli.py",
    r"headwater import Hyper.*": "reads a table that is not here; tests/imports reads it",
    r"headwater (decide|exchange) entezari.*": "reads the rows of the line before",
    r"wait": "waits for the line before",
}
"""Commands of blocks that are not run, whole lines -> why."""


def blocks(page: str) -> list[str]:
    """The lines of a page's blocks of commands; continued lines are joined, comments dropped."""
    lines = []
    for block in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")):
        for line in block.replace("\\\n", " ").splitlines():
            lines.append(re.sub(r"(^|\s)#.*", "", line).strip())
    return [line for line in lines if line]


def spans(page: str) -> list[str]:
    """Commands within sentences; what can be left out stands in brackets."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [span for span in SPAN.findall(text) if "..." not in span]


def without_reason(page: str) -> list[str]:
    return [line for line in blocks(page) if not _matches(REASONS, line)]


def _matches(patterns: list[str], line: str) -> bool:
    return any(re.fullmatch(pattern, line) for pattern in patterns)


PREFIX = r"(\.venv/bin/)?"
REASONS = [PREFIX + each if each.startswith("headwater") else each for each in NOT_RUN]
TO_RUN = {page: lines for page in PAGES if (lines := without_reason(page))}


def test_every_reason_not_to_run_a_command_is_of_a_command_that_a_page_has() -> None:
    lines = []
    for page in PAGES:
        lines += blocks(page)
    for reason in REASONS:
        assert any(re.fullmatch(reason, line) for line in lines), reason
    assert sum(map(len, TO_RUN.values())) > 30, "most are run"


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_a_page_exist_with_their_options(page: str) -> None:
    from typer.main import get_command

    from headwater.cli import app

    for line in [*blocks(page), *spans(page)]:
        words = shlex.split(re.sub(r"[\[\]]|\|.*", " ", line.removesuffix("&")))
        program = words[0].rpartition("/")[2]
        if program == "make":
            targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
            assert set(words[1:]) <= set(targets), line
        if program == "python" and "pytest" in words:
            files = [word for word in words if word.startswith("tests/")]
            assert all((ROOT / file).exists() for file in files), line
        if program == "headwater":
            known = get_command(app)
            _check(known, words[1:], line)


def _check(command: Any, words: list[str], line: str) -> None:
    """That the command line knows a command and its options."""
    while hasattr(command, "commands") and words and words[0] in command.commands:
        command, words = command.commands[words[0]], words[1:]
    if "show" in getattr(command, "commands", ()):  # the group's command that needs no name
        command = command.commands["show"]
    assert not hasattr(command, "commands") or all(word.startswith("-") for word in words), line
    options = {"--help", "-h"}
    for parameter in command.params:
        options |= set(parameter.opts)
    asked = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    assert asked <= options, line


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the pages take it to be: a study that ran, its store, folders and rows."""
    from PIL import Image

    place = tmp_path_factory.mktemp("prepared")
    words = tiny(
        methods=["scratch", "supervised"],
        seeds=2,
        budget={"steps": 10},
        protocols={"probe": {"shots": ["full"]}},
    )
    study = write_study(place / "study.yaml", words)
    hw.run(study, store=place / "headwater-store", engine="inline", device="cpu")
    rows = synthetic_rows(tasks=("pets", "birds"), protocols=("probe",), shots=(5, None))
    write_rows(rows, place / "rows.parquet")
    write_rows(rows, place / "rows.csv")
    write_rows(rows_of_sizes(), place / "sizes.parquet")
    write_rows(rows_of_shots(), place / "shots.parquet")
    points = [f"{name},{n},{n**-0.4:.4f}" for name in "ab" for n in (10, 20, 40, 80, 160, 320)]
    (place / "table.csv").write_text("\n".join(["curve,n,score", *points]) + "\n")
    for folder, count in (("photos", 12), ("renders", 18), ("inspection", 24)):
        lines = ["path,level1,camera"]
        for number in range(count):
            name = f"{number}.png"
            (place / folder).mkdir(exist_ok=True)
            Image.effect_noise((40, 40), 20.0 + number).save(place / folder / name)
            lines.append(f"{name},{'ab'[number % 2]},{number // 2 % 6}")
        (place / folder / "labels.csv").write_text("\n".join(lines) + "\n")
    for name in ("docs", "studies"):
        (place / name).symlink_to(ROOT / name)
    return place


@pytest.mark.parametrize("page", TO_RUN)
def test_the_commands_of_a_page_run_one_after_the_other(
    page: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, headwater: Cli
) -> None:
    place = shutil.copytree(prepared, tmp_path / "here", symlinks=True)
    monkeypatch.chdir(place)
    for line in TO_RUN[page]:
        typed = line.removesuffix("&").replace("/data/ours", "inspection")
        program, *words = shlex.split(typed)
        assert program.rpartition("/")[2] == "headwater", line
        ran = Path("study.yaml")
        if words[0] == "init":  # the pages go on with a study that ran
            ran = ran.rename("ran.yaml")
        code, out, err = headwater(*words)
        assert code == 0, (line, out[-2000:], err[-2000:])
        if words[0] == "init":
            assert headwater("plan", "study.yaml")[0] == 0, line
            ran.rename("study.yaml")
        if "--out" in words:
            assert (place / words[words.index("--out") + 1]).stat().st_size > 0, line
