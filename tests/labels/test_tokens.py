"""What a text tower reads of texts, held to open_clip's tokenizer."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer

from headwater.keys import sample_hashes
from headwater.labels import caption_lists
from headwater.labels.noise import swap_captions
from headwater.labels.tokens import CONTEXT, Heard, read, token_key, word_tokens, words_of
from headwater.sources import Table
from tests.labels.test_captions import objects

TOKENIZER = SimpleTokenizer()
OTHER_SCRIPTS = "日本語한국어עבר\u200f\u200b\u00a0🙂½²\ufeff\x1b["
LETTERS = "abcdef ABC  '`.,!?<>&;0123\n\té“”’ñßüİıſ" + OTHER_SCRIPTS
KNOWN = [
    *(
        "it's don't we'll I'VE",
        "A.B",
        "a . b",
        "&lt;b&gt; &amp;amp;",
        "<i> &eacute; &amp;lt;",
        "&nbsp;",
        "",
        "   ",
    ),
    *("one <end_of_text> two", "<start_of_text> one", "schöne Grüße aus Köln"),
    *("red cup " * 60, "x" * 300, "日本語の長い説明文" * 12, "1234567890" * 9),
]


def some_texts() -> list[str]:
    draw = random.Random(0)
    made = ["".join(draw.choices(LETTERS, k=draw.randint(0, 40))) for _ in range(400)]
    return [*made, *KNOWN]


def read_by_open_clip(text: str, context: int) -> tuple[int, ...]:
    """The tokens up to the first end token, at which the tower takes its embedding."""
    row: list[int] = TOKENIZER([text], context_length=context)[0].tolist()
    return tuple(row[: row.index(max(row))])


def test_the_tokens_are_open_clips() -> None:
    for text in some_texts():
        ours = [token for word in words_of(text) for token in word_tokens(word)]
        assert ours == [TOKENIZER.decoder[number] for number in TOKENIZER.encode(text)], text


@pytest.mark.parametrize("context", [5, 20, CONTEXT])
def test_texts_share_a_key_exactly_where_open_clip_gives_one_sequence(context: int) -> None:
    texts = some_texts()
    pairs = {(token_key(text, context), read_by_open_clip(text, context)) for text in texts}
    assert len({key for key, _ in pairs}) == len(pairs) == len({tokens for _, tokens in pairs})
    reading = read([[text] for text in texts], context)
    assert reading.told_apart == len(pairs) < reading.texts == len(set(texts))


def numbered(beginning: str, number: int = 12) -> list[str]:
    return [f"{beginning} and number {at}" for at in range(number)]


@pytest.mark.parametrize(
    ("texts", "told_apart", "cut", "blank"),
    [
        (numbered("word " * 80), 1, 12, 0),
        (numbered("word " * 72), 10, 2, 0),
        (numbered("日本語の説明" * 20), 1, 12, 0),
        (numbered("ürün açıklaması " * 20), 1, 12, 0),
        (numbered("no end <end_of_text>"), 1, 12, 0),
        (["A red cup", "a red cup", "a RED Cup"], 1, 0, 0),
        (["a red cup", " a  red\tcup\n"], 1, 0, 0),
        (["it’s red", "it's red"], 1, 0, 0),
        (["cups &amp; plates", "cups & plates"], 1, 0, 0),
        (["a red cup.", "a red cup ."], 1, 0, 0),
        (["a red cup.", "a red cup"], 2, 0, 0),
        (["&nbsp;", "\ufeff", "\x07"], 1, 0, 3),
        (["word " * 75, "word " * 75 + "more"], 1, 1, 0),
        (["word " * 74, "word " * 75], 2, 0, 0),
        (["café", "cafe\u0301"], 1, 0, 0),
        (["кот", "КОТ", "котик"], 2, 0, 0),
    ],
)
def test_texts_that_are_cut_equal_or_empty_to_the_model_are_counted(
    texts: list[str], told_apart: int, cut: int, blank: int
) -> None:
    reading = read([[text] for text in texts])
    rows = [TOKENIZER.encode(text) for text in texts]
    if "<end_of_text>" not in texts[0]:
        assert cut == sum(len(row) + 2 > CONTEXT for row in rows)
    assert (reading.told_apart, reading.cut, reading.blank) == (told_apart, cut, blank)
    assert reading.one == (told_apart == 1)
    assert (reading.alike is None) == (reading.lost == 0)


def test_a_longer_context_reads_more() -> None:
    texts = [[text] for text in numbered("word " * 80)]
    assert read(texts, 88).told_apart == len(texts)
    assert read(texts, 88).cut == 0
    assert read(texts, 84).told_apart == 1


@pytest.mark.parametrize(
    ("lists", "one"),
    [
        ([["a cup", "a plate"], ["a plate", "A cup"]], True),
        ([["a cup", "a plate"], ["a cup"]], False),
        ([["a cup", "a plate"], ["a cup", "a fork"]], False),
        ([["a cup"] * 3, ["A Cup"]], True),
        ([["a cup"]], False),
        ([["a cup", "a plate"], ["a cup", "a plate", "a plate"]], True),
    ],
)
def test_images_whose_texts_are_the_same_set_teach_nothing(
    lists: list[list[str]], one: bool
) -> None:
    assert read(lists).one == one


def test_templates_of_one_class_teach_nothing_and_of_two_something() -> None:
    def table(*names: str) -> Table:
        return Table(ids=objects("a", "b"), splits={}, levels=(objects(*names),))

    for names, one in ((("cat", "cat"), True), (("cat", "Cat"), True), (("cat", "dog"), False)):
        assert read(caption_lists("template", table(*names), np.arange(2), "set")).one == one


def test_swapped_captions_read_as_they_did() -> None:
    lists = [[f"number {at}", f"NUMBER {at % 7}"] for at in range(50)]
    swapped, share = swap_captions(lists, 0.5, sample_hashes(list(map(str, range(50)))), 0)
    assert share > 0
    assert read(swapped).told_apart == read(lists).told_apart == 50


def test_a_tower_reads_no_further_than_its_longest_caption_and_no_word_that_none_had() -> None:
    heard = Heard.of([["a red cup", "a blue plate on a table"]])
    assert heard.context == 2 + 6
    assert heard.key("a zebra") == heard.key("a yak") != heard.key("a cup")
    assert heard.key("a cup on a table a cup") == heard.key("a cup on a table a plate")
    longest = torch.stack([TOKENIZER("a blue plate on a table")]).argmax()
    assert int(longest) + 1 == heard.context
