"""The wing can be taken away: its folder and its line of registration are all of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import wings
from tests.test_house import ROOT

LEFT_OUT = (
    *(".git", ".venv", "__pycache__", "headwater-store"),
    *(".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
)
OWN = (
    "src/headwater/theory",
    "tests/theory",
    "studies/hong2023/theory.yaml",
    "benchmarks/theory.py",
    "tools/make_theory.py",
    "docs/theory.md",
    "docs/results/theory.parquet",
)
"""All that is the wing's, beside its line of registration."""
KEPT = (
    "tests/cli",
    "tests/test_cli_hardness.py",
    "tests/study",
    "tests/test_house.py",
)
"""Tests that are run without it."""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkout without the wing."""
    folder = tmp_path_factory.mktemp("away") / "headwater"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in OWN:
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    registered = folder / "src" / "headwater" / "wings.py"
    text, line = registered.read_text(), '    "headwater.theory",\n'
    assert text.count(line) == 1
    registered.write_text(text.replace(line, ""))
    return folder


def python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_without_the_wing_headwater_is_whole(copy: Path) -> None:
    """It is imported, helps, type checks, and passes the tests of the faces that had asked it."""
    names = python(copy, "-c", "import headwater; print(headwater.__file__, *headwater.__all__)")
    where, *offered = names.stdout.split()
    assert Path(where).is_relative_to(copy), "the copy is what is tried"
    assert not {*wings.names()} & {*offered} and "run" in offered
    for command in ((), ("init",), ("plan",), ("run",), ("hardness",)):
        helped = python(copy, "-m", "headwater.cli", *command, "--help")
        assert helped.returncode == 0, helped.stderr
        assert "theory" not in helped.stdout
    typed = python(copy, "-m", "mypy", "--cache-dir", str(copy / ".mypy_cache"))
    assert typed.returncode == 0, typed.stdout
    quietly = ("-q", "-p", "no:cacheprovider")
    passed = python(copy, "-m", "pytest", *quietly, "-m", "not slow", *KEPT)
    assert passed.returncode == 0, passed.stdout[-5000:]
