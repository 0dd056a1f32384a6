"""Copies of test images in a source, from data to rows and to `headwater tasks leaks`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwater import cost, work
from headwater.plan import Plan, overlaps
from headwater.store import Store
from headwater.study import Study
from headwater.work import leaks
from tests.conftest import Cli, write_study
from tests.toy import FP32

COPIES = 5


def picture(seed: int) -> Image.Image:
    """64 x 64 of smooth colours with fine detail, unlike any other seed's."""
    rng = np.random.default_rng(seed)
    parts = [
        Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize(
            (64, 64), Image.Resampling.BICUBIC
        )
        for n in (4, 11, 24)
    ]
    return Image.fromarray(
        np.mean([np.asarray(part, dtype=np.float64) for part in parts], axis=0).astype(np.uint8)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 40 pictures, a task of 16 test and 24 training pictures; the first COPIES test
    pictures stand in the source, changed.
    """
    root = tmp_path_factory.mktemp("leaks")
    for i in range(40):
        path = root / "source" / "train" / f"class{i % 2}" / f"{i:02}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(1000 + i).save(path, quality=90)
    for i in range(40):
        split = "test" if i < 16 else "train"
        path = root / "task" / split / f"kind{i % 2}" / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    changed = [
        lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        lambda image: image.crop((3, 6, 61, 60)),
        lambda image: image.resize((48, 48)),
        lambda image: image,
        lambda image: image.crop((0, 0, 56, 60)).transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    ]
    for i, change in enumerate(changed):
        change(picture(i)).save(root / "source" / "train" / "class0" / f"copy{i}.jpg", quality=40)
    return root


def words(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "study": "leaky",
        "data": {
            "source": {"kind": "folder", "path": str(root / "source")},
            "task": {"kind": "folder", "path": str(root / "task")},
        },
        "sources": ["source"],
        "methods": ["scratch", "simclr"],
        "seeds": 1,
        "budget": {"steps": 2},
        "recipe": {"batch": 16},
        "tasks": {"kinds": {"data": "task"}},
        "protocols": {"ridge": {"shots": ["full"]}},
        **changes,
    }


def measured(root: Path, folder: Path, **changes: Any) -> tuple[Plan, Store, Any]:
    store = Store(folder, create=True)
    plan = Plan.make(Study.model_validate(words(root, **changes)), cache=store.cache)
    for arm in plan.arms:
        work.run_arm(work.Session(plan, store, FP32), arm)
        work.run_cells(
            work.Session(plan, store, FP32),
            arm,
            "kinds",
            [cell for cell in plan.cells if cell.arm is arm],
        )
    return plan, store, plan.rows(store)


def test_scores_are_also_given_without_the_copies_of_an_arm_that_saw_them(
    root: Path, tmp_path: Path
) -> None:
    plan, store, rows = measured(root, tmp_path / "store")
    trained, scratch = rows[rows["method"] == "simclr"], rows[rows["method"] == "scratch"]
    assert set(trained["similar_test_images"]) == {COPIES} and set(
        trained["leaked_test_images"]
    ) == {0}
    without = trained[trained["subset"] == "unleaked"]
    assert len(without) and set(without["n_test"]) == {16 - COPIES}
    assert scratch["similar_test_images"].isna().all() and set(scratch["subset"]) == {"all"}
    found = leaks.look(work.Session(plan, store, FP32), plan.arms[1], "kinds").matches
    task = plan.tasks["kinds"]
    assert found.flagged.tolist() == [
        str(name).rpartition("/")[2] < f"{COPIES:02}" for name in task.source.table.ids[task.test]
    ]


def test_flags_depend_on_the_arms_images_and_on_no_other_arm(root: Path, tmp_path: Path) -> None:
    small = {"sources": {"source": {"sizes": [30]}}}
    both = {"sources": {"source": {"sizes": [30, "all"]}}}
    alone = measured(root, tmp_path / "alone", **small)[2]
    among = measured(root, tmp_path / "among", **both)[2]
    one, other = (
        rows[rows["size"] == "30"].set_index(["cell", "metric", "subset"])["value"]
        for rows in (alone, among)
    )
    assert one.to_dict() == other.to_dict()
    few = among[among["size"] == "30"]["similar_test_images"].max()
    assert 0 < few < among[among["size"] == "all"]["similar_test_images"].max() == COPIES


def test_pairs_are_kept_and_made_again_where_they_are_damaged(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store, _ = measured(root, tmp_path / "store")
    (kept,) = (store.cache / "leaks").iterdir()

    def again() -> int:
        fresh = Plan.make(plan.study, cache=store.cache)
        return int(
            leaks.look(
                work.Session(fresh, store, FP32), fresh.arms[1], "kinds"
            ).matches.flagged.sum()
        )

    monkeypatch.setattr(leaks, "near_duplicates", None)
    assert again() == COPIES
    monkeypatch.undo()
    (kept / "pairs.parquet").write_bytes(b"PAR1 and nothing else")
    assert again() == COPIES
    assert json.loads((kept / "about.json").read_text())["num_test"] == 16


def test_bytes_alone_and_large_pairs_are_not_looked_at(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = measured(root, tmp_path / "bytes", leakage="bytes")[2]
    assert rows["similar_test_images"].isna().all() and set(rows["subset"]) == {"all"}
    monkeypatch.setattr(overlaps, "LOOK_LIMIT", 100)
    plan = Plan.make(Study.model_validate(words(root)))
    assert any("looked for as equal files only" in note for note in plan.notes)
    assert not plan.looks_for_copies("source", "kinds")
    assert Plan.make(Study.model_validate(words(root, leakage="near"))).looks_for_copies(
        "source", "kinds"
    )


def test_of_too_many_pairs_the_likely_ones_are_looked_up_and_kept_apart(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store, rows = measured(root, tmp_path, leakage="near")
    monkeypatch.setattr(overlaps, "LOOK_LIMIT", 100)
    monkeypatch.setattr(leaks, "near_duplicates", None)
    again = Plan.make(Study.model_validate(words(root, leakage="near")), cache=store.cache)
    assert [arm.id for arm in again.arms] == [arm.id for arm in plan.arms]
    found = leaks.look(work.Session(again, store, FP32), again.arms[1], "kinds").matches
    assert int(found.flagged.sum()) == COPIES == rows["similar_test_images"].max()
    assert len(list((store.cache / "leaks").glob("*/pairs.parquet"))) == 2
    monkeypatch.setattr(leaks, "near_duplicates_at_scale", None)
    kept = leaks.look(work.Session(again, store, FP32), again.arms[1], "kinds").matches
    assert int(kept.flagged.sum()) == COPIES


def test_the_search_is_counted_in_what_a_study_costs(root: Path) -> None:
    hours = {}
    for leakage in ("near", "bytes"):
        plan = Plan.make(Study.model_validate(words(root, leakage=leakage)))
        encoder = cost.measured(plan, "cpu")
        hours[leakage] = cost.estimate(plan, plan.arms, plan.cells, encoder, workers=1).hours
    assert 3600 * (hours["near"] - hours["bytes"]) == pytest.approx(
        (45 + 16 + 24 + 16) / 2000, rel=0.01
    ), "one search for all arms of one source, and one inside the task"


def test_the_command_counts_draws_and_asks_an_arm(
    headwater: Cli, root: Path, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "leaky.yaml", words(root))
    plan, *_ = measured(root, tmp_path / "store")
    code, out, _ = headwater(
        "tasks",
        "leaks",
        str(study),
        "--store",
        str(tmp_path / "store"),
        "--sheets",
        str(tmp_path / "sheets"),
        "--out",
        str(tmp_path / "leaks.html"),
        "--json",
    )
    assert code == 0
    (record,) = json.loads(out)["pairs"]
    assert (
        record["source"],
        record["task"],
        record["test_images"],
        record["equal_files"],
        record["num_flagged"],
    ) == ("source", "kinds", 16, 0, COPIES)
    assert Path(record["sheet"]).read_bytes()[:4] == b"\x89PNG"
    page = Path(json.loads(out)["page"]).read_text()
    assert page.count("data:image/png;base64,") == 2 * COPIES and "00.png" in page
    assert "shown" not in record, "pictures are in the page alone"
    code, _, err = headwater("tasks", "leaks", str(study), "--out", str(tmp_path / "leaks.png"))
    assert code == 2 and "end the file's name in .html" in err
    code, out, _ = headwater(
        "tasks",
        "leaks",
        str(study),
        "--store",
        str(tmp_path / "store"),
        "--arm",
        plan.arms[1].id[:8],
    )
    assert code == 0 and "31.25%" in out and "confirmed as copies" in out
    code, _, err = headwater(
        "tasks", "leaks", str(study), "--store", str(tmp_path / "store"), "--arm", "zzzzzz"
    )
    assert code == 2 and err.count("\n") == 1 and "0 arms" in err


def test_clean_writes_an_index_file_without_leaks_and_copies_that_a_study_takes(
    headwater: Cli, root: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(root / "source", source)
    again = picture(1007).resize((56, 56))  # a copy of an image that the source has already
    again.save(source / "train" / "class1" / "zz.jpg", quality=60)
    data = {**words(root)["data"], "source": {"kind": "folder", "path": str(source)}}
    study = write_study(tmp_path / "leaky.yaml", words(root, data=data))
    store = ("--store", str(tmp_path / "store"))
    clean = ("--clean", str(tmp_path / "clean"))
    code, out, _ = headwater("tasks", "leaks", str(study), *store, *clean, "--json")
    (record,) = json.loads(out)["cleaned"]
    assert code == 0
    assert (record["images"], record["leaking"], record["copies"]) == (46, COPIES, 1)
    lines = Path(record["wrote"]).read_text().splitlines()
    left_out = {line.partition(",")[0] for line in lines[1:] if line.endswith(",")}
    assert left_out == {"train/class1/zz.jpg"} | {
        f"train/class0/copy{i}.jpg" for i in range(COPIES)
    }
    data["source"]["split_file"] = record["wrote"]
    plan = Plan.make(Study.model_validate(words(root, data=data)))
    assert plan.arms[1].unique_images == 40
    code, out, _ = headwater("tasks", "leaks", str(study), *store, *clean)
    assert code == 0 and "40 of 46 images of source; left out are 5 that a test set" in out
    Path(record["wrote"]).write_text("path,split\n")
    code, _, err = headwater("tasks", "leaks", str(study), *store, *clean)
    assert code == 2 and "exists already and holds another split" in err
