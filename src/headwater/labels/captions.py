"""Texts that go with images: which there are, and which one an epoch uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import key, uniform
from headwater.labels.prompts import parents_of, prompts_of, spoken
from headwater.labels.tokens import words_of
from headwater.labels.views import rate_text
from headwater.sources import Positions, Table
from headwater.sources.strings import Lists

TEMPLATES = (
    "a photo of a {}.",
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""CLIP's default prompt and its "best 7 of 80" for ImageNet, spelled as there (Radford et al. 2021,
Prompt_Engineering_for_ImageNet.ipynb).
"""


def parse_captions(text: str) -> tuple[str, float | None]:
    """(text field, rate of swapped captions or None) of `FIELD` or `FIELD with swaps:R`.

    Raises InputError for a rate outside [0, 1].

    `captions_name` writes it back in one form.
    """
    field, _, rest = " ".join(text.split()).partition(" with swaps:")
    if not rest:
        return text, None
    try:
        rate = float(rest)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1:
        raise InputError(f"{text!r}: a rate of swapped captions is between 0 and 1")
    return field, rate


def captions_name(text: str) -> str:
    """One form of a field with swaps, however the rate was written."""
    field, rate = parse_captions(text)
    return field if rate is None else f"{field} with swaps:{rate_text(rate)}"


def caption_lists(
    field: str, table: Table, positions: Positions, where: str
) -> Sequence[list[str]]:
    """The captions of each image at `positions`, at least one each, from a text field of the table.

    The field `template` is made, not read: the class of level:0 in each of TEMPLATES, as people
    call it (headwater.labels.prompts). Raises InputError for a field that the table lacks and for
    an image without a caption, or with none that has a word in it.
    """
    lists = text_lists(field, table, positions, where)
    empty = _empty(lists)
    if empty:
        first = table.ids[positions[empty[0]]]
        raise InputError(
            f"{where}: {len(empty)} of {len(lists)} images have no {field!r}, the first is "
            f"{first!r}; give it one, or filter them"
        )
    return lists


def text_lists(field: str, table: Table, positions: Positions, where: str) -> Sequence[list[str]]:
    """`caption_lists`, with no text for an image that has none. Raises InputError for a field that
    the table lacks.
    """
    if field == "template":
        return _from_templates(table, positions, where)
    if field not in table.texts:
        raise InputError(
            f"{where}: there is no text field {field!r}; it has "
            f"{', '.join([*sorted(table.texts), 'template'])}"
        )
    values: Any = table.texts[field][positions]
    return values if isinstance(values, Lists) else [_listed(value) for value in values.tolist()]


def choose(
    lists: Sequence[Sequence[str]], epoch: int, seed: int, hashes: NDArray[np.int64]
) -> list[str]:
    """One caption per image for an epoch: a keyed draw by (seed, epoch, sample hash), the same in
    whatever batch an image comes.

    `hashes` is int64 [num_images], from keys.sample_hashes of the images' ids, aligned with
    `lists`.
    """
    draws = uniform(key(seed, "caption", epoch), hashes, 1)[:, 0].tolist()
    return [texts[int(draw * len(texts))] for texts, draw in zip(lists, draws, strict=True)]


def _listed(value: object) -> list[str]:
    """A field's value as a list of texts that say something; a single text is allowed."""
    texts = (
        [value]
        if isinstance(value, str)
        else list(value)
        if isinstance(value, list | tuple)
        else []
    )
    return [text for text in texts if isinstance(text, str) and text.strip()]


def _empty(lists: Sequence[list[str]]) -> list[int]:
    """Rows of images that have no text with a word in it."""
    if not isinstance(lists, Lists):
        return [row for row, texts in enumerate(lists) if _says_nothing(texts)]
    import pyarrow.compute as pc

    begins = pc.match_substring_regex(lists.arrow.flatten(), "^[0-9A-Za-z]")
    count = np.concatenate([[0], np.cumsum(begins.to_numpy(zero_copy_only=False))])
    ends = np.concatenate([[0], np.cumsum(lists.lengths())])
    doubtful = np.flatnonzero(count[ends[1:]] == count[ends[:-1]])
    return [row for row in doubtful.tolist() if _says_nothing(lists[row])]


def _says_nothing(texts: Sequence[str]) -> bool:
    """Whether no text has a word that a tokenizer reads; nearly all begin with a letter."""
    return not any(text[:1].isalnum() or words_of(text) for text in texts)


def _from_templates(table: Table, positions: Positions, where: str) -> list[list[str]]:
    if not table.levels:
        raise InputError(
            f"{where}: template captions need class names, and this source has no levels"
        )
    names = table.levels[0][positions].tolist()
    called: dict[str, str] = {}
    for position, name in zip(positions.tolist(), names, strict=True):
        if name not in called:
            called[name] = spoken(name, parents_of(table).get(name, ()))
            if not called[name]:
                raise InputError(
                    f"{where}: the image {table.ids[position]!r} has no class name to put into a "
                    "template"
                )
    classes = sorted(called)
    words = prompts_of(classes, parents_of(table)).names
    made: dict[str, list[str]] = {}
    for name, word in zip(classes, words, strict=True):
        made[name] = [template.format(word) for template in TEMPLATES]
    return [made[name] for name in names]
