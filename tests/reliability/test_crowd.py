"""Eight workers on one study of a thousand cells, some of them killed all the time.

test_in_short.py has the same with fewer.
"""

from __future__ import annotations

import contextlib
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
from tests.engines.test_kill import touched
from tests.reliability.fork_server import Child, Server, serving
from tests.reliability.small_study import Place

ROOT = Path(__file__).parents[2]


def words(arms: int, draws: int) -> dict[str, Any]:
    """So many arms, and cells of each, which take a tenth of a second."""
    return {
        "study": "crowd",
        "data": {"bars": {"kind": "stripes", "classes": 3}},
        "sources": ["bars"],
        "methods": ["supervised"],
        "seeds": arms,
        "budget": {"steps": 8},
        "recipe": {"batch": 16},
        "tasks": {"widths": {"data": "bars"}},
        "protocols": {"rest": {"shots": [1], "draws": draws, "seconds": 0.1}},
    }


@contextlib.contextmanager
def serving_plugins() -> Iterator[Server]:
    """With the package that adds a protocol which takes a given time."""
    places = [str(ROOT / "src"), str(ROOT / "tests" / "plugins")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(places))
        with serving() as server:
            yield server


@pytest.mark.slow
def test_a_thousand_cells_are_measured_once_whoever_is_killed(tmp_path: Path) -> None:
    with serving_plugins() as server:
        measured_once_whoever_is_killed(server, tmp_path, workers=8, arms=20, draws=50)


def measured_once_whoever_is_killed(
    server: Server, folder: Path, *, workers: int, arms: int, draws: int
) -> None:
    """While 4 of 5 cells are measured one worker after another is killed, and replaced."""
    place = Place.made(server, folder, words(arms, draws))
    store, steps = folder / "store", folder / "steps"
    Store(store, create=True)
    draw, kills, done = random.Random(0), 0, dict[str, tuple[int, int]]()
    began = time.monotonic()

    def another() -> Child:
        setting = place.setting(store, steps=str(steps), checkpoint_every_s=0.05)
        return server.start(setting)

    crowd = [another() for _ in range(workers)]
    while len(list(store.glob("rows/[!.]*.json"))) < 0.8 * arms * draws:
        assert time.monotonic() - began < 300
        time.sleep(draw.uniform(0.3, 1.2))
        done |= touched(store)
        place_of_killed = draw.randrange(workers)
        crowd[place_of_killed].kill()
        crowd[place_of_killed].wait()
        kills += 1
        crowd[place_of_killed] = another()
    assert [worker.wait(300.0) for worker in crowd] == [0] * workers, place.said(store)
    rows = read_rows(store)
    assert set(rows["status"]) == {"done"} and rows["cell"].nunique() == arms * draws
    assert not rows.duplicated(["cell", "metric", "subset"]).any()
    assert {path: touched(store)[path] for path in done} == done  # none was made again
    lines = steps.read_text().splitlines()
    trained = Counter(line.split()[1] for line in lines if line.startswith("from "))
    again = sum(trained.values()) - arms
    assert len(trained) == arms and again <= kills
    said = place.said(store)
    assert "Traceback" not in said and "rror" not in said, said
    assert not list(store.glob("leases/[!.]*")) and not list(store.glob("partial/*"))
    seconds = time.monotonic() - began
    print(f"{kills} kills, {again} trainings begun again, {len(rows)} rows, {seconds:.0f} s")
