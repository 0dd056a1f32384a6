"""The theory's page holds the figures of the committed rows."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from headwater.rows import read_rows
from headwater.theory.analysis.table import networks_table

pytestmark = pytest.mark.docs
ROOT = Path(__file__).parents[2]


def test_the_page_holds_the_figures_of_the_committed_rows_which_say_what_was_to_be_shown() -> None:
    script = runpy.run_path(str(ROOT / "tools" / "make_theory.py"))
    table = networks_table(read_rows(script["ROWS"]))
    text = script["PAGE"].read_text()
    assert text.count("<!-- theory -->") == 1
    assert script["with_block"](text, table) == text, "run python tools/make_theory.py"
    for name in ("model", *(name for names in script["FIGURES"].values() for name in names)):
        assert (ROOT / "docs" / f"theory_{name}.png").read_bytes()[
            :4
        ] == b"\x89PNG" and f"theory_{name}.png" in text
    check = script["usual_noise"](script["part_of"](table, "check"))
    ends = check[
        check["final"].astype(bool)
        & (check["read_out"] == "max")
        & check["subclasses"].isin([1, 4, 16, 32])
    ]
    assert ends.groupby(["subclasses", "labels"])["seed"].nunique().eq(10).all() and set(
        ends["status"]
    ) == {"done"}
    hard = ends.groupby(["labels", "subclasses"])["hard_error"]
    assert ends["easy_error"].max() == 0 and hard.max()["fine"].max() <= 0.01
    assert hard.max()["coarse"][[1, 4]].max() <= 0.01 and hard.min()["coarse"][32] >= 0.9
