"""Folders and data of studies packed into tars."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from headwater.sources.shards import open_shards, packing
from headwater.sources.shards.packing import pack
from tests.conftest import Cli, write_study
from tests.sources.shards.tars import jpeg


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(9):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    return tmp_path / "photos"


def test_a_packing_that_was_stopped_goes_on_and_ends_with_the_same_bytes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FolderSource("photos", folder)
    pack(source, tmp_path / "whole", per_shard=2)
    write, written = packing._write, list[str]()

    def stopped(*words: object) -> int:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(str(words[-1]))
        return write(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(packing, "_write", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack(source, tmp_path / "part", per_shard=2)
    monkeypatch.setattr(packing, "_write", lambda *words: (written.append(""), write(*words))[1])
    done = pack(source, tmp_path / "part", per_shard=2)
    assert len(written) == 5 and (done.shards, done.samples) == (5, 9)
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "part").iterdir())
    for name in names:
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "part" / name).read_bytes()
    assert pack(source, tmp_path / "part", per_shard=2) == done and len(written) == 5
    with pytest.raises(InputError, match="is not empty"):
        pack(source, tmp_path / "part", per_shard=3)


def test_members_are_those_that_others_read(folder: Path, tmp_path: Path) -> None:
    (folder / "captions.jsonl").write_text(json.dumps({"path": "a/0.jpg", "captions": ["é", "b"]}))
    pack(FolderSource("photos", folder), tmp_path / "out")
    with tarfile.open(tmp_path / "out" / "00000.tar") as tar:
        names = tar.getnames()
        first = {name: tar.extractfile(name) for name in names[:3]}
        read = {name: file.read() for name, file in first.items() if file is not None}
    assert names[:4] == ["000000000.jpg", "000000000.txt", "000000000.json", "000000001.jpg"]
    assert read["000000000.jpg"] == jpeg(0) and read["000000000.txt"].decode() == "é"
    said = json.loads(read["000000000.json"])
    assert said["id"] == "a/0.jpg" and said["level1"] == "a" and said["captions"] == ["é", "b"]


def test_a_damaged_record_and_missing_shards_are_told(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pack(FolderSource("photos", folder), out, per_shard=3)
    (out / "00001.tar").unlink()
    assert len(open_shards("web", str(out / "00000.tar")).table) == 3
    with pytest.raises(InputError, match=r"00001\.tar is missing \(1 of 3 shards\)"):
        open_shards("web", str(out))
    assert pack(FolderSource("photos", folder), out, per_shard=3).samples == 9
    assert len(open_shards("web", str(out)).table) == 9
    record = out / "headwater-shards.json"
    record.write_text(record.read_text().replace('"id"', '"ix"'))
    with pytest.raises(InputError, match="is damaged"):
        open_shards("web", str(out))


def test_columns_of_a_folder_come_back_whatever_they_are_called(tmp_path: Path) -> None:
    """Also those that name samples, or that img2dataset has."""
    (tmp_path / "f").mkdir()
    names = ["id", "status", "key", "md5", "date"]
    lines = [",".join(["path", "level1", *names])]
    for number in range(4):
        (tmp_path / "f" / f"{number}.jpg").write_bytes(jpeg(number))
        lines.append(
            f"{number}.jpg,{'ab'[number % 2]},x,s{number},k{number},m,2020-01-0{number + 1}"
        )
    (tmp_path / "f" / "labels.csv").write_text("\n".join(lines))
    folder = FolderSource("f", tmp_path / "f")
    pack(folder, tmp_path / "out")
    shards = open_shards("f", str(tmp_path / "out"))
    assert shards.table.ids.tolist() == folder.table.ids.tolist()
    for name in names:
        assert shards.table.texts[name].tolist() == list(folder.table.texts[name]), name
    assert set(shards.table.texts) == set(folder.table.texts)


def test_the_command_packs_a_folder_and_the_data_of_a_study(
    headwater: Cli, folder: Path, tmp_path: Path
) -> None:
    code, out, _ = headwater("shard", "photos", "--out", "packed", "--per-shard", "4", "--json")
    facts = json.loads(out)["packed"][0]
    assert code == 0 and (facts["shards"], facts["samples"], facts["left_out"]) == (3, 9, 0)
    write_study(
        tmp_path / "study.yaml",
        {
            "study": "s",
            "data": {
                "ours": {"kind": "folder", "path": "photos"},
                "packed": facts["entry"],
                "world": {"kind": "world"},
                "both": {"kind": "mix", "of": {"ours": 1, "packed": 1}},
            },
            "sources": ["ours", "packed"],
            "methods": ["scratch"],
            "seeds": 1,
            "budget": {"steps": 1},
            "tasks": {"own": {"data": "world"}},
            "protocols": {"probe": {}},
        },
    )
    code, out, err = headwater("shard", "study.yaml", "--out", "of_study")
    assert code == 0, err
    assert "packed ours: 9 images in 1 shard" in out and "not packed: packed is in shards" in out
    assert "not packed: world is generated" in out
    code, _, err = headwater("shard", "photos", "--out", "photos")
    assert code == 2 and "which is to be packed" in err
    code, _, err = headwater("shard", "nowhere", "--out", "x")
    assert code == 2 and "nowhere" in err


@pytest.mark.parametrize("names", ["txt", "cls", "key,status,error_message"])
def test_columns_that_would_come_back_as_something_else_are_refused(
    names: str, folder: Path, tmp_path: Path
) -> None:
    values = ",".join("x" for _ in names.split(","))
    rows = [f"{path.relative_to(folder)},{values}" for path in sorted(folder.rglob("*.jpg"))]
    (folder / "labels.csv").write_text("\n".join([f"path,{names}", *rows]) + "\n")
    source = FolderSource("photos", folder)
    with pytest.raises(InputError, match="have names that mean something else in shards"):
        pack(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_is_not_packed_into_itself(folder: Path) -> None:
    with pytest.raises(InputError, match="which is to be packed"):
        pack(FolderSource("photos", folder), folder / "in")
    assert not (folder / "in").exists()
