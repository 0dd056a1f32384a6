"""Two machines on a network disk that shows what is no longer so: same rows as on a disk of one's
own, no error shown, next to nothing done twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater import files
from headwater.store import Leases
from tests.engines.test_kill import assert_same_results
from tests.needs import needs_fuse
from tests.reliability.fork_server import serving
from tests.reliability.small_study import Place, words
from tests.reliability.stale_disk import mounted

STALE_S = 1.0


@contextlib.contextmanager
def two(tmp_path: Path, **more: float) -> Iterator[tuple[Path, Path]]:
    """Two mounts of one folder; their clocks are their server's, five minutes behind."""
    served = tmp_path / "served"
    served.mkdir()
    one = mounted(served, tmp_path / "one", seed=1, **{"stale_s": STALE_S, **more})
    other = mounted(served, tmp_path / "other", seed=2, **{"stale_s": STALE_S, **more})
    with one as here, other as there:
        yield here, there


@needs_fuse
def test_the_disk_is_stale_has_no_locks_and_loses_answers(tmp_path: Path) -> None:
    with two(tmp_path, stale_s=30.0, lost=0.0) as (here, there):
        assert not (there / "a").exists()
        (here / "a").write_text("one")
        assert abs(time.time() - 300 - (here / "a").stat().st_mtime) < 60
        assert not (there / "a").exists() and (here / "a").read_text() == "one"
        os.listdir(there)
        (here / "b").write_text("one")
        assert "b" not in os.listdir(there) and "b" in os.listdir(here)
        with (there / "b").open() as old:
            (here / "c").write_text("two")
            os.replace(here / "c", here / "b")
            with pytest.raises(OSError) as raised:
                os.pread(old.fileno(), 3, 0)
            assert raised.value.errno == errno.ESTALE
        with (here / "a").open("r+") as file, pytest.raises(OSError) as raised:
            fcntl.flock(file, fcntl.LOCK_EX)
        assert raised.value.errno == errno.ENOLCK
    tmp_path = tmp_path / "lost"
    tmp_path.mkdir()
    with two(tmp_path, lost=1.0) as (here, _):
        with pytest.raises(FileExistsError):
            (here / "folder").mkdir()
        assert (here / "folder").is_dir()


@needs_fuse
def test_answers_that_are_lost_are_no_failures(tmp_path: Path) -> None:
    """Every answer to a request that changes names is lost."""
    with two(tmp_path, lost=1.0, delay_s=0.0) as (here, there):
        files.write_atomic(here / "x" / "a.json", "1")
        files.write_atomic(here / "x" / "a.json", "2")
        assert (here / "x" / "a.json").read_text() == "2"
        with files.atomic_folder(here / "arms" / "b") as made:
            (made / "c").write_text("3")
        files.remove_folder(here / "arms" / "b")
        assert os.listdir(tmp_path / "served" / "arms") == []
        with Leases(here / "leases") as mine, Leases(there / "leases") as theirs:
            assert mine.claim("a") and not theirs.claim("a") and theirs.claim("b")
            mine.release("a")
            time.sleep(STALE_S)
            assert theirs.claim("a")
            assert not mine.claim("a") and not mine.claim("b")


@needs_fuse
@pytest.mark.slow
def test_two_machines_on_a_stale_disk_end_with_the_rows_of_a_local_one(tmp_path: Path) -> None:
    trained = 12
    study = words(steps=40, seeds=trained)
    study["methods"] = ["supervised"]
    with serving() as server, two(tmp_path) as (here, there):
        place = Place.made(server, tmp_path, study)
        local = tmp_path / "local"
        assert place.run(local) == 0
        began = time.monotonic()
        running = []
        for number, mount in enumerate((here, there)):
            odd = {"machine": f"machine-{number}", "lapse_s": 9.0, "checkpoint_every_s": 0.5}
            log, steps = str(tmp_path / f"log {number}"), str(tmp_path / f"steps {number}")
            setting = place.setting(mount / "store", log=log, steps=steps, **odd)
            running.append(server.start(setting))
        codes = [child.wait(400) for child in running]
        took = time.monotonic() - began
        said = "\n".join(child.said for child in running)
        assert codes == [0, 0], said
        assert "Traceback" not in said and "headwater: " not in said, said
        assert_same_results(tmp_path / "served" / "store", local)
        each = [_steps(path) for path in tmp_path.glob("steps *")]
        assert min(each) > 0, "one of them did all"
        steps_twice = sum(each) / (40 * trained) - 1
        print(f"{each} steps of {40 * trained}, {steps_twice:.0%} twice, {took:.0f} s\n{said}")
        assert steps_twice <= 0.25


def _steps(journal: Path) -> int:
    return sum(line.startswith("step") for line in journal.read_text().splitlines())
