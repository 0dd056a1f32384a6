"""Facts in Python are what the commands' --json gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from tests.conftest import Cli, Finished

FACTS: dict[str, Callable[[Finished], dict[str, Any]]] = {
    "plan": lambda ran: hw.plan_facts(ran.study, store=ran.store, device="cpu", workers=1),
    "status": lambda ran: hw.status_facts(ran.study, store=ran.store),
    "labels": lambda ran: hw.labels_facts(ran.study, store=ran.store),
}
COMMANDS: dict[str, tuple[list[str], list[str]]] = {
    "plan": (["plan"], ["--device", "cpu", "--workers", "1"]),
    "status": (["status"], []),
    "labels": (["labels", "describe"], []),
}
"""Words before the study, and behind it."""


@pytest.mark.parametrize("asked", FACTS)
def test_facts_of_a_study_are_what_its_command_says(
    headwater: Cli, finished: Finished, asked: str
) -> None:
    command, options = COMMANDS[asked]
    code, out, err = headwater(
        *command, finished.study, "--store", finished.store, *options, "--json"
    )
    assert code == 0, err
    said, facts = json.loads(out), json.loads(json.dumps(FACTS[asked](finished)))
    for each in (said, facts):
        each.get("cost", {}).pop("disk_free_mb", None)  # others write there too
    assert said == facts


def test_a_finished_study_has_nothing_to_do_and_one_without_a_store_everything(
    finished: Finished, tmp_path: Path
) -> None:
    done = hw.status_facts(finished.study, store=finished.store)
    assert (done["cells"], done["done"], done["to_do"], done["arms_done"]) == (16, 16, 0, 4)
    new = hw.status_facts(finished.study, store=tmp_path / "none")
    assert (new["cells"], new["done"], new["to_do"], new["arms_done"]) == (16, 0, 16, 0)
    plan = hw.plan_facts(finished.study, store=tmp_path / "none", device="cpu", workers=1)
    assert plan["cells"] == {"total": 16, "kept": 0, "new": 16, "orphaned": 0}
    assert plan["cost"]["pretrain_images"] == 3 * 40 * 32, "three arms are trained"


def test_facts_of_tasks_are_what_the_command_says(headwater: Cli, tmp_path: Path) -> None:
    code, out, err = headwater("tasks", "--json")
    assert code == 0, err
    assert json.loads(out) == hw.tasks_facts()
    names = {task["task"] for task in hw.tasks_facts()["tasks"]}
    assert {"caltech101", "dtd"} <= names
