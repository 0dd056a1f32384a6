"""What a store holds is believed where it is what was written: a flipped bit of any kind of file is
found, files of sync tools disturb nobody, the order of checkpoints owes nothing to a clock, and
stores of before there were digests are read.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tracemalloc
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from headwater import api, checkpoint, digests, models
from headwater.engines import worker
from headwater.engines.pool import Pool
from headwater.errors import InputError
from headwater.facts.curves import curves_facts
from headwater.methods.text import load_text
from headwater.rows import comparable, read_rows
from headwater.steps import journal_path, looks_error, looks_error_of
from headwater.store import Store
from tests.conftest import Finished
from tests.test_rows import row
from tests.toy import keep_answers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def flips(path: Path, number: int, seed: int = 0) -> Iterator[int]:
    """Flips so many bits of a file, one at a time, and puts it back."""
    whole = path.read_bytes()
    for bit in np.random.default_rng(seed).permutation(8 * len(whole))[:number].tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        yield bit
    path.write_bytes(whole)


# a flip in each kind
def test_a_flipped_bit_of_rows_is_an_error_or_leaves_them_as_they_were(store: Store) -> None:
    store.write_rows("c", [row(), row(metric="top5", value=0.75)])
    rows = store.read_cell("c")
    same = 0
    for _ in flips(store.rows / "c.json", 600):
        try:
            assert store.read_cell("c") == rows
            same += 1
        except InputError as error:
            assert "c.json" in str(error)
            assert "damaged" in str(error)
    assert same < 60
    assert store.read_cell("c") == rows


def test_a_flipped_bit_of_answers_is_an_error_that_says_what_helps(store: Store) -> None:
    right = np.random.default_rng(0).random(300) < 0.5
    keep_answers(store, "c", right)
    for _ in flips(store.answers / "c.npy", 300):
        with pytest.raises(InputError, match="`headwater run --redo c`"):
            store.read_answers("c", 300)
    np.testing.assert_array_equal(store.read_answers("c", 300), right)


def test_a_flipped_bit_of_labels_is_an_error_or_leaves_them(store: Store) -> None:
    codes = np.arange(30) % 3
    store.write_labels("l", codes, [str(at) for at in range(30)], {"view": "cluster:3"})
    for name in ("codes.npy", "labels.json", "ids.txt"):
        for _ in flips(store.labels / "l" / name, 200):
            try:
                np.testing.assert_array_equal(store.read_labels("l", 30), codes)
            except InputError as error:
                assert "labels are damaged" in str(error)
    np.testing.assert_array_equal(store.read_labels("l", 30), codes)


@pytest.fixture(scope="module")
def trained(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, str]:
    """A copy of a finished store, and its CLIP arm, which keeps a text tower."""
    root = shutil.copytree(finished.store, tmp_path_factory.mktemp("trained") / "store")
    opened = Store(root)
    (arm,) = {path.parent.name for path in root.glob("arms/*/text.json")}
    return opened, arm


def test_a_flipped_bit_of_arm_json_is_an_error_or_leaves_what_it_says(
    trained: tuple[Store, str],
) -> None:
    opened, arm = trained
    record = opened.read_arm(arm)
    for _ in flips(opened.arm_folder(arm) / "arm.json", 400):
        try:
            assert opened.read_arm(arm) == record
        except InputError as error:
            assert "this arm is damaged" in str(error)
            assert f"--redo {arm}" in str(error) or "remove its folder" in str(error)


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json"])
def test_a_flipped_bit_of_an_encoder_is_an_error_or_leaves_its_weights(
    name: str, trained: tuple[Store, str]
) -> None:
    opened, arm = trained
    folder = opened.arm_folder(arm)
    sha256 = opened.read_arm(arm)["encoder_sha256"]
    whole = models.trained_encoder(folder, sha256).state_dict()
    for _ in flips(folder / name, 12):
        try:
            found = models.trained_encoder(folder, sha256).state_dict()
        except InputError as error:
            assert str(folder) in str(error)
        else:
            assert name == "encoder.json"
            assert all(torch.equal(found[key], whole[key]) for key in whole)


def test_every_file_of_an_arm_has_its_digest_in_the_record(trained: tuple[Store, str]) -> None:
    opened, arm = trained
    folder = opened.arm_folder(arm)
    held = digests.read_record(folder / "arm.json")["files"]
    assert set(held) == {path.name for path in folder.iterdir()} - {"arm.json"}
    for name in held:
        for _ in flips(folder / name, 3):
            with pytest.raises(InputError, match=rf"{name}: is damaged; .*--redo {arm}"):
                opened.arm_file(arm, name)


def test_curves_of_a_damaged_file_are_not_drawn(
    trained: tuple[Store, str], finished: Finished
) -> None:
    opened, arm = trained
    plan = api.make_plan(finished.study)
    for _ in flips(opened.arm_folder(arm) / "metrics.jsonl", 1):
        with pytest.raises(InputError, match=r"metrics\.jsonl: is damaged"):
            curves_facts(plan, opened)


# what is made again
@pytest.mark.parametrize("kind", ["rows", "failure"])
def test_a_run_measures_damaged_rows_again_tells_it_and_keeps_the_file(
    kind: str, finished: Finished, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = Path(shutil.copytree(finished.store, tmp_path / "store"))
    before = comparable(api.run(finished.study, store=root, device="cpu", engine="inline"))
    victim = min((root / "rows").iterdir())
    data = victim.read_bytes()
    damaged = data.replace(b'"value"', b'"valuf"', 1)
    if kind == "failure":
        victim.unlink()
        victim = victim.with_name(victim.stem + ".failed.json")
    victim.write_bytes(damaged)
    with pytest.raises(InputError, match="damaged"):
        read_rows(root)
    with caplog.at_level(logging.WARNING, "headwater"):
        rows = api.run(finished.study, store=root, device="cpu", engine="inline")
    pd.testing.assert_frame_equal(comparable(rows), before)
    (told,) = [line for line in caplog.messages if victim.name in line]
    assert "damaged" in told
    assert (root / "damaged" / victim.name).read_bytes() == damaged


def test_damaged_rows_of_another_study_do_not_stop_this_one(
    finished: Finished, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished.store, tmp_path / "store"))
    (root / "rows" / "0123456789abcdef.json").write_text("{")
    assert api.status_facts(finished.study, store=root)["failed"] == 0
    rows = api.run(finished.study, store=root, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}


# files of sync tools
STRAYS = (
    "%s (1).json",
    "%s 2.json",
    "%s (conflicted copy 2026-11-28).json",
    "%s (Anna's conflicted copy).json",
    "%s.sync-conflict-20261128-101500-ABCDEF.json",
    "%s-DESKTOP-7.json",
    "._%s.json",
    ".~lock.%s.json",
    ".%s.json.Xy12Ab",
    "~%s.json",
)


@pytest.mark.parametrize("name", STRAYS)
@pytest.mark.parametrize("content", ["whole", "half", "empty"])
def test_copies_that_a_sync_tool_leaves_beside_rows_disturb_nobody(
    name: str, content: str, store: Store
) -> None:
    store.write_rows("c", [row()])
    whole = (store.rows / "c.json").read_text()
    stray = store.rows / (name % "c")
    stray.write_text({"whole": whole, "half": whole[: len(whole) // 2], "empty": ""}[content])
    assert store.finished_cells() == {"c"}
    assert store.failed_cells() == set()
    assert len(read_rows(store.root)) == 1
    assert stray.exists()


CHECKPOINT_STRAYS = (
    "step-abc.json",
    "step-0000000009 2.json",
    "step-0000000009 (conflicted copy).json",
    "step-0000000009.sync-conflict-1.json",
    "._step-0000000009.json",
    ".~lock.step-0000000009.json",
    "step-9.json",
)


@pytest.mark.parametrize("name", CHECKPOINT_STRAYS)
def test_files_that_a_sync_tool_leaves_among_checkpoints_are_neither_read_nor_removed(
    name: str, tmp_path: Path
) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
    stray = tmp_path / name
    shutil.copy(tmp_path / "step-0000000001.json", stray)
    os.utime(stray, (9e9, 9e9))
    assert checkpoint.latest(tmp_path)[0] == 2
    os.utime(stray, (1, 1))
    for step in (3, 4):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
    assert checkpoint.latest(tmp_path)[0] == 4
    assert stray.exists()


def test_a_copy_of_a_record_under_the_name_of_another_step_is_no_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
    for end in ("json", "safetensors"):
        shutil.copy(tmp_path / f"step-0000000001.{end}", tmp_path / f"step-0000000007.{end}")
    assert checkpoint.latest(tmp_path)[0] == 2


# order
@pytest.mark.parametrize("hours", [-1, -24, 1, -500_000])
def test_a_clock_that_is_set_to_another_hour_changes_no_order(hours: int, tmp_path: Path) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
    then = [path.stat().st_mtime - 3600 * hours for path in tmp_path.iterdir()]
    for path, time_then in zip(tmp_path.iterdir(), then, strict=True):
        os.utime(path, (time_then, time_then))
    for step in (3, 4, 5):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
        found = checkpoint.latest(tmp_path)
        assert found is not None
        assert found[0] == step
        assert found[1]["w"].tolist() == [step] * 4
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        "step-0000000004.json",
        "step-0000000005.json",
    ]


def test_checkpoints_that_went_back_count_on_from_the_highest(tmp_path: Path) -> None:
    for step in (90, 100, 5, 10):
        checkpoint.write(tmp_path, step, {"w": torch.zeros(1)}, {})
        for path in tmp_path.iterdir():
            os.utime(path, (1000, 1000))  # a disk that keeps no times
    assert checkpoint.latest(tmp_path)[0] == 10
    counts = [digests.read_record(path)["count"] for path in sorted(tmp_path.glob("*.json"))]
    assert counts == [3, 4]


def test_checkpoints_of_before_there_were_counts_come_before_those_with_one(
    tmp_path: Path,
) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
        path = tmp_path / f"step-{step:010d}.json"
        said = {key: value for key, value in digests.read_record(path).items() if key != "count"}
        path.write_text(json.dumps({**said, "record_sha256": digests.record_digest(said)}))
        os.utime(path, (9e9 + step, 9e9 + step))
    assert checkpoint.latest(tmp_path)[0] == 2
    checkpoint.write(tmp_path, 3, {"w": torch.full((4,), 3.0)}, {})
    assert checkpoint.latest(tmp_path)[0] == 3
    assert len(list(tmp_path.glob("*.json"))) == checkpoint.KEEP


def test_a_checkpoint_that_is_passed_over_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
    for name in ("step-0000000002.safetensors", "step-0000000002.json"):
        caplog.clear()
        for _ in flips(tmp_path / name, 1, seed=1):
            with caplog.at_level(logging.WARNING, "headwater"):
                assert checkpoint.latest(tmp_path)[0] == 1
        (told,) = caplog.messages
        assert "step-0000000002.json: this checkpoint is damaged" in told
        assert "goes on from step 1" in told


# stores of before there were digests
def without_digests(root: Path) -> None:
    """The store as it was written before."""
    for path in root.glob("rows/*.json"):
        path.write_text(json.dumps(json.loads(path.read_text())["rows"]))
    for path in root.glob("arms/*/*.json"):
        record = digests.unsealed(json.loads(path.read_text()))
        record.pop("files", None)
        if path.name == "encoder.json":
            record.pop("sha256")
        path.write_text(json.dumps(record))
    for path in root.glob("answers/*.npy"):
        np.save(path, np.load(path))
    for path in root.glob("cache/*.hashes"):
        path.unlink()
    for path in root.glob("cache/pixels/*/chunks.npy"):
        path.unlink()
    for path in root.glob("cache/pixels/*/meta.json"):
        record = digests.unsealed(json.loads(path.read_text()))
        path.write_text(json.dumps({k: v for k, v in record.items() if k != "chunks"}))


def test_a_store_of_before_there_were_digests_is_read_and_gone_on_with(
    finished: Finished, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(finished.store, tmp_path / "store"))
    before = comparable(read_rows(root))
    without_digests(root)
    pd.testing.assert_frame_equal(comparable(read_rows(root)), before)
    opened = Store(root)
    plan = api.make_plan(finished.study, store=root)
    n_test = len(plan.tasks["other"].test)
    for cell in plan.cells[::3]:
        assert opened.read_answers(cell.id, n_test) is not None
        opened.drop_cell(cell.id)
    assert all(opened.read_arm(arm.id)["id"] == arm.id for arm in plan.arms)
    rows = api.run(finished.study, store=root, device="cpu", engine="inline")
    pd.testing.assert_frame_equal(comparable(rows), before)


# headers and records that promise
def test_a_header_of_weights_promises_in_vain(trained: tuple[Store, str], tmp_path: Path) -> None:
    opened, arm = trained
    folder = Path(shutil.copytree(opened.arm_folder(arm), tmp_path / "arm"))
    about = digests.read_record(folder / "encoder.json")
    about.pop("sha256")
    (folder / "encoder.json").write_text(json.dumps(about))
    header = (
        b'{"w": {"dtype": "F32", "shape": [1099511627776], "data_offsets": [0, 4398046511104]}}'
    )
    for data in (
        (1 << 60).to_bytes(8, "little") + b"{}",
        (1 << 26).to_bytes(8, "little") + b"{}",
        len(header).to_bytes(8, "little") + header,
        b"\x02" + bytes(7) + b"{}",
        b"",
    ):
        (folder / "encoder.safetensors").write_bytes(data)
        tracemalloc.start()
        try:
            with pytest.raises(InputError, match="holds no readable encoder"):
                models.load_encoder(folder)
            assert tracemalloc.get_traced_memory()[1] < 20_000_000
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize(
    "words",
    [
        {"image_size": 10**6, "architecture": "test_vit"},
        {"image_size": 10**9},
        {"image_size": 4096, "model_args": {"img_size": 4096, "patch_size": 1}},
        {"image_size": True},
        {"image_size": 0},
        {"image_size": -32},
    ],
)
def test_sizes_of_an_encoder_that_no_study_has_are_not_built(
    words: dict[str, Any], trained: tuple[Store, str], tmp_path: Path, monkeypatch: Any
) -> None:
    opened, arm = trained
    folder = Path(shutil.copytree(opened.arm_folder(arm), tmp_path / "arm"))
    about = digests.read_record(folder / "encoder.json")
    (folder / "encoder.json").write_text(json.dumps({**about, **words}))
    monkeypatch.setattr(models, "build_encoder", None)
    with pytest.raises(InputError, match=r"holds no readable encoder \(images of"):
        models.load_encoder(folder)


@pytest.mark.parametrize("size", ["context_length", "width", "layers", "output_dim", "heads"])
def test_sizes_of_a_text_tower_are_those_of_its_tensors_before_it_is_built(
    size: str, trained: tuple[Store, str], tmp_path: Path
) -> None:
    opened, arm = trained
    folder = Path(shutil.copytree(opened.arm_folder(arm), tmp_path / "arm"))
    about = digests.read_record(folder / "text.json")
    (folder / "text.json").write_text(json.dumps({**about, size: 1_000_000}))
    with pytest.raises(InputError, match=r"the text tower is damaged \(sizes"):
        load_text(folder)


# what is told
def test_what_a_worker_tells_reaches_its_parent(caplog: pytest.LogCaptureFixture) -> None:
    out = io.StringIO()
    handler = worker._Teller(out)
    handler.emit(
        logging.LogRecord("headwater", logging.WARNING, "", 0, "%s", ("made again",), None)
    )
    message = json.loads(out.getvalue())
    assert message == {"event": "told", "line": "made again"}

    class Heard(Pool[Any]):
        def on_event(self, *event: Any) -> None:
            raise AssertionError

        failed = on_event

    with caplog.at_level(logging.WARNING, "headwater"):
        Heard([], {}, Path(), deque())._heard(0, message)
    assert caplog.messages == ["made again"]


def test_what_is_told_holds_nothing_that_a_terminal_obeys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "headwater"):
        digests.made_again(Path("a\x1b[31m\nb"), "\u202ewhy", "this cache")
    (told,) = caplog.messages
    assert "\x1b" not in told
    assert "\n" not in told
    assert "\u202e" not in told


@pytest.mark.parametrize("name", ["s (1).jsonl", "s (conflicted copy).jsonl", "._s.jsonl"])
def test_half_a_copy_of_a_journal_disturbs_nobody_and_a_whole_one_counts(
    name: str, store: Store
) -> None:
    path = journal_path(store, "s")
    path.parent.mkdir()
    path.write_text(json.dumps(digests.sealed({"until": 0.9})) + "\n")
    (path.parent / name).write_text('{"until"')
    assert looks_error_of(store) == pytest.approx(looks_error(store, "s"))
    (path.parent / name).write_text(json.dumps(digests.sealed({"until": 0.99})) + "\n")
    assert looks_error_of(store) < looks_error(store, "s")
    path.write_text('{"until"')
    with pytest.raises(InputError, match="cannot be read as the journal"):
        looks_error_of(store)


def test_a_flipped_bit_of_a_journal_is_an_error_or_leaves_its_first_line(store: Store) -> None:
    path = journal_path(store, "s")
    path.parent.mkdir()
    path.write_text(json.dumps(digests.sealed({"until": 0.9})) + "\n")
    expected = looks_error(store, "s")
    for _ in flips(path, 300):
        try:
            assert looks_error(store, "s") == expected
        except InputError as error:
            assert "cannot be read as the journal" in str(error)
