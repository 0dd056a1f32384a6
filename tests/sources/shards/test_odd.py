"""Shards as they should not be, and what lies among them."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater.errors import InputError
from headwater.plan.missing import is_there, missing_data
from headwater.plan.places import placed
from headwater.sources.looking import look
from headwater.sources.shards import index as index_room
from headwater.study import Study
from tests.conftest import tiny
from tests.sources.shards.tars import corpus, jpeg, write
from tests.sources.shards.test_source import EVERY, opened


def of_the_hub(folder: Path, cache: Path) -> Path:
    """A folder as huggingface_hub keeps it: links to files that are called by their digests."""
    snapshot, blobs = cache / "snapshots" / "0123abc", cache / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for at, path in enumerate(sorted(folder.iterdir())):
        path.rename(blobs / f"{at:040x}")
        (snapshot / path.name).symlink_to(Path("../../blobs") / f"{at:040x}")
    return snapshot


def test_a_copy_in_the_cache_of_the_hub_is_what_the_files_are(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web")
    words = {"key": [f"{n:09d}" for n in range(5)], "beside": ["of the table"] * 5}
    pq.write_table(pa.table(words), root / "00000.parquet")
    plain = opened(root, tmp_path / "one")
    known, texts = plain.fingerprint(EVERY), list(plain.table.ids)
    snapshot = of_the_hub(tmp_path / "web", tmp_path / "datasets--org--web")
    source = opened(snapshot, tmp_path / "two")
    assert source.fingerprint(EVERY) == known and list(source.table.ids) == texts
    assert source.table.texts["beside"][EVERY[:1]].tolist() == [["of the table"]]
    (snapshot / "9.tar").symlink_to(tmp_path / "secret.tar")
    (tmp_path / "secret.tar").write_bytes((snapshot / "00000.tar").read_bytes())
    with pytest.raises(InputError, match="is a link that leads out of"):
        opened(snapshot, tmp_path / "three")


def test_an_image_whose_name_has_another_dot_is_a_sample_that_is_missing_one(
    tmp_path: Path,
) -> None:
    """It is found to be bad, and not passed over as a README is."""
    plain = [(f"{n}.jpg", jpeg(n)) for n in range(3)]
    dotted = [(f"img_{n}.56x.jpg", jpeg(n)) for n in range(4)]
    source = opened(write(tmp_path / "0.tar", [*plain, *dotted, ("README.md", b"x")]))
    assert len(source.table) == 7
    assert len(look(source, np.arange(7), 16).bad) == 4
    other = [(f"{n}.png", jpeg(n)) for n in range(4, 9)]
    chosen = opened(write(tmp_path / "1.tar", [*plain, *other]), image="jpg")
    assert len(chosen.table) == 8


def test_fields_do_not_depend_on_how_json_is_laid_out(tmp_path: Path) -> None:
    said = [
        {"tags": [1, 2], "yes": [True], "none": [], "some": ["x", None], "text": "a"},
        {"tags": [3], "yes": [False, True], "none": [], "some": [None, "y"], "text": "b"},
    ]
    fields = []
    for name, indent in (("flat", None), ("lines", 1)):
        members = [(f"{n}.jpg", jpeg(n)) for n in range(2)]
        members += [
            (f"{n}.json", json.dumps(each, indent=indent).encode()) for n, each in enumerate(said)
        ]
        table = opened(write(tmp_path / name / "0.tar", members)).table
        fields.append({field: table.texts[field][EVERY[:2]].tolist() for field in table.texts})
    assert fields[0] == fields[1]
    assert fields[0]["some"] == [["x"], ["y"]] and fields[0]["tags"] == [["1", "2"], ["3"]]


def test_a_batch_keeps_few_shards_open(tmp_path: Path) -> None:
    root = tmp_path / "web"
    for number in range(300):
        write(root / f"{number:03d}.tar", [("a.jpg", jpeg(number))])
    source = opened(root, tmp_path / "cache")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        read = source.images(np.arange(300))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read == [jpeg(number) for number in range(300)]


def test_what_lies_among_shards_and_is_none_is_told(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web")
    (root / "00009.tar.gz").write_bytes(b"x")
    (root / "loose.jpg").write_bytes(jpeg(1))
    said = " ".join(opened(root).notes)
    assert "not read: 1 packed tars" in said and "not read: 1 images that lie beside" in said


def test_what_is_no_file_by_a_shards_name_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web")
    os.mkfifo(root / "9.tar")
    with pytest.raises(InputError, match=r"9\.tar is no file"):
        opened(root)
    (root / "9.tar").unlink()
    odd = os.fsdecode(os.fsencode(root) + b"/caf\xe9.tar")
    Path(odd).write_bytes((root / "00000.tar").read_bytes())
    with pytest.raises(InputError, match="is not UTF-8"):
        opened(root)


def test_no_code_of_the_current_folder_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_room, "_FEW_BYTES", 0)
    root = corpus(tmp_path / "web")
    ran = tmp_path / "ran"
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text(f"open({str(ran)!r}, 'w')\n")
    monkeypatch.chdir(tmp_path / "here")
    assert len(opened(root, tmp_path / "cache").table) == 15
    assert not ran.exists()


def study(folder: Path, path: str, **more: str) -> Study:
    web = {"kind": "shards", "path": path, **more}
    words = tiny(data={**tiny()["data"], "web": web}, sources=["web"])
    file = folder / "study.yaml"
    file.write_text(json.dumps(words))
    return Study.load(file)


@pytest.mark.parametrize("path", ["web", "web/*.tar", "web/{00000..00001}.tar", "web/00000.tar"])
def test_shards_beside_the_study_are_found_there_however_they_are_written(
    path: str, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    corpus(tmp_path / "web")
    for asked in (study(tmp_path, path), study(tmp_path, f"./{path}")):
        assert placed(asked, "web", root).model_dump()["path"] == str(tmp_path / path)
    corpus(root / "web")
    assert placed(asked, "web", root).model_dump()["path"] == str(tmp_path / path)
    with pytest.raises(InputError, match="is there twice"):
        placed(study(tmp_path, path), "web", root)


@pytest.mark.parametrize("path", ["*.tar", "{00000..00001}.tar", "00000.tar", ""])
def test_shards_that_are_there_are_not_missing(path: str, tmp_path: Path) -> None:
    corpus(tmp_path / "root" / "web")
    (tmp_path / "study").mkdir()
    for written in (f"web/{path}", str(tmp_path / "root" / "web" / path)):
        asked = study(tmp_path / "study", written, recipe="cc3m")
        assert is_there(asked, "web", tmp_path / "root")
        assert not missing_data(asked, tmp_path / "root")
    assert is_there(study(tmp_path / "study", "http://127.0.0.1:9/{0..1}.tar"), "web", None)
    gone = study(tmp_path / "study", "other/*.tar", recipe="cc3m")
    assert [each.name for each in missing_data(gone, tmp_path / "root")] == ["web"]
