"""In which languages captions are, as py3langid tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

SURE = 0.3
"""Probability below which a text's language is not told [ours]: file names and model numbers stay
below 0.1, English of two words at 0.17, sentences of five words above 0.5.
"""
NOT_TOLD = "not told"
_MOST_LETTERS = 1000
"""Of a text's characters the first ones are looked at [ours]; a web page may stand in a caption."""


def language_of(text: str) -> str:
    """ISO 639 code of a text's language (`en`, `de`, `zh`); NOT_TOLD where that is not sure."""
    beginning = text[:_MOST_LETTERS]
    if not any(letter.isalpha() for letter in beginning):
        return NOT_TOLD
    code, probability = _identifier().classify(beginning)
    return str(code) if probability >= SURE else NOT_TOLD


def counted(texts: Sequence[str]) -> dict[str, int]:
    """How many texts are in each language, the most frequent first; takes 30 us a text."""
    known = {text: language_of(text) for text in set(texts)}
    counts = Counter(known[text] for text in texts)
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
