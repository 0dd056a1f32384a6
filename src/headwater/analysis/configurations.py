"""What is compared with what: rows gathered into configurations (an arm without its seed) that
carry a readable, unique name.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from headwater.analysis.copied import COLUMNS as COPIES
from headwater.analysis.copied import wholly_copied
from headwater.analysis.kept import kept
from headwater.analysis.kinds import LabelsOf
from headwater.analysis.meanings import NEEDS, kept_apart
from headwater.analysis.naming import digest, name_configurations
from headwater.analysis.order import tuned_protocols
from headwater.analysis.words import missing, number
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

LOWER_IS_BETTER = {"ece", "error_within", "error_across"}
"""Metrics that decide nothing: no winner is named by them."""


def prepare(rows: pd.DataFrame, *, only: Collection[str] | None = None) -> pd.DataFrame:
    """The rows with these columns added; a prepared table comes back as it is.

    configuration (str): digest of the `CONFIGURATION` columns. name (str): unique per
    configuration, for people. context (str): the name without the source; equal contexts differ in
    the source alone. order (int): sensible order of the configurations (method, then coarse to
    fine). usable (bool): status is done and the value is a number. decides (bool): usable, and not
    a frozen encoder scored on labels that it was trained on (docs/design.md, "Label reuse"), nor
    copied: such a row is shown and decides nothing. copied (bool): every test image of its cell is
    a copy of the task's own train or val images. label_kind and label_level are filled in where
    rows do not say them (kinds.py). `only` are the columns that are needed, beside those from which
    these are made; all, when left out.

    Rows of simulated networks are left out: they have a table of their own. A name of a source, a
    view or a task that has two meanings is kept apart (headwater.analysis.meanings). Raises
    InputError where a required column of the schema is missing (a table without rows may lack all
    of them).
    """
    if "configuration" in rows.columns:
        return rows
    if not len(rows.columns):
        rows = to_frame([])
    table = conform(rows, "rows", only=None if only is None else {*only, *PREPARED_FROM})
    simulated = table["constants"].notna()
    if simulated.any():
        table = table[~simulated].reset_index(drop=True)
    table = kept_apart(table, CONFIGURATION)
    table["images_seen"] = _budgets(table)
    value = table["value"].astype("float64")
    table["usable"] = ((table["status"] == "done") & value.notna()).astype(bool)
    table["value"] = value.where(table["usable"])
    frozen = ~table["protocol"].isin(tuned_protocols())
    frozen_reuse = frozen & table["label_reuse"].fillna(False).astype(bool)
    table["copied"] = wholly_copied(table)
    table["decides"] = (table["usable"] & ~frozen_reuse & ~table["copied"]).astype(bool)
    return table.assign(**_names(table))


_ONE_BUDGET = 1.02
"""Images seen, or epochs, that differ by less than this factor are one budget."""


def _budgets(table: pd.DataFrame) -> pd.Series[Any]:
    """Images seen, made one number over the seeds of an arm that had one budget: each seed draws
    its own images of a size, of which some may be copies of others, and a budget in epochs is of
    different pictures. Two budgets of one seed stay two.
    """
    import pandas as pd

    seen = table["images_seen"]
    if seen.nunique() < 2:
        return seen
    others = [column for column in CONFIGURATION if column != "images_seen"]
    arm = table.groupby(others, dropna=False, sort=False).ngroup().rename("arm")
    each = table[["seed", "images_seen"]].assign(arm=arm)
    each["epochs"] = each["images_seen"] / table["unique_images"].astype("float64")
    each = each[each["seed"].notna() & each["images_seen"].notna()].drop_duplicates()
    most: dict[tuple[int, float], float] = {}
    for at, of_arm in each.groupby("arm", sort=False):
        if of_arm["images_seen"].nunique() > 1:
            pairs = _one_budget_each(of_arm).items()
            most |= {(cast("int", at), images): largest for images, largest in pairs}
    if not most:
        return seen
    found = pd.MultiIndex.from_arrays([arm, seen])
    named = pd.Series(most)
    return seen.where(~found.isin(named.index), named.reindex(found).to_numpy())


def _one_budget_each(of_arm: pd.DataFrame) -> dict[float, float]:
    """Images seen -> the most that a seed saw under the same budget, of one arm's (seed, images
    seen, epochs).
    """
    by = "epochs" if of_arm["epochs"].notna().all() else "images_seen"
    left = of_arm.sort_values(by)
    found: dict[float, float] = {}
    while len(left):
        near = left[by] <= _ONE_BUDGET * left[by].iloc[0]
        group, left = left[near], left[~near]
        if not group["seed"].duplicated().any():
            images = group["images_seen"]
            found |= dict.fromkeys(images.tolist(), float(images.max()))
    return found


_OF_LABELS = ("num_labels", "label_kind", "label_level")
PREPARED_FROM = (
    *(*CONFIGURATION, *NEEDS, "constants", "value", "label_reuse", *_OF_LABELS),
    *(*COPIES, "n_test", "n_train", "subset"),
)
"""Columns of rows from which a table is prepared, beside the required ones."""


def _names(table: pd.DataFrame) -> dict[str, Any]:
    """The columns that `prepare` adds for the configuration of each row, and those that it fills
    in.
    """
    import numpy as np
    import pandas as pd

    groups = table.groupby(list(CONFIGURATION), dropna=False, sort=False)
    place = pd.factorize(groups.ngroup())[0]
    distinct = table.loc[~pd.Series(place).duplicated().to_numpy(), list(CONFIGURATION)]
    rows = distinct.astype(object).to_dict("records")
    named = name_configurations(rows, _labels_of(rows, table, distinct, place))
    by_digest = {each.digest: (order, each) for order, each in enumerate(named)}
    of_rows = [by_digest[digest(row)] for row in rows]
    columns: dict[str, Any] = {
        "configuration": np.array([each.digest for _, each in of_rows], dtype=object),
        "name": np.array([each.name for _, each in of_rows], dtype=object),
        "context": np.array([each.context for _, each in of_rows], dtype=object),
        "order": np.array([order for order, _ in of_rows], dtype=np.int64),
        "configuration_labels": np.array(
            [each.labels.num_labels for _, each in of_rows], dtype=float
        ),
        "label_kind": pd.array([each.labels.kind for _, each in of_rows], dtype="string[python]"),
        "label_level": pd.array([each.labels.level for _, each in of_rows], dtype="Int64"),
    }
    return {column: values[place] for column, values in columns.items()}


def _labels_of(
    rows: list[dict[Any, Any]], table: pd.DataFrame, distinct: pd.DataFrame, place: Any
) -> list[LabelsOf]:
    """What is known of the labels of each distinct configuration."""
    kinds = _first_known(table["label_kind"], place)
    levels = _first_known(table["label_level"], place)
    counts = _median_labels(table["num_labels"], distinct, place)
    return [
        LabelsOf.of(row, kind=kinds.get(number), level=levels.get(number), num_labels=num_labels)
        for number, (row, num_labels) in enumerate(zip(rows, counts, strict=True))
    ]


def _first_known(column: pd.Series[Any], place: Any) -> dict[int, Any]:
    """Configuration -> the first value of its rows that is not null."""
    import numpy as np

    known = np.flatnonzero(column.notna().to_numpy())
    places, first = np.unique(place[known], return_index=True)
    return dict(zip(places.tolist(), column.iloc[known[first]].tolist(), strict=True))


def _median_labels(counts: pd.Series[Any], distinct: pd.DataFrame, place: Any) -> list[Any]:
    """Classes of each distinct configuration: the median over its arms, as a draw of a source's
    images by seed may lose a class. `place` says which configuration each of `counts` is of.
    """
    alike = distinct.groupby(["method", "source", "size", "labels"], dropna=False).ngroup()
    family = alike.to_numpy()
    medians = counts.astype("float64").groupby(family[place]).median()
    return [number(medians[each]) for each in family]


@kept
def main_metric(table: pd.DataFrame) -> str:
    """top1 where any row has it, else mean_per_class, else the first metric by name of those that
    are the better the higher.
    """
    metrics = sorted(set(map(str, table["metric"].dropna().unique())) - LOWER_IS_BETTER)
    for usual in ("top1", "mean_per_class"):
        if usual in metrics:
            return usual
    return metrics[0] if metrics else "top1"


@dataclass(frozen=True)
class Configuration:
    """One configuration of a prepared table; None for what it does not have."""

    id: str
    """Its digest."""
    name: str
    context: str
    method: str
    source: str | None
    labels: str | None
    """What the study calls them."""
    num_labels: float | None
    """Classes of its labels."""
    backbone: str
    image_size: str | None
    label_kind: str | None = None
    """Kind of its labels, as the column `label_kind` of rows."""
    label_level: int | None = None
    """k of level:k, 0 = finest."""
    fields: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    """Its columns of `CONFIGURATION`, and unique_images (of one of its arms)."""

    @property
    def series(self) -> str:
        """The context without the labels: what a curve over labels keeps fixed besides the
        source.
        """
        return series_of(self.context, self.labels)


def series_of(context: str, labels: Any) -> str:
    """A context without the labels in it."""
    return context if missing(labels) else context.replace(f" {labels}", "", 1)


@kept
def configurations(table: pd.DataFrame) -> dict[str, Configuration]:
    """Every configuration of a prepared table by its digest, in the sensible order."""
    ordered = table.drop_duplicates("configuration").sort_values("order")
    return {str(row["configuration"]): _configuration(row) for row in ordered.to_dict("records")}


def _configuration(row: dict[Any, Any]) -> Configuration:
    return Configuration(
        id=str(row["configuration"]),
        name=str(row["name"]),
        context=str(row["context"]),
        method=str(row["method"]),
        source=_text(row["source"]),
        labels=_text(row["labels"]),
        label_kind=_text(row["label_kind"]),
        label_level=None if missing(row["label_level"]) else int(row["label_level"]),
        num_labels=number(row["configuration_labels"]),
        backbone=str(row["backbone"]),
        image_size=_text(row["image_size"]),
        fields={column: row.get(column) for column in (*CONFIGURATION, "unique_images")},
    )


def _text(value: Any) -> str | None:
    return None if missing(value) else str(value)


def configuration_names(table: pd.DataFrame) -> dict[str, str]:
    """Digest -> name, of a prepared table, in the sensible order."""
    return {each.id: each.name for each in configurations(table).values()}
