"""Copies inside a task and inside a source, from files to rows and the verdict."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwater import work
from headwater.analysis import decide, verdict
from headwater.analysis.evidence import evidence_of
from headwater.facts.tasks import task_facts
from headwater.plan import Plan
from headwater.plan import plan as planning
from headwater.report.provenance import warnings
from headwater.rows import to_frame
from headwater.sources.hashes import ByteHashes
from headwater.store import Store
from headwater.study import Study
from headwater.work.fields import cell_fields
from tests.analysis.synthetic import one_row
from tests.conftest import Cli, tiny, write_study
from tests.test_leaks import picture
from tests.toy import FP32


def small(text: str) -> bytes:
    """A PNG of one pixel, another one for another text."""
    file = io.BytesIO()
    colour = hashlib.sha256(text.encode()).digest()
    Image.new("RGB", (1, 1), (colour[0], colour[1], colour[2])).save(file, "PNG")
    return file.getvalue()


def filled(root: Path, *, val: int = 3, train: int = 6, test: int = 5) -> Path:
    """Two classes of files that differ."""
    for split, count in (("train", train), ("val", val), ("test", test)):
        for name in ("cat", "dog"):
            for i in range(count):
                path = root / split / name / f"{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(small(f"{split} {name} {i}"))
    return root


def study(root: Path, **changes: Any) -> Study:
    data = {"photos": {"kind": "folder", "path": str(root)}}
    words = {
        "study": "copies",
        "data": data,
        "sources": ["photos"],
        "methods": ["scratch", "simclr"],
        "seeds": 1,
        "budget": {"steps": 2},
        "recipe": {"batch": 4},
        "tasks": {"photos": {"data": "photos"}},
        "protocols": {"ridge": {"shots": ["full"]}},
    }
    return Study.model_validate(words | changes)


def copied(root: Path, first: str, second: str) -> None:
    (root / second).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(root / first, root / second)


def hard_linked(root: Path, first: str, second: str) -> None:
    os.link(root / first, root / second)


def linked(root: Path, first: str, second: str) -> None:
    (root / second).symlink_to(root / first)


SCRATCH = {"methods": ["scratch"], "sources": []}


def told(root: Path, **changes: Any) -> str:
    """What a plan of a task alone says."""
    return "\n".join(Plan.make(study(root, **{"methods": ["scratch"], **changes})).notes)


@pytest.mark.parametrize("way", [copied, hard_linked, linked], ids=lambda way: way.__name__)
@pytest.mark.parametrize(
    "original",
    ["train/cat/0.png", "val/cat/0.png", "train/dog/3.png"],
    ids=["train", "val", "other class"],
)
def test_a_test_image_that_is_a_copy_of_its_own_train_or_val_is_told_in_the_plan(
    tmp_path: Path, way: Callable[[Path, str, str], None], original: str
) -> None:
    root = filled(tmp_path / "photos")
    assert "copies" not in told(root)
    way(root, original, "test/cat/more.png")
    text = told(root)
    assert "1 of the 11 test images of task 'photos' are copies of its own train or val" in text
    assert "subset unleaked" in text
    assert ("stands under two classes" in text) is ("dog" in original)


def test_copies_are_found_where_val_is_cut_from_train_and_under_another_split_column(
    tmp_path: Path,
) -> None:
    root = tmp_path / "photos"
    lines = ["path,split,split_other,level1"]
    for i in range(24):
        path = root / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(small(str(i % 20)))  # 20 ... 23 are copies of 0 ... 3
        split = "train" if i < 16 else "test"
        other = "test" if i % 3 == 2 else "train"
        lines.append(f"{i}.png,{split},{other},{'cat' if i % 2 else 'dog'}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    bytes_of = {i: str(i % 20) for i in range(24)}
    for column, is_test in (
        ("split", lambda i: i >= 16),
        ("split_other", lambda i: i % 3 == 2),
    ):
        own = {bytes_of[i] for i in range(24) if not is_test(i)}
        test = [bytes_of[i] for i in range(24) if is_test(i)]
        expected = sum(each in own for each in test)
        assert expected
        text = told(root, tasks={"photos": {"data": "photos", "split_column": column}})
        assert f"{expected} of the {len(test)} test images" in text


def test_copies_between_val_and_train_are_told(tmp_path: Path) -> None:
    root = filled(tmp_path / "photos")
    copied(root, "train/cat/0.png", "val/cat/again.png")
    assert "1 of the 7 val images of task 'photos' are copies of its training images" in told(root)


def test_a_copy_changes_the_ids_of_its_tasks_cells_and_of_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured before without this knowledge is not taken for what is measured now."""
    root = filled(tmp_path / "photos")
    sound = Plan.make(study(root))
    copied(root, "train/cat/0.png", "test/cat/more.png")
    one = Plan.make(study(root, leakage="bytes", methods=["scratch"]))
    with monkeypatch.context() as blind:
        blind.setattr(planning, "own_copies_of", lambda resolved: {})
        before = Plan.make(study(root, leakage="bytes", methods=["scratch"]))
        (root / "test/cat/more.png").unlink()
        unknowing = Plan.make(study(root))
    assert [arm.id for arm in one.arms] == [arm.id for arm in before.arms]
    assert {cell.id for cell in one.cells}.isdisjoint(cell.id for cell in before.cells)
    assert [cell.id for cell in unknowing.cells] == [cell.id for cell in sound.cells]


def test_ids_say_whether_changed_copies_are_looked_for_inside_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a cell that was measured without the search would answer a study with it."""
    root = filled(tmp_path / "photos")

    def ids(leakage: str) -> list[str]:
        return [cell.id for cell in Plan.make(study(root, **SCRATCH, leakage=leakage)).cells]

    assert ids("auto") == ids("near") and set(ids("auto")).isdisjoint(ids("bytes"))
    of_few = ids("auto")
    monkeypatch.setattr("headwater.plan.overlaps.LOOK_LIMIT", 10)
    assert ids("auto") == ids("bytes") == of_few and set(ids("near")).isdisjoint(of_few)


def in_copies(root: Path, *, classes: bool = True) -> Path:
    """Twelve pictures as 40 files; the first two of them under two classes."""
    root.mkdir()
    lines = ["path,split,level1,caption"]
    for i in range(40):
        number = i % 12
        (root / f"{i:02}.png").write_bytes(small(f"picture {number}"))
        name = "b" if number >= 6 or (i >= 36 and classes and number < 2) else "a"
        lines.append(f"{i:02}.png,train,{name},text {i}")
    return _with_table(root, lines)


def _with_table(root: Path, lines: list[str]) -> Path:
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root


def of_source(root: Path, other: Path, **changes: Any) -> Plan:
    data = {
        "many": {"kind": "folder", "path": str(root)},
        "photos": {"kind": "folder", "path": str(other)},
    }
    return Plan.make(study(other, data=data, sources={"many": changes.pop("use", {})}, **changes))


def distinct(plan: Plan, arm: Any, root: Path) -> int:
    ids = arm.source.table.ids[arm.positions]
    return len({hashlib.sha256((root / name).read_bytes()).hexdigest() for name in ids})


@pytest.mark.parametrize(
    "case",
    [
        {"methods": ["simclr"]},
        {"methods": ["supervised"], "labels": ["level:0", "instance"]},
        {"methods": ["clip"], "captions": "caption"},
        {"methods": ["simclr"], "use": {"sizes": [20, 30]}},
        {"methods": ["supervised"], "labels": ["some"]},
    ],
    ids=["images", "labels", "captions", "sizes", "subset"],
)
def test_unique_images_and_epochs_count_pictures_and_not_files(
    tmp_path: Path, case: dict[str, Any]
) -> None:
    root, other = in_copies(tmp_path / "many"), filled(tmp_path / "photos")
    if case.get("labels") == ["some"]:
        lines = (root / "labels.csv").read_text().splitlines()
        lines = [line.replace(",a,", ",c,") if i < 4 else line for i, line in enumerate(lines)]
        _with_table(root, lines)
        case |= {"views": {"some": {"of": "level:0", "subset": ["a", "b"]}}}
    for budget in ({"epochs": 8}, {"images_seen": 320}):
        plan = of_source(root, other, **case, budget=budget)
        for cell in plan.cells:
            number = distinct(plan, cell.arm, root)
            row = cell_fields(plan, cell)
            assert number <= 12 and len(cell.arm.positions) > number
            assert row["unique_images"] == number
            seen = 320 if "images_seen" in budget else 8 * number
            assert row["images_seen"] == seen and row["epochs"] == pytest.approx(seen / number)


def test_copies_in_a_source_and_a_picture_under_two_classes_are_told_everywhere(
    headwater: Cli, tmp_path: Path
) -> None:
    root, other = in_copies(tmp_path / "many"), filled(tmp_path / "photos")
    texts = ["\n".join(of_source(root, other).notes)]
    for command in (("tasks", str(root)), ("labels", "describe", str(root))):
        code, out, _ = headwater(*command)
        assert code == 0
        texts.append(out)
    for text in texts:
        flat = " ".join(text.split())
        assert "its 40 files are 12 different pictures" in flat
        assert "2 pictures stand under two classes or more" in flat
        assert "'00.png' is 'a' and '36.png' is 'b'" in flat
    sound = " ".join(of_source(filled(tmp_path / "sound"), other).notes)
    assert "pictures" not in sound and "two classes" not in sound


def test_files_without_a_class_are_under_no_second_one(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    root.mkdir()
    lines = ["path,split,level1"]
    for i, name in enumerate(["cat", "", "dog", "cat"]):
        (root / f"{i}.png").write_bytes(small("one picture" if i < 2 else f"picture {i}"))
        lines.append(f"{i}.png,train,{name}")
    assert task_facts(str(_with_table(root, lines)), None)["notes"] == [
        "its 4 files are 3 different pictures, byte for byte"
    ]


def test_a_table_of_a_folder_counts_copies_by_split_column_and_says_where_nobody_looked(
    headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = filled(tmp_path / "photos")
    copied(root, "train/cat/0.png", "test/cat/more.png")
    copied(root, "val/dog/0.png", "test/dog/more.png")
    copied(root, "train/dog/1.png", "val/dog/more.png")
    code, out, _ = headwater("tasks", str(root), "--json")
    facts = json.loads(out)["copies"]
    assert code == 0 and facts["splits"] == {"split": {"test": 2, "val": 1}}
    assert (facts["files"], facts["pictures"]) == (31, 28)
    monkeypatch.setattr("headwater.facts.copies.LOOK_BYTES", 100)
    assert json.loads(headwater("tasks", str(root), "--json")[1])["copies"]["pictures"] is None
    assert "copies were not looked for" in headwater("tasks", str(root))[1]
    again = json.loads(headwater("tasks", str(root), "--json", "--verify")[1])
    assert again["copies"]["pictures"] == 28


def test_a_second_plan_reads_no_image_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = filled(tmp_path / "photos")
    copied(root, "train/cat/0.png", "test/cat/more.png")
    read: list[int] = []
    plain = ByteHashes._hash
    monkeypatch.setattr(
        ByteHashes, "_hash", lambda own, some: (read.extend(some.tolist()), plain(own, some))[1]
    )
    words = study(root, methods=["scratch"])
    first = Plan.make(words, cache=tmp_path / "cache")
    assert len(read) == 29
    second = Plan.make(words, cache=tmp_path / "cache")
    assert len(read) == 29 and second.notes == first.notes


def test_a_generated_world_has_no_copies() -> None:
    plan = Plan.make(Study.model_validate(tiny()))
    assert set(plan.own_copies.values()) == {0}
    for arm in plan.arms:
        assert arm.unique_images == len(arm.positions)


def drawn(root: Path, *, test: int = 8, train: int = 12) -> Path:
    """Two classes of pictures, none like another."""
    for i in range(test + train):
        split = "test" if i < test else "train"
        path = root / split / f"kind{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    return root


def measured(root: Path, folder: Path, **changes: Any) -> tuple[Plan, Store, Any]:
    store = Store(folder, create=True)
    plan = Plan.make(study(root, **{"methods": ["scratch"], **changes}), cache=store.cache)
    session = work.Session(plan, store, FP32)
    for arm in plan.arms:
        work.run_arm(session, arm)
        work.run_cells(session, arm, "photos", list(plan.cells))
    return plan, store, plan.rows(store)


def test_scores_are_also_given_without_the_copies_and_rows_count_them(tmp_path: Path) -> None:
    root = drawn(tmp_path / "photos")
    copied(root, "train/kind0/10.png", "test/kind0/00.png")
    copied(root, "train/kind1/11.png", "test/kind0/02.png")
    plan, store, rows = measured(root, tmp_path / "store", leakage="bytes")
    assert set(rows["own_test_copies"]) == {2} and rows["own_similar_test_images"].isna().all()
    task = plan.tasks["photos"]
    names = [name.rpartition("/")[2] for name in task.source.table.ids[task.test]]
    kept = np.array([name not in ("00.png", "02.png") for name in names])
    right = store.read_answers(plan.cells[0].id, len(kept))
    assert right is not None
    top1 = rows[rows["metric"] == "top1"].set_index("subset")
    assert top1.loc["unleaked", "n_test"] == 6 and top1.loc["all", "n_test"] == 8
    assert top1.loc["unleaked", "value"] == pytest.approx(right[kept].mean())


def _jpeg(root: Path) -> None:
    picture(9).save(root / "test" / "kind0" / "00.png", "JPEG", quality=60)


def _png(root: Path) -> None:
    picture(9).save(root / "test" / "kind0" / "00.png", compress_level=0)


def _mirrored(root: Path) -> None:
    picture(9).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "test" / "kind0" / "00.png")


def _cropped(root: Path) -> None:
    picture(9).crop((3, 5, 62, 61)).save(root / "test" / "kind0" / "00.png")


def _smaller(root: Path) -> None:
    picture(9).resize((48, 48)).save(root / "test" / "kind0" / "00.png")


@pytest.mark.parametrize("change", [_jpeg, _png, _mirrored, _cropped, _smaller])
def test_changed_copies_are_found_where_the_search_is_on(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    root = drawn(tmp_path / "photos")
    change(root)
    _, _, rows = measured(root, tmp_path / "store")
    assert set(rows["own_test_copies"]) == {0} and set(rows["own_similar_test_images"]) == {1}
    assert set(rows.loc[rows["subset"] == "unleaked", "n_test"]) == {7}


def test_changed_copies_are_told_by_tasks_leaks_and_by_the_next_plan(
    headwater: Cli, tmp_path: Path
) -> None:
    root = drawn(tmp_path / "photos")
    _jpeg(root)
    words = study(root, methods=["scratch"]).model_dump(mode="json", exclude_unset=True)
    file, store = write_study(tmp_path / "copies.yaml", words), str(tmp_path / "store")
    assert "1 of the 8" not in headwater("plan", str(file), "--store", store)[1]
    code, out, _ = headwater("tasks", "leaks", str(file), "--store", store, "--json")
    (record,) = json.loads(out)["own"]
    assert code == 0 and (record["equal_files"], record["num_flagged"]) == (0, 1)
    assert "its own train and val" in headwater("tasks", "leaks", str(file), "--store", store)[1]
    assert "1 of the 8 test images of task 'photos' are copies of its own train or val" in " ".join(
        headwater("plan", str(file), "--store", store)[1].split()
    )


def test_a_task_whose_every_test_image_is_a_copy_decides_nothing(tmp_path: Path) -> None:
    root = drawn(tmp_path / "photos")
    for i in range(8):
        copied(root, f"train/kind{i % 2}/{8 + i:02}.png", f"test/kind{i % 2}/{i:02}.png")
    assert "no test image is left" in told(root)
    _, _, rows = measured(root, tmp_path / "store", leakage="bytes")
    assert set(rows["subset"]) == {"all"} and set(rows["own_test_copies"]) == {8}
    said = verdict(rows)
    assert said.answer.startswith("Nothing can be concluded")
    assert any("Every test image of photos" in sentence for sentence in said.sentences)
    assert any("Every test image of photos" in sentence for sentence in warnings(rows))


def two_arms(**changes: Any) -> list[dict[str, Any]]:
    rows = []
    for seed in range(4):
        for labels, value in (("level:0", 0.6), ("level:1", 0.5)):
            name = f"{labels}-{seed}-{changes.get('task')}"
            rows.append(
                one_row(cell=name, arm=f"{labels}-{seed}", seed=seed, labels=labels)
                | {"value": value + 0.01 * seed, "own_test_copies": 0}
                | changes
            )
    return rows


def test_the_verdict_goes_by_what_is_left_and_says_so() -> None:
    """level:1 is better on the whole test set, and worse where its copies are left out."""
    rows = two_arms(own_test_copies=29, own_similar_test_images=40)
    rows = [row | {"value": 0.9 - row["value"] / 10} for row in rows]
    rows += [
        row | {"subset": "unleaked", "n_test": 960, "value": 0.9 - row["value"]} for row in rows
    ]
    table = to_frame(rows)
    best = {row["labels"]: row["value"] for row in rows if row["subset"] == "unleaked"}
    said = verdict(table)
    assert said.labels == max(best, key=best.__getitem__)
    (sentence,) = [each for each in said.sentences if "copies of the task's own" in each]
    assert sentence.startswith("Beware: 40 of the 1,000 test images of birds")
    assert "29 byte for byte, 11 changed" in sentence
    assert not any("pre-training has seen" in each for each in said.sentences)
    assert any("40 of the 1,000 test images" in each for each in warnings(table))


def test_a_task_of_copies_is_set_aside_and_the_others_decide() -> None:
    rows = two_arms(task="birds")
    rows += [
        row | {"value": 1.0 - row["value"], "own_test_copies": row["n_test"]}
        for row in two_arms(task="copies")
    ]
    said = verdict(to_frame(rows))
    assert said.labels == "level:0" and said.decision.tasks == ("birds",)
    assert any("Set aside: copies (every test image is a copy" in each for each in said.sentences)
    (line,) = evidence_of(to_frame(rows)).lines()
    assert line.tasks == ("birds",)


def test_what_learns_from_none_of_a_tasks_images_is_not_touched_by_its_copies() -> None:
    rows = two_arms(own_test_copies=1000, protocol="zeroshot", n_train=0, head_init="text")
    said = verdict(to_frame(rows))
    assert said.labels == "level:0"
    rows += [row | {"cell": row["cell"] + "t", "protocol": "knn", "n_train": 50} for row in rows]
    found = evidence_of(to_frame(rows))
    assert found.copied == {("birds", "knn")}


def test_decide_says_it_too() -> None:
    notes = decide(to_frame(two_arms(own_test_copies=29))).notes
    assert sum("29 of the 1,000 test images of birds" in note for note in notes) == 1
    sentences = verdict(to_frame(two_arms(own_test_copies=29))).sentences
    assert sum("29 of the 1,000 test images of birds" in each for each in sentences) == 1


def test_cells_that_nobody_looked_at_for_copies_are_told_beside_those_that_were() -> None:
    rows = two_arms(own_test_copies=5)
    rows[0]["own_test_copies"] = None
    text = " ".join(warnings(to_frame(rows)))
    assert "1 cell on birds" in text and "before copies inside a task were looked for" in text
    assert "before copies" not in " ".join(warnings(to_frame(two_arms(own_test_copies=5))))


def test_a_table_without_copies_has_nothing_to_beware_of() -> None:
    for copies in (0, None):
        assert warnings(to_frame(two_arms(own_test_copies=copies))) == []
