"""The verdict: which source, which labels, which method, how sure, and what to run next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import Winner, difference, per_seed, wide, winner
from headwater.analysis.configurations import (
    SETTING,
    TUNED,
    configuration_names,
    configuration_order,
    label_kind,
    main_metric,
    missing,
    prepare,
)
from headwater.analysis.intervals import NO_INTERVAL, Interval
from headwater.analysis.words import count, interval, listed, percent, points, shots_words

if TYPE_CHECKING:
    import pandas as pd

NOTHING, ALONE, ONE_SEED, OPEN, SURE = (
    "nothing to conclude",
    "nothing to compare",
    "one seed, no interval",
    "not told apart",
    "told apart",
)


ADVICE_ON_REUSE = "Fine-tune on the same tasks, or add a task with other labels."


@dataclass(frozen=True)
class Verdict:
    """What to pre-train on, as far as the rows can say.

    Words are None where they do not apply (no labels for simclr, no data).
    """

    answer: str
    """One sentence: what to pre-train on."""
    confidence: str
    """One of NOTHING, ALONE, ONE_SEED, OPEN, SURE."""
    sentences: tuple[str, ...]
    """The grounds: how sure, which source, labels and method with the rest held equal, what
    pre-training is worth.
    """
    next_steps: tuple[str, ...]
    configuration: str | None = None
    source: str | None = None
    labels: str | None = None
    method: str | None = None
    mean: float | None = None
    """Mean share of right answers over the tasks and shot counts that were used."""
    gap: Interval = NO_INTERVAL
    """Best minus next, paired by seed, corrected for `num_comparisons`."""
    num_comparisons: int = 0
    protocol: str | None = None
    tasks: tuple[str, ...] = ()
    equals: tuple[str, ...] = ()
    """Configurations that could not be told from the best."""
    cells: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Ground:
    """What the verdict stands on: a prepared table and the scores of the settings in which every
    ranked configuration was measured.
    """

    table: pd.DataFrame
    scores: pd.DataFrame
    protocol: str
    left_out: tuple[str, ...]
    reused: tuple[str, ...]
    """Tasks of this protocol that were set aside because frozen encoders met their own labels
    there.
    """

    @cached_property
    def facts(self) -> dict[str, dict[str, Any]]:
        columns = [
            "configuration",
            "name",
            "context",
            "source",
            "labels",
            "method",
            "backbone",
            "image_size",
            "configuration_labels",
        ]
        return {
            str(r["configuration"]): {str(k): v for k, v in r.items()}
            for r in self.table[columns].drop_duplicates("configuration").to_dict("records")
        }


def verdict(rows: pd.DataFrame) -> Verdict:
    """The advice that the rows support.

    Never raises for want of data; InputError where a required column of the schema is missing.

    One protocol is used: the one in which most tasks can be compared, fine-tuning where two are
    equal. Accuracy is averaged with equal weight over its tasks and shot counts, per seed. A task
    in which any frozen probe re-uses labels is set aside for that protocol, for all arms, so that
    all are judged on the same tasks; a configuration that lacks a task altogether is left out and
    named.
    """
    table = prepare(rows)
    ground = _ground(table)
    trouble = _trouble(table)
    if ground is None:
        return _without_ground(table, trouble)
    order, names = configuration_order(table), configuration_names(table)
    won = winner(ground.scores, order=order)
    if won is None:
        return _without_ground(table, trouble)
    fact = ground.facts[won.best_id]
    confidence = _confidence(won)
    axes = [
        text
        for text in (_source(ground), _labels(ground), _method(ground, won), _scratch(ground, won))
        if text
    ]
    asides = _asides(ground)
    return Verdict(
        answer=_answer(fact, won, names),
        confidence=confidence,
        sentences=(_measured(ground, won), _how_sure(won, names), *axes, *asides),
        next_steps=(*trouble, *_next_steps(ground, won, names)),
        configuration=names[won.best_id],
        **{
            word: None if missing(fact[word]) else str(fact[word])
            for word in ("source", "labels", "method")
        },
        mean=won.mean,
        gap=won.gap,
        num_comparisons=won.num_comparisons,
        protocol=ground.protocol,
        tasks=tuple(_tasks(ground.scores)),
        equals=tuple(names[c] for c in won.not_separated),
        cells=_cells(ground),
    )


def _ground(table: pd.DataFrame) -> _Ground | None:
    """The protocol and settings that the verdict is made in; None without one usable row."""
    metric = main_metric(table)
    main = table[table["usable"] & (table["metric"] == metric) & (table["subset"] == "all")]
    scores = wide(table, metric=metric)
    if not len(scores):
        return None
    tainted = set(
        main.loc[~main["decides"], ["task", "protocol"]].itertuples(index=False, name=None)
    )
    index = scores.index.to_frame(index=False)
    clean = [pair not in tainted for pair in zip(index["task"], index["protocol"], strict=True)]
    found: list[tuple[tuple[int, int, bool, int], str, pd.DataFrame]] = []
    for protocol in sorted(set(index["protocol"])):
        part = _complete(
            scores[(index["protocol"] == protocol).to_numpy() & clean].dropna(axis=1, how="all")
        )
        if len(part):
            found.append(
                (
                    (min(part.shape[1], 2), len(_tasks(part)), protocol in TUNED, len(part)),
                    protocol,
                    part,
                )
            )
    if not found:
        return None
    _, protocol, part = max(found, key=lambda item: item[:2])
    names = configuration_names(table)
    tried = set(table.loc[table["protocol"] == protocol, "configuration"])
    left_out = tuple(
        names[c] for c in configuration_order(table) if c in tried and c not in part.columns
    )
    return _Ground(
        table, part, protocol, left_out, tuple(sorted({t for t, p in tainted if p == protocol}))
    )


def _complete(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores without configurations that lack a setting at every seed; if fewer than two are
    left, the settings that all share.
    """
    if not len(scores):
        return scores
    complete = per_seed(scores).notna().any()
    if complete.sum() >= min(2, scores.shape[1]):
        return scores[list(complete.index[complete])]
    has = scores.notna().groupby(level=list(SETTING)).transform("any")
    shared = scores[has.all(axis=1).to_numpy()]
    return (
        shared
        if len(shared) and per_seed(shared).notna().any().sum() >= 2
        else scores[list(complete.index[complete])]
    )


def _tasks(scores: pd.DataFrame) -> list[str]:
    return sorted(set(scores.index.get_level_values("task")))


def _shots(scores: pd.DataFrame) -> list[Any]:
    return [None if s == -1 else s for s in set(scores.index.get_level_values("shots"))]


def _cells(ground: _Ground) -> tuple[str, ...]:
    used = ground.table[
        ground.table["decides"]
        & ground.table["configuration"].isin(ground.scores.columns)
        & (ground.table["protocol"] == ground.protocol)
    ]
    return tuple(sorted(set(used.loc[used["task"].isin(_tasks(ground.scores)), "cell"])))


def _confidence(won: Winner) -> str:
    if won.next_id is None:
        return ALONE
    if won.decided:
        return SURE
    return ONE_SEED if won.gap.num_seeds <= 1 else OPEN


def _answer(fact: dict[str, Any], won: Winner, names: dict[str, str]) -> str:
    what = (
        "No pre-training came out ahead: train from scratch"
        if fact["method"] == "scratch"
        else f"Pre-train {_spelled(fact)}"
    )
    if won.next_id is None:
        return f"{what}: it is all that was measured, so nothing recommends it over something else."
    if won.decided:
        return f"{what}."
    if won.tied:
        return f"{what}, or equally well {listed([names[c] for c in won.tied])}: they tie."
    return f"{what}, for now: {count(len(won.not_separated), 'other')} cannot be told from it yet."


def _spelled(fact: dict[str, Any]) -> str:
    source = "" if missing(fact["source"]) else f" on {fact['source']}"
    context = str(fact["context"])
    if missing(fact["labels"]) or fact["method"] != "supervised":
        return f"with {context}{source}"
    classes = (
        ""
        if missing(fact["configuration_labels"])
        else f" ({float(fact['configuration_labels']):.0f} classes)"
    )
    method, _, rest = context.partition(" ")
    return f"{method}{source} with labels {rest}{classes}"


def _measured(ground: _Ground, won: Winner) -> str:
    tasks = _tasks(ground.scores)
    return (
        f"It answers {percent(won.mean)} right on average over {count(len(tasks), 'task')} "
        f"({listed(tasks)}), {ground.protocol}, "
        f"{shots_words(_shots(ground.scores))}, "
        f"{count(int(per_seed(ground.scores)[won.best_id].notna().sum()), 'seed')}."
    )


def _how_sure(won: Winner, names: dict[str, str]) -> str:
    if won.next_id is None:
        return "How sure: there is one configuration, and nothing to compare it with."
    sure = interval(won.gap.low, won.gap.high, won.gap.num_seeds, won.num_comparisons)
    lead = f"How sure: it is {points(won.gap.mean)} ahead of {names[won.next_id]} ({sure})"
    if won.decided:
        return f"{lead}, and ahead of each of the {won.num_comparisons} others by more than chance."
    if won.gap.num_seeds <= 1:
        return f"{lead}. Another seed may change the order."
    return f"{lead}; not told apart from {listed([names[c] for c in won.not_separated])}."


def _axis(columns: dict[str, list[str]], scores: pd.DataFrame) -> Winner | None:
    """The winner among the values of an axis, each the mean over its columns of `scores`; None
    below two values.
    """
    import pandas as pd

    pooled = pd.DataFrame(
        {value: scores[ids].mean(axis=1, skipna=False) for value, ids in columns.items()},
        index=scores.index,
    )
    won = winner(pooled, order=list(columns)) if len(columns) > 1 else None
    return won if won and won.next_id is not None else None


def _matched(ground: _Ground, axis: str, keep: str, method: str | None) -> dict[str, list[str]]:
    """Value of `axis` -> its configurations, over the values of `keep` that every value of the axis
    was tried with.
    """
    groups: dict[str, dict[str, list[str]]] = {}
    for c in ground.scores.columns:
        fact = ground.facts[c]
        if not missing(fact[axis]) and method in (None, fact["method"]):
            held = (
                str(fact["context"])
                if keep == "context"
                else str(fact["context"]).replace(f" {fact['labels']}", "", 1) + str(fact["source"])
            )
            groups.setdefault(str(fact[axis]), {}).setdefault(held, []).append(c)
    shared = set.intersection(*(set(g) for g in groups.values())) if groups else set()
    return (
        {value: [c for held in sorted(shared) for c in by[held]] for value, by in groups.items()}
        if shared
        else {}
    )


def _axis_sentence(
    question: str, won: Winner | None, held: str, *, names: dict[str, str] | None = None
) -> str | None:
    if won is None or won.next_id is None:
        return None
    word = names or {}
    first, second = word.get(won.best_id, won.best_id), word.get(won.next_id, won.next_id)
    sure = interval(won.gap.low, won.gap.high, won.gap.num_seeds, won.num_comparisons)
    told = "" if won.decided else ": cannot be told" if won.gap.num_seeds > 1 else ""
    return f"{question}: {first}, {points(won.gap.mean)} ahead of {second} {held} ({sure}){told}."


def _source(ground: _Ground) -> str | None:
    columns = _matched(ground, "source", "context", None)
    return _axis_sentence(
        "Which source", _axis(columns, ground.scores), "with method and labels held equal"
    )


def _labels(ground: _Ground) -> str | None:
    columns = _matched(ground, "labels", "series", "supervised")
    return _axis_sentence(
        "Which labels", _axis(columns, ground.scores), "with the source held equal"
    )


def _method(ground: _Ground, won: Winner) -> str | None:
    """Each method stands with its best configuration; the correction is for all configurations that
    these were chosen from.
    """
    means = per_seed(ground.scores).mean()
    top: dict[str, str] = {}
    for c in sorted(means.index, key=lambda c: -float(means[c])):
        if ground.facts[c]["method"] != "scratch":
            top.setdefault(str(ground.facts[c]["method"]), c)
    if len(top) < 2:
        return None
    scores = ground.scores[list(top.values())].rename(columns={c: m for m, c in top.items()})
    return _axis_sentence(
        "Which method",
        winner(scores, comparisons=won.num_comparisons),
        "each with its best source and labels",
    )


def _scratch(ground: _Ground, won: Winner) -> str | None:
    mine = ground.facts[won.best_id]
    same = [
        c
        for c in ground.scores.columns
        if all(str(ground.facts[c][k]) == str(mine[k]) for k in ("backbone", "image_size"))
    ]
    scratch = [c for c in same if ground.facts[c]["method"] == "scratch"]
    if not scratch or won.best_id in scratch:
        return None
    gap = difference(ground.scores, won.best_id, scratch[0], comparisons=won.num_comparisons)
    sure = interval(gap.low, gap.high, gap.num_seeds, won.num_comparisons)
    return f"What it is worth: {points(gap.mean)} over no pre-training ({sure})."


def _asides(ground: _Ground) -> list[str]:
    out = []
    if ground.reused:
        out.append(
            f"Set aside: {listed(ground.reused)} under {ground.protocol}, because frozen encoders "
            "met labels there that they were trained on."
        )
    if ground.left_out:
        out.append(f"Not ranked for want of results: {listed(ground.left_out)}.")
    others = sorted(set(ground.table["protocol"]) - {ground.protocol})
    if others:
        out.append(
            f"Rows under {listed(others)} were not used for this verdict; they are shown by "
            "themselves."
        )
    return out


def _trouble(table: pd.DataFrame) -> tuple[str, ...]:
    failed = table[table["status"] == "failed"]
    if not len(failed):
        return ()
    reasons = listed(
        sorted({str(r) for r in failed["reason"].dropna()}) or ["no reason given"], most=2
    )
    return (f"Run again: {count(failed['cell'].nunique(), 'cell')} failed ({reasons}).",)


def _without_ground(table: pd.DataFrame, trouble: tuple[str, ...]) -> Verdict:
    if not len(table):
        return Verdict(
            "Nothing has been measured yet.",
            NOTHING,
            ("The table has no rows.",),
            ("Run the study.",),
        )
    if not table["usable"].any():
        bad = {s: table.loc[table["status"] == s, "cell"].nunique() for s in ("failed", "diverged")}
        said = listed([f"{n} {s}" for s, n in bad.items() if n]) or "none is done"
        return Verdict(
            "Nothing can be concluded: no cell has a number.",
            NOTHING,
            (f"Cells: {said}.",),
            trouble or ("Mend what diverged, and run again.",),
        )
    if not table["decides"].any():
        why = (
            "Every number scores a frozen encoder on labels that it was trained on, on the same "
            "images; that favours these labels and decides nothing."
        )
        return Verdict(
            "Nothing can be concluded from these rows.",
            NOTHING,
            (why,),
            (ADVICE_ON_REUSE, *trouble),
        )
    fair = table[table["decides"]][["task", "protocol"]].drop_duplicates()
    reused = set(
        table.loc[table["usable"] & ~table["decides"], ["task", "protocol"]].itertuples(
            index=False, name=None
        )
    )
    if all(pair in reused for pair in fair.itertuples(index=False, name=None)):
        why = (
            "In every task some frozen encoder meets labels that it was trained on, so the arms "
            "cannot be compared fairly."
        )
        return Verdict(
            "Nothing can be concluded from these rows.",
            NOTHING,
            (why,),
            (ADVICE_ON_REUSE, *trouble),
        )
    why = (
        "No configuration has a number in every task and shot count, on the whole test set, so "
        "there is nothing fair to rank."
    )
    return Verdict(
        "Nothing can be concluded yet.", NOTHING, (why,), trouble or ("Finish the study.",)
    )


def _next_steps(ground: _Ground, won: Winner, names: dict[str, str]) -> list[str]:
    steps = []
    if won.next_id is None:
        steps.append("Add an arm to compare with: another source, other labels, or scratch.")
    elif not won.decided:
        steps.append(_more_seeds(won, names))
    methods = {ground.facts[c]["method"] for c in ground.scores.columns}
    if "scratch" not in methods and won.next_id is not None:
        steps.append("Add a scratch arm: without one nobody can say what pre-training is worth.")
    steps += _edge(ground, won)
    tuned = set(ground.table.loc[ground.table["protocol"].isin(TUNED), "task"])
    if set(ground.reused) - tuned:
        steps.append(
            f"Fine-tune on {listed(sorted(set(ground.reused) - tuned))} as well: a frozen probe "
            "cannot compare labels there."
        )
    return steps or [
        "Nothing more is needed for this question; a larger budget or other tasks may change the "
        "answer."
    ]


def _more_seeds(won: Winner, names: dict[str, str]) -> str:
    rivals = [names[c] for c in won.not_separated]
    if won.gap.num_seeds <= 1:
        return "Run at least 2 more seeds of every arm (3 in all): one seed has no interval."
    if won.seeds_needed is None:
        return (
            f"More seeds alone will hardly tell {names[won.best_id]} from {listed(rivals)}: "
            "choose the cheapest of them, or change the study."
        )
    pairs = listed([names[won.best_id], *rivals])
    return (
        f"Run about {count(won.seeds_needed, 'more seed')} of {pairs}: if the differences stay as "
        "they are, that tells them apart."
    )


def _edge(ground: _Ground, won: Winner) -> list[str]:
    """A peak at the end of what was tried asks for one view further."""
    fact = ground.facts[won.best_id]
    if label_kind(fact["labels"]) != "level" or missing(fact["configuration_labels"]):
        return []
    same = [
        f
        for c in ground.scores.columns
        if (f := ground.facts[c])["source"] == fact["source"]
        and label_kind(f["labels"]) in ("level", "instance")
    ]
    counts = [
        float(f["configuration_labels"]) for f in same if not missing(f["configuration_labels"])
    ]
    mine = float(fact["configuration_labels"])
    if len(counts) > 1 and mine in (min(counts), max(counts)):
        return [
            f"Try {'finer' if mine == max(counts) else 'coarser'} labels too: the best view is at "
            "the end of what was tried."
        ]
    return []
