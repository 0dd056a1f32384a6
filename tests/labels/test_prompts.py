"""What classes are called in prompts, and which names are one."""

from __future__ import annotations

import numpy as np
import pytest

from headwater.labels import caption_lists
from headwater.labels.captions import TEMPLATES
from headwater.labels.prompts import Prompts, parents_of, prompts_of
from headwater.labels.tokens import Heard
from headwater.sources import Table
from tests.labels.test_captions import objects


def table(*classes: tuple[str, ...]) -> Table:
    """One image of each class, given by its names from the finest level to the coarsest."""
    return Table(
        ids=objects(*map(str, range(len(classes)))),
        splits={},
        levels=tuple(objects(*names) for names in zip(*classes, strict=True)),
    )


def named(*classes: tuple[str, ...]) -> Prompts:
    made = table(*classes)
    return prompts_of([own[0] for own in classes], parents_of(made), made.spoken)


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        ([("bird/crane", "bird"), ("machine/crane", "machine")], "crane (bird); crane (machine)"),
        ([("bird/crane", "bird"), ("machine/drill", "machine")], "crane; drill"),
        (
            [
                ("animal/bird/crane", "animal/bird", "animal"),
                ("toy/bird/crane", "toy/bird", "toy"),
            ],
            "crane (bird, animal); crane (bird, toy)",
        ),
        ([("fruit/Apple", "fruit"), ("firm/apple", "firm")], "Apple (fruit); apple (firm)"),
        ([("sea_lion", "seal"), ("sea-lion", "cat")], "sea lion (seal); sea lion (cat)"),
        ([("a/x", "a"), ("b/x", "b"), ("c/y", "c")], "x (a); x (b); y"),
        (
            [("birds_of-prey/kite", "birds_of-prey"), ("toy/kite", "toy")],
            "kite (birds of prey); kite (toy)",
        ),
        ([("crane", "crane"), ("toy/crane", "toy")], "crane; crane (toy)"),
        # a level that says a class's own name again tells nothing
        (
            [("bird/crane", "bird/crane", "bird"), ("toy/crane", "toy/crane", "toy")],
            "crane (bird); crane (toy)",
        ),
        ([("music/AC/DC", "music"), ("power/AC/DC", "power")], "AC/DC (music); AC/DC (power)"),
    ],
)
def test_classes_of_one_name_are_told_apart_by_what_they_lie_in(
    classes: list[tuple[str, ...]], names: str
) -> None:
    prompts = named(*classes)
    assert list(prompts.names) == names.split("; ")
    assert not prompts.alike(TEMPLATES)
    assert [classes[at][0] for at in prompts.parted] == [
        own[0] for own, name in zip(classes, prompts.names, strict=True) if "(" in name
    ]


@pytest.mark.parametrize("name", ["AC/DC", "n/a", "9/11", "w/o", "and/or", "TCP/IP", "24/7"])
def test_a_slash_in_a_name_separates_nothing_where_there_are_no_levels(name: str) -> None:
    other = f"x/{name.rpartition('/')[2]}"
    assert named((name,), (other,)).names == (name, other)
    assert named((name, "top"), (other, "top")).names == (name, other)
    one = caption_lists("template", table((name,), (other,)), np.arange(2), "set")
    assert one[0][0] == f"a photo of a {name}."


def test_a_name_keeps_its_own_slash_under_a_parent() -> None:
    assert named(("music/AC/DC", "music"), ("music/n/a", "music")).names == ("AC/DC", "n/a")


@pytest.mark.parametrize(
    "names",
    [
        ("sea_lion", "sea lion"),
        ("sea-lion", "sea_lion"),
        ("Sea Lion", "sea lion"),
        ("sea__lion", "sea lion"),
        ("caf\u00e9", "cafe\u0301"),
        ("sea lion.", "sea lion ."),
        ("R&amp;B", "R&B"),
    ],
)
def test_names_that_are_one_to_the_tokenizer_and_have_no_parents_stay_and_are_found(
    names: tuple[str, str],
) -> None:
    prompts = named(*((name,) for name in (*names, "walrus")))
    assert prompts.parted == ()
    assert prompts.alike(TEMPLATES) == [(0, 1)]
    same = named(*((name, "animal") for name in (*names, "walrus")))
    assert same.parted == () and same.alike(TEMPLATES) == [(0, 1)]


def test_captions_from_templates_tell_apart_what_prompts_tell_apart() -> None:
    made = table(("bird/crane", "bird"), ("machine/crane", "machine"), ("bird/owl", "bird"))
    bird, machine, owl = caption_lists("template", made, np.arange(3), "set")
    assert (bird[0], machine[0]) == ("a photo of a crane (bird).", "a photo of a crane (machine).")
    assert owl[0] == "a photo of a owl."


def test_one_template_that_tells_classes_apart_is_enough() -> None:
    prompts = Prompts(("alpha", "beta", "gamma"))
    cut = "word " * 80 + "{}"
    assert prompts.alike([cut]) == prompts.alike([cut, cut.upper().format("{}")]) == [(0, 1, 2)]
    assert prompts.alike([cut, "a {}"]) == prompts.alike([cut], context=90) == []


def test_names_that_a_tower_never_heard_or_reads_no_further_are_one() -> None:
    prompts = Prompts(("zebra", "yak", "cup"))
    heard = Heard.of([["a photo of a cup"]])
    assert prompts.alike(["a photo of a {}"], heard) == [(0, 1)]
    assert prompts.alike(["a photo of a big old {}"], heard) == [(0, 1, 2)]
    short = Heard.of([["a zebra"], ["a yak"], ["a cup"]])
    assert prompts.alike(["a {}"], short) == []
    assert prompts.alike(["a photo of a {}"], short) == [(0, 1, 2)]


def test_synsets_with_one_first_word_are_told_apart_by_wordnet() -> None:
    """n02012849 is the wading bird, n03126707 the machine; n02123045 is tabby."""
    classes = ["n02012849", "n03126707", "n02123045"]
    assert prompts_of(classes, {}).names == (
        "crane (wading bird)",
        "crane (lifting device)",
        "tabby",
    )


def test_the_sets_own_words_are_parted_too() -> None:
    given = {"g1/a": "Common Weed", "g2/b": "common weed", "g1/c": "Rose"}
    parents = {"g1/a": ("g1",), "g2/b": ("g2",), "g1/c": ("g1",)}
    assert prompts_of(list(given), parents, given).names == (
        "Common Weed (g1)",
        "common weed (g2)",
        "Rose",
    )
