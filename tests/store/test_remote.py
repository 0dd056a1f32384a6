"""A store at an address of an object store (moto's server, which speaks S3 on this machine)."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater import api, objects
from headwater.errors import InputError
from headwater.objects import Objects, address_of
from headwater.rows import comparable, read_rows
from headwater.store import FinishedCell, Store, sending, studies
from headwater.store.moving import copy
from headwater.store.object_leases import ObjectLeases
from headwater.store.remote import ObjectStore
from headwater.study import Study
from tests.conftest import Cli, Finished, refused
from tests.engines.test_kill import assert_same_results
from tests.sources.shards.servers import s3
from tests.test_rows import row

ADDRESS = "s3://corpora/studies/store"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    empty = tmp_path_factory.mktemp("empty")
    with s3(empty) as (_, words), pytest.MonkeyPatch.context() as patch:
        for name, value in words.items():
            patch.setenv(name, value)
        yield words


@pytest.fixture
def address(served: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where nothing lies yet; this machine keeps its copy below `tmp_path`."""
    monkeypatch.setenv("HEADWATER_STORE_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(objects, "TRIES", 3)
    return f"{ADDRESS}-{tmp_path.name}"


def same_results(address: str, reference: Path) -> None:
    store = Store(address)
    assert isinstance(store, ObjectStore)
    store.bring_rows(store.finished_cells() | store.failed_cells())
    pd.testing.assert_frame_equal(
        comparable(read_rows(store.root)), comparable(read_rows(reference)), check_exact=True
    )
    for folder in sorted((reference / "arms").iterdir()):
        mine = store.arm_folder(folder.name) / "encoder.safetensors"
        assert mine.read_bytes() == (folder / "encoder.safetensors").read_bytes()
    assert not Objects(address).list("partial")


def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    """From here on this is another machine, which has no copy yet."""
    monkeypatch.setenv("HEADWATER_STORE_CACHE", str(tmp_path / f"kept by {name}"))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        ("gs://b", "gs://b"),
        ("az://c/d", "az://c/d"),
        ("results", None),
        ("./s3:/x", None),
        (Path("S3://b/x"), "s3://b/x"),
        ("C:/results", None),
        ("ab:", None),
    ],
)
def test_what_is_an_address(given: str | Path, meant: str | None) -> None:
    assert address_of(given) == meant


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("ftp://x/y", "ftp://x/y: nothing can be kept at an address of this kind"),
        (Path("hdfs://x/y"), "hdfs://x/y: nothing can be kept"),
        ("file:///x", "file:///x: nothing can be kept"),
        ("s3:///x", "names no bucket"),
        (Path("s3://"), "s3://: names no bucket"),
    ],
)
def test_an_address_of_another_kind_is_no_folder(given: str | Path, told: str) -> None:
    for ask in (address_of, Store, lambda where: Store(where, create=True)):
        with pytest.raises(InputError, match=told):
            ask(given)


def test_a_study_is_computed_at_an_address_as_in_a_folder(
    address: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.run(finished.study, store=address, device="cpu", engine="inline")
    same_results(address, finished.store)
    names = [head.name for head in Objects(address).list()]
    assert not [name for name in names if name.startswith(("leases", "studies", "partial"))]
    elsewhere(monkeypatch, tmp_path, "b")
    same_results(address, finished.store)
    heard = list[str]()
    rows = api.run(
        finished.study,
        store=address,
        device="cpu",
        engine="inline",
        watch=lambda event: heard.append(event.kind),
    )
    assert not heard and len(rows) == len(read_rows(finished.store))


@pytest.mark.slow
def test_commands_take_an_address(
    address: str, finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    refused(headwater("status", finished.study, "--store", address), "there is no store here")
    store = Store(address, create=True)
    studies.put(store, "tiny-world", Study.load(finished.study).words(), None)
    code, out, err = headwater("worker", address, "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out)["arms"] == 4 and json.loads(out)["cells"] == 16
    same_results(address, finished.store)
    code, out, err = headwater("status", finished.study, "--store", address, "--json")
    assert code == 0 and json.loads(out)["done"] == 16, err
    code, out, err = headwater("rows", "--store", address)
    assert code == 0 and len(out.splitlines()) > 16, err


def test_what_is_there_is_no_store(address: str) -> None:
    Objects(address).put("something.txt", b"mine")
    with pytest.raises(InputError, match="is not empty and is no store"):
        Store(address, create=True)
    Objects(address).put("headwater-store.json", b'{"version": 99}')
    with pytest.raises(InputError, match="was written by a newer headwater; update this one"):
        Store(address)
    Objects(address).put("headwater-store.json", b"[]")
    with pytest.raises(InputError, match="is damaged"):
        Store(address)


def test_a_store_that_was_made_anew_is_not_taken_for_the_one_before(address: str) -> None:
    first = Store(address, create=True)
    (first.rows).mkdir(parents=True)
    Objects(address).remove_all([head.name for head in Objects(address).list()])
    assert Store(address, create=True).root != first.root


def test_an_object_store_that_does_not_answer_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(objects, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(objects, "TRIES", 1)
    with pytest.raises(InputError, match="the object store fails"):
        Store(address)


def test_one_of_those_who_try_at_once_gets_a_lease(address: str) -> None:
    several = [ObjectLeases(Objects(address)) for _ in range(6)]
    try:
        assert sum(leases.claim("arm") for leases in several) == 1
        owner = next(leases for leases in several if leases.claim("arm"))
        owner.release("arm")
        assert sum(leases.claim("arm") for leases in several) == 1
        assert several[0].units() == ["arm"]
    finally:
        for leases in several:
            leases.close()
    assert not Objects(address).list("leases")


@pytest.mark.slow
def test_a_lease_without_a_sign_of_life_is_taken_over_by_one(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ObjectLeases(Objects(address), beat_s=60.0)
    monkeypatch.setattr("headwater.store.leases._is_gone", lambda owner: False)
    assert lost.claim("arm")
    several = [ObjectLeases(Objects(address), lapse_s=2.0) for _ in range(4)]
    assert not any(leases.claim("arm") for leases in several)
    time.sleep(4.0)
    assert sum(leases.claim("arm") for leases in several) == 1
    owner = next(leases for leases in several if leases.claim("arm"))
    assert owner.lost("arm") == 1
    for leases in (*several, lost):
        leases.close()


@pytest.mark.slow
def test_an_owner_shows_that_it_lives(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.store.leases._is_gone", lambda owner: False)
    with ObjectLeases(Objects(address), beat_s=0.3) as owner:
        assert owner.claim("arm")
        time.sleep(3.0)
        other = ObjectLeases(Objects(address), lapse_s=2.0)
        assert not other.claim("arm")
        other.close()


def test_what_could_not_be_sent_is_sent_when_the_store_is_opened_again(
    address: str, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(address, create=True)
    assert isinstance(store, ObjectStore)
    other = Store(finished.store)
    cell = min(other.finished_cells())
    rows = other.read_cell(cell)

    def away(name: str, data: bytes | Path) -> None:
        raise InputError("the object store fails")

    with monkeypatch.context() as patch:
        patch.setattr(store.objects, "put", away)
        with pytest.raises(InputError, match="the object store fails"):
            store.write_cells([FinishedCell(cell, rows, np.ones(8, dtype=bool))])
    assert not Objects(address).list("rows")
    again = Store(address)
    assert again.finished_cells() == {cell} and again.read_cell(cell) == rows
    assert Objects(address).head(f"answers/{cell}.npy") is not None
    assert not list((again.root / "unsent").glob("*.json"))


def test_a_damaged_copy_is_brought_again_and_a_damaged_object_is_measured_again(
    address: str, finished: Finished
) -> None:
    store, other = Store(address, create=True), Store(finished.store)
    cell = min(other.finished_cells())
    store.write_rows(cell, other.read_cell(cell))
    path = store.rows / f"{cell}.json"
    path.write_text(path.read_text().replace("top1", "top2"))
    assert not Store(address).set_aside_damaged([cell])
    assert Store(address).read_cell(cell) == other.read_cell(cell)
    path.write_text(path.read_text().replace("top1", "top2"))
    Objects(address).put(f"rows/{cell}.json", path)
    assert Store(address).set_aside_damaged([cell]) == [cell]
    assert not Store(address).has_cell(cell) and not Objects(address).list("rows")


@pytest.mark.slow
def test_redo_forgets_for_all(
    address: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.run(finished.study, store=address, device="cpu", engine="inline")
    store = Store(address)
    arm = min(path.name for path in (finished.store / "arms").iterdir())
    elsewhere(monkeypatch, tmp_path, "b")
    Store(address).drop_arm(arm)
    assert not Objects(address).list(f"arms/{arm}")
    assert not Store(address).has_arm(arm) and store.root != Store(address).root


WORK = """
import sys
import headwater as hw
hw.run(sys.argv[1], store=sys.argv[2], device="cpu", engine="inline", checkpoint_every_s=0.05)
"""


@pytest.mark.slow
def test_machines_that_are_killed_lose_little(
    address: str, finished: Finished, tmp_path: Path
) -> None:
    """Three machines, each with a copy of its own; one after another is killed."""

    def machine(name: str) -> subprocess.Popen[bytes]:
        words = {**os.environ, "HEADWATER_STORE_CACHE": str(tmp_path / f"kept by {name}")}
        command = [sys.executable, "-c", WORK, str(finished.study), address]
        return subprocess.Popen(command, env=words, start_new_session=True)

    Store(address, create=True)
    for name, seconds in (("a", 9.0), ("b", 11.0), ("a", 13.0)):
        process = machine(name)
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    last = [machine("b"), machine("c")]
    assert [process.wait(300) for process in last] == [0, 0]
    same_results(address, finished.store)


def test_checkpoints_go_to_the_object_store_and_come_back(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "SEND_EVERY_S", 0.05)
    store = Store(address, create=True)
    arm = "a" * 12
    with store.training(arm) as folder:
        folder.mkdir(parents=True)
        (folder / "step-1.safetensors").write_bytes(b"tensors")
        (folder / "step-1.json").write_bytes(b"record")
        time.sleep(0.5)
        assert len(Objects(address).list(f"partial/{arm}")) == 2
    elsewhere(monkeypatch, tmp_path, "b")
    other = Store(address)
    with other.training(arm) as folder:
        assert sorted(path.name for path in folder.iterdir()) == [
            "step-1.json",
            "step-1.safetensors",
        ]
        (folder / "step-1.json").unlink()
        (folder / "step-1.safetensors").unlink()
        (folder / "step-2.json").write_bytes(b"record")
    assert [head.name for head in Objects(address).list("partial")] == [
        f"partial/{arm}/step-2.json"
    ]
    other.drop_checkpoints(arm)
    assert not Objects(address).list("partial")


def test_work_goes_to_an_address_and_comes_back(
    address: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = copy(Store(finished.store), Store(address, create=True))
    assert (moved.arms, moved.cells) == (4, 16)
    same_results(address, finished.store)
    elsewhere(monkeypatch, tmp_path, "b")
    cells = Store(finished.store).finished_cells()
    stand = Store(address).standing(cells | {"none"})
    assert stand.finished == stand.unread == cells, "of which no copy is here"
    assert (stand.asked, stand.failed, stand.diverged) == (17, set(), set())
    asked = Store(address)
    asked.bring_rows(cells)
    assert {end for end, _ in asked.read_ends(cells).values()} == {"done"}
    back = Store(tmp_path / "back", create=True)
    moved = copy(Store(address), back)
    assert (moved.arms, moved.cells) == (4, 16)
    assert_same_results(back.root, finished.store)
    again = copy(Store(address), back)
    assert (again.arms, again.cells, again.there) == (0, 0, 20)


def test_a_cell_that_another_machine_measured_again_has_to_be_read_again(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.rows.kept.LEAST", 1)
    bad = {**row(), "cell": "c", "status": "diverged", "value": None, "reason": "inf"}
    Store(address, create=True).write_rows("c", [bad])
    elsewhere(monkeypatch, tmp_path, "b")
    Store(address).rows_of(["c"])
    assert Store(address).standing({"c"}).diverged == {"c"}, "as the copy here says"
    elsewhere(monkeypatch, tmp_path, "c")
    Store(address).write_rows("c", [{**row(), "cell": "c"}])
    elsewhere(monkeypatch, tmp_path, "b")
    asked = Store(address)
    stand = asked.standing({"c"})
    assert (stand.finished, stand.unread, stand.diverged) == ({"c"}, {"c"}, set())
    asked.bring_rows(["c"])
    assert asked.read_ends(["c"]) == {"c": ("done", "")}


def flipped(address: str, name: str) -> None:
    """An object with another last byte."""
    data = Objects(address).get(name)
    assert data is not None
    Objects(address).put(name, data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])


def an_encoder(address: str) -> tuple[str, str]:
    """An arm, and the name of its encoder's object."""
    names = [head.name for head in Objects(address).list("arms")]
    name = min(name for name in names if name.endswith("-encoder.safetensors"))
    return name.split("/")[1], name


@pytest.mark.slow
def test_doctor_and_gc_look_at_what_is_there(
    address: str,
    finished: Finished,
    headwater: Cli,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copy(Store(finished.store), Store(address, create=True))
    elsewhere(monkeypatch, tmp_path, "b")
    code, out, err = headwater("doctor", address)
    assert code == 0 and "nothing is wrong" in out, out + err
    arm, name = an_encoder(address)
    flipped(address, name)
    row = Objects(address).list("rows")[0].name
    flipped(address, row)
    elsewhere(monkeypatch, tmp_path, "c")
    code, out, _ = headwater("doctor", address)
    assert code == 1 and "2 damaged" in out and arm in out and f"gc {address}" in out
    with pytest.raises(InputError, match=rf"{address}/arms/{arm}: .* is damaged there.*--redo"):
        Store(address).read_arm(arm)
    assert headwater("gc", address)[0] == 0
    assert not Store(address).has_arm(arm) and Objects(address).head(row) is None
    assert headwater("doctor", address)[0] == 0


def test_a_damaged_copy_of_an_arm_is_brought_again(address: str, finished: Finished) -> None:
    store = Store(address, create=True)
    copy(Store(finished.store), store)
    arm, _ = an_encoder(address)
    path = store.root / "arms" / arm / "encoder.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert (Store(address).arm_folder(arm) / path.name).read_bytes() == whole


@pytest.mark.slow
def test_what_another_machine_made_again_is_seen(
    address: str, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Store(address, create=True)
    copy(Store(finished.store), one)
    arm, _ = an_encoder(address)
    cell = next(cell for cell in one.finished_cells() if one.read_cell(cell)[0]["arm"] == arm)
    elsewhere(monkeypatch, tmp_path, "b")
    other, whole = Store(address), Store(finished.store)
    other.drop_cell(cell)
    other.drop_arm(arm)
    rows = [{**row, "host": "another"} for row in whole.read_cell(cell)]
    time.sleep(1.1)  # S3 dates to a second
    other.write_cells([FinishedCell(cell, rows, None)])
    with other.writing_arm(arm) as folder:
        shutil.copytree(whole.arm_folder(arm), folder, dirs_exist_ok=True)
        (folder / "arm.json").unlink()
        other.write_record(folder, {**whole.read_arm(arm), "seconds": 1234.5})
    elsewhere(monkeypatch, tmp_path, "a")
    monkeypatch.setenv("HEADWATER_STORE_CACHE", str(tmp_path / "kept"))
    again = Store(address)
    assert again.root == one.root and again.read_arm(arm)["seconds"] == 1234.5
    again.bring_rows([cell])
    assert again.read_cell(cell)[0]["host"] == "another"


def test_an_object_whose_name_no_path_can_have_is_told(address: str) -> None:
    import boto3

    Store(address, create=True)
    bucket, _, folder = address.removeprefix("s3://").partition("/")
    client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
    client.put_object(Bucket=bucket, Key=f"{folder}/studies/../../esc.json", Body=b"{}")
    with pytest.raises(InputError, match="a name that no path can have; remove that object"):
        list(studies.under_way(Store(address)))
