"""Eight workers on one study of a thousand cells, some of them killed all the time."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headwater.rows import read_rows
from headwater.store import Store
from tests.conftest import write_study
from tests.engines.test_kill import touched
from tests.reliability.fork_server import Child, Server, serving
from tests.reliability.small_study import Place

ROOT = Path(__file__).parents[2]
WORKERS, ARMS, DRAWS = 8, 20, 50
STUDY: dict[str, Any] = {
    "study": "crowd",
    "data": {"bars": {"kind": "stripes", "classes": 3}},
    "sources": ["bars"],
    "methods": ["supervised"],
    "seeds": ARMS,
    "budget": {"steps": 8},
    "recipe": {"batch": 16},
    "tasks": {"widths": {"data": "bars"}},
    "protocols": {"rest": {"shots": [1], "draws": DRAWS, "seconds": 0.1}},
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """With the package that adds a protocol which takes a given time."""
    places = [str(ROOT / "src"), str(ROOT / "tests" / "plugins")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    with serving() as server:
        yield server


@pytest.mark.slow
def test_a_thousand_cells_are_measured_once_whoever_is_killed(
    server: Server, tmp_path: Path
) -> None:
    place = Place(server, tmp_path, write_study(tmp_path / "study.yaml", STUDY))
    store, steps = tmp_path / "store", tmp_path / "steps"
    Store(store, create=True)
    draw, kills, done = random.Random(0), 0, dict[str, tuple[int, int]]()
    began = time.monotonic()

    def another() -> Child:
        setting = place.setting(store, steps=str(steps), checkpoint_every_s=0.05)
        return server.start(setting)

    workers = [another() for _ in range(WORKERS)]
    while len(list(store.glob("rows/[!.]*.json"))) < 0.8 * ARMS * DRAWS:
        assert time.monotonic() - began < 300
        time.sleep(draw.uniform(0.3, 1.2))
        done |= touched(store)
        place_of_killed = draw.randrange(WORKERS)
        workers[place_of_killed].kill()
        workers[place_of_killed].wait()
        kills += 1
        workers[place_of_killed] = another()
    assert [worker.wait(300.0) for worker in workers] == [0] * WORKERS, place.said(store)
    rows = read_rows(store)
    assert set(rows["status"]) == {"done"} and rows["cell"].nunique() == ARMS * DRAWS
    assert not rows.duplicated(["cell", "metric", "subset"]).any()
    assert {path: touched(store)[path] for path in done} == done  # none was made again
    lines = steps.read_text().splitlines()
    trained = Counter(line.split()[1] for line in lines if line.startswith("from "))
    again = sum(trained.values()) - ARMS
    assert len(trained) == ARMS and again <= kills
    said = place.said(store)
    assert "Traceback" not in said and "rror" not in said, said
    assert not list(store.glob("leases/[!.]*")) and not list(store.glob("partial/*"))
    seconds = time.monotonic() - began
    print(f"{kills} kills, {again} trainings begun again, {len(rows)} rows, {seconds:.0f} s")
