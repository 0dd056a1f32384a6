"""The doing of one arm and its cells: what rows say of the labels that an arm was trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater import work
from headwater.labels.targets import LabelSets, Targets
from headwater.plan import Plan
from headwater.rows import to_frame
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny
from tests.toy import FP32

LABEL_COLUMNS = ["loss", "multi_label_share", "label_noise", "label_features"]


def measured(store: Store, plan: Plan) -> dict[str, list[Any]]:
    """Train and measure; by method, what the row of its test accuracy says of labels, None for null."""
    for arm in plan.arms:
        work.run_arm(plan, arm, store, FP32)
        work.run_cells(plan, arm, "other", [cell for cell in plan.cells if cell.arm.id == arm.id], store, FP32)
    rows = to_frame([row for cell in plan.cells for row in store.read_cell(cell.id)])
    rows = rows[(rows["metric"] == "top1") & (rows["subset"] == "all")].set_index("method")
    return {str(method): [None if pd.isna(value) else value for value in row] for method, row in rows[LABEL_COLUMNS].iterrows()}


@pytest.fixture
def plan() -> Plan:
    """Scratch, SimCLR and a supervised arm, whose targets are replaced: a quarter of its images have two labels, and a tenth are noise."""
    one = Plan.make(Study.model_validate(tiny(methods=["scratch", "supervised", "simclr"], budget={"steps": 1}, protocols={"probe": {"l2": 1}})))
    sets = Targets(one.arms[1].positions % 4, ("a", "b", "c"), "level:1", LabelSets.of([[0], [1], [2], [0, 1]]), noise=0.1)
    one.arms[1] = replace(one.arms[1], targets=sets)
    one.cells = [replace(cell, arm=next(arm for arm in one.arms if arm.id == cell.arm.id)) for cell in one.cells]
    return one


def test_rows_say_with_which_loss_and_labels_an_arm_was_trained(plan: Plan, tmp_path: Path) -> None:
    nothing = [None] * 4
    assert measured(Store(tmp_path / "store", create=True), plan) == {"scratch": nothing, "supervised": ["sigmoid", 0.25, 0.1, None], "simclr": nothing}
