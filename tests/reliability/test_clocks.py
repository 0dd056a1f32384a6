"""Workers whose clocks differ by hours share a store as others do."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest

from headwater.store import Leases, Store
from tests.engines.test_kill import assert_same_results
from tests.reliability.fork_server import serving
from tests.reliability.small_study import Place, words

HOUR_S = 3600.0


@pytest.mark.parametrize("off", [HOUR_S, -HOUR_S, 24 * HOUR_S])
def test_a_clock_that_is_off_neither_loses_a_lease_nor_takes_one(
    off: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = time.time
    with Leases(tmp_path / "leases") as mine:
        assert mine.claim("a")
        monkeypatch.setattr(time, "time", lambda: plain() + off)
        with Leases(tmp_path / "leases") as theirs:
            held = theirs.held("a")
            assert held is not None and 0 <= held.age_s < 60
            assert not theirs.claim("a") and theirs.claim("b")
            assert theirs.sweep() == 0


def test_what_a_run_is_writing_is_swept_by_no_clock_of_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", create=True)
    fresh = store.root / "rows" / ".a.json.0123456789ab.tmp"
    fresh.parent.mkdir()
    fresh.write_text("half")
    plain = time.time
    monkeypatch.setattr(time, "time", lambda: plain() + 48 * HOUR_S)
    store.sweep()
    assert fresh.exists()


@pytest.mark.slow
def test_workers_whose_clocks_are_two_hours_apart_do_everything_once(tmp_path: Path) -> None:
    study = words(steps=20, seeds=6)
    with serving() as server:
        place = Place.made(server, tmp_path, study)
        right, store = tmp_path / "right", tmp_path / "store"
        assert place.run(right) == 0
        running = []
        for number, off in enumerate((HOUR_S, -HOUR_S)):
            odd = {"clock_s": off, "machine": f"machine-{number}", "lapse_s": 9.0}
            log, steps = str(tmp_path / f"log {number}"), str(tmp_path / f"steps {number}")
            setting = place.setting(store, log=log, steps=steps, **odd)
            running.append(server.start(setting))
        codes = [child.wait(300) for child in running]
        said = "\n".join(child.said for child in running)
    assert codes == [0, 0] and "Traceback" not in said, said
    assert_same_results(store, right)
    assert not (store / "leases").exists()
    done = Counter[str]()
    for path in tmp_path.glob("steps *"):
        lines = [line.split()[:3] for line in path.read_text().splitlines()]
        done.update(f"{arm} {step}" for kind, arm, step in lines if kind == "step")
    assert len(done) == 120 and set(done.values()) == {1}
