"""Gains on hard and easy samples: an example worked out by hand, nulls that are known, gains that
were planted, and what is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu, ttest_1samp

from headwater.analysis.hardness import (
    BINS,
    _answer,
    _together,
    hardness_bins,
    hardness_gains,
    refused_pairs,
)
from headwater.analysis.intervals import Interval
from headwater.analysis.samples import ANSWERS, conform_answers, read_answers, write_answers
from headwater.errors import InputError

Right = NDArray[np.bool_]
CLASSES = {"level:2": 3, "level:1": 9, "level:0": 81, "cluster:9": 9}


def answers(
    arms: dict[str, Any],
    *,
    hard: Any = None,
    task: str = "fruit",
    target: str = "level:2",
    draws: int = 1,
    **changes: Any,
) -> pd.DataFrame:
    """A table of answers; `arms`: label view -> bool [seeds, n_test], or [seeds * draws, n_test]
    with the draws of a seed one after the other.
    """
    tables = []
    for labels, right in arms.items():
        right = np.asarray(right, dtype=bool)
        models, n = right.shape
        seed, draw = np.divmod(np.repeat(np.arange(models), n), draws)
        few = {"shots": None, "draw": None} if draws == 1 else {"shots": 5, "draw": draw}
        words = {
            "task": task,
            "protocol": "finetune",
            "source": "photos",
            "size": None,
            "labels": labels,
            "num_labels": CLASSES[labels],
        }
        words |= {
            "seed": seed,
            "target": labels == target,
            "decides": True,
            **few,
            "sample": np.tile(np.arange(n), models),
            "right": right.ravel(),
        }
        tables.append(
            pd.DataFrame(
                words | {"hard": None if hard is None else np.tile(hard, models)} | changes
            )
        )
    return conform_answers(pd.concat(tables), "test")


def of_split(table: pd.DataFrame, split: str = "cross-fitted") -> dict[str, Any]:
    (row,) = table[table["split"] == split].to_dict("records")
    return row


# by hand
COARSE = [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]]
FINE = [[1, 1, 1, 0], [1, 1, 0, 1], [0, 1, 1, 0]]
"""Errors of both models of a seed, samples 0 to 3: seed 0: 0 0 1 2, seed 1: 0 1 2 1, seed 2: 1 0 1
1. Of the four other models are wrong for seed 0: 1 1 3 2, for seed 1: 1 0 2 3, for seed 2: 0 1 3 3;
hard (2 or more): {2, 3}, {2, 3}, {2, 3}. Gains, fine - coarse: seed 0: 0 0 1 0, seed 1: 0 1 0 1,
seed 2: -1 0 1 -1. On hard: 1/2, 1/2, 0; on easy: 0, 1/2, -1/2; on all: 1/4, 1/2, -1/4.
"""


def test_four_samples_and_three_seeds_are_as_worked_out_by_hand() -> None:
    row = of_split(hardness_gains(answers({"level:2": COARSE, "level:0": FINE})))
    assert [row["coarse"], row["fine"], row["num_seeds"], row["samples"], row["hard_samples"]] == [
        "level:2",
        "level:0",
        3,
        4,
        2.0,
    ]
    for name, seeds in {
        "hard": [0.5, 0.5, 0],
        "easy": [0, 0.5, -0.5],
        "all": [0.25, 0.5, -0.25],
        "extra": [0.5, 0, 0.5],
    }.items():
        expected = ttest_1samp(seeds, 0).confidence_interval(0.95)
        assert [row[name], row[f"{name}_low"], row[f"{name}_high"]] == pytest.approx(
            [np.mean(seeds), expected.low, expected.high]
        )
    assert row["coarse_on_hard"] == pytest.approx(np.mean([0, 0, 1 / 2]))
    assert row["coarse_on_easy"] == pytest.approx(np.mean([1, 1 / 2, 1]))
    assert row["answer"].startswith("cannot tell (") and pd.isna(row["auc"])
    bins = (
        hardness_bins(answers({"level:2": COARSE, "level:0": FINE}))
        .set_index("bin")["gain"]
        .to_dict()
    )
    assert list(bins) == [BINS[0], BINS[1], BINS[3]], (
        "none of four models wrong, one, two or three; never all"
    )
    assert bins == pytest.approx(
        {BINS[0]: np.mean([1, -1]), BINS[1]: np.mean([0, 0, 0]), BINS[3]: np.mean([0.5, 0.5, 0])}
    )


def test_the_coarse_arms_own_errors_split_as_worked_out_by_hand() -> None:
    """Coarse errors: seed 0: 0 0 1 1, seed 1: 0 1 1 1, seed 2: 0 0 1 0."""
    table = hardness_gains(answers({"level:2": COARSE, "level:0": FINE}))
    same = of_split(table, "same model")
    assert [same["hard"], same["easy"]] == pytest.approx(
        [np.mean([1 / 2, 2 / 3, 1]), np.mean([0, 0, -2 / 3])]
    )
    other = of_split(
        table, "coarse arm"
    )  # of the two others wrong: 0 1 2 1, 0 0 2 1, 0 1 2 2; hard: {1, 2, 3}, {2, 3}, {1, 2, 3}
    assert [other["hard"], other["easy"]] == pytest.approx(
        [np.mean([1 / 3, 1 / 2, 0]), np.mean([0, 1 / 2, -1])]
    )
    assert table.set_index("split")["biased"].to_dict() == {
        "cross-fitted": False,
        "coarse arm": True,
        "same model": True,
    }


def test_the_given_split_is_the_datas_and_the_auc_is_that_of_a_rank_test() -> None:
    hard = np.array([False, True, True, False])
    table = hardness_gains(answers({"level:2": COARSE, "level:0": FINE}, hard=hard))
    given = of_split(table, "given")
    assert [given["hard"], given["easy"]] == pytest.approx(
        [np.mean([1 / 2, 1 / 2, 1 / 2]), np.mean([0, 1 / 2, -1])]
    )
    wrong = np.array([1, 1, 4, 4])
    expected = mannwhitneyu(wrong[hard], wrong[~hard]).statistic / 4
    assert of_split(table)["auc"] == pytest.approx(expected) and pd.isna(given["auc"])
    assert not given["biased"]


def test_a_share_takes_the_hardest_by_rank_and_breaks_ties_alike_at_each_seed() -> None:
    rng = np.random.default_rng(0)
    table = answers({"level:2": rng.random((4, 40)) < 0.7, "level:0": rng.random((4, 40)) < 0.7})
    assert of_split(hardness_gains(table, hard_share=0.3))["hard_samples"] == 12
    always = answers({"level:2": np.ones((4, 40)), "level:0": np.ones((4, 40))})  # nothing but ties
    row = of_split(hardness_gains(always, hard_share=0.5))
    assert (row["hard_samples"], row["hard"], row["easy"]) == (20, 0, 0)
    for share in (0.0, 1.0, -1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            hardness_gains(table, hard_share=share)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    table = answers(
        {name: rng.random((8, 30)) < 0.6 for name in ("level:2", "level:0")},
        hard=rng.random(30) < 0.5,
        draws=2,
    )
    shuffled = table.sample(frac=1, random_state=3)[list(reversed(table.columns))]
    for function in (hardness_gains, hardness_bins):
        pd.testing.assert_frame_equal(function(table), function(shuffled))


def test_draws_are_averaged_within_a_seed_and_each_counts_as_a_model() -> None:
    """A draw doubled is the same as none; a draw that one arm lacks is left out of both."""
    rng = np.random.default_rng(2)
    once = {name: rng.random((4, 50)) < 0.6 for name in ("level:2", "level:0")}
    twice = answers({name: np.repeat(right, 2, axis=0) for name, right in once.items()}, draws=2)
    expected = of_split(hardness_gains(answers(once)))
    found = of_split(hardness_gains(twice))
    for name in ("hard", "easy", "extra_low", "hard_samples", "coarse_on_hard"):
        assert found[name] == pytest.approx(expected[name])
    lost = twice[(twice["labels"] != "level:0") | (twice["seed"] != 1) | (twice["draw"] != 0)]
    assert of_split(hardness_gains(lost))["hard"] == pytest.approx(expected["hard"], abs=0.05)
    assert of_split(hardness_gains(lost))["num_seeds"] == 4


# nulls
def simulated(
    rng: np.random.Generator,
    *,
    seeds: int = 6,
    n: int = 300,
    own: float = 0.0,
    gain: Callable[[NDArray[np.float64]], Any] | None = None,
) -> pd.DataFrame:
    """Models that are right by chance: each sample has a difficulty, and each arm one of its own
    for it (`own`, standard deviation in logits), which stays over seeds. Neither arm is better, but
    for a `gain` that is added to the fine arm's chance.
    """
    difficulty = rng.normal(0.5, 2, n)
    chance = {
        name: 1 / (1 + np.exp(-difficulty - own * rng.normal(size=n)))
        for name in ("level:2", "level:0")
    }
    if gain is not None:
        chance["level:0"] = np.clip(chance["level:0"] + gain(chance["level:2"]), 0, 1)
    return answers({name: rng.random((seeds, n)) < p for name, p in chance.items()})


@pytest.fixture(scope="module")
def nulls() -> pd.DataFrame:
    """200 tables where the two arms are exchangeable."""
    rng = np.random.default_rng(20)
    return pd.concat([hardness_gains(simulated(rng, n=150)) for _ in range(200)])


@pytest.mark.slow
def test_where_labels_make_no_difference_the_gain_is_zero_and_its_interval_covers_at_its_level(
    nulls: pd.DataFrame,
) -> None:
    mine = nulls[nulls["split"] == "cross-fitted"]
    for name in ("hard", "easy", "extra"):
        values = mine[name].to_numpy(dtype=float)
        assert abs(values.mean()) < 4 * values.std(ddof=1) / np.sqrt(len(values))
        assert abs(values.mean()) < 0.005
        covered = ((mine[f"{name}_low"] <= 0) & (mine[f"{name}_high"] >= 0)).mean()
        assert 0.905 <= covered <= 0.995, "within three standard errors (1.5 %) of 95 %"


@pytest.mark.slow
def test_where_labels_make_no_difference_a_split_by_the_compared_models_errors_says_they_do(
    nulls: pd.DataFrame,
) -> None:
    mine = nulls[nulls["split"] == "same model"]
    assert mine["hard"].mean() > 0.2 and mine["easy"].mean() < -0.1
    assert (mine["answer"] == "fine helps more on hard").mean() > 0.95


@pytest.mark.slow
def test_a_split_by_the_coarse_arms_errors_is_biased_where_arms_err_on_samples_of_their_own() -> (
    None
):
    """Each arm has samples that it happens to be bad at, whatever the seed, and neither is
    better.
    """
    rng = np.random.default_rng(21)
    tables = pd.concat([hardness_gains(simulated(rng, own=1.5, n=150)) for _ in range(60)])
    means = tables.groupby("split")[["hard", "easy"]].mean().astype(float)
    assert (
        abs(means.loc["cross-fitted", "hard"]) < 0.02
        and abs(means.loc["cross-fitted", "easy"]) < 0.02
    )
    assert means.loc["coarse arm", "hard"] > 0.08 and means.loc["coarse arm", "easy"] < -0.04


# plants
def test_a_gain_that_was_planted_on_hard_samples_is_found_there_and_nowhere_else() -> None:
    rng = np.random.default_rng(22)
    row = of_split(hardness_gains(simulated(rng, n=3000, gain=lambda chance: 0.2 * (chance < 0.3))))
    assert row["answer"] == "fine helps more on hard" and row["survives"]
    assert 0.05 < row["hard_low"] < row["hard_high"] < 0.2, (
        "some samples of a chance above 0.3 are among the hard ones"
    )
    assert abs(row["easy"]) < 0.02
    bins = hardness_bins(simulated(rng, n=3000, gain=lambda chance: 0.2 * (chance < 0.3)))
    gains = bins.sort_values("order")["gain"].to_numpy(dtype=float)
    assert gains[:2] == pytest.approx(0, abs=0.03) and gains[-2:] == pytest.approx(0.2, abs=0.04)


def around(mean: float) -> Interval:
    return Interval(mean, mean - 0.01, mean + 0.01, 0.01, 5)


@pytest.mark.parametrize(
    ("hard", "easy", "answer"),
    [
        (0.05, 0.0, "fine helps more on hard"),
        (-0.02, -0.05, "fine loses on both, more on easy"),
        (0.0, -0.05, "fine does better on hard than on easy, no gain on hard told"),
        (0.0, 0.05, "fine helps more on easy"),
        (-0.05, -0.02, "fine loses on both, more on hard"),
        (-0.05, 0.0, "fine does better on easy than on hard, no gain on easy told"),
        (0.055, 0.05, "cannot tell (3 more seeds might)"),
    ],
)
def test_the_answer_says_on_which_side_fine_labels_do_better(
    hard: float, easy: float, answer: str
) -> None:
    assert _answer(around(hard), around(easy), around(hard - easy), 3) == answer


def test_settings_share_the_error_and_the_second_of_two_needs_less_than_the_first() -> None:
    """By Holm: 0.02 x 2 and 0.04 are both below 0.05; Bonferroni would tell one."""
    records: list[dict[str, Any]] = [
        {"split": split, "p": p}
        for split, ps in {"cross-fitted": (0.04, 0.02), "given": (0.04, 0.03, None)}.items()
        for p in ps
    ]
    _together(records, 0.95)
    assert [record["survives"] for record in records] == [True, True, False, False, False]
    assert [record["num_comparisons"] for record in records] == [2, 2, 3, 3, 3]


# which arms, and what is refused
def pairs(table: pd.DataFrame, **named: str) -> set[tuple[str, str, str]]:
    gains = hardness_gains(table, **named)
    return set(gains[["task", "coarse", "fine"]].itertuples(index=False, name=None))


def random_arms(*labels: str, seeds: int = 3) -> dict[str, Right]:
    rng = np.random.default_rng(5)
    return {name: rng.random((seeds, 20)) < 0.6 for name in labels}


def test_left_to_itself_it_sets_the_finest_level_against_the_tasks_own_or_the_coarsest() -> None:
    three = random_arms("level:2", "level:1", "level:0", "cluster:9")
    tables = [
        answers(three, task=task, target=target)
        for task, target in (("own", "level:1"), ("finest", "level:0"), ("other", "none"))
    ]
    every = pd.concat(tables)
    assert pairs(every) == {
        ("own", "level:1", "level:0"),
        ("finest", "level:2", "level:0"),
        ("other", "level:2", "level:0"),
    }
    assert pairs(every, coarse="cluster:9") == {
        (task, "cluster:9", "level:0") for task in ("own", "finest", "other")
    }
    assert pairs(tables[0], fine="level:1") == {("own", "level:2", "level:1")}
    assert pairs(tables[0], coarse="level:0", fine="cluster:9") == {("own", "level:0", "cluster:9")}


def test_fewer_than_three_seeds_are_refused_and_keep_no_other_setting_from_an_answer() -> None:
    few, enough = (
        answers(random_arms("level:2", "level:0", seeds=2), task="few"),
        answers(random_arms("level:2", "level:0"), task="enough"),
    )
    with pytest.raises(
        InputError,
        match=r"photos, few, finetune, all images: 2 seeds with both level:2 and level:0; hardness "
        r"is told by other .* 3 or more",
    ):
        hardness_gains(few)
    both = pd.concat([few, enough])
    assert pairs(both) == {("enough", "level:2", "level:0")}
    assert [sentence.split(":")[0] for sentence in refused_pairs(both)] == [
        "photos, few, finetune, all images"
    ]
    assert refused_pairs(enough) == []


def test_only_seeds_that_both_arms_have_count() -> None:
    table = answers(random_arms("level:2", "level:0", seeds=5))
    table = table[~((table["labels"] == "level:0") & (table["seed"] == 2))]
    assert of_split(hardness_gains(table))["num_seeds"] == 4


def test_a_split_without_hard_samples_says_so() -> None:
    row = of_split(
        hardness_gains(answers({"level:2": np.ones((3, 8)), "level:0": np.ones((3, 8))}))
    )
    assert pd.isna(row["hard"]) and row["easy"] == 0 and row["num_seeds"] == 0
    assert row["answer"] == "cannot tell (no seed has hard and easy samples)"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            {"coarse": "level:7"},
            r"no arm with kept answers was trained on 'level:7'; there are level:0 and level:2",
        ),
        ({"coarse": "level:0", "fine": "level:0"}, "named as coarse and as fine"),
        ({"coarse": "level:2", "fine": "level:2"}, "named as coarse and as fine"),
        (
            {"fine": "level:2"},
            r"a level and level:2 are not both there; its arms have level:2 and level:0",
        ),
    ],
)
def test_a_pair_that_is_not_there_is_named(named: dict[str, str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        hardness_gains(answers(random_arms("level:2", "level:0")), **named)


def test_a_frozen_encoder_on_its_own_labels_decides_nothing() -> None:
    table = answers(random_arms("level:2", "level:0"))
    assert hardness_gains(table)["decides"].all()
    table.loc[table["labels"] == "level:2", "decides"] = False
    assert not hardness_gains(table)["decides"].any()


# the table
def test_a_table_of_answers_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = answers(random_arms("level:2", "level:0"), hard=np.arange(20) % 2 == 0)
    path = write_answers(table.sample(frac=1, random_state=0), tmp_path / "new" / "answers.parquet")
    pd.testing.assert_frame_equal(read_answers(path), table)
    assert [file.name for file in path.parent.iterdir()] == ["answers.parquet"]
    with pytest.raises(InputError, match=r"written as \.parquet"):
        write_answers(table, tmp_path / "answers.csv")
    (tmp_path / "folder.parquet").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_answers(table, tmp_path / "folder.parquet")
    with pytest.raises(InputError, match="no such file"):
        read_answers(tmp_path / "none.parquet")
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(InputError, match=r"text\.parquet: cannot be read as a table of answers"):
        read_answers(tmp_path / "text.parquet")


@pytest.mark.parametrize("column", list(ANSWERS))
def test_a_column_that_is_missing_or_of_another_type_is_named(column: str) -> None:
    table = answers(random_arms("level:2", "level:0"))
    if column != "label_kind":  # tables of before lack it
        with pytest.raises(InputError, match=f"the column '{column}' is missing"):
            conform_answers(table.drop(columns=column), "x")
    if ANSWERS[column] != "string":
        with pytest.raises(InputError, match=f"the column '{column}' should be {ANSWERS[column]}"):
            conform_answers(table.assign(**{column: "words"}), "x")
    if column not in ("shots", "draw", "size", "hard", "label_kind"):
        with pytest.raises(InputError, match=f"the column '{column}' has a null, in row 1"):
            conform_answers(table.assign(**{column: None}), "x")


def test_views_that_a_study_names_make_the_pair_that_plain_ones_make() -> None:
    arms = {"level:2": COARSE, "level:0": FINE, "cluster:9": FINE}
    plain = answers(arms)
    names = {"level:2": "coarse", "level:0": "fine", "cluster:9": "found"}
    named = plain.assign(labels=plain["labels"].map(names))
    row = of_split(hardness_gains(named))
    assert (row.pop("coarse"), row.pop("fine")) == ("coarse", "fine")
    expected = of_split(hardness_gains(plain))
    assert (expected.pop("coarse"), expected.pop("fine")) == ("level:2", "level:0")
    assert str(row) == str(expected)
    old = plain.drop(columns="label_kind")
    pd.testing.assert_frame_equal(hardness_gains(old), hardness_gains(plain))
    with pytest.raises(InputError, match="two levels are not both there"):
        hardness_gains(named.drop(columns="label_kind"))  # nobody can know


def test_samples_that_are_missing_or_twice_are_refused() -> None:
    table = answers(random_arms("level:2", "level:0"))
    for broken in (
        table.iloc[1:],
        pd.concat([table, table.iloc[:1]]),
        pd.concat([table, table]),
        table[table["sample"] != 4],
    ):
        with pytest.raises(InputError, match="do not each answer samples"):
            hardness_gains(broken)
    with pytest.raises(InputError, match="not measured on the same number of test samples"):
        hardness_gains(table[(table["labels"] == "level:2") | (table["sample"] < 10)])


def test_the_arm_with_fewer_classes_is_the_coarse_one_whichever_way_it_is_asked() -> None:
    """--coarse level:0 alone would set the finest level against itself; --coarse level:0 --fine
    level:2 would turn the answer round.
    """
    table = simulated(np.random.default_rng(23), n=60)
    counts = table.groupby("labels")["num_labels"].first()
    assert counts["level:2"] < counts["level:0"]
    with pytest.raises(InputError, match="not both there"):
        hardness_gains(table, coarse="level:0")
    with pytest.raises(
        InputError, match="coarse labels have fewer classes than fine ones, but level:0 has"
    ):
        hardness_gains(table, coarse="level:0", fine="level:2")
