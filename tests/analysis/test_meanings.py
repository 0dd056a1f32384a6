"""One name with two meanings is kept apart, and told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headwater.analysis import prepare, verdict
from headwater.report.provenance import warnings
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row

Row = dict[str, Any]


def arms(*changes: Row, seeds: int = 2) -> Any:
    """A prepared table with a row for each of the changes and seeds."""
    rows = []
    for number, change in enumerate(changes):
        for seed in range(seeds):
            ids = {"cell": f"c{number}-{seed}", "arm": f"a{number}-{seed}", "seed": seed}
            rows.append(one_row(**ids | change))
    return prepare(to_frame(rows))


A, B = "aaaaaa11", "bbbbbb22"
APART: dict[str, tuple[str, list[Row], list[str]]] = {
    "a source": (
        "source",
        [{"source_fingerprint": A}, {"source_fingerprint": B}],
        ["photos@aaaaaa", "photos@bbbbbb"],
    ),
    "a source of as many images under another view": (
        "source",
        [{"source_fingerprint": A}, {"source_fingerprint": B, "labels": "level:1"}],
        ["photos@aaaaaa", "photos@bbbbbb"],
    ),
    "a size of a source, of one seed": (
        "source",
        [{"source_fingerprint": A, "size": "50"}, {"source_fingerprint": B, "size": "50"}],
        ["photos@aaaaaa", "photos@bbbbbb"],
    ),
    "a task": (
        "task",
        [{"task_fingerprint": A}, {"task_fingerprint": B, "labels": "level:1"}],
        ["birds@aaaaaa", "birds@bbbbbb"],
    ),
    "a task, once without a fingerprint": (
        "task",
        [{"task_fingerprint": A}, {"task_fingerprint": B}, {"task_fingerprint": None}],
        ["birds@aaaaaa", "birds@bbbbbb", "birds@unknown"],
    ),
}


@pytest.mark.parametrize(("column", "changes", "names"), APART.values(), ids=APART)
def test_one_name_with_two_fingerprints_is_two_names_and_both_are_told(
    column: str, changes: list[Row], names: list[str]
) -> None:
    table = arms(*changes)
    assert sorted(set(table[column])) == names
    (told,) = (sentence for sentence in warnings(table) if "stands for" in sentence)
    for name in names:
        assert name in told
    assert any(told in sentence for sentence in verdict(table).sentences)


DEFINED: dict[str, Row] = {
    "classes": {"num_labels": 32},
    "level": {"label_level": 1},
    "noise": {"label_noise": 0.2},
    "features": {"label_features": "timm:resnet18"},
    "kind": {"label_kind": "shuffle"},
    "noise and classes": {"label_noise": 0.2, "num_labels": 32},
}


@pytest.mark.parametrize("change", DEFINED.values(), ids=DEFINED)
def test_one_view_with_two_definitions_is_two_names(change: Row) -> None:
    table = arms(
        {"labels": "fine", "label_kind": "random"},
        {"labels": "fine", "label_kind": "random"} | change,
    )
    names = sorted(set(table["labels"]))
    assert len(names) == 2
    assert all(name.startswith("fine@") for name in names)
    assert table.groupby("name")["seed"].nunique().tolist() == [2, 2]
    assert any("'fine' stands for 2 different label views" in line for line in warnings(table))


def test_tasks_without_fingerprints_are_told_apart_by_what_was_asked() -> None:
    table = arms({"task_fingerprint": None}, {"task_fingerprint": None, "task_labels": "level:1"})
    assert len(set(table["task"])) == 2


ALIKE: dict[str, list[Row]] = {
    "equal fingerprints": [{}, {"labels": "level:1", "num_labels": 57}],
    "sizes drawn by seed": [
        {"size": "50", "source_fingerprint": A, "seed": 0},
        {"size": "50", "source_fingerprint": B, "seed": 1},
    ],
    "views that leave images out": [
        {"source_fingerprint": A},
        {"source_fingerprint": B, "labels": "level:1", "unique_images": 900},
    ],
    "features of the arm of each seed": [
        {"labels": "cluster:8", "label_features": "0a1b", "seed": 0},
        {"labels": "cluster:8", "label_features": "2c3d", "seed": 1},
    ],
    "noise as it fell": [
        {"labels": "noisy", "label_noise": 0.201, "seed": 0},
        {"labels": "noisy", "label_noise": 0.198, "seed": 1},
    ],
    "two names": [{}, {"source": "sketches", "source_fingerprint": B}],
    "no fingerprints": [{"source_fingerprint": None, "task_fingerprint": None}] * 2,
}


@pytest.mark.parametrize("changes", ALIKE.values(), ids=ALIKE)
def test_a_name_with_one_meaning_stays_as_it_is(changes: list[Row]) -> None:
    table = arms(*changes, seeds=1)
    for column in ("source", "labels", "task"):
        assert not table[column].str.contains("@").any()
    assert not any("stands for" in sentence for sentence in warnings(table))


def test_rows_that_were_there_twice_are_told_in_the_warnings_and_the_verdict() -> None:
    rows = to_frame([one_row(), one_row(host="elsewhere"), one_row(cell="c1", seed=1)])
    table = prepare(rows)
    assert len(table) == 2
    assert any(line.startswith("1 row was left out") for line in warnings(table))
    assert any("1 row was left out" in line for line in verdict(table).sentences)


def test_one_name_of_two_mixes_is_kept_apart_and_a_mix_may_differ_by_seed() -> None:
    made = []
    for seed in range(4):
        for name in ("blend", "other"):
            weight = 7 if name == "other" or seed < 2 else 3
            words = {"kind": "mix", "of": {"a": weight, "b": 10 - weight}}
            made.append(
                one_row(cell=f"{name}{seed}", arm=f"{name}{seed}", seed=seed, source=name,
                        source_fingerprint=f"{name}{seed}", curation=json.dumps(words))
            )  # fmt: skip
    table = prepare(to_frame(made))
    names = set(table["source"])
    assert "other" in names and sum(name.startswith("blend@") for name in names) == 2
    view = json.dumps({"kind": "view", "of": "web", "where": {"language": ["en"]}})
    both = [
        one_row(cell=f"v{seed}", arm=f"v{seed}", seed=seed, source="some",
                source_fingerprint=f"f{seed % 2}", curation=view)
        for seed in range(4)
    ]  # fmt: skip
    assert len(set(prepare(to_frame(both))["source"])) == 2, "conditions draw nothing by seed"
