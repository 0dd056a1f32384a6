"""A hierarchy's views are what their definitions say, whatever its shape; and it refuses what is
none.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.labels import nesting
from headwater.labels.hierarchies import open_hierarchy
from headwater.labels.hierarchy import Hierarchy, parse_hierarchy_view
from headwater.labels.targets import LabelSets

PETS = [
    ("animal", "cat"),
    ("animal", "dog"),
    ("pet", "cat"),
    ("pet", "dog"),
    ("dog", "pug"),
    ("thing", "animal"),
]
"""thing > animal > {cat, dog > pug}, and cat and dog are pets; pet is a root."""


def pets() -> Hierarchy:
    return Hierarchy.from_edges(
        PETS,
        where="pets",
        nodes=["rock"],
        titles={"pug": "a small dog"},
        ranks={"cat": "kind", "dog": "kind"},
    )


def names(made: Hierarchy, sets: LabelSets) -> list[list[str]]:
    return [list(map(made.names.__getitem__, labels)) for labels in sets]


@st.composite
def dags(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    """(names, parents of each); a node's parents come before it, so there is no cycle, but not in
    the order of the names.
    """
    size = draw(st.integers(1, 14))
    ids = draw(st.permutations([f"c{at:02d}" for at in range(size)]))
    parents: dict[str, list[str]] = {ids[0]: []}
    for at in range(1, size):
        above = draw(st.sets(st.integers(0, at - 1), max_size=3))
        parents[ids[at]] = [ids[parent] for parent in sorted(above)]
    return ids, parents


@st.composite
def trees(draw: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    size = draw(st.integers(2, 20))
    ids = [f"c{at:02d}" for at in range(size)]
    return ids, {ids[at]: [ids[draw(st.integers(0, at - 1))]] if at else [] for at in range(size)}


def made_of(ids: list[str], parents: dict[str, list[str]]) -> Hierarchy:
    return Hierarchy.from_edges(
        [(parent, child) for child, above in parents.items() for parent in above],
        where="random",
        nodes=ids,
    )


def level(parents: dict[str, list[str]], name: str, k: int) -> set[str]:
    """The rule of hong2023, by recursion over Python sets."""
    if k == 0:
        return {name}
    return {above for below in level(parents, name, k - 1) for above in (parents[below] or [below])}


def depth_of(parents: dict[str, list[str]]) -> dict[str, int]:
    """The longest path from a root, over all paths."""

    @functools.cache
    def depth(name: str) -> int:
        return max((depth(parent) + 1 for parent in parents[name]), default=0)

    return {name: depth(name) for name in parents}


def above(parents: dict[str, list[str]], name: str) -> set[str]:
    return {name}.union(*(above(parents, parent) for parent in parents[name]))


def cut(parents: dict[str, list[str]], name: str, d: int) -> set[str]:
    """The definition of depth:d, word by word."""
    depths = depth_of(parents)
    high = {x for x in above(parents, name) if depths[x] <= d}
    covered: set[str] = set()
    for x in high:
        covered |= above(parents, x) - {x}
    return high - covered


@given(dags(), st.integers(0, 15))
def test_levels_are_those_of_a_recursion_over_python_sets(dag, k):
    ids, parents = dag
    hierarchy = made_of(ids, parents)
    sets = hierarchy.level_sets(hierarchy.index_of(ids, "test"), k)
    assert names(hierarchy, sets) == [sorted(level(parents, name, k)) for name in ids]
    assert sets.labels.dtype == np.int32
    assert sets.starts.dtype == np.int64


@given(dags(), st.integers(0, 15))
def test_cuts_at_a_depth_are_those_of_the_definition(dag, d):
    ids, parents = dag
    hierarchy = made_of(ids, parents)
    assert dict(zip(hierarchy.names, hierarchy.depths.tolist(), strict=True)) == depth_of(parents)
    assert names(hierarchy, hierarchy.depth_sets(hierarchy.index_of(ids, "test"), d)) == [
        sorted(cut(parents, name, d)) for name in ids
    ]


@given(dags(), st.data())
def test_ranks_are_the_ancestors_that_have_them(dag, data):
    ids, parents = dag
    ranks = {name: data.draw(st.sampled_from(["", "high", "low"])) for name in ids}
    hierarchy = Hierarchy.from_edges(
        [(p, c) for c, some in parents.items() for p in some],
        where="random",
        nodes=ids,
        ranks=ranks,
    )
    low = {name for name in ids if ranks[name] == "low"}
    expected = [sorted(above(parents, name) & low) for name in ids]
    nodes = hierarchy.index_of(ids, "test")
    if all(expected):
        assert names(hierarchy, hierarchy.rank_sets(nodes, "low")) == expected
    elif "low" in ranks.values():
        first = ids[expected.index([])]
        with pytest.raises(
            InputError,
            match=rf"{expected.count([])} of {len(ids)} classes have no ancestor of rank low, the "
            rf"first is '{first}'",
        ):
            hierarchy.rank_sets(nodes, "low")


@given(trees(), st.integers(0, 6))
def test_levels_and_depths_of_a_tree_part_the_classes_and_coarsen_one_another(tree, k):
    ids, parents = tree
    hierarchy = made_of(ids, parents)
    assert hierarchy.is_tree
    codes = np.arange(len(ids), dtype=np.int32)
    for view, coarser in ((f"level:{k}", f"level:{k + 1}"), (f"depth:{k + 1}", f"depth:{k}")):
        targets = hierarchy.targets(codes, ids, view, "test")
        assert targets.single
        assert len(targets.indices) == len(ids)
        finer, next_one = hierarchy.counts(ids, view), hierarchy.counts(ids, coarser)
        assert next_one.labels <= finer.labels == targets.num_classes
        assert hierarchy.conflict(ids, view, coarser) is None
        one, other = (
            hierarchy.targets(codes, ids, name, "test").indices for name in (view, coarser)
        )
        assert nesting(one, other) == 1


@given(dags(), st.integers(0, 6))
def test_a_level_of_any_hierarchy_follows_from_the_one_below(dag, k):
    ids, parents = dag
    assert made_of(ids, parents).conflict(ids, f"level:{k}", f"level:{k + 1}") is None


@given(dags(), st.integers(0, 6), st.data())
def test_coarsening_some_of_the_classes_is_taking_some_of_the_coarsened(dag, k, data):
    ids, parents = dag
    hierarchy = made_of(ids, parents)
    some = data.draw(st.lists(st.sampled_from(range(len(ids))), max_size=8))
    nodes = hierarchy.index_of(ids, "test")
    for view in (f"level:{k}", f"depth:{k}"):
        whole, part = hierarchy.sets(view, nodes), hierarchy.sets(view, nodes[some])
        assert names(hierarchy, part) == [names(hierarchy, whole)[at] for at in some]


@given(dags(), st.randoms())
def test_a_hierarchy_owes_nothing_to_the_order_or_the_number_of_times_of_its_relations(dag, random):
    ids, parents = dag
    edges = [(parent, child) for child, some in parents.items() for parent in some]
    mixed = edges + edges[::2]
    random.shuffle(mixed)
    one, other = (Hierarchy.from_edges(some, where="random", nodes=ids) for some in (edges, mixed))
    assert one.names == other.names
    assert np.array_equal(one.parents.labels, other.parents.labels)
    assert np.array_equal(one.parents.starts, other.parents.starts)


def test_the_example_is_what_one_reads_off_it():
    hierarchy = pets()
    classes = ["pug", "cat", "rock"]
    nodes = hierarchy.index_of(classes, "test")
    assert names(hierarchy, hierarchy.level_sets(nodes, 1)) == [
        ["dog"],
        ["animal", "pet"],
        ["rock"],
    ]
    assert names(hierarchy, hierarchy.level_sets(nodes, 2)) == [
        ["animal", "pet"],
        ["pet", "thing"],
        ["rock"],
    ]
    assert names(hierarchy, hierarchy.level_sets(nodes, 999_999_999)) == [
        ["pet", "thing"],
        ["pet", "thing"],
        ["rock"],
    ]
    assert names(hierarchy, hierarchy.depth_sets(nodes, 0)) == [
        ["pet", "thing"],
        ["pet", "thing"],
        ["rock"],
    ]
    assert names(hierarchy, hierarchy.depth_sets(nodes, 1)) == [
        ["animal", "pet"],
        ["animal", "pet"],
        ["rock"],
    ]
    assert names(hierarchy, hierarchy.depth_sets(nodes, 2)) == [["dog"], ["cat"], ["rock"]]
    assert names(hierarchy, hierarchy.rank_sets(nodes[:2], "kind")) == [["dog"], ["cat"]]
    assert [hierarchy.names[at] for at in hierarchy.orphans] == ["pet", "rock", "thing"]
    assert [hierarchy.names[at] for at in hierarchy.leaves] == ["cat", "pug", "rock"]
    assert not hierarchy.is_tree


def test_images_get_the_labels_of_their_class():
    targets = pets().targets(
        np.array([1, 0, 1], dtype=np.int32), ["cat", "pug", "rock"], " level : 01 ", "test"
    )
    assert targets.view == "level:1"
    assert targets.names == ("animal", "dog", "pet")  # nothing is a rock
    assert targets.matrix().toarray().tolist() == [
        [False, True, False],
        [True, False, True],
        [False, True, False],
    ]


def test_counts_are_those_of_the_classes_that_are_asked_for():
    count = pets().counts(["pug", "cat", "rock"], "level:1")
    assert (count.classes, count.labels, count.several, count.most, count.orphans) == (
        3,
        4,
        1,
        2,
        ("rock",),
    )


def test_a_conflict_names_two_classes_that_part():
    hierarchy = Hierarchy.from_edges(
        [("a", "x"), ("b", "x"), ("a", "y"), ("c", "y")],
        where="test",
        ranks={"a": "low", "b": "high", "c": "high"},
    )
    assert hierarchy.conflict(["x", "y"], "rank:low", "rank:high") == (
        "rank:high does not coarsen rank:low: 'x' and 'y' are both under 'a' of rank:low, but "
        "under 'b' and 'c' of rank:high; 1 of 1 classes of rank:low "
        "are split so"
    )


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([], "there is no class"),
        ([("a", "a")], "'a' is its own parent"),
        ([("a", "b"), ("b", "a")], r": (a -> b -> a|b -> a -> b);"),
        (
            [("r", "a"), ("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")],
            r": (a -> b -> c -> a|b -> c -> a -> b|c -> a -> b -> c);",
        ),
        ([("", "b")], "empty name"),
    ],
)
def test_what_is_no_hierarchy_is_refused_and_a_cycle_is_spelled_out(edges, message):
    with pytest.raises(InputError, match=f"^here: .*{message}"):
        Hierarchy.from_edges(edges, where="here")


def test_a_long_cycle_is_clipped_and_one_through_nodes_beside_is_found():
    ring = [(f"n{at}", f"n{(at + 1) % 5000}") for at in range(5000)]
    with pytest.raises(InputError) as error:
        Hierarchy.from_edges(ring, where="ring")
    assert len(str(error.value)) < 300
    with pytest.raises(InputError, match="own ancestors"):
        Hierarchy.from_edges([("a", "b")], where="test", beside=[("b", "a")])


def test_unknown_classes_are_counted_and_the_nearest_name_is_shown():
    hierarchy = Hierarchy.from_edges(
        [("top", f"species {at:05d}") for at in range(60_000)], where="test"
    )
    with pytest.raises(
        InputError,
        match=r"^task: 2 of 3 classes are not in the hierarchy, the first is 'Species 0123'; the "
        r"nearest name there is 'species 0",
    ):
        hierarchy.index_of(["top", "Species 0123", "?"], "task")
    with pytest.raises(InputError) as error:
        hierarchy.index_of(["x" * 1_000_000], "task")
    assert len(str(error.value)) < 250


@pytest.mark.parametrize(
    "view",
    [
        "",
        "level",
        "level:",
        "level:-1",
        "level:1.5",
        "depth:x",
        "rank:",
        "rank: ",
        "Level:1",
        "class",
        "level:1234567890",
    ],
)
def test_other_views_are_refused_with_the_list_of_valid_ones(view):
    with pytest.raises(
        InputError, match=r"no view of a hierarchy; the views are level:k .* depth:d .* rank:NAME"
    ):
        pets().sets(view, np.array([0]))


def test_views_are_brought_to_one_form():
    assert parse_hierarchy_view(" level : 007 ") == ("level", "7")
    assert parse_hierarchy_view("depth:0") == ("depth", "0")
    assert parse_hierarchy_view("rank: order of birds ") == ("rank", "order of birds")


def test_ranks_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(
        InputError, match="there is no rank 'species' in this hierarchy; the ranks are kind"
    ):
        pets().sets("rank:species", np.array([0]))
    with pytest.raises(InputError, match="its nodes have no ranks"):
        Hierarchy.from_edges([("a", "b")], where="test").sets("rank:kind", np.array([0]))


def test_nodes_beside_are_seen_by_ranks_and_by_nothing_else():
    hierarchy = Hierarchy.from_edges(
        [("a", "b"), ("b", "c")],
        where="test",
        ranks={"group": "group", "b": "low"},
        beside=[("group", "b")],
    )
    node = hierarchy.index_of(["c"], "test")
    assert names(hierarchy, hierarchy.rank_sets(node, "group")) == [["group"]]
    assert names(hierarchy, hierarchy.level_sets(node, 2)) == [["a"]]
    assert hierarchy.depths[node] == 2
    assert hierarchy.is_tree


def test_aliases_find_a_node_where_no_id_does():
    hierarchy = Hierarchy.from_edges(
        [("a", "b")], where="test", aliases={"bee": "b", "a": "b", "c": "gone"}
    )
    assert [hierarchy.names[at] for at in hierarchy.index_of(["bee", "a"], "test")] == ["b", "a"]


def test_taking_from_sets_of_which_some_are_empty_gives_those_sets():
    sets = LabelSets.of([[], [4, 2], [7]])  # three labels in three sets, but not one in each
    taken = sets.take(np.array([2, 0, 1, 1]))
    assert [labels.tolist() for labels in taken] == [[7], [], [2, 4], [2, 4]]


@pytest.mark.parametrize(
    "codes", [np.array([0, 2], dtype=np.int32), np.array([-1], dtype=np.int32), np.array([0.5])]
)
def test_codes_beyond_the_classes_are_refused(codes: np.ndarray) -> None:
    tree = Hierarchy.from_edges([("animal", "cat"), ("animal", "dog")], where="pets")
    with pytest.raises(InputError, match="from 0 to 1"):
        tree.targets(codes, ["cat", "dog"], "level:1")


def test_a_list_of_relations_may_leave_out_few_classes_and_no_more(tmp_path: Path) -> None:
    """A class without relations cannot be in such a list; many of them are another list of
    classes.
    """
    path = tmp_path / "is_a.txt"
    path.write_text("".join(f"root c{at}\n" for at in range(300)))
    classes = [f"c{at}" for at in range(300)]
    tree = open_hierarchy(path)
    found = tree.counts([*classes, "stray", "alone"], "level:1")
    assert (found.labels, found.orphans) == (3, ("stray", "alone"))
    assert tree.targets(np.array([300, 0]), [*classes, "stray"], "level:1").names == (
        "root",
        "stray",
    )
    with pytest.raises(InputError, match="4 of 304 classes are not in the hierarchy"):
        tree.counts([*classes, "a", "b", "c", "d"], "level:1")
