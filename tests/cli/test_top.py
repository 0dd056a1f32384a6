"""`headwater top`: who computes what in a store, now."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from headwater import api
from headwater.engines.schedule import Event
from headwater.facts.top import top_facts
from headwater.show import top as room
from headwater.store import Store
from tests.conftest import Cli, Finished, refused


def test_a_store_in_which_nobody_is_at_work(
    finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    code, out, _ = headwater("top", finished.store)
    assert code == 0 and "0 at work" in out and "16 cells done" in out
    assert "nobody is at work" in out
    refused(headwater("top", tmp_path / "none"), "there is no store here")


@pytest.mark.slow
def test_who_is_at_work_and_with_what(finished: Finished, tmp_path: Path) -> None:
    store, seen = Store(tmp_path / "store", create=True), []
    store.note_try("abc", "train supervised", "OSError: the disk was away")

    def look(event: Event) -> None:
        if event.kind == "started" and not seen:
            time.sleep(2.1)  # a run says every two seconds how far it is
        if event.kind == "progress" and not seen:
            seen.append(top_facts(store))

    api.run(finished.study, store=store.root, device="cpu", engine="inline", watch=look)
    (facts,) = seen
    (worker,) = facts["workers"]
    assert worker["study"] == "tiny-world" and worker["cells"] == 16
    assert worker["now"][0]["unit"].startswith("train ")
    assert facts["units"] == {"held": 1, "lost": 0}
    assert [found.startswith("tiny-world-") for found in facts["studies"]] == [True]
    assert facts["tried_again"][0]["reason"] == "OSError: the disk was away"
    assert json.loads(json.dumps(facts)) == facts
    with room._console.capture() as captured:
        room.print_top(facts)
    said = captured.get()
    assert "1 at work, 1 units held" in said and "the disk was away" in said and "train" in said
