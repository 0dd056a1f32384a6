"""The error over the number of labels, against curves whose shape was written down."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwater.theory.analysis import (
    curve,
    curve_shape,
    findings,
)
from headwater.theory.analysis.label_curves import MAIN
from headwater.theory.analysis.settings import label_kind
from tests.theory.simulated_table import line, only, table


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
