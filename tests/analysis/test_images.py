"""Other test images: what answers, image by image, say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from headwater.analysis import Aim, certainty_of, decide, evidence_of, verdict
from headwater.analysis.images import ImageNoise, crossed, image_noise
from headwater.analysis.leads import ImageError
from headwater.errors import InputError
from headwater.rows import to_frame
from tests.analysis.synthetic import arm_fields, one_row

Right = NDArray[np.bool_]


def answered(
    right: Right, tasks: tuple[str, ...] = ("birds",)
) -> tuple[pd.DataFrame, Callable[[str, int], Right | None], dict[str, Right]]:
    """Rows of answers [tasks, seeds, arms, n_test], what reads their answers, and these by cell."""
    rows, kept = [], {}
    for number, task in enumerate(tasks):
        for seed in range(right.shape[1]):
            for arm in range(right.shape[2]):
                cell = f"{task}-{seed}-{arm}"
                kept[cell] = right[number, seed, arm]
                fields = arm_fields("supervised", "level:0", 10, f"source{arm}")
                row: dict[str, Any] = one_row(
                    cell=cell, arm=f"{seed}-{arm}", seed=seed, task=task, protocol="probe", **fields
                )
                rows.append(row | {"value": kept[cell].mean(), "n_test": len(kept[cell])})

    def read(cell: str, n_test: int) -> Right | None:
        found = kept.get(cell)
        return None if found is None or len(found) != n_test else found

    return to_frame(rows), read, kept


def drawn(
    rng: np.random.Generator, seeds: int, arms: int, n: int, lead: float = 0.0
) -> tuple[Right, float]:
    """(answers [1, seeds, arms, n], true lead of arm 0 over each other on any such images)."""
    images = rng.normal(size=(1, 1, n)) + 0.5 * rng.normal(size=(1, arms, n))
    effects = 0.03 * rng.normal(size=(seeds, arms, 1))
    effects[:, 0] += lead
    right = rng.normal(size=(seeds, arms, n)) < images + effects
    scale = (1 + 1 + 0.5**2 + 0.03**2) ** 0.5
    return right[None], float(ndtr(lead / scale) - 0.5)


def part_of(right: Right) -> ImageError:
    """Of answers [seeds, arms, n_test]."""
    return crossed(right.transpose(0, 2, 1).astype(float), np.ones(right.shape[:2], dtype=bool))


def noise_of(right: Right, tasks: tuple[str, ...] = ("birds",)) -> ImageNoise:
    rows, read, _ = answered(right, tasks)
    line = evidence_of(rows).line("probe")
    assert line is not None
    noise = image_noise(rows, line, read)
    assert isinstance(noise, ImageNoise)
    return noise


def test_networks_that_answer_alike_leave_the_error_of_a_paired_test_over_images() -> None:
    """Without any luck of seeds, the variance of a difference is that of its images / n."""
    rng = np.random.default_rng(0)
    once = rng.random((1, 1, 3, 400)) < 0.6
    noise = noise_of(np.repeat(once, 4, axis=1))
    a, b = once[0, 0, 0].astype(float), once[0, 0, 1].astype(float)
    assert noise.variance[0, 1] == pytest.approx((a - b).var(ddof=1) / 400)
    assert noise.variance[0, 0] == 0
    assert noise.df[0, 1] == pytest.approx(399)


def test_images_that_are_all_alike_add_nothing_to_what_seeds_show() -> None:
    """Answers that are luck alone: between images there is nothing but what is within."""
    rng, parts = np.random.default_rng(1), []
    for _ in range(300):
        parts.append(part_of(rng.random((3, 2, 200)) < 0.5).variance[0, 0, 1])
    assert np.mean(parts) < 0.2 * (2 * 0.25 / 200 / 3)


def test_two_tasks_on_the_same_images_are_not_taken_for_twice_as_many_images() -> None:
    rng = np.random.default_rng(2)
    once, _ = drawn(rng, 3, 2, 300)
    other, _ = drawn(rng, 3, 2, 300)
    alone = noise_of(once).variance[0, 1]
    twice = noise_of(np.concatenate([once, once]), ("a", "b")).variance[0, 1]
    both = noise_of(np.concatenate([once, other]), ("a", "b")).variance[0, 1]
    assert twice == pytest.approx(alone)
    expected = (alone + noise_of(other).variance[0, 1]) / 4
    assert both == pytest.approx(expected, rel=0.25)


def test_tasks_with_other_numbers_of_images_add_up_and_weights_count_squared() -> None:
    rng = np.random.default_rng(3)
    few, _ = drawn(rng, 3, 2, 200)
    many, _ = drawn(rng, 3, 2, 500)
    rows, reads = [], {}
    for task, right in (("few", few), ("many", many)):
        table, _, kept = answered(right, (task,))
        rows.append(table)
        reads.update(kept)
    table = pd.concat(rows, ignore_index=True)
    line = evidence_of(table).line("probe")
    assert line is not None
    noise = image_noise(table, line, lambda cell, n: reads[cell], {"few": 3.0})
    assert isinstance(noise, ImageNoise)
    expected = 0.75**2 * noise_of(few).variance + 0.25**2 * noise_of(many).variance
    np.testing.assert_allclose(noise.variance, expected)
    assert noise.num_images == {"few": 200, "many": 500}


@pytest.mark.parametrize(("arms", "seeds"), [(2, 5), pytest.param(3, 10, marks=pytest.mark.slow)])
def test_intervals_cover_the_truth_on_all_images_where_those_of_seeds_do_not(
    arms: int, seeds: int
) -> None:
    """benchmarks/decide.py has more of it."""
    rng, covers, before, tables = np.random.default_rng(arms + seeds), 0, 0, 700
    for _ in range(tables):
        right, truth = drawn(rng, seeds, arms, 200, lead=0.8)
        scores = right[0].mean(axis=2)[None]
        for images in (None, part_of(right[0])):
            told = certainty_of(scores, step=1 / 200, images=images)
            lead = told.means[0, 0] - told.means[0, 1]
            half = -stdtrit(told.df[0, 1], 0.025) * told.se[0, 1]
            hit = abs(lead - truth) <= half
            covers, before = (covers, before + hit) if images is None else (covers + hit, before)
    error = (0.05 * 0.95 / tables) ** 0.5
    assert 0.93 - 2 * error < covers / tables < 0.97 + 2 * error
    assert before / tables < 0.93 - 2 * error


@pytest.mark.parametrize("level", [0.95, 0.9922])
@pytest.mark.parametrize(("arms", "seeds"), [(2, 2), (2, 3), (5, 2), (5, 3)])
def test_other_images_never_make_anything_surer(arms: int, seeds: int, level: float) -> None:
    rng = np.random.default_rng([arms, seeds])
    for _ in range(150):
        right, _ = drawn(rng, seeds, arms, 60, lead=0.5)
        scores = right[0].mean(axis=2)[None]
        these = certainty_of(scores, step=1 / 60, level=level)
        other = certainty_of(scores, step=1 / 60, level=level, images=part_of(right[0]))
        assert (other.p >= these.p).all()
        assert (other.shortlist >= these.shortlist).all()
        assert other.regret_bound[0] >= these.regret_bound[0]
        for error in (0.05, 0.0078):
            assert other.halves(0, 1, error)[0] >= these.halves(0, 1, error)[0]


@pytest.mark.slow
def test_a_decision_is_no_surer_of_other_images_whatever_the_error_of_a_look() -> None:
    rng = np.random.default_rng(8)
    for _ in range(12):
        right, _ = drawn(rng, 3, 3, 60, lead=0.6)
        rows, read, _ = answered(right)
        decision = decide(rows, Aim(error=0.0078), answers=read, lines=False)
        new = decision.new_images
        if new is None:
            continue
        assert decision.sure or not new.sure
        assert set(decision.shortlist) <= set(new.shortlist)
        assert set(new.as_good) <= set(decision.as_good)
        for name, (_, low, high) in decision.behind.items():
            assert new.behind[name][1] <= low and new.behind[name][2] >= high


@pytest.mark.slow
def test_a_decision_says_both_and_is_never_surer_of_other_images() -> None:
    rng = np.random.default_rng(0)
    right, _ = drawn(rng, 8, 4, 150, lead=0.15)
    rows, read, _ = answered(right)
    alone, both = decide(rows), decide(rows, answers=read)
    assert alone.new_images is None
    new = both.new_images
    assert new is not None
    assert (alone.p, alone.regret_bound) == (both.p, both.regret_bound)
    assert both.p is not None and both.regret_bound is not None
    assert new.p > both.p and new.regret_bound > both.regret_bound
    assert set(both.shortlist) <= set(new.shortlist)
    assert new.num_images == {"birds": 150}
    assert sum(new.p_best.values()) == pytest.approx(1)
    said = both.to_dict()["new_images"]
    assert said["p"] == new.p and said["sure"] is new.sure
    assert any("On other test images" in each for each in verdict(rows, answers=read).sentences)
    assert any("of these test images" in each for each in verdict(rows).sentences)


def test_answers_that_were_not_kept_or_are_wrong_are_said_and_the_decision_stands() -> None:
    rng = np.random.default_rng(6)
    right, _ = drawn(rng, 3, 3, 100)
    rows, read, kept = answered(right)
    whole = decide(rows)
    for seed in range(3):
        del kept[f"birds-{seed}-1"]
    decision = decide(rows, answers=read)
    assert decision.new_images is None and decision.p == whole.p
    assert any("source1" in note and "not known" in note for note in decision.notes)

    rows, read, kept = answered(right)
    kept["birds-0-0"] = np.ones(100, dtype=bool)
    decision = decide(rows, answers=read)
    assert decision.new_images is None and decision.p == whole.p
    assert any("--redo birds-0-0" in note for note in decision.notes)

    def damaged(cell: str, n_test: int) -> Right | None:
        raise InputError(f"{cell}.npy: these answers are damaged")

    decision = decide(rows, answers=damaged)
    assert decision.p == whole.p
    assert any("are damaged" in note for note in decision.notes)

    with pytest.raises(InputError, match="give rows"):
        decide(evidence_of(rows), answers=read)
    with pytest.raises(InputError, match="lower"):
        decide(rows, metric="ece", answers=read)


def test_a_table_that_was_rounded_keeps_its_answers() -> None:
    rng = np.random.default_rng(9)
    right, _ = drawn(rng, 3, 3, 100)
    rows, read, _ = answered(right)
    rounded = rows.assign(value=rows["value"].round(2) + 0.001)
    assert decide(rounded, answers=read).new_images is not None


def test_a_score_without_leaked_images_has_the_noise_of_those_that_are_left() -> None:
    rng = np.random.default_rng(10)
    right, _ = drawn(rng, 3, 3, 400)
    rows, read, _ = answered(right)
    left = rows.assign(subset="unleaked", n_test=100)
    some = left["source"] == "source0"
    leaky = pd.concat([rows, left[some]], ignore_index=True)
    line, whole = evidence_of(leaky).line("probe"), evidence_of(rows).line("probe")
    assert line is not None and whole is not None
    noise, all_of_them = image_noise(leaky, line, read), image_noise(rows, whole, read)
    assert isinstance(noise, ImageNoise) and isinstance(all_of_them, ImageNoise)
    np.testing.assert_allclose(noise.variance, 4 * all_of_them.variance)
    assert noise.num_images == {"birds": 100}


def test_a_task_that_is_not_compared_by_top1_has_no_such_statement() -> None:
    rng = np.random.default_rng(11)
    right, _ = drawn(rng, 3, 3, 100)
    rows, read, _ = answered(right)
    decision = decide(rows.assign(metric="mean_per_class"), answers=read)
    assert decision.new_images is None and decision.best is not None
    assert any("top1 alone" in note for note in decision.notes)


def test_a_seed_whose_answers_are_gone_leaves_those_of_the_others() -> None:
    rng = np.random.default_rng(7)
    right, _ = drawn(rng, 4, 3, 300)
    rows, read, kept = answered(right)
    del kept["birds-3-1"]
    new = decide(rows, Aim(), answers=read).new_images
    whole = decide(rows, Aim(), answers=answered(right)[1]).new_images
    assert new is not None and whole is not None
    assert new.regret_bound == pytest.approx(whole.regret_bound, rel=0.1)


def test_own_parts_of_arms_add_up_to_those_of_their_differences() -> None:
    own = np.array([1.0, 2.0, 4.0, 0.5])
    sums = own[:, None] + own
    np.fill_diagonal(sums, 0.0)
    error = ImageError(sums[None], np.full((1, 4, 4), 99.0))
    np.testing.assert_allclose(error.own()[0], own)
    two = ImageError(sums[None, :2, :2], np.full((1, 2, 2), 99.0))
    np.testing.assert_allclose(two.own()[0], [1.5, 1.5])
