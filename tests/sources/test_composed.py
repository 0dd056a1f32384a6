"""Mixes and views: images of other data sets, in given shares, under conditions; nothing copied."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.plan import EVERYTHING, Looking, Plan
from headwater.sources.composed.strata import Division, Strata
from headwater.study import Study
from tests.sources.folders import put_images

SHARED, ONLY_A, ONLY_B = "cup", "pear", "van"


def _put(folder: Path, paths: list[str]) -> None:
    """Images of which no two are the same file, in whatever folder."""
    put_images(folder, *paths)
    for path in paths:
        with (folder / path).open("ab") as file:
            file.write(f"{folder.name}/{path}".encode())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources and a task; `web` has captions, a language and a score for each image."""
    root = tmp_path_factory.mktemp("composed")
    for name, classes in (("a", {SHARED: 30, ONLY_A: 10}), ("b", {SHARED: 20, ONLY_B: 20})):
        _put(root / name, [f"train/{each}/{i:02}.png" for each, n in classes.items()
                           for i in range(n)])  # fmt: skip
    _put(root / "task", [f"{split}/{each}/{i}.png" for split in ("train", "test") for each in "xy"
                         for i in range(6)])  # fmt: skip
    web = [f"{i:02}.png" for i in range(20)]
    _put(root / "web", web)
    lines = [
        json.dumps({"path": path, "captions": ["word " * (i + 1), "short"]})
        for i, path in enumerate(web)
    ]
    (root / "web" / "captions.jsonl").write_text("\n".join(lines) + "\n")
    pd.DataFrame(
        {
            "path": web,
            "language": ["en", "de", "fr", "en"] * 5,
            "match": [str(i / 20) if i % 5 else "" for i in range(20)],
        }
    ).to_csv(root / "web" / "known.csv", index=False)
    return root


def study(root: Path, data: dict[str, Any], sources: Any, **changes: Any) -> Study:
    folders = {
        name: {"kind": "folder", "path": str(root / name)} for name in ("a", "b", "task", "web")
    }
    return Study.model_validate(
        {
            "study": "s",
            "data": {**folders, **data},
            "sources": sources,
            "methods": ["simclr"],
            "seeds": 2,
            "budget": {"images_seen": 64},
            "tasks": {"t": {"data": "task"}},
            **changes,
        }
    )


def ids_of(plan: Plan, source: str, seed: int = 0, size: object = None) -> list[str]:
    (arm,) = [
        arm
        for arm in plan.arms
        if (arm.words.source, arm.words.seed) == (source, seed)
        and (size is None or arm.words.size == size)
    ]
    assert arm.source is not None
    return [str(each) for each in arm.source.table.ids[arm.positions]]


def _parts(ids: Iterable[str]) -> Counter[str]:
    return Counter(each.partition("/")[0] for each in ids)


MIX = {"both": {"kind": "mix", "of": {"a": 3, "b": 1}}}


def test_a_mix_has_its_shares_at_every_size_and_larger_sizes_hold_smaller_ones(root: Path) -> None:
    plan = Plan.make(study(root, MIX, ["both"], sizes=[4, 12, 40, "all"]))
    drawn = [set(ids_of(plan, "both", size=size)) for size in (4, 12, 40, "all")]
    shares = list(map(_parts, drawn))
    assert shares == [{"a": 3, "b": 1}, {"a": 9, "b": 3}, {"a": 30, "b": 10}, {"a": 40, "b": 13}]
    assert drawn[0] < drawn[1] < drawn[2] < drawn[3]


def test_a_mix_takes_of_a_part_what_an_arm_on_the_part_takes(root: Path) -> None:
    plan = Plan.make(study(root, MIX, {"both": {"sizes": [16]}, "a": {"sizes": [12]}}))
    of_mix = {each.removeprefix("a/") for each in ids_of(plan, "both") if each.startswith("a/")}
    assert of_mix == set(ids_of(plan, "a")) and len(of_mix) == 12


def test_seeds_draw_other_images_of_a_mix_though_all_are_asked_for(root: Path) -> None:
    plan = Plan.make(study(root, MIX, ["both"]))
    assert ids_of(plan, "both", 0) != ids_of(plan, "both", 1)
    assert len(ids_of(plan, "both", 0)) == 53, "40 of a, and a third of it of b"


def test_classes_of_one_name_are_one_class_or_two_as_the_words_say(root: Path) -> None:
    def labels(classes: str) -> Plan:
        data = {"both": {"kind": "mix", "of": {"a": 1, "b": 1}, "classes": classes}}
        return Plan.make(study(root, data, ["both"], methods=["supervised"], seeds=1))

    shared, apart = labels("shared"), labels("apart")
    assert shared.arms[0].num_labels == 3 and apart.arms[0].num_labels == 4
    assert any("1 classes of level:0 are in two parts" in note for note in shared.notes)
    assert not any("in two parts" in note for note in apart.notes)


def test_a_size_above_what_the_shares_leave_is_refused_with_the_number(root: Path) -> None:
    with pytest.raises(InputError, match="size 54 is not between 2 and the 53 images that have"):
        Plan.make(study(root, MIX, ["both"], sizes=[54]))


def test_balance_gives_classes_equal_shares_and_a_mix_keeps_them(root: Path) -> None:
    data = {
        "even": {"kind": "view", "of": "a", "balance": "level:0"},
        "both": {"kind": "mix", "of": {"even": 2, "b": 1}},
    }
    plan = Plan.make(study(root, data, ["even", "both"], sizes=[10, 18]))
    assert Counter(each.split("/")[1] for each in ids_of(plan, "even", size=18)) == {
        SHARED: 9,
        ONLY_A: 9,
    }
    parts = Counter("/".join(each.split("/")[0::2][:2]) for each in ids_of(plan, "both", size=18))
    assert parts["even/" + SHARED] == parts["even/" + ONLY_A] == 6


def test_like_takes_the_shares_of_classes_of_another_set(root: Path) -> None:
    data = {"like-b": {"kind": "view", "of": "a", "like": {"data": "b"}}}
    with pytest.raises(InputError, match=r"1 of the 2 classes of b are not among .* 'van' is the"):
        Plan.make(study(root, data, ["like-b"]))
    data["like-b"]["like"] = {"data": "b", "rest": "drop"}
    plan = Plan.make(study(root, data, ["like-b"]))
    assert {each.split("/")[1] for each in ids_of(plan, "like-b")} == {SHARED}
    data = {"like-a": {"kind": "view", "of": "a", "like": {"data": "a"}}}
    plan = Plan.make(study(root, data, ["like-a"], sizes=[8]))
    assert Counter(each.split("/")[1] for each in ids_of(plan, "like-a")) == {SHARED: 6, ONLY_A: 2}


def view(root: Path, **words: Any) -> Plan:
    data = {"some": {"kind": "view", "of": "web", **words}}
    return Plan.make(study(root, data, ["some"], seeds=1))


def test_conditions_keep_images_by_columns_of_a_file_and_tell_what_they_left_out(
    root: Path,
) -> None:
    plan = view(root, table="known.csv", where={"language": ["en", "fr"]})
    assert ids_of(plan, "some") == [f"{i:02}.png" for i in range(20) if i % 4 != 1]
    note = "data some: 15 of the 20 images of web are kept; left out, language is not en or fr: 5"
    assert note in plan.notes


@pytest.mark.parametrize(
    ("score", "wanted"),
    [
        ({"at_least": 0.5}, [11, 12, 13, 14, 16, 17, 18, 19]),
        ({"at_most": 0.2}, [1, 2, 3, 4]),
        ({"at_least": 0.3, "at_most": 0.4}, [6, 7, 8]),
        ({"top": 0.25}, [16, 17, 18, 19]),
    ],
)
def test_a_score_keeps_what_is_within_limits_or_the_highest(
    root: Path, score: dict[str, float], wanted: list[int]
) -> None:
    plan = view(root, table="known.csv", score={"column": "match", **score})
    assert ids_of(plan, "some") == [f"{i:02}.png" for i in wanted]


def test_captions_of_another_length_are_left_out_and_images_without_any(root: Path) -> None:
    data = {"some": {"kind": "view", "of": "web", "caption_words": [3, 6]}}
    plan = Plan.make(study(root, data, ["some"], methods=["clip"], seeds=1))
    assert ids_of(plan, "some") == [f"{i:02}.png" for i in range(2, 6)]
    captions = plan.arms[0].captions
    assert captions is not None and all(len(of_image) == 1 for of_image in captions)


def test_a_view_of_all_images_is_the_same_arm_as_the_data_itself(root: Path) -> None:
    data = {"some": {"kind": "view", "of": "web", "caption_words": [1, 90]}}
    plan = Plan.make(study(root, data, ["some", "web"], seeds=1))
    assert plan.arms[0].id == plan.arms[1].id


def test_rows_say_what_a_source_is_made_of(root: Path) -> None:
    data = {"even": {"kind": "view", "of": "a", "balance": "level:0"}, **MIX}
    data["both"] = {"kind": "mix", "of": {"even": 3, "b": 1}}
    plan = Plan.make(study(root, data, ["both", "b"]))
    said = {plan.names(cell)["source"]: plan.names(cell)["curation"] for cell in plan.cells}
    assert said["b"] is None
    assert json.loads(said["both"])["of"] == {"even": 3, "b": 1}
    assert json.loads(said["both"])["made_of"]["even"]["balance"] == "level:0"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"m": {"kind": "mix", "of": {"a": 1, "bb": 1}}}, "'bb' is not defined; did you mean 'b'?"),
        ({"m": {"kind": "mix", "of": {"a": 1}}}, "a mix is made of two data sets or more"),
        ({"m": {"kind": "mix", "of": {"a": 0, "b": 1}}}, "greater than 0"),
        ({"m": {"kind": "view", "of": "a"}}, "a view needs where, caption_words, score, balance"),
        ({"m": {"kind": "view", "of": "n", "balance": "class"},
          "n": {"kind": "view", "of": "m", "balance": "class"}}, "is made of itself: m of n of m"),
        ({"m": {"kind": "view", "of": "web", "table": "known.csv", "where": {"lang": "en"}}},
         "there is no column 'lang'; it has language, match; did you mean 'language'?"),
        ({"m": {"kind": "view", "of": "web", "table": "known.csv", "where": {"language": "nl"}}},
         "no image has the language 'nl'; they have 'de', 'en', 'fr'"),
        ({"m": {"kind": "view", "of": "web", "table": "known.csv",
                "score": {"column": "language", "at_least": 1}}}, "is 'en' for the image '00.png'"),
        ({"m": {"kind": "view", "of": "web", "caption_words": [50, 60]}}, "leave no image"),
        ({"m": {"kind": "view", "of": "web", "caption_words": [1, 2], "text": "alt"}},
         "there is no text field 'alt'; it has captions"),
        ({"m": {"kind": "view", "of": "web", "balance": "level:0"}}, "has 0 levels of labels"),
        ({"m": {"kind": "view", "of": "web", "table": "gone.csv", "where": {"language": "en"}}},
         "there is no file"),
    ],
)  # fmt: skip
def test_words_that_cannot_be_met_are_refused_with_the_reason(
    root: Path, data: dict[str, Any], message: str
) -> None:
    with pytest.raises((InputError, ValueError)) as error:
        Plan.make(study(root, data, ["m"]))
    assert message in str(error.value)


def test_a_task_of_data_with_shares_is_refused(root: Path) -> None:
    data = {"even": {"kind": "view", "of": "task", "balance": "level:0"}}
    with pytest.raises(InputError, match="has shares that only pre-training draws in"):
        Plan.make(study(root, data, ["a"], tasks={"t": {"data": "even"}}))


@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    weights=st.lists(st.integers(1, 9), min_size=5, max_size=5),
)
def test_every_subset_is_near_its_shares_and_holds_the_smaller_ones(
    counts: list[int], weights: list[int]
) -> None:
    of = np.repeat(np.arange(len(counts)), counts)
    shares = np.array(weights[: len(counts)], dtype=np.float64)
    shares /= shares.sum()
    names = tuple(map(str, range(len(counts))))
    strata = Strata((Division.made(of, shares, names),))
    positions = np.arange(len(of))
    order = np.random.default_rng(0).permutation(len(of))
    before: set[int] = set()
    for size in range(1, strata.most(positions) + 1):
        drawn = strata.drawn(positions, order, size)
        assert len(drawn) == size and before < set(drawn.tolist())
        before = set(drawn.tolist())
        got = np.bincount(of[drawn], minlength=len(shares))
        assert (np.abs(got - size * shares) < 2.5).all()


def test_what_is_known_of_a_part_is_known_of_all_that_is_made_of_it(
    root: Path, tmp_path: Path
) -> None:
    opened: list[str] = []
    watch = Looking(most=None, watch=lambda name, done, total, bad: opened.append(name))
    data = {**MIX, "even": {"kind": "view", "of": "a", "balance": "level:0"}}
    words = study(root, data, ["both", "even"], seeds=1)
    Plan.make(words, cache=tmp_path, looking=watch)
    assert {"a", "b"} <= set(opened) and "both" not in opened and "even" not in opened
    opened.clear()
    Plan.make(words, cache=tmp_path, looking=watch)
    assert not opened


def test_a_broken_image_of_a_part_is_named_and_left_out_where_that_is_asked_for(
    root: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "a"
    shutil.copytree(root / "a", broken)
    (broken / "train" / ONLY_A / "03.png").write_bytes(b"no image")
    data = {**MIX, "a": {"kind": "folder", "path": str(broken)}}
    with pytest.raises(InputError, match=r"data\.both: 1 of 80 images .* cannot be read"):
        Plan.make(study(root, data, ["both"]), looking=EVERYTHING)
    left = study(root, data, ["both"], on_bad_images="skip", max_bad_share=0.1, seeds=1)
    plan = Plan.make(left, looking=EVERYTHING)
    ids = ids_of(plan, "both")
    assert len(ids) == 52 and f"a/train/{ONLY_A}/03.png" not in ids


@pytest.mark.parametrize("kind", ["int", "float", "string", "bool"])
def test_a_table_in_parquet_has_columns_of_its_own_types(root: Path, kind: str) -> None:
    values: dict[str, list[Any]] = {
        "int": [i % 3 for i in range(19)] + [None],
        "float": [i % 4 / 2 for i in range(19)] + [None],
        "string": [str(i % 3) for i in range(19)] + [""], "bool": [i % 2 == 0 for i in range(20)],
    }  # fmt: skip
    path = root / "web" / f"{kind}.parquet"
    names = [f"{i:02}.png" for i in range(20)]
    pq.write_table(pa.table({"path": names[::-1], "value": pa.array(values[kind][::-1])}), path)
    wanted: list[Any] = {"bool": [True], "float": [0.5], "int": [1]}.get(kind, ["1"])
    plan = view(root, table=path.name, where={"value": wanted})
    truth = {"bool": True, "float": 0.5, "int": 1, "string": "1"}[kind]
    assert ids_of(plan, "some") == [
        n for n, v in zip(names, values[kind], strict=True) if v == truth
    ]
    if kind != "bool":
        plan = view(root, table=path.name, score={"column": "value", "at_least": 0.5})
        least = [n for n, v in zip(names, values[kind], strict=True) if v not in (None, "")
                 and float(v) >= 0.5]  # fmt: skip
        assert ids_of(plan, "some") == least


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"]}, "there is no column 'path'"),
        ({"path": ["00.png", "00.png"]}, "row 2: '00.png' is listed twice"),
        ({"path": ["00.png"]}, "does not list 19 of the 20 images, the first is '01.png'"),
        ({"path": [f"{i:02}.png" for i in range(20)], "value": [[1]] * 20}, "holds no"),
    ],
)
def test_a_table_in_parquet_that_cannot_serve_is_refused(
    root: Path, columns: dict[str, list[Any]], message: str
) -> None:
    pq.write_table(pa.table(columns), root / "web" / "odd.parquet")
    with pytest.raises(InputError, match=message):
        view(root, table="odd.parquet", where={"value": "1"})
    (root / "web" / "broken.parquet").write_bytes(b"no table")
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        view(root, table="broken.parquet", where={"value": "1"})


def test_a_view_of_a_view_ranks_and_counts_what_is_still_there(root: Path) -> None:
    data = {
        "low": {"kind": "view", "of": "web", "table": "known.csv",
                "score": {"column": "match", "at_most": 0.45}},
        "some": {"kind": "view", "of": "low", "table": "known.csv",
                 "score": {"column": "match", "top": 0.5}},
    }  # fmt: skip
    plan = Plan.make(study(root, data, ["some"], seeds=1))
    assert ids_of(plan, "some") == ["06.png", "07.png", "08.png", "09.png"]
    assert any("4 of the 8 images of low are kept" in note for note in plan.notes)


def test_samples_of_one_name_in_two_parts_have_keys_of_their_own(root: Path) -> None:
    source = Plan.make(study(root, MIX, ["both"])).arms[0].source
    assert source is not None
    assert len(set(source.hashes.tolist())) == len(source.table)
    assert len(set(source.size_hashes.tolist())) < len(source.table)


def test_shares_within_parts_of_a_mix_of_mixes_are_held(root: Path) -> None:
    data = {
        **MIX,
        "even": {"kind": "view", "of": "b", "balance": "level:0"},
        "outer": {"kind": "mix", "of": {"both": 1, "even": 3}},
    }
    plan = Plan.make(study(root, data, ["outer"]))
    parts = _parts(ids_of(plan, "outer"))
    classes = Counter(each.split("/")[2] for each in ids_of(plan, "outer") if each[:4] == "even")
    assert abs(parts["even"] - 3 * parts["both"]) <= 3 and sum(parts.values()) == 53
    assert abs(classes[SHARED] - classes[ONLY_B]) <= 1


def test_shares_over_shares_are_refused_with_both_readings(root: Path) -> None:
    for words in ({"balance": "level:0"}, {"like": {"data": "a"}}):
        data = {**MIX, "m": {"kind": "view", "of": "both", **words}}
        with pytest.raises(InputError, match="both has shares already, which could be kept or"):
            Plan.make(study(root, data, ["m"]))


def test_a_share_of_less_than_an_image_and_a_part_without_images_are_refused(root: Path) -> None:
    tiny = {"m": {"kind": "mix", "of": {"a": 1e6, "b": 1}}}
    with pytest.raises(InputError, match="of 40 images the share of 'b' is less than one"):
        Plan.make(study(root, tiny, ["m"]))
    none = {"m": {"kind": "mix", "of": {"a": 1, "task": 1}}}
    with pytest.raises(InputError, match="m has no image of 'a' in test; name other `splits`"):
        Plan.make(study(root, none, {"m": {"splits": ["test"]}}))
