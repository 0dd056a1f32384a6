"""Captions: fields, templates and the keyed choice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.keys import sample_hashes
from headwater.labels import caption_lists, choose
from headwater.sources import Table
from headwater.sources.folder import FolderSource
from tests.needs import DATA, needs_data


def objects(*values: object) -> np.ndarray:
    out = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        out[at] = value
    return out


TABLE = Table(
    ids=objects("a", "b", "c"),
    splits={},
    levels=(objects("fruit/red_apple", "fruit/Passion-Fruit", ""), objects(*["fruit"] * 3)),
    texts={
        "captions": objects(["one", "two"], "three", ["four", " "]),
        "name": objects(["A"], [], [" "]),
    },
)


def test_a_field_gives_a_list_per_image_whether_it_holds_texts_or_lists():
    assert caption_lists("captions", TABLE, np.array([2, 0, 1]), "set") == [
        ["four"],
        ["one", "two"],
        ["three"],
    ]


def test_images_without_a_caption_are_counted_and_named():
    with pytest.raises(InputError, match="set: 2 of 3 images have no 'name', the first is 'b'"):
        caption_lists("name", TABLE, np.arange(3), "set")
    assert caption_lists("name", TABLE, np.array([0]), "set") == [["A"]]


@pytest.mark.parametrize("texts", ["&nbsp;", ["\ufeff", " &#160; "], "\x07", [" ", "&ensp;"]])
def test_an_image_whose_texts_have_no_word_for_the_tokenizer_has_no_caption(texts):
    table = Table(ids=objects("a", "b"), splits={}, texts={"t": objects(texts, "a cup")})
    with pytest.raises(InputError, match="1 of 2 images have no 't', the first is 'a'"):
        caption_lists("t", table, np.arange(2), "set")


def test_an_unknown_field_lists_those_there_are():
    with pytest.raises(
        InputError, match="there is no text field 'title'; it has captions, name, template"
    ):
        caption_lists("title", TABLE, np.arange(3), "set")


def test_templates_speak_the_last_part_of_the_finest_name():
    apple, passion = caption_lists("template", TABLE, np.array([0, 1]), "set")
    assert apple[0] == "a photo of a red apple."
    assert "art of the Passion Fruit." in passion
    assert len(set(apple)) == len(apple) == 8
    with pytest.raises(InputError, match="'c' has no class name"):
        caption_lists("template", TABLE, np.arange(3), "set")
    with pytest.raises(InputError, match="has no levels"):
        caption_lists("template", Table(ids=objects("a"), splits={}), np.arange(1), "set")


def test_the_choice_is_the_same_in_any_batch_and_changes_with_epoch_and_seed():
    lists = [list(map(f"{image}-{{}}".format, range(5))) for image in range(400)]
    hashes = sample_hashes([str(image) for image in range(400)])
    whole = choose(lists, 3, 0, hashes)
    assert choose(lists[10:20], 3, 0, hashes[10:20]) == whole[10:20]
    assert all(text in texts for text, texts in zip(whole, lists, strict=True))
    for epoch, seed in ((4, 0), (3, 1)):
        assert choose(lists, epoch, seed, hashes) != whole


def test_every_caption_is_chosen_equally_often():
    """20,000 draws of 5: each 4,000 times, within 5 sigma (283)."""
    hashes = sample_hashes([str(image) for image in range(20_000)])
    counts = np.bincount([int(text) for text in choose([list("01234")] * 20_000, 0, 0, hashes)])
    assert np.abs(counts - 4000).max() < 283


@needs_data
def test_real_captions():
    assert DATA
    aerial = FolderSource("aerial", Path(DATA) / "ucm_captions").table
    assert {
        len(texts) for texts in caption_lists("captions", aerial, np.arange(len(aerial)), "aerial")
    } == {5}
    grocery = FolderSource("grocery", Path(DATA) / "grocery").table
    assert (
        caption_lists("template", grocery, np.array([0]), "grocery")[0][0]
        == "a photo of a Golden Delicious."
    )
