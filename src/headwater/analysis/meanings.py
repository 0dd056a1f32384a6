"""One name, one meaning: names of sources, label views and tasks that stand for two different
things in a table are kept apart.

Names are a study's. A table that holds rows of several studies (a store, or exports put together)
may call two data sets `photos`; averaging over both would be no one's number. What a name stands
for is told by the fingerprints and by what rows say of their labels. Each meaning gets a name of
its own, photos@3f9a01, after the digest that tells it apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import listed
from headwater.rows import codes_of

if TYPE_CHECKING:
    import pandas as pd

NEEDS = (
    *("source", "source_fingerprint", "size", "unique_images", "method", "seed"),
    *(
        "labels",
        "label_kind",
        "label_level",
        "label_noise",
        "label_features",
        "num_labels",
        "texts",
    ),
    *("task", "task_fingerprint", "task_labels", "task_classes"),
)
"""Columns that this looks at."""
_DIGITS = 6
_TOLD = "meanings"


def kept_apart(table: pd.DataFrame, arm: Sequence[str]) -> pd.DataFrame:
    """The table with names that have one meaning each; the same table where they have.

    `arm` are the columns that, with the seed, make an arm.

    `told` says which had several.
    """
    # rows that agree in all of this say nothing new, and there may be a million of them
    first = ~_together(table, dict.fromkeys([*NEEDS, *arm])).duplicated()
    different = table[first]
    if all(marks is None for _, _, marks in _all_marks(different, arm)):
        return table
    table = table.copy(deep=False)
    told: list[str] = []
    for column, what, marks in _all_marks(table, arm):
        if marks is None:
            continue
        names = table[column].astype(object)
        apart = marks.notna()
        new = names.where(~apart, names + "@" + marks)
        for name in sorted(set(names[apart])):
            meant = sorted(set(new[apart & (names == name)]))
            told.append(
                f"The name {name!r} stands for {len(meant)} different {what}, which are kept "
                f"apart: {listed(meant)}."
            )
        table[column] = new.astype(table[column].dtype)
    if told:
        table.attrs[_TOLD] = told
    return table


def _all_marks(
    table: pd.DataFrame, arm: Sequence[str]
) -> tuple[tuple[str, str, pd.Series[Any] | None], ...]:
    """Column, what it names, and what tells apart the meanings of each row's name."""
    return (
        ("task", "tasks", _task_marks(table)),
        ("source", "sources", _source_marks(table)),
        ("labels", "label views", _label_marks(table, arm)),
    )


def told(table: pd.DataFrame) -> list[str]:
    """Sentences on names of a prepared table that had several meanings, and on rows that were there
    twice.
    """
    sentences = list(table.attrs.get(_TOLD, ()))
    repeats = table.attrs.get("repeats", 0)
    if repeats:
        rows = "1 row was" if repeats == 1 else f"{repeats:,} rows were"
        sentences.append(
            f"{rows} left out: they repeat a number that is there, or are failures of cells that "
            "have been measured since."
        )
    return sentences


def _task_marks(table: pd.DataFrame) -> pd.Series[Any] | None:
    """What tells apart the meanings of each row's task; null where its name has one."""
    if _one_each(table, ["task"], ["task_fingerprint", "task_labels", "task_classes"]):
        return None
    fingerprint = table["task_fingerprint"].astype(object)
    several = _where(fingerprint.groupby(table["task"]).nunique() > 1)
    # Whoever writes a table without fingerprints still says what was asked.
    asked = _digests(table, ("task_labels", "task_classes"))
    unknown = fingerprint.isna()
    asked_apart = _where(asked[unknown].groupby(table["task"][unknown]).nunique() > 1)
    wanted = table["task"].isin(several)
    marks = fingerprint.str[:_DIGITS].where(~unknown, "unknown").where(wanted)
    by_words = table["task"].isin(asked_apart) & unknown & ~wanted
    return _marked(marks.where(~by_words, asked))


def _where(found: pd.Series[Any]) -> list[Any]:
    return list(found.index[found.to_numpy(dtype=bool)])


def _source_marks(table: pd.DataFrame) -> pd.Series[Any] | None:
    """What tells apart the meanings of each row's source; null where its name has one.

    Seeds draw other images of a source where a number of them was asked for, so only rows of one
    seed can differ there. Label views may leave images out, so that rows of different views differ
    only where they have as many images.
    """
    if _one_each(table, ["source"], {"source_fingerprint", "curation"}.intersection(table)):
        return None
    fingerprint = table["source_fingerprint"].astype(object)
    sized = table["size"].notna() & (table["size"] != "all")
    if "curation" in table:
        said = table["curation"].astype(object)
        several = said.where(said.notna(), "").groupby(table["source"]).transform("nunique") > 1
        if several.any():
            marks = _digests(table, ("curation",)).where(said.notna(), "whole")
            return _marked(marks.where(several))
        sized |= said.map(_draws, na_action="ignore").fillna(False).astype(bool)
    drawn = sized.astype(bool)
    apart = None
    for rows, within in (
        (drawn, ["source", "method", "labels", "size", "seed"]),
        (~drawn, ["source", "method", "labels"]),
        (~drawn, ["source", "unique_images"]),
    ):
        keys = [table[name] for name in within]
        counts = fingerprint.where(rows).groupby(keys, dropna=False).transform("nunique")
        found = rows & (counts > 1)
        apart = found if apart is None else apart | found
    assert apart is not None
    both = table["source"].astype(object) + "@" + fingerprint
    apart = (apart | both.isin(set(both[apart].dropna()))) & fingerprint.notna()
    apart &= table["source"].notna()
    return _marked(fingerprint.str[:_DIGITS].where(apart))


def _draws(curation: str) -> bool:
    """Whether a source's words, or those of a part of it, say shares: its images are then drawn by
    seed.
    """
    try:
        return _says_shares(json.loads(curation))
    except ValueError:
        return False


def _says_shares(words: Any) -> bool:
    if not isinstance(words, dict):
        return False
    own = words.get("kind") == "mix" or any(words.get(each) for each in ("balance", "like"))
    inner = words.get("made_of")
    return own or (isinstance(inner, dict) and any(map(_says_shares, inner.values())))


_OF_LABELS = ("label_kind", "label_level", "label_noise", "label_features", "num_labels")


def _label_marks(table: pd.DataFrame, arm: Sequence[str]) -> pd.Series[Any] | None:
    """What tells apart the meanings of each row's label view; null where its name has one.

    On the same images, with one seed, a view has the same classes, level, noise and features.
    """
    within = (*arm, "source_fingerprint", "seed")
    if _one_each(table, within, [*_OF_LABELS, "texts"]):
        return None
    keys = [table[name] for name in within]
    words = table[list(_OF_LABELS)].copy()
    # Older rows do not say the kind: that is no other kind.
    known = words["label_kind"].groupby(keys, dropna=False).transform("first")
    words["label_kind"] = words["label_kind"].fillna(known)
    # Older rows count captions as they are written, which newer ones do beside.
    words["num_labels"] = table["texts"].fillna(table["num_labels"])
    definition = _digests(words, _OF_LABELS)
    counts = definition.groupby(keys, dropna=False).transform("nunique")
    apart = ((counts > 1) & table["labels"].notna()).astype(bool)
    if not apart.any():
        return None
    # What all seeds of a view share.
    steady = words.copy()
    steady["label_noise"] = steady["label_noise"].notna()
    steady["label_features"] = steady["label_features"].astype(object).str.partition(":")[0].str[:5]
    shared = _digests(steady, _OF_LABELS)
    enough = shared.groupby(keys, dropna=False).transform("nunique") == counts
    mark = shared.where(enough | ~apart, definition)
    named = table["labels"].astype(object) + "@" + mark
    of_name = table["labels"].isin(set(table["labels"][apart]))
    return _marked(mark.where(apart | (of_name & named.isin(set(named[apart])))))


def _one_each(table: pd.DataFrame, within: Iterable[str], names: Iterable[str]) -> bool:
    """Whether rows that are equal in the columns `within` are so in those of `names`; found without
    groups, which take ten times as long for small tables.
    """
    ours = _together(table, dict.fromkeys(within))
    also = _together(table.assign(within=ours), dict.fromkeys(["within", *names]))
    return int(ours.nunique()) == int(also.nunique())


def _together(table: pd.DataFrame, names: Iterable[str]) -> pd.Series[Any]:
    """One number for what each row has in these columns."""
    import numpy as np
    import pandas as pd

    joint = np.zeros(len(table), dtype=np.int64)
    for name in names:
        codes, distinct = codes_of(table[name])
        if len(distinct) > 1 or (codes < 0).any():
            joint = joint * (len(distinct) + 1) + codes + 1
            joint = pd.factorize(joint)[0]
    return pd.Series(joint, index=table.index)


def _digests(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series[Any]:
    """Six digits for what each row has in these columns."""
    import pandas as pd

    groups = table.groupby(list(names), dropna=False, sort=False).ngroup()
    firsts = ~groups.duplicated()
    digest_of = {}
    for group, values in zip(
        groups[firsts], table.loc[firsts, list(names)].astype(object).values.tolist(), strict=True
    ):
        written = repr([None if pd.isna(value) else str(value) for value in values])
        digest_of[group] = hashlib.sha256(written.encode()).hexdigest()[:_DIGITS]
    return groups.map(digest_of).astype(object)


def _marked(marks: pd.Series[Any]) -> pd.Series[Any] | None:
    return marks if marks.notna().any() else None
