"""Answers sample by sample: which test samples each supervised model got right, as one table that
can be exported and read without any data.

`ANSWERS` is its schema. A model is one finished cell: a row for each sample of its task's test
split, so that a table of 100 models on 2,000 samples has 200,000 rows, and takes about a bit for
each of them as Parquet.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.kinds import kind_in_text
from headwater.analysis.words import missing
from headwater.digests import check_parquet
from headwater.errors import InputError
from headwater.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

_BYTES_A_ROW = 1 / 64
"""Of a Parquet file at least [ours]; the table in docs/results takes half a byte."""
ANSWERS: dict[str, str] = {
    "task": "string",
    "protocol": "string",
    "shots": "Int64",
    "draw": "Int64",
    "source": "string",
    "size": "string",
    "labels": "string",
    "label_kind": "string",
    "num_labels": "Int64",
    "seed": "Int64",
    "target": "boolean",
    "decides": "boolean",
    "sample": "Int64",
    "right": "boolean",
    "hard": "boolean",
}
"""Columns and their pandas types. label_kind: as in rows; tables that were made before it lack it,
and it is then read from the text of labels. shots and draw are null for the full training split,
size is null for all of a source; target: the arm was trained on the classes of the task itself;
decides: not a frozen encoder scored on labels that it was trained on; sample: 0 ... n_test - 1, in
the order of the test split; hard: the mark that the task's data give the sample, null where they
give none. Every other column is never null.
"""
_NULLABLE = ("shots", "draw", "size", "hard")
_KIND = "label_kind"
SETTING = ("task", "protocol", "shots", "source", "size")
"""Where arms meet that differ in their labels."""
_MODEL = (*SETTING, "labels", "seed", "draw")


@dataclass(frozen=True)
class ArmAnswers:
    """The models of one arm (a label view of a source) in one setting."""

    labels: str
    label_kind: str
    num_labels: int
    target: bool
    decides: bool
    models: list[tuple[int, int]]
    """(seed, draw) of each model, ascending; draw -1 at full size."""
    right: NDArray[np.bool_]
    """bool [models, n_test]."""
    hard: NDArray[np.bool_] | None
    """bool [n_test]: the mark that the data give; None where they give none."""


def read_answers(path: str | Path) -> pd.DataFrame:
    """A table of answers that `write_answers` wrote. Raises InputError for a file that is none."""
    import pandas as pd

    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file; `headwater hardness STUDY --answers "
            "FILE.parquet` writes one from a store"
        )
    try:
        check_parquet(path, _BYTES_A_ROW)
        frame = pd.read_parquet(path)
    except Exception as error:  # pyarrow has its own kinds
        raise InputError(f"{path}: cannot be read as a table of answers ({error})") from None
    return conform_answers(frame, str(path))


def write_answers(answers: pd.DataFrame, path: str | Path) -> Path:
    """Write a table of answers as Parquet, whole or not at all, and return its path.

    Raises InputError for another ending, and where it cannot be written.
    """
    path = Path(path)
    if path.suffix != ".parquet":
        raise InputError(f"{path}: answers are written as .parquet; end the file's name in it")
    try:
        with atomic_path(path) as temp:
            conform_answers(answers, "answers").to_parquet(temp, index=False, compression="zstd")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def conform_answers(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """`frame` with the columns and types of `ANSWERS`, in one order whatever order it came in;
    other columns are dropped.

    Raises InputError for a column that is missing, holds another type or a null where none may be.
    """
    if _KIND not in frame:
        frame = frame.assign(**{_KIND: None})
    absent = [name for name in ANSWERS if name not in frame]
    if absent:
        raise InputError(
            f"{where}: the column {absent[0]!r} is missing; a table of answers has "
            f"{', '.join(ANSWERS)}"
        )
    table = frame[list(ANSWERS)].copy()
    for name, kind in ANSWERS.items():
        try:
            table[name] = table[name].astype(kind)  # type: ignore[call-overload]
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: the column {name!r} should be {kind} ({error})") from None
        if name == _KIND and table[name].isna().any():
            of_text = {labels: kind_in_text(str(labels)) for labels in table["labels"].unique()}
            table[name] = table[name].fillna(table["labels"].map(of_text))
        if name not in _NULLABLE and table[name].isna().any():
            raise InputError(
                f"{where}: the column {name!r} has a null, in row "
                f"{int(table[name].isna().to_numpy().argmax()) + 1}"
            )
    return table.sort_values([*_MODEL, "sample"], ignore_index=True)


def arms_of(answers: pd.DataFrame) -> Iterator[tuple[dict[str, Any], list[ArmAnswers]]]:
    """(setting, its arms from the fewest to the most classes) of a table of answers; a setting's
    fields are those of `SETTING`, None for null.

    Raises InputError where two models of a setting are not of the same samples, or one model
    answers a sample twice.
    """
    table = conform_answers(answers, "answers")
    for key, rows in table.groupby(list(SETTING), dropna=False, sort=True):
        setting = {
            name: None if missing(value) else value
            for name, value in zip(SETTING, key, strict=True)
        }
        where = f"answers of {setting['source']} on {setting['task']}"
        by_labels = rows.groupby("labels", sort=True)
        arms = [_arm(str(labels), of_arm, where) for labels, of_arm in by_labels]
        if len({arm.right.shape[1] for arm in arms}) > 1:
            raise InputError(
                f"{where}: its arms were not measured on the same number of test samples; export "
                "them from one store again"
            )
        yield setting, sorted(arms, key=lambda arm: (arm.num_labels, arm.labels))


def _arm(labels: str, rows: pd.DataFrame, where: str) -> ArmAnswers:
    seeds = rows["seed"].to_numpy(dtype=np.int64)
    draws = rows["draw"].fillna(-1).to_numpy(dtype=np.int64)
    samples = rows["sample"].to_numpy(dtype=np.int64)
    models = sorted(set(zip(seeds.tolist(), draws.tolist(), strict=True)))
    n_test = len(rows) // len(models)
    shape = len(models), n_test
    order = np.lexsort((samples, draws, seeds))
    whole = len(rows) == n_test * len(models)
    if not whole or (samples[order].reshape(shape) != np.arange(n_test)).any():
        raise InputError(
            f"{where}: the models trained on {labels} do not each answer samples 0 to {n_test - 1} "
            "once; export them from one store again"
        )
    marks = rows["hard"].iloc[order[:n_test]]
    return ArmAnswers(
        labels=labels,
        label_kind=str(rows["label_kind"].iloc[0]),
        num_labels=int(rows["num_labels"].median()),
        target=bool(rows["target"].iloc[0]),
        decides=bool(rows["decides"].all()),
        models=models,
        right=rows["right"].to_numpy(dtype=bool)[order].reshape(shape),
        hard=None if marks.isna().any() else marks.to_numpy(dtype=bool),
    )
