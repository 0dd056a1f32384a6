"""Pieces of HTML for a notebook: what `_repr_html_` of studies, plans, stores, decisions gives.

They take the page's own colours of text and ground, so that they suit a light page and a dark one,
load nothing, and hold text of any origin escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

from headwater import plain

ACCENT = "#2f86c1"
"""At least 3 to 1 against white and against black alike."""
_BOX = (
    "font:14px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;color:inherit;"
    f"border:1px solid rgba(128,128,128,.35);border-left:4px solid {ACCENT};border-radius:8px;"
    "padding:.7em 1em;margin:.3em 0;max-width:56em"
)
_FAINT = "opacity:.75"
_KEY = f"{_FAINT};text-align:left;vertical-align:top;padding:.1em 1.2em .1em 0;font-weight:400"
_VALUE = "text-align:left;padding:.1em 0"
_TABLE = "border:0;border-collapse:collapse;margin:.2em 0;font:inherit;color:inherit"
_MOST = 300
"""Characters of one value."""


def text(words: object) -> str:
    """Text of any origin, safe in a page."""
    return html.escape(plain.line(words, _MOST))


def box(kind: str, title: str, parts: Iterable[str], *, lead: str = "") -> str:
    """A frame with what it is (`Study`), its title and a sentence; `parts` are HTML."""
    sentence = f'<p style="margin:.2em 0 .5em">{text(lead)}</p>' if lead else ""
    return (
        f'<div class="headwater" style="{_BOX}"><div><span style="{_FAINT};font-size:12px">'
        f"{text(kind)}</span><br><strong>{text(title)}</strong></div>{sentence}{''.join(parts)}"
        "</div>"
    )


def facts(values: Mapping[str, object]) -> str:
    """A table of names and values; what is None or empty is left out."""
    rows = [
        f'<tr style="background:none"><th style="{_KEY}">{text(name)}</th>'
        f'<td style="{_VALUE}">{text(value)}</td></tr>'
        for name, value in values.items()
        if value not in (None, "")
    ]
    return f'<table style="{_TABLE}">{"".join(rows)}</table>'


def sentences(lines: Iterable[object]) -> str:
    """A list of sentences; nothing where there is none."""
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return f'<ul style="margin:.4em 0;padding-left:1.2em">{items}</ul>' if items else ""
