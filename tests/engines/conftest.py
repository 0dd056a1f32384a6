"""A queue of the fake Slurm, for the tests of the engine slurm."""

from __future__ import annotations

import json
import os
import shlex
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from headwater.engines import slurm
from headwater.engines.elsewhere import Asked
from headwater.engines.schedule import pending
from headwater.plan import Plan
from headwater.store import Store, studies
from headwater.study import Study
from tests import fake_slurm
from tests.conftest import Finished

SLEEPER = """#!/bin/sh
echo "$0 $@"
trap 'echo warned; exit 0' USR1
while :; do sleep 0.05; done
"""


@dataclass
class Fake:
    """The queue of the fake, and the store for which jobs are submitted."""

    folder: Path
    store: Store
    plan: Plan

    @property
    def queue(self) -> dict[str, Any]:
        path = self.folder / "queue.json"
        return dict(json.loads(path.read_text())["tasks"]) if path.exists() else {}

    @queue.setter
    def queue(self, tasks: dict[str, Any]) -> None:
        path = self.folder / "queue.json"
        last = json.loads(path.read_text())["last"]
        path.write_text(json.dumps({"last": last, "tasks": tasks}))

    def asked(self, command: str) -> list[list[str]]:
        """What a command was asked, its words."""
        lines = (self.folder / "asked").read_text().splitlines()
        return [words for words in map(shlex.split, lines) if words[0] == command]

    def program(self, text: str) -> str:
        """A program in the place of Python in jobs."""
        path = self.folder / "program"
        path.write_text(text)
        path.chmod(0o755)
        return str(path)

    def wanted(self, **changes: Any) -> Asked:
        words = self.plan.resolved.asked.words()
        asked = Asked(
            plan=self.plan,
            store=self.store,
            todo=pending(self.plan, self.store),
            study=studies.put(self.store, self.plan.study.study, words, None),
            workers=None,
            device="cpu",
            checkpoint_every_s=20.0,
            compiled=False,
            where=None,
            options={"time": "1:00:00", "python": self.program(SLEEPER)},
        )
        return replace(asked, **changes)


@pytest.fixture(scope="module")
def fake_plan(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return Plan.make(Study.load(finished.study), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def fake(fake_plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    folder = tmp_path / "slurm"
    commands = fake_slurm.installed(folder)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setattr(slurm, "LOOK_EVERY_S", 0.0)
    made = Fake(folder, Store(tmp_path / "a store", create=True), fake_plan)
    yield made
    for task in made.queue.values():
        if "pid" in task and fake_slurm.lives(task["pid"]):
            os.kill(task["pid"], signal.SIGKILL)
