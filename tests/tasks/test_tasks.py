"""Tasks: splits, the cut of validation from train, and few-shot draws, checked against what they
promise.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table
from headwater.tasks import Task, resolve_task


class Listed(Source):
    """A source of names alone."""

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        rows = sorted(
            (f"{split}/{name}/{i:04d}", split, name)
            for split, classes in counts.items()
            for name, n in classes.items()
            for i in range(n)
        )
        ids, splits, names = (np.array(column, dtype=object) for column in zip(*rows, strict=True))
        self.name, self.table = "listed", Table(ids=ids, splits={"split": splits}, levels=(names,))

    def image(self, position: int) -> bytes:
        raise AssertionError("a task is resolved without reading an image")

    def byte_hashes(self, positions: Positions) -> list[str]:
        return [str(self.table.ids[at]) for at in positions]


def task(counts: dict[str, dict[str, int]]) -> Task:
    return resolve_task("t", Listed(counts), "level:0", split_column="split")


CARVED = {"train": {"a": 100, "b": 40, "c": 7, "d": 2, "e": 1}, "test": {"a": 5, "b": 5, "c": 5}}


def per_class(one: Task, positions: Positions) -> list[int]:
    return np.bincount(one.labels[positions], minlength=one.num_classes).tolist()


def test_a_carved_val_is_15_percent_of_each_class_and_disjoint_from_train() -> None:
    one = task(CARVED)
    assert one.carved
    assert per_class(one, one.val) == [15, 6, 1, 1, 0]  # 0.15 n rounded; one of two; none of one
    assert not set(one.train) & set(one.val)
    assert (
        sorted([*one.train, *one.val])
        == np.flatnonzero(one.source.table.splits["split"] == "train").tolist()
    )
    again = task(CARVED)
    assert np.array_equal(one.val, again.val)


def test_the_cut_is_golden() -> None:
    """Ids of cells hash it: another cut would make every store start again."""
    one = task(CARVED)
    assert [str(one.source.table.ids[at])[6:] for at in one.val[-8:]] == [
        "b/0000",
        "b/0006",
        "b/0013",
        "b/0016",
        "b/0017",
        "b/0036",
        "c/0004",
        "d/0000",
    ]
    assert hashlib.sha256(one.val.astype("<i8").tobytes()).hexdigest()[:16] == "ebe4873269a37f98"


def test_the_cut_of_a_class_does_not_depend_on_the_other_classes() -> None:
    one, other = task(CARVED), task({**CARVED, "train": {"a": 100, "b": 40, "c": 7}})

    def of_first_class(carved: Task) -> set[str]:
        return set(carved.source.table.ids[carved.val[carved.labels[carved.val] == 0]])

    assert of_first_class(one) == of_first_class(other)


def test_a_val_split_of_its_own_is_kept() -> None:
    one = task({"train": {"a": 9, "b": 9}, "val": {"a": 2, "b": 3}, "test": {"a": 1, "b": 4}})
    assert not one.carved
    assert (len(one.train), per_class(one, one.val), len(one.test)) == (18, [2, 3], 5)
    assert one.majority == pytest.approx(0.8)


SPLIT = {
    "train": {"a": 30, "b": 20, "c": 12},
    "val": {"a": 9, "b": 3, "c": 1},
    "test": {"a": 4, "b": 4, "c": 4},
}


def test_draws_are_nested_in_shots_and_val_is_as_many_a_class() -> None:
    one = task(SPLIT)
    before: set[int] = set()
    for shots in (1, 2, 5, 10):
        draw = one.draw(shots, 0, seed=3, val="matched")
        assert per_class(one, draw.train) == [shots] * 3
        assert per_class(one, draw.val) == [min(shots, n) for n in (9, 3, 1)]
        assert set(draw.train) <= set(one.train)
        assert set(draw.val) <= set(one.val)
        assert before <= set(draw.train)
        before = set(draw.train)


def test_draws_differ_by_draw_and_seed_and_are_otherwise_the_same_for_every_arm() -> None:
    one = task(SPLIT)
    draws = {
        (seed, draw): tuple(one.draw(5, draw, seed=seed, val="full").train)
        for seed in range(3)
        for draw in range(3)
    }
    assert len(set(draws.values())) == 9
    assert draws == {
        (seed, draw): tuple(task(SPLIT).draw(5, draw, seed=seed, val="full").train)
        for seed in range(3)
        for draw in range(3)
    }
    assert np.array_equal(one.draw(5, 0, seed=0, val="full").val, one.val)


def test_the_full_draw_is_everything_and_missing_classes_are_counted() -> None:
    one = task({**SPLIT, "val": {"a": 2}})
    full = one.draw(None, None, seed=1, val="matched")
    assert np.array_equal(full.train, one.train)
    assert np.array_equal(full.val, one.val)
    assert full.val_missing_classes == 2


def test_every_image_is_drawn_about_as_often() -> None:
    one = task(SPLIT)
    counts = np.zeros(len(one.source.table))
    for draw in range(600):
        counts[one.draw(3, draw, seed=0, val="full").train] += 1
    a = counts[one.train][one.labels[one.train] == 0]
    assert a.sum() == 1800
    assert (
        a.min() > 30
    )  # 60 expected; five standard deviations (sqrt(600 * .1 * .9) = 7.3) below is 23
    assert a.max() < 97


def test_shots_above_a_class_are_refused_unless_capped() -> None:
    one = task(SPLIT)
    with pytest.raises(
        InputError, match=r"13 shots, but class 'c' has 12 training images; .*`cap: true`"
    ):
        one.check_shots(13, cap=False)
    one.check_shots(12, cap=False)
    one.check_shots(13, cap=True)
    assert per_class(one, one.draw(25, 0, seed=0, val="matched").train) == [25, 20, 12]


class Named(Listed):
    """Classes under a coarser level."""

    def __init__(self, parents: dict[str, str]) -> None:
        super().__init__({split: dict.fromkeys(parents, 4) for split in ("train", "val", "test")})
        fine = self.table.levels[0]
        self.table = dataclasses.replace(
            self.table,
            levels=(fine, np.array([parents[name] for name in fine.tolist()], dtype=object)),
        )


def resolved(source: Source, view: str) -> Task:
    return resolve_task("t", source, view, split_column="split")


def test_superclasses_are_the_next_coarser_level_where_it_divides_the_classes() -> None:
    one = resolved(Named({"oak": "plant", "cat": "animal", "dog": "animal"}), "level:0")
    assert one.class_names == ("cat", "dog", "oak")
    assert one.superclass_names == ("animal", "plant")
    assert one.superclasses is not None
    assert one.superclasses.dtype == np.int64
    assert one.superclasses.tolist() == [0, 0, 1]
    for view in ("level:1", "random:2", "depth:1"):
        assert resolved(one.source, view).superclasses is None
        assert resolved(one.source, view).superclass_names is None
    assert resolved(Named({"oak": "thing", "cat": "thing"}), "level:0").superclasses is None, (
        "one class for all says nothing"
    )
    assert resolved(Named({"oak": "", "cat": "animal"}), "level:0").superclasses is None


def test_prompt_names_are_words_and_the_sources_own_come_first() -> None:
    source = Named({"fruit/Golden-Delicious": "fruit", "animal/big_cat": "animal", "_": "animal"})
    one = resolved(source, "level:0")
    assert dict(zip(one.class_names, one.prompt_names, strict=True)) == {
        "_": "_",
        "animal/big_cat": "big cat",
        "fruit/Golden-Delicious": "Golden Delicious",
    }
    source.table = dataclasses.replace(source.table, spoken={"animal/big_cat": "lion"})
    assert resolved(source, "level:0").prompt_names[1] == "lion"
    assert (one.metric, one.templates) == ("top1", ())
