"""Text of any origin: what is shown obeys nobody, and what enters is text."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from rich.table import Table

from headwater import plain
from headwater.show.console import PlainConsole, name_of

HOSTILE = {
    "a colour": "\x1b[31mred",
    "a title": "\x1b]0;owned\x07",
    "C1": "\x9b31mred",
    "an override": "photo\u202egnp.exe",
    "an isolate": "a\u2066b\u2069",
    "a mark": "a\u200fb",
    "a bell": "\x07",
    "a return": "fine\rFORGED",
    "backspaces": "bad\x08\x08\x08ok",
    "delete": "a\x7fb",
    "half a pair": "a\udc9bb",
    "tags": "a\U000e0041b",
    "a separator": "a\u2028b",
}
HELD = {character for text in HOSTILE.values() for character in text if ord(character) > 0x7E}
HELD |= {character for text in HOSTILE.values() for character in text if ord(character) < 0x20}
HELD |= {"\x7f"}


def obeyed(text: str) -> set[str]:
    """The characters of a text that a terminal would obey."""
    return set(text) & HELD


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_shown_holds_nothing_that_is_obeyed(text: str) -> None:
    for way in (plain.shown, plain.line, plain.name):
        assert not obeyed(way(text))


@pytest.mark.parametrize("text", ["rose", "pâté · 雪", "שלום", "👩‍🌾"])
def test_words_of_any_language_are_shown_as_they_are(text: str) -> None:
    assert plain.shown(text) == plain.line(text) == plain.name(text) == text
    assert plain.stray(text) is None


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_obeyed_is_found_where_text_enters(text: str) -> None:
    assert plain.stray(text) is not None


def test_a_name_is_one_line_and_a_sentence_may_be_several() -> None:
    assert plain.stray("a\nb") == "a line break (\\n)"
    assert plain.stray("a\nb", lines=True) is None
    assert plain.name("a\nheadwater: fine") == "a\\nheadwater: fine"


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_json_is_safe_in_a_terminal_and_says_the_very_text(text: str) -> None:
    written = plain.json_text({text: [text, 1, None]}, indent=1)
    assert not obeyed(written.replace("\n", ""))
    assert json.loads(written) == {text: [text, 1, None]}


def test_cleaning_reaches_every_text_of_a_specification() -> None:
    spec: dict[str, Any] = {"a\x1b": ["\x1b", {"b": ("\x1b", 1.5, None)}], "n": 3}
    assert plain.cleaned(spec) == {"a\ufffd": ["\ufffd", {"b": ["\ufffd", 1.5, None]}], "n": 3}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_console_prints_nothing_of_a_text_that_a_terminal_would_obey(text: str) -> None:
    """In a line, with markup and without, in a table's cells and headings, in colour."""
    out = io.StringIO()
    console = PlainConsole(
        file=out, force_terminal=True, width=200, color_system="standard", highlight=False
    )
    table = Table(name_of(text), title=text)
    table.add_row(text)
    console.print(text, markup=False)
    console.print(f"[bold]{name_of(text)}[/bold]")
    console.print(table)
    printed = out.getvalue()
    for own in ("\x1b[1m", "\x1b[0m", "\x1b[3m", "\n"):
        printed = printed.replace(own, "")
    assert not obeyed(printed)


def test_brackets_of_a_name_are_no_markup() -> None:
    out = io.StringIO()
    PlainConsole(file=out, width=80).print(f"[bold]{name_of('[red]x[/red]')}[/bold]")
    assert out.getvalue() == "[red]x[/red]\n"
