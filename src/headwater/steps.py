"""Running a study by steps, until it is decided: seeds go to the arms that are still in doubt."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from headwater import digests
from headwater.analysis import Aim, prepare
from headwater.analysis.adaptive import (
    FIRST_SEEDS,
    Look,
    error_of_a_look,
    following,
    look,
)
from headwater.analysis.evidence import evidence_of
from headwater.errors import InputError
from headwater.files import is_stray, write_atomic
from headwater.plan import Plan, PlannedArm
from headwater.store import Store, studies

if TYPE_CHECKING:
    import pandas as pd

_HOUR = 3600.0
_JOURNALS = "decisions"


@dataclass(frozen=True)
class Step:
    """A line of the journal."""

    step: int
    arms: Mapping[str, list[int]]
    """Name -> seeds that this step ran."""
    reason: str
    """Why these."""
    best: str | None
    p: float | None
    p_best: float | None
    """Of the leader."""
    regret_bound: float | None
    hours: float
    """Of all steps so far, on one worker."""
    stop: str | None
    """Why it was the last one."""


def journal_path(store: Store, study: str) -> Path:
    """Where the steps of a study are written down, a line of JSON each."""
    return store.root / _JOURNALS / f"{study}.jsonl"


def looks_error(store: Store, study: str) -> float | None:
    """The error of each look, of a study that was run by steps; None of one that was not. Raises
    InputError for a journal that cannot be read: without it nobody knows how often was looked.
    """
    store.came(_JOURNALS)
    path = journal_path(store, study)
    if not path.exists():
        return None
    try:
        first = digests.reading(lambda: path.read_text(encoding="utf-8").splitlines()[0])
        step = digests.opened(first)
        return digests.reading(lambda: error_of_a_look(float(step["until"])))
    except (OSError, ValueError):
        raise InputError(
            f"{path}: cannot be read as the journal of a study that was run by steps; run it again "
            "with --until, or remove the file to decide without it"
        ) from None


def looks_error_of(store: Store) -> float | None:
    """The smallest of the errors of all studies that were run by steps in a store; None of none."""
    errors = []
    store.came(_JOURNALS)
    for path in sorted((store.root / _JOURNALS).glob("*.jsonl")):
        try:
            errors.append(looks_error(store, path.stem))
        except InputError:
            if not is_stray(path.name):  # half a copy that a sync tool left is no journal
                raise
    return min((error for error in errors if error is not None), default=None)


def run_until(
    plan: Plan,
    store: Store,
    aim: Aim,
    *,
    until: float,
    budget_hours: float | None,
    run: Callable[[Plan], None],
    say: Callable[[Step], None] = lambda step: None,
) -> Look:
    """Runs parts of a plan by `run`, looks at their rows, and goes on with the arms in doubt; the
    last look.

    Stops when the study is decided, when what is better is so by less than the tolerance, when the
    arms in doubt have used up their seeds, or before a step that would exceed `budget_hours` of
    work (hours of one worker, from the rows' seconds). With a budget, arms in doubt are all that
    could still be the best; without one, those that a look asks for. No pre-training keeps up with
    the seeds of the arms that a step runs, so that what these are worth can be told. Every step is
    a line of the journal. Steps follow from rows alone, so that a run that was killed takes the
    same ones again.
    """
    families = _families(plan)
    have = {key: min(FIRST_SEEDS, len(arms)) for key, arms in families.items()}
    added = {key: arms[: have[key]] for key, arms in families.items()}
    reason = f"every arm starts with {FIRST_SEEDS} seeds"
    steps: list[Step] = []
    while True:
        part = _part(plan, families, have)
        said = _declared(part, store)
        run(part)
        rows = part.rows(store)
        seen = look(evidence_of(rows), aim, until=until)
        names = _names(rows, families)
        able = {key: name for key, name in names.items() if have[key] < len(families[key])}
        chosen = following(seen, able.values(), budgeted=budget_hours is not None)
        if chosen and not set(chosen) & set(seen.arms):
            why = "they can still be the best, and the seeds of the likeliest are used up"
            seen = replace(seen, reason=why)
        next_keys = [key for key, name in able.items() if name in chosen]
        next_keys += _baselines(families, have, next_keys)
        hours = _hours(rows)
        stop = seen.stop or _end(next_keys, rows, names, hours, budget_hours)
        steps.append(
            Step(
                step=len(steps) + 1,
                arms={names.get(key, key): _seeds(arms) for key, arms in added.items()},
                reason=reason,
                best=seen.decision.best,
                p=seen.decision.p,
                p_best=seen.decision.p_best.get(seen.decision.best or ""),
                regret_bound=seen.decision.regret_bound,
                hours=hours,
                stop=stop,
            )
        )
        _write(journal_path(store, plan.study.study), until, steps)
        store.went(journal_path(store, plan.study.study))
        say(steps[-1])
        if stop:
            studies.ended(store, said)
            return replace(seen, stop=stop)
        added = {key: [families[key][have[key]]] for key in next_keys}
        have.update({key: have[key] + 1 for key in next_keys})
        reason = seen.reason


def _baselines(
    families: Mapping[str, list[PlannedArm]], have: Mapping[str, int], chosen: list[str]
) -> list[str]:
    """Families without pre-training that have fewer seeds than some of the chosen will have. They
    train nothing, and have their cells alone to measure.
    """
    most = max((have[key] + 1 for key in chosen), default=0)
    return [
        key
        for key, arms in families.items()
        if arms[0].words.method == "scratch" and key not in chosen
        if have[key] < min(most, len(arms))
    ]


def _seeds(arms: list[PlannedArm]) -> list[int]:
    return [arm.words.seed for arm in arms]


def _families(plan: Plan) -> dict[str, list[PlannedArm]]:
    """Arms that differ in their seed alone, by what they are; seeds in the study's order."""
    families: dict[str, list[PlannedArm]] = {}
    for arm in plan.arms:
        families.setdefault(arm.words.model_dump_json(exclude={"seed"}), []).append(arm)
    order = {seed: place for place, seed in enumerate(plan.study.seeds)}
    for arms in families.values():
        arms.sort(key=lambda arm: order[arm.words.seed])
    return families


def _part(plan: Plan, families: Mapping[str, list[PlannedArm]], have: Mapping[str, int]) -> Plan:
    """The plan with so many seeds of each family."""
    return plan.of_arms({arm.id for key, arms in families.items() for arm in arms[: have[key]]})


def _declared(part: Plan, store: Store) -> Path:
    """Says which arms are wanted so far: workers of the store compute these and no others."""
    words, arms = part.resolved.asked.words(), {arm.id for arm in part.arms}
    return studies.put(store, part.study.study, words, part.data_root, arms)


def _names(rows: pd.DataFrame, families: Mapping[str, list[PlannedArm]]) -> dict[str, str]:
    """Family -> what the decision calls it."""
    table = prepare(rows)
    by_arm = dict(zip(table["arm"], table["name"], strict=True))
    firsts = {key: arms[0].id for key, arms in families.items()}
    return {key: str(by_arm[first]) for key, first in firsts.items() if first in by_arm}


def _hours(rows: pd.DataFrame) -> float:
    """Of the pre-training and of the cells that rows tell of, on one worker."""
    cells = rows.drop_duplicates("cell")
    trained = cells.drop_duplicates("arm")
    seconds = cells["seconds"].sum() + trained["pretrain_seconds"].sum()
    return float(seconds) / _HOUR


def _end(
    keys: list[str],
    rows: pd.DataFrame,
    names: Mapping[str, str],
    hours: float,
    budget_hours: float | None,
) -> str | None:
    """Why there is no next step, although it is not decided."""
    if not keys:
        return "the arms in doubt have used up the study's seeds"
    if budget_hours is None:
        return None
    table = prepare(rows)
    wanted = {names[key] for key in keys}
    next_hours = 0.0
    for _, of_arm in table[table["name"].isin(wanted)].groupby("name"):
        next_hours += _hours(of_arm) / of_arm["seed"].nunique()
    if hours + next_hours > budget_hours:
        return f"the next step would exceed {budget_hours:g} hours ({hours:.2f} were used)"
    return None


def _write(path: Path, until: float, steps: list[Step]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(digests.sealed({"until": until, **asdict(step)})) for step in steps]
    write_atomic(path, "\n".join(lines) + "\n")
