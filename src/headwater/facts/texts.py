"""What a text tower reads of a source's texts, and of its classes as prompts, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headwater.errors import InputError
from headwater.labels.captions import TEMPLATES, text_lists
from headwater.labels.prompts import parents_of, prompts_of
from headwater.labels.tokens import CONTEXT, read
from headwater.plan.texts import prompt_notes, reading_notes
from headwater.sources import Positions, Table


def folder_texts(table: Table, positions: Positions) -> list[dict[str, Any]]:
    """Every text field of some images."""
    return [field_facts(field, table, positions) for field in table.texts]


def field_facts(
    field: str, table: Table, positions: Positions, context: int = CONTEXT
) -> dict[str, Any]:
    """What a text tower of this context reads of one text field, or of `template`.

    Raises InputError for a field that the table lacks.
    """
    lists = text_lists(field, table, positions, field)
    there = [texts for texts in lists if texts]
    reading = read(there, context)
    notes = list(reading_notes(reading))
    if reading.one:
        notes.append("the model reads the same of every image: nothing can be learned from them")
    return {
        "field": field,
        "images": len(there),
        "texts": reading.texts,
        "cut": reading.cut,
        "told_apart": reading.told_apart,
        "context": context,
        "notes": notes,
    }


def class_notes(table: Table, positions: Positions, data: str) -> list[str]:
    """What prompts made of the finest classes do not tell apart."""
    if not table.levels:
        return []
    classes: Sequence[str] = sorted(set(table.levels[0][positions].tolist()) - {""})
    if len(classes) < 2:
        return []
    prompts = prompts_of(classes, parents_of(table), table.spoken)
    try:
        return list(prompt_notes(data, classes, prompts, TEMPLATES))
    except InputError as error:
        return [str(error)]
