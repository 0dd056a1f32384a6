"""The examples of CONTRIBUTING are one package, and a study that uses all of it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.registry import AXES
from headwater.rows import read_rows
from tests.conftest import write_study

pytestmark = pytest.mark.docs
PAGE = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text()
EXAMPLES = dict(
    re.findall(r"^### [^\n]*`my_package/(\w+\.py)`\n.*?^```python\n(.*?)^```", PAGE, re.M | re.S)
)
POINTS = tomllib.loads(re.findall(r"^```toml\n(.*?)^```", PAGE, re.M | re.S)[0])
GROUPS: dict[str, dict[str, str]] = POINTS["project"]["entry-points"]
STUDY: dict[str, Any] = {
    "study": "additions",
    "data": {"made": {"kind": "stripes"}, "task": {"kind": "stripes", "images": 320, "seed": 1}},
    "sources": {"made": {}},
    "methods": ["scratch", "supervised", "rotation"],
    "labels": ["initial"],
    "seeds": 1,
    "budget": {"steps": 30},
    "recipe": {"batch": 16, "augmentation": {"crop_min": 0.8, "flip": 0.0}},
    "tasks": {"widths": {"data": "task"}},
    "protocols": {"nearest-mean": {"shots": [5, "full"], "draws": 2}},
}


@dataclass(frozen=True)
class Ran:
    """The study of the additions, run by a process that finds them by their entry points."""

    rows: pd.DataFrame
    store: Path
    report: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("contributing")
    package, record = folder / "site" / "my_package", folder / "site" / "my_package-1.dist-info"
    package.mkdir(parents=True)
    record.mkdir()
    (package / "__init__.py").touch()
    for name, text in EXAMPLES.items():
        (package / name).write_text(text)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1\n")
    sections = []
    for group, entries in GROUPS.items():
        sections += [f"[{group}]", *(f"{name} = {place}" for name, place in entries.items())]
    (record / "entry_points.txt").write_text("\n".join(sections))
    study, store = write_study(folder / "study.yaml", STUDY), folder / "store"
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    headwater = [sys.executable, "-m", "headwater.cli"]
    place = ["--store", str(store)]
    for words in (
        ["run", str(study), "--engine", "logged", "--device", "cpu", *place],
        ["rows", str(study), "--out", str(folder / "rows.parquet"), *place],
        ["report", str(folder / "rows.parquet"), "--out", str(folder / "report.html")],
    ):
        done = subprocess.run(
            [*headwater, *words], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
    report = (folder / "report.html").read_text()
    return Ran(read_rows(folder / "rows.parquet"), store, report)


def test_every_socket_has_an_example_and_its_entry_point() -> None:
    assert set(GROUPS) == {axis.group for axis in AXES}
    files = [place for entries in GROUPS.values() for place in entries.values()]
    assert sorted(files) == sorted(f"my_package.{name[:-3]}:ENTRY" for name in EXAMPLES)


def test_the_added_method_learns_and_the_added_protocol_sees_it(ran: Ran) -> None:
    top1 = ran.rows[(ran.rows["metric"] == "top1") & (ran.rows["subset"] == "all")]
    assert set(top1["status"]) == {"done"} and set(top1["protocol"]) == {"nearest-mean"}
    assert set(top1["method"]) == {"scratch", "supervised", "rotation"}
    loss = ran.rows.set_index("method")["pretrain_loss"].astype(float)["rotation"]
    assert (loss < 1.386).all(), "ln 4 is the loss of a guess among four rotations"
    assert top1["value"].astype(float).max() > 0.5, "four classes, so 0.25 is chance"
    flops = ran.rows.groupby("method")["pretrain_flops"].first().astype(float)
    assert flops["rotation"] == 4 * flops["supervised"], "the images are turned four times"


def test_the_added_kind_of_data_gives_the_images_and_the_added_view_their_labels(ran: Ran) -> None:
    labelled = ran.rows[ran.rows["method"] == "supervised"]
    assert set(labelled["labels"]) == {"initial"}
    assert set(labelled["num_labels"]) == {2}, "fine and fair; broad and bold"
    assert set(labelled["unique_images"]) == {80}, "half of 160"
    assert set(ran.rows["n_test"]) == {80}, "a quarter of 320"


def test_the_added_analysis_is_asked_by_the_report(ran: Ran) -> None:
    few = ran.rows[(ran.rows["metric"] == "top1") & (ran.rows["shots"] == 5)]
    by_draw = few.pivot(index="method", columns="draw", values="value").astype(float)
    largest = 100 * (by_draw[0] - by_draw[1]).abs().max()
    assert "Luck of the draw" in ran.report
    assert f"Draws of one arm differ by up to {largest:.1f} points." in ran.report


def test_the_added_engine_did_the_work_and_kept_its_list(ran: Ran) -> None:
    lines = (ran.store / "events.txt").read_text().splitlines()
    assert sum(line.startswith("started train ") for line in lines) == 3
    assert sum(line.startswith("finished ") for line in lines) == 6, "three arms, and their cells"
