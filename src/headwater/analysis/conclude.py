"""The verdict: the decision in sentences, and what the analyses add to it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from headwater.analysis.axes import axis_sentences
from headwater.analysis.configurations import Configuration, prepare
from headwater.analysis.copied import copies_sentences
from headwater.analysis.deciding import decide
from headwater.analysis.decision import (
    ALONE,
    AS_GOOD,
    ONE_SEED,
    OPEN,
    Aim,
    Decision,
)
from headwater.analysis.evidence import BEWARE, Evidence, Line, evidence_of
from headwater.analysis.images import Answers
from headwater.analysis.kept import kept
from headwater.analysis.lines import headline_of
from headwater.analysis.meanings import told
from headwater.analysis.next_steps import further_steps
from headwater.analysis.prices import price_sentence
from headwater.analysis.words import count, listed, percent, points, shots_words
from headwater.registry import ANALYSES

if TYPE_CHECKING:
    import pandas as pd

ADVICE_ON_COPIES = "Give the task test images that are not among its train and val images."
ADVICE_ON_REUSE = "Fine-tune on the same tasks, or add a task with other labels."


@dataclass(frozen=True)
class Verdict:
    """What to pre-train on, as far as the rows can say, for people.

    Words are None where they do not apply (no labels for simclr, no data).
    """

    answer: str
    """One sentence: what to pre-train on."""
    decision: Decision
    sentences: tuple[str, ...]
    """The grounds: how sure, which source, labels and method with the rest held equal, what
    pre-training is worth.
    """
    next_steps: tuple[str, ...]
    source: str | None = None
    labels: str | None = None
    method: str | None = None
    cells: tuple[str, ...] = ()
    """Ids of the cells that decide."""

    @property
    def confidence(self) -> str:
        return self.decision.confidence


def verdict(
    rows: pd.DataFrame, aim: Aim | None = None, *, answers: Answers | None = None
) -> Verdict:
    """The advice that the rows support, for what is asked (`Aim`). `answers` gives what each cell
    answered, image by image (`decide`).

    Never raises for want of data; InputError where a required column of the schema is missing.
    """
    return _advice(prepare(rows), _Asked(aim or Aim(), answers))


@dataclass(frozen=True)
class _Asked:
    """What a verdict is asked for; a report asks twice."""

    aim: Aim
    answers: Answers | None

    def __hash__(self) -> int:
        return hash(repr(self.aim))


@kept
def _advice(table: pd.DataFrame, asked: _Asked) -> Verdict:
    aim, answers = asked.aim, asked.answers
    found = evidence_of(table)
    decision = decide(table, aim, answers=answers)
    line = headline_of(found, aim)
    if line is None or decision.best is None:
        nothing = _without_answer(table, decision)
        return replace(nothing, sentences=(*nothing.sentences, *_beware(table)))
    best = next(arm for arm in line.arms if arm.name == decision.best)
    return Verdict(
        answer=_answer(best, decision),
        decision=decision,
        sentences=(
            _measured(decision),
            _how_sure(decision),
            *_cost_of_being_wrong(decision),
            *_price(decision),
            *other_images(decision),
            *axis_sentences(line, decision, best),
            *decision.elsewhere,
            *_asides(decision, found),
            *(sentence for question in ANALYSES for sentence in question.grounds(table)),
            *_beware(table),
        ),
        next_steps=(
            *_first_steps(table),
            *(step.text for step in decision.next),
            *further_steps(line, best, found, has_steps=bool(decision.next)),
        ),
        source=best.source,
        labels=best.labels,
        method=best.method,
        cells=_cells(table, line),
    )


def _beware(table: pd.DataFrame) -> tuple[str, ...]:
    """What was not as it should be in the table itself."""
    return tuple(f"{BEWARE}{sentence}" for sentence in (*told(table), *copies_sentences(table)))


def _notes(decision: Decision) -> list[str]:
    """What the decision says of itself, but for what is said at the end."""
    return [note for note in decision.notes if not note.startswith(BEWARE)]


def _cells(table: pd.DataFrame, line: Line) -> tuple[str, ...]:
    shots = table["shots"].fillna(-1).astype("int64")
    used = table[
        table["decides"]
        & table["configuration"].isin([arm.id for arm in line.arms])
        & (table["protocol"] == line.protocol)
        & table["task"].isin(line.tasks)
        & shots.isin(line.shots)
    ]
    return tuple(sorted(set(used["cell"])))


def _answer(best: Configuration, decision: Decision) -> str:
    what = (
        "No pre-training came out ahead: train from scratch"
        if best.method == "scratch"
        else f"Pre-train {_spelled(best)}"
    )
    if decision.confidence == ALONE:
        return f"{what}: it is all that was measured, so nothing recommends it over something else."
    if decision.sure:
        return f"{what}."
    if decision.confidence == AS_GOOD:
        least = f"{100 * decision.tolerance:g} points"
        return f"{what}: whatever is better is so by less than {least}."
    others = len(decision.shortlist) - 1
    if decision.lead == 0:
        tied = listed([name for name in decision.shortlist if name != decision.best])
        return f"{what}, or equally well {tied}: they tie."
    return f"{what}, for now: {count(others, 'other')} could still be the best."


def _spelled(best: Configuration) -> str:
    source = "" if best.source is None else f" on {best.source}"
    if best.labels is None or best.method != "supervised":
        return f"with {best.context}{source}"
    classes = "" if best.num_labels is None else f" ({best.num_labels:.0f} classes)"
    method, _, labels = best.context.partition(" ")
    return f"{method}{source} with labels {labels}{classes}"


def _measured(decision: Decision) -> str:
    where = f"on {decision.tasks[0]}"
    if len(decision.tasks) > 1:
        where = f"on average over {len(decision.tasks)} tasks ({listed(decision.tasks)})"
    return (
        f"It answers {percent(decision.mean)} right {where}, {decision.protocol}, "
        f"{shots_words(decision.shots)}, {count(decision.num_seeds, 'seed')}."
    )


def _how_sure(decision: Decision) -> str:
    if decision.confidence == ALONE:
        return "How sure: there is one configuration, and nothing to compare it with."
    lead = f"How sure: it is {points(decision.lead)} ahead of {decision.runner_up}"
    if decision.confidence == ONE_SEED:
        return f"{lead} (no interval). Another seed may change the order."
    assert decision.best is not None
    chance = f"{lead}, and the best with probability {decision.p_best[decision.best]:.2f}"
    others = len(decision.means) - 1
    if decision.sure:
        ahead = "ahead of it" if others == 1 else f"ahead of each of the {others} others"
        return f"{chance}; it is {ahead} by more than chance."
    rivals = [name for name in decision.shortlist if name != decision.best]
    if decision.confidence == OPEN and not rivals:
        return f"{chance}; that may still be chance."
    return f"{chance}. Could be the best as well: {listed(rivals)}."


def _cost_of_being_wrong(decision: Decision) -> list[str]:
    if decision.regret_bound is None or decision.best is None:
        return []
    expected = 100 * decision.expected_regret[decision.best]
    return [
        f"If it is not the best: it costs at most {100 * decision.regret_bound:.1f} points against "
        f"the best (95 %), and {expected:.1f} on average."
    ]


def _price(decision: Decision) -> list[str]:
    own = None if decision.best is None else decision.costs.get(decision.best)
    return [] if own is None else [price_sentence(decision, own)]


def other_images(decision: Decision) -> list[str]:
    """A sentence on whether the answer holds for other test images of the same kind; none where
    there is no interval.
    """
    if decision.regret_bound is None or decision.best is None:
        return []
    new = decision.new_images
    if new is None:
        return ["This is said of these test images; others of the same kind may differ more."]
    cost = f"it costs at most {points(new.regret_bound)}"
    chance = f"the best with probability {new.p_best[decision.best]:.2f}"
    if new.sure:
        return [f"On other test images of the same kind it is the best as well ({cost})."]
    rivals = [name for name in new.shortlist if name != decision.best]
    could = f", and {listed(rivals, most=4)} could be the best" if rivals else ""
    untold = " that is not told: it is" if decision.sure else " it is"
    return [f"On other test images of the same kind{untold} {chance}, {cost}{could}."]


def _asides(decision: Decision, found: Evidence) -> list[str]:
    sentences = _notes(decision)
    if found.leak_free:
        seen = [arm.name for arm in found.arms if arm.id in found.leak_free]
        sentences.append(
            f"Test images that pre-training has seen are left out of the scores of {listed(seen)}; "
            "other arms are scored on all."
        )
    tasks = {setting.task for setting in found.settings}
    for why in dict.fromkeys(decision.left_out.values()):
        names = [name for name, reason in decision.left_out.items() if reason == why]
        role = "Set aside" if set(names) <= tasks else "Not ranked"
        sentences.append(f"{role}: {listed(names)} ({why}).")
    others = sorted({setting.protocol for setting in found.settings} - {decision.protocol})
    if others:
        sentences.append(
            f"Rows under {listed(others)} were not used for this verdict; they are shown by "
            "themselves."
        )
    return sentences


def _first_steps(table: pd.DataFrame) -> tuple[str, ...]:
    """What the analyses want done before anything else."""
    return tuple(step for question in ANALYSES for step in question.next_steps(table))


def _without_answer(table: pd.DataFrame, decision: Decision) -> Verdict:
    """Why nothing can be concluded."""
    trouble = _first_steps(table)
    if not len(table):
        return Verdict(
            "Nothing has been measured yet.",
            decision,
            ("The table has no rows.",),
            ("Run the study.",),
        )
    if not table["usable"].any():
        return Verdict(
            "Nothing can be concluded: no cell has a number.",
            decision,
            (f"Cells: {_lost(table)}.",),
            trouble or ("Mend what diverged, and run again.",),
        )
    if table["copied"][table["usable"]].all():
        return Verdict(
            "Nothing can be concluded from these rows.",
            decision,
            (),
            (ADVICE_ON_COPIES, *trouble),
        )
    if (why := _reuse_everywhere(table)) is not None:
        return Verdict(
            "Nothing can be concluded from these rows.",
            decision,
            (why,),
            (ADVICE_ON_REUSE, *trouble),
        )
    why = (
        "No configuration has a number in every task and shot count, on the whole test set, so "
        "there is nothing fair to rank."
    )
    notes = tuple(_notes(decision))
    return Verdict(
        "Nothing can be concluded yet.",
        decision,
        notes or (why,),
        trouble or ("Train longer, or on more images.",)
        if notes
        else trouble or ("Finish the study.",),
    )


def _lost(table: pd.DataFrame) -> str:
    """'2 failed and 1 diverged'."""
    lost = []
    for status in ("failed", "diverged"):
        if num_cells := table.loc[table["status"] == status, "cell"].nunique():
            lost.append(f"{num_cells} {status}")
    return listed(lost) if lost else "none is done"


def _reuse_everywhere(table: pd.DataFrame) -> str | None:
    """How re-used labels leave nothing to decide by; None where they leave something."""
    if not table["decides"].any():
        return (
            "Every number scores a frozen encoder on labels that it was trained on, on the same "
            "images; that favours these labels and decides nothing."
        )
    reused = _task_protocols(table[table["usable"] & ~table["decides"]])
    if _task_protocols(table[table["decides"]]) <= reused:
        return (
            "In every task some frozen encoder meets labels that it was trained on, so the arms "
            "cannot be compared fairly."
        )
    return None


def _task_protocols(rows: pd.DataFrame) -> set[tuple[str, str]]:
    """The different (task, protocol) of some rows."""
    return set(rows[["task", "protocol"]].itertuples(index=False, name=None))
