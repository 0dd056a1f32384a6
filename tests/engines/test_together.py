"""Arms that several processes train together for one worker."""

from __future__ import annotations

import functools
import threading
from pathlib import Path

import pandas as pd
import pytest

from headwater import device, work
from headwater.engines import engine, together
from headwater.errors import InputError, Stopped
from headwater.plan import Plan
from headwater.pretrain import Progress
from headwater.rows import comparable
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny


def session(store: Path, steps: int, ranks: int = 2, batch: int = 32) -> work.Session:
    words = tiny(methods=["supervised"], budget={"steps": steps})
    words["recipe"]["batch"] = batch
    opened = Store(store, create=True)
    plan = Plan.make(Study.model_validate(words), cache=opened.cache)
    compute = device.resolve("cpu", plan.study.precision)
    return work.Session(plan, opened, compute, 600.0, ranks=ranks, stop=threading.Event())


@pytest.mark.slow
def test_an_arm_that_is_told_to_stop_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    """Rank by rank it ends after one step that all agree on; checkpoints come every 10 minutes."""
    whole = session(tmp_path / "whole", steps=60)
    (arm,) = whole.plan.arms
    together.train(whole, arm, lambda progress: None)
    record = whole.store.read_arm(arm.id)
    assert "ranks=2" in record["fingerprint"]

    parted, steps = session(tmp_path / "parted", steps=60), list[int]()

    def stop_soon(progress: Progress) -> None:
        steps.append(progress.step)
        parted.stop.set()

    with pytest.raises(Stopped):
        together.train(parted, arm, stop_soon)
    assert list((parted.store.partial / arm.id).glob("step-*.json"))
    parted.stop.clear()
    together.train(parted, arm, lambda progress: None)
    again = parted.store.read_arm(arm.id)
    assert again["encoder_sha256"] == record["encoder_sha256"]


def test_a_batch_that_is_too_small_to_be_shared_fails_with_the_reason(tmp_path: Path) -> None:
    small = session(tmp_path / "store", steps=4, batch=3)
    with pytest.raises(InputError, match=r"a batch of 3 images is too small for 2 ranks"):
        together.train(small, small.plan.arms[0], lambda progress: None)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_others_and_fails_the_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = session(tmp_path / "store", steps=5000)
    begun = list[together._Ranks]()
    listen = together._Ranks._listen

    def noted(ranks: together._Ranks) -> None:
        begun.append(ranks)
        listen(ranks)

    monkeypatch.setattr(together._Ranks, "_listen", noted)

    def kill(progress: Progress) -> None:
        begun[0]._processes[1].kill()

    with pytest.raises(RuntimeError, match="rank 1 of 2 ended with -9"):
        together.train(long, long.plan.arms[0], kill)
    assert all(process.poll() is not None for process in begun[0]._processes)


@pytest.mark.slow
def test_workers_with_ranks_say_so_in_rows(tmp_path: Path) -> None:
    made = session(tmp_path / "store", steps=6)
    run = functools.partial(engine.run, made.plan, made.store, device="cpu", workers=1)
    run(ranks=2)
    rows = made.plan.rows(made.store)
    assert set(rows["status"]) == {"done"}
    assert all("ranks=2" in told for told in rows["pretrain_fingerprint"])
    assert not any("ranks" in told for told in rows["fingerprint"])
    other = session(tmp_path / "torchrun", steps=6)
    together.train(other, other.plan.arms[0], lambda progress: None)
    engine.run(other.plan, other.store, device="cpu", engine="inline")
    pd.testing.assert_frame_equal(comparable(rows), comparable(other.plan.rows(other.store)))
