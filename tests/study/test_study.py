"""The words of a study: crossing counted by hand, and identities that stay."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headwater.errors import InputError
from headwater.plan import Plan
from headwater.study import Budget, Recipes, Study, canonical, identity
from tests.conftest import tiny


def study(**changes: Any) -> Study:
    return Study.model_validate(tiny(**changes))


def test_axes_are_crossed_and_those_that_mean_nothing_to_a_method_are_not() -> None:
    words = study(
        sources=["paint", "other"],
        methods=["scratch", "supervised", "simclr", "clip"],
        labels=["level:0", "level:1", "random:4"],
        sizes=["all", 50],
        seeds=2,
    )
    # a seed: scratch 1; each of 2 sources at 2 sizes: supervised 3 views + simclr 1 + clip 1
    assert len(words.arms()) == 2 * (1 + 2 * 2 * (3 + 1 + 1))
    assert len(set(words.arms())) == len(words.arms())
    assert {arm.labels for arm in words.arms() if arm.method == "simclr"} == {None}
    assert {arm.labels for arm in words.arms() if arm.method == "clip"} == {"captions"}
    assert all(
        arm.source is None and arm.size is None for arm in words.arms() if arm.method == "scratch"
    )


def test_a_source_can_narrow_the_axes() -> None:
    narrowed = {"methods": ["supervised"], "labels": ["instance"], "sizes": [10, 20]}
    words = study(
        sources={"paint": None, "other": narrowed},
        labels=["level:0", "level:1"],
        methods=["supervised", "simclr"],
        seeds=[5],
    )
    assert [arm.title for arm in words.arms()] == [
        "supervised · paint · level:0",
        "supervised · paint · level:1",
        "simclr · paint",
        "supervised · other · instance · 10 images",
        "supervised · other · instance · 20 images",
    ]


def test_cells_cross_tasks_shots_and_draws_and_the_full_split_has_no_draw() -> None:
    words = study(
        tasks={"a": {"data": "other"}, "b": {"data": "other", "labels": "level:1"}},
        protocols={
            "probe": {"shots": [1, 5, "full"], "draws": 3},
            "finetune": {"tasks": "b", "shots": 2},
        },
    )
    cells, *others = map(words.cells, words.arms())
    assert others == [cells] * 3
    assert len(cells) == 2 * (2 * 3 + 1) + 1
    assert {cell.draw for cell in cells if cell.shots is None} == {None}
    assert [(c.task, c.shots, c.draw) for c in cells if c.protocol == "finetune"] == [("b", 2, 0)]


def test_a_source_is_trained_for_its_own_seeds_and_scratch_for_all() -> None:
    words = study(
        sources={"paint": None, "other": {"seeds": [7]}},
        methods=["scratch", "simclr"],
        seeds=[3, 5, 7],
    )
    assert [(arm.source, arm.seed) for arm in words.arms()] == [
        (None, 3),
        ("paint", 3),
        (None, 5),
        ("paint", 5),
        (None, 7),
        ("paint", 7),
        ("other", 7),
    ]


def test_a_task_measures_its_own_sources_and_scratch_always() -> None:
    tasks = {
        "all": {"data": "other"},
        "one": {"data": "other", "labels": "level:1", "sources": ["other"]},
    }
    words = study(
        sources=["paint", "other"],
        methods=["scratch", "simclr"],
        seeds=1,
        tasks=tasks,
        protocols={"probe": {}, "finetune": {"tasks": ["one"]}},
    )
    measured = {}
    for arm in words.arms():
        measured[arm.source] = [(cell.protocol, cell.task) for cell in words.cells(arm)]
    whole = [("probe", "all"), ("probe", "one"), ("finetune", "one")]
    assert measured == {None: whole, "paint": [("probe", "all")], "other": whole}


def test_shorthands_mean_what_they_stand_for() -> None:
    assert study(sources={"paint": {"seeds": 2}}, seeds=3) == study(
        sources={"paint": {"seeds": [0, 1]}}, seeds=3
    )
    assert study(tasks={"other": {"data": "other", "sources": "paint"}}) == study(
        tasks={"other": {"data": "other", "sources": ["paint"]}}
    )
    assert study(seeds=3) == study(seeds=[0, 1, 2])
    assert study(sources="paint") == study(sources={"paint": {"data": "paint"}})
    assert study(labels="level:1") == study(labels=["level:1"])


EMPTY: list[dict[str, Any]] = [
    {"labels": []},
    {"sizes": []},
    {"methods": []},
    {"seeds": []},
    {"sources": {"paint": {"methods": []}}},
    {"sources": {"paint": {"labels": []}}},
    {"sources": {"paint": {"sizes": []}}},
    {"sources": {"paint": {"splits": []}}},
    {"protocols": {"probe": {"tasks": []}}},
    {"sources": {"paint": {"seeds": []}}},
    {"tasks": {"other": {"data": "other", "sources": []}}},
    {"protocols": {"probe": {"shots": []}}},
    {"protocols": {"finetune": {"lr": []}}},
    {"protocols": {"finetune": {"tasks": []}}},
]
TWICE: list[dict[str, Any]] = [
    {"methods": ["simclr", "simclr"]},
    {"labels": ["level:0", "level:0"]},
    {"sizes": [5, 5]},
    {"seeds": [3, 3]},
    {"sources": {"paint": {"splits": ["train", "train"]}}},
    {"sources": {"paint": {"sizes": ["all", "all"]}}},
    {"protocols": {"probe": {"shots": [5, "full", 5]}}},
    {"protocols": {"probe": {"tasks": ["other", "other"]}}},
    {"sources": {"paint": {"seeds": [0, 0]}}},
    {"tasks": {"other": {"data": "other", "sources": ["paint", "paint"]}}},
    {"protocols": {"probe": {"l2": [1, 1.0]}}},
    {"protocols": {"finetune": {"lr": [1e-3, 0.001]}}},
]
NO_NUMBERS: list[dict[str, Any]] = [
    {"sources": {"paint": {"seeds": True}}},
    {"sources": {"paint": {"seeds": "1"}}},
    {"seeds": True},
    {"seeds": [True]},
    {"seeds": "3"},
    {"budget": {"epochs": True}},
    {"budget": {"epochs": "3"}},
    {"budget": {"steps": "40"}},
    {"budget": {"steps": True}},
    {"budget": {"steps": 40.0}},
    {"sizes": [True]},
    {"sizes": ["100"]},
    {"image_size": True},
    {"recipe": {"lr": True}},
    {"protocols": {"probe": {"shots": True}}},
    {"protocols": {"probe": {"shots": ["5"]}}},
    {"protocols": {"probe": {"draws": True}}},
    {"protocols": {"finetune": {"lr": [True]}}},
    {"data": {"paint": {"kind": "world", "train": True}, "other": {"kind": "world"}}},
    {"data": {"paint": {"kind": "world", "noise": "0.1"}, "other": {"kind": "world"}}},
    {"tasks": {"other": {"data": "other", "cap": "yes"}}},
    {"data": {"paint": {"kind": "world", "seed": 2**31}, "other": {"kind": "world"}}},
]


@pytest.mark.parametrize("changes", EMPTY, ids=str)
def test_an_empty_list_means_neither_all_nor_none(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        study(**changes)


@pytest.mark.parametrize("changes", TWICE, ids=str)
def test_nothing_is_listed_twice(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="listed twice"):
        study(**changes)


@pytest.mark.parametrize("changes", NO_NUMBERS, ids=str)
def test_what_is_no_number_is_not_taken_for_one(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        study(**changes)


def test_an_integer_is_a_number() -> None:
    assert study(budget={"epochs": 3}) == study(budget={"epochs": 3.0})
    assert study(recipe={"lr": 1}).recipe.lr == 1.0


def test_a_source_narrows_methods_and_adds_none() -> None:
    with pytest.raises(
        ValidationError, match=r"'clip' is not among the study's methods \(supervised, simclr\)"
    ):
        study(sources={"paint": {"methods": ["simclr", "clip"]}}, methods=["supervised", "simclr"])


def test_words_are_frozen_and_survive_json() -> None:
    words = study(recipe={"lr": 0.1, "simclr": {"lr": 0.2}})
    with pytest.raises(ValidationError, match="frozen"):
        words.image_size = 64  # type: ignore[misc]
    assert Study.model_validate(json.loads(json.dumps(words.words()))) == words


def test_a_budget_counts_images() -> None:
    assert Budget(epochs=2.5).images(101, batch=7) == 252
    assert Budget(epochs=0.001).images(10, batch=7) == 1
    assert Budget(images_seen=33).images(101, batch=7) == 33
    assert Budget(steps=4).images(101, batch=7) == 28
    assert Budget(epochs=1.7e308).images(101, batch=7) == 10**18


def test_a_recipe_under_a_methods_name_wins() -> None:
    recipe = Recipes.model_validate(
        {
            "lr": 1,
            "batch": 8,
            "augmentation": {"flip": 0, "grey": 0},
            "simclr": {"lr": 2, "augmentation": {"grey": 1}},
        }
    )
    assert recipe.of("simclr") == {"lr": 2, "batch": 8, "augmentation": {"flip": 0, "grey": 1}}
    assert recipe.of("clip") == {"lr": 1, "batch": 8, "augmentation": {"flip": 0, "grey": 0}}


def test_canonical_json_is_this_text() -> None:
    assert (
        canonical({"b": (1, 2.0, None), "a": {"z": None, "é": True}})
        == '{"a":{"é":true},"b":[1,2.0,null]}'
    )


def test_identities_are_golden() -> None:
    """A change here makes every store start again: it needs a reason in docs/log.md."""
    assert identity({"method": "scratch", "seed": 0}) == "3fde608bb76ff392"
    assert identity({"seed": 0, "method": "scratch", "later": None}) == "3fde608bb76ff392"


_JSON = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(_JSON)
def test_canonical_json_reads_back_and_does_not_depend_on_order(value: Any) -> None:
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(_reversed(value)) == text


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _reversed(v) for k, v in reversed(value.items())}
    return [_reversed(v) for v in value] if isinstance(value, list) else value


def test_several_budgets_are_an_axis_and_one_is_none() -> None:
    two = [{"images_seen": 100}, {"images_seen": 400}]
    words = tiny(methods=["scratch", "supervised"], sizes=[50, "all"], budget=two)
    crossed = Study.model_validate(words)
    titles = [arm.title for arm in crossed.arms()]
    assert titles == [
        "scratch",
        "supervised · paint · level:0 · 50 images · 100 seen",
        "supervised · paint · level:0 · 50 images · 400 seen",
        "supervised · paint · level:0 · 100 seen",
        "supervised · paint · level:0 · 400 seen",
    ]
    seen = [crossed.budget_of(arm).images_seen for arm in crossed.arms()[1:]]
    assert seen == [100, 400, 100, 400]
    assert Study.parse(crossed.to_yaml()) == crossed
    alone = Study.model_validate(tiny(methods=["supervised"], budget={"epochs": 2}))
    assert alone == Study.model_validate(tiny(methods=["supervised"], budget=[{"epochs": 2}]))
    assert all(arm.budget is None for arm in alone.arms())


def test_an_arm_under_one_of_several_budgets_is_the_arm_under_that_one_alone() -> None:
    both = [{"steps": 4}, {"steps": 8}]
    ids = {}
    for name, budget in (("both", both), ("four", both[0]), ("eight", both[1])):
        plan = Plan.make(Study.model_validate(tiny(methods=["supervised"], budget=budget)))
        ids[name] = [arm.id for arm in plan.arms]
    assert ids["both"] == ids["four"] + ids["eight"]


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ([{"epochs": 2}, {"epochs": 2}], r"\{'epochs': 2.0\} is listed twice"),
        ([{"epochs": 2}, {"epochs": 2, "steps": 3}], "give exactly one of"),
        ([], "at least 1"),
    ],
)
def test_a_wrong_list_of_budgets_is_refused(budget: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        Study(tiny(budget=budget))
