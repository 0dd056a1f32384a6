"""What was held equal between the pre-trained arms, what differs, and what a reader must beware
of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.configurations import (
    SETTING,
    main_metric,
    prepare,
)
from headwater.analysis.copied import copies_sentences
from headwater.analysis.meanings import told
from headwater.analysis.words import count, listed, missing, percent
from headwater.rows import COLUMNS, codes_of, explained

if TYPE_CHECKING:
    import pandas as pd

_ARM = (
    *("method", "source", "source_fingerprint", "size", "unique_images"),
    *(
        "labels",
        "num_labels",
        "texts",
        "cut_texts",
        "multi_label_share",
        "label_noise",
        "label_features",
    ),
    *("images_seen", "epochs", "steps", "pretrain_flops", "backbone", "image_size"),
    *("batch", "optimiser", "lr", "weight_decay", "recipe", "loss", "seed"),
)
_TRANSFER = ("head_init", "grid", "val_protocol")
_PLACE = ("precision", "fingerprint", "versions")
_PRETRAIN_PLACE = ("pretrain_fingerprint", "pretrain_versions")
_COLUMN = {column.name: column for column in COLUMNS}


@dataclass(frozen=True)
class Held:
    """One column over the pre-trained arms: its values as text, most frequent first, with the
    number of arms that have each.
    """

    column: str
    meaning: str
    values: tuple[tuple[str, int], ...]

    @property
    def equal(self) -> bool:
        return len(self.values) == 1

    @property
    def words(self) -> str:
        if self.equal:
            return self.values[0][0]
        shown = [f"{value} ({count(number, 'arm')})" for value, number in self.values[:6]]
        if len(self.values) > 6:
            shown.append(f"and {len(self.values) - 6} more values")
        return "; ".join(shown)


def held(rows: pd.DataFrame) -> list[Held]:
    """Every column that could change a number, over arms other than scratch; columns without any
    value are left out.
    """
    import pandas as pd

    table = prepare(rows)
    trained = table["method"] != "scratch"
    arms = pd.factorize(table["arm"][trained])[0]
    held_or_not = []
    for name in (*_ARM, *_TRANSFER, *_PLACE, *_PRETRAIN_PLACE):
        values = table[name][trained]
        if values.notna().any():
            held_or_not.append(_held(values, arms))
    return held_or_not


def _held(values: pd.Series[Any], arms: Any) -> Held:
    """One column, and the number of each row's arm."""
    import pandas as pd

    codes, distinct = codes_of(values)
    pairs = pd.unique(arms * (len(distinct) + 1) + codes + 1)
    counts: dict[str, int] = {}
    for code in pairs % (len(distinct) + 1) - 1:
        # The head of a fine-tuned cell is no property of its probes: only an arm's own columns
        # count their nulls.
        if values.name in _ARM or code >= 0:
            text = _text(distinct[code] if code >= 0 else None)
            counts[text] = counts.get(text, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    column = str(values.name)
    return Held(column, explained(_COLUMN[column]), tuple(ordered))


def _text(value: Any) -> str:
    if missing(value):
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str) and value.startswith("{"):
        try:
            fields = json.loads(value)
        # What is not JSON, or nested thousands deep, is shown as it stands.
        except (ValueError, RecursionError):
            return value
        return ", ".join(f"{name} {_field(field)}" for name, field in fields.items())
    return str(value)


def _field(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)


_WARNED = (
    *("configuration", "name", *SETTING, "seed", "draw", "metric", "subset", "value", "cell"),
    *("decides", "copied", "method", "leaked_test_images", "task_majority"),
    *("num_labels", "texts", "cut_texts", "chosen"),
    *("task_fingerprint", "task_labels", "n_test", "head_init", "grid"),
    *_PLACE,
    *_PRETRAIN_PLACE,
)
"""What warnings look at, besides the status."""


def warnings(rows: pd.DataFrame) -> list[str]:
    """Plain sentences, gravest first, on what may make a comparison in these rows unfair or
    incomplete. Empty where all is well.
    """
    table = prepare(rows)
    if not len(table):
        return []
    done = table.loc[table["usable"], list(_WARNED)]
    return [
        *told(table),
        *copies_sentences(table),
        *_incomplete(table),
        *_left_out(table),
        *_reuse(done),
        *_texts_lost(done),
        *_prompts(done),
        *_unequal(done),
        *_averaged(done),
        *_differing(done),
        *_chance(done),
    ]


def _incomplete(table: pd.DataFrame) -> list[str]:
    out = []
    for status, meaning in (
        ("diverged", "final, and a result about that arm"),
        ("failed", "retried by the next run"),
    ):
        bad = table[table["status"] == status]
        if len(bad):
            arms = sorted(bad["name"].unique())
            out.append(
                f"{count(bad['cell'].nunique(), 'cell')} {status} ({meaning}): {listed(arms)}. No "
                "average counts them."
            )
    seeds = table[table["usable"]].groupby("name")["seed"].nunique()
    if len(seeds) and seeds.min() != seeds.max():
        few = sorted(str(name) for name in seeds.index[seeds < seeds.max()])
        out.append(
            f"Seeds are unequal: {listed(few)} {'has' if len(few) == 1 else 'have'} fewer than "
            f"{seeds.max()}."
        )
    return out


def _left_out(table: pd.DataFrame) -> list[str]:
    """Images that were left out since they cannot be read, by source and by task."""
    out = []
    for column, name in (("source_left_out", "source"), ("task_left_out", "task")):
        counts = table.dropna(subset=[column]).groupby(name)[column].max()
        for what, number in counts.items():
            out.append(
                f"{count(int(number), 'image')} of {name} {what} cannot be read and "
                f"{'was' if number == 1 else 'were'} left out; the rows say why."
            )
    return out


def _reuse(done: pd.DataFrame) -> list[str]:
    out = []
    marked = done[~done["decides"] & ~done["copied"]]
    if len(marked):
        cells, tasks = (
            count(marked["cell"].nunique(), "cell"),
            listed(sorted(marked["task"].unique())),
        )
        out.append(
            f"Labels are re-used in {cells} on {tasks}: a frozen encoder is scored on labels that "
            "it was trained on. Hollow marks; they decide nothing."
        )
    leaked = done[done["leaked_test_images"].fillna(0) > 0]
    if len(leaked):
        most = int(leaked["leaked_test_images"].max())
        who, where = (
            listed(sorted(leaked["name"].unique())),
            listed(sorted(leaked["task"].unique())),
        )
        out.append(
            f"Up to {count(most, 'test image')} on {where} are among the pre-training images of "
            f"{who}."
        )
    return out


def _texts_lost(done: pd.DataFrame) -> list[str]:
    """Captions that a text tower does not read whole, or takes for another."""
    out = []
    read = done[done["texts"].notna()]
    cut = read[read["cut_texts"].fillna(0) > 0]
    if len(cut):
        number, texts = _most(cut["cut_texts"], cut["texts"])
        out.append(
            f"Captions are cut at the text tower's context: {number:,} of {texts:,} at most, of "
            f"{listed(sorted(cut['name'].unique()))}."
        )
    lost = read[read["num_labels"].fillna(read["texts"]) < read["texts"]]
    if len(lost):
        number, texts = _most(lost["texts"] - lost["num_labels"], lost["texts"])
        out.append(
            f"A text tower tells {texts - number:,} of {texts:,} captions apart at least, of "
            f"{listed(sorted(lost['name'].unique()))}: the others are one to it."
        )
    return out


def _most(numbers: pd.Series[Any], texts: pd.Series[Any]) -> tuple[int, int]:
    """(number, texts) of the row whose number is the largest share of its texts."""
    some, every = numbers.to_numpy(dtype=float), texts.to_numpy(dtype=float)
    worst = int((some / every).argmax())
    return int(some[worst]), int(every[worst])


def _prompts(done: pd.DataFrame) -> list[str]:
    """Classes that zero-shot cannot tell apart, since their prompts are one to the text tower."""
    codes, distinct = codes_of(done["chosen"])
    equal = np.array([*map(_equal_prompts, distinct), 0])
    some = done[equal[codes] > 0]
    if not len(some):
        return []
    tasks, names = sorted(some["task"].unique()), sorted(some["name"].unique())
    return [
        f"Up to {int(equal.max())} classes on {listed(tasks)} have the prompts "
        f"of another one, as the text tower of {listed(names)} reads them: zero-shot cannot tell "
        "them apart."
    ]


def _equal_prompts(chosen: str) -> int:
    """The classes with equal prompts that a row's `chosen` counts."""
    if '"equal_prompts"' not in chosen:
        return 0
    try:
        number = json.loads(chosen).get("equal_prompts", 0)
    except (ValueError, RecursionError, AttributeError):
        return 0
    return number if isinstance(number, int) else 0


@dataclass(frozen=True)
class _Equal:
    """What must be equal between rows that are compared."""

    columns: tuple[str, ...]
    within: tuple[str, ...]
    """Rows that agree in these are compared."""
    warning: str


_EQUAL = (
    _Equal(
        ("task_fingerprint", "task_labels"),
        ("task",),
        "One task name stands for different data or labels ({})",
    ),
    _Equal(("n_test",), ("task", "subset"), "Test sets differ in size between compared rows ({})"),
    _Equal(
        ("head_init", "grid"),
        ("task", "protocol", "shots"),
        "Head initialisation or the grid of hyper-parameters differs between compared rows ({})",
    ),
)


def _unequal(done: pd.DataFrame) -> list[str]:
    sentences = []
    for equal in _EQUAL:
        compared = done[done["subset"] != "unleaked"] if equal.columns == ("n_test",) else done
        groups = compared.groupby(list(equal.within), dropna=False)
        counts = groups[list(equal.columns)].nunique().max(axis=1)
        tasks = set(counts.index.get_level_values("task")[counts > 1].astype(str))
        if tasks:
            sentences.append(equal.warning.format(listed(sorted(tasks))) + ".")
    return sentences


def _averaged(done: pd.DataFrame) -> list[str]:
    keys = ["configuration", *SETTING, "seed", "draw", "metric", "subset"]
    if not done.duplicated(keys).any():
        return []
    cells = done.groupby(keys, dropna=False)["cell"].nunique()
    doubled = int((cells > 1).sum())
    if not doubled:
        return []
    return [
        f"{count(doubled, 'number')} averages several cells that agree in arm, task, protocol, "
        "shots, seed and draw; see what differs."
    ]


def _differing(done: pd.DataFrame) -> list[str]:
    trained = done[done["method"] != "scratch"]
    columns = {column: done[column] for column in _PLACE}
    columns |= {column: trained[column] for column in _PRETRAIN_PLACE}
    differing = []
    for column, values in columns.items():
        distinct = sorted(codes_of(values)[1])
        if len(distinct) > 1:
            shown = [_text(value) for value in distinct]
            differing.append(f"{column}: {listed(shown, most=3)}")
    return [f"Compared rows were not computed alike ({'; '.join(differing)})."] * bool(differing)


def _chance(done: pd.DataFrame) -> list[str]:
    whole = done[
        (done["subset"] == "all")
        & (done["metric"] == main_metric(done))
        & done["task_majority"].notna()
    ]
    means = whole.groupby(["task", "configuration"])[["value", "task_majority"]].mean()
    low = means[means["value"] <= means["task_majority"]]
    if not len(low):
        return []
    named = done[["configuration", "name"]].drop_duplicates("configuration")
    names = dict(zip(named["configuration"], named["name"], strict=True))
    who = listed([f"{names[c]} on {task}" for task, c in list(low.index)], most=3)
    return [
        "No better than always giving the most frequent class "
        f"({percent(low['task_majority'].max())} at most): {who}."
    ]
