"""Sources of shards: samples, what stands beside them, and what changes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headwater import keys
from headwater.errors import InputError
from headwater.sources.looking import look
from headwater.sources.shards import ShardSource, open_shards
from headwater.sources.shards import index as index_room
from tests.sources.shards.tars import corpus, jpeg, samples, write

EVERY = np.arange(15)


def opened(root: Path, cache: Path | None = None, **words: Any) -> ShardSource:
    return open_shards("web", str(root), cache=cache, **words)


def test_samples_are_read_where_they_lie(tmp_path: Path) -> None:
    source = opened(corpus(tmp_path / "web"))
    table = source.table
    assert table.ids.tolist() == [f"{n // 5:05d}/{n:09d}" for n in range(15)]
    assert [source.image(n) for n in range(15)] == [jpeg(n) for n in range(15)]
    assert table.texts["captions"][EVERY].tolist() == [[f"caption {n}"] for n in range(15)]
    assert set(table.texts) == {"captions", "key", "caption", "url"} and not table.levels
    assert set(table.splits["split"]) == {"train"}
    known = [hashlib.blake2b(jpeg(n), digest_size=16).hexdigest() for n in range(15)]
    assert source.byte_hashes(EVERY) == known == source.digests(EVERY).astype("U").tolist()
    assert source.hashes.tolist() == keys.sample_hashes(table.ids.tolist()).tolist()


def test_ids_follow_their_order_whatever_shards_are_called(tmp_path: Path) -> None:
    """A shard `a` with the sample b-/1, and one that is called a/b."""
    root = tmp_path / "web"
    write(root / "a.tar", [("z/1.jpg", jpeg(1)), ("b/9.jpg", jpeg(2)), ("b-/1.jpg", jpeg(3))])
    write(root / "a" / "b.tar", [("3.jpg", jpeg(4)), ("x.jpg", jpeg(5))])
    write(root / "a-.tar", [("1.jpg", jpeg(6))])
    source = opened(root)
    ids = source.table.ids.tolist()
    assert ids == sorted(ids) and len(ids) == 6
    numbers = {"a/z/1": 1, "a/b/9": 2, "a/b-/1": 3, "a/b/3": 4, "a/b/x": 5, "a-/1": 6}
    assert [source.image(at) for at in range(6)] == [jpeg(numbers[each]) for each in ids]
    assert source.hashes.tolist() == keys.sample_hashes(ids).tolist()
    write(root / "a" / "b.tar", [("9.jpg", jpeg(4))])
    with pytest.raises(InputError, match="two shards call a sample 'a/b/9'"):
        opened(root)


def test_members_may_come_in_any_order_and_case(tmp_path: Path) -> None:
    every = [(f"{n}.JPG", jpeg(n)) for n in range(4)]
    texts = [(f"{n}.txt", f"t{n}\r\n".encode()) for n in (2, 0, 3)]
    odd = [
        ("README", b"x"),
        ("README.md", b"x"),
        ("9.pkl", b"x"),
        (".hidden.jpg", b"x"),
        ("1.mask.png", b"x"),
        ("0.pkl", b"x"),
    ]
    source = opened(write(tmp_path / "web" / "0.tar", [*every, *texts, *odd]))
    assert source.table.ids.tolist() == [f"0/{n}" for n in range(4)]
    assert [source.image(n) for n in range(4)] == [jpeg(n) for n in range(4)]
    assert source.table.texts["captions"][EVERY[:4]].tolist() == [["t0"], [], ["t2"], ["t3"]]
    said = " ".join(source.notes)
    assert "4 members whose names make no sample" in said
    assert ".mask.png" in said and ".pkl" in said


def test_a_sample_of_two_images_is_refused_unless_one_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "0.tar", [("a.jpg", jpeg(1)), ("a.png", jpeg(2)), ("a.b.jpg", b"x")])
    with pytest.raises(InputError, match="'a' has two images; say which with `image:`"):
        opened(path)
    assert opened(path, image="png").image(0) == jpeg(2)
    assert opened(path, image="b.jpg").image(0) == b"x"
    twice = write(tmp_path / "1.tar", [("a.jpg", jpeg(1)), ("b.jpg", jpeg(2)), ("a.jpg", jpeg(3))])
    with pytest.raises(InputError, match="'a' has two"):
        opened(twice)


def test_classes_and_splits_come_from_fields_and_names(tmp_path: Path) -> None:
    root = tmp_path / "web"
    for split, count in (("train", 4), ("val", 2)):
        members = [(f"{n}.jpg", jpeg(n)) for n in range(count)]
        members += [(f"{n}.cls", f"{n % 2}\n".encode()) for n in range(count)]
        write(root / f"{split}-000.tar", members)
    table = opened(root).table
    assert table.levels[0].tolist() == ["0", "1", "0", "1", "0", "1"]
    assert table.splits["split"].tolist() == ["train"] * 4 + ["val"] * 2
    write(root / "val-000.tar", samples(0, 2, split="train"))
    with pytest.raises(InputError, match="say other splits than the field split does"):
        opened(root)


def test_levels_lists_and_numbers_of_json_are_read(tmp_path: Path) -> None:
    said = [
        {"level1": "pet", "level2": "cat", "captions": ["one", "two"], "score": 0.25, "n": 3},
        {
            "level1": "pet",
            "level2": "dog",
            "captions": [],
            "score": None,
            "n": 4,
            "extra": {"a": 1},
        },
    ]
    members = []
    for number, each in enumerate(said):
        members += [(f"{number}.jpg", jpeg(number)), (f"{number}.txt", b"alt")]
        members += [(f"{number}.json", json.dumps(each).encode())]
    for indent in (None, 1):
        members = [
            (name, json.dumps(json.loads(data), indent=indent).encode() if "json" in name else data)
            for name, data in members
        ]
        table = opened(write(tmp_path / f"{indent}" / "0.tar", members)).table
        assert [level.tolist() for level in table.levels] == [["cat", "dog"], ["pet", "pet"]]
        assert table.texts["captions"][EVERY[:2]].tolist() == [["one", "two"], []]
        assert table.texts["txt"][0] == ["alt"] and table.texts["score"][1] == []
        assert table.groups["score"][0] == "0.25" and table.groups["n"][EVERY[:2]].tolist() == [
            *("3", "4")
        ]


def test_texts_that_are_no_text_are_left_out_and_counted(tmp_path: Path) -> None:
    members = [("0.jpg", jpeg(0)), ("0.txt", b"\xff\xfe"), ("0.json", b"[1]"), ("1.jpg", jpeg(1))]
    source = opened(
        write(tmp_path / "0.tar", [*members, ("1.txt", "é".encode()), ("1.json", b"{")])
    )
    assert source.table.texts["captions"][EVERY[:2]].tolist() == [[], ["é"]]
    assert "not read: 1 .txt that is not UTF-8" in source.notes
    assert "not read: 2 .json that is no object" in source.notes


def test_a_parquet_table_beside_a_shard_says_what_its_samples_are(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web", 1)
    names = [f"{n:09d}" for n in (4, 7, 0)]
    table = pa.table({"key": names, "caption": ["four", "seven", "zero"], "width": [1, 2, 3]})
    pq.write_table(table, root / "00000.parquet")
    found = opened(root).table.texts
    assert found["caption"][EVERY[:5]].tolist() == [["zero"], [], [], [], ["four"]]
    assert found["captions"][0] == ["caption 0"] and "url" not in found
    (root / "00000.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(InputError, match="Parquet file beside it cannot be read"):
        opened(root)


def test_a_sample_without_an_image_and_a_broken_one_are_found_by_a_look(tmp_path: Path) -> None:
    members = [("0.txt", b"alone"), ("1.jpg", jpeg(1)), ("2.jpg", b""), ("3.jpg", jpeg(3)[:200])]
    source = opened(write(tmp_path / "0.tar", members), tmp_path / "cache")
    for _ in range(2):
        assert look(source, EVERY[:4], 32).bad == {
            0: "no image in the sample",
            2: "empty file",
            3: "cut short",
        }


def test_an_index_is_built_once_and_again_where_shards_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = corpus(tmp_path / "web"), tmp_path / "cache"
    read: list[str] = []
    answer = index_room.answer
    monkeypatch.setattr(
        index_room, "answer", lambda job: (read.append(Path(job["path"]).name), answer(job))[1]
    )
    first = opened(root, cache)
    assert sorted(read) == ["00000.tar", "00001.tar", "00002.tar"]
    assert opened(root, cache).table.ids.tolist() == first.table.ids.tolist() and len(read) == 3
    write(root / "00001.tar", samples(5, 4))
    write(root / "00003.tar", samples(90, 2))
    again = opened(root, cache)
    assert sorted(read[3:]) == ["00001.tar", "00003.tar"]
    fresh = opened(root)
    assert again.table.ids.tolist() == fresh.table.ids.tolist() and len(again.table) == 16
    assert again.fingerprint(EVERY) == fresh.fingerprint(EVERY)
    assert again.table.texts["captions"].tolist() == fresh.table.texts["captions"].tolist()
    os.remove(root / "00000.tar")
    read.clear()
    assert len(opened(root, cache).table) == 11 and not read
    (folder,) = cache.glob("shards-*")
    assert len(list((folder / "fields").iterdir())) == 3 and not (folder / "parts").exists()


def test_shards_that_were_read_are_not_read_again_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, cache = corpus(tmp_path / "web"), tmp_path / "cache"
    answer, read = index_room.answer, list[str]()

    def killed(job: dict[str, Any]) -> dict[str, Any]:
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(job["path"])
        return answer(job)

    monkeypatch.setattr(index_room, "answer", killed)
    with pytest.raises(KeyboardInterrupt):
        opened(root, cache, workers=1)
    monkeypatch.setattr(
        index_room, "answer", lambda job: (read.append(job["path"]), answer(job))[1]
    )
    assert opened(root, cache, workers=1).fingerprint(EVERY) == opened(root).fingerprint(EVERY)
    assert len(set(read[:3])) == 3


@pytest.mark.parametrize("name", ["index.json", "samples.bin", "keys.bin", "fields"])
def test_a_damaged_index_is_made_again(name: str, tmp_path: Path) -> None:
    root, cache = corpus(tmp_path / "web"), tmp_path / "cache"
    whole = opened(root, cache)
    ids, fingerprint = whole.table.ids.tolist(), whole.fingerprint(EVERY)
    (folder,) = cache.glob("shards-*")
    path = next((folder / name).iterdir()) if name == "fields" else folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    if name == "fields":
        with pytest.raises(InputError, match="start again, and its shard is read anew"):
            opened(root, cache).table.texts["captions"].tolist()
    again = opened(root, cache)
    assert again.table.ids.tolist() == ids and again.fingerprint(EVERY) == fingerprint
    assert again.table.texts["captions"].tolist() == [[f"caption {n}"] for n in range(15)]


def test_a_shard_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    source = opened(corpus(tmp_path / "web"))
    write(tmp_path / "web" / "00001.tar", samples(50, 2))
    assert source.image(0) == jpeg(0)
    with pytest.raises(InputError, match="has changed since it was opened; start again"):
        source.image(7)
    open_one = opened(tmp_path / "web")
    assert open_one.image(0) == jpeg(0)
    os.truncate(tmp_path / "web" / "00000.tar", 1024)
    with pytest.raises(InputError, match="has changed since it was opened; start again"):
        open_one.image(4)


def test_patterns_name_shards_and_a_missing_one_is_told(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web")
    pattern = str(root / "{00000..00001}.tar")
    assert len(opened(Path(pattern)).table) == 10
    assert opened(Path(pattern)).table.ids.tolist() == opened(root).table.ids.tolist()[:10]
    assert len(opened(root / "0000[12].tar").table) == 10
    assert len(opened(root / "0000{0,2}.tar").table) == 10
    with pytest.raises(InputError, match=r"the shard .*00003\.tar cannot be read"):
        opened(root / "{00000..00003}.tar")
    with pytest.raises(InputError, match="means more than"):
        opened(root / "{0..9999999}.tar")
    with pytest.raises(InputError, match="would run a program"):
        open_shards("web", "pipe:curl -s http://a/00000.tar")
    with pytest.raises(InputError, match="there is no folder, tar or pattern"):
        opened(tmp_path / "elsewhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"there is no \.tar in"):
        opened(tmp_path / "empty")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("index.json", '{"shardlist": [{"url": "00001.tar", "nsamples": %d}, {"url": 3}]}'),
        (".nv-meta/.info.json", '{"shard_counts": {"00001.tar": %d, "9.tar": 1, "x": "y"}}'),
        ("00001.idx", "v1.2 %d\njpg 512 2000 0.jpg\n"),
    ],
)
def test_an_index_of_others_that_says_another_number_is_told(
    name: str, said: str, tmp_path: Path
) -> None:
    root = corpus(tmp_path / "web")
    (root / name).parent.mkdir(exist_ok=True)
    (root / name).write_text(said % 5)
    assert not opened(root).notes
    (root / name).write_text(said % 7)
    (note,) = opened(root).notes
    assert "says that 00001.tar has 7 samples, and it has 5: one of the two is not whole" in note
    (root / name).write_text("[" * 100_000)
    assert not opened(root).notes


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    corpus(tmp_path / "other")
    root = corpus(tmp_path / "web")
    (root / "9.tar").symlink_to(tmp_path / "other" / "00000.tar")
    with pytest.raises(InputError, match="is a link that leads out of"):
        opened(root)


def test_an_index_beside_which_nothing_can_be_written_lies_with_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "users"))
    root = corpus(tmp_path / "web")
    fixed = opened(root, tmp_path / "made")
    may = os.access
    monkeypatch.setattr(
        os,
        "access",
        lambda path, how: str(path) != str(tmp_path / "store") and may(path, how),
    )
    (tmp_path / "store").mkdir()
    source = opened(root, tmp_path / "store" / "cache")
    assert source.fingerprint(EVERY) == fixed.fingerprint(EVERY)
    assert not list((tmp_path / "store").iterdir())
    assert list((tmp_path / "users" / "headwater" / "shards").glob("shards-*/index.json"))


@pytest.mark.slow
def test_many_processes_make_the_index_that_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus(tmp_path / "web", 4)
    monkeypatch.setattr(index_room, "_FEW_BYTES", 0)
    several, one = (opened(root, tmp_path / f"{n}", workers=n) for n in (2, 1))
    assert several.fingerprint(EVERY) == one.fingerprint(EVERY)
    assert several.table.texts["url"].tolist() == one.table.texts["url"].tolist()
    write(root / "00002.tar", [("../x.jpg", jpeg(1))])
    with pytest.raises(InputError, match="leaves the tar by"):
        opened(root, tmp_path / "3", workers=2)


def test_samples_can_be_named_by_a_field(tmp_path: Path) -> None:
    members = []
    for number in (3, 1, 2):
        said = {"file": f"cats/{number}.jpg", "same": "x"}
        members += [(f"{number}.jpg", jpeg(number)), (f"{number}.json", json.dumps(said).encode())]
    source = opened(write(tmp_path / "0.tar", members), names_ids="file")
    assert source.table.ids.tolist() == [f"cats/{n}.jpg" for n in (1, 2, 3)]
    assert [source.image(n) for n in range(3)] == [jpeg(n) for n in (1, 2, 3)]
    assert source.hashes.tolist() == keys.sample_hashes(source.table.ids.tolist()).tolist()
    with pytest.raises(InputError, match="two samples have the same 'x'"):
        opened(tmp_path / "0.tar", names_ids="same")
    with pytest.raises(InputError, match="have no field 'nothing'"):
        opened(tmp_path / "0.tar", names_ids="nothing")


def test_numbers_and_dates_of_json_are_what_is_written(tmp_path: Path) -> None:
    """However the others of a shard look, so that a class is one in all shards."""
    said = [
        {"label": 1.0, "n": 12345678901234567890, "when": ["2020-01-02"], "day": "2020-01-02"},
        {"label": 0.5, "n": 2**53 + 1, "when": ["x"], "day": "2021-01-01 00:00:00"},
    ]
    for indent in (None, 1):
        members = []
        for number, each in enumerate(said):
            members += [(f"{number}.jpg", jpeg(number))]
            members += [(f"{number}.json", json.dumps(each, indent=indent).encode())]
        write(tmp_path / "web" / f"{indent}.tar", members)
    table = opened(tmp_path / "web").table
    assert table.levels[0].tolist() == ["1.0", "0.5"] * 2
    assert table.texts["n"].tolist() == [["12345678901234567890"], ["9007199254740993"]] * 2
    assert table.texts["when"].tolist() == [["2020-01-02"], ["x"]] * 2
    assert table.texts["day"].tolist() == [["2020-01-02"], ["2021-01-01 00:00:00"]] * 2


def test_half_a_surrogate_pair_in_json_is_a_question_mark(tmp_path: Path) -> None:
    members = [("0.jpg", jpeg(0)), ("0.json", b'{"caption": "a\\ud800b \\u00e9"}')]
    found = opened(write(tmp_path / "0.tar", members)).table.texts["caption"]
    assert found.tolist() == [["a?b é"]]


@pytest.mark.parametrize(
    ("keys", "told", "from_json"),
    [
        (None, "without the column 'key'", True),
        (["x", "y"], "names none of its samples", True),
        ([0, 1], "names none of its samples", True),
        (["000000000", "x"], "3 samples' fields, as the Parquet table", False),
        (["000000000", "000000000"], "1 rows of Parquet tables beside shards whose key", False),
    ],
)
def test_a_parquet_table_that_does_not_fit_its_shard_is_told(
    keys: list[Any] | None, told: str, from_json: bool, tmp_path: Path
) -> None:
    root = corpus(tmp_path / "web", 1, 4)
    table = {"caption": ["told", "told"], **({} if keys is None else {"key": keys})}
    pq.write_table(pa.table(table), root / "00000.parquet")
    source = opened(root)
    assert told in " ".join(source.notes)
    first = source.table.texts["caption"][0]
    assert first == (["caption 0"] if from_json else ["told"])


def test_letters_of_keys_are_composed(tmp_path: Path) -> None:
    source = opened(write(tmp_path / "0.tar", [("e\u0301.jpg", jpeg(1)), ("z.jpg", jpeg(2))]))
    assert source.table.ids.tolist() == ["0/z", "0/é"] and source.image(1) == jpeg(1)
    assert source.hashes.tolist() == keys.sample_hashes(["0/z", "0/é"]).tolist()
    with pytest.raises(InputError, match="two samples have one name"):
        opened(write(tmp_path / "1.tar", [("e\u0301.jpg", jpeg(1)), ("é.jpg", jpeg(2))]))


def test_images_for_training_are_held_to_their_digests(tmp_path: Path) -> None:
    """A byte that changes while size and time stay as they were."""
    path = corpus(tmp_path / "web", 1) / "00000.tar"
    source = opened(tmp_path / "web")
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[data.index(jpeg(3)) + 300] ^= 1
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert source.images(np.array([0, 1])) == [jpeg(0), jpeg(1)]
    with pytest.raises(InputError, match="the image '00000/000000003' is not the one that was ind"):
        source.images(np.array([0, 3]))


@pytest.mark.slow
def test_processes_that_build_one_index_at_once_all_get_it(tmp_path: Path) -> None:
    root = corpus(tmp_path / "web", 12, 30)
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from headwater.sources.shards import index, open_shards\n"
        "index._FEW_BYTES = 0\n"
        "found = open_shards('web', sys.argv[1], cache=Path(sys.argv[2]), workers=1)\n"
        "print(found.fingerprint(np.arange(len(found.table))), len(found.table.texts['url']))\n"
    )
    for number in range(2):
        command = [sys.executable, "-c", code, str(root), str(tmp_path / f"c{number}")]
        racing = [
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        said = [process.communicate() for process in racing]
        assert [process.returncode for process in racing] == [0, 0, 0], said
        assert len({out for out, _ in said}) == 1
