"""The schema of a row: all that the two halves of the project, doing and concluding, share.

One row states one number: a metric of one cell (an arm transferred to a task under a protocol, at a
shot count and draw), on one subset of the test set. Every field that could change that number
stands on the row. Missing is null, never 0. The written form of this schema is docs/rows.md, which
a test keeps equal to `COLUMNS`.
"""

from __future__ import annotations

import json
import math
import reprlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from headwater.errors import InputError
from headwater.files import atomic_path
from headwater.registry import PROTOCOLS

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_VERSION = 1

Kind = Literal["str", "int", "float", "bool"]
PANDAS_TYPES: dict[Kind, str] = {
    "str": "string",
    "int": "Int64",
    "float": "Float64",
    "bool": "boolean",
}


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    meaning: str
    """`explained` fills in the names of what is registered."""
    required: bool = False
    """True where null is not allowed."""
    volatile: bool = False
    """True for what may differ between two correct runs of one cell (time, host, attempt), or does
    not change the number by itself (commit): left out when rows are compared.
    """
    least: int | None = None
    """The lowest number allowed; None for no bound. Numbers are finite in every column."""
    most: int | None = None


COLUMNS: tuple[Column, ...] = (
    Column(
        "cell", "str", "id of the cell: a hash of all that determines the number", required=True
    ),
    Column(
        "arm",
        "str",
        "id of the arm (the pre-trained encoder) that the cell transfers",
        required=True,
    ),
    Column(
        "study", "str", "name of the study that ran the cell first", required=True, volatile=True
    ),
    Column(
        "status",
        "str",
        "done; diverged (final, with its reason); failed (retried by the next run)",
        required=True,
    ),
    Column("reason", "str", "why a cell diverged or failed"),
    Column(
        "metric",
        "str",
        "top1 (share of test samples that are right); mean_per_class (mean over classes of that "
        "share); ece (calibration error, 15 bins; the lower the better; "
        "null for ridge); error_within, error_across (shares of test samples that are taken for "
        "another class of their own superclass, and for one of another; "
        "where the task has a coarser level). Of simulated networks (docs/theory.md): "
        "response_common_aligned_mean and its like (any number), and the shares "
        "common_neurons, common_detected, fine_neurons, fine_detected",
        required=True,
    ),
    Column(
        "subset",
        "str",
        "which part of the test set: all, easy, hard (as the task marks them) or unleaked (without "
        "the images of leaked_test_images and similar_test_images)",
        required=True,
    ),
    Column(
        "value",
        "float",
        "the number, in [0, 1] but for responses; null unless status is done",
        least=0,
        most=1,
    ),
    Column("n_test", "int", "test samples in this subset", least=0),
    # what was pre-trained on
    Column("method", "str", "supervised, clip, simclr or scratch (no pre-training)", required=True),
    Column("source", "str", "name of the source in the study; null for scratch"),
    Column("source_fingerprint", "str", "digest of the source's training images (ids and bytes)"),
    Column("size", "str", "how much of the source the study asked for: all, or a number of images"),
    Column("unique_images", "int", "distinct images in pre-training", least=0),
    Column(
        "labels",
        "str",
        "label view of the arm (docs/study.md), or the name that the study gave it; caption field "
        "for clip; null for simclr and scratch",
    ),
    Column("label_level", "int", "k of level:k, 0 = finest; null otherwise", least=0),
    Column(
        "num_labels",
        "int",
        "classes in the arm's label view, or distinct captions for clip",
        least=0,
    ),
    Column(
        "multi_label_share",
        "float",
        "share of the arm's images that have several labels, in [0, 1]; null without labels",
        least=0,
        most=1,
    ),
    Column(
        "label_noise",
        "float",
        "realised rate of label or caption noise, in [0, 1]; null where none was asked for; of "
        "simulated networks the rate that was asked for",
        least=0,
        most=1,
    ),
    Column(
        "label_features",
        "str",
        "what cluster labels were made from: an arm's id, timm:NAME (with @ and the SHA-256 of "
        "weights from a file), or file: and its SHA-256; null otherwise",
    ),
    Column(
        "constants",
        "str",
        "constants of simulated data, as canonical JSON: docs/theory.md; null for images",
    ),
    # how
    Column(
        "images_seen", "int", "images that passed through pre-training (images, not views)", least=0
    ),
    Column("epochs", "float", "images_seen / unique_images", least=0),
    Column("steps", "int", "optimiser steps of pre-training", least=0),
    Column(
        "pretrain_flops",
        "float",
        "estimated FLOPs of pre-training: three forward passes of the image encoder for each view, "
        "multiply-add = 2; heads and text towers are not counted; "
        "of simulated networks two products a step",
        least=0,
    ),
    Column(
        "backbone",
        "str",
        "timm architecture, tiny, or relu-patches (the theory's two-layer network)",
        required=True,
    ),
    Column(
        "image_size",
        "int",
        "side of the images that the encoder sees, in pixels; null for simulated samples",
        least=1,
    ),
    Column(
        "patch_size", "int", "side of a ViT's patches in pixels, where the study set it", least=1
    ),
    Column("batch", "int", "pre-training batch, in images", least=0),
    Column("optimiser", "str", "pre-training optimiser"),
    Column("lr", "float", "pre-training base learning rate"),
    Column("weight_decay", "float", "pre-training weight decay"),
    Column("recipe", "str", "the whole resolved pre-training recipe, as canonical JSON"),
    Column(
        "loss",
        "str",
        "loss of supervised pre-training: softmax, sigmoid or softmax over sets (label sets "
        "normalised); null for other methods",
    ),
    Column(
        "seed",
        "int",
        "seed of the arm: initial weights, order, augmentation, label view; also of the few-shot "
        "draws and fine-tuning",
        required=True,
    ),
    Column(
        "pretrain_knn",
        "float",
        "online probe at the end of pre-training: share of held-out source images whose class "
        "their nearest training images tell; null without one",
        least=0,
        most=1,
    ),
    Column("pretrain_loss", "float", "mean training loss over the last tenth of pre-training"),
    # transferred to
    Column("task", "str", "name of the task in the study", required=True),
    Column("task_labels", "str", "label view of the task", required=True),
    Column("task_classes", "int", "classes of the task", least=0),
    Column(
        "task_majority",
        "float",
        "share of the test set that its most frequent class has: what a constant answer attains, "
        "in [0, 1]",
        least=0,
        most=1,
    ),
    Column("task_fingerprint", "str", "digest of the task's images, labels and splits"),
    Column(
        "protocol",
        "str",
        "how transfer was measured: {protocols}",
        required=True,
    ),
    Column(
        "shots",
        "int",
        "training images per class, 1 or more; null = the full training split, or none for "
        "zeroshot",
        least=1,
    ),
    Column("draw", "int", "number of the few-shot draw; null at full size", least=0),
    Column("n_train", "int", "training images of the cell", least=0),
    Column("n_val", "int", "validation images that chose the hyper-parameters", least=0),
    Column(
        "val_protocol",
        "str",
        "how validation was formed: split (the task's own), carved (cut from train) and whether it "
        "was cut to few-shot size",
    ),
    Column("val_missing_classes", "int", "classes without a validation image", least=0),
    Column(
        "head_init",
        "str",
        "how the head starts in fine-tuning: zeros, probe or text (class names; also the head of "
        "zeroshot); null for other protocols",
    ),
    Column(
        "chosen",
        "str",
        "hyper-parameters that validation chose, as canonical JSON; for zeroshot what validation "
        "says of the class names: `alignment` (aligned, at chance, or "
        "out of order: another order fits far better) and what it rests on",
    ),
    Column("grid", "str", "the grid they were chosen from, equal for all arms, as canonical JSON"),
    Column(
        "val_value",
        "float",
        "accuracy on validation of what was chosen, in [0, 1] (optimistic: it was maximised)",
        least=0,
        most=1,
    ),
    Column(
        "label_reuse",
        "bool",
        "the task's labels are nested with the labels that the arm was trained on, on the same "
        "images: a frozen probe then decides nothing",
    ),
    Column(
        "leaked_test_images",
        "int",
        "test images whose bytes are among the arm's pre-training images",
        least=0,
    ),
    Column(
        "similar_test_images",
        "int",
        "test images that the arm's pre-training images show: equal, compressed, resized, mirrored "
        "or cropped (docs/leakage.md); null where not looked for",
        least=0,
    ),
    # where it came from
    Column("schema", "int", "version of this schema", required=True),
    Column("precision", "str", "precision that was asked for (auto, fp32, bf16)"),
    Column(
        "fingerprint", "str", "what was computed on: device, resolved precision, threads, processor"
    ),
    Column("versions", "str", "versions of headwater, torch, timm and numpy, as canonical JSON"),
    Column(
        "pretrain_fingerprint",
        "str",
        "what the arm was pre-trained on: device, resolved precision, threads, processor; null "
        "without pre-training",
    ),
    Column(
        "pretrain_versions",
        "str",
        "versions at pre-training, as canonical JSON; null without pre-training",
    ),
    Column(
        "commit",
        "str",
        "git commit of the code that ran the cell, where it ran from a checkout",
        volatile=True,
    ),
    Column(
        "capped",
        "bool",
        "some class had fewer training images than shots, and the task allows it (cap: true)",
    ),
    Column("seconds", "float", "wall time of the cell, features apart", volatile=True),
    Column(
        "pretrain_seconds",
        "float",
        "wall time of the arm's pre-training; of simulated networks since the first of those that "
        "are trained beside it began",
        volatile=True,
    ),
    Column("host", "str", "machine that ran the cell", volatile=True),
    Column("finished", "str", "when the cell was finished, UTC, ISO 8601", volatile=True),
    Column(
        "attempt", "int", "how often the cell was tried, this time counted", volatile=True, least=0
    ),
)
NAMES = tuple(column.name for column in COLUMNS)


def explained(column: Column) -> str:
    """What a column means, with the protocols that there are."""
    if "{protocols}" not in column.meaning:
        return column.meaning
    frozen = [f"{p.name} ({p.title})" for p in PROTOCOLS if not p.tuned]
    tuned = [f"{p.name} ({p.title})" for p in PROTOCOLS if p.tuned]
    named = f"of a frozen encoder {', '.join(frozen)}; of the whole network {', '.join(tuned)}"
    return column.meaning.replace("{protocols}", named)


VOLATILE = frozenset(column.name for column in COLUMNS if column.volatile)
_BY_NAME = {column.name: column for column in COLUMNS}
_PYTHON: dict[Kind, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
}
STATUSES = ("done", "diverged", "failed")
_FAILED = ".failed.json"
_RESPONSE = "response_"
"""What the names of metrics begin with that are no shares, and may be any number."""


def check_row(row: Mapping[str, Any], where: str = "row") -> dict[str, Any]:
    """The row with every column of the schema present (null where it was missing), or an InputError
    that names the field.
    """
    unknown = set(row) - set(NAMES)
    if unknown:
        raise InputError(
            f"{where}: {sorted(unknown)[0]!r} is not a field of the row schema (docs/rows.md)"
        )
    for column in COLUMNS:
        value = row.get(column.name)
        if value is None:
            if column.required:
                raise InputError(f"{where}: the field {column.name!r} is required and missing")
        elif not isinstance(value, _PYTHON[column.kind]) or (
            isinstance(value, bool) and column.kind != "bool"
        ):
            raise InputError(
                f"{where}: the field {column.name!r} should be {column.kind}, not "
                f"{reprlib.repr(value)}"
            )
        elif column.kind in ("int", "float") and (
            wrong := _wrong_number(value, _bounds(column, row["metric"]))
        ):
            raise InputError(
                f"{where}: the field {column.name!r} {wrong}, not {reprlib.repr(value)}"
            )
    if row["status"] not in STATUSES:
        raise InputError(f"{where}: status {row['status']!r} is none of {', '.join(STATUSES)}")
    if (row.get("value") is None) == (row["status"] == "done"):
        raise InputError(f"{where}: a row has a value if and only if its status is done")
    return {name: row.get(name) for name in NAMES}


def _bounds(column: Column, metric: Any) -> Column:
    """The column, without bounds for the value of a metric that has none."""
    return (
        replace(column, least=None, most=None)
        if column.name == "value" and str(metric).startswith(_RESPONSE)
        else column
    )


def _wrong_number(value: Any, column: Column) -> str | None:
    """What a number of this column should be and `value` (a number, not null) is not; None where
    all is well.
    """
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        return "should be a finite number"
    if column.kind == "int" and not -(2.0**63) <= number < 2.0**63:
        return "should be a whole number of 64 bits"
    if column.most is not None and not (column.least or 0) <= number <= column.most:
        return f"should be in [{column.least}, {column.most}]"
    if column.least is not None and number < column.least:
        return f"should be {column.least} or more"
    return None


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A DataFrame with the schema's columns, in order, in pandas' nullable types, sorted so that
    equal rows make equal tables.
    """
    import pandas as pd

    listed = list(rows)
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        values: Any = [row.get(column.name) for row in listed]
        columns[column.name] = pd.array(values, dtype=PANDAS_TYPES[column.kind])
    frame = pd.DataFrame(columns)
    return frame.sort_values(["cell", "metric", "subset"], ignore_index=True)


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of a store folder, or of a .csv, .parquet or .jsonl table that was exported from one
    (or made by somebody else).

    Raises InputError for a path that does not exist, a table that lacks a required column, or a
    value of the wrong type.
    """
    import pandas as pd

    path = Path(path)
    if path.is_dir():
        folder = path / "rows" if (path / "rows").is_dir() else path
        found: list[dict[str, Any]] = []
        files = {file.name: file for file in sorted(folder.glob("*.json"))}
        for name, file in files.items():
            # A run that is killed between its two steps leaves the failure of an earlier try beside
            # the finished cell.
            if not (name.endswith(_FAILED) and name.removesuffix(_FAILED) + ".json" in files):
                found.extend(read_cell_file(file))
        return to_frame(found)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file or store; `headwater run` makes one")
    try:
        if path.suffix == ".csv":
            frame = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""])
        elif path.suffix == ".parquet":
            frame = pd.read_parquet(path)
        elif path.suffix == ".jsonl":
            frame = pd.DataFrame(
                [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
            )
        else:
            raise InputError(f"{path}: rows are read from a store folder, .csv, .parquet or .jsonl")
    except InputError:
        raise
    except Exception as error:  # pandas, pyarrow and json each have their own kinds
        raise InputError(f"{path}: cannot be read as a table of rows ({error})") from None
    return conform(frame, str(path))


def conform(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """`frame` with the schema's columns and types; extra columns are dropped, absent optional ones
    are null, and so is a NaN.

    Raises InputError that names the column, and the row (counted from 1, and by its cell) where one
    is to blame.
    """
    import pandas as pd

    missing = [c.name for c in COLUMNS if c.required and c.name not in frame]
    if missing:
        raise InputError(
            f"{where}: the columns {', '.join(missing)} are missing (docs/rows.md lists the schema)"
        )
    frame = frame.reset_index(drop=True)
    out: dict[str, Any] = {}
    for column in COLUMNS:
        if column.name not in frame:
            out[column.name] = pd.array([None] * len(frame), dtype=PANDAS_TYPES[column.kind])  # type: ignore[call-overload]
            continue
        values = frame[column.name]
        try:
            if column.kind == "bool" and not pd.api.types.is_bool_dtype(values):
                values = pd.Series(
                    [_bool(value) for value in values], dtype="boolean", index=frame.index
                )
            elif column.kind in ("int", "float") and not pd.api.types.is_numeric_dtype(values):
                values = _numbers(values)
            if column.kind in ("int", "float"):
                if column.name == "value":
                    free = (
                        frame["metric"]
                        .astype("string")
                        .str.startswith(_RESPONSE)
                        .fillna(False)
                        .astype(bool)
                    )
                    _check_numbers(values.where(free), _bounds(column, _RESPONSE), frame, where)
                    _check_numbers(values.where(~free), column, frame, where)
                else:
                    _check_numbers(values, column, frame, where)
            if column.kind == "int" and (values.dropna() % 1 != 0).any():
                raise ValueError("not whole numbers")
            out[column.name] = values.astype(PANDAS_TYPES[column.kind])  # type: ignore[call-overload]
        except InputError:
            raise
        except (ValueError, TypeError, OverflowError) as error:
            raise InputError(
                f"{where}: the column {column.name!r} should be {column.kind} ({_one_line(error)})"
            ) from None
        if column.required and (empty := out[column.name].isna()).any():
            raise InputError(
                f"{where}: the column {column.name!r} has an empty field in {_row(frame, empty)}"
            )
    if (strange := ~out["status"].isin(STATUSES)).any():
        word = reprlib.repr(str(out["status"][strange].iloc[0]))
        raise InputError(
            f"{where}: status {word} in {_row(frame, strange)} is none of {', '.join(STATUSES)}"
        )
    if (odd := (out["status"] == "done") != pd.Series(out["value"]).notna()).any():
        raise InputError(
            f"{where}: a row has a value if and only if its status is done; {_row(frame, odd)} "
            "breaks this"
        )
    return pd.DataFrame(out).sort_values(["cell", "metric", "subset"], ignore_index=True)


def _numbers(values: Any) -> Any:
    """Text or objects as numbers; left as they are where one is an integer beyond any float, which
    `_check_numbers` then names.
    """
    import pandas as pd

    try:
        return pd.to_numeric(values)
    except OverflowError:
        return values


def _check_numbers(values: Any, column: Column, frame: pd.DataFrame, where: str) -> None:
    """Raises InputError for the first number that the column does not allow; before the cast, which
    wraps what is too large.
    """
    import pandas as pd

    if any(_wrong_number(value, column) for value in pd.unique(values.dropna())):
        wrong = pd.Series(
            [
                known and _wrong_number(value, column) is not None
                for value, known in zip(values, values.notna(), strict=True)
            ]
        )
        value = values[wrong].iloc[0]
        shown = reprlib.repr(value.item() if hasattr(value, "item") else value)
        raise InputError(
            f"{where}: the column {column.name!r} {_wrong_number(value, column)}, not {shown} as "
            f"in {_row(frame, wrong)}"
        )


def _row(frame: pd.DataFrame, mask: Any) -> str:
    """The first row of the mask in words: 'row 3 (cell 1f00)'."""
    place = int(mask.to_numpy(dtype=bool, na_value=False).argmax())
    return f"row {place + 1} (cell {_one_line(frame['cell'].iloc[place])})"


def _one_line(words: Any) -> str:
    """Text of any origin on one line of at most 200 characters."""
    text = " ".join(str(words).split())
    return text if len(text) <= 200 else text[:197] + "..."


def _bool(value: Any) -> bool | None:
    """A truth value as tables write it; None where there is none.

    Raises ValueError for anything else.
    """
    known = {
        "true": True,
        "false": False,
        "1": True,
        "0": False,
        "1.0": True,
        "0.0": False,
        "": None,
        "none": None,
        "nan": None,
        "<na>": None,
    }
    text = str(value).strip().lower()
    if text not in known:
        raise ValueError(f"{value!r} is neither true nor false")
    return known[text]


def read_cell_file(file: Path) -> list[dict[str, Any]]:
    """The rows of one cell, as `store.Store.write_rows` wrote them.

    A damaged file is an InputError that says to remove it.
    """
    try:
        rows = json.loads(file.read_text())
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise ValueError("a list of rows was expected")
        return [check_row(row, "a row") for row in rows]
    except (
        OSError,
        ValueError,
        RecursionError,
    ) as error:  # JSON's, UTF-8's and check_row's errors are ValueErrors
        raise InputError(
            f"{file}: this file of rows is damaged ({error}); remove it, and the next run makes it "
            "again"
        ) from None


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without their volatile columns: what must be equal between two correct runs of one
    study.
    """
    return frame.drop(columns=[name for name in NAMES if name in VOLATILE and name in frame])


def write_rows(frame: pd.DataFrame, path: Path) -> None:
    """A table of rows as .csv, .parquet or .jsonl, whole or not at all.

    Raises InputError for another ending or a path that cannot be written.
    """
    if path.suffix not in (".csv", ".parquet", ".jsonl"):
        raise InputError(f"{path}: rows are written as .csv, .parquet or .jsonl")
    try:
        with atomic_path(path) as temp:
            if path.suffix == ".csv":
                frame.to_csv(temp, index=False)
            elif path.suffix == ".parquet":
                frame.to_parquet(temp, index=False)
            else:
                records = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
                temp.write_text(
                    "".join(
                        json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n"
                        for record in records
                    ),
                    encoding="utf-8",
                )
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
