"""The inline engine: the bits of worker processes, in this process."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
import torch

from headwater import api, work
from headwater.engines import claims, engine, schedule
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.registry import ENGINES
from headwater.rows import comparable, read_rows
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Cli, Finished, refused, tiny, write_study


@pytest.mark.slow
def test_worker_processes_give_the_bits_that_this_process_gives(
    finished: Finished, tmp_path: Path
) -> None:
    """The shared store was computed inline. Encoders are equal to the bit, so are rows.

    Killed worker processes are compared with it at every run of the tests (test_kill.py).
    """
    words = tiny(methods=["scratch", "supervised"])
    study = write_study(tmp_path / "study.yaml", words)
    rows = api.run(study, store=tmp_path / "store", device="cpu", workers=2)
    expected = read_rows(finished.store)
    expected = expected[expected["arm"].isin(rows["arm"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(comparable(rows), comparable(expected), check_exact=True)
    stores = Store(tmp_path / "store"), Store(finished.store)
    for arm in set(rows["arm"]):
        digests = [store.read_arm(arm)["encoder_sha256"] for store in stores]
        assert digests[0] == digests[1]


def run(
    words: dict[str, object], store: Store, **options: object
) -> tuple[Plan, list[schedule.Event]]:
    plan = Plan.make(Study.model_validate(words), cache=store.cache)
    events: list[schedule.Event] = []
    engine.run(plan, store, engine="inline", device="cpu", watch=events.append, **options)  # type: ignore[arg-type]
    return plan, events


WORDS = tiny(methods=["scratch", "supervised"], protocols={"probe": {}}, budget={"steps": 2})


def test_an_unknown_engine_makes_no_store(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", WORDS)
    with pytest.raises(InputError, match=r"engine: 'inlin' is none of .* did you mean 'inline'"):
        api.run(study, store=tmp_path / "store", engine="inlin")
    assert not (tmp_path / "store").exists()


def test_torchs_flags_are_the_callers_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    inside: list[bool] = []
    monkeypatch.setattr(
        "headwater.engines.unit.compute_unit",
        lambda *_: inside.append(torch.backends.cudnn.deterministic),
    )
    run(WORDS, Store(tmp_path / "store", create=True))
    assert set(inside) == {True}
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (True, False)


def test_threads_are_a_workers_inside_and_the_callers_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threadpoolctl import threadpool_info

    inside: list[int] = []
    train = work.run_arm

    def note(*arguments: object, **options: object) -> None:
        inside.append(torch.get_num_threads())
        inside.extend(library["num_threads"] for library in threadpool_info())
        train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "run_arm", note)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run(WORDS, Store(tmp_path / "store", create=True))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert len(inside) > 2
    assert set(inside) == {1}


def test_a_unit_that_fails_is_failed_rows_with_its_traceback_in_a_log_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = work.run_arm

    def fails(*arguments: object, **options: object) -> None:
        arm = next(one for one in arguments if hasattr(one, "targets"))
        if arm.words.method == "supervised":
            raise MemoryError("too big")
        train(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(work, "run_arm", fails)
    monkeypatch.setattr(claims, "WAIT_S", 0.01)
    store = Store(tmp_path / "store", create=True)
    plan, events = run(WORDS, store)
    rows = plan.rows(store)
    assert rows.groupby("method")["status"].unique().map(list).to_dict() == {
        "scratch": ["done"],
        "supervised": ["failed"],
    }
    assert rows["reason"].dropna().tolist() == ["MemoryError: too big"]
    kinds = [event.kind for event in events]
    assert kinds.count("failed") == 1
    assert kinds.count("retried") == claims.TRIES - 1, "others may have had the memory"
    log = (store.root / "logs" / f"inline-{os.getpid()}.log").read_text()
    assert "Traceback" in log
    assert "too big" in log


def test_an_arm_whose_features_arm_fails_fails_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> None:
        raise OSError("no luck")

    monkeypatch.setattr(work, "run_arm", fails)
    words = tiny(methods=["supervised"], labels=["cluster:4"], protocols={"probe": {}})
    store = Store(tmp_path / "store", create=True)
    plan, events = run(words, store)
    reasons = plan.rows(store)["reason"]
    assert reasons.str.contains("its labels need simclr.*no luck").all()
    failed = [event for event in events if event.kind == "failed"]
    assert sorted(event.worker for event in failed) == [schedule.NOBODY, 0]


def test_the_command_line_names_the_engine_and_an_unknown_one_is_refused(
    headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", WORDS)
    options = ("--device", "cpu", "--store", tmp_path / "store", "--json")
    code, out, err = headwater("run", study, "--engine", "inline", *options)
    assert code == 0, err
    assert '"done": 2' in out
    assert not list((tmp_path / "store" / "logs").glob("worker-*")), "no process was started"
    refused(headwater("run", study, "--engine", "inlin"), "--engine", "did you mean 'inline'?")
    with pytest.raises(InputError, match="engine: 'elsewhere' is none of local, inline"):
        api.run(study, store=tmp_path / "store", engine="elsewhere")


def test_the_engines_that_come_with_headwater() -> None:
    assert ENGINES.names()[:2] == ("local", "inline")
    for entry in ENGINES:
        assert entry.title
