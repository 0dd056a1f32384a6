"""What many tests share: a study small enough to run in seconds, a store in which it was run once,
and the count of what a run of tests left out.
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import functools
import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    # processes that share the cores wait for each other's threads; before torch is imported
    for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(_threads, "1")

from tests.needs import NEEDS

# all tests and what they import live to the end, so no garbage is looked for among them
gc.disable()

Cli = Callable[..., tuple[int, str, str]]

# what `headwater plan` measures of this machine is kept apart from the user's
CACHE = tempfile.TemporaryDirectory(prefix="headwater-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name

settings.register_profile(
    "headwater", deadline=None, derandomize=True
)  # a busy machine is no failure, and a failure comes again
settings.load_profile("headwater")

TINY: dict[str, Any] = {
    "study": "tiny-world",
    "data": {
        "paint": {
            "kind": "world",
            "train": 192,
            "val": 48,
            "test": 64,
            "families": 2,
            "species": 3,
        },
        "other": {
            "kind": "world",
            "domain": "sketch",
            "train": 96,
            "val": 48,
            "test": 64,
            "families": 2,
            "species": 3,
            "collection": 1,
            "hard_train": 0.5,
        },
    },
    "sources": ["paint"],
    "methods": ["scratch", "supervised", "simclr", "clip"],
    "labels": ["level:0"],
    "seeds": 1,
    "budget": {"steps": 40},
    "recipe": {"batch": 32, "text_width": 32, "text_layers": 1, "text_heads": 2, "embedding": 16},
    "tasks": {"other": {"data": "other"}},
    "protocols": {
        "probe": {"shots": ["full", 3], "draws": 2},
        "finetune": {"steps": 6, "lr": 3e-3, "looks": 2, "batch": 32},
    },
}
"""Four arms (one a method) of 40 steps, four cells each: a full probe, two few-shot draws, one
fine-tuning.
"""


def tiny(**changes: Any) -> dict[str, Any]:
    """The words of the tiny study, a fresh copy, with top-level keys replaced."""
    return {**copy.deepcopy(TINY), **changes}


def write_study(path: Path, words: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(words, sort_keys=False))
    return path


@dataclass(frozen=True)
class Finished:
    """A study that was run without interruption, and its store.

    Tests that change the store copy it first.
    """

    study: Path
    store: Path


@contextlib.contextmanager
def one_process_at_a_time(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The tiny study, run once for all processes of pytest-xdist: the first one that asks runs it,
    the others wait. Each takes a copy, so that what a test does to it cannot reach another process.
    """
    from headwater import api

    basetemp = tmp_path_factory.getbasetemp()
    shared = basetemp.parent if "PYTEST_XDIST_WORKER" in os.environ else basetemp
    made = shared / "finished once"
    with one_process_at_a_time(shared / "finished.lock"):
        if not made.exists():
            folder = tmp_path_factory.mktemp("finished")
            study = write_study(folder / "study.yaml", tiny())
            rows = api.run(study, store=folder / "store", device="cpu", engine="inline")
            assert set(rows["status"]) == {"done"}
            folder.rename(made)
    copy = shutil.copytree(made, basetemp / "finished")
    return Finished(copy / "study.yaml", copy / "store")


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A Chromium for the tests of a file; these need tests.needs.needs_browser."""
    from tests import browser

    yield from browser.started(tmp_path_factory.mktemp("chromium"))


@functools.cache
def commands() -> Any:
    """The command line's commands: typer makes them anew for each call, in 60 ms."""
    import typer.main

    from headwater import cli

    return typer.main.get_command(cli.app)


@pytest.fixture
def headwater(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Runs a command in this process, in an empty folder: (exit code, stdout, stderr)."""
    from headwater import cli

    command = commands()
    monkeypatch.delenv("HEADWATER_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headwater", *map(str, arguments)])
        capsys.readouterr()
        code = cli._guarded(command)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def refused(result: tuple[int, str, str], *parts: str) -> None:
    """One line on stderr that starts with `headwater:` and says each of `parts`; nothing else; exit
    code 2.
    """
    code, out, err = result
    assert code == 2, (out, err)
    assert err.startswith("headwater: ")
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert "Traceback" not in err
    assert not out
    for part in parts:
        assert part in err, err


# the order of files
LONGEST = (
    "engines/test_kill.py",
    "reliability/test_in_short.py",
    "store/test_remote.py",
    "pretrain/test_loop.py",
    "report/test_page.py",
    "transfer/test_traps.py",
    "analysis/test_questions.py",
    "theory/test_cli.py",
    "theory/test_charts.py",
    "test_work.py",
)
"""Files that take longest, which start first, so that two processes end at about the same time."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    places = {here / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    gc.enable()


# what a run leaves out
COMMANDS = {"slow": "make test-all", "docs": "make test-docs"}
"""The marks that a run may leave out, and what runs them."""
_DESELECTED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_DESELECTED] = Counter()


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    for item in items:
        for mark in COMMANDS:
            if item.get_closest_marker(mark) is not None:
                item.config.stash[_DESELECTED][mark] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of pytest-xdist tells the one that prints what it left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deselected"] = dict(session.config.stash[_DESELECTED])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All processes of pytest-xdist choose among the same tests, so the last one tells all."""
    told = getattr(node, "workeroutput", {}).get("deselected", {})
    node.config.stash[_DESELECTED] = Counter(told)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The tests that did not run, by what they lacked or by the command that runs them."""
    reasons = [report.longrepr[2] for report in terminalreporter.stats.get("skipped", [])]
    lines = []
    for need in NEEDS.values():
        if number := sum(f"without {need.name}: " in reason for reason in reasons):
            lines.append(f"{number} without {need.name}: {need.reason}")
    for mark, number in sorted(config.stash[_DESELECTED].items()):
        lines.append(f"{number} marked {mark}, which {COMMANDS[mark]} runs")
    if lines:
        terminalreporter.section("tests left out")
        for line in lines:
            terminalreporter.write_line(line)
