"""Finished work goes from one store to another."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headwater import digests
from headwater.errors import InputError
from headwater.store import Store, moving
from headwater.store.care import DAMAGED, look
from headwater.store.moving import Moved, copy
from tests.conftest import Cli, Finished, refused
from tests.engines.test_kill import assert_same_results


def same_answers(store: Store, other: Store) -> None:
    names = sorted(path.name for path in other.answers.iterdir())
    assert names == sorted(path.name for path in store.answers.iterdir())
    assert all(
        (store.answers / name).read_bytes() == (other.answers / name).read_bytes() for name in names
    )


def test_a_whole_store_comes_over_and_the_second_time_nothing(
    finished: Finished, tmp_path: Path
) -> None:
    source, target = Store(finished.store), Store(tmp_path / "other", create=True)
    moved = copy(source, target)
    assert (moved.arms, moved.cells, moved.there, moved.damaged) == (4, 16, 0, [])
    assert moved.bytes > 0
    assert_same_results(target.root, source.root)
    same_answers(target, source)
    for arm in source.all_arms():
        assert target.read_arm(arm) == source.read_arm(arm)
        assert target.arm_file(arm, "metrics.jsonl") == source.arm_file(arm, "metrics.jsonl")
    again = copy(source, target)
    assert (again.arms, again.cells, again.bytes, again.there) == (0, 0, 0, 20)


def test_a_copy_that_was_cut_short_goes_on_where_it_was(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "_TOGETHER", 4)
    source, target = Store(finished.store), Store(tmp_path / "other", create=True)

    def cut(after: int) -> Callable[[Moved], None]:
        def told(moved: Moved) -> None:
            if moved.arms + moved.cells >= after:
                raise KeyboardInterrupt

        return told

    for after in (1, 2, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            copy(source, target, told=cut(after))
    last = copy(source, target)
    assert last.arms + last.cells < 20 and last.there >= 8
    assert_same_results(target.root, source.root)


def test_nothing_damaged_is_passed_on(finished: Finished, headwater: Cli, tmp_path: Path) -> None:
    broken = Store(shutil.copytree(finished.store, tmp_path / "broken"))
    first, second, third, *_ = sorted(broken.finished_cells())
    path = broken.rows / f"{first}.json"
    path.write_text(path.read_text().replace("top1", "top2"))
    answers = broken.answers / f"{second}.npy"
    answers.write_bytes(answers.read_bytes()[:-3])
    arm, other_arm, *_ = sorted(broken.all_arms())
    weights = broken.arms / arm / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (broken.arms / other_arm / "arm.json").write_text("{")
    code, out, _ = headwater("push", broken.root, tmp_path / "other", "--json")
    facts = json.loads(out)
    assert code == 1 and (facts["arms"], facts["cells"]) == (2, 14)
    told = "\n".join(facts["damaged"])
    assert all(name in told for name in (first, second, arm, other_arm))
    target = Store(tmp_path / "other")
    assert third in target.finished_cells() and not target.has_arm(arm)
    code, out, _ = headwater("pull", target.root, finished.store)
    assert code == 0 and "2 arms" in out and "2 cells" in out
    assert_same_results(target.root, finished.store)


def test_what_a_study_needs_or_rows_alone(
    finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    code, out, _ = headwater("push", finished.store, tmp_path / "a", "--rows-only", "--json")
    assert code == 0 and json.loads(out)["arms"] == 0 and json.loads(out)["cells"] == 16
    code, out, err = headwater(
        "push", finished.store, tmp_path / "b", "--study", finished.study, "--json"
    )
    assert code == 0 and json.loads(out)["arms"] == 4, err
    refused(headwater("push", finished.store, finished.store), "is the same store")
    refused(headwater("push", tmp_path / "none", tmp_path / "c"), "there is no store here")


def test_labels_come_over(tmp_path: Path) -> None:
    source, target = (Store(tmp_path / name, create=True) for name in "ab")
    codes = np.arange(12) % 3
    source.write_labels("l", codes, [f"{at}.png" for at in range(12)], {"view": "cluster:3"})
    assert copy(source, target).labels == 1
    np.testing.assert_array_equal(target.read_labels("l", 12), codes)
    assert target.labels_record("l") == source.labels_record("l")
    (source.labels / "l" / "codes.npy").write_bytes(b"x")
    moved = copy(source, Store(tmp_path / "c", create=True))
    assert moved.labels == 0 and moved.damaged[0].startswith("labels l: ")
    with pytest.raises(InputError, match="there is no store here"):
        Store(tmp_path / "d")


def with_files(
    finished: Finished, root: Path, change: Callable[[dict[str, str]], object]
) -> tuple[Store, str]:
    """A finished store, and one of its arms, whose record names other files; its seal is sound."""
    store = Store(shutil.copytree(finished.store, root))
    arm = min(store.all_arms())
    path = store.arms / arm / "arm.json"
    record = digests.read_record(path)
    changed = {**record, "files": change(record["files"])}
    path.write_text(json.dumps(digests.sealed(changed)))
    return store, arm


@pytest.mark.parametrize(
    "name", ["../../../out.txt", "/tmp/headwater-out.txt", "a/b", ".bashrc", "a\\b"]
)
def test_names_that_lead_out_of_an_arm_are_refused(
    finished: Finished, tmp_path: Path, name: str
) -> None:
    evil, arm = with_files(finished, tmp_path / "evil", lambda files: {**files, name: "0" * 64})
    target = Store(tmp_path / "home" / "store", create=True)
    before = set(tmp_path.rglob("*"))
    moved = copy(evil, target, arms=[arm], cells=[])
    assert moved.arms == 0 and "is damaged" in moved.damaged[0]
    assert not target.has_arm(arm)
    assert {
        path for path in set(tmp_path.rglob("*")) - before if "store" not in path.parts
    } == set()


@pytest.mark.parametrize("files", [[1], {"encoder.safetensors": 7}, "text"])
def test_a_record_of_another_form_is_a_damaged_arm(
    finished: Finished, tmp_path: Path, files: object
) -> None:
    odd, _ = with_files(finished, tmp_path / "odd", lambda _: files)
    assert [found.kind for found in look(odd).findings] == [DAMAGED]
    assert copy(odd, Store(tmp_path / "other", create=True)).arms == 3
