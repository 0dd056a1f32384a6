"""What a network disk answers that did what it was asked, and was asked again; and folders that
somebody removes because they are empty.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from headwater import files
from headwater.store import Leases, Store, studies


def lost(monkeypatch: pytest.MonkeyPatch, name: str, again: int) -> None:
    """What this operation of `os` does is done, and its answer is that to the second request."""
    done = getattr(os, name)

    def twice(*words: Any, **more: Any) -> None:
        done(*words, **more)
        raise OSError(again, os.strerror(again), str(words[0]))

    monkeypatch.setattr(os, name, twice)


def test_a_rename_whose_answer_was_lost_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        lost(patched, "replace", errno.ENOENT)
        files.write_atomic(tmp_path / "a", "1")
    assert (tmp_path / "a").read_text() == "1"
    with monkeypatch.context() as patched:
        lost(patched, "rename", errno.ENOENT)
        with files.atomic_folder(tmp_path / "b") as made:
            (made / "c").write_text("2")
        assert (tmp_path / "b" / "c").read_text() == "2"
        files.remove_folder(tmp_path / "b")
    assert os.listdir(tmp_path) == ["a"]


def test_a_rename_that_was_not_done_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(old: Path, new: Path) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(old))

    (tmp_path / "a").write_text("before")
    monkeypatch.setattr(os, "replace", refuses)
    with pytest.raises(FileNotFoundError):
        files.write_atomic(tmp_path / "a", "1")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "before"


def test_a_lease_that_is_ours_without_our_knowing_is_found_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "leases"
    with Leases(folder) as mine, Leases(folder) as theirs:
        assert mine.claim("a")
        mine._held.clear()
        assert not theirs.claim("a") and mine.claim("a")


def test_a_folder_of_leases_that_somebody_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, write, turns = tmp_path / "leases", Path.write_bytes, [1, 2]

    def removed_before(path: Path, data: bytes) -> int:
        if turns:
            turns.pop()
            folder.rmdir()
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", removed_before)
    with Leases(folder) as leases:
        assert leases.claim("a") and not turns


def test_a_folder_of_studies_that_somebody_removed_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", create=True)
    folder, write, turns = store.root / "studies", Path.write_bytes, [1]

    def removed_before(path: Path, data: bytes) -> int:
        if turns:
            turns.pop()
            folder.rmdir()
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", removed_before)
    assert studies.put(store, "a", {}, None).is_file() and not turns


def test_a_full_disk_without_links_keeps_no_lease_of_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "leases"

    def refused(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", refused)
    real = Path.open

    class Full:
        def __init__(self, path: Path) -> None:
            self._file = real(path, "xb")

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        write = refused

    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **m: Full(path) if mode == "xb" else real(path, mode)
    )
    with Leases(folder) as leases:
        with pytest.raises(OSError, match="No space left") as raised:
            leases.claim("a")
        assert raised.value.filename == str(folder / "a.json")
        assert not list(folder.glob("[!.]*"))


def test_leases_of_the_dead_are_swept_when_nothing_is_left(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    with Leases(store.root / "leases") as alive:
        assert alive.claim("alive") and alive.claim("dead") and alive.claim("old")
        for unit in ("dead", "old"):
            del alive._held[unit]
        dead = store.root / "leases" / "dead.json"
        dead.write_text(dead.read_text().replace(f'"pid": {os.getpid()}', '"pid": 999999999'))
        os.utime(store.root / "leases" / "old.json", (1, 1))
        assert store.sweep_leases() == 2
        assert [path.name for path in store.root.glob("leases/[!.]*")] == ["alive.json"]
