"""Whether a copy of a set is whole: counts, gaps, broken tars, and that nothing is extracted."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headwater.errors import InputError
from headwater.sources.checking import Found, look_into, verdict_of
from headwater.sources.checking.found import Captions, Sample
from headwater.sources.members import members
from headwater.sources.recipes import KnownSet, known_set

PER_SHARD = 6


def jpeg(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((32, 40, 3), number % 250, dtype=np.uint8)).save(file, "JPEG")
    return file.getvalue()


def put(tar: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(data), kind
    if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        info.size, info.linkname = 0, "/etc/passwd"
    tar.addfile(info, io.BytesIO(data))


def shard(root: Path, number: int, stats: bool = True) -> None:
    with tarfile.open(root / f"{number:05d}.tar", "w") as tar:
        for i in range(PER_SHARD):
            key = f"{number:05d}{i:04d}"
            put(tar, f"{key}.jpg", jpeg(i))
            if i:
                put(tar, f"{key}.txt", f"photo {i % 3}{' of a dog' * (i == 5)}".encode())
            put(tar, f"{key}.cls", str(i % 2).encode())
    if stats:
        told = {"count": PER_SHARD + 1, "successes": PER_SHARD}
        (root / f"{number:05d}_stats.json").write_text(json.dumps(told))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for number in range(4):
        shard(tmp_path, number)
    return tmp_path


def recipe(images: int) -> KnownSet:
    """CC12M, as if its list were so short."""
    real = known_set("cc12m")
    count = real.images.model_copy(update={"value": images})
    return real.model_copy(update={"images": count, "used": ()})


def found_in(path: Path) -> Found:
    return look_into(path, numbered_from=0, sample=8, seed=0)


def reasons(path: Path, images: int = 28) -> str:
    verdict = verdict_of(recipe(images), found_in(path))
    assert verdict.whole == (not verdict.reasons)
    return "; ".join(verdict.reasons)


def test_a_whole_copy_is_counted_and_called_whole(copy: Path) -> None:
    found = found_in(copy)
    assert (found.form, found.shards, found.images, found.classes) == ("shards", 4, 24, 2)
    assert found.tried == 28
    assert found.captions is not None and found.sampled is not None
    assert (found.captions.images, found.captions.without) == (24, 4)
    # five captions a shard, of which "photo 2 of a dog" and "photo 0", "1", "2" are four texts
    assert found.captions.duplicates == 20 - 4
    assert found.captions.words["0"] == 2 and found.captions.words["1"] == 5
    assert found.sampled.images == 8 and not found.sampled.bad
    assert reasons(copy) == ""


def test_the_manifest_is_the_hash_of_sorted_names_and_sizes(copy: Path) -> None:
    lines = [f"{path.name}\t{path.stat().st_size}\n" for path in sorted(copy.iterdir())]
    assert found_in(copy).manifest == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_gaps_and_lost_shards_are_missing(copy: Path) -> None:
    (copy / "00000.tar").unlink()
    (copy / "00000_stats.json").unlink()
    (copy / "00002.tar").unlink()
    text = reasons(copy)
    assert "missing: 2 shards: 00000.tar, 00002.tar" in text
    assert "has tried 21 of 28 lines" in text
    shard(copy, 10**12)
    assert found_in(copy).missing_shards == 10**12 - 4 + 2


def test_a_shard_is_compared_with_its_statistics(copy: Path) -> None:
    (copy / "00001_stats.json").write_text('{"count": 9, "successes": 8}')
    assert "00001.tar: has 6 images, and its statistics say 8" in reasons(copy)
    (copy / "00001_stats.json").write_text("[")
    assert "00001_stats.json: are no statistics" in reasons(copy)
    (copy / "00001_stats.json").unlink()
    assert "00001.tar: has no 00001_stats.json" in reasons(copy)


@pytest.mark.parametrize("cut", [700, 5_000, None])
def test_a_tar_that_ends_too_soon_is_told(copy: Path, cut: int | None) -> None:
    data = (copy / "00003.tar").read_bytes()
    whole_blocks = -(-len(data.rstrip(b"\0")) // 512) * 512
    (copy / "00003.tar").write_bytes(data[: whole_blocks if cut is None else cut])
    assert "00003.tar" in reasons(copy)


def test_no_tar_at_all_is_told(copy: Path) -> None:
    (copy / "00003.tar").write_text("<html>not found</html>" * 100)
    assert "00003.tar: is damaged or no tar" in reasons(copy)


def test_members_that_lead_out_are_refused_and_pickles_never_read(copy: Path) -> None:
    with tarfile.open(copy / "00004.tar", "w") as tar:
        put(tar, "a.jpg", jpeg(0))
        put(tar, "../b.jpg", jpeg(0))
        put(tar, "/c.jpg", jpeg(0))
        put(tar, "d.jpg", b"", tarfile.SYMTYPE)
        put(tar, "e.jpg", b"", tarfile.FIFOTYPE)
        put(tar, "f.pyd", b"\x80\x04.")
    before = sorted(copy.iterdir())
    found = found_in(copy)
    assert found.images == 25
    assert found.passed_over == {
        "leads out of the tar": 2,
        "a link": 1,
        "no plain file": 1,
        "a pickle": 1,
    }
    text = reasons(copy)
    assert "not read: 2 members: leads out of the tar" in text and "pickle" not in text
    assert sorted(copy.iterdir()) == before
    last = list(members(copy / "00004.tar"))[-1]
    with pytest.raises(InputError, match="a pickle"):
        last.read(100)


def test_images_that_cannot_be_read_are_told(copy: Path) -> None:
    with tarfile.open(copy / "00004.tar", "w") as tar:
        put(tar, "000040000.jpg", jpeg(1)[:-200])
    (copy / "00004_stats.json").write_text('{"count": 1, "successes": 1}')
    found = look_into(copy, numbered_from=0, sample=100, seed=0)
    assert found.sampled is not None and sum(found.sampled.bad.values()) == 1
    assert "1 of 25 sampled images cannot be read" in "; ".join(
        verdict_of(recipe(29), found).reasons
    )


def test_a_sample_is_the_same_in_any_order() -> None:
    names = [f"{i}.jpg" for i in range(200)]
    picked = []
    for order in (names, names[::-1]):
        sample = Sample(10, seed=1)
        for name in order:
            if sample.wants(name, 1):
                sample.add(name, b"")
        picked.append({name for _, name, _ in sample._kept})
    assert picked[0] == picked[1] and len(picked[0]) == 10
    assert not Sample(0, seed=1).wants("a", 1)


def test_captions_of_blanks_are_none() -> None:
    captions = Captions()
    for text in ("a b", "a b", " \n", None, "c"):
        captions.add(text)
    found = captions.statistics()
    assert found is not None
    assert (found.images, found.without, found.duplicates) == (5, 2, 1)
    assert Captions().statistics() is None


def test_a_folder_is_counted_by_its_classes(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("val", 1)):
        for name in ("n01440764", "n01443537"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / split / name / f"{i}.JPEG").write_bytes(jpeg(i))
    (tmp_path / "captions.jsonl").write_text(
        '{"path": "train/n01440764/0.JPEG", "title": ["a fish", "fish"]}\n'
    )
    found = found_in(tmp_path)
    assert (found.form, found.images, found.classes) == ("folder", 8, 2)
    assert found.captions is not None and found.captions.words["1"] == 2
    verdict = verdict_of(known_set("imagenet1k"), found)
    assert verdict.reasons == (
        "8 images, and the whole has 1,331,167",
        "2 classes, and the whole has 1,000",
    )


def test_parquet_files_are_counted_by_their_rows(tmp_path: Path) -> None:
    images = [{"bytes": jpeg(i), "path": f"{i}.jpg"} for i in range(5)]
    captions = ["a dog", "a dog", "a cat", "", "one"]
    columns = {"image": images, "caption": captions, "label": ["a", "b", "a", "b", "a"]}
    pq.write_table(pa.table(columns), tmp_path / "train-00000.parquet")
    found = found_in(tmp_path)
    assert (found.form, found.images, found.classes) == ("parquet", 5, 2)
    assert found.captions is not None and found.sampled is not None
    assert (found.captions.without, found.captions.duplicates) == (1, 1)
    assert found.sampled.images == 5 and not found.sampled.bad
    assert "the recipe makes shards" in verdict_of(recipe(6), found).notes[0]


def test_without_statistics_a_small_copy_is_not_whole_and_a_large_one_is_told_of(
    tmp_path: Path,
) -> None:
    shard(tmp_path, 0, stats=False)
    assert "are expected of the list" in reasons(tmp_path, images=1000)
    verdict = verdict_of(recipe(8), found_in(tmp_path))
    assert verdict.whole and "dead links cannot be told" in verdict.notes[0]


def test_a_path_that_is_none_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        found_in(tmp_path / "nothing")
    with pytest.raises(InputError, match="there is no image"):
        found_in(tmp_path)
