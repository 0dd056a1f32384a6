"""Nothing is unpickled, extracted or executed, wherever it lies and whoever reads it: files that
would make a canary if they were (corpus.py) lie in every folder of a store, among the data, in the
current folder, and in place of what Headwater wrote itself, with digests that agree.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from headwater import digests
from headwater.registry import ENGINES
from headwater.rows import read_rows
from headwater.store import Store
from tests import one_node_slurm
from tests.conftest import Cli, Finished, refused, tiny, write_study
from tests.needs import needs_slurm
from tests.reliability import corpus

FOLDERS = (
    "arms", "partial", "labels", "rows", "answers", "cache", "cache/pixels", "cache/features",
    "studies", "leases", "running", "damaged", "reports", "logs", "decisions",
)  # fmt: skip


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("make", [corpus.pickled, corpus.of_torch, corpus.array])
def test_the_bait_is_live(make: Callable[[Path], bytes], canary: Path) -> None:
    data = make(canary)
    readers = {
        corpus.pickled: lambda: pickle.loads(data),
        corpus.of_torch: lambda: torch.load(io.BytesIO(data), weights_only=False),
        corpus.array: lambda: np.load(io.BytesIO(data), allow_pickle=True),
    }
    readers[make]()
    assert canary.exists()


def _arms(store: Store) -> dict[str, str]:
    records = [store.read_arm(arm) for arm in sorted(store.all_arms())]
    return {record["words"]["method"]: record["id"] for record in records}


def poisoned(finished: Finished, root: Path, canary: Path) -> Store:
    """A copy of a finished store in which everything that is read is bait, with digests that agree
    where there are some; and bait lies in all of its folders.
    """
    store = Store(shutil.copytree(finished.store, root))
    arms = _arms(store)

    arm = arms["supervised"]  # weights that are a pickle, as the record says
    folder, record = store.arm_folder(arm), store.read_arm(arm)
    (folder / "encoder.safetensors").write_bytes(corpus.of_torch(canary))
    (folder / "arm.json").unlink()
    store.write_record(folder, digests.unsealed(record))

    shutil.rmtree(store.arm_folder(arms["simclr"]))  # a checkpoint that is a pickle
    partial = store.checkpoints(arms["simclr"])
    partial.mkdir(parents=True)
    (partial / "step-0000000004.safetensors").write_bytes(corpus.of_torch(canary))
    digest = hashlib.sha256(corpus.of_torch(canary)).hexdigest()
    said = {"step": 4, "count": 1, "sha256": digest, "meta": {}}
    (partial / "step-0000000004.json").write_text(json.dumps(digests.sealed(said)))

    rows = read_rows(store.root)
    for cell in set(rows["cell"][rows["method"].isin(["supervised", "simclr"])]):
        store.drop_cell(cell)
    first, second = sorted(set(rows["cell"][rows["method"] == "scratch"]))[:2]
    (store.rows / f"{first}.json").write_bytes(corpus.pickled(canary))
    (store.answers / f"{second}.npy").write_bytes(corpus.array(canary))
    for path in store.cache.rglob("*.npy"):
        path.write_bytes(corpus.array(canary))

    labels = store.labels / "0123456789abcdef"
    labels.mkdir(parents=True)
    (labels / "codes.npy").write_bytes(corpus.array(canary))
    held = hashlib.sha256(corpus.array(canary)).hexdigest()
    about = digests.sealed({"images": 1, "codes_sha256": held})
    (labels / "labels.json").write_text(json.dumps(about))

    for name in FOLDERS:
        (store.root / name).mkdir(exist_ok=True, parents=True)
    for name in (f"{arm}.json", f"{arms['simclr']}.json"):
        (store.root / "leases" / name).write_bytes(corpus.pickled(canary))
        os.utime(store.root / "leases" / name, (1, 1))
    for folder in (store.root, *(path for path in store.root.rglob("*") if path.is_dir())):
        corpus.strewn(folder, canary)
    return store


@pytest.mark.slow
@pytest.mark.parametrize("engine", [pytest.param(e.name, id=e.name) for e in ENGINES])
def test_no_engine_runs_what_lies_in_a_store(
    engine: str, finished: Finished, headwater: Cli, tmp_path: Path, canary: Path
) -> None:
    nothing_runs(engine, finished, headwater, tmp_path, canary)


@pytest.mark.slow
@needs_slurm
def test_no_job_of_a_real_slurm_runs_what_lies_in_a_store(
    finished: Finished,
    headwater: Cli,
    tmp_path: Path,
    canary: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with one_node_slurm.started() as node:
        monkeypatch.setenv("SLURM_CONF", node.environment["SLURM_CONF"])
        assert nothing_runs("slurm", finished, headwater, tmp_path, canary) == 1


def nothing_runs(
    engine: str, finished: Finished, headwater: Cli, tmp_path: Path, canary: Path
) -> int:
    """The exit code of a run on a store, and in a folder, of bait."""
    store = poisoned(finished, tmp_path / "store", canary)
    corpus.strewn(tmp_path, canary)
    for name in corpus.MODULES:
        (tmp_path / f"{name}.py").write_bytes(corpus.module(canary))
    words = ["run", finished.study, "--store", store.root, "--device", "cpu", "--workers", "1"]
    code, out, err = headwater(*words, "--engine", engine, "--quiet")
    assert not canary.exists()
    assert "Traceback" not in out + err and code in (0, 1, 2)
    if code == 2:  # an engine that has no machine to ask here
        assert err.startswith("headwater: ")
        return code
    assert code == 1 and "4 cells FAILED" in out, out
    rows = read_rows(store.root)
    failed = rows[rows["status"] == "failed"]
    assert set(failed["method"]) == {"supervised"} and len(failed) == 4
    assert failed["reason"].str.contains("missing or damaged|no readable encoder").all()
    assert set(rows["status"][rows["method"] == "simclr"]) == {"done"}
    assert list(store.damaged.glob("[!b]*.json"))
    return code


def test_no_command_runs_what_lies_in_a_store(
    finished: Finished, headwater: Cli, tmp_path: Path, canary: Path
) -> None:
    store = poisoned(finished, tmp_path / "store", canary)
    study, to = finished.study, ("--store", store.root)
    found = {
        name: headwater(*words)
        for name, words in {
            "plan": ("plan", study, *to),
            "status": ("status", study, *to),
            "report": ("report", study, *to),
            "rows": ("rows", store.root),
            "curves": ("curves", study, *to),
            "worker": ("worker", store.root, "--device", "cpu"),
            "doctor": ("doctor", store.root),
            "gc, dry": ("gc", store.root, "--dry-run"),
            "gc": ("gc", store.root, "--cache"),
        }.items()
    }
    assert not canary.exists()
    for name, (code, out, err) in found.items():
        assert "Traceback" not in out + err, name
        assert code in (0, 1, 2), name
        if code == 2:
            assert err.startswith("headwater: ") and err.count("\n") == 1, (name, err)
    assert found["doctor"][0] == 1 and "damaged" in found["doctor"][1]
    assert found["report"][0] == 2 and "damaged" in found["report"][2]


def test_bait_among_images_is_told_and_never_opened(
    headwater: Cli, tmp_path: Path, canary: Path
) -> None:
    """A folder of images, a set of shards and a table of which all is bait, a given encoder and an
    embedding that are pickles, an engine and a method that are code.
    """
    data = tmp_path / "data"
    for each in ("train/a", "train/b", "shards", "table"):
        (data / each).mkdir(parents=True)
        corpus.strewn(data / each, canary)
    corpus.strewn(data, canary)
    kinds = {
        "folder": {"kind": "folder", "path": "train"},
        "shards": {"kind": "shards", "path": "shards"},
        "parquet": {"kind": "parquet", "path": "table"},
    }
    for name, source in kinds.items():
        words = tiny(data={"paint": source, "other": tiny()["data"]["other"]})
        study = write_study(tmp_path / f"{name}.yaml", words)
        for command in ("plan", "run"):
            to = ("--store", tmp_path / f"store {name}", "--device", "cpu")
            more = ("--engine", "inline", "--quiet") if command == "run" else ()
            code, out, err = headwater(command, study, "--data-root", data, *to, *more)
            assert code in (1, 2) and "Traceback" not in out + err, (name, code, out, err)
            assert not canary.exists()
        headwater("sources", "check", data / source["path"])
    assert not canary.exists()


@pytest.mark.parametrize("name", ["bait-1.safetensors", "bait-2.pt"])
def test_weights_of_others_that_are_pickles_are_refused(
    name: str, headwater: Cli, tmp_path: Path, canary: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    corpus.strewn(data, canary)
    features = {"timm": "test_resnet.r160_in1k", "weights": name}
    views = {"it": {"of": "cluster:4", "features": features}}
    words = tiny(methods=["supervised"], labels=["it"], views=views)
    study = write_study(tmp_path / "study.yaml", words)
    result = headwater("plan", study, "--data-root", data)
    refused(result, name)
    assert not canary.exists()


CODE = {
    "a method": {"methods": ["os:system"]},
    "a kind of data": {"data": {"paint": {"kind": "torch:load"}}},
    "a label view": {"labels": ["builtins.eval:1"]},
    "a protocol": {"protocols": {"subprocess.run": {}}},
}


@pytest.mark.parametrize("words", CODE.values(), ids=CODE)
def test_code_that_a_study_names_is_no_entry(
    words: dict[str, object], headwater: Cli, tmp_path: Path
) -> None:
    refused(headwater("plan", write_study(tmp_path / "study.yaml", tiny(**words))), "study.yaml")


def test_an_engine_that_is_code_is_no_engine(finished: Finished, headwater: Cli) -> None:
    for name in ("os:system", "torch.load", "../local", "__main__"):
        result = headwater("run", finished.study, "--engine", name)
        refused(result, "--engine", "is none of")


def test_tags_of_a_study_call_nothing(headwater: Cli, tmp_path: Path, canary: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_bytes(corpus.tags(canary))
    for command in (["plan"], ["run"], ["status"]):
        refused(headwater(*command, study), "study.yaml")
    words = yaml.safe_dump(tiny()).replace(
        "steps: 40", f"steps: !!python/object/apply:os.system ['touch {canary}']"
    )
    study.write_text(words)
    refused(headwater("plan", study), "study.yaml")
    assert not canary.exists()


@pytest.mark.slow
def test_modules_in_the_current_folder_are_not_imported_by_workers(
    finished: Finished, tmp_path: Path, canary: Path
) -> None:
    """The command as it is installed, whose workers are new interpreters."""
    for name in corpus.MODULES:
        (tmp_path / f"{name}.py").write_bytes(corpus.module(canary))
    command = Path(sys.executable).with_name("headwater")
    words = ["run", str(finished.study), "--store", str(tmp_path / "store"), "--device", "cpu"]
    subprocess.run([command, *words, "--workers", "1", "--quiet"], cwd=tmp_path, check=True)
    assert not canary.exists()
