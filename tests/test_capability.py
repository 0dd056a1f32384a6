"""What a study is called does not depend on the machine that computes it; what its numbers were
computed on stands on the rows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import device
from headwater.plan import Plan
from headwater.rows import read_rows
from headwater.study import Study
from tests.conftest import Finished, tiny, write_study

VIEWS = [
    "level:0",
    "level:1",
    "instance",
    "random:3",
    "shuffle:2",
    "cluster:3",
    "random:4 within level:1",
]
IDS = """
import json, sys
from headwater.plan import Plan
from headwater.study import Study
plan = Plan.make(Study.load(sys.argv[1]))
print(json.dumps([[arm.id for arm in plan.arms], [cell.id for cell in plan.cells]]))
"""
LESS = {"ATEN_CPU_CAPABILITY": "default", "DNNL_MAX_CPU_ISA": "AVX2", "OMP_NUM_THREADS": "2"}


def test_ids_are_those_of_a_processor_that_can_do_less(tmp_path: Path) -> None:
    """Every kind of label view, noise in labels and captions, and copies found by content."""
    study = write_study(
        tmp_path / "study.yaml",
        tiny(
            labels=VIEWS,
            captions="captions with swaps:0.2",
            methods=["scratch", "supervised", "clip"],
        ),
    )
    plan = Plan.make(Study.load(study))
    here = [[arm.id for arm in plan.arms], [cell.id for cell in plan.cells]]
    assert len(here[0]) > len(VIEWS)
    command = [sys.executable, "-c", IDS, str(study)]
    there = subprocess.run(
        command, env={**os.environ, **LESS}, capture_output=True, text=True, check=True
    )
    assert json.loads(there.stdout) == here


def test_precision_auto_stays_auto_in_ids_and_the_row_says_what_it_meant(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = []
    for has_bf16 in (True, False):
        monkeypatch.setattr(device, "cpu_has_bf16", lambda has=has_bf16: has)
        ids.append([cell.id for cell in Plan.make(Study.load(finished.study)).cells])
    assert ids[0] == ids[1]
    monkeypatch.undo()
    rows = read_rows(finished.store)
    assert set(rows["precision"]) == {"auto"}
    meant = "bf16" if device.cpu_has_bf16() else "fp32"
    for column in ("fingerprint", "pretrain_fingerprint"):
        assert all(said.split()[:2] == ["cpu", meant] for said in rows[column].dropna())
        assert rows[column].notna().any()
