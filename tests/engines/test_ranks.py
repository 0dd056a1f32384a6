"""Two processes train the arms of a study together, as torchrun starts them; `run` then measures
them and trains nothing again.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch import distributed

from headwater import api
from headwater.store import Store
from tests.conftest import tiny, write_study
from tests.two_ranks import start

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


def one_rank(rank: int, folder: str) -> None:
    """What torchrun makes of one rank: the module's main, told by the environment who it is. Here
    the ranks meet in a file.
    """
    from headwater.engines import ranks

    meeting = functools.partial(
        distributed.init_process_group,
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
    )
    distributed.init_process_group = meeting
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
    words = ("--store", f"{folder}/store", "--device", "cpu")
    sys.argv = ["ranks", f"{folder}/study.yaml", *words]
    with Path(folder, f"{rank}.out").open("w") as out, contextlib.redirect_stdout(out):
        assert ranks.main() == 0


@pytest.mark.slow
def test_two_ranks_train_a_study_that_run_then_only_measures(tmp_path: Path) -> None:
    study = write_study(
        tmp_path / "study.yaml", tiny(methods=["supervised", "simclr"], budget={"steps": 6})
    )
    start(one_rank, str(tmp_path))
    assert "trained 2 arms on 2 ranks" in (tmp_path / "0.out").read_text()
    assert (tmp_path / "1.out").read_text() == ""
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
