"""`headwater tasks`: the list, one task in detail, and index files; nothing of it needs torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater.sources.published import PUBLISHED
from headwater.study import Study
from tests.conftest import Cli, refused
from tests.needs import DATA, needs_data
from tests.sources import released
from tests.sources.test_folder import put_images


def facts_of(answer: tuple[int, str, str]) -> Any:
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def folder(root: Path) -> Path:
    """12 images of two classes by three cameras, with a csv."""
    rows = [
        (f"{name}/{i}.png", name, f"camera {i // 2}") for name in ("cat", "dog") for i in range(6)
    ]
    put_images(root, *(path for path, *_ in rows))
    (root / "labels.csv").write_text(
        "path,level1,camera\n" + "".join(f"{','.join(row)}\n" for row in rows)
    )
    return root


@pytest.mark.slow
def test_importing_it_loads_no_torch() -> None:
    code = (
        "import sys, headwater.facts.tasks, headwater.show.tasks; "
        "print(sorted({'torch', 'torchvision', 'timm', 'open_clip'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_list_names_every_published_set_with_or_without_a_data_root(
    headwater: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWATER_DATA", raising=False)
    facts = facts_of(headwater("tasks", "--json"))
    assert [row["task"] for row in facts["tasks"]] == list(PUBLISHED)
    assert facts["folders"] == []
    dtd = next(row for row in facts["tasks"] if row["task"] == "dtd")
    assert (
        dtd["classes"],
        dtd["train"],
        dtd["val"],
        dtd["test"],
        dtd["metric"],
        dtd["on_disk"],
    ) == (47, 1880, 1880, 1880, "top1", False)
    code, text, _ = headwater("tasks")
    assert code == 0
    assert all(name in text for name in PUBLISHED)
    assert "No data root is given" in text


def test_what_lies_under_the_data_root_is_found_and_verified(
    headwater: Cli, tmp_path: Path
) -> None:
    released.dtd(tmp_path / "dtd")
    folder(tmp_path / "ours")
    put_images(tmp_path / "plain" / "cat", "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "labels.csv").write_text("id\nx\n")
    facts = facts_of(headwater("tasks", "--json", "--data-root", str(tmp_path)))
    assert {row["task"] for row in facts["tasks"] if row["on_disk"]} == {"dtd"}
    found = {row["folder"]: row for row in facts["folders"]}
    assert set(found) == {"ours", "plain", "broken"}
    assert (found["ours"]["images"], found["ours"]["classes"], found["ours"]["splits"]) == (
        12,
        [2],
        {"split": {"train": 12}},
    )
    assert found["plain"]["images"] is None
    assert "there is no column path" in found["broken"]["problem"]
    checked = facts_of(headwater("tasks", "--json", "--verify", "--data-root", str(tmp_path)))
    dtd = next(row for row in checked["tasks"] if row["task"] == "dtd")
    assert dtd["verified"] is False
    assert "6 train images where Describable Textures (DTD) has 1,880" in dtd["problem"]
    assert {row["folder"]: row["images"] for row in checked["folders"]}["plain"] == 1
    code, text, _ = headwater("tasks", "--verify", "--data-root", str(tmp_path))
    assert code == 0
    assert "yes, DAMAGED" in text
    assert "cannot be read" in text


def test_a_set_that_is_not_here_shows_where_it_is_got_and_how_it_should_lie(
    headwater: Cli, tmp_path: Path
) -> None:
    folder(tmp_path / "eurosat")
    code, text, _ = headwater("tasks", "eurosat", "--data-root", str(tmp_path))
    assert code == 0
    for words in (
        "https://github.com/phelber/EuroSAT",
        "21,600 train, 5,400 test",
        "eurosat/EuroSAT_RGB/<class>/*.jpg",
        "is not the set as published",
    ):
        assert words in text
    facts = facts_of(headwater("tasks", "cct20", "--json"))
    assert facts["variants"]["trans"]["test"] == 23_275
    assert list(facts["groups"]) == ["location", "seq_id"]


def test_a_folder_in_detail(headwater: Cli, tmp_path: Path) -> None:
    root = folder(tmp_path / "ours")
    for arguments in (
        ("tasks", str(root)),
        ("tasks", "show", str(root)),
        ("tasks", "ours", "--data-root", str(tmp_path)),
    ):
        facts = facts_of(headwater(*arguments, "--json"))
        assert facts["class_names"] == ["cat", "dog"]
        assert facts["groups"] == {"camera": 3, "level1": 2}
        assert facts["images_per_class"]["split"]["train"]["largest"] == {
            "class": "cat",
            "images": 6,
            "share": 0.5,
        }
    assert "smallest class cat (6), largest cat (6, 50.0%)" in headwater("tasks", str(root))[1]


def test_a_published_set_on_disk_in_detail(
    headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    released.pets(tmp_path / "pets")
    refused(headwater("tasks", "pets", "--data-root", str(tmp_path)), "has 3,680")
    values = {**vars(PUBLISHED["pets"]), "classes": 3, "sizes": {"train": 9, "test": 6}}
    monkeypatch.setitem(PUBLISHED, "pets", type(PUBLISHED["pets"])(**values))
    facts = facts_of(headwater("tasks", "pets", "--data-root", str(tmp_path), "--json"))
    assert (facts["images"], facts["classes"], facts["on_disk"], facts["metric"]) == (
        15,
        [3, 2],
        True,
        "mean_per_class",
    )


def test_an_index_file_is_written_once_and_a_study_takes_it(headwater: Cli, tmp_path: Path) -> None:
    root, out = folder(tmp_path / "ours"), tmp_path / "index.csv"
    command = (
        "tasks",
        "split",
        str(root),
        "--test",
        "0.34",
        "--seed",
        "1",
        "--group",
        "camera",
        "--out",
        str(out),
        "--json",
    )
    facts = facts_of(headwater(*command))
    assert facts["images"] == {"train": 8, "val": 0, "test": 4}
    assert facts["groups"] == 3
    assert facts["missing_classes"] == {}
    before = out.read_bytes()
    assert facts_of(headwater(*command)) == facts, "the same split again is no accident"
    refused(headwater(*command, "--seed", "2", "--test", "0.5"), "holds another split")
    assert out.read_bytes() == before
    hint = (
        headwater(*command[:-1])[1].split("use it: data: ")[1].replace("\n", " ")
    )  # what it says can be put into a study as it is
    assert yaml.safe_load(hint) == {
        "ours": {"kind": "folder", "path": str(root), "split_file": str(out)}
    }
    from headwater.plan import Plan
    from tests.conftest import tiny

    words = tiny(
        data={
            "ours": {"kind": "folder", "path": str(root), "split_file": str(out)},
            "paint": tiny()["data"]["paint"],
        },
        tasks={"pets": {"data": "ours", "group": "camera"}},
    )
    task = Plan.opened(Study.model_validate(words)).tasks["pets"]
    assert (len(task.train), len(task.val), len(task.test)) == (4, 4, 4)


@pytest.mark.slow
def test_options_may_stand_before_the_command(headwater: Cli, tmp_path: Path) -> None:
    folder(tmp_path / "ours")
    assert "index file" in headwater("tasks", "--help", "split")[1]
    x = str(tmp_path / "x.csv")
    assert (
        facts_of(
            headwater("tasks", "-o", x, "--data-root", str(tmp_path), "split", "ours", "--json")
        )["wrote"]
        == x
    )
    assert (
        facts_of(
            headwater("tasks", f"-o{x}", "--data-root", str(tmp_path), "split", "ours", "--json")
        )["wrote"]
        == x
    )
    for command in (("split", "ours", "--out", x), ("show", "ours"), ("ours",)):
        after = facts_of(headwater("tasks", *command, "--data-root", str(tmp_path), "--json"))
        assert (
            facts_of(headwater("tasks", "--data-root", str(tmp_path), "--json", *command)) == after
        )
        assert facts_of(headwater("tasks", f"--data-root={tmp_path}", "--json", *command)) == after


def test_mistakes_are_one_line(headwater: Cli, tmp_path: Path) -> None:
    root = folder(tmp_path / "ours")
    refused(headwater("tasks", "no-such-set"), "no published task")
    refused(headwater("tasks", ""), "no published task")
    refused(
        headwater("tasks", "split", str(root), "--test", "2", "--out", str(tmp_path / "x.csv")),
        "is no share",
    )
    refused(
        headwater("tasks", "split", str(root), "--group", "cam", "--out", str(tmp_path / "x.csv")),
        "no group column 'cam'",
    )
    refused(
        headwater(
            "tasks", "split", str(root), "--labels", "level:4", "--out", str(tmp_path / "x.csv")
        ),
        "there is no level:4",
    )
    refused(headwater("tasks", "split", str(root)), "--out")
    assert not (tmp_path / "x.csv").exists()


@needs_data
def test_the_real_folders_are_listed_and_split(headwater: Cli, tmp_path: Path) -> None:
    facts = facts_of(headwater("tasks", "--json", "--data-root", str(DATA)))
    found = {row["folder"]: row for row in facts["folders"]}
    assert found["grocery"]["classes"] == [81, 43, 3]
    out = tmp_path / "eurosat.csv"
    made = facts_of(
        headwater(
            "tasks",
            "split",
            str(Path(str(DATA)) / "eurosat"),
            "--test",
            "0.2",
            "--val",
            "0.1",
            "--out",
            str(out),
            "--json",
        )
    )
    assert made["images"] == {"train": 4900, "val": 700, "test": 1400}
