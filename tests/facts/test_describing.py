"""What is told of sources, held to folders whose contents are known."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwater.errors import InputError
from headwater.facts.describing import folder_description, quantiles, script_of, study_description
from headwater.facts.languages import NOT_TOLD, language_of
from headwater.plan import Plan
from headwater.study import Study
from tests.conftest import Cli, write_study
from tests.test_leaks import picture


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 pictures: 20 JPEG files of 64 x 64 and 8 PNG files of 80 x 48, of which two are one file
    and three look like others; a file that is no image, one that is cut; captions of most.
    """
    folder = tmp_path_factory.mktemp("described") / "photos"
    folder.mkdir()
    for number in range(20):
        picture(number).save(folder / f"a{number:02}.jpg", quality=92)
    for number in range(8):
        picture(100 + number).resize((80, 48)).save(folder / f"b{number}.png")
    shutil.copy(folder / "a03.jpg", folder / "a04.jpg")
    picture(7).save(folder / "a08.jpg", quality=40)
    mirrored = picture(9).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.resize((64, 64)).save(folder / "a10.jpg", quality=80)
    picture(101).resize((80, 48)).save(folder / "b2.png", compress_level=1)
    (folder / "c0.jpg").write_bytes(b"no image at all")
    (folder / "c1.jpg").write_bytes((folder / "a00.jpg").read_bytes()[:900])
    texts: dict[str, list[str]] = {f"a{number:02}.jpg": ["a red barn"] for number in range(10)}
    texts |= {f"b{number}.png": ["красный сарай у реки", "赤い納屋"] for number in range(8)}
    texts["a10.jpg"] = ["  "]
    lines = [json.dumps({"path": path, "captions": some}) for path, some in texts.items()]
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def test_images_captions_and_copies_of_a_folder_are_counted(folder: Path) -> None:
    told: list[tuple[str, int, int, int]] = []
    facts = folder_description(folder, watch=lambda *words: told.append(words))
    (entry,) = facts["sources"]
    files = [*folder.glob("*.jpg"), *folder.glob("*.png")]
    assert told[-1] == ("photos", 30, 30, 2)
    assert (entry["images"], entry["looked_at"], entry["unreadable"]) == (30, 30, 2)
    assert entry["formats"] == {"JPEG": 21, "PNG": 8}  # the cut one has its header
    sizes = sum(path.stat().st_size for path in files if path.name != "c0.jpg")
    assert entry["bytes"] == sizes
    assert entry["width"]["0"] == 64 and entry["width"]["1"] == 80 and entry["height"]["0"] == 48
    captions = next(field for field in entry["captions"] if field["field"] == "captions")
    assert captions["languages"] == {"not told": 10, "ja": 8, "ru": 8}  # "a red barn" is short
    assert (captions["images"], captions["without"]) == (30, 12)
    assert (captions["texts"], captions["different"]) == (26, 3)
    assert captions["scripts"] == {"Latin": 10, "Cyrillic": 8, "Han": 8}
    assert captions["words"]["0"] == 1 and captions["words"]["1"] == 4
    assert entry["copies"]["equal_files"] == 1  # a04
    assert entry["copies"]["near"] == 4  # and a08, a10, b2
    assert entry["tasks"] == []


def test_a_sample_is_drawn_by_key_and_told(folder: Path) -> None:
    once, again = (folder_description(folder, sample=12, seed=1) for _ in range(2))
    assert once == again
    assert once["sources"][0]["looked_at"] == 12 and once["sources"][0]["images"] == 30
    assert folder_description(folder, sample=12, seed=2) != once
    with pytest.raises(InputError, match="at least 1"):
        folder_description(folder, sample=0)


def words(folder: Path) -> dict[str, Any]:
    task = folder.parent / "task"
    for number in range(12):
        split, kind = ("test", "train")[number % 2], f"kind{number % 4 // 2}"
        (task / split / kind).mkdir(parents=True, exist_ok=True)
        picture(number).save(task / split / kind / f"{number}.jpg", quality=92)
    good = folder.parent / "good"
    shutil.copytree(folder, good, dirs_exist_ok=True, ignore=shutil.ignore_patterns("c*"))
    return {
        "study": "told",
        "data": {
            "photos": {"kind": "folder", "path": str(good)},
            "task": {"kind": "folder", "path": str(task)},
        },
        "sources": ["photos"],
        "methods": ["scratch", "simclr"],
        "budget": {"epochs": 1},
        "tasks": {"kinds": {"data": "task"}, "again": {"data": "task"}},
    }


def test_what_a_source_shares_with_the_test_images_of_tasks_is_counted(folder: Path) -> None:
    plan = Plan.opened(Study.model_validate(words(folder)))
    (entry,) = study_description(plan)["sources"]
    first, second = entry["tasks"]
    # Of the test images 0, 2, 4, 6, 8 and 10 the files a04, a08 and a10 show other pictures.
    assert first == {
        "task": "kinds",
        "test_images": 6,
        "looked_at": 6,
        "equal_files": 3,
        "flagged": 3,
    }
    assert second == first | {"task": "again"}


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("A photo, 2 m away", "Latin"),
        ("фото Berlin вчера", "Cyrillic"),
        ("写真です。この", "kana"),
        ("照片 abc 一二三四", "Han"),
        ("صورة", "Arabic"),
        ("12 - 34 !", "no letters"),
        ("", "no letters"),
    ],
)
def test_the_script_of_a_text_is_that_of_most_letters(text: str, script: str) -> None:
    assert script_of(text) == script


def test_quantiles_are_values_that_are_there() -> None:
    values = np.random.default_rng(0).integers(0, 1000, 101).tolist()
    found = quantiles(values)
    assert found is not None and set(found.values()) <= set(values)
    assert found["0"] == min(values) and found["1"] == max(values)
    assert found["0.5"] == sorted(values)[50]
    assert quantiles([]) is None


def test_the_command_prints_a_folder_and_a_study(
    headwater: Cli, folder: Path, tmp_path: Path
) -> None:
    code, out, err = headwater("sources", "describe", str(folder), "--sample", "20")
    assert code == 0, err
    for part in ("photos: 30 images", "a sample of 20 images", "Cyrillic", "JPEG", "median"):
        assert part in out
    path = write_study(tmp_path / "told.yaml", words(folder))
    code, out, err = headwater("sources", "describe", str(path), "--json")
    assert code == 0, err
    facts = json.loads(out)
    assert facts["study"] == "told" and facts["sources"][0]["tasks"][0]["flagged"] == 3
    code, out, err = headwater("sources", "describe", str(path))
    assert "3 of 6 test images are shown, 3 as equal files" in out
    code, _, err = headwater("sources", "describe", str(path), "--layout", "flat")
    assert code == 2 and "--layout" in err


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("two people riding bikes down the street", "en"),
        ("Ein Hund spielt im Garten mit einem Ball", "de"),
        ("Un chien qui joue dans le jardin", "fr"),
        ("Собака играет в саду", "ru"),
        ("公園で遊ぶ犬", "ja"),
        ("IMG_2034.jpg", NOT_TOLD),
        ("4711 0815", NOT_TOLD),
        ("", NOT_TOLD),
    ],
)
def test_languages_of_sentences_are_told_and_those_of_names_are_not(text: str, code: str) -> None:
    assert language_of(text) == code
