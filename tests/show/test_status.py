"""What `headwater status` counts."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.show.study import say_verdict
from headwater.store import Store
from tests.conftest import Cli, Finished


@pytest.fixture
def mixed(finished: Finished, tmp_path: Path) -> tuple[Store, list[str]]:
    """A finished study of whose cells one was forgotten, one failed and one diverged, and the
    others.
    """
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    forgotten, failed, diverged, *others = sorted(store.finished_cells())
    for cell, status in ((failed, "failed"), (diverged, "diverged")):
        (row, *_) = store.read_cell(cell)
        store.drop_cell(cell)
        store.write_rows(cell, [{**row, "status": status, "value": None, "reason": "no luck"}])
    store.drop_cell(forgotten)
    return store, others


def test_every_cell_is_counted_once(
    headwater: Cli, finished: Finished, mixed: tuple[Store, list[str]]
) -> None:
    store, others = mixed
    code, out, _ = headwater("status", finished.study, "--store", store.root, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["done"], facts["diverged"], facts["failed"], facts["to_do"]) == (
        len(others),
        1,
        1,
        1,
    )
    assert facts["cells"] == len(others) + 3
    assert facts["failures"] == ["no luck"]


def test_many_cells_are_counted_at_once_and_decided_from_when_asked(
    finished: Finished, mixed: tuple[Store, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes a moment with a few cells takes seconds with a hundred thousand rows."""
    monkeypatch.setattr("headwater.rows.kept.LEAST", 1)
    store, others = mixed

    def said(*, decide: bool = False) -> dict[str, Any]:
        return hw.status_facts(finished.study, store=store.root, decide=decide)

    monkeypatch.setattr("headwater.facts.status._MOST_READ", 5)
    never_read = said()
    assert f"the rows of {len(others) + 2} cells have to be read" in never_read["undecided"]
    assert (never_read["done"], never_read["diverged"]) == (len(others) + 1, 0)
    assert never_read["decision"] is None and never_read["failures"] == ["no luck"]

    decided = said(decide=True)  # which reads them, and keeps them as a table
    assert decided["decision"] is not None and decided["undecided"] is None
    assert said() == decided
    monkeypatch.setattr("headwater.facts.status._MOST_DECIDED", 5)
    many = said()
    assert many["undecided"] == f"a decision of {len(others) + 1} cells takes seconds"
    assert many == {**decided, "undecided": many["undecided"], "decision": None}
    file = store.rows / f"{others[0]}.json"
    (row, *_), before = store.read_cell(others[0]), file.read_bytes()
    store.write_rows(others[0], [{**row, "status": "diverged", "value": None, "reason": "inf"}])
    one_more = said()
    assert (one_more["done"], one_more["diverged"]) == (len(others) - 1, 2), "it is read"
    file.write_bytes(before)
    monkeypatch.setattr("headwater.facts.kept.LEAST", 1)
    monkeypatch.setattr("headwater.facts.kept._SETTLED_S", 0.0)
    assert said() == many
    assert said(decide=True) == decided
    assert said() == decided, "it was decided, and nothing has changed since"


def test_what_is_not_decided_is_said_with_what_does(
    headwater: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.facts.status._MOST_DECIDED", 1)
    asked = ("status", finished.study, "--store", finished.store)
    code, out, _ = headwater(*asked)
    assert code == 0 and "16 of 16 cells done" in out
    assert "a decision of 16 cells takes seconds: `headwater status" in " ".join(out.split())
    code, out, _ = headwater(*asked, "--decide")
    assert code == 0 and "not decided" not in out and "decision: " in out


@pytest.mark.parametrize(
    ("left_s", "said"), [(None, "time left not known"), (7225.0, "about 2 h 0 min left")]
)
def test_a_run_that_is_under_way_is_shown_with_its_time_where_it_knows_it(
    headwater: Cli, finished: Finished, tmp_path: Path, left_s: float | None, said: str
) -> None:
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    words = {
        "study": "tiny-world",
        "pid": os.getpid(),
        "host": platform.node(),
        "began": time.time(),
        "updated": time.time(),
        "left_s": left_s,
        "arms": {},
        "arms_done": 1,
        "cells": 9,
        "cells_done": 4,
        "now": [{"worker": 0, "unit": "train x", "left_s": left_s}],
    }
    (store.root / "running").mkdir()
    (store.root / "running" / "one.json").write_text(json.dumps(words))
    code, out, _ = headwater("status", finished.study, "--store", store.root)
    shown = " ".join(out.split())
    assert code == 0 and f"running: {said}, of 9 cells 4 done" in shown
    assert "now: train x" in shown and ("about" in shown) == (left_s is not None)


@pytest.mark.parametrize(
    ("ran", "by_steps", "said"),
    [
        (
            (0, 0, 0),
            True,
            "nothing was trained or measured: the steps before had done what it took",
        ),
        ((3, 1, 9), True, "3 arms trained, 1 diverged, 9 cells measured"),
        ((2, 0, 0), True, "2 arms trained, 0 cells measured"),
        ((1, 0, 1), True, "1 arm trained, 1 cell measured"),
        ((0, 0, 2), True, "0 arms trained, 2 cells measured"),
        ((3, 0, 9), False, "3 arms trained (of 70 to do), 9 cells measured (of 90 to do)"),
        ((0, 0, 0), False, "0 arms trained (of 70 to do), 0 cells measured (of 90 to do)"),
    ],
)
def test_the_closing_line_of_a_run_by_steps_asks_for_no_more_than_it_did(
    ran: tuple[int, int, int], by_steps: bool, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arms, diverged, cells = ran
    say_verdict(
        {
            "ran_arms": arms,
            "diverged_arms": diverged,
            "ran_cells": cells,
            "asked_arms": 70,
            "asked_cells": 90,
            "by_steps": by_steps,
            "done": 20,
            "cells": 110,
            "diverged": 0,
            "failed": 0,
            "failures": [],
            "faults": [],
            "beware": [],
            "verdict": [],
            "report": None,
            "no_report": "none",
        }
    )
    assert capsys.readouterr().out.splitlines()[1] == f"{said}; 20 of 110 cells done"
