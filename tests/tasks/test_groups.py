"""Groups and index files: no group in two splits, whatever the groups are; the same seed gives the
same file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table
from headwater.tasks import resolve_task, split_index


class Grouped(Source):
    """Images by (split, class, group), with a group column `camera`."""

    def __init__(self, rows: Sequence[tuple[str, str, str]]) -> None:
        self.name = "cameras"
        splits, classes, groups = (
            np.array(column, dtype=object) for column in zip(*rows, strict=True)
        )
        ids = np.array([f"{i:05d}" for i in range(len(rows))], dtype=object)
        self.table = Table(
            ids=ids, splits={"split": splits}, levels=(classes,), groups={"camera": groups}
        )

    def image(self, position: int) -> bytes:
        raise AssertionError("no image is read")

    def byte_hashes(self, positions: Positions) -> list[str]:
        return [str(self.table.ids[at]) for at in positions]


def names(source: Source, positions: Positions) -> set[str]:
    return set(source.table.groups["camera"][positions].tolist())


rows = st.lists(
    st.tuples(st.just("train"), st.sampled_from("abc"), st.integers(0, 9).map("camera {}".format)),
    min_size=6,
    max_size=80,
)


@given(rows)
@settings(max_examples=150)
def test_a_carved_val_takes_whole_groups_and_leaves_every_class_in_train(
    train: list[tuple[str, str, str]],
) -> None:
    own = sorted({name for _, name, _ in train})
    source = Grouped([*train, *(("test", name, "elsewhere") for name in own)])
    if len(own) < 2:
        return
    try:
        one = resolve_task("t", source, "level:0", split_column="split", group="camera")
    except InputError as error:
        assert "too few training groups" in str(error)
        return
    assert not names(source, one.train) & names(source, one.val)
    assert sorted([*one.train, *one.val]) == list(range(len(train)))
    assert set(one.labels[one.train]) == set(range(one.num_classes)), (
        "closed-set: val has no class that train lacks"
    )
    assert len(one.val)


@pytest.mark.slow
@given(rows, st.integers(0, 5))
@settings(max_examples=150)
def test_an_index_never_lets_a_group_into_two_splits(
    train: list[tuple[str, str, str]], seed: int
) -> None:
    source = Grouped(train)
    try:
        index = split_index(source, labels="level:0", test=0.2, val=0.1, seed=seed, group="camera")
    except InputError as error:
        assert "too few for a" in str(error)
        return
    parts = {
        split: names(source, np.flatnonzero(index.split == split))
        for split in ("train", "val", "test")
    }
    assert sum(map(len, parts.values())) == len(set().union(*parts.values()))
    assert set(source.table.levels[0][index.split == "train"]) == set(source.table.levels[0])


def test_shares_are_met_and_classes_kept_in_proportion_where_groups_allow() -> None:
    made = [("train", f"class {i % 4}", f"camera {i // 10}") for i in range(4000)]
    one = resolve_task(
        "t",
        Grouped([*made, *(("test", f"class {i}", "x") for i in range(4))]),
        "level:0",
        split_column="split",
        group="camera",
    )
    assert 0.14 < len(one.val) / 4000 < 0.16
    assert np.abs(np.bincount(one.labels[one.val]) / 1000 - 0.15).max() < 0.01


def test_groups_of_unequal_size_are_shared_out_too() -> None:
    sizes = np.random.default_rng(0).zipf(1.6, 300).clip(1, 200)
    made = [
        ("", f"class {(at + j) % 5}", f"camera {at}")
        for at, size in enumerate(sizes)
        for j in range(size)
    ]
    index = split_index(Grouped(made), labels="level:0", test=0.2, val=0.1, seed=3, group="camera")
    total = len(made)
    for split, share in (("test", 0.2), ("val", 0.1)):
        assert abs((index.split == split).sum() / total - share) < 0.01
        assert (
            np.abs(
                np.array(index.counts[split])
                / np.bincount(np.unique([c for _, c, _ in made], return_inverse=True)[1])
                - share
            ).max()
            < 0.03
        )


def test_given_splits_that_a_group_straddles_are_counted() -> None:
    made = [
        ("train", "a", "1"),
        ("train", "b", "2"),
        ("val", "a", "3"),
        ("val", "b", "3"),
        ("test", "a", "1"),
        ("test", "b", "2"),
        ("test", "b", "2"),
    ]
    with pytest.raises(
        InputError,
        match=r"task 't': 2 groups of 'camera' are in train and in test \(3 test images; one is "
        r"'1'\)",
    ) as caught:
        resolve_task("t", Grouped(made), "level:0", split_column="split", group="camera")
    assert caught.value.at == ("tasks", "t", "group")
    apart = [(split, name, f"{group} {split}") for split, name, group in made]
    assert (
        resolve_task("t", Grouped(apart), "level:0", split_column="split", group="camera").groups
        is not None
    )
    shared = [(split, name, "v" if split == "test" else group) for split, name, group in made]
    assert (
        len(
            resolve_task("t", Grouped(shared), "level:0", split_column="split", group="camera").test
        )
        == 3
    )


def test_a_group_in_val_and_in_test_is_refused_and_one_in_train_and_in_val_is_not() -> None:
    """What is chosen on validation may have been trained on, and never measured on."""
    train = [("train", name, "1") for name in "ab"]
    test = [("test", name, "2") for name in "ab"]
    with pytest.raises(InputError, match=r"1 groups of 'camera' are in val and in test \(2 test"):
        made = Grouped([*train, ("val", "a", "2"), *test])
        resolve_task("t", made, "level:0", split_column="split", group="camera")
    made = Grouped([*train, ("val", "a", "1"), *test])
    one = resolve_task("t", made, "level:0", split_column="split", group="camera")
    assert names(made, one.val) == names(made, one.train) == {"1"}


def test_an_image_without_a_group_is_one_of_its_own_and_an_unknown_column_names_the_nearest() -> (
    None
):
    made = [("train", "ab"[i % 2], "") for i in range(40)] + [("test", "a", ""), ("test", "b", "")]
    one = resolve_task("t", Grouped(made), "level:0", split_column="split", group="camera")
    assert np.bincount(one.labels[one.val]).tolist() == [3, 3]
    with pytest.raises(InputError, match=r"no group column 'camara'; did you mean 'camera'\?"):
        resolve_task("t", Grouped(made), "level:0", split_column="split", group="camara")


def test_the_cut_does_not_depend_on_the_order_of_rows() -> None:
    made = [("train", "ab"[i % 2], f"camera {i // 3}") for i in range(60)] + [
        ("test", "a", "x"),
        ("test", "b", "x"),
    ]
    source, turned = Grouped(made), Grouped(made)
    order = np.random.default_rng(1).permutation(len(made))
    table = turned.table
    turned.table = Table(
        ids=table.ids[order],
        splits={"split": table.splits["split"][order]},
        levels=(table.levels[0][order],),
        groups={"camera": table.groups["camera"][order]},
    )
    one, other = (
        resolve_task("t", s, "level:0", split_column="split", group="camera")
        for s in (source, turned)
    )
    assert set(source.table.ids[one.val]) == set(turned.table.ids[other.val])


def test_an_index_without_groups_is_stratified_and_keyed() -> None:
    source = Grouped(
        [("", "big", "")] * 100
        + [("", "small", "")] * 5
        + [("", "one", "")]
        + [("", "two", "")] * 2
    )
    index = split_index(source, labels="level:0", test=0.2, val=0.1, seed=0)
    assert index.class_names == ("big", "one", "small", "two")
    assert index.counts == {"train": [70, 1, 3, 1], "test": [20, 0, 1, 1], "val": [10, 0, 1, 0]}
    again, other = (
        split_index(source, labels="level:0", test=0.2, val=0.1, seed=seed) for seed in (0, 1)
    )
    assert index.csv() == again.csv() != other.csv()
    read = list(csv.reader(io.StringIO(index.csv())))
    assert read[0] == ["path", "split"]
    assert [row[1] for row in read[1:]] == index.split.tolist()


def test_the_draw_is_golden() -> None:
    """An index file is made once and kept; another machine, year or version makes the same one."""
    index = split_index(
        Grouped([("", "ab"[i % 2], f"{i // 2}") for i in range(16)]),
        labels="level:0",
        test=0.25,
        val=0.0,
        seed=7,
    )
    grouped = split_index(
        Grouped([("", "ab"[i % 2], f"{i // 2}") for i in range(16)]),
        labels="level:0",
        test=0.25,
        val=0.0,
        seed=7,
        group="camera",
    )
    assert (
        np.flatnonzero(index.split == "test").tolist(),
        np.flatnonzero(grouped.split == "test").tolist(),
    ) == GOLDEN


GOLDEN = ([0, 2, 3, 13], [8, 9, 10, 11])


@pytest.mark.parametrize(
    ("test", "val", "said"),
    [
        (0.0, 0.0, "together they are above 0"),
        (0.6, 0.4, "together they are above 0"),
        (1.0, 0.0, "--test 1 is no share"),
        (0.2, -0.1, "--val -0.1 is no share"),
    ],
)
def test_shares_that_leave_nothing_are_refused(test: float, val: float, said: str) -> None:
    with pytest.raises(InputError, match=said):
        split_index(Grouped([("", "a", "")] * 9), labels=None, test=test, val=val, seed=0)


def test_two_groups_are_too_few_for_three_splits() -> None:
    with pytest.raises(
        InputError, match=r"2 groups of 'camera' are too few for a (test|val) split"
    ):
        split_index(
            Grouped([("", "a", str(i % 2)) for i in range(20)]),
            labels="level:0",
            test=0.2,
            val=0.2,
            seed=0,
            group="camera",
        )
