"""`headwater doctor` and `gc`: what is wrong is found, and nothing that is sound goes."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater import api
from headwater.store import Leases, Store
from headwater.store.care import DAMAGED, HALF, OLD, ORPHAN, STRAY, free, look
from tests.conftest import Cli, Finished, refused


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Store:
    return Store(shutil.copytree(finished.store, tmp_path / "store"))


def first(folder: Path, pattern: str = "*") -> Path:
    return sorted(folder.glob(pattern))[0]


def flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def old(path: Path) -> None:
    before = time.time() - 90_000
    os.utime(path, (before, before))


def test_a_sound_store_has_nothing_wrong_and_every_file_is_compared(store: Store) -> None:
    looked = look(store)
    assert not looked.findings
    arms = sum(1 for path in store.arms.rglob("*") if path.is_file())
    cells = len(list(store.rows.glob("*.json"))) + len(list(store.answers.glob("*.npy")))
    assert looked.checked == arms + cells
    assert looked.sizes["arms"] > 0 and set(looked.sizes) >= {"arms", "rows", "answers"}


def flipped_in_arm(store: Store, name: str) -> Path:
    flipped(path := first(store.arms, f"*/{name}"))
    return path.parent


def gone_from_arm(store: Store, name: str) -> Path:
    (path := first(store.arms, f"*/{name}")).unlink()
    return path.parent


def flipped_file(folder: Path) -> Path:
    flipped(path := first(folder))
    return path


def copied(path: Path) -> Path:
    return Path(shutil.copy(path, path.with_name("copy of.json")))


WRONG: dict[str, tuple[str, Callable[[Store], Path]]] = {
    "weights": (DAMAGED, lambda store: flipped_in_arm(store, "encoder.safetensors")),
    "a record": (DAMAGED, lambda store: flipped_in_arm(store, "arm.json")),
    "a file gone": (DAMAGED, lambda store: gone_from_arm(store, "encoder.json")),
    "no record": (ORPHAN, lambda store: gone_from_arm(store, "arm.json")),
    "rows": (DAMAGED, lambda store: flipped_file(store.rows)),
    "answers": (DAMAGED, lambda store: flipped_file(store.answers)),
    "a copy": (STRAY, lambda store: copied(first(store.rows))),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_is_found(what: str, store: Store) -> None:
    kind, spoil = WRONG[what]
    path = spoil(store)
    (found,) = look(store).findings
    assert (found.kind, found.path) == (kind, path)
    freed = free(store, [found])
    assert path.exists() == (kind == STRAY) and (freed > 0) == (kind != STRAY)


def test_what_killed_runs_left_is_found_when_it_is_old(store: Store) -> None:
    left = {
        store.rows / ".a.json.12.tmp": HALF,
        store.answers / f"{'0' * 16}.npy": ORPHAN,
        store.partial / first(store.arms).name / "step-1.safetensors": OLD,
    }
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    young = {found.path for found in look(store).findings}
    assert young == {store.partial / first(store.arms).name}
    for path in left:
        old(path)
    with Leases(store.root / "leases") as leases:
        assert leases.claim("mine") and leases.claim("theirs")
        old(store.root / "leases" / "theirs.json")
        looked = look(store)
        assert sorted(found.kind for found in looked.findings) == sorted([HALF, ORPHAN, OLD, OLD])
        free(store, looked.findings)
        assert not look(store).findings and leases.held("mine") is not None


def test_checkpoints_of_an_arm_in_training_stay(store: Store) -> None:
    going_on = store.partial / ("0" * 16) / "step-0000000003.safetensors"
    going_on.parent.mkdir(parents=True)
    going_on.write_bytes(b"12")
    old(going_on)
    looked = look(store)
    free(store, looked.findings, cache=True)
    assert not looked.findings and going_on.exists()


def test_what_gc_removes_the_next_run_makes_again(
    finished: Finished, store: Store, headwater: Cli
) -> None:
    flipped(first(store.arms, "*/encoder.safetensors"))
    flipped(first(store.rows))
    before = {path.name: path.read_bytes() for path in store.answers.iterdir()}
    code, out, _ = headwater("doctor", store.root)
    assert code == 1 and "2 damaged" in out and f"`headwater gc {store.root}` frees" in out
    code, out, _ = headwater("gc", store.root, "--dry-run", "--json")
    said = json.loads(out)
    assert code == 0 and said["freed"] == 0 < said["would_free"] and len(said["findings"]) == 2
    code, out, _ = headwater("gc", store.root, "--cache")
    assert code == 0 and "freed" in out and not list(store.cache.iterdir())
    api.run(finished.study, store=store.root, device="cpu", engine="inline")
    assert {path.name: path.read_bytes() for path in store.answers.iterdir()} == before
    code, out, _ = headwater("doctor", store.root)
    assert code == 0 and "nothing is wrong" in out


def test_the_cache_of_a_store_in_which_somebody_computes_stays(
    store: Store, headwater: Cli
) -> None:
    with Leases(store.root / "leases", name="9") as leases:
        assert leases.claim("a")
        refused(headwater("gc", store.root, "--cache"), " 9 (process", "try again when it is done")
        assert list(store.cache.iterdir())
        assert headwater("gc", store.root)[0] == 0 and leases.held("a") is not None
    assert headwater("gc", store.root, "--cache")[0] == 0


def test_no_store_is_no_store(headwater: Cli, tmp_path: Path) -> None:
    for command in ("doctor", "gc"):
        refused(headwater(command, tmp_path / "none"), "there is no store here")
