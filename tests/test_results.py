"""README's figures are those of the committed rows."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from headwater.rows import read_rows

ROOT = Path(__file__).parents[1]


def test_readme_holds_the_figures_of_the_committed_rows() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "make_results.py"))["with_blocks"]
    text = (ROOT / "README.md").read_text()
    assert made(text) == text, "run python docs/make_results.py"


@pytest.mark.parametrize(("name", "seeds"), [("grocery", 3), ("world", 5)])
def test_the_committed_rows_are_whole(name: str, seeds: int) -> None:
    rows = read_rows(ROOT / "docs" / "results" / f"{name}.parquet")
    assert set(rows["status"]) == {"done"}
    assert rows["seed"].nunique() >= seeds
    assert rows.groupby("arm")["cell"].nunique().nunique() == 1, "every arm has the same cells"
