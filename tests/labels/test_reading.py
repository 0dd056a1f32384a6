"""Very many texts are read as each one is."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from headwater.labels import reading, tokens
from headwater.labels.tokens import CONTEXT, Heard
from headwater.sources.strings import Lists
from tests.labels.test_tokens import LETTERS, some_texts


def plain_texts(count: int) -> list[str]:
    draw = random.Random(1)
    words = ["a", "photo", "of", "it's", "CAT", "dog's", "2", "3000", "--", "don't", "x.y", "l'll"]
    return [" ".join(draw.choices(words, k=draw.randint(0, 40))) for _ in range(count)]


def many_lists() -> list[list[str]]:
    draw = random.Random(2)
    texts = [*some_texts(), *plain_texts(400), "".join(draw.choices(LETTERS, k=90))]
    made = [draw.choices(texts, k=draw.randint(0, 3)) for _ in range(800)]
    return [list(filter(str.strip, own)) for own in made]


@pytest.fixture(params=[50, 10**6])
def together(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FEW", 0)
    monkeypatch.setattr(reading, "_AT_ONCE", request.param)


def as_column(lists: Sequence[Sequence[str]]) -> Lists:
    return Lists(pa.array(lists, pa.large_list(pa.large_string())))


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize("context", [5, 20, CONTEXT])
def test_a_column_is_read_as_its_texts_one_by_one(context: int) -> None:
    for lists in (many_lists()[:60], many_lists()):
        expected = tokens.read(lists, context)
        assert reading.read(as_column(lists), context) == expected
        assert reading.read(lists, context) == expected
        assert reading.heard(as_column(lists), context) == Heard.of(lists, context)


@pytest.mark.usefixtures("together")
@pytest.mark.parametrize(
    "lists",
    [
        [["a cat"], ["A  CAT"], ["a cat "]],
        [["a cat", "a dog"], ["A DOG", "a cat"]],
        [["a cat"], ["a dog"]],
        [["&amp;"], ["&"]],
        [[" ' "], ["'"]],
        [["x" * 80 + "a"], ["x" * 80 + "b"]],
        [["one <end_of_text> two"], ["one"]],
        [["'"], [","], ["''s"]],
    ],
)
def test_texts_that_are_one_to_the_model_are_told(lists: list[list[str]]) -> None:
    assert reading.read(as_column(lists)) == tokens.read(lists)
    assert reading.heard(lists) == Heard.of(lists)


@pytest.mark.usefixtures("together")
def test_texts_that_no_column_can_hold_are_read_one_by_one() -> None:
    lists = [["a\ud800"], ["b"]]
    assert reading.read(lists) == tokens.read(lists)
    assert reading.heard(lists) == Heard.of(lists)


def test_digests_that_share_their_first_half_stay_apart() -> None:
    digests = np.array([[1, 2], [1, 3], [1, 2], [4, 2], [1, 3]], dtype=np.uint64)
    equal = reading._equal(digests)
    assert equal.first.tolist() == [0, 1, 3] and equal.pair == (0, 2)
    assert reading._equal(digests[:2]).pair is None


def test_words_of_any_plain_text_are_those_of_the_pattern() -> None:
    draw = random.Random(3)
    letters = "abcdefst  ''rveml.,!-09 Z"
    texts = ["", " ", "'", "'s", "s's's", "''s", "'lll", "'l", "'re 've'm", "a'", "12 3", "x ' s"]
    texts += ["".join(draw.choices(letters, k=draw.randint(0, 14))) for _ in range(4000)]
    spaced = reading._spaced(pa.array([text.lower() for text in texts], pa.large_string()))
    assert spaced.to_pylist() == [" ".join(tokens.words_of(text)) for text in texts]
