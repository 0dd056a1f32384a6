"""Label views: what their names mean, and that they are pure functions of a table and a seed."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.labels import Targets, label_view, nesting, parse_view
from headwater.sources import Table
from headwater.sources.folder import FolderSource
from tests.needs import DATA, needs_data


def table(*levels: list[str], count: int | None = None) -> Table:
    """A table with the given levels, finest first."""
    size = len(levels[0]) if levels else count or 0
    ids = np.array([f"{at:05d}.png" for at in range(size)], dtype=object)
    return Table(
        ids=ids, splits={}, levels=tuple(np.array(level, dtype=object) for level in levels)
    )


PETS = table(["tabby", "siamese", "pug", "tabby", "pug"], ["cat", "cat", "dog", "cat", "dog"])
ALL = np.arange(5)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("class", "level:0"),
        ("level:2", "level:2"),
        (" level : 02 ", "level:2"),
        ("instance", "instance"),
        ("random:10", "random:10"),
        ("random:10 @ seed = 007", "random:10@seed=7"),
        ("random : 10  within  level : 1 @seed=3", "random:10 within level:1@seed=3"),
        ("random:like class", "random:like level:0"),
        ("shuffle:4", "shuffle:4"),
        ("cluster:like level:0 within depth:02", "cluster:like level:0 within depth:2"),
        ("rank:genus", "rank:genus"),
        ("level:0 with symmetric:0.1234561", "level:0 with symmetric:0.1234561"),
        ("class with symmetric:.20", "level:0 with symmetric:0.2"),
        (
            "level:0@seed=5 with confusion:1 within level:1",
            "level:0@seed=5 with confusion:1 within level:1",
        ),
        (
            "random:7 within rank:family@seed=1 with symmetric:0.5",
            "random:7 within rank:family@seed=1 with symmetric:0.5",
        ),
    ],
)
def test_names_of_views_are_brought_to_one_form(text, canonical):
    assert parse_view(text).name == canonical
    assert parse_view(canonical) == parse_view(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "levels",
            "level",
            "level:",
            "level:x",
            "level:-1",
            "level:0@seed=1",
            "instance:3",
            "random",
            "random:2.5",
            "random:3@seed=",
            "class:1",
        ),
        *(
            "Level:0",
            "random:like",
            "random:like instance",
            "random:like random:3",
            "level:like level:1",
            "shuffle:3 within level:1",
        ),
        *("instance within level:1",),
        *(
            "random:3 within",
            "random:3 within instance",
            "rank:3",
            "rank:",
            "depth:x",
            "cluster",
            "cluster:x",
            "level:0 with noise:0.1",
        ),
        *(
            "level:0 with symmetric",
            "level:0 with symmetric:x",
            "level:0 with confusion:0.1",
            "level:0 with symmetric:0.1 within level:1",
        ),
    ],
)
def test_other_names_are_refused_with_the_list_of_valid_ones(text):
    with pytest.raises(
        InputError,
        match=r"level:k, depth:d, rank:NAME, instance, cluster:K, cluster:K within level:j, "
        r"shuffle:K, random:K, random:K within level:j, class",
    ):
        parse_view(text)


def test_a_single_random_class_is_refused():
    for text in ("random:0", "random:1"):
        with pytest.raises(InputError, match="at least 2"):
            parse_view(text)


def test_levels_count_from_the_finest_and_names_are_sorted():
    fine, coarse = (label_view(view, PETS, ALL, 0, "pets") for view in ("class", "level:1"))
    assert fine.names == ("pug", "siamese", "tabby")
    assert fine.indices.tolist() == [2, 1, 0, 2, 0]
    assert fine.indices.dtype == np.int64
    assert fine.view == "level:0"
    assert coarse.names == ("cat", "dog")
    assert coarse.num_classes == 2
    assert coarse.indices.tolist() == [0, 0, 1, 0, 1]


def test_classes_are_those_of_the_given_images_in_their_order():
    some = label_view("level:0", PETS, np.array([3, 2]), 0, "pets")
    assert some.names == ("pug", "tabby")
    assert some.indices.tolist() == [1, 0]


def test_a_level_beyond_the_top_says_how_many_there_are():
    with pytest.raises(
        InputError, match=r"pets: there is no level:2; this source has level:0 to level:1"
    ):
        label_view("level:2", PETS, ALL, 0, "pets")
    with pytest.raises(InputError, match="this source has no levels"):
        label_view("class", table(count=3), np.arange(3), 0, "bare")


def test_images_without_a_class_are_counted_and_the_first_is_named():
    with pytest.raises(
        InputError, match=r"2 of 4 images have no class at level:0, the first is '00001\.png'"
    ):
        label_view(
            "level:0", table(["a", "", "", "b"], ["x", "x", "y", "y"]), np.arange(4), 0, "set"
        )
    assert (
        label_view(
            "level:1", table(["a", "", "", "b"], ["x", "x", "y", "y"]), np.arange(4), 0, "set"
        ).num_classes
        == 2
    )


def test_a_class_under_two_parents_names_both():
    two = table(["apple", "apple", "pear"], ["juice", "fruit", "fruit"])
    for view in ("level:0", "level:1"):
        with pytest.raises(
            InputError,
            match=r"'apple' of level:0 is under 'fruit' and under 'juice'.*'fruit/apple' and "
            r"'juice/apple'",
        ):
            label_view(view, two, np.arange(3), 0, "set")
    qualified = table(["juice/apple", "fruit/apple", "fruit/pear"], ["juice", "fruit", "fruit"])
    assert label_view("level:0", qualified, np.arange(3), 0, "set").num_classes == 3


def test_every_image_is_an_instance_of_its_own():
    view = label_view("instance", PETS, np.array([4, 1]), 0, "pets")
    assert view.names == ("00004.png", "00001.png")
    assert view.indices.tolist() == [0, 1]


@given(size=st.integers(2, 300), classes=st.integers(2, 40), seed=st.integers(0, 2**40))
def test_random_classes_are_balanced(size, classes, seed):
    if classes > size:
        with pytest.raises(InputError, match="more classes than there are images"):
            label_view(f"random:{classes}", table(count=size), np.arange(size), seed, "set")
        return
    view = label_view(f"random:{classes}", table(count=size), np.arange(size), seed, "set")
    sizes = np.bincount(view.indices, minlength=classes)
    assert len(sizes) == view.num_classes == classes
    assert sizes.max() - sizes.min() <= 1


@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 1000))
def test_random_classes_depend_on_the_seed_and_the_set_of_images_alone(seed, shuffle):
    order = np.random.default_rng(shuffle).permutation(100)
    straight, mixed = (
        label_view("random:7", table(count=120), at, seed, "set") for at in (np.arange(100), order)
    )
    assert np.array_equal(straight.indices[order], mixed.indices)
    assert not np.array_equal(
        straight.indices,
        label_view("random:7", table(count=120), np.arange(100), seed + 1, "set").indices,
    )


def test_a_seed_in_the_name_replaces_the_arms():
    views = [
        label_view("random:5@seed=3", table(count=50), np.arange(50), seed, "set")
        for seed in (0, 1)
    ]
    assert np.array_equal(views[0].indices, views[1].indices)
    assert np.array_equal(
        views[0].indices, label_view("random:5", table(count=50), np.arange(50), 3, "set").indices
    )
    assert views[0].view == "random:5@seed=3"


def test_random_classes_owe_nothing_to_the_order_of_images_or_to_chance_of_another_seed():
    """Over 10,000 images and 10 classes, neighbours share a class, and two seeds agree, one time in
    ten (4 sigma: 0.012).
    """
    one, other = (
        label_view("random:10", table(count=10_000), np.arange(10_000), seed, "set").indices
        for seed in (0, 1)
    )
    assert abs(np.mean(one[1:] == one[:-1]) - 0.1) < 0.012
    assert abs(np.mean(one == other) - 0.1) < 0.012


def test_random_classes_coarsen_those_of_a_multiple():
    fine, coarse, odd = (
        label_view(f"random:{k}", table(count=100), np.arange(100), 4, "set").indices
        for k in (20, 5, 6)
    )
    assert nesting(fine, coarse) == 1
    assert nesting(fine, odd) < 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=30))
def test_nesting_is_the_share_that_follows_the_most_frequent_parent(pairs):
    a, b = np.array(pairs, dtype=np.int64).T
    parents: dict[int, Counter[int]] = {}
    for x, y in pairs:
        parents.setdefault(x, Counter())[y] += 1
    assert nesting(a, b) == sum(counts.most_common(1)[0][1] for counts in parents.values()) / len(
        pairs
    )


def test_digests_are_those_of_the_classes_and_not_of_the_views_name():
    one = Targets(codes=np.array([0, 1]), names=("a", "b"), view="level:0")
    assert (
        one.digest() == Targets(codes=np.array([0, 1]), names=("a", "b"), view="level:1").digest()
    )
    assert (
        one.digest() != Targets(codes=np.array([1, 0]), names=("a", "b"), view="level:0").digest()
    )
    assert (
        one.digest() != Targets(codes=np.array([0, 1]), names=("a", "c"), view="level:0").digest()
    )


@needs_data
@pytest.mark.parametrize(
    ("name", "classes"),
    [("grocery", (81, 43, 3)), ("caltech101", (100, 13, 4)), ("crawl_tiles", (76, 47, 3))],
)
def test_real_hierarchies_are_nested_and_have_the_classes_of_their_readme(name, classes):
    assert DATA
    source = FolderSource(name, Path(DATA) / name)
    every = np.arange(len(source.table))
    views = [
        label_view(f"level:{level}", source.table, every, 0, name) for level in range(len(classes))
    ]
    assert tuple(view.num_classes for view in views) == classes
    for fine, coarse in pairwise(views):
        assert nesting(fine.indices, coarse.indices) == 1
        assert nesting(coarse.indices, fine.indices) < 1
    with pytest.raises(InputError, match=f"level:0 to level:{len(classes) - 1}"):
        label_view(f"level:{len(classes)}", source.table, every, 0, name)
