"""What `headwater status` counts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from headwater.store import Store
from tests.conftest import Cli, Finished


def test_every_cell_is_counted_once(headwater: Cli, finished: Finished, tmp_path: Path) -> None:
    """Of the cells of a finished study one was forgotten, one failed and one diverged."""
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    forgotten, failed, diverged, *others = sorted(store.finished_cells())
    for cell, status in ((failed, "failed"), (diverged, "diverged")):
        (row, *_) = store.read_cell(cell)
        store.drop_cell(cell)
        store.write_rows(cell, [{**row, "status": status, "value": None, "reason": "no luck"}])
    store.drop_cell(forgotten)
    code, out, _ = headwater("status", finished.study, "--store", store.root, "--json")
    facts = json.loads(out)
    assert code == 0
    assert (facts["done"], facts["diverged"], facts["failed"], facts["to_do"]) == (
        len(others),
        1,
        1,
        1,
    )
    assert facts["cells"] == len(others) + 3
    assert facts["failures"] == ["no luck"]
