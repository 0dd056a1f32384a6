"""A disk that is full, fails, has no quota left or may only be read, at every operation of a run:
one clear line or rows that say why, and the same command without the fault ends with the same bits.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.store import Store
from tests.conftest import Cli, Finished
from tests.engines.test_kill import assert_same_results
from tests.needs import needs_tmpfs
from tests.reliability import failpoints
from tests.reliability.fork_server import Server, serving
from tests.reliability.small_study import Place, words

FAULTS = {
    "full": (errno.ENOSPC, True, 1),
    "fails once": (errno.EIO, False, 1),
    "fails": (errno.EIO, True, 3),
    "no quota": (errno.EDQUOT, True, 3),
    "read only": (errno.EROFS, True, 3),
}
"""The error, whether it lasts to the end of the run, and of how many points one is tried."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def place(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Where the study was run once, its points counted; `store` is what it should come to."""
    made = Place.made(server, tmp_path_factory.mktemp("faults"), words())
    store = made.folder / "undisturbed"
    dry = {"points": "counted", "told": str(made.folder / "points"), "checkpoint_every_s": 0.03}
    assert made.run(store, *made.whole(store), **dry) == 0
    return made


def one_clear_line(said: str, store: Path, number: int) -> None:
    """Which file, what happened, and what to do."""
    (line,) = [line for line in said.splitlines() if line.startswith("headwater: ")]
    assert str(store) in line, line
    assert os.strerror(number) in line, line
    assert "run the same command again" in line, line


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_at_every_operation_is_told_and_leaves_nothing_damaged(
    fault: str, place: Place
) -> None:
    number, lasts, every = FAULTS[fault]
    lines = dict.fromkeys((place.folder / "points").read_text().splitlines())
    points = [line for line in lines if line.startswith("before ")]
    points = [each for each in points if failpoints.can_fail(each.split(" ", 1)[1], number)]
    codes, wrong = list[int](), list[str]()
    for at in points[::every]:
        store = place.folder / f"{re.sub('[^a-z]', '-', fault)}-{len(codes)}"
        odd = {"points": "failing", "number": number, "at": at, "lasts": lasts}
        told = str(place.folder / f"{store.name}.told")
        command = place.whole(store) if " reports/" in at else []
        if len(codes) % 10 == 9 and not command:
            command, odd["spares"] = place.shared(store), 4
        code = place.run(store, *command, told=told, checkpoint_every_s=0.03, **odd)
        codes.append(code)
        try:
            said = place.said(store)
            assert code in (0, 1, 2) and "Traceback" not in said
            if code == 2:
                one_clear_line(said, store, number)
            if code == 1:
                opened = Store(store)
                assert opened.failed_cells()
                reasons = [opened.reason_of_failure(cell) for cell in opened.failed_cells()]
                assert all(os.strerror(number) in reason for reason in reasons), reasons
            again = place.run(store, log=str(place.folder / "again.log"))
            assert again == 0, (place.folder / "again.log").read_text()
            assert_same_results(store, place.folder / "undisturbed")
        except AssertionError as error:
            wrong.append(f"{at} ({code}): {str(error)[:600]}\n{place.said(store)[-600:]}")
    counts = {code: codes.count(code) for code in sorted(set(codes))}
    assert not wrong, f"{len(wrong)} of {len(codes)}, {counts}\n" + "\n\n".join(wrong)
    print(f"{fault}: {len(codes)} points, by exit code {counts}")


def test_a_fault_where_rows_are_written_is_a_row_that_says_so_and_the_next_run_mends_it(
    finished: Finished, headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process; the disk fails once, and then takes the row that says so."""
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    cell = min(store.finished_cells())
    words = ("run", finished.study, "--store", store.root, "--device", "cpu", "--quiet")
    store.drop_cell(cell)
    told, at = str(tmp_path / "told"), f"before write rows/{cell}.json~tmp"
    points = failpoints.Failing(str(store.root), told, errno.ENOSPC, at, False)
    with monkeypatch.context() as put:
        failpoints.install(points, put.setattr)
        code, out, err = headwater(*words, "--engine", "inline")
    assert code == 1 and "1 cells FAILED" in out and "Traceback" not in out + err, (out, err)
    assert os.strerror(errno.ENOSPC) in store.reason_of_failure(cell)
    assert headwater(*words, "--engine", "inline")[0] == 0
    assert_same_results(store.root, finished.store)


@needs_tmpfs
@pytest.mark.slow
@pytest.mark.parametrize("percent", [1, 15, 30, 45, 60, 75, 90])
def test_a_disk_that_is_really_full_is_told_and_the_run_goes_on_elsewhere(
    percent: int, place: Place
) -> None:
    """A disk with so many percent of the room that the study takes; what lies on it at the end is
    copied to a larger one.
    """
    whole = place.folder / "undisturbed"
    taken = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    disk, away = place.folder / f"disk {percent}", place.folder / f"away {percent}"
    disk.mkdir()
    odd = {"disk_kb": taken * percent // 100_000 + 8, "copy_to": str(away)}
    log = place.folder / f"disk {percent}.log"
    code = place.run(disk / "store", *place.whole(disk / "store"), log=str(log), **odd)
    said = log.read_text()
    assert "Traceback" not in said and code in (0, 1, 2), said
    if code == 2:
        one_clear_line(said, disk, errno.ENOSPC)
    if code == 1:
        assert "No space left" in said, said
    assert code or percent > 30, "it was never full"
    assert place.run(away, log=str(log)) == 0, log.read_text()
    assert_same_results(away, whole)
