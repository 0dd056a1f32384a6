"""What the slow tests of this room do at length, cut short for each change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.test_kill import assert_same_results
from tests.reliability.fork_server import Server
from tests.reliability.small_study import Place, finished_files, words
from tests.reliability.test_crowd import measured_once_whoever_is_killed, serving_plugins
from tests.reliability.test_kills import OFTEN

KINDS = (
    "after link leases/",
    "after replace partial/.*/step-N.json",
    "before fsync arms/",
    "after rename arms/",
    "before write rows/",
    "before replace rows/",
)
"""Of the points of a run, the first of each kind is one at which it is killed."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving_plugins() as server:
        yield server


def test_workers_of_which_some_are_killed_measure_every_cell_once(
    server: Server, tmp_path: Path
) -> None:
    measured_once_whoever_is_killed(server, tmp_path, workers=3, arms=2, draws=12)


def test_a_run_killed_at_points_of_each_kind_loses_nothing_and_repeats_nothing(
    server: Server, tmp_path: Path
) -> None:
    place = Place.made(server, tmp_path, words())
    quiet, dry = tmp_path / "undisturbed", tmp_path / "dry"
    assert place.run(quiet, points="counted", told=str(dry), **OFTEN) == 0
    points = dry.read_text().splitlines()
    wanted = {_first(points, kind) for kind in KINDS}
    store, known, code = tmp_path / "store", sorted({*points} - wanted), -9
    while code < 0:
        before, told = finished_files(store), tmp_path / f"told {len(known)}"
        code = place.run(store, points="killed", known=known, told=str(told), **OFTEN)
        assert before.items() <= finished_files(store).items(), known[-1:]
        known += told.read_text().splitlines()[:1] if code < 0 else []
    assert code == 0 and wanted <= {*known}, place.said(store)
    assert "Traceback" not in place.said(store)
    assert_same_results(store, quiet)


def _first(points: list[str], kind: str) -> str:
    return next(point for point in points if re.match(kind, point))
