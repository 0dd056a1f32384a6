"""Granularity, source gap, findings and verdict on tables whose answer is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwater.analysis import (
    findings,
    gap,
    gap_trend,
    granularity_curves,
    hard_gains,
    peaks,
    source_gap,
    summarise,
    verdict,
)
from headwater.analysis.certainty import certainty_of
from headwater.analysis.compare import per_seed
from headwater.analysis.decision import ALONE, NOTHING, ONE_SEED, OPEN, SURE
from headwater.rows import to_frame

from .simulated import ends_of_a_trend, noisy_ends, scores
from .synthetic import arm_fields, one_row, synthetic_rows

U = {"level:2": (8, 0.5), "level:1": (57, 0.6), "level:0": (400, 0.55)}


def curve(
    values: dict[str, tuple[int, float]], seeds: int = 3, wobble: float = 0.002, **changes: object
) -> list[dict[str, object]]:
    rows = []
    for k, (labels, (classes, value)) in enumerate(values.items()):
        for seed in range(seeds):
            number = value + 0.01 * seed + wobble * ((seed * 2 + k) % 3)
            rows.append(
                one_row(
                    cell=f"{labels}{seed}",
                    arm=f"{labels}{seed}",
                    labels=labels,
                    num_labels=classes,
                    seed=seed,
                    value=number,
                )
                | changes
            )
    return rows


def test_a_u_is_supported_where_the_peak_beats_both_ends() -> None:
    (row,) = peaks(to_frame(curve(U))).to_dict("records")
    assert (row["peak"], row["peak_classes"], row["shape"], row["num_comparisons"]) == (
        "level:1",
        57,
        "U",
        2,
    )
    assert row["coarse_low"] > 0 and row["fine_low"] > 0


@pytest.mark.parametrize(
    ("values", "shape"), [((0.4, 0.5, 0.6), "finest"), ((0.6, 0.5, 0.4), "coarsest")]
)
def test_a_monotone_curve_is_no_u(values: tuple[float, ...], shape: str) -> None:
    made = {
        labels: (classes, value)
        for (labels, (classes, _)), value in zip(U.items(), values, strict=True)
    }
    assert peaks(to_frame(curve(made)))["shape"].tolist() == [shape]


@pytest.mark.parametrize(
    ("values", "beaten"), [((0.5, 0.6, 0.599), "coarse"), ((0.599, 0.6, 0.5), "fine")]
)
def test_a_peak_that_beats_one_end_alone_is_no_u(values: tuple[float, ...], beaten: str) -> None:
    made = {
        labels: (classes, value)
        for (labels, (classes, _)), value in zip(U.items(), values, strict=True)
    }
    (row,) = peaks(to_frame(curve(made))).to_dict("records")
    assert (row["peak"], row["shape"]) == ("level:1", "cannot tell")
    assert {end for end in ("coarse", "fine") if row[f"{end}_low"] > 0} == {beaten}


def test_the_shape_cannot_be_told_at_one_seed_or_where_seeds_vary_more_than_levels() -> None:
    assert peaks(to_frame(curve(U, seeds=1)))["shape"].tolist() == ["cannot tell"]
    assert peaks(to_frame(curve(U, wobble=0.15)))["shape"].tolist() == ["cannot tell"]
    assert peaks(to_frame(curve({k: U[k] for k in ("level:1", "level:0")})))["shape"].tolist() == [
        "too few views"
    ]


def test_differences_to_the_next_coarser_view_and_to_scratch_are_paired() -> None:
    rows = curve(U) + [
        one_row(
            cell=f"s{s}", seed=s, value=0.3 + 0.02 * s, **arm_fields("scratch", None, None, None)
        )
        for s in range(3)
    ]
    frame = to_frame(rows)
    views = granularity_curves(frame).set_index("labels")
    by_arm = frame.groupby("labels")["value"].apply(list).to_dict()
    scratch = [r["value"] for r in rows if r["method"] == "scratch"]
    for word, other in (
        ("coarser", by_arm["level:2"]),
        ("finest", by_arm["level:0"]),
        ("scratch", scratch),
    ):
        expected = stats.ttest_rel(by_arm["level:1"], other).confidence_interval(0.95)
        assert views.loc["level:1", f"versus_{word}_low"] == pytest.approx(expected.low)
        assert views.loc["level:1", f"versus_{word}_high"] == pytest.approx(expected.high)
    assert pd.isna(views.loc["level:2", "versus_coarser"])


def test_random_labels_are_shown_and_are_no_part_of_the_curve() -> None:
    rows = curve(U | {"random:57": (57, 0.9)})
    assert peaks(to_frame(rows))["peak"].tolist() == ["level:1"]
    assert (
        granularity_curves(to_frame(rows)).set_index("labels")["on_curve"].to_dict()["random:57"]
        is False
    )


def test_fine_labels_help_hard_images_more_in_the_made_up_world() -> None:
    found = hard_gains(synthetic_rows(protocols=("finetune",)))
    assert set(found["task"]) == {"birds", "leaves"}  # the other tasks have no hard marks
    assert (found["extra"] > 0.04).all() and (found["hard"] > found["easy"]).all()


def test_the_source_gap_of_the_made_up_world_shrinks_with_shots() -> None:
    rows = synthetic_rows(protocols=("finetune",), failures=False)
    trends = gap_trend(rows)
    assert (trends.loc[trends["task"] == "mean over tasks", "answer"] == "shrinks").all()
    gaps = source_gap(rows)
    few = gaps[
        (gaps["context"] == "supervised level:1")
        & (gaps["task"] == "mean over tasks")
        & (gaps["shots"] == 1)
    ].iloc[0]
    assert (few["best"], few["worst"], few["num_comparisons"]) == ("photos", "sketches", 1)
    assert few["gap"] == pytest.approx(0.06, abs=0.01) and few["low"] < 0.06 < few["high"] + 0.01


def source_rows(values: dict[str, list[float]]) -> pd.DataFrame:
    return to_frame(
        [
            one_row(cell=f"{s}{i}", source=s, seed=i, value=v)
            for s, numbers in values.items()
            for i, v in enumerate(numbers)
        ]
    )


def test_the_gap_of_two_sources_is_the_paired_t_interval() -> None:
    values = {"a": [0.6, 0.63, 0.61, 0.65], "b": [0.5, 0.52, 0.55, 0.51]}
    (row,) = source_gap(source_rows(values)).to_dict("records")
    expected = stats.ttest_rel(values["a"], values["b"]).confidence_interval(0.95)
    assert (row["low"], row["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_the_gap_over_three_sources_is_corrected_for_their_three_pairs() -> None:
    values = {"a": [0.6, 0.63, 0.61], "b": [0.5, 0.52, 0.55], "c": [0.4, 0.44, 0.40]}
    (row,) = source_gap(source_rows(values)).to_dict("records")
    assert (row["num_sources"], row["num_comparisons"]) == (3, 3)
    told = certainty_of(np.array([*zip(*values.values(), strict=True)])[None])
    half = told.halves(0, 2, 0.05 / 3)[0]
    gap = np.mean(values["a"]) - np.mean(values["c"])
    assert (row["low"], row["high"]) == (pytest.approx(gap - half), pytest.approx(gap + half))
    assert half > told.halves(0, 2, 0.05)[0]


def test_the_held_out_gap_is_of_the_pair_that_the_first_seeds_name() -> None:
    values = {"a": [0.9, 0.5, 0.5], "b": [0.4, 0.6, 0.7], "c": [0.3, 0.3, 0.2]}
    (row,) = source_gap(source_rows(values)).to_dict("records")
    assert row["held_out"] == pytest.approx(0.5 - 0.2)  # a over c by seeds 0 and 1, in seed 2
    assert row["gap"] == pytest.approx(np.mean([0.9, 0.5, 0.5]) - np.mean([0.3, 0.3, 0.2]))


def test_noise_alone_has_a_gap_and_no_held_out_gap() -> None:
    rng = np.random.default_rng(3)
    tables = [scores(0.5 + rng.normal(0, 0.02, (4, 6)), 5) for _ in range(200)]
    held_out = [gap._held_out(per_seed(table)).mean for table in tables]
    assert abs(np.mean(held_out)) < 0.006  # type: ignore[arg-type]
    assert np.mean([max(table.mean()) - min(table.mean()) for table in tables]) > 0.02


@pytest.mark.slow  # benchmarks/footing.py has four times the tables
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_of_held_out_gaps_and_of_changes_cover_what_they_should(seeds: int) -> None:
    """93 to 97 %, and three standard errors of 500 tables. The old held-out interval fell from 90
    to 78 % with more seeds."""
    rng, tables = np.random.default_rng(seeds), 500
    covers = {"held out": 0, "change": 0}
    for _ in range(tables):
        means, few, many = noisy_ends(seeds, rng)
        held = gap._held_out(per_seed(few))
        chosen = few.to_numpy()[: (seeds + 1) // 2].mean(axis=0)
        truth = means[chosen.argmax()] - means[chosen.argmin()]
        covers["held out"] += held.low <= truth <= held.high  # type: ignore[operator]
        change = gap._change(few, many, 0.95)
        pair = [int(str(column).split()[-1]) for column in (change.best, change.worst)]
        fall = 2 / 3 * (means[pair[0]] - means[pair[1]])
        ends = change.interval
        covers["change"] += ends.low <= fall <= ends.high  # type: ignore[operator]
    error = (0.05 * 0.95 / tables) ** 0.5
    for name, hits in covers.items():
        assert 0.93 - 3 * error < hits / tables < 0.97 + 3 * error, (name, hits / tables)


@pytest.mark.parametrize(("seeds", "part"), [(2, 1), (3, 1), (5, 2), (10, 5)])
def test_the_mean_of_a_part_is_covered_by_the_noise_of_all_seeds(seeds: int, part: int) -> None:
    """Of one pair of sources: df = seeds - 1. By the root of seeds / part alone it covers more."""
    values = np.random.default_rng(seeds).normal(size=(100_000, seeds))
    half = stats.t.ppf(0.975, seeds - 1) * values.std(axis=1, ddof=1) / seeds**0.5
    wider = gap._of_a_part(seeds, part, seeds - 1.0, 0.05)
    mean = np.abs(values[:, :part].mean(axis=1))
    assert (mean <= wider * half).mean() == pytest.approx(0.95, abs=0.003)
    assert (mean <= (seeds / part) ** 0.5 * half).mean() > 0.955
    assert gap._of_a_part(seeds, seeds, seeds - 1.0, 0.05) == pytest.approx(1, rel=0.005)


def test_sources_with_labels_of_their_own_are_compared_by_method() -> None:
    own = {"a": "level:0", "b": "level:1"}
    rows = [
        one_row(
            cell=f"{s}{i}", source=s, labels=label, seed=i, value=0.5 + 0.1 * (s == "a") + 0.01 * i
        )
        for s, label in own.items()
        for i in range(3)
    ]
    (row,) = source_gap(to_frame(rows)).to_dict("records")
    assert (row["context"], row["best"]) == ("supervised (own labels)", "a")
    more = [
        one_row(cell=f"more{i}", source="a", labels="level:1", seed=i, value=0.4) for i in range(3)
    ]
    contexts = source_gap(to_frame([*rows, *more]))["context"].tolist()
    assert contexts == ["supervised level:1"], (
        "labels that vary within a source are an axis of their own"
    )


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.0, 0.03])
def test_a_gap_that_is_the_same_at_both_ends_is_seldom_said_to_change(truth: float) -> None:
    rng, wrong, trials, means = np.random.default_rng(11), 0, 150, np.linspace(0, truth, 7)
    for _ in range(trials):
        # 6 times the noise at few shots: the widest of 21 pairs looks wide there, in every table
        few = scores(0.3 + rng.normal(0, 0.05, (5, 1)) + means + rng.normal(0, 0.03, (5, 7)), 5)
        many = scores(0.6 + means + rng.normal(0, 0.005, (5, 7)), -1)
        wrong += gap._change(few, many, 0.95).interval.excludes_zero
    # 14 are exceeded with probability below 1 % at a true rate of 5 %; the interval of one pair is
    # wrong in about 20 of 150.
    assert wrong <= 14


@pytest.mark.parametrize(("first", "second", "sign"), [(0.2, 0.02, 1), (0.02, 0.2, -1)])
def test_a_gap_that_truly_changes_is_found_and_its_interval_covers_the_change(
    first: float, second: float, sign: int
) -> None:
    rng = np.random.default_rng(12)
    few, many = (
        scores(np.linspace(0, width, 5) + rng.normal(0, 0.005, (6, 5)), k)
        for width, k in ((first, 5), (second, -1))
    )
    change = gap._change(few, many, 0.95)
    low, high = change.interval.low, change.interval.high
    assert low is not None and high is not None and low < first - second < high
    assert low * sign > 0 and high * sign > 0
    assert (change.best, change.worst, change.seeds_needed) == ("source 4", "source 0", 0)


@pytest.mark.slow
def test_a_gap_that_falls_from_three_to_one_is_told_in_two_of_five_studies() -> None:
    """Own noise of 1, four sources, five seeds; before, it was told in none."""
    rng, told, tables = np.random.default_rng(13), 0, 400
    for _ in range(tables):
        few, many = ends_of_a_trend(np.array([0.0, 1, 2, 3]), 5, rng)
        told += gap._change(few, many, 0.95).answer == "shrinks"
    assert told / tables > 0.40 - 2 * (0.4 * 0.6 / tables) ** 0.5


def test_the_change_between_two_sources_is_the_paired_t_interval() -> None:
    values: dict[tuple[str, int | None], list[float]] = {
        ("a", 5): [0.60, 0.63, 0.61, 0.66],
        ("b", 5): [0.5, 0.52, 0.55, 0.51],
    }
    values |= {("a", None): [0.80, 0.81, 0.80, 0.79], ("b", None): [0.80, 0.79, 0.81, 0.77]}
    rows = [
        one_row(cell=f"{s}{k}{i}", source=s, shots=k, seed=i, value=v)
        for (s, k), numbers in values.items()
        for i, v in enumerate(numbers)
    ]
    (row,) = gap_trend(to_frame(rows)).to_dict("records")
    at_few, at_many = (np.subtract(values["a", k], values["b", k]) for k in (5, None))
    expected = stats.ttest_1samp(at_few - at_many, 0).confidence_interval(0.95)
    assert row["change"] == pytest.approx((at_few - at_many).mean())
    assert (row["low"], row["high"]) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert (row["best"], row["worst"], row["answer"]) == ("a", "b", "shrinks")


def test_the_verdict_finds_the_truth_of_the_made_up_world() -> None:
    found = verdict(synthetic_rows(seeds=6, noise=0.003, failures=False))
    assert (found.source, found.labels, found.method, found.confidence) == (
        "photos",
        "level:1",
        "supervised",
        SURE,
    )
    decision = found.decision
    assert decision.shortlist == (decision.best,) and len(decision.means) == 15
    assert decision.protocol == "finetune" and len(decision.tasks) == 4


def test_three_noisy_seeds_name_the_equals_and_how_many_seeds_to_run() -> None:
    found = verdict(synthetic_rows(noise=0.02))
    assert found.confidence == OPEN and len(found.decision.shortlist) > 1
    assert any("seed" in step for step in found.next_steps) and any(
        "failed" in step for step in found.next_steps
    )


def test_probes_that_reuse_labels_are_set_aside_for_every_arm() -> None:
    rows = synthetic_rows(protocols=("probe",))
    found = verdict(rows)
    assert found.decision.tasks == ("leaves", "scenes", "textures")
    assert any("Fine-tune on birds" in step for step in found.next_steps)
    alone = verdict(rows[rows["task"] == "birds"])
    assert alone.confidence == NOTHING and "Fine-tune" in alone.next_steps[0]


@pytest.mark.slow
def test_odd_tables_get_an_answer_and_never_an_error() -> None:
    rows = synthetic_rows(seeds=2, shots=(None,), tasks=("birds", "scenes"))
    bad = rows.assign(status="failed", value=pd.NA, reason=pd.NA)
    tables: dict[str, tuple[pd.DataFrame, str | None]] = {
        "empty": (rows.iloc[:0], NOTHING),
        "no columns": (pd.DataFrame(), NOTHING),
        "all failed": (bad, NOTHING),
        "one seed": (rows[rows["seed"] == 0], ONE_SEED),
        "one arm": (
            rows[(rows["labels"] == "level:1") & (rows["source"] == "photos")].fillna({}),
            ALONE,
        ),
        "one row": (rows[rows["status"] == "done"].iloc[[0]], None),
        "one task": (rows[rows["task"] == "scenes"], None),
        "no scratch": (rows[rows["method"] != "scratch"], None),
        "only scratch": (rows[rows["method"] == "scratch"], ALONE),
        "no hard marks": (rows[rows["subset"] == "all"], None),
        "only hard": (rows[rows["subset"] == "hard"], NOTHING),
        "another metric": (rows.assign(metric="mean_per_class"), None),
        "tasks that no two arms share": (
            rows[(rows["task"] == "birds") == (rows["source"] == "photos").fillna(False)],
            None,
        ),
    }
    asked: tuple[Callable[[pd.DataFrame], object], ...] = (
        summarise,
        granularity_curves,
        peaks,
        hard_gains,
        source_gap,
        gap_trend,
        findings,
    )
    for words, (frame, confidence) in tables.items():
        found = verdict(frame)
        assert found.answer and found.next_steps, words
        assert confidence is None or found.confidence == confidence, (words, found)
        # findings asks the others too, and not all of them are quick
        for question in asked if len(frame) < 100 else (findings,):
            question(frame)


def test_a_configuration_that_lacks_a_task_is_left_out_and_named() -> None:
    rows = synthetic_rows(protocols=("finetune",), failures=False)
    lost = (rows["method"] == "simclr") & (rows["source"] == "photos") & (rows["task"] == "scenes")
    found = verdict(rows[~lost])
    assert any("Not ranked" in s and "simclr · photos" in s for s in found.sentences)
    assert len(found.decision.tasks) == 4


def test_every_finding_rests_on_cells_of_the_table() -> None:
    rows = synthetic_rows(seeds=2)
    known = set(rows["cell"])
    found = findings(rows)
    assert {f.kind for f in found} == {
        "failures",
        "label_reuse",
        "best",
        "granularity",
        "hard",
        "gap",
    }
    for finding in found:
        assert finding.cells and set(finding.cells) <= known
        assert (
            finding.answer.endswith(".")
            and "nan" not in finding.answer.lower()
            and "None" not in finding.answer
        )


def test_scratch_ahead_is_said_plainly() -> None:
    rows = curve({"level:0": (400, 0.3)}) + [
        one_row(
            cell=f"s{s}", seed=s, value=0.6 + 0.01 * s, **arm_fields("scratch", None, None, None)
        )
        for s in range(3)
    ]
    found = verdict(to_frame(rows))
    assert found.method == "scratch" and "train from scratch" in found.answer


def test_pre_training_is_compared_with_scratch_of_the_same_backbone() -> None:
    rows = curve(U) + [
        one_row(
            cell=f"{b}{s}",
            seed=s,
            value=v,
            **arm_fields("scratch", None, None, None) | {"backbone": b},
        )
        for b, v in (("another", 0.1), ("tiny", 0.4))
        for s in range(3)
    ]
    views = granularity_curves(to_frame(rows)).set_index("labels")
    assert views.loc["level:1", "versus_scratch"] == pytest.approx(0.21, abs=0.02)
    assert any("What it is worth: 21" in s for s in verdict(to_frame(rows)).sentences)
