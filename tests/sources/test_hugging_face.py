"""Data sets of the `datasets` library: what it saved, its cache, and sets of the hub, of which the
tests have copies; nothing is downloaded.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from headwater.errors import InputError
from headwater.plan import EVERYTHING, Plan
from headwater.sources import Source, open_source
from headwater.sources.folder import FolderSource
from headwater.sources.looking import look
from headwater.study import HuggingFaceData, Study
from tests.sources.shards.tars import jpeg
from tests.sources.shards.tars import write as write_tar
from tests.sources.test_parquet import CLASS_NAMES, encoded

N = 24
FEATURES = datasets.Features(
    {
        "image": datasets.Image(),
        "label": datasets.ClassLabel(names=CLASS_NAMES),
        "caption": datasets.Value("string"),
    }
)


@pytest.fixture(autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub cannot be reached, as under HF_HUB_OFFLINE=1, and the library's cache is empty."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "downloads")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def made(count: int, first: int = 0) -> datasets.Dataset:
    images = [{"bytes": encoded(first + row), "path": None} for row in range(count)]
    labels = [row % 2 for row in range(count)]
    texts = [f"photo {first + row}" for row in range(count)]
    rows = {"image": images, "label": labels, "caption": texts}
    return datasets.Dataset.from_dict(rows, features=FEATURES)


def both() -> datasets.DatasetDict:
    return datasets.DatasetDict(train=made(10), test=made(6, 10))


def copy_of_a_set(root: Path) -> Path:
    """As the hub has it: Parquet files."""
    root.mkdir(parents=True, exist_ok=True)
    for split, rows in both().items():
        rows.to_parquet(root / f"{split}-00000-of-00001.parquet")
    return root


def opened(cache: Path | None = None, root: Path | None = None, **words: Any) -> Source:
    entry = HuggingFaceData(kind="huggingface", **words)
    return open_source("set", entry, data_root=root, cache=cache)


def splits(source: Source) -> list[int]:
    return [int((source.table.splits["split"] == each).sum()) for each in ("train", "val", "test")]


def check_both(source: Source) -> None:
    """That a source is what `both` makes."""
    assert splits(source) == [10, 0, 6]
    for position, texts in enumerate(source.table.texts["caption"]):
        number = int(texts[0].removeprefix("photo "))
        assert source.image(position) == encoded(number)
        assert source.table.levels[0][position] == CLASS_NAMES[number % 2]


# folders
def test_what_was_saved_is_read_with_its_splits_classes_and_texts(tmp_path: Path) -> None:
    both().save_to_disk(tmp_path / "saved", num_shards={"train": 3, "test": 1})
    source = opened(path="saved", root=tmp_path)
    check_both(source)
    assert source.table.ids[-1] == "train/data-00002-of-00003/000002"
    assert not look(source, np.arange(16), 16, EVERYTHING).bad


def test_one_split_that_was_saved_alone_is_that_split(tmp_path: Path) -> None:
    copy_of_a_set(tmp_path / "copy")
    for asked, expected in (("test", [0, 0, 6]), ("train[:4]", [4, 0, 0]), ("train+test", None)):
        split = datasets.load_dataset(str(tmp_path / "copy"), split=asked)
        split.save_to_disk(tmp_path / asked)
        found = splits(opened(path=str(tmp_path / asked)))
        assert found == (expected or [16, 0, 0])


def test_the_same_images_saved_as_parquet_and_in_a_folder_are_one_source(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    rows, captions = [], []
    for number in range(N):
        path = f"{'ab'[number % 2]}/{number}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(jpeg(number, 20))
        split = "test" if number % 6 == 5 else "val" if number % 6 == 4 else "train"
        rows.append((path, split, "ab"[number % 2]))
        captions.append({"path": path, "captions": [f"photo {number} of it", f"seen {number}"]})
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "split", "level1"), *rows])
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
    first = FolderSource("set", folder)
    saved: dict[str, datasets.Dataset] = {}
    (tmp_path / "parquet").mkdir()
    for split, written in (("train", "train"), ("val", "validation"), ("test", "test")):
        some = np.flatnonzero(first.table.splits["split"] == split)[::-1]
        saved[written] = datasets.Dataset.from_dict(
            {
                "image": [{"bytes": first.image(at), "path": None} for at in some],
                "name": [first.table.ids[at] for at in some],
                "level1": [first.table.levels[0][at] for at in some],
                "captions": [first.table.texts["captions"][at] for at in some],
            }
        ).cast_column("image", datasets.Image())
        saved[written].to_parquet(tmp_path / "parquet" / f"{written}.parquet")
    datasets.DatasetDict(saved).save_to_disk(tmp_path / "saved", num_shards={
        "train": 4, "validation": 1, "test": 2
    })  # fmt: skip
    parquet = {"kind": "parquet", "path": str(tmp_path / "parquet"), "ids": "name"}
    study = {"study": "s", "data": {"p": parquet}, "methods": ["simclr"], "budget": {"steps": 1}}
    words = Study.model_validate({**study, "sources": ["p"], "tasks": {"t": {"data": "p"}}})
    others = [
        open_source("set", words.data["p"], data_root=None, cache=None),
        *(opened(path=str(tmp_path / name), ids="name") for name in ("parquet", "saved")),
        opened(name=str(tmp_path / "parquet"), ids="name"),
    ]
    every = np.arange(N)
    for other in others:
        assert other.table.ids.tolist() == first.table.ids.tolist()
        assert other.table.splits["split"].tolist() == first.table.splits["split"].tolist()
        assert other.table.levels[0].tolist() == first.table.levels[0].tolist()
        assert other.table.texts["captions"].tolist() == first.table.texts["captions"].tolist()
        assert [other.image(at) for at in every] == [first.image(at) for at in every]
        assert other.fingerprint(every) == first.fingerprint(every)


def test_files_that_map_or_an_older_save_left_are_not_read(tmp_path: Path) -> None:
    place = tmp_path / "saved" / "train"
    both().save_to_disk(tmp_path / "saved", num_shards={"train": 2, "test": 1})
    shutil.copy(place / "data-00000-of-00002.arrow", place / "cache-0123456789abcdef.arrow")
    both().save_to_disk(tmp_path / "saved", num_shards={"train": 3, "test": 1})
    source = opened(path=str(tmp_path / "saved"))
    check_both(source)
    assert any(note.endswith("are not read: 3") for note in source.notes)


def test_a_folder_of_the_cache_is_read(tmp_path: Path) -> None:
    builder = datasets.load_dataset_builder(str(copy_of_a_set(tmp_path / "animals")))
    builder.download_and_prepare()
    shutil.copy(
        Path(builder.cache_dir) / "animals-train.arrow",
        Path(builder.cache_dir) / "cache-0123456789abcdef.arrow",
    )
    source = opened(path=str(builder.cache_dir))
    check_both(source)
    assert source.table.ids[0] == "animals-test/000000"


def test_a_folder_that_lacks_something_or_can_be_read_in_two_ways_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"data\.set\.path: there is no \.arrow or \.parquet"):
        opened(path=str(tmp_path / "empty"))
    saved = tmp_path / "saved"
    both().save_to_disk(saved)
    copy_of_a_set(saved / "copy")
    with pytest.raises(InputError, match="may hold the same images; keep one kind"):
        opened(path=str(saved))
    shutil.rmtree(saved / "copy")
    (saved / "train" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(InputError, match=r"state\.json: names 'data-00000-of-00001\.arrow', which"):
        opened(path=str(saved))
    shutil.rmtree(saved / "train")
    with pytest.raises(InputError, match=r"dataset_dict\.json: names the split 'train'"):
        opened(path=str(saved))
    (saved / "dataset_dict.json").unlink()
    state = saved / "test" / "state.json"
    for text in ("{", "[]", '{"_data_files": [1]}', "[" * 100_000):
        state.write_text(text)
        with pytest.raises(InputError, match=r"state\.json: "):
            opened(path=str(saved))
    state.write_text(json.dumps({"_data_files": [{"filename": "../../other.arrow"}]}))
    with pytest.raises(InputError, match=r"names '\.\./\.\./other\.arrow', which is not there"):
        opened(path=str(saved))


def test_images_that_are_only_named_are_bad_images(tmp_path: Path) -> None:
    """A path in a data set is no reason to read a file of this machine."""
    (tmp_path / "a.png").write_bytes(encoded(0))
    rows = {"image": [str(tmp_path / "a.png")], "label": [0]}
    table = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    (tmp_path / "set").mkdir()
    with pa.ipc.new_stream(tmp_path / "set" / "train.arrow", table.data.schema) as writer:
        writer.write_table(table.data.table)
    source = opened(path=str(tmp_path / "set"))
    assert dict(look(source, np.arange(1), 16, EVERYTHING).bad) == {0: "no bytes"}


# the hub
def test_a_copy_of_a_set_is_prepared_by_the_library_and_read(tmp_path: Path) -> None:
    copy_of_a_set(tmp_path / "test-animals")
    source = opened(name="./test-animals", root=tmp_path, cache=tmp_path / "cache")
    check_both(source)
    assert source.table.ids[0] == "test/000000"
    again = opened(name=str(tmp_path / "test-animals"), cache=tmp_path / "cache")
    assert again.fingerprint(np.arange(16)) == source.fingerprint(np.arange(16))


def test_a_study_finds_a_copy_beside_its_file_and_plans_on_it(tmp_path: Path) -> None:
    copy_of_a_set(tmp_path / "animals")
    words = {
        "study": "s",
        "data": {"set": {"kind": "huggingface", "name": "./animals"}},
        "sources": ["set"],
        "methods": ["supervised", "simclr"],
        "seeds": 1,
        "budget": {"steps": 2},
        "tasks": {"set": {"data": "set"}},
    }
    (tmp_path / "study.yaml").write_text(json.dumps(words))
    plan = Plan.make(Study.load(tmp_path / "study.yaml"), looking=EVERYTHING)
    assert {len(arm.positions) for arm in plan.arms} == {10}
    assert plan.tasks["set"].class_names == ("ant", "bee") and len(plan.tasks["set"].test) == 6


def test_a_set_of_single_images_is_read_by_its_bytes(tmp_path: Path) -> None:
    for number in range(8):
        split = "test" if number > 5 else "train"
        path = tmp_path / "photos" / split / CLASS_NAMES[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number))
    (tmp_path / "photos" / "train" / "notes.txt").write_text("no image")
    source = opened(name=str(tmp_path / "photos"))
    assert splits(source) == [6, 0, 2]
    found = {source.image(at): source.table.levels[0][at] for at in range(8)}
    assert found == {encoded(number): CLASS_NAMES[number % 2] for number in range(8)}


def test_archives_are_not_unpacked(tmp_path: Path) -> None:
    for name in ("zips", "tars", "scripts", "tables"):
        (tmp_path / name).mkdir()
    with zipfile.ZipFile(tmp_path / "zips" / "train.zip", "w") as archive:
        archive.writestr("ant/1.png", encoded(1))
    with pytest.raises(InputError, match="is stored in archives, which are not unpacked"):
        opened(name=str(tmp_path / "zips"))
    write_tar(tmp_path / "tars" / "train-0.tar", [("1.png", encoded(1))])
    with pytest.raises(InputError, match=r"is stored as tars; .* `kind: shards`"):
        opened(name=str(tmp_path / "tars"))
    (tmp_path / "tables" / "train.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="the library calls 'csv', which is not read"):
        opened(name=str(tmp_path / "tables"))
    script = "raise SystemExit('was run')"
    (tmp_path / "scripts" / "scripts.py").write_text(script)
    with pytest.raises(InputError, match="cannot be had from the hub"):
        opened(name=str(tmp_path / "scripts"))


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing"])
def test_a_set_that_cannot_be_reached_is_one_line_with_the_reason(name: str) -> None:
    with pytest.raises(InputError) as error:
        opened(name=name)
    said = str(error.value)
    assert said.startswith(f"data.set.name: the data set '{name}' cannot be had from the hub (")
    assert "Offline" in said and "\n" not in said


def test_what_was_prepared_before_is_taken_offline_if_its_revision_is_known(
    tmp_path: Path,
) -> None:
    builder = datasets.load_dataset_builder(str(copy_of_a_set(tmp_path / "animals")))
    builder.download_and_prepare()
    cache = Path(datasets.config.HF_DATASETS_CACHE)
    shutil.copytree(cache / "animals", cache / "nobody___animals")
    source = opened(name="nobody/animals")
    check_both(source)
    assert any("the hub could not be reached" in note for note in source.notes)
    with pytest.raises(InputError, match="nothing says that it is of the revision '0123abc'"):
        opened(name="nobody/animals", revision="0123abc")
    for info in cache.glob("nobody___animals/*/*/*/dataset_info.json"):
        told = json.loads(info.read_text())
        told["download_checksums"] = {
            "hf://datasets/nobody/animals@0123abc/train.parquet": {"num_bytes": 1, "checksum": None}
        }
        info.write_text(json.dumps(told))
    check_both(opened(name="nobody/animals", revision="0123abc"))


def test_a_folder_called_as_a_set_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_of_a_set(tmp_path / "nobody" / "animals")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is a folder here, .* write \./nobody/animals or use"):
        opened(name="nobody/animals")


def test_a_missing_and_an_old_library_are_told_with_the_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(InputError, match=r"3\.6\.0 runs the scripts of data sets; pip install"):
        opened(name="nobody/animals")
    both().save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'pip install "headwater\[hub\]"'):
        opened(name="nobody/animals")
    check_both(opened(path=str(tmp_path / "saved")))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "give one of `path`"),
        ({"path": "a", "name": "b/c"}, "give one of `path`"),
        ({"path": "a", "config": "b"}, "`config` goes with `name`"),
        ({"path": "a", "revision": "b"}, "`revision` goes with `name`"),
        ({"name": "./a", "revision": "b"}, "`revision` is of a set of the hub"),
        ({"name": "a\nb"}, "name"),
    ],
)
def test_words_that_do_not_go_together_are_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        HuggingFaceData(kind="huggingface", **words)
