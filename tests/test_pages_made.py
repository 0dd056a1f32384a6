"""Pages that scripts make from committed rows or by simulation are what the scripts make."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
pytestmark = pytest.mark.docs


def tool(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "tools" / f"make_{name}.py"))


def test_the_tables_of_claims_are_those_of_the_committed_rows() -> None:
    made = tool("claims")
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    assert made["with_blocks"](text) == text, "run python tools/make_claims.py"


def test_every_verdict_of_a_claim_follows_from_its_interval() -> None:
    text = (DOCS / "claims.md").read_text(encoding="utf-8")
    line = re.compile(
        r"\| [+-]\d+\.\d \(([+-]\d+\.\d) to ([+-]\d+\.\d)\), \d+ seeds \| ([a-z ]+) \|"
    )
    found = line.findall(text)
    assert len(found) >= 25
    for low, high, verdict in found:
        expected = "seen" if float(low) > 0 else "not seen" if float(high) < 0 else "undecided"
        rounded = "0.0" in (low[1:], high[1:])  # the end itself is not 0
        assert verdict == expected or rounded, (low, high, verdict)
    assert text.count("**not run**") == 1
    for paper in ("hong2023", "entezari2023"):
        assert text.count(f"<!-- {paper} -->") == 1


def test_the_costs_at_full_size_are_those_of_the_code() -> None:
    made = tool("full_scale")
    text = (DOCS / "full_scale.md").read_text(encoding="utf-8")
    assert made["with_blocks"](text) == text, "run python tools/make_full_scale.py"


def test_the_cost_on_many_gpus_is_what_the_schedule_gives() -> None:
    made = tool("cluster_cost")
    text = (DOCS / "cluster_cost.md").read_text(encoding="utf-8")
    assert made["with_block"](text) == text, "run python tools/make_cluster_cost.py"


def test_the_numbers_of_how_sure_are_those_of_the_simulation() -> None:
    made = tool("how_sure")
    text = (DOCS / "how_sure.md").read_text(encoding="utf-8")
    assert made["with_block"](text) == text, "run python tools/make_how_sure.py"
    for figure in ("outcomes", "settling", "intervals"):
        assert (DOCS / f"how_sure_{figure}.png").read_bytes()[:4] == b"\x89PNG"
    wrong = [record["wrong"] for record in made["outcomes"]()]
    assert max(wrong) < 5, "the page says that a sure answer is wrong in less than 5 %"


NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))


def test_there_are_the_notebooks_that_the_pages_name() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["own_folders", "paper_figures"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_its_first_cell_to_its_last(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    book = nbformat.read(path, as_version=4)
    for cell in book.cells:
        assert cell.cell_type != "code" or not cell.outputs, "outputs are stripped"
        assert len(cell.source.splitlines()) <= 25, "cells are short"
    client = NotebookClient(book, timeout=600, resources={"metadata": {"path": str(path.parent)}})
    client.execute()
    shown = [output for cell in book.cells for output in cell.get("outputs", ())]
    data = [output["data"] for output in shown if "data" in output]
    drawn = [each for each in data if "application/vnd.vegalite.v6+json" in each]
    assert len(drawn) >= 3 and all("image/png" in each for each in drawn)
    cards = [each for each in data if "Decision" in each.get("text/html", "")]
    assert len(cards) == 1, "it ends in a decision"


@pytest.mark.parametrize("name", ["exchange", "mixes", "noise_vs_size"])
def test_the_tables_of_sizes_and_mixes_are_those_of_the_committed_rows(name: str) -> None:
    made = tool("sizes")
    text = (DOCS / made["BLOCKS"][name][0]).read_text(encoding="utf-8")
    assert made["with_block"](name, text) == text, f"run python tools/make_sizes.py {name}"


def test_the_page_of_the_backtest_holds_the_figures_of_the_committed_rows() -> None:
    made = tool("backtest")
    assert made["block"](made["tables"]()) in (DOCS / "backtest.md").read_text(encoding="utf-8")
