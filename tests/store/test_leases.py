"""Leases: one owner a unit, given back, taken over, and no clock of a worker asked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from headwater.store import Leases
from headwater.store import leases as room


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "leases"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def grown_old(folder: Path, unit: str, seconds: float) -> None:
    path = folder / f"{unit}.json"
    before = path.stat().st_mtime - seconds
    os.utime(path, (before, before))


def of_another_machine(folder: Path, unit: str) -> None:
    path = folder / f"{unit}.json"
    words = json.loads(path.read_text()) | {"host": "elsewhere", "token": "theirs"}
    path.write_text(json.dumps(words))


def test_a_unit_has_one_owner_until_it_is_given_back(folder: Path) -> None:
    with Leases(folder) as one, Leases(folder) as other:
        assert one.claim("a") and one.claim("a") and other.claim("b")
        assert not other.claim("a") and not one.claim("b")
        held = other.held("a")
        assert held is not None and held.owner == one.owner and 0 <= held.age_s < 5
        other.release("a")  # which is not its own
        assert not other.claim("a")
        one.release("a")
        assert other.claim("a") and not one.claim("a")
    assert not folder.exists()


def test_of_many_who_try_at_once_one_gets_it(folder: Path) -> None:
    several = [Leases(folder) for _ in range(16)]
    for turn in range(20):
        start, got = threading.Barrier(16), list[int]()

        def claims(number: int, turn: int = turn) -> None:
            start.wait()  # noqa: B023
            if several[number].claim(f"{turn}"):
                got.append(number)  # noqa: B023

        threads = [threading.Thread(target=claims, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1
    for each in several:
        each.close()
    assert not folder.exists()


def test_without_hard_links_one_gets_it_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*names: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with Leases(folder) as one, Leases(folder) as other:
        assert one.claim("a") and not other.claim("a")
        one.release("a")
        assert other.claim("a")
    assert not files(folder)


def test_a_lease_without_a_sign_of_life_is_taken_over_by_one(folder: Path) -> None:
    with Leases(folder) as lost, Leases(folder) as one, Leases(folder) as other:
        assert lost.claim("a")
        grown_old(folder, "a", room.LAPSE_S - 5)
        assert not one.claim("a")
        grown_old(folder, "a", 10)
        assert one.claim("a") and not other.claim("a")
        lost.release("a")  # which woke up, and does not know
        held = other.held("a")
        assert held is not None and held.owner == one.owner


def test_an_owner_that_shows_life_keeps_what_it_has(folder: Path) -> None:
    with Leases(folder, beat_s=0.05) as one, Leases(folder, lapse_s=1.0) as other:
        assert one.claim("a")
        until = time.monotonic() + 2.0
        while time.monotonic() < until:
            assert not other.claim("a")
            time.sleep(0.1)


def test_an_owner_that_slept_keeps_nobody_else_alive(folder: Path) -> None:
    with Leases(folder, beat_s=0.05) as slept:
        assert slept.claim("a")
        of_another_machine(folder, "a")
        time.sleep(0.3)
        grown_old(folder, "a", 1000)
        time.sleep(0.3)
        held = slept.held("a")
        assert held is not None and held.age_s > 900
        assert slept.claim("a")  # since the other one shows no life


def test_the_work_of_a_process_that_was_killed_is_free_at_once(folder: Path) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom headwater.store.leases import Leases\n"
        "print(Leases(Path(sys.argv[1])).claim('a'), flush=True)\ninput()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "True\n"
    with Leases(folder) as leases:
        assert not leases.claim("a")
        process.kill()
        process.wait()
        assert leases.claim("a")
    process.stdin.close()
    process.stdout.close()


@pytest.mark.parametrize("said", [b"", b"{", b"[]", b'{"token": 1}', b"[" * 5000])
def test_a_lease_that_says_nothing_is_believed_as_long_as_it_is_new(
    said: bytes, folder: Path
) -> None:
    folder.mkdir()
    (folder / "a.json").write_bytes(said)
    with Leases(folder) as leases:
        assert not leases.claim("a")
        grown_old(folder, "a", room.LAPSE_S + 1)
        assert leases.claim("a")


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_a_worker_is_not_asked(
    hours: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files' own clock tells how old a lease is."""
    with Leases(folder) as one, Leases(folder) as other:
        assert one.claim("a")
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 3600 * hours)
        held = other.held("a")
        assert held is not None and -1 < held.age_s < 5 and not other.claim("a")


def test_whoever_comes_second_waits(folder: Path) -> None:
    done = list[str]()

    def second() -> None:
        with Leases(folder) as leases, leases.alone("a"):
            done.append("second")

    with Leases(folder) as leases:
        with leases.alone("a"):
            thread = threading.Thread(target=second)
            thread.start()
            time.sleep(0.3)
            done.append("first")
        thread.join()
    assert done == ["first", "second"]
