"""The figures of the pages are those of the committed rows."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from headwater.analysis import read_answers
from headwater.plan import Plan
from headwater.rows import read_rows
from headwater.study import Study
from headwater.theory.study import TheoryStudy
from headwater.theory.work import networks
from tests.needs import DATA, needs_data

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[1]
OF_THIS_CODE = {
    "exchange": "exchange",
    "grid_world": "grid_world",
    "grocery": "grocery",
    "grocery_partitions": "hong2023/grocery_partitions",
    "hardness": "hong2023/hardness",
    "methods": "methods",
    "mixes": "mixes",
    "noise_vs_size": "entezari2023/noise_vs_size",
    "photos": "entezari2023/photos",
    "world": "world",
}
"""By the name of the rows: their study."""


@pytest.mark.parametrize("name", ["grocery", "world"])
def test_the_pages_of_the_first_studies_hold_the_figures_of_the_committed_rows(name: str) -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_results.py"))
    text = script["page_of"](name).read_text()
    assert text.count(f"<!-- {name} -->") == 1
    assert script["with_block"](text, name) == text, "run python tools/make_results.py"


def test_the_page_of_decisions_holds_the_cards_of_the_committed_rows() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_decisions.py"))
    text = script["PAGE"].read_text()
    assert script["with_blocks"](text) == text, "run python tools/make_decisions.py"
    for name, (_, page) in script["STUDIES"].items():
        assert f"headwater decide docs/results/{name}.parquet" in text
        assert "decisions.md" in (ROOT / "docs" / page).read_text(), page


def test_committed_networks_are_what_this_code_would_simulate() -> None:
    study = TheoryStudy.load(ROOT / "studies" / "hong2023" / "theory.yaml")
    rows = read_rows(ROOT / "docs" / "results" / "theory.parquet")
    planned = {reading.id for network in networks(study) for reading in network.readings}
    assert set(rows["cell"]) == planned


@needs_data
def test_the_grid_of_photos_is_of_this_code_but_for_a_task_whose_copies_are_known_now() -> None:
    """trashnet's test images hold a copy of one of its training images. That was found after these
    rows, and stands in a cell's id: values of the subset `all` are the same (docs/log.md).
    """
    study = Study.load(ROOT / "studies" / "grid_photos.yaml")
    plan = Plan.make(study, data_root=Path(str(DATA)))
    rows = read_rows(ROOT / "docs" / "results" / "grid_photos.parquet")
    later = {cell.id for cell in plan.cells if cell.words.task == "trashnet"}
    others = rows.loc[rows["task"] != "trashnet", "cell"]
    assert set(others) == {cell.id for cell in plan.cells} - later


@needs_data
@pytest.mark.parametrize("name", sorted(OF_THIS_CODE))
def test_committed_rows_are_what_this_code_would_compute(name: str) -> None:
    """A cell's id is made of its recipe numbers, the versions of the rooms that make a result, and
    its images: rows of other ones have ids that no plan of this code has.
    """
    study = Study.load(ROOT / "studies" / f"{OF_THIS_CODE[name]}.yaml")
    plan = Plan.make(study, data_root=Path(str(DATA)))
    rows = read_rows(ROOT / "docs" / "results" / f"{name}.parquet")
    assert set(rows["cell"]) == {cell.id for cell in plan.cells}


def test_the_page_of_partitions_holds_the_figures_of_the_committed_rows() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_partitions.py"))
    rows = read_rows(script["ROWS"])
    assert set(rows["status"]) == {"done"}
    text = script["PAGE"].read_text()
    assert script["with_block"](text, rows) == text, "run python tools/make_partitions.py"
    seeds = rows[rows["source"].notna()].groupby("source")["seed"].nunique()
    assert seeds["grocery"] >= 3
    assert seeds["caltech101"] > seeds["grocery"], "more on the larger"
    random = rows[rows["labels"].astype("string").str.startswith("random", na=False)]
    assert random.groupby("source")["num_labels"].unique().map(sorted).to_dict() == {
        "grocery": [43, 81],
        "caltech101": [13, 100],
    }
    assert not rows.loc[rows["protocol"] == "probe", "label_reuse"].any()
    assert script["FIGURE"].read_bytes()[:4] == b"\x89PNG"


def test_the_page_of_pre_training_holds_the_figures_of_the_committed_rows() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_methods.py"))
    rows = read_rows(script["ROWS"])
    text = script["PAGE"].read_text()
    assert text.count("<!-- methods -->") == 1
    assert "| caltech101 | simclr |" in text
    assert script["with_block"](text, rows) == text, "run python tools/make_methods.py"
    assert (ROOT / "docs" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    table = script["scores"](rows)
    assert not table.loc[table["method"].isin(["simclr", "scratch"]), "reuse"].any()


def test_the_page_of_photos_holds_the_figures_of_the_committed_rows() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_photos.py"))
    rows = read_rows(script["ROWS"])
    assert set(rows["status"]) == {"done"}
    text = script["PAGE"].read_text()
    assert "| clip | mean over tasks | 1 |" in text
    assert script["with_block"](text, rows) == text, "run python tools/make_photos.py"
    assert script["FIGURE"].read_bytes()[:4] == b"\x89PNG"
    five = rows[rows["size"] == "1393"]
    pictures = five.groupby("source")["unique_images"].unique().map(list).to_dict()
    equal = {source: [1393] for source in ("grocery", "caltech101", "ucm", "crawl")}
    assert pictures == {**equal, "noto": [1392]}, "two files of noto are one picture"
    assert rows.loc[rows["shots"].notna() & (rows["protocol"] == "probe"), "draw"].nunique() == 5
    assert rows.groupby("task")["n_test"].max().to_dict() == {
        "eurosat": 1386,
        "fruits": 900,
        "plantvillage15": 1857,
        "trashnet": 524,
    }
    assert rows[rows["subset"] == "all"].groupby("task")["n_test"].nunique().eq(1).all(), (
        "the same full test set at every shot count"
    )


def test_the_page_of_hardness_holds_the_figures_of_the_committed_answers() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_hardness.py"))
    rows = read_rows(script["ROWS"])
    answers = script["checked"](read_answers(script["ANSWERS"]), rows)
    text = script["PAGE"].read_text()
    assert text.count("<!-- hardness -->") == 1 and "**BIASED" in text
    assert script["with_block"](text, answers) == text, "run python tools/make_hardness.py"
    assert script["FIGURE"].read_bytes()[:4] == b"\x89PNG"
    assert set(rows["protocol"]) == {"finetune"}, (
        "labels are re-used, and a frozen encoder would favour the coarse arm"
    )
    assert answers.groupby("source")["seed"].nunique().min() >= 5
    assert set(answers["source"]) == {"caltech101", "grocery", "world"}


@pytest.mark.parametrize(("name", "seeds"), [("grocery", 3), ("world", 5), ("methods", 3)])
def test_the_committed_rows_are_whole(name: str, seeds: int) -> None:
    rows = read_rows(ROOT / "docs" / "results" / f"{name}.parquet")
    assert set(rows["status"]) == {"done"}
    assert rows["seed"].nunique() >= seeds
    assert rows.groupby("arm")["cell"].nunique().nunique() == 1, "every arm has the same cells"
