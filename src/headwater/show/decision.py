"""A decision in text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from headwater.analysis.conclude import other_images
from headwater.analysis.prices import price_sentence
from headwater.analysis.words import count, listed, money_word, shots_counts, shots_words
from headwater.show.console import console

if TYPE_CHECKING:
    from headwater.analysis import Decision, VarianceBudget

_MOST = 12
"""Arms in the table."""
_console = console(soft_wrap=True, highlight=False)


def print_decision(
    decision: Decision, budget: VarianceBudget | None = None, *, tables: bool = False
) -> None:
    """The answer, how sure it is, the arms that could be the best, what next, and what its
    uncertainty is made of (`tables`: in all parts).
    """
    _say(decision.headline, style="bold")
    for note in decision.notes:
        _say(f"  {note}")
    if decision.best is None:
        return
    _say(f"  {_ground(decision)}")
    if decision.regret_bound is not None:
        _say(
            f"  If it is not the best, it costs at most {100 * decision.regret_bound:.1f} points "
            f"(95 %), {100 * decision.expected_regret[decision.best]:.1f} on average."
        )
    for sentence in (*other_images(decision), *decision.elsewhere):
        _say(f"  {sentence}")
    if decision.as_good:
        _say(f"  As good within {100 * decision.tolerance:g} points: {listed(decision.as_good)}.")
    if (own := decision.costs.get(decision.best)) is not None:
        _say(f"  {price_sentence(decision, own)}")
    _console.print(_arms(decision))
    if decision.stopped_early:
        _say(f"  stopped early, so no estimates: {listed(list(decision.stopped_early))}")
    for name, why in decision.left_out.items():
        _say(f"  left out: {name} ({why})")
    for step in decision.next:
        _say(f"  next: {step.text}")
    if budget is not None:
        for sentence in budget.sentences():
            _say(f"  {sentence}")
        if tables:
            _console.print(_components(budget))
            _console.print(_halvings(budget))
    if len(decision.lines) > 1:
        _console.print(_lines(decision))


def _ground(decision: Decision) -> str:
    return (
        f"{decision.protocol}, {shots_words(decision.shots)}, {listed(decision.tasks)}, "
        f"{count(decision.num_seeds, 'seed')}"
    )


def _arms(decision: Decision) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("mean %", "could be best", "P(best)", "expected regret"):
        table.add_column(heading, justify="right")
    if decision.costs:
        table.add_column("price", justify="right")
    for name, mean in list(decision.means.items())[:_MOST]:
        chance, regret = decision.p_best.get(name), decision.expected_regret.get(name)
        cost = decision.costs.get(name)
        price = ["not known" if cost is None else money_word(cost)] if decision.costs else []
        table.add_row(
            name,
            f"{100 * mean:.1f}",
            "yes" if name in decision.shortlist else "",
            "" if chance is None else f"{chance:.2f}",
            "" if regret is None else f"{100 * regret:.1f}",
            *price,
        )
    if len(decision.means) > _MOST:
        table.add_row(f"and {len(decision.means) - _MOST} more", "", "", "", "")
    return table


def _components(budget: VarianceBudget) -> Table:
    of = f"Variance of the lead of {budget.leader} over {listed(budget.rivals)}"
    table = Table(box=None, pad_edge=False, title=of, title_justify="left")
    table.add_column("")
    for heading in ("SD, points", "share", "now"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for part in budget.components:
        table.add_row(
            part.name,
            "" if part.variance is None else f"{100 * part.variance**0.5:.2f}",
            "" if part.share is None else f"{100 * part.share:.0f} %",
            "" if part.number is None else f"{part.number:,.4g}",
            part.note,
        )
    return table


def _halvings(budget: VarianceBudget) -> Table:
    table = Table(box=None, pad_edge=False, title="What halves the interval", title_justify="left")
    for heading in ("", f"here (now \u00b1 {100 * budget.here.half:.1f} points)"):
        table.add_column(heading)
    table.add_column(f"other images and tasks (now \u00b1 {100 * budget.anywhere.half:.1f})")
    here = {way.name: way.words() for way in budget.here.ways}
    for way in budget.anywhere.ways:
        table.add_row(way.name, here.pop(way.name, ""), way.words())
    for name, words in here.items():
        table.add_row(name, words, "")
    return table


def _lines(decision: Decision) -> Table:
    table = Table(box=None, pad_edge=False, title="By protocol and images", title_justify="left")
    for heading in ("protocol", "images per class", "best", "all together", "could be best, alone"):
        table.add_column(heading)
    for line in decision.lines:
        table.add_row(
            line.protocol or "",
            shots_counts(line.shots),
            line.best or "",
            line.confidence,
            f"{len(line.shortlist)} of {len(line.means)}",
        )
    return table


def _say(text: str, style: str | None = None) -> None:
    _console.print(text, markup=False, style=style)
