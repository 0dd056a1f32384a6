"""torchrun trains the arms of a study by two processes together; `run` then measures them and
trains nothing again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headwater import api
from headwater.store import Store
from tests.conftest import tiny, write_study

TORCHRUN = (
    sys.executable,
    "-W",
    "ignore",
    "-m",
    "torch.distributed.run",
    "--standalone",
    "--nproc-per-node",
    "2",
    "-m",
    "headwater.engines.ranks",
)


def torchrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*TORCHRUN, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
    )


def test_two_ranks_train_a_study_that_run_then_only_measures(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study.yaml", tiny(methods=["supervised", "simclr"], budget={"steps": 6})
    )
    done = torchrun(study, "--store", tmp_path / "store", "--device", "cpu")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "trained 2 arms on 2 ranks" in done.stdout
    store = Store(tmp_path / "store")
    records = [json.loads(path.read_text()) for path in store.root.glob("arms/[!.]*/arm.json")]
    assert [record["status"] for record in records] == ["done", "done"]
    assert all("ranks=2" in record["fingerprint"] for record in records)
    assert not list(store.root.glob("partial/*"))
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("arms/[!.]*/*")}
    rows = api.run(study, store=store.root, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}
    assert all("ranks=2" in told for told in rows["pretrain_fingerprint"])
    assert {path: path.stat().st_mtime_ns for path in store.root.glob("arms/[!.]*/*")} == before


@pytest.mark.slow
def test_what_two_ranks_have_trained_is_not_trained_again(tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", tiny(methods=["simclr"], budget={"steps": 2}))
    for trained in ("trained 1 arms on 2 ranks", "trained 0 arms"):
        ended = torchrun(study, "--store", tmp_path / "store", "--device", "cpu")
        assert ended.returncode == 0, ended.stderr[-2000:]
        assert trained in ended.stdout


@pytest.mark.slow
def test_a_wrong_study_is_one_line_a_rank(tmp_path: Path) -> None:
    done = torchrun(
        write_study(tmp_path / "study.yaml", tiny(backbone="resnet999")),
        "--store",
        tmp_path / "store",
    )
    assert done.returncode != 0
    assert "timm has no architecture 'resnet999'" in done.stderr
