"""What many tests share: a study small enough to run in seconds, and a store in which it was run
once.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import settings

Cli = Callable[..., tuple[int, str, str]]

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


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    from headwater import api

    folder = tmp_path_factory.mktemp("finished")
    study = write_study(folder / "study.yaml", tiny())
    rows = api.run(study, store=folder / "store", device="cpu", workers=1)
    assert set(rows["status"]) == {"done"}
    return Finished(study, folder / "store")


@pytest.fixture
def headwater(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Cli:
    """Runs a command in this process, in an empty folder: (exit code, stdout, stderr)."""
    from headwater import cli

    monkeypatch.delenv("HEADWATER_DATA", raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headwater", *map(str, arguments)])
        capsys.readouterr()
        code = cli._guarded(cli.app)
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
