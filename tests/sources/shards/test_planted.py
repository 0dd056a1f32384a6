"""Bad samples in shards: all are found and nothing else, whoever judges, and a study goes on
without them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater import api
from headwater.sources.looking import EVERYTHING, Looking, judges, look
from headwater.sources.pixels import judging
from headwater.sources.pixels.decoding import decode_some
from headwater.sources.shards import ShardSource, open_shards
from headwater.study import Study
from tests.sources.shards.planted import FAULTS, planted, right
from tests.sources.shards.servers import web
from tests.sources.shards.tars import jpeg, write


def found(source: ShardSource, workers: int | None = None) -> dict[str, str]:
    """What is wrong, by id."""
    looking = EVERYTHING if workers is None else Looking(most=None, workers=workers)
    bad = look(source, np.arange(len(source.table)), 32, looking).bad
    return {source.table.ids[at]: kind for at, kind in bad.items()}


@pytest.mark.slow
def test_bad_samples_of_ten_kinds_are_found_and_no_sound_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By processes, however many, by this one, and as they were remembered."""
    root, cache = tmp_path / "web", tmp_path / "cache"
    truth = planted(root, 600, 20, per_shard=200)
    assert len(set(truth.values())) == len(FAULTS) == 10
    one = found(open_shards("web", str(root)), 1)
    assert right(one, truth), one
    assert found(open_shards("web", str(root)), 2) == one
    monkeypatch.setattr(judges, "FEW", 600)
    assert found(open_shards("web", str(root), cache=cache)) == one
    monkeypatch.setattr(judges, "judge_bytes", lambda *_: pytest.fail("it is opened again"))
    assert found(open_shards("web", str(root), cache=cache)) == one


@pytest.fixture
def ten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten photos in a shard, which is many here: they are judged by processes, four at a time."""
    monkeypatch.setattr(judges, "FEW", 3)
    monkeypatch.setattr(judges, "_CHUNK", 4)
    write(tmp_path / "web" / "00000.tar", [(f"{at}.jpg", jpeg(at, 64)) for at in range(10)])
    return tmp_path / "web"


def dies(monkeypatch: pytest.MonkeyPatch, of: bytes, how: str = "os._exit(11)") -> None:
    """Processes that judge end, as a decoder's crash would end them, at one image."""
    text = (
        "import os; from headwater.sources.pixels import judging; was = judging.judge_bytes\n"
        "def judge_bytes(data, size):\n"
        f"    if data[-60:] == {of[-60:]!r}: {how}\n"
        "    return was(data, size)\n"
        "judging.judge_bytes = judge_bytes; judging.main()"
    )
    monkeypatch.setattr(judges, "_COMMAND", (judges._COMMAND[0], "-c", text))


def test_what_was_decoded_on_the_way_is_kept_for_the_cache(ten: Path, tmp_path: Path) -> None:
    source, every = open_shards("web", str(ten)), np.arange(10)
    looked = look(source, every, 32, Looking(most=None, workers=2, spool=tmp_path / "spool"))
    assert sorted(looked.kept) == every.tolist()
    for at, pixels in enumerate(decode_some(source, every, 32)):
        kept = looked.kept[at].read()
        assert kept is not None and np.array_equal(kept, pixels)


@pytest.mark.parametrize("at", [0, 6, 9])
def test_a_decoder_that_dies_of_one_sample_takes_nothing_with_it(
    at: int, ten: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dies(monkeypatch, jpeg(at, 64))
    assert found(open_shards("web", str(ten)), 2) == {f"00000/{at}": judging.CRASH}


@pytest.mark.slow
def test_images_of_other_machines_are_judged_by_processes_too(
    ten: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_CACHE_GB", "0")
    dies(monkeypatch, jpeg(3, 64))
    with web(ten) as served:
        source = open_shards("web", f"{served.url}/{{00000..00000}}.tar", cache=tmp_path / "cache")
        assert found(source, 2) == {"00000/3": judging.CRASH}


def test_a_machine_without_memory_is_no_verdict(ten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies(monkeypatch, jpeg(1, 64), "raise MemoryError('no room')")
    with pytest.raises(judges.InputError, match=r"on this machine now \(MemoryError: no room\)"):
        found(open_shards("web", str(ten)))


def test_a_shard_that_changes_while_it_is_judged_is_told(ten: Path) -> None:
    source = open_shards("web", str(ten))
    write(ten / "00000.tar", [(f"{at}.jpg", jpeg(at, 32)) for at in range(10)])
    with pytest.raises(judges.InputError, match="has changed since it was opened"):
        found(source)


def words(root: Path, **changes: Any) -> dict[str, Any]:
    return {
        "study": "web",
        "data": {"web": {"kind": "shards", "path": str(root)}},
        "sources": ["web"],
        "methods": ["simclr"],
        "seeds": 1,
        "image_size": 16,
        "budget": {"steps": 2},
        "recipe": {"batch": 8},
        "tasks": {"own": {"data": "web"}},
        "protocols": {"probe": {}},
        **changes,
    }


def test_a_study_goes_on_without_bad_samples_and_says_how_many_it_had(tmp_path: Path) -> None:
    """Rows have the n that is left; above the share that the study allows nothing is computed."""
    splits = {"train": 60, "val": 20, "test": 40}
    truth = planted(tmp_path / "web", 120, 20, per_shard=40, **splits)
    numbers = np.array([int(name.rpartition("/")[2]) for name in truth])
    skip = {"on_bad_images": "skip", "max_bad_share": 0.2}
    study = Study.model_validate(words(tmp_path / "web", **skip))
    rows = api.run(study, store=tmp_path / "store", engine="inline", device="cpu")
    assert set(rows["status"]) == {"done"}
    whole = rows[rows["subset"] == "all"]
    assert set(whole["unique_images"]) == {60 - int((numbers < 60).sum())}
    assert set(whole["n_test"]) == {40 - int((numbers >= 80).sum())}
    assert set(whole["source_left_out"]) == {int((numbers < 60).sum())}
    assert set(whole["task_left_out"]) == {20}
    strict = Study.model_validate(words(tmp_path / "web", **{**skip, "max_bad_share": 0.1}))
    with pytest.raises(judges.InputError, match=r"more than `max_bad_share: 0\.1`"):
        api.run(strict, store=tmp_path / "store", engine="inline", device="cpu")
