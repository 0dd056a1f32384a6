"""`headwater worker`, and runs that are told to stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater import api
from headwater.plan import Plan
from headwater.store import Store, studies
from headwater.study import Study
from tests.conftest import Cli, Finished, refused, tiny, write_study
from tests.engines.test_kill import assert_same_results


@pytest.mark.slow
def test_a_worker_does_what_is_under_way_and_takes_it_off(
    finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    words = Study.load(finished.study).words()
    path = studies.put(store, "tiny-world", words, None)
    assert studies.put(store, "tiny-world", words, None) == path
    code, out, err = headwater("worker", store.root, "--device", "cpu", "--json")
    assert code == 0, err
    assert json.loads(out) == {
        "arms": 4,
        "cells": 16,
        "failed": 0,
        "refused": 0,
        "left": 0,
        "stopped": False,
        "store": str(store.root),
    }
    assert_same_results(store.root, finished.store)
    assert not path.parent.exists() and not (store.root / "leases").exists()
    code, out, err = headwater("worker", store.root)
    assert code == 0 and "0 arms trained, 0 cells measured" in out and "nothing is left" in out


def test_a_worker_is_told_of_a_study_and_of_a_store_that_is_not_there(
    finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    refused(headwater("worker", tmp_path / "none"), "there is no store here")
    code, out, _ = headwater(
        "worker", finished.store, "--study", finished.study, "--device", "cpu", "--quiet"
    )
    assert code == 0 and "0 arms trained" in out


def test_a_damaged_study_under_way_is_told_and_passed_over(
    finished: Finished, headwater: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path / "store", create=True)
    path = studies.put(store, "tiny", Study.load(finished.study).words(), None)
    path.write_text(path.read_text().replace('"tiny-world"', '"other"'))
    code, out, _ = headwater("worker", store.root)
    assert code == 0 and "0 arms" in out and "is passed over" in caplog.text


@pytest.mark.slow
def test_a_run_says_that_its_study_is_under_way_until_it_is_done(
    finished: Finished, tmp_path: Path
) -> None:
    seen = list[str]()
    store = tmp_path / "store"
    api.run(
        finished.study,
        store=store,
        device="cpu",
        engine="inline",
        watch=lambda event: seen.extend(
            found.path.name for found in studies.under_way(Store(store))
        ),
    )
    assert set(seen) and len(set(seen)) == 1 and seen[0].startswith("tiny-world-")
    assert not (store / "studies").exists()


LONG = tiny(methods=["supervised"], budget={"steps": 300})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A study of one arm of some seconds, run without interruption."""
    folder = tmp_path_factory.mktemp("long")
    study = write_study(folder / "study.yaml", LONG)
    api.run(study, store=folder / "store", device="cpu", workers=1)
    return Finished(study, folder / "store")


def under_way(command: list[str], store: Path, stdin: int | None = None) -> subprocess.Popen[str]:
    """A command whose first arm has trained for a while."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headwater.cli", *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while not list(store.glob("partial/*/metrics.jsonl")):
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    return process


def stopped(process: subprocess.Popen[str], by: Callable[[], None]) -> tuple[int, str, str]:
    began = time.monotonic()
    by()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - began < 15
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_keeps_its_last_step(
    number: signal.Signals, whole: Finished, tmp_path: Path
) -> None:
    """Its checkpoints come every 20 seconds, and it is stopped long before."""
    store = tmp_path / "store"
    command = ["run", str(whole.study), "--store", str(store), "--device", "cpu", "--workers", "1"]
    process = under_way(command, store)
    code, _, err = stopped(process, lambda: os.killpg(process.pid, number))
    assert code == 128 + number and "run the same command again to go on" in err
    assert list(store.glob("partial/*/step-*.safetensors"))
    assert not (store / "leases").exists()
    api.run(whole.study, store=store, device="cpu", workers=1)
    assert_same_results(store, whole.store)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_that_is_told_to_stop_ends_well_and_another_goes_on(
    number: signal.Signals, whole: Finished, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    Store(store, create=True)
    studies.put(Store(store), "long", Study.load(whole.study).words(), None)
    command = ["worker", str(store), "--device", "cpu", "--json", "--engine-id", "3"]
    process = under_way(command, store)
    (lease,) = store.glob("leases/*.json")
    assert json.loads(lease.read_text())["name"].endswith(" 3")
    code, out, _ = stopped(process, lambda: os.kill(process.pid, number))
    assert code == 0 and json.loads(out)["stopped"]
    assert list(store.glob("partial/*/step-*.safetensors")) and not (store / "leases").exists()
    done = subprocess.run(
        [sys.executable, "-m", "headwater.cli", *command],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["arms"] == 1
    assert_same_results(store, whole.store)


@pytest.mark.slow
def test_a_tied_worker_stops_when_whoever_started_it_is_gone(
    whole: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True).root
    words = ["worker", str(store), "--study", str(whole.study), "--device", "cpu", "--tied"]
    process = under_way(words, store, stdin=subprocess.PIPE)
    stdin, process.stdin = process.stdin, None
    assert stdin is not None
    code, out, _ = stopped(process, stdin.close)
    assert code == 0 and "stopped; what it had is kept" in out
    assert list(store.glob("partial/*/step-*.json")) and not (store / "leases").exists()


@pytest.mark.slow
def test_a_worker_does_of_a_study_by_steps_what_is_wanted_so_far(
    finished: Finished, headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, study = Store(tmp_path / "store", create=True), Study.load(finished.study)
    plan = Plan.make(study, cache=store.cache)
    first, second, *_ = (arm.id for arm in plan.arms)
    path = studies.put(store, "tiny-world", study.words(), None, {first})
    command = ("worker", store.root, "--device", "cpu", "--idle", "0", "--json")
    code, out, err = headwater(*command)
    assert code == 0 and json.loads(out)["arms"] == 1, err
    assert store.all_arms() == {first} and path.exists()
    assert studies.put(store, "tiny-world", study.words(), None, {first, second}) == path
    code, out, err = headwater(*command)
    assert code == 0 and json.loads(out)["arms"] == 1, err
    assert store.all_arms() == {first, second}
    whole = studies.put(store, "tiny-world", study.words(), None)
    assert whole != path, "a run of the whole study is another one"


@pytest.mark.slow
def test_a_study_that_cannot_be_done_here_keeps_no_other_from_being_done(
    finished: Finished, headwater: Cli, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, study = Store(shutil.copytree(finished.store, tmp_path / "store")), finished.study
    away = tiny(study="aaa", data={"gone": {"kind": "folder", "path": "not-here"}})
    away |= {"sources": ["gone"], "tasks": {"t": {"data": "gone"}}}
    for name, words in (("aaa", away), ("bbb", {"study": "bbb", "future_key": 1})):
        studies.put(store, name, words, None)
    store.drop_cell(min(store.finished_cells()))
    studies.put(store, "tiny-world", Study.load(study).words(), None)
    code, out, err = headwater("worker", store.root, "--device", "cpu", "--json")
    facts = json.loads(out)
    assert code == 1 and facts["refused"] == 2 and facts["cells"] == 1, err
    assert "cannot be done here" in caplog.text and "is no study that is known here" in caplog.text
    assert len(list((store.root / "studies").glob("*.json"))) == 2


@pytest.mark.slow
def test_what_failed_is_an_exit_code_with_json_too(
    finished: Finished, headwater: Cli, tmp_path: Path
) -> None:
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    cell = next(
        cell
        for cell in sorted(store.finished_cells())
        if store.read_cell(cell)[0]["method"] != "scratch"
    )
    arm = store.read_cell(cell)[0]["arm"]
    store.drop_cell(cell)
    (store.arms / arm / "encoder.safetensors").write_bytes(b"damaged")
    command = ("worker", store.root, "--study", finished.study, "--device", "cpu", "--json")
    code, out, _ = headwater(*command)
    assert code == 1 and json.loads(out)["failed"] == 1
