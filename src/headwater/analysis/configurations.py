"""What is compared with what: rows gathered into configurations (an arm without its seed) that
carry a readable, unique name.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from headwater.rows import conform, to_frame

if TYPE_CHECKING:
    import pandas as pd

CONFIGURATION = (
    "method",
    "source",
    "size",
    "labels",
    "backbone",
    "image_size",
    "images_seen",
    "batch",
    "optimiser",
    "lr",
    "weight_decay",
    "recipe",
)
"""The columns that, with the seed, make an arm.

`num_labels` and `source_fingerprint` are left out: a subset of a source drawn by seed may change
both, and the labels and the source already say what was asked for. Two budgets, or two learning
rates, are two configurations, never averaged.
"""

SETTING = ("task", "protocol", "shots")
"""Where configurations meet. `shots` is null for the full training split."""

TUNED = ("finetune", "lpft")
"""Protocols that train the whole network on the task, so that labels which the arm was trained on
do not favour it.
"""

LOWER_IS_BETTER = {"ece", "error_within", "error_across"}
"""Metrics that decide nothing: no winner is named by them."""

METHODS = ("supervised", "clip", "simclr", "given", "scratch")
LABEL_KINDS = (
    "level",
    "depth",
    "rank",
    "instance",
    "cluster within",
    "cluster",
    "shuffle",
    "random within",
    "random",
    "noisy",
)
_SUFFIXES = {
    "size": "{} images", "backbone": "{}", "image_size": "{} px", "images_seen": "{} seen", "lr": "lr {}", "batch": "batch {}",
    "optimiser": "{}", "weight_decay": "wd {}",
}  # fmt: skip


def prepare(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with these columns added; a prepared table comes back as it is.

    configuration (str): digest of the `CONFIGURATION` columns. name (str): unique per
    configuration, for people. context (str): the name without the source; equal contexts differ in
    the source alone. order (int): sensible order of the configurations (method, then coarse to
    fine). usable (bool): status is done and the value is a number. decides (bool): usable, and not
    a frozen encoder scored on labels that it was trained on (DESIGN.md, "Label reuse"): such a row
    is shown and decides nothing.

    Rows of simulated networks are left out: they have a table of their own. Raises
    InputError where a required column of the schema is missing (a table without rows may lack all
    of them).
    """
    if "configuration" in rows.columns:
        return rows
    if not len(rows.columns):
        rows = to_frame([])
    table = conform(rows, "rows")
    table = table[table["constants"].isna()].reset_index(drop=True)
    value = table["value"].astype("float64")
    table["usable"] = ((table["status"] == "done") & value.notna()).astype(bool)
    table["value"] = value.where(table["usable"])
    frozen_reuse = ~table["protocol"].isin(TUNED) & table["label_reuse"].fillna(False).astype(bool)
    table["decides"] = (table["usable"] & ~frozen_reuse).astype(bool)
    distinct = table[list(CONFIGURATION)].drop_duplicates()
    digests = [_digest(row) for row in distinct.astype(object).to_dict("records")]
    counts = {
        d: _median_labels(table, row)
        for d, row in zip(digests, distinct.to_dict("records"), strict=True)
    }
    described = _describe(digests, distinct.astype(object).to_dict("records"), counts)
    import pandas as pd

    columns = ("configuration", "name", "context", "order", "configuration_labels")
    names = pd.DataFrame(described, columns=list(columns), index=distinct.index)
    keyed = pd.concat([distinct, names], axis=1)
    merged = table.merge(keyed, on=list(CONFIGURATION), how="left")
    for column in ("configuration", "name", "context"):
        merged[column] = merged[column].astype(object)
    merged["order"] = merged["order"].astype("int64")
    return merged


def _digest(row: dict[Any, Any]) -> str:
    words = {str(k): (None if missing(v) else str(v)) for k, v in row.items()}
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()[:12]


def missing(value: Any) -> bool:
    """None, NaN or pandas' NA."""
    import pandas as pd

    return value is None or bool(pd.isna(value))


def _median_labels(table: pd.DataFrame, row: dict[Any, Any]) -> float | None:
    """Classes of a configuration: the median over its arms, as a draw of a source's images by seed
    may lose a class.
    """
    same = table["method"] == row["method"]
    for column in ("source", "size", "labels"):
        same &= (
            table[column].isna()
            if missing(row[column])
            else (table[column] == row[column]).fillna(False).astype(bool)
        )
    counts = table.loc[same, "num_labels"].dropna()
    return float(counts.astype("float64").median()) if len(counts) else None


def label_kind(labels: Any) -> str:
    """One of LABEL_KINDS; class counts as level, a view with label noise is noisy; another view is
    its first word; nothing is ''.
    """
    if missing(labels):
        return ""
    text = str(labels)
    if " with " in text:
        return "noisy"
    word = text.split(":")[0].split(" ")[0]
    return "level" if word == "class" else f"{word} within" if " within " in text else word


def sort_key(row: dict[Any, Any], num_labels: float | None) -> tuple[Any, ...]:
    """Method, then kind of labels, then coarse to fine, then source and size."""
    method, kind = str(row["method"]), label_kind(row["labels"])
    words = tuple(
        "" if missing(row[c]) else str(row[c])
        for c in ("labels", "source", "size", "backbone", "recipe")
    )
    known = METHODS.index(method) if method in METHODS else len(METHODS) - 1.5
    number = words[0].partition(":")[2]
    height = -int(number) if kind == "level" and number.isdigit() else 0
    return (
        known,
        LABEL_KINDS.index(kind) if kind in LABEL_KINDS else len(LABEL_KINDS),
        num_labels or 0.0,
        height,
        *words,
    )


def _describe(
    digests: list[str], rows: list[dict[Any, Any]], counts: dict[str, float | None]
) -> list[tuple[Any, ...]]:
    contexts = [
        " ".join([str(r["method"])] + ([] if missing(r["labels"]) else [str(r["labels"])]))
        for r in rows
    ]
    sources = ["" if missing(r["source"]) else f" · {r['source']}" for r in rows]
    trained = [r["method"] != "scratch" for r in rows]
    for column, words in _SUFFIXES.items():
        if _separates(column, rows, contexts, sources):
            for i, row in enumerate(rows):
                if not missing(row[column]) and (
                    trained[i] or column in ("backbone", "image_size")
                ):
                    contexts[i] += ", " + words.format(row[column])
    order = sorted(
        range(len(rows)), key=lambda i: (sort_key(rows[i], counts[digests[i]]), digests[i])
    )
    place, seen = {i: p for p, i in enumerate(order)}, dict[str, int]()
    for i in order:
        whole = contexts[i] + sources[i]
        seen[whole] = seen.get(whole, 0) + 1
        if seen[whole] > 1:
            contexts[i] += f", recipe {seen[whole]}"
    return [
        (d, contexts[i] + sources[i], contexts[i], place[i], counts[d])
        for i, d in enumerate(digests)
    ]


def _separates(
    column: str, rows: list[dict[Any, Any]], contexts: list[str], sources: list[str]
) -> bool:
    """Does this column tell apart two configurations that so far have one name? Only then is it
    worth a place in all names.
    """
    values: dict[str, set[str]] = {}
    for row, context, source in zip(rows, contexts, sources, strict=True):
        values.setdefault(context + source, set()).add(
            "" if missing(row[column]) else str(row[column])
        )
    return any(len(v) > 1 for v in values.values())


def main_metric(table: pd.DataFrame) -> str:
    """top1 where any row has it, else mean_per_class, else the first metric by name of those that
    are the better the higher.
    """
    found = sorted(set(table["metric"].dropna().astype(str)) - LOWER_IS_BETTER)
    return next(
        (name for name in ("top1", "mean_per_class") if name in found),
        found[0] if found else "top1",
    )


def shots_word(shots: Any) -> str:
    """'all' for the full training split (null or the internal -1), else the number."""
    return "all" if missing(shots) or int(shots) == -1 else str(int(shots))


def shots_number(shots: Any) -> int:
    """The number of shots with -1 for the full training split: how score matrices are indexed, as a
    null cannot be.
    """
    return -1 if missing(shots) else int(shots)


def setting_word(task: str, protocol: str, shots: Any) -> str:
    """For example: birds, finetune, 5 images per class."""
    if protocol == "zeroshot":
        return f"{task}, zeroshot, no images"
    count = (
        "all images"
        if shots_word(shots) == "all"
        else f"{shots_word(shots)} image{'' if int(shots) == 1 else 's'} per class"
    )
    return f"{task}, {protocol}, {count}"


def configuration_names(table: pd.DataFrame) -> dict[str, str]:
    """Digest -> name, of a prepared table."""
    return _lookup(table, "name")


def configuration_sources(table: pd.DataFrame) -> dict[str, str]:
    """Digest -> source ('' where there is none), of a prepared table."""
    return _lookup(table, "source")


def configuration_order(table: pd.DataFrame) -> list[str]:
    """Digests of the configurations in their sensible order."""
    return [
        str(c)
        for c in table[["configuration", "order"]]
        .drop_duplicates()
        .sort_values("order")["configuration"]
    ]


def _lookup(table: pd.DataFrame, column: str) -> dict[str, str]:
    distinct = table[["configuration", column]].drop_duplicates()
    return {
        str(c): "" if missing(n) else str(n)
        for c, n in zip(distinct["configuration"], distinct[column], strict=True)
    }
