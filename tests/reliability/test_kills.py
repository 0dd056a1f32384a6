"""200 SIGKILLs of whole process groups: at every point at which a run asks something of its disk,
and at random moments. Nothing that was finished is lost or made again, and what is made in the end
is what a run makes that nobody disturbs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_kill import assert_same_results
from tests.reliability.failpoints import point_of
from tests.reliability.fork_server import Server, serving
from tests.reliability.small_study import Place, finished_files, words

AT_POINTS, AT_RANDOM = 200, 60
"""Kills at points at least, and at random moments."""
OFTEN: dict[str, Any] = {"checkpoint_every_s": 0.03}
EVERY_S = 0.3
"""Seconds between checkpoints: longer than one takes to be written on a busy machine."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@dataclass
class Waste:
    """Steps that were trained and lost, from the journal of steps (failpoints.count_steps)."""

    lost: list[tuple[int, float]] = field(default_factory=list)
    """For each time that a training was gone on with: steps, seconds between the checkpoint and the
    last step.
    """
    beyond: list[str] = field(default_factory=list)
    """Arms that went on from before the last checkpoint but one that was begun: the last one may
    have been under way when the kill came.
    """
    steps: int = 0

    @classmethod
    def of(cls, path: Path) -> Waste:
        waste = cls()
        times: dict[str, dict[int, float]] = {}
        saves: dict[str, list[int]] = {}
        for line in path.read_text().splitlines():
            kind, arm, number, at = line.split()
            known, saved, step = times.setdefault(arm, {}), saves.setdefault(arm, []), int(number)
            if kind == "save":
                saved.append(step)
                continue
            if kind == "from":
                if step < [0, 0, *saved][-2]:
                    waste.beyond.append(line)
                saves[arm] = [each for each in saved if each <= step]
                if known and max(known) > step:
                    last = max(known)
                    waste.lost.append((last - step, known[last] - known[step]))
                    for each in range(step + 1, last + 1):
                        del known[each]
            waste.steps += kind == "step"
            known[step] = float(at)
        return waste


def test_temporary_names_and_numbers_are_no_part_of_a_point() -> None:
    names = {
        "/s/rows/.ab.json.0123456789ab.tmp": "rows/ab.json~tmp",
        "/s/arms/.ab.0123456789ab.tmp/arm.json": "arms/ab~tmp/arm.json",
        "/s/leases/.u-0123456789abcdef0123456789abcdef.tmp": "leases/u~tmp",
        "/s/partial/ab/step-0000000012.json": "partial/ab/step-N.json",
        "/s/cache/pixels/.ab-32.11762.561e1700.tmp": "cache/pixels/ab-32~tmp",
        "/s/running/.tiny-vm-117.json.0123456789ab.tmp": "running/tiny-PID.json~tmp",
        "/s/cache/rows/whole-fff2e7a30c9d.txt": "cache/rows/whole-N.txt",
        "/s": ".",
    }
    assert {path: point_of(path, "/s") for path in names} == names
    assert point_of("/stray/rows", "/s") is None


@pytest.mark.slow
def test_a_kill_at_every_point_loses_nothing_and_repeats_nothing(
    server: Server, tmp_path: Path
) -> None:
    """One run after another in a store: each is killed at the first point at which none was killed
    before, so every point is met in the state that the kills before it left. What such a kill
    leaves undone for ever (a sync after a rename) is met in the next store, until no point is new.
    """
    place = Place.made(server, tmp_path, words())
    quiet, dry = tmp_path / "undisturbed", tmp_path / "dry"
    assert place.run(quiet, *place.whole(quiet), points="counted", told=str(dry), **OFTEN) == 0
    known, stores, new = list[str](), 0, True
    while new:
        store = tmp_path / f"store {stores}"
        new = killed_at_new_points(place, store, known)
        stores += 1
        assert "Traceback" not in place.said(store)
        assert_same_results(store, quiet)
        assert not list(store.glob("leases/[!.]*"))
        assert place.run(store, "doctor", str(store)) == 0, place.said(store)
    never = set(dry.read_text().splitlines()) - set(known)
    assert {point for point in never if "/metrics.jsonl" not in point} == set()  # once a second
    assert len(known) >= AT_POINTS
    print(f"{len(known)} kills at as many points, {stores} stores")


def killed_at_new_points(place: Place, store: Path, known: list[str]) -> bool:
    """Runs in a store until one is done, and then with the report; whether any was killed. The
    points at which they were are added to `known`.
    """
    began = len(known)
    for with_report in (False, True):
        code, runs = -9, 0
        while code < 0:
            before, told = finished_files(store), place.folder / f"told {len(known)}"
            odd = {"points": "killed", "known": known, "told": str(told), **OFTEN}
            command = place.whole(store) if with_report else []
            if runs % 8 == 7 and not with_report:
                command, odd["spares"] = place.shared(store), 4
            code = place.run(store, *command, **odd)
            assert before.items() <= finished_files(store).items(), known[-1:]
            known += told.read_text().splitlines()[:1] if code < 0 else []
            runs += 1
        assert code == 0, place.said(store)
    return len(known) > began


@pytest.mark.slow
def test_kills_at_random_moments_cost_at_most_one_interval_of_checkpoints_each(
    server: Server, tmp_path: Path
) -> None:
    place = Place.made(server, tmp_path, words(steps=60))
    quiet = tmp_path / "undisturbed"
    assert place.run(quiet) == 0
    draw, kills, stores, lost = random.Random(0), 0, 0, list[tuple[int, float]]()
    while kills < AT_RANDOM:
        store, steps = tmp_path / f"store {stores}", tmp_path / f"steps {stores}"
        while True:
            before, command = finished_files(store), place.shared(store) if kills % 3 == 2 else []
            odd = {"spares": 4 * bool(command), "steps": str(steps), "checkpoint_every_s": EVERY_S}
            child = server.start(place.setting(store, *command, **odd))
            time.sleep(draw.uniform(0.3, 2.5))
            child.kill()
            code = child.wait()
            assert before.items() <= finished_files(store).items()
            if code >= 0:
                break
            kills += 1
        assert code == 0, place.said(store)
        assert "Traceback" not in place.said(store)
        assert_same_results(store, quiet)
        waste = Waste.of(steps)
        assert waste.steps == 60 + sum(steps for steps, _ in waste.lost)
        assert not waste.beyond
        lost += waste.lost
        stores += 1
    assert lost
    steps, seconds = max(lost)[0], sorted(seconds for _, seconds in lost)
    print(
        f"{kills} kills, {stores} stores; {len(lost)} trainings gone on with, {steps} steps lost at"
        f" most, {seconds[len(lost) // 2]:.2f} s in the middle, {seconds[-1]:.2f} s at most"
    )
