"""Rates under each budget: what an image is worth depends on how long arms are trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.evidence import BEWARE, Evidence, evidence_of
from headwater.analysis.exchange.answer import ExchangeRate, curves_of_rows, exchange_rate
from headwater.analysis.exchange.families import budgets_of
from headwater.analysis.exchange.rates import RATE, VARIES
from headwater.analysis.words import listed

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.decision import Aim


@dataclass(frozen=True)
class OverBudgets:
    """The rates of two arms under each budget that both were run with."""

    a: str
    b: str
    answers: tuple[tuple[str, ExchangeRate], ...]
    """(budget, the answer under it)."""

    @property
    def span(self) -> tuple[float | None, float | None]:
        """From the least low end to the largest high end of the rates over all sizes; None where
        one of them has no such end.
        """
        rates = [answer.overall for _, answer in self.answers]
        lows = [rate.low for rate in rates if rate.kind == RATE]
        highs = [rate.high for rate in rates if rate.kind == RATE]
        known = len(lows) == len(rates)
        low = min(lows) if known and None not in lows else None  # type: ignore[type-var]
        high = max(highs) if known and None not in highs else None  # type: ignore[type-var]
        return low, high

    @property
    def sentences(self) -> list[str]:
        """The answer in words, budget by budget, and for all of them."""
        said = []
        for budget, answer in self.answers:
            own = [one for one in answer.sentences if not one.startswith(BEWARE)]
            said += [f"With {budget} of each: {one}" for one in own]
        budgets = listed([budget for budget, _ in self.answers])
        low, high = self.span
        if low is not None and high is not None:
            said.append(
                f"Whichever of {budgets} is held equal, one image of {self.b} is worth {low:.3g} "
                f"to {high:.3g} of {self.a}."
            )
        elif any(answer.overall.kind == VARIES for _, answer in self.answers):
            said.append(f"Over {budgets} there is no one rate: it differs from size to size.")
        else:
            said.append(f"Over {budgets} the rate is not bounded on both sides.")
        beware = dict.fromkeys(one for _, answer in self.answers for one in answer.beware)
        return [*said, *(f"{BEWARE}{sentence}" for sentence in beware)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "a": self.a,
            "b": self.b,
            "low": self.span[0],
            "high": self.span[1],
            "budgets": [{"budget": budget, **answer.to_dict()} for budget, answer in self.answers],
            "sentences": self.sentences,
        }


def over_budgets(
    rows: pd.DataFrame | Evidence, a: str, b: str, aim: Aim | None = None, **named: Any
) -> OverBudgets | None:
    """The rates under each budget of a study with several; None where two curves are meant that
    have one. `named` is what `exchange_rate` takes besides; errors as there.
    """
    found = rows if isinstance(rows, Evidence) else evidence_of(rows)
    if named.get("by", "images") == "shots":
        return None
    pairs = budgets_of(curves_of_rows(found, by=named.get("by", "images")), a, b)
    if not pairs:
        return None
    answers = [
        (budget, exchange_rate(found, one, other, aim, **named))
        for budget, (one, other) in pairs.items()
    ]
    return OverBudgets(a, b, tuple(answers))
