"""The decision card as a piece of HTML for a notebook, in the page's own colours."""

from __future__ import annotations

from headwater import fragments
from headwater.analysis.decision import Decision
from headwater.analysis.words import count, listed, shots_words
from headwater.report.card import MOST_BARS, Bar, bars, tiles

_GRID = (
    "display:grid;grid-template-columns:minmax(0,16em) minmax(5em,1fr) 7em;gap:.2em .9em;"
    "align-items:center;font-size:13px"
)
_TILES = (
    "display:grid;grid-template-columns:repeat(auto-fit,minmax(11em,1fr));gap:.6em;margin:.5em 0"
)
_TILE = "padding:.4em .7em;background:rgba(128,128,128,.1);border-radius:6px"
_SMALL = "opacity:.75;font-size:12px"


def decision_html(decision: Decision) -> str:
    """The headline, how sure it is, what being wrong costs, the arms as a picture, what next."""
    ground = "" if decision.best is None else _ground(decision)
    parts = [
        _tiles(decision),
        _picture(decision),
        fragments.sentences(decision.notes),
        _next(decision),
    ]
    return fragments.box(
        f"Decision \u00b7 {decision.confidence}", decision.headline, parts, lead=ground
    )


def _ground(decision: Decision) -> str:
    return (
        f"{decision.protocol}, {shots_words(decision.shots)}, {listed(decision.tasks)}, "
        f"{count(decision.num_seeds, 'seed')}"
    )


def _tiles(decision: Decision) -> str:
    text = fragments.text
    shown = [
        f'<div style="{_TILE}"><div style="{_SMALL}">{text(tile.label)}</div>'
        f'<div style="font-size:18px;font-weight:600">{text(tile.number)}</div>'
        f'<div style="{_SMALL}">{text(tile.note)}</div></div>'
        for tile in tiles(decision)
    ]
    return f'<div style="{_TILES}">{"".join(shown)}</div>' if shown else ""


def _picture(decision: Decision) -> str:
    drawn = bars(decision)
    if not drawn:
        return ""
    further = max(0, len(decision.behind) - MOST_BARS)
    more = f" {further} more arms are further behind." if further else ""
    return (
        f'<div style="{_GRID}">{"".join(map(_bar, drawn))}</div><div style="{_SMALL}">Points '
        "behind the leader, with 95 % intervals over seeds of each arm by itself. Faint: it cannot "
        f"be the best.{more}</div>"
    )


def _bar(bar: Bar) -> str:
    faint = "" if bar.may_be_best else "opacity:.45;"
    line = f'stroke="{fragments.ACCENT}" vector-effect="non-scaling-stroke"'
    return (
        f'<span style="{faint}overflow-wrap:anywhere">{fragments.text(bar.name)}</span>'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        f'style="{faint}display:block;width:100%;height:.95em;overflow:visible">'
        f'<line x1="{bar.low}" x2="{bar.high}" y1="5" y2="5" {line} stroke-width="2"/>'
        f'<line x1="{bar.dot}" x2="{bar.dot}" y1="1" y2="9" {line} stroke-width="4"/></svg>'
        f'<span style="{faint}text-align:right">{fragments.text(bar.text)}</span>'
    )


def _next(decision: Decision) -> str:
    steps = fragments.sentences(step.text for step in decision.next)
    return f'<div style="{_SMALL};margin-top:.5em">Run next</div>{steps}' if steps else ""
