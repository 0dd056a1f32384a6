"""The doing of one arm and its cells: what rows say, that cells do not see one another, and that
draws are the same for every arm.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file, save_file

from headwater import digests, work
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.labels.targets import LabelSets, Targets
from headwater.plan import Plan
from headwater.rows import comparable, to_frame
from headwater.store import Store
from headwater.study import Study
from headwater.tasks import Draw, Task
from headwater.transfer import neighbours, probe
from headwater.transfer.probe import Fit
from headwater.work import cells as room
from headwater.work.cells import Bench
from tests.conftest import tiny
from tests.toy import FP32
from tests.transfer import striped
from tests.transfer.striped import cells_of, planned, scores, trained, write_source, write_task

LABEL_COLUMNS = ["loss", "multi_label_share", "label_noise", "label_features"]


def measured(store: Store, plan: Plan) -> dict[str, list[Any]]:
    """Train and measure; by method, what the row of its test accuracy says of labels, None for
    null.
    """
    for arm in plan.arms:
        work.run_arm(work.Session(plan, store, FP32), arm)
        work.run_cells(
            work.Session(plan, store, FP32),
            arm,
            "other",
            [cell for cell in plan.cells if cell.arm.id == arm.id],
        )
    rows = to_frame([row for cell in plan.cells for row in store.read_cell(cell.id)])
    rows = rows[(rows["metric"] == "top1") & (rows["subset"] == "all")].set_index("method")
    labels = rows[LABEL_COLUMNS].astype(object)
    return labels.where(labels.notna(), None).T.to_dict("list")


@pytest.fixture
def plan() -> Plan:
    """Scratch, SimCLR and a supervised arm, whose targets are replaced: a quarter of its images
    have two labels, and a tenth are noise.
    """
    one = Plan.make(
        Study.model_validate(
            tiny(
                methods=["scratch", "supervised", "simclr"],
                budget={"steps": 1},
                protocols={"probe": {"l2": 1}},
            )
        )
    )
    sets = Targets(
        one.arms[1].positions % 4,
        ("a", "b", "c"),
        "level:1",
        LabelSets.of([[0], [1], [2], [0, 1]]),
        noise=0.1,
    )
    scratch, supervised, simclr = one.arms
    arms = {arm.id: arm for arm in (scratch, replace(supervised, targets=sets), simclr)}
    cells = [replace(cell, arm=arms[cell.arm.id]) for cell in one.cells]
    return replace(one, arms=tuple(arms.values()), cells=tuple(cells))


def test_rows_say_with_which_loss_and_labels_an_arm_was_trained(plan: Plan, tmp_path: Path) -> None:
    nothing = [None] * 4
    assert measured(Store(tmp_path / "store", create=True), plan) == {
        "scratch": nothing,
        "supervised": ["sigmoid", 0.25, 0.1, None],
        "simclr": nothing,
    }


# cells
@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cells")
    write_source(root)
    write_task(root)
    return root


FEW = {"shots": [1, 3, "full"], "draws": 3}
FROZEN: dict[str, Any] = {"probe": {**FEW, **striped.GRID}, "ridge": {**FEW}, "knn": {**FEW}}
TUNED = {"shots": [2], "steps": 2, "batch": 8, "looks": 1, "lr": [1e-3]}
EVERY: dict[str, Any] = {**FROZEN, "zeroshot": {}, "finetune": TUNED, "lpft": TUNED}


def prepared(root: Path, folder: Path, **changes: Any) -> tuple[Plan, Store]:
    """A plan, and a store of its own in which its arms are trained and nothing is measured."""
    plan, store = planned(root, **changes), Store(folder / "store", create=True)
    trained(plan, store)
    return plan, store


@pytest.mark.slow
def test_cells_that_are_measured_together_have_the_rows_that_each_has_alone_in_any_order(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for what may differ between two correct runs (time, attempt): to the last bit of every
    value, confidence and choice.
    """
    plan, store = prepared(root, tmp_path, protocols=EVERY, methods=["clip"])
    alone, apart = (
        Store(shutil.copytree(store.root, tmp_path / name)) for name in ("alone", "apart")
    )
    cells = cells_of(plan, plan.arms[0].id)
    together: list[int] = []
    plain = probe.probes
    monkeypatch.setattr(
        probe, "probes", lambda fits, *more: (together.append(len(fits)), plain(fits, *more))[1]
    )
    work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells)
    assert max(together) == 3, "the draws of a shot count were fitted together"
    together.clear()
    for cell in reversed(cells):
        work.run_cells(work.Session(plan, alone, FP32), plan.arms[0], "task", [cell])
    assert max(together) == 1
    monkeypatch.setattr(room, "_TOGETHER", 1)
    work.run_cells(work.Session(plan, apart, FP32), plan.arms[0], "task", cells[::2] + cells[1::2])
    expected = comparable(plan.rows(store))
    assert expected["cell"].nunique() == len(cells) == 3 * 7 + 3
    for other in (alone, apart):
        pd.testing.assert_frame_equal(comparable(plan.rows(other)), expected, check_exact=True)


def test_every_cell_has_a_row_for_each_metric_that_can_be_told(root: Path, tmp_path: Path) -> None:
    plan, store = prepared(root, tmp_path, protocols=EVERY, methods=["clip"])
    rows = striped.measured(plan, store)
    told = {protocol: sorted(own["metric"].unique()) for protocol, own in rows.groupby("protocol")}
    plain = ["error_across", "error_within", "mean_per_class", "top1"]
    assert told == {
        protocol: plain if protocol == "ridge" else sorted(["ece", *plain]) for protocol in EVERY
    }
    assert not rows.duplicated(["cell", "metric", "subset"]).any()
    wide = rows.pivot(index="cell", columns="metric", values="value").astype(float)
    assert (wide["top1"] + wide["error_within"] + wide["error_across"]).to_numpy() == pytest.approx(
        1
    )
    balanced = rows[rows["metric"] == "top1"].set_index("cell")["value"].astype(float)
    assert wide["mean_per_class"][balanced.index].to_numpy() == pytest.approx(
        balanced.to_numpy()
    ), "every class has as many test images"


def test_every_cell_keeps_the_answers_that_its_rows_are_counted_from(
    root: Path, tmp_path: Path
) -> None:
    """Under every protocol, accuracy and its mean over classes, on every subset."""
    plan, store = prepared(root, tmp_path, protocols=EVERY, methods=["clip"])
    rows = striped.measured(plan, store)
    labels = plan.tasks["task"].labels[plan.tasks["task"].test]
    whole = rows[(rows["subset"] == "all") & rows["metric"].isin(["top1", "mean_per_class"])]
    assert whole["cell"].nunique() == len(plan.cells)
    for row in whole.to_dict("records"):
        right = store.read_answers(row["cell"], len(labels))
        assert right is not None
        by_class = [right[labels == one].mean() for one in np.unique(labels)]
        assert row["value"] == pytest.approx(
            right.mean() if row["metric"] == "top1" else np.mean(by_class)
        )


def test_answers_are_there_before_the_rows_that_say_so(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = prepared(root, tmp_path)
    cells = cells_of(plan, plan.arms[0].id)
    there: list[bool] = []
    replace = os.replace

    def named(source: Path, path: Path) -> None:
        if path.parent == store.rows:
            there.append((store.answers / f"{path.stem}.npy").is_file())
        replace(source, path)

    monkeypatch.setattr(os, "replace", named)
    work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells)
    assert there == [True] * len(cells)


def test_a_finished_cell_is_not_measured_again(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = prepared(root, tmp_path)
    cells = cells_of(plan, plan.arms[0].id)
    work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells)
    monkeypatch.setattr(room, "_measured", None)
    told: list[str] = []
    work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells, told.append)
    assert told == [cell.id for cell in cells]


def test_an_encoder_that_is_not_finite_makes_every_cell_diverged_for_good(
    root: Path, tmp_path: Path
) -> None:
    plan, store = prepared(root, tmp_path, protocols=EVERY, methods=["clip"])
    arm = plan.arms[0]
    weights = store.arm_folder(arm.id) / "encoder.safetensors"
    tensors = load_file(weights)
    first = next(name for name in sorted(tensors) if name.endswith("weight"))
    tensors[first] = tensors[first] * math.nan
    save_file(tensors, weights)
    record = store.read_arm(arm.id)
    about = digests.read_record(weights.parent / "encoder.json")
    (weights.parent / "encoder.json").write_text(
        json.dumps({**about, "sha256": file_sha256(weights)})
    )
    (weights.parent / "arm.json").write_text(
        json.dumps({**record, "encoder_sha256": file_sha256(weights)})
    )
    cells = cells_of(plan, arm.id)
    work.run_cells(work.Session(plan, store, FP32), arm, "task", cells)
    rows = plan.rows(store)
    assert set(rows["status"]) == {"diverged"}
    assert rows["cell"].nunique() == len(rows) == len(cells)
    assert rows["value"].isna().all()
    assert all("not finite" in reason for reason in rows["reason"])
    assert set(rows["protocol"]) == set(EVERY)
    assert store.finished_cells() == {cell.id for cell in cells}
    assert not store.answers.exists(), "what has diverged has no answers"


def test_a_cell_that_fails_keeps_no_other_from_being_measured(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = prepared(root, tmp_path, protocols=FROZEN)
    monkeypatch.setattr(neighbours, "choose_knn", lambda *args: 1 / 0)
    cells, told = cells_of(plan, plan.arms[0].id), list[str]()
    with pytest.raises(ZeroDivisionError):
        work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells, told.append)
    expected = {cell.id for cell in cells if cell.words.protocol != "knn"}
    assert store.finished_cells() == set(told) == expected
    assert len(told) == len(expected)
    monkeypatch.undo()
    work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells)
    assert store.finished_cells() == {cell.id for cell in cells}


def test_of_draws_that_are_fitted_together_one_that_fails_spoils_no_other(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = prepared(root, tmp_path, protocols={"probe": {**FEW, **striped.GRID}})
    whole = Store(shutil.copytree(store.root, tmp_path / "whole"))
    cells = cells_of(plan, plan.arms[0].id)
    work.run_cells(work.Session(plan, whole, FP32), plan.arms[0], "task", cells)
    bad = next(cell for cell in cells if (cell.words.shots, cell.words.draw) == (3, 1))
    spoilt = (
        Bench(work.Session(plan, store, FP32), plan.arms[0], "task")
        .fit(plan.tasks["task"].draw(3, 1, seed=0, val="matched"))
        .train
    )
    plain = probe.probes

    def failing(fits: Sequence[Fit], *more: Any) -> Any:
        if any(fit.train.shape == spoilt.shape and (fit.train == spoilt).all() for fit in fits):
            raise RuntimeError("this draw")
        return plain(fits, *more)

    monkeypatch.setattr(probe, "probes", failing)
    with pytest.raises(RuntimeError, match="this draw"):
        work.run_cells(work.Session(plan, store, FP32), plan.arms[0], "task", cells)
    rows = comparable(plan.rows(whole))
    pd.testing.assert_frame_equal(
        comparable(plan.rows(store)),
        rows[rows["cell"] != bad.id].reset_index(drop=True),
        check_exact=True,
    )


# draws
@pytest.mark.slow
def test_draws_are_paired_over_arms_and_protocols_nested_over_shots_and_differ_by_seed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the cells of four arms were really fitted to, training and validation images alike."""
    names: dict[bytes, tuple[int, int]] = {}
    taken: dict[tuple[int, int, int], set[tuple[bytes, bytes]]] = {}
    draw, fit = room.Task.draw, Bench.fit

    def drawn(task: Task, shots: int | None, which: int | None, **more: Any) -> Draw:
        found = draw(task, shots, which, **more)
        names[found.train.tobytes() + found.val.tobytes()] = shots or 0, which or 0
        return found

    def fitted(bench: Bench, one: Draw) -> Fit:
        images = one.train.tobytes(), one.val.tobytes()
        taken.setdefault((bench.arm.words.seed, *names[b"".join(images)]), set()).add(images)
        return fit(bench, one)

    monkeypatch.setattr(room.Task, "draw", drawn)
    monkeypatch.setattr(Bench, "fit", fitted)
    plan, store = prepared(
        root,
        tmp_path,
        methods=["scratch", "supervised", "simclr", "clip"],
        seeds=2,
        protocols=FROZEN,
    )
    rows = striped.measured(plan, store)
    assert len(taken) == 2 * 7
    assert all(len(images) == 1 for images in taken.values()), (
        "one draw for all arms and protocols of a seed"
    )
    trains, vals = {}, {}
    for at, images in taken.items():
        train, val = next(iter(images))
        trains[at] = set(np.frombuffer(train, dtype=np.int64).tolist())
        vals[at] = set(np.frombuffer(val, dtype=np.int64).tolist())
    for seed in (0, 1):
        for which in range(3):
            assert trains[seed, 1, which] < trains[seed, 3, which] < trains[seed, 0, 0]
            assert vals[seed, 1, which] < vals[seed, 3, which] < vals[seed, 0, 0]
            assert (len(trains[seed, 3, which]), len(vals[seed, 3, which])) == (12, 12)
    few = {at: frozenset(images) for at, images in trains.items() if at[1] == 3}
    assert len(set(few.values())) == 6, "another draw or another seed is other images"
    assert trains[0, 0, 0] == trains[1, 0, 0]
    assert rows.groupby("cell")["n_test"].first().nunique() == 1


def test_more_shots_than_images_are_refused_or_capped_and_said(root: Path, tmp_path: Path) -> None:
    asked = {"protocols": {"ridge": {"shots": [striped.COUNTS["train"] + 1], "val": "full"}}}
    with pytest.raises(
        InputError, match=r"21 shots, but class 'dense' has 20 training images; .*`cap: true`"
    ):
        planned(root, **asked)
    rows = scores(
        striped.measured(
            *prepared(root, tmp_path, **asked, tasks={"task": {"data": "task", "cap": True}})
        )
    )
    assert rows[["n_train", "n_val", "capped", "val_protocol"]].to_numpy().tolist() == [
        [80, 32, True, "split"]
    ]


def test_validation_is_as_small_as_training_unless_the_whole_is_asked_for(
    root: Path, tmp_path: Path
) -> None:
    for val, n_val, said in (("matched", 8, "split few-shot"), ("full", 32, "split")):
        rows = scores(
            striped.measured(
                *prepared(root, tmp_path, protocols={"ridge": {"shots": [2], "val": val}})
            )
        )
        assert rows[
            ["n_train", "n_val", "capped", "val_protocol", "val_missing_classes"]
        ].to_numpy().tolist() == [[8, n_val, False, said, 0]]
