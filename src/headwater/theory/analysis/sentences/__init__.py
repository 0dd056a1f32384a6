"""What a table of simulated networks says, a sentence a question, and what it cannot say.

errors       coarse against fine labels; the plane of k and noise
transitions  the k at which coarse labels fail, and what moves it
responses    fine features against common ones, and which are learned first
labels       the error over the number of labels: is it a U?
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.analysis.words import missing
from headwater.theory.analysis.sentences.answer import Answer
from headwater.theory.analysis.sentences.errors import errors_answer, phase_answer
from headwater.theory.analysis.sentences.labels import curve_answer
from headwater.theory.analysis.sentences.responses import gradual_answer, ratio_answer
from headwater.theory.analysis.sentences.transitions import dependence_answer, transition_answer
from headwater.theory.analysis.settings import CONSTANTS, finished, main_read_out, networks, tied

if TYPE_CHECKING:
    import pandas as pd


class Question(NamedTuple):
    """A question, and what answers it from the table."""

    text: str
    answer: Callable[[pd.DataFrame], Answer]


QUESTIONS = {
    "errors": Question(
        "Do coarse labels leave hard samples wrong where fine labels do not?", errors_answer
    ),
    "transition": Question(
        "At how many subclasses do coarse labels stop being enough for hard samples?",
        transition_answer,
    ),
    "dependence": Question("What moves that number?", dependence_answer),
    "ratio": Question(
        "Do responses to fine features fall as 1/k of those to common ones under coarse labels?",
        ratio_answer,
    ),
    "phase": Question(
        "Over which k and noise of the hard samples do coarse and fine labels fail?", phase_answer
    ),
    "curve": Question("Is the error a U in the number of labels?", curve_answer),
    "gradual": Question("Which features are learned first?", gradual_answer),
}


def findings(table: pd.DataFrame) -> dict[str, Any]:
    """Everything that the table says, ready for JSON (no NaN: what is not known is None).

    networks, seeds, unconverged: counts. read_out: the one that sentences speak of. tied: constants
    that vary only together with labels or k, so that their effect cannot be told from theirs.
    answers: for each key of `QUESTIONS` its question, answered (bool), sentence ("Not in this
    table: ..." where it is not answered) and lines (the records of the analysis that it rests on).
    Raises InputError where a column is missing.
    """
    ends = finished(table)
    trained = networks(ends).drop_duplicates(["subclasses", "labels", "seed", *CONSTANTS])
    answers = {}
    for name, question in QUESTIONS.items():
        answer = question.answer(table)
        answers[name] = {
            "question": question.text,
            "answered": answer.answered,
            "sentence": answer.sentence,
            "lines": _plain(answer.lines),
        }
    return {
        "networks": len(trained),
        "seeds": int(trained["seed"].nunique()),
        "unconverged": int((~trained["converged"].astype(bool)).sum()),
        "read_out": main_read_out(ends),
        "tied": tied(ends),
        "answers": answers,
    }


def _plain(lines: pd.DataFrame) -> list[dict[str, Any]]:
    records = []
    for row in lines.astype(object).to_dict("records"):
        records.append({str(name): _value(value) for name, value in row.items()})
    return records


def _value(value: Any) -> Any:
    """Values as JSON has them: numpy's scalars as Python's, tuples as lists, nothing as None."""
    if isinstance(value, tuple):
        return [_value(item) for item in value]
    if missing(value):
        return None
    return value.item() if hasattr(value, "item") else value
