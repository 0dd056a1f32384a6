"""Entries of another package, found by entry point, in a real run from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.rows import comparable, read_rows
from tests.conftest import write_study

SRC = Path(__file__).parents[2] / "src"
EXTRAS = Path(__file__).parent
STUDY = {
    "study": "extras",
    "data": {"bars": {"kind": "stripes", "classes": 3}},
    "sources": ["bars"],
    "methods": ["scratch", "supervised"],
    "seeds": 1,
    "budget": {"steps": 12},
    "recipe": {"batch": 16},
    "tasks": {"widths": {"data": "bars"}},
    "protocols": {"probe": {}, "nearest-mean": {"shots": ["full", 3], "draws": 2}},
}


@dataclass(frozen=True)
class Run:
    folder: Path
    rows: pd.DataFrame
    facts: dict[str, object]

    @property
    def report(self) -> str:
        return (self.folder / "report.html").read_text()


def headwater(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a fresh process to which the other package is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SRC), str(EXTRAS)])}
    return subprocess.run(
        [sys.executable, "-m", "headwater.cli", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("extras")
    write_study(folder / "study.yaml", STUDY)
    options = ("--device", "cpu", "--out", "report.html", "--store", "store", "--json")
    done = headwater(folder, "run", "study.yaml", "--engine", "backwards", *options)
    assert done.returncode == 0, done.stderr
    return Run(folder, read_rows(folder / "store"), json.loads(done.stdout))


@pytest.mark.slow
def test_a_kind_of_data_of_another_package_is_pre_trained_on_and_measured(ran: Run) -> None:
    assert set(ran.rows["status"]) == {"done"}
    trained = ran.rows[ran.rows["method"] == "supervised"]
    assert set(trained["source"]) == {"bars"}
    assert set(trained["unique_images"]) == {72}
    assert set(ran.rows["task_classes"]) == {3}


@pytest.mark.slow
def test_a_protocol_of_another_package_measures_what_it_says(ran: Run) -> None:
    """Its scores again from the features that the run kept, in plain numpy."""
    rows = ran.rows[(ran.rows["protocol"] == "nearest-mean") & (ran.rows["metric"] == "top1")]
    assert len(rows[rows["subset"] == "all"]) == 2 * 3  # two arms; full, and two draws of three
    full = rows[rows["shots"].isna() & (rows["subset"] == "all")].set_index("method")["value"]
    kept = sorted((ran.folder / "store" / "cache" / "features").rglob("*.npy"))
    assert len(kept) == 2
    labels = np.tile(np.arange(3), 3 * 24)
    by_hand = []
    for path in kept:
        features = np.load(path, allow_pickle=False).astype(np.float64)
        means = np.stack([features[:72][labels[:72] == c].mean(axis=0) for c in range(3)])
        far = ((features[144:, None] - means) ** 2).sum(axis=2)
        by_hand.append(float((far.argmin(axis=1) == labels[144:]).mean()))
    assert sorted(full) == pytest.approx(sorted(by_hand))


@pytest.mark.slow
def test_an_engine_of_another_package_computes_the_same_bits(ran: Run) -> None:
    """As the inline engine, in the other order."""
    assert (ran.folder / "store" / "logs" / "backwards.txt").is_file()
    options = ("--device", "cpu", "--engine", "inline", "--store", "again", "--quiet")
    assert headwater(ran.folder, "run", "study.yaml", *options).returncode == 0
    again = read_rows(ran.folder / "again")
    pd.testing.assert_frame_equal(comparable(ran.rows), comparable(again), check_exact=True)


@pytest.mark.slow
def test_an_analysis_of_another_package_is_in_the_report(ran: Run) -> None:
    scores = ran.rows[(ran.rows["metric"] == "top1") & (ran.rows["subset"] == "all")]["value"]
    spread = 100 * (scores.max() - scores.min())
    assert f"The best and the worst cell are {spread:.1f} points apart." in ran.report
    assert "Spread of the cells" in ran.report


def test_a_wrong_word_of_it_is_an_error_with_a_line(tmp_path: Path) -> None:
    words = {**STUDY, "data": {"bars": {"kind": "stripes", "clases": 3}}}
    path = write_study(tmp_path / "study.yaml", words)
    line = 1 + next(i for i, text in enumerate(path.read_text().splitlines()) if "clases" in text)
    done = headwater(tmp_path, "plan", "study.yaml")
    assert done.returncode == 2
    assert f"line {line}: unknown key 'data.bars.clases'; did you mean 'classes'?" in done.stderr


def test_what_is_not_installed_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write_study(tmp_path / "study.yaml", STUDY)
    without = {**os.environ, "PYTHONPATH": str(SRC)}
    command = [sys.executable, "-m", "headwater.cli", "plan", "study.yaml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=without, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "'stripes' is none of folder, shards, parquet, huggingface, published, " in done.stderr
