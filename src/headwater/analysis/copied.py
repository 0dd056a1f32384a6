"""Test images that a task's own train or val shows too: what rows say of them, and what follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.words import count, listed, missing

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

COLUMNS = ("own_test_copies", "own_similar_test_images")
"""How many of a cell's test images are such copies: byte for byte, and changed or not."""


COPIED = "every test image is a copy of the task's own train or val images"
HOLLOW = "Labels are re-used here, or every test image is copied: this decides nothing."


def own_copies(table: pd.DataFrame) -> NDArray[np.int64]:
    """int64 [rows]: how many test images of each row's task are copies of its own; 0 where nobody
    says.
    """
    counts = [table[column].to_numpy(dtype="float64", na_value=np.nan) for column in COLUMNS]
    most: NDArray[np.int64] = np.nan_to_num(np.fmax(*counts)).astype(np.int64)
    return most


def wholly_copied(table: pd.DataFrame) -> NDArray[np.bool_]:
    """bool [rows]: rows of cells whose every test image is a copy of the task's own train or val
    images, so that nothing is left to score by. What learns from none of them (zero-shot) is not
    touched.
    """
    copies = own_copies(table)
    if not copies.any():
        return np.zeros(len(table), dtype=bool)
    n_test = table["n_test"].to_numpy(dtype="float64", na_value=np.inf)
    whole = (table["subset"] == "all").to_numpy(dtype=bool) & (copies > 0) & (copies >= n_test)
    whole &= table["n_train"].to_numpy(dtype="float64", na_value=np.inf) > 0
    return np.asarray(table["cell"].isin(set(table["cell"][whole])), dtype=np.bool_)


def leak_free(used: pd.DataFrame) -> frozenset[str]:
    """Ids of arms that are scored without images that pre-training has seen, rather than without
    copies inside the task alone, which concern all arms.
    """
    seen = np.zeros(len(used), dtype=bool)
    for column in ("leaked_test_images", "similar_test_images"):
        seen |= used[column].to_numpy(dtype="float64", na_value=0.0) > 0
    without = (used["subset"] == "unleaked").to_numpy(dtype=bool) & (seen | (own_copies(used) == 0))
    return frozenset(used["configuration"][without])


def every_image_copied(tasks: list[str]) -> str:
    """Why the scores of some tasks decide nothing."""
    return (
        f"Every test image of {listed(tasks)} is a copy of the task's own train or val images: "
        "these scores tell what was learned by heart, and decide nothing."
    )


def copies_sentences(table: pd.DataFrame) -> list[str]:
    """A sentence for each task of a prepared table with such copies; and where only some of its
    cells were looked at.
    """
    done = table[table["usable"]]
    copies = own_copies(done)
    if not copies.any():
        return []
    sentences = []
    whole = sorted(set(done["task"][done["copied"]].astype(str)))
    if whole:
        sentences.append(every_image_copied(whole))
    told = done.assign(copies=copies)
    for task, rows in told[copies > 0].groupby("task"):
        if str(task) not in whole:
            sentences.append(_on_task(str(task), rows))
    unknown = told[told[COLUMNS[0]].isna() & told["task"].isin(set(told["task"][copies > 0]))]
    if len(unknown):
        cells = count(int(unknown["cell"].nunique()), "cell")
        tasks = listed(sorted(set(unknown["task"].astype(str))))
        sentences.append(
            f"{cells} on {tasks} were measured before copies inside a task were looked for, and "
            "are scored with them; `headwater run --redo CELL` measures one again."
        )
    return sentences


def _on_task(task: str, rows: pd.DataFrame) -> str:
    copies = int(rows["copies"].max())
    counts = rows[COLUMNS[0]].astype("float64").max(), rows.loc[rows["subset"] == "all", "n_test"]
    equal = 0 if missing(counts[0]) else int(counts[0])
    images = "" if not len(counts[1]) else f" of the {int(counts[1].max()):,}"
    how = f"{equal:,} byte for byte, {copies - equal:,} changed"
    if equal in (0, copies):
        how = "byte for byte" if equal else "changed"
    verb = "is a copy" if copies == 1 else "are copies"
    return (
        f"{copies:,}{images} test images of {task} {verb} of the task's own train or val images "
        f"({how}): the verdict goes by the scores without them (subset unleaked)."
    )
