"""A chart with all its panels as a page: the same shell as the report, a figure a panel, so that it
can be read on a phone, in the dark and without seeing.

A specification that is composed for an image (panels side by side, captions as drawn text) is taken
apart: its rows with a title become sections, what it says in a subtitle or a caption becomes text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from headwater.report.charts.theme import Spec
from headwater.report.shell import anchors, rendered

_COMPOSED = ("vconcat", "hconcat", "concat")


@dataclass
class _Figure:
    title: str
    reading: list[str]
    spec: Spec
    anchor: str = ""

    @property
    def wide(self) -> bool:
        """Whether it has a line for each of many, with intervals that need the width."""
        encoding = self.spec["layer"][-1]["encoding"] if "layer" in self.spec else {}
        return "yOffset" in encoding


@dataclass
class _Part:
    """A section: its title ('' has no heading), how to read it, and its panels by their number."""

    title: str
    reading: list[str]
    anchor: str = ""
    panels: list[tuple[int, _Figure]] = field(default_factory=list)


def chart_page(spec: Spec, *, title: str) -> str:
    """The HTML of a titled Vega-Lite specification; its panels hold their data themselves."""
    parts = _parts(spec, title)
    names = anchors("part", [part.title for part in parts])
    for part in parts:
        part.anchor = names[part.title]
    figures = [figure for part in parts for _, figure in part.panels]
    for number, figure in enumerate(figures, start=1):
        figure.anchor = f"figure-{number}"
    data = {
        "panels": [{"spec": figure.spec, "words": figure.title} for figure in figures],
    }
    reading = _words(spec.get("title"), "subtitle")
    return rendered("charts.html", title=title, reading=reading, parts=parts, data=data)


def _parts(spec: Spec, title: str) -> list[_Part]:
    body = {name: value for name, value in spec.items() if name != "title"}
    parts: list[_Part] = []
    number = 0
    for row in body.get("vconcat", [body]):
        caption = _caption(row)
        if caption is not None and parts:
            parts[-1].reading.append(caption)
            continue
        heading = _heading(row)
        if heading is not None or not parts:
            parts.append(_Part(heading or "", _words(row.get("title"), "subtitle")))
        for panel in _leaves(row):
            figure = _figure(panel, parts[-1].title or title, own=panel is not row)
            parts[-1].panels.append((number, figure))
            number += 1
    return parts


def _heading(row: Spec) -> str | None:
    """What a row of the whole is called, where it begins a section."""
    words = _words(row.get("title"), "text")
    return words[0] if words else None


def _leaves(spec: Spec) -> Iterator[Spec]:
    """The panels of a composition, from left to right and down."""
    for name in _COMPOSED:
        if name in spec:
            for part in spec[name]:
                yield from _leaves(part)
            return
    yield spec


def _figure(panel: Spec, otherwise: str, *, own: bool) -> _Figure:
    """A panel; its title and what stands below it are its `own`, or were its section's."""
    words = _words(panel.get("title"), "text") if own else []
    told = str(panel.get("description") or (words[0] if words else otherwise))
    spec = {name: value for name, value in panel.items() if name not in ("title", "width")}
    return _Figure(told, _words(panel.get("title"), "subtitle") if own else [], spec)


def _caption(row: Spec) -> str | None:
    """The sentences of a row that draws nothing but text."""
    mark = row.get("mark")
    if isinstance(mark, dict) and mark.get("type") == "text" and "encoding" not in row:
        text = mark.get("text", "")
        return " ".join(text) if isinstance(text, list) else str(text)
    return None


def _words(title: Any, name: str) -> list[str]:
    """The text or the subtitle of a title, which may be a text itself; no line, one or several."""
    if not isinstance(title, dict):
        return [str(title)] if title and name == "text" else []
    words = title.get(name) or []
    return [str(word) for word in words] if isinstance(words, list) else [str(words)]
