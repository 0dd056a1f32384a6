"""What several analyses ask of one table, computed once.

A report asks for the summary of its table four times, and of a million rows each takes seconds.
Inside `with keeping(table):` the functions marked `@kept` give what they gave before, where they
are asked of this very table with the same options. Whoever opens the block does not change the
table in it, and nobody changes what these functions give.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    import pandas as pd

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True)
class _Answers:
    """What has been computed of a table."""

    table: pd.DataFrame
    by_question: dict[Hashable, Any] = field(default_factory=dict)


_answers: ContextVar[_Answers | None] = ContextVar("answers", default=None)


@contextmanager
def keeping(table: pd.DataFrame) -> Iterator[None]:
    """Keeps what is computed of a prepared table until the block ends.

    A block within a block on the same table adds to what the outer one keeps.
    """
    outer = _answers.get()
    same = outer is not None and outer.table is table
    token = _answers.set(outer if same else _Answers(table))
    try:
        yield
    finally:
        _answers.reset(token)


def kept(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """A function of a table (and of options that can be hashed) whose answers are kept."""

    @wraps(function)
    def asked(*given: _P.args, **options: _P.kwargs) -> _R:
        answers = _answers.get()
        if answers is None or not given or answers.table is not given[0]:
            return function(*given, **options)
        question = (function, given[1:], tuple(sorted(options.items())))
        if question not in answers.by_question:
            answers.by_question[question] = function(*given, **options)
        answer: _R = answers.by_question[question]
        return answer

    return asked
