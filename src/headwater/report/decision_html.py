"""The decision card as a piece of HTML for a notebook, in the page's own colours.

`hw.decide` and `hw.Decision` are had from here, so that whoever asks for them sees the card.
"""

from __future__ import annotations

from headwater import fragments
from headwater.analysis.deciding import decide
from headwater.analysis.decision import Decision, shown_by
from headwater.analysis.words import count, listed, shots_words
from headwater.report.card import MOST_BARS, tiles

__all__ = ["Decision", "decide", "decision_html"]

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
        fragments.sentences((*decision.notes, *decision.elsewhere)),
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
    """The leader and the arms nearest to it, from far behind (left) to the best (right)."""
    near = [name for name in decision.means if name in decision.behind][:MOST_BARS]
    if len(near) < 2:
        return ""
    ends = [decision.behind[name] for name in near]
    furthest = max(max(lead, high) for lead, _, high in ends)
    width = max(furthest - min(0.0, *(low for _, low, _ in ends)), 1e-9)
    drawn = []
    for name, behind in zip(near, ends, strict=True):
        dot, right, left = (f"{100 * (furthest - each) / width:.2f}" for each in behind)
        words = "leads" if name == decision.best else f"{100 * behind[0]:.1f} behind"
        drawn.append(_bar(name, (left, dot, right), words, faint=name not in decision.shortlist))
    further = max(0, len(decision.behind) - MOST_BARS)
    more = f" {further} more arms are further behind." if further else ""
    return (
        f'<div style="{_GRID}">{"".join(drawn)}</div><div style="{_SMALL}">Points '
        "behind the leader, with 95 % intervals over seeds of each arm by itself. Faint: it cannot "
        f"be the best.{more}</div>"
    )


def _bar(name: str, places: tuple[str, str, str], words: str, *, faint: bool) -> str:
    """An arm's name, its interval and mean (`places` of left end, mean and right end, in percent
    of the width), and its distance.
    """
    left, dot, right = places
    dim = "opacity:.45;" if faint else ""
    line = f'stroke="{fragments.ACCENT}" vector-effect="non-scaling-stroke"'
    return (
        f'<span style="{dim}overflow-wrap:anywhere">{fragments.text(name)}</span>'
        f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" '
        f'style="{dim}display:block;width:100%;height:.95em;overflow:visible">'
        f'<line x1="{left}" x2="{right}" y1="5" y2="5" {line} stroke-width="2"/>'
        f'<line x1="{dot}" x2="{dot}" y1="1" y2="9" {line} stroke-width="4"/></svg>'
        f'<span style="{dim}text-align:right">{fragments.text(words)}</span>'
    )


def _next(decision: Decision) -> str:
    steps = fragments.sentences(step.text for step in decision.next)
    return f'<div style="{_SMALL};margin-top:.5em">Run next</div>{steps}' if steps else ""


shown_by(decision_html)
