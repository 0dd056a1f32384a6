"""Conclusions from simulated networks, against tables whose answer was written down and against
scipy's own figures.
"""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwater.errors import InputError
from headwater.theory.analysis import (
    curve,
    curve_shape,
    dependence,
    errors,
    findings,
    gradual,
    phase,
    response_exponent,
    response_ratio,
    transition,
)  # fmt: skip
from headwater.theory.analysis.error_rates import exact_interval
from headwater.theory.analysis.label_curves import MAIN
from headwater.theory.analysis.settings import label_kind, tied, varying
from tests.theory.simulated_table import line, sigmoid, story, table


def only(frame: pd.DataFrame, **where: Any) -> dict[Any, Any]:
    for name, value in where.items():
        frame = frame[frame[name] == value]
    (row,) = frame.to_dict("records")
    return row


# errors
def test_errors_are_means_with_students_interval_as_scipy_has_it_cut_to_shares() -> None:
    hard = [0.9, 0.95, 1.0, 0.85]
    row = only(
        errors(table(line(16, "coarse", seed, hard=value) for seed, value in enumerate(hard))),
        samples="hard",
    )
    expected = stats.ttest_1samp(hard, 0).confidence_interval()
    assert (row["error"], row["num_seeds"], row["agree"]) == (pytest.approx(0.925), 4, False)
    assert row["low"] == pytest.approx(expected.low)
    assert expected.high > 1 and row["high"] == 1.0


@pytest.mark.parametrize(
    ("hits", "trials"), [(0, 1000), (3, 1000), (500, 1000), (1000, 1000), (1, 1)]
)
def test_the_exact_interval_is_scipys_clopper_pearson(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert exact_interval(hits / trials, trials) == (
        pytest.approx(expected.low, abs=1e-12),
        pytest.approx(expected.high, abs=1e-12),
    )


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_where_every_seed_agrees_the_interval_is_not_sold_as_sure(error: float) -> None:
    row = only(
        errors(table(line(32, "fine", seed, hard=error, test_samples=500) for seed in range(5))),
        samples="hard",
    )
    assert row["low"] == row["high"] == error and row["agree"]
    within = stats.binomtest(int(500 * error), 500).proportion_ci(0.95, method="exact")
    assert (row["within_low"], row["within_high"]) == (
        pytest.approx(within.low),
        pytest.approx(within.high),
    )
    beyond = stats.binomtest(int(5 * error), 5).proportion_ci(0.95, method="exact")
    assert (row["beyond_low"], row["beyond_high"]) == (
        pytest.approx(beyond.low),
        pytest.approx(beyond.high),
    )


def test_the_bound_beyond_the_seeds_covers_the_worst_mixture_of_seeds() -> None:
    """A share q of seeds errs always, the others never: were q above the bound, all seeds at 0
    would come up less than once in 40.
    """
    row = only(errors(table(line(8, "fine", seed) for seed in range(4))), samples="hard")
    bound = float(row["beyond_high"])
    assert (1 - bound) ** 4 == pytest.approx(0.025)
    rng = np.random.default_rng(0)
    draws = rng.random((200_000, 4)) < bound
    assert (~draws).all(axis=1).mean() == pytest.approx(0.025, abs=0.002)


def test_looks_enter_no_error_and_what_was_not_measured_or_did_not_converge_is_counted() -> None:
    lines = [
        line(4, "coarse", 0, hard=0.2),
        line(4, "coarse", 0, hard=0.9, final=False, steps=10),
        line(4, "coarse", 1, hard=0.4, converged=False),
    ]
    row = only(errors(table([*lines, line(4, "coarse", 2, hard=math.nan)])), samples="hard")
    assert row["error"] == pytest.approx(0.3)
    assert (row["num_seeds"], row["num_unmeasured"], row["num_unconverged"]) == (2, 1, 1)


def test_one_network_in_two_sweeps_is_one_seed() -> None:
    lines = [
        line(4, "coarse", seed, hard=0.1 * seed, sweep=sweep)
        for seed in range(3)
        for sweep in ("a", "b")
    ]
    row = only(errors(table(lines)), samples="hard")
    assert row["num_seeds"] == 3
    assert row["high"] == pytest.approx(
        min(1, stats.ttest_1samp([0, 0.1, 0.2], 0).confidence_interval().high)
    )


def test_constants_that_vary_are_settings_and_those_that_follow_the_labels_are_tied() -> None:
    lines = [
        line(4, labels, 0, d=d, lr=lr)
        for labels, lr in (("coarse", 0.5), ("fine", 2.0))
        for d in (64, 128)
    ]
    found = table([*lines, *(one | {"train_samples": 100.0} for one in lines)])
    assert varying(found) == ["d", "train_samples"]
    assert tied(found) == ["lr"]
    assert len(errors(found)) == 2 * 2 * 2 * 2, "fresh batches (NaN) are a setting too"


def test_a_column_that_is_missing_and_an_error_that_is_no_share_are_said() -> None:
    whole = table([line(4, "coarse", 0)])
    with pytest.raises(InputError, match="no column hard_error"):
        errors(whole.drop(columns="hard_error"))
    with pytest.raises(InputError, match=r"easy_error = 12\.0"):
        findings(whole.assign(easy_error=12.0))


# the transition
def coarse(
    places: list[float], ks: tuple[int, ...] = (1, 2, 4, 8, 16, 32), **more: Any
) -> list[dict[str, Any]]:
    """Networks whose hard error is a line in log2 k through one half at each seed's place."""
    return [
        line(k, "coarse", seed, hard=float(np.clip(0.5 + 0.2 * math.log2(k / at), 0, 1)), **more)
        for seed, at in enumerate(places)
        for k in ks
    ]


def test_the_transition_is_found_where_it_was_put_and_its_interval_is_students_in_octaves() -> None:
    places = [5.0, 6.0, 7.5]
    row = only(transition(table(coarse(places))))
    octaves = np.log2(places)
    expected = stats.ttest_1samp(octaves, 0).confidence_interval()
    assert row["answer"] == "crosses"
    assert (row["transition"], row["low"], row["high"]) == (
        pytest.approx(2 ** octaves.mean()),
        pytest.approx(2**expected.low),
        pytest.approx(2**expected.high),
    )
    assert (row["below"], row["above"], row["num_crosses"]) == (4, 8, 3)


def test_a_jump_between_two_k_says_that_only_the_gap_is_known() -> None:
    row = only(
        transition(
            table(
                line(k, "coarse", seed, hard=float(k > 4))
                for seed in range(5)
                for k in (1, 4, 16, 32)
            )
        )
    )
    assert row["transition"] == 8, "seeds agree on the middle"
    assert (row["low"], row["high"]) == (row["below"], row["above"]) == (4, 16), (
        "which is not known better than the gap"
    )


def test_the_interval_holds_the_truth_on_any_grid_of_k_and_no_shift_within_its_gaps_is_told() -> (
    None
):
    """The error is a steep curve that is one half at k = 10.4; grids of k give other points, and
    intervals that agree.
    """
    at = {8: 0.24, 12: 0.66, 16: 0.85, 2: 0.0, 4: 0.0, 32: 0.98, 64: 0.99}
    for grid in ((2, 16), (4, 16), (8, 16), (8, 32), (2, 4, 8, 12, 16, 32)):
        row = only(
            transition(
                table(
                    line(k, "coarse", seed, hard=at[k] + 0.001 * seed)
                    for seed in range(3)
                    for k in grid
                )
            )
        )
        assert row["low"] <= 10.4 <= row["high"]
    moved = [
        line(k, "coarse", seed, hard=at[4 * k] + 0.001 * seed, d=256)
        for seed in range(3)
        for k in (1, 2, 4, 8, 16)
    ]
    nudged = [
        line(k, "coarse", seed, hard=max(at[k] - 0.02, 0) + 0.001 * seed, d=1024)
        for seed in range(3)
        for k in (4, 8, 16, 32)
    ]
    base = [
        line(k, "coarse", seed, hard=at[k] + 0.001 * seed)
        for seed in range(3)
        for k in (2, 4, 8, 16, 32)
    ]
    found = dependence(table([*base, *moved, *nudged])).set_index("value")
    assert found.loc[1024, "shift_low"] > 0 and not found.loc[1024, "told"], (
        "a shift of a few hundredths of an octave in gaps of one"
    )
    assert abs(found.loc[256, "shift"] + 2) < 0.3 and found.loc[256, "told"]


@pytest.mark.parametrize(("hard", "answer"), [(0.3, "never"), (0.7, "already at the smallest k")])
def test_never_and_already_are_answers(hard: float, answer: str) -> None:
    row = only(
        transition(table(line(k, "coarse", seed, hard=hard) for seed in range(3) for k in (2, 8)))
    )
    assert row["answer"] == answer
    assert math.isnan(row["transition"]) and math.isnan(row["median"])
    assert (
        (row["below"] == 8 and math.isnan(row["above"]))
        if answer == "never"
        else (row["above"] == 2 and math.isnan(row["below"]))
    )


def test_seeds_that_never_cross_are_counted_and_leave_a_median_and_no_mean() -> None:
    lines = [
        *coarse([4.0, 6.0]),
        *(line(k, "coarse", 2, hard=0.1) for k in (1, 32)),
        line(4, "coarse", 3, hard=0.6),
        line(4, "coarse", 4, hard=math.nan),
    ]
    row = only(transition(table(lines)))
    assert row["answer"] == "some seeds only"
    assert math.isnan(row["transition"])
    assert (row["num_seeds"], row["num_crosses"], row["num_never"], row["num_unmeasured"]) == (
        5,
        2,
        1,
        2,
    )
    assert row["median"] == pytest.approx(6.0), "of 4, 6 and never"
    assert "no mean" in findings(table(lines))["answers"]["transition"]["sentence"]


def test_an_error_that_falls_again_is_said_and_the_first_crossing_counts() -> None:
    row = only(
        transition(
            table(
                line(k, "coarse", 0, hard=hard)
                for k, hard in ((1, 0.0), (2, 1.0), (4, 0.2), (8, 1.0))
            )
        )
    )
    assert (row["num_returns"], row["transition"]) == (1, pytest.approx(2**0.5))


def test_dependence_gives_shifts_in_octaves_paired_by_seed_and_corrected_for_all_of_them() -> None:
    spread = np.array([0.9, 1.0, 1.15, 1.05])
    lines = (
        coarse(list(6 * spread))
        + coarse(list(12 * spread**1.5), d=2048)
        + coarse(list(3 * spread), sigma_zeta=0.5)
    )
    lines += coarse(
        [6.0, 7.0], ks=(1, 16), d=1024, sigma_zeta=1.0
    )  # differs in two constants at once
    found = dependence(table(lines))
    assert set(found["constant"]) == {"d", "sigma_zeta"}
    assert len(found) == 4
    row = only(found, constant="d", value=2048)
    gaps = np.log2(12 * spread**1.5) - np.log2(6 * spread)
    expected = stats.ttest_1samp(gaps, 0).confidence_interval(1 - 0.05 / 2)
    assert (row["base"], row["shift_seeds"], row["num_comparisons"]) == (512, 4, 2)
    assert (row["shift"], row["shift_low"], row["shift_high"]) == (
        pytest.approx(gaps.mean()),
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert only(found, constant="sigma_zeta", value=0.5)["shift"] == pytest.approx(-1)
    assert math.isnan(only(found, constant="d", value=512)["shift"])


def test_dependence_on_training_samples_holds_fresh_batches() -> None:
    found = dependence(table(coarse([6.0, 6.5]) + coarse([3.0, 3.2], train_samples=1000.0)))
    assert [math.isnan(value) for value in found["value"]] == [False, True]
    assert (
        "fresh batches"
        in findings(table(coarse([6.0, 6.5]) + coarse([3.0, 3.2], train_samples=1000.0)))[
            "answers"
        ]["dependence"]["sentence"]
    )


# responses
def answering(k: int, seed: int, ratio: float, **more: Any) -> dict[str, Any]:
    return line(k, "coarse", seed, common_aligned_mean=0.5, fine_aligned_mean=0.5 * ratio, **more)


def test_the_exponent_is_that_of_scipys_regression_for_each_seed() -> None:
    rng = np.random.default_rng(0)
    ks = [1, 2, 4, 8, 16, 32]
    ratios: dict[int, list[float]] = {}
    for seed in range(4):
        ratios[seed] = [float(0.9 * k**-1.1 * rng.lognormal(0, 0.1)) for k in ks]
    found = response_exponent(
        table(
            answering(k, seed, value)
            for seed, values in ratios.items()
            for k, value in zip(ks, values, strict=True)
        )
    )
    row = only(found, from_k=1)
    fits = [stats.linregress(np.log(ks), np.log(values)) for values in ratios.values()]
    slopes = [-fit.slope for fit in fits]
    expected = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert (row["exponent"], row["low"], row["high"]) == (
        pytest.approx(np.mean(slopes)),
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert row["r2"] == pytest.approx(np.mean([fit.rvalue**2 for fit in fits]))
    assert row["factor"] == pytest.approx(math.exp(np.mean([fit.intercept for fit in fits])))
    off = [
        abs(math.log(v / math.exp(f.intercept) * k**-f.slope))
        for f, vs in zip(fits, ratios.values(), strict=True)
        for k, v in zip(ks, vs, strict=True)
    ]
    assert row["worst"] == pytest.approx(math.exp(max(off)))
    assert only(found, from_k=8)["num_k"] == 3


def test_ratios_of_zero_or_less_are_in_the_mean_and_counted_where_they_have_no_logarithm() -> None:
    lines = [
        answering(k, seed, -0.01 if (k, seed) == (16, 1) else 1 / k)
        for k in (1, 4, 16)
        for seed in range(3)
    ]
    lines.append(line(4, "coarse", 3, common_aligned_mean=-0.1))
    row = only(response_ratio(table(lines)), subclasses=16)
    assert row["ratio"] == pytest.approx((2 / 16 - 0.01) / 3)
    assert row["num_not_positive"] == 1
    assert only(response_ratio(table(lines)), subclasses=4)["num_undefined"] == 1
    fit = only(response_exponent(table(lines)), from_k=1)
    assert (fit["num_left_out"], fit["exponent"]) == (2, pytest.approx(1))
    assert "2 ratios of 0 or less" in findings(table(lines))["answers"]["ratio"]["sentence"]


def test_tests_and_read_outs_do_not_multiply_networks_where_training_has_no_hard_samples() -> None:
    def lines(hard_share: float) -> pd.DataFrame:
        kinds = [(sigma, read_out) for sigma in (0.0, 1.0) for read_out in ("max", "tuned")]
        return table(
            answering(k, s, 1 / k, sigma_star=sigma, read_out=r, hard_share=hard_share)
            for k in (2, 8)
            for s in range(3)
            for sigma, r in kinds
        )

    assert list(response_ratio(lines(0.0))["num_seeds"]) == [3, 3]
    assert "sigma_star" not in response_ratio(lines(0.0))
    assert list(response_ratio(lines(0.1))["sigma_star"]) == [0.0, 0.0, 1.0, 1.0]


def test_a_course_meets_on_straight_lines_and_a_network_that_has_ended_stays() -> None:
    def look(seed: int, step: int, value: float, *, final: bool = False) -> dict[str, Any]:
        return line(
            4, "coarse", seed, steps=step, final=final, common_aligned_mean=value, hard=value / 10
        )

    lines = [
        look(0, 0, 0.0),
        look(0, 10, 1.0),
        look(0, 20, 2.0, final=True),
        look(1, 0, 0.0),
        look(1, 20, 4.0),
        look(1, 40, 6.0, final=True),
    ]
    lines += [look(2, 0, 0.0), look(2, 10, 1.0)]  # not seen to its end
    found = gradual(table(lines))
    course = found[found["quantity"] == "common_aligned_mean"].set_index("steps")
    assert course["mean"].to_dict() == {0: 0.0, 10: pytest.approx(4 / 3), 20: 3.0, 40: 4.0}
    assert course["num_seeds"].to_dict() == {0: 3, 10: 3, 20: 2, 40: 2}
    assert course["num_stopped"].to_dict() == {0: 0, 10: 0, 20: 1, 40: 2}
    assert only(found, quantity="hard_error", steps=40)["mean"] == pytest.approx(0.4)
    assert not len(gradual(table([look(0, 10, 1.0, final=True)])))


# phase and the U
def test_the_phase_holds_hard_errors_over_k_and_noise_for_coarse_and_fine() -> None:
    lines = []
    for k, sigma in itertools.product((1, 2), (0.5, 1.0)):
        for labels, seed in itertools.product(("coarse", "fine", "merge:2"), range(2)):
            hard = 0.1 * k * sigma if labels == "coarse" else 0.0
            lines.append(line(k, labels, seed, hard=hard, easy=0.5, sigma_star=sigma))
    found = phase(table(lines))
    assert len(found) == 8
    assert only(found, subclasses=2, sigma_star=0.5, labels="coarse")["error"] == pytest.approx(0.1)
    assert not len(phase(table(line(k, "coarse", 0) for k in (1, 2))))


def labelled(errors: dict[str, float], *, seeds: int = 5, noise: float = 0.02) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return table(
        line(8, labels, seed, hard=float(np.clip(error + noise * rng.normal(), 0, 1)))
        for seed in range(seeds)
        for labels, error in errors.items()
    )


U_SHAPED = {
    "coarse": 0.9,
    "merge:4": 0.5,
    "fine": 0.1,
    "random:64 within fine": 0.3,
    "instance": 0.6,
    "shuffle:4": 0.05,
    "random:4": 0.5,
}


def test_a_curve_goes_from_coarse_over_fine_to_instance_and_others_are_series_of_their_own() -> (
    None
):
    found = curve(labelled(U_SHAPED))
    hard = found[found["samples"] == "hard"]
    main = hard[hard["series"] == MAIN]
    assert list(main["labels"]) == [
        "coarse",
        "merge:4",
        "fine",
        "random:64 within fine",
        "instance",
    ]
    assert list(main["num_labels"]) == [2, 4, 16, 64, 4096]
    assert list(main["aligned"]) == [True, True, True, False, False]
    assert set(hard["series"]) == {MAIN, "shuffle", "random"}
    assert label_kind("random:8 within coarse") == "random within coarse"


def test_a_u_is_told_by_paired_intervals_corrected_for_the_points() -> None:
    found = labelled(U_SHAPED)
    row = only(curve_shape(found), samples="hard")
    wide = found.pivot(index="seed", columns="labels", values="hard_error")
    expected = stats.ttest_rel(wide["coarse"], wide["fine"]).confidence_interval(1 - 0.05 / 4)
    assert (row["shape"], row["best"], row["num_comparisons"], row["num_seeds"]) == (
        "U",
        "fine",
        4,
        5,
    )
    assert (row["coarse_low"], row["coarse_high"]) == (
        pytest.approx(expected.low),
        pytest.approx(min(1.0, expected.high)),
    )
    assert "it is a U" in findings(found)["answers"]["curve"]["sentence"]


@pytest.mark.parametrize(
    ("errors_of", "seeds", "shape"),
    [
        ({"coarse": 0.9, "merge:4": 0.5, "fine": 0.1}, 5, "finest"),
        ({"coarse": 0.1, "fine": 0.5, "instance": 0.9}, 5, "coarsest"),
        ({"coarse": 0.5, "merge:4": 0.495, "fine": 0.505}, 5, "cannot tell"),
        (U_SHAPED, 1, "cannot tell"),
        ({"coarse": 0.9, "fine": 0.1, "shuffle:4": 0.5}, 5, "too few label kinds"),
    ],
)
def test_what_is_no_u_is_not_called_one(
    errors_of: dict[str, float], seeds: int, shape: str
) -> None:
    assert only(curve_shape(labelled(errors_of, seeds=seeds)), samples="hard")["shape"] == shape


def test_ties_with_an_end_are_no_u_and_a_plateau_inside_is() -> None:
    plateau = {"coarse": 1.0, "merge:4": 0.0, "fine": 0.0, "instance": 0.5}
    row = only(curve_shape(labelled(plateau, noise=0.0)), samples="hard")
    assert (row["shape"], row["best"], row["tied"], row["agree"]) == (
        "U",
        "merge:4",
        ("merge:4", "fine"),
        True,
    )
    assert (
        only(curve_shape(labelled(plateau | {"instance": 0.0}, noise=0.0)), samples="hard")["shape"]
        == "finest"
    )
    assert (
        only(curve_shape(labelled(dict.fromkeys(plateau, 0.0), noise=0.0)), samples="hard")["shape"]
        == "flat"
    )


def test_constants_that_are_not_the_same_along_a_curve_are_said() -> None:
    found = labelled(U_SHAPED)
    found.loc[found["labels"] == "instance", "train_samples"] = 4096.0
    assert only(curve_shape(found), samples="hard")["unequal"] == ("train_samples",)
    assert (
        "Not the same along the curve: train_samples"
        in findings(found)["answers"]["curve"]["sentence"]
    )


# findings
def test_findings_are_plain_json_and_answer_all_that_the_table_holds() -> None:
    found = findings(story(seeds=3))
    json.dumps(found, allow_nan=False)
    assert all(answer["answered"] for answer in found["answers"].values())
    assert found["seeds"] == 3
    place = found["answers"]["transition"]["lines"]
    base = next(
        row
        for row in place
        if (row["d"], row["alpha_dagger"], row["sigma_star"], row["answer"])
        == (512, 0.1, 0.5, "crosses")
    )
    assert base["transition"] == pytest.approx(6, rel=0.2)


def test_findings_say_what_is_not_in_the_table() -> None:
    found = findings(table([line(4, "fine", 0), line(4, "fine", 1)]))
    assert (found["networks"], found["seeds"]) == (2, 2)
    for answer in found["answers"].values():
        assert not answer["answered"]
        assert answer["sentence"].startswith("Not in this table: ")
    empty = findings(table([line(4, "fine", 0)]).iloc[:0])
    assert (empty["networks"], {answer["answered"] for answer in empty["answers"].values()}) == (
        0,
        {False},
    )


def test_one_seed_says_no_interval() -> None:
    lines = [
        line(k, labels, 0, hard=sigmoid(math.log2(k / 6)) if labels == "coarse" else 0.0)
        for k in (1, 2, 4, 8, 16)
        for labels in ("coarse", "fine")
    ]
    answers = findings(table(lines))["answers"]
    assert "no interval" in answers["errors"]["sentence"]
    assert "1 seed: no interval" in answers["transition"]["sentence"]
