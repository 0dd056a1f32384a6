"""Which constants vary in the table of simulated networks, and which lines are one network or seed.

Lines of one network that stand in two sweeps, or that differ in nothing that is asked about, are
averaged before seeds are counted, so that no seed counts twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import missing
from headwater.errors import InputError
from headwater.theory.analysis.table import RECIPE, WORLD

if TYPE_CHECKING:
    import pandas as pd

DATA = WORLD
TRAINING = (*RECIPE, "precision")
CONSTANTS = (*DATA, *TRAINING)
RESPONSE_COLUMNS = tuple(
    f"{feature}_{side}_{how}"
    for feature in ("common", "fine")
    for side in ("aligned", "other")
    for how in ("mean", "max")
)
SHARES = ("common_neurons", "fine_neurons", "common_detected", "fine_detected")
READ_OUTS = ("max", "sum", "tuned")
CONDITION = ("subclasses", "labels", "read_out")
"""What is asked about; a constant that varies while these stay is a setting of its own."""
REQUIRED = (
    *CONDITION,
    *("num_labels", "seed", "steps", "final", "converged"),
    *("easy_error", "hard_error", "test_samples", "train_loss"),
    *CONSTANTS,
    *RESPONSE_COLUMNS,
    *SHARES,
)
"""The columns that the analyses read."""


def checked(table: pd.DataFrame) -> pd.DataFrame:
    """The table as it is.

    Raises InputError where a column of `REQUIRED` is missing, or an error is no share.
    """
    absent = [name for name in REQUIRED if name not in table.columns]
    if absent:
        raise InputError(
            f"the table of simulated networks has no column {absent[0]}; it needs "
            f"{', '.join(absent)}"
        )
    for name in ("easy_error", "hard_error"):
        wrong = table[name].notna() & ~table[name].between(0, 1)
        if wrong.any():
            raise InputError(
                f"the table of simulated networks has {name} = {table.loc[wrong, name].iloc[0]}; "
                "errors are shares in [0, 1]"
            )
    return table


def finished(table: pd.DataFrame) -> pd.DataFrame:
    """The lines of networks as training left them, without the looks on the way."""
    table = checked(table)
    return table[table["final"].astype(bool)]


def varying(table: pd.DataFrame, within: Sequence[str] = CONDITION) -> list[str]:
    """Constants that take several values while `within` stays.

    They make settings, each of which is concluded about by itself.
    """
    if not len(table):
        return []
    counts = table.groupby(list(within), dropna=False)[list(CONSTANTS)].nunique(dropna=False).max()
    return [name for name in CONSTANTS if counts[name] > 1]


def tied(table: pd.DataFrame, within: Sequence[str] = CONDITION) -> list[str]:
    """Constants that vary only together with `within`, such as a rate that grows with the labels.

    Their effect cannot be told from that of labels or k. `tune_steps` is left out, as it is 0
    wherever nothing is tuned.
    """
    settings = varying(table, within)
    return [
        name
        for name in CONSTANTS
        if name not in settings and name != "tune_steps" and table[name].nunique(dropna=False) > 1
    ]


def main_read_out(table: pd.DataFrame) -> str:
    """The first of `READ_OUTS` that the table has: max, where it was measured."""
    there = set(table["read_out"])
    return next((name for name in READ_OUTS if name in there), READ_OUTS[0])


def networks(table: pd.DataFrame) -> pd.DataFrame:
    """One line per network and looked-at step: what no read-out and no test changes.

    Constants that only the test knows are NaN: those of tuning, and those of hard samples where
    training has none of these.
    """
    trained = (
        checked(table).drop(columns=["read_out", "easy_error", "hard_error", "test_samples"]).copy()
    )
    trained["tune_steps"] = float("nan")
    for name in ("alpha_dagger", "sigma_star"):
        trained[name] = trained[name].where(trained["hard_share"] > 0)
    return trained.drop(columns="sweep", errors="ignore").drop_duplicates(ignore_index=True)


def groups(
    table: pd.DataFrame, columns: Sequence[str]
) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Parts of the table that agree in `columns`, in the order of their values, NaN last.

    All of it where there are no columns.
    """
    if not columns:
        if len(table):
            yield {}, table
        return
    for key, part in table.groupby(list(columns), dropna=False, sort=True):
        yield dict(zip(columns, key, strict=True)), part


def at_setting(table: pd.DataFrame, setting: dict[str, Any]) -> pd.DataFrame:
    """The lines at these values of constants; a missing value is found by a missing one."""
    for name, value in setting.items():
        table = table[table[name].isna() if missing(value) else table[name] == value]
    return table


def per_seed(
    table: pd.DataFrame, columns: Sequence[str]
) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """`groups`, each as a record for each seed.

    easy_error and hard_error are means over the seed's lines, num_labels their median, converged is
    True where all lines are, test_samples the fewest. Errors are NaN where they were not measured.
    Groups are many and small, where pandas is slow, so that these are plain records.
    """
    how = {
        "easy_error": "mean",
        "hard_error": "mean",
        "num_labels": "median",
        "converged": "all",
        "test_samples": "min",
    }
    seeds = (
        table.astype({"converged": bool})
        .groupby([*columns, "seed"], dropna=False, sort=True)
        .agg(how)
        .reset_index()
    )
    settings: dict[tuple[Any, ...], dict[str, Any]] = {}
    records: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in seeds.to_dict("records"):
        setting = {name: row[name] for name in columns}
        key = tuple(None if missing(value) else value for value in setting.values())
        settings.setdefault(key, setting)
        records.setdefault(key, []).append({str(name): value for name, value in row.items()})
    for key, setting in settings.items():
        yield setting, records[key]


def seed_values(table: pd.DataFrame, column: str) -> pd.Series[float]:
    """One value for each seed, its mean where a seed has several lines. Index: seed.

    Seeds without a number are left out.
    """
    return table.groupby("seed")[column].mean().astype("float64").dropna()


def label_kind(labels: str) -> str:
    """The kind of labels: `merge` of `merge:4`, `random within fine` of `random:8 within fine`."""
    kind = labels.split(":")[0]
    return f"{kind} within {labels.rpartition(' within ')[2]}" if " within " in labels else kind


def setting_words(setting: dict[str, Any]) -> str:
    """'d = 512, fresh batches': a setting as people read it, without what has no value.

    Empty where nothing is set.
    """
    words = []
    for name, value in setting.items():
        if name == "train_samples" or not missing(value):
            words.append(constant_word("k" if name == "subclasses" else name, value))
    return ", ".join(words)


def constant_word(name: str, value: Any) -> str:
    """One constant as people read it."""
    if name == "train_samples" and missing(value):
        return "fresh batches"
    if isinstance(value, float | int) and not isinstance(value, bool):
        return f"{name} = {value:g}"
    return f"{name} = {value}"


def same(one: Any, other: Any) -> bool:
    """Equal, or both missing."""
    return bool(one == other) or (missing(one) and missing(other))
