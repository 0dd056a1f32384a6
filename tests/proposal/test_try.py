"""`headwater try FOLDER... --task FOLDER`: from folders to a decision in one command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.proposal import folders

LAYOUTS = [
    folders.with_splits,
    folders.without_splits,
    folders.with_table,
    folders.with_captions,
    folders.of_hugging_face,
    folders.of_parquet,
    folders.of_shards,
    folders.of_arrow,
    folders.of_torchvision,
]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms of a few steps, in this process."""
    monkeypatch.setattr("headwater.proposal.timing.MOST_EPOCHS", 2)
    monkeypatch.setattr("headwater.proposal.timing.FEWEST_EPOCHS", 1)
    monkeypatch.setattr("headwater.proposal.arms.SEEDS", 3)
    monkeypatch.setattr("headwater.proposal.proposed._FINETUNE_FROM_HOURS", 1.0)


def answered(headwater: Cli, *words: str) -> str:
    options = ("--time", "10m", "--device", "cpu", "--workers", "1", "--quiet")
    code, out, err = headwater("try", *words, *options)
    assert code == 0, err
    return out


@pytest.mark.slow
def test_one_command_goes_from_folders_to_a_decision_and_goes_on_where_it_was(
    headwater: Cli, tmp_path: Path, quick: None
) -> None:
    folders.with_splits(tmp_path / "pets")
    folders.bare(tmp_path / "web", 24)
    folders.without_splits(tmp_path / "task", 15)
    out = answered(headwater, "pets", "web", "--task", "task")
    assert "source pets: 36 images (train 24, test 12); 2 classes" in out
    assert "held out for the test" in out and "wrote task.splits.csv and study.yaml" in out
    assert "Verdict" in out and "step 1: ran" in out
    assert (tmp_path / "headwater-store" / "reports" / "for-task.html").is_file()
    rows = sorted((tmp_path / "headwater-store" / "rows").iterdir())
    before = {path: path.stat().st_mtime_ns for path in rows}
    study = (tmp_path / "study.yaml").read_text()
    again = answered(headwater, "pets", "web", "--task", "task")
    assert "study.yaml was made by this command; going on with it" in again
    assert "Verdict" in again and (tmp_path / "study.yaml").read_text() == study
    assert {path: path.stat().st_mtime_ns for path in rows} == before


def test_a_study_of_another_command_is_not_written_over(headwater: Cli, tmp_path: Path) -> None:
    folders.bare(tmp_path / "web", 12)
    folders.with_splits(tmp_path / "task")
    (tmp_path / "study.yaml").write_text("# Made by: headwater init web --task task, in /x\n")
    code, _, err = headwater("try", "web", "--task", "task")
    assert code == 2 and "was made by another command" in err and "--out" in err


def test_a_store_inside_a_folder_of_images_is_refused_before_it_is_made(
    headwater: Cli, tmp_path: Path
) -> None:
    folders.bare(tmp_path / "web", 12)
    folders.with_splits(tmp_path / "task")
    code, _, err = headwater("try", "web", "--task", "task", "--store", "web/store")
    assert code == 2 and "lie inside web" in err and not (tmp_path / "web" / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize("made", LAYOUTS, ids=lambda made: made.__name__)
def test_every_layout_gets_a_decision_without_an_edit(
    made: Callable[[Path], Path], headwater: Cli, tmp_path: Path, quick: None
) -> None:
    made(tmp_path / "ours")
    folders.without_splits(tmp_path / "task", 40)
    out = answered(headwater, "ours", "--task", "task")
    assert "Verdict" in out and "report: " in out
    code, decided, err = headwater("decide", "study.yaml", "--json")
    assert code == 0, err
    facts = json.loads(decided)
    assert facts["best"] or "most frequent class" in " ".join(facts["notes"])
    assert len(facts["means"]) >= 2 or facts["notes"]


@pytest.mark.slow
def test_a_folder_that_is_source_and_task_is_decided_by_fine_tuning(
    headwater: Cli, tmp_path: Path, quick: None
) -> None:
    """A frozen probe on labels that an arm was trained on decides nothing."""
    folders.without_splits(tmp_path / "ours", 40)
    folders.bare(tmp_path / "web", 30)
    out = answered(headwater, "ours", "web", "--task", "ours")
    assert "the decision goes by fine-tuning" in out
    assert "Nothing can be concluded" not in out
    facts = json.loads(headwater("decide", "study.yaml", "--json")[1])
    assert facts["protocol"] == "finetune"
