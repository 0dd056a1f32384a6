"""What holds of every view: levels of a tree divide it, coarsening and subsetting commute, no noise
changes nothing, one seed means one view.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.labels import (
    Targets,
    classes_of,
    label_view,
    nesting,
    parse_captions,
    parse_view,
    partition,
    resolve_view,
)
from headwater.sources import Table
from headwater.study import ViewUse

SEEDED = [
    "random:4",
    "random:6 within level:1",
    "random:like level:0 within level:1",
    "shuffle:2",
    "level:0 with symmetric:0.3",
    "level:0 with confusion:0.5 within level:1",
    "random:4@seed=3 with symmetric:0.5",
]


def table(leaves: list[int], fan: int = 2, depth: int = 3) -> Table:
    """Images of a tree in which leaf c's ancestor k levels up is c // fan ** k."""
    ids = np.array([f"{at:06d}.png" for at in range(len(leaves))], dtype=object)
    levels = []
    for k in range(depth):
        names = [f"L{k}-{leaf // fan**k:05d}" for leaf in leaves]
        levels.append(np.array(names, dtype=object))
    return Table(ids=ids, splits={}, levels=tuple(levels))


def hierarchical(tmp_path: Path, leaves: list[int], edges: str) -> Table:
    path = tmp_path / "edges.txt"
    path.write_text(edges)
    plain = table(leaves, depth=1)
    return replace(plain, hierarchy=str(path))


def named(targets: Targets) -> list[set[str]]:
    """The labels of each image, by name."""
    if targets.sets is None:
        return [{targets.names[code]} for code in targets.codes]
    labels = []
    for code in targets.codes:
        labels.append({targets.names[label] for label in targets.sets[int(code)]})
    return labels


trees = st.builds(table, st.lists(st.integers(0, 40), min_size=2, max_size=60), st.integers(2, 4))


@given(trees)
def test_levels_of_a_tree_divide_the_images_and_each_coarsens_the_one_below(tree: Table) -> None:
    views = [label_view(f"level:{k}", tree, np.arange(len(tree)), 0, "tree") for k in range(3)]
    for fine, coarse in pairwise(views):
        assert fine.single
        assert coarse.counts.sum() == fine.counts.sum() == len(tree), (
            "every image is in one class of every level"
        )
        assert nesting(fine.indices, coarse.indices) == 1
    for k, view in enumerate(views):
        assert np.array_equal(
            view.indices,
            label_view(f"depth:{3 - k}", tree, np.arange(len(tree)), 0, "tree").indices,
        )


@given(trees, st.data())
def test_coarsening_commutes_with_subsetting(tree: Table, data: st.DataObject) -> None:
    """By images, and by classes."""
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(tree) - 1), min_size=1))))
    for k in range(3):
        whole, part = (
            named(label_view(f"level:{k}", tree, at, 0, "tree"))
            for at in (np.arange(len(tree)), rows)
        )
        assert [whole[row] for row in rows] == part
    classes = sorted(set(tree.levels[0]))
    chosen = sorted(data.draw(st.sets(st.sampled_from(classes), min_size=1)))
    view = resolve_view("some", {"some": ViewUse(of="level:0", subset=tuple(chosen))})
    kept = label_view(view, tree, np.arange(len(tree)), 0, "tree")
    at = np.arange(len(tree)) if kept.rows is None else kept.rows
    assert kept.names == tuple(chosen)
    assert at.tolist() == np.flatnonzero(np.isin(tree.levels[0].astype(str), chosen)).tolist()
    assert named(kept) == [{tree.levels[0][row]} for row in at]
    assert named(label_view("level:1", tree, at, 0, "tree")) == [
        {tree.levels[1][row]} for row in at
    ]


@given(trees, st.integers(0, 2**31 - 1))
def test_noise_at_rate_0_is_the_identity_and_rates_are_nested(tree: Table, seed: int) -> None:
    rows = np.arange(len(tree))
    clean = label_view("level:0", tree, rows, seed, "tree")
    if clean.num_classes < 2:
        return
    for kind in ("symmetric:{}", "confusion:{} within level:1"):
        none, some, more = (
            label_view(f"level:0 with {kind.format(rate)}", tree, rows, seed, "tree")
            for rate in ("0", "0.3", "0.7")
        )
        assert np.array_equal(none.indices, clean.indices)
        assert none.noise == 0
        wrong = [view.indices != clean.indices for view in (some, more)]
        assert not (wrong[0] & ~wrong[1]).any(), (
            "what is wrong at a lower rate is wrong at a higher one"
        )
        assert some.noise == pytest.approx(wrong[0].mean())
        if "within" in kind:
            parents = label_view("level:1", tree, rows, seed, "tree").indices
            names = dict(zip(np.array(clean.names)[clean.indices], parents, strict=True))
            assert [
                names[name] for name in np.array(more.names)[more.indices]
            ] == parents.tolist(), "siblings share their parent"


def test_the_realised_rate_is_near_the_stated_one_on_many_images() -> None:
    tree = table([at % 40 for at in range(20_000)])
    rows = np.arange(len(tree))
    for rate in (0.1, 0.5, 1.0):
        found = label_view(f"level:0 with symmetric:{rate}", tree, rows, 0, "tree").noise
        assert found == pytest.approx(rate, abs=4 * (rate * (1 - rate) / 20_000) ** 0.5 + 1e-12)
    assert (
        label_view("level:2 with confusion:1 within level:2", tree, rows, 0, "tree").noise == 0
    ), "an only child keeps its class"


def test_the_same_seed_gives_the_same_view_in_any_process_and_another_seed_another() -> None:
    tree = table([at % 8 for at in range(64)])
    here = [label_view(view, tree, np.arange(64), 5, "tree").digest() for view in SEEDED]
    code = (
        "import numpy as np; from headwater.labels import label_view; from "
        "tests.labels.test_view_properties import SEEDED, table\n"
        "for view in SEEDED: print(label_view(view, table([at % 8 for at in range(64)]), "
        "np.arange(64), 5, 'tree').digest())"
    )
    told = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert told.stdout.split() == here
    others = [label_view(view, tree, np.arange(64), 6, "tree").digest() for view in SEEDED]
    assert [a == b for a, b in zip(here, others, strict=True)] == [
        "@seed" in view for view in SEEDED
    ]


def test_a_view_does_not_depend_on_the_order_or_the_company_of_the_images() -> None:
    """Noise is drawn by the image's id; partitions are over a set of images, whatever order they
    come in.
    """
    tree = table([at % 8 for at in range(64)])
    mixed = np.random.default_rng(0).permutation(64)
    for view in SEEDED:
        straight, turned = (
            label_view(view, tree, np.arange(64), 1, "tree"),
            label_view(view, tree, mixed, 1, "tree"),
        )
        assert [named(straight)[row] for row in mixed] == named(turned), view
    few = np.arange(0, 64, 2)
    whole = label_view("level:1 with symmetric:0.5", tree, np.arange(64), 1, "tree")
    part = label_view("level:1 with symmetric:0.5", tree, few, 1, "tree")
    assert [named(whole)[row] for row in few] == named(part), (
        "the same classes are there, so the same ones are taken"
    )


def test_counts_like_a_level_and_within_it() -> None:
    tree = table([0, 0, 0, 1, 1, 2, 4, 4, 5, 6, 6, 7, 7, 3])
    rows = np.arange(len(tree))
    fine, top = (label_view(view, tree, rows, 0, "tree") for view in ("level:0", "level:2"))
    like = label_view("random:like level:0 within level:2", tree, rows, 0, "tree")
    assert like.num_classes == fine.num_classes
    for name, code in zip(top.names, range(top.num_classes), strict=True):
        inside = top.indices == code
        assert len(np.unique(like.indices[inside])) == len(np.unique(fine.indices[inside])), name
    assert nesting(like.indices, top.indices) == 1
    shared = partition(parse_view("cluster:5 within level:2"), tree, rows, "tree")
    assert shared.parts.sum() == 5 == len(shared.names) == len(set(shared.names))
    assert (shared.parts >= 1).all()
    for view, told in (
        ("random:1000", "more classes"),
        ("random:9999 within level:1", "9999"),
        ("random:like level:1 within level:0", "does not lie within"),
    ):
        with pytest.raises(InputError, match=told):
            label_view(view, tree, rows, 0, "tree")


def test_a_subset_of_a_partition_keeps_each_name_with_its_images() -> None:
    """Groups come in the order of their names, and a name that begins another's sorts differently
    with what follows it.
    """
    names = ["fruit", "fruit pie"] * 20
    ids = np.array([f"{at:06d}.png" for at in range(40)], dtype=object)
    fine = np.array([f"{name} x" for name in names], dtype=object)
    both = Table(ids=ids, splits={}, levels=(fine, np.array(names, dtype=object)))
    plain = label_view("random:4 within level:1", both, np.arange(40), 0, "set")
    every = ViewUse(of="random:4 within level:1", subset=plain.names)
    assert named(
        label_view(resolve_view("all", {"all": every}), both, np.arange(40), 0, "set")
    ) == named(plain)


def test_a_long_text_is_refused_at_once() -> None:
    with pytest.raises(InputError, match="at most 300 characters"):
        parse_view("level" + " " * 100_000 + "x")


def test_two_words_for_one_class_are_refused(tmp_path: Path) -> None:
    (tmp_path / "class_hierarchy.txt").write_text("n1 n2\nn1 n3\n")
    (tmp_path / "node_names.txt").write_text("n1\tanimal\nn2\tcat\nn3\tdog\n")
    two = Table(
        ids=np.array(["a", "b", "c"], dtype=object),
        splits={},
        levels=(np.array(["n2", "cat", "n3"], dtype=object),),
    )
    with pytest.raises(InputError, match="'cat' and 'n2' are the same class"):
        label_view(
            "level:0",
            replace(two, hierarchy=str(tmp_path / "class_hierarchy.txt")),
            np.arange(3),
            0,
            "set",
        )


def test_shuffled_classes_stay_whole() -> None:
    tree = table([at % 8 for at in range(80)])
    fine, mixed = (
        label_view(view, tree, np.arange(80), 3, "tree") for view in ("level:0", "shuffle:3")
    )
    assert nesting(fine.indices, mixed.indices) == 1
    assert sorted(len(np.unique(fine.indices[mixed.indices == group])) for group in range(3)) == [
        2,
        3,
        3,
    ]


def test_merged_classes_and_what_becomes_of_the_rest() -> None:
    tree = table([0, 1, 2, 3, 0])

    def merged(**more: str) -> Targets:
        use = ViewUse.model_validate(
            {"of": "level:0", "merge": {"low": ["L0-00000", "L0-00001"]}, **more}
        )
        return label_view(resolve_view("m", {"m": use}), tree, np.arange(5), 0, "tree")

    assert [names.pop() for names in named(merged())] == [
        "low",
        "low",
        "L0-00002",
        "L0-00003",
        "low",
    ]
    dropped = merged(rest="drop")
    assert (dropped.names, dropped.rows.tolist() if dropped.rows is not None else None) == (
        ("low",),
        [0, 1, 4],
    )
    with pytest.raises(InputError, match="L0-00002"):
        merged(rest="error")


def test_a_level_with_two_parents_gives_sets_and_noise_keeps_to_sets_that_there_are(
    tmp_path: Path,
) -> None:
    edges = "animal L0-00000\nanimal L0-00001\npet L0-00001\npet L0-00002\nthing L0-00003\n"
    tree = hierarchical(tmp_path, [at % 4 for at in range(200)], edges)
    rows = np.arange(200)
    up = label_view("level:1", tree, rows, 0, "tree")
    assert named(up)[:4] == [{"animal"}, {"animal", "pet"}, {"pet"}, {"thing"}]
    assert up.multi_label_share == 0.25
    assert np.array_equal(np.asarray(up.matrix().sum(axis=0)).ravel(), up.counts)
    noisy = label_view("level:1 with symmetric:0.5", tree, rows, 0, "tree")
    before, after = named(up), named(noisy)
    assert {frozenset(one) for one in after} == {frozenset(one) for one in before}
    assert noisy.noise == pytest.approx(
        np.mean([a != b for a, b in zip(before, after, strict=True)])
    )
    assert len(np.unique(classes_of(up))) == 4
    with pytest.raises(InputError, match="several labels"):
        label_view("random:6 within level:1", tree, rows, 0, "tree")
    assert label_view("depth:0", tree, rows, 0, "tree").names == ("animal", "pet", "thing")
    with pytest.raises(InputError, match="have no ranks"):
        label_view("rank:genus", tree, rows, 0, "tree")


def test_a_taxonomy_gives_ranks(tmp_path: Path) -> None:
    (tmp_path / "edges.txt").write_text(
        "kingdom,family,species\nA,F,L0-00000\nA,F,L0-00001\nA,G,L0-00002\n"
    )
    tree = replace(table([0, 1, 2], depth=1), hierarchy=str(tmp_path / "edges.txt"))
    assert named(label_view("rank:family", tree, np.arange(3), 0, "tree")) == [{"F"}, {"F"}, {"G"}]
    assert named(label_view("level:2", tree, np.arange(3), 0, "tree")) == [{"A"}] * 3
    with pytest.raises(InputError, match="kingdom, family, species"):
        label_view("rank:genus", tree, np.arange(3), 0, "tree")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("captions", ("captions", None)),
        ("name with swaps:0.25", ("name", 0.25)),
        ("a  with swaps:1", ("a", 1.0)),
    ],
)
def test_captions_can_be_swapped_at_a_rate(text: str, told: tuple[str, float | None]) -> None:
    assert parse_captions(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "captions with swaps:2",
        "captions with swaps:x",
        "captions with swaps:-0.1",
        "captions with swaps:nan",
    ],
)
def test_a_rate_of_swaps_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        parse_captions(text)


def test_seeded_digests_are_golden() -> None:
    """A change here means that arms under these views are others: it needs a reason in
    docs/log.md.
    """
    tree = table([at % 8 for at in range(64)])
    found = {view: label_view(view, tree, np.arange(64), 5, "tree").digest()[:8] for view in SEEDED}
    assert found == json.loads(Path(__file__).with_name("golden_views.json").read_text())
