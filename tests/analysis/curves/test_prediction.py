"""What a table of curves foretells: the same in any unit, with intervals that hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.curves import Predictor, curve_of, curves_of, read_curves
from headwater.analysis.curves.best_so_far import HIDDEN_NOISE
from headwater.analysis.curves.hiding import KNOWN, Hidden, factor
from headwater.analysis.curves.law import Law, fit
from headwater.errors import InputError

Table = Callable[..., pd.DataFrame]


def table(
    seed: int, *, curves: int = 12, sizes: int = 8, noise: float = 0.01, doublings: float = 1.0
) -> tuple[pd.DataFrame, dict[str, tuple[float, float, float]]]:
    """Curves on laws with noise; (rows, the law of each)."""
    rng = np.random.default_rng(seed)
    laws = {
        f"c{i}": (rng.uniform(0, 0.3), rng.uniform(0.2, 0.5), rng.uniform(0.2, 0.8))
        for i in range(curves)
    }
    n = 1000.0 * 2.0 ** (doublings * np.arange(sizes))
    rows = [
        {"curve": name, "n": one, "score": at(law, one) + noise * rng.standard_normal()}
        for name, law in laws.items()
        for one in n
    ]
    return pd.DataFrame(rows), laws


def at(law: tuple[float, float, float], n: float) -> float:
    return law[0] + law[1] * (n / 1000.0) ** -law[2]


def predicted(frame: pd.DataFrame, *n: float, better: str | None = None) -> pd.DataFrame:
    found = Predictor.of(curves_of(frame, named="a table", better=better)).at(n)
    return pd.DataFrame([one.facts() for one in found])


def test_percent_fractions_errors_and_accuracies_say_the_same() -> None:
    errors, _ = table(0)
    ahead = 4000 * 2.0**7
    base = predicted(errors, ahead)
    accuracy = predicted(errors.assign(score=1 - errors["score"]), ahead)
    percent = predicted(errors.assign(score=100 - 100 * errors["score"]), ahead)
    assert accuracy["prediction"].to_numpy() == pytest.approx(1 - base["prediction"].to_numpy())
    assert percent["low"].to_numpy() == pytest.approx(100 - 100 * base["high"].to_numpy())
    assert percent["high"].to_numpy() == pytest.approx(100 - 100 * base["low"].to_numpy())
    assert (percent["told"] == base["told"]).all()


def test_a_loss_above_one_and_scores_without_a_best_are_foretold() -> None:
    errors, _ = table(1)
    loss = predicted(errors.assign(score=3 + 2 * errors["score"]), 4e5)
    assert loss["prediction"].between(2.5, 4.5).all() and (loss["low"] >= 0).all()
    rising = predicted(errors.assign(score=500 - 100 * errors["score"]), 4e5)
    assert rising["prediction"].between(400, 500).all()


@pytest.mark.parametrize(("noise", "ratio"), [(0.01, 2), (0.01, 8), (0.002, 4)])
def test_intervals_hold_what_is_measured_later(noise: float, ratio: int) -> None:
    rng, held = np.random.default_rng(9), []
    for seed in range(6):
        frame, laws = table(seed, noise=noise)
        found = predicted(frame, 1000 * 2.0**7 * ratio)
        for one in found.itertuples():
            measured = at(laws[one.curve], one.n) + noise * rng.standard_normal()
            held.append(one.low <= measured <= one.high)
    assert np.mean(held) >= 0.93


def test_more_noise_makes_wider_intervals_and_so_does_a_farther_n() -> None:
    quiet, loud = (predicted(table(2, noise=noise)[0], 3e5, 1e6) for noise in (0.002, 0.02))
    width = {name: (each["high"] - each["low"]) for name, each in (("q", quiet), ("l", loud))}
    assert width["l"].median() > 1.5 * width["q"].median()
    assert width["q"][1::2].median() > width["q"][::2].median()


def test_what_a_curve_does_not_bear_is_given_and_not_told() -> None:
    frame, _ = table(3, noise=0.0005)
    near, far = predicted(frame, 2e5), predicted(frame, 2e6)
    assert near["told"].mean() > 0.8 and not far["told"].any()
    assert far["why"].str.startswith("more than 4 times").all()
    assert np.isfinite(far[["low", "high"]].to_numpy()).all()
    few = frame[frame["n"] <= 4000]
    assert (predicted(few, 5000.0)["why"] == "3 points, and 5 are needed").all()


def test_a_curve_that_does_not_move_is_not_told_and_no_score_is_outside_its_interval() -> None:
    frame, _ = table(5, noise=0.0005)
    still = frame[frame["curve"] == frame["curve"].iat[0]].assign(curve="still", score=0.5)
    found = predicted(pd.concat([frame, still]), 10.0, 2e5, 1e6)
    beyond = (found["curve"] == "still") & (found["n"] > 128_000)
    assert not found.loc[beyond, "told"].any()
    assert (found["prediction"].between(found["low"], found["high"])).all()


def test_within_the_range_it_is_the_points_made_monotone() -> None:
    frame, laws = table(4, noise=0.0)
    found = predicted(frame, 3000.0)
    assert (found["form"] == "between points").all() and found["told"].all()
    for one in found.itertuples():
        assert one.prediction == pytest.approx(at(laws[one.curve], 3000.0), abs=3e-3)


def test_curves_of_the_best_so_far_are_told_and_have_wider_intervals() -> None:
    rng = np.random.default_rng(5)
    n = np.geomspace(1e3, 1e5, 600)
    frames = []
    for name, floor in (("a", 0.1), ("b", 0.2), ("c", 0.3)):
        error = floor + 0.4 * (n / 1e3) ** -0.5 + 0.01 * rng.standard_normal(600)
        frames.append(pd.DataFrame({"curve": name, "n": n, "score": error}))
    raw = pd.concat(frames)
    best = raw.assign(score=raw.groupby("curve")["score"].cummin())
    best = best[best.groupby("curve")["score"].diff().ne(0)]
    assert not any(Predictor.of(curves_of(raw, named="raw")).best_so_far)
    smoothed = Predictor.of(curves_of(best, named="best"))
    assert all(smoothed.best_so_far)
    halves = [(one.high - one.low) / 2 for one in smoothed.at([5e4, 2e5])]
    spreads = np.repeat([law.noise.variance**0.5 for law in smoothed.laws], 2)
    assert (np.array(halves) > 1.96 * HIDDEN_NOISE * spreads).all()


def at_knee(past: float) -> Law:
    """A law of a curve so many doublings past its knee."""
    n = 1000.0 * 2.0 ** np.linspace(0, past, 20)
    law = fit(curve_of("c", n, 0.1 + 0.4 * (n / 1e3) ** -0.5), least=0.0)
    return replace(law, past=past, doublings=past)


def test_a_factor_is_the_quantile_of_like_predictions_once_there_are_many() -> None:
    rng = np.random.default_rng(6)
    score = np.abs(rng.standard_normal(4000))
    many = Hidden(np.arange(4000), np.full(4000, 3.0), np.full(4000, 0.7), score)
    late, early = at_knee(3.0), at_knee(0.2)
    assert factor(many, late, 0.7) == pytest.approx(1.96, abs=0.1)
    assert KNOWN[-1][1] <= factor(many, late, 3.0) < 1.25 * KNOWN[-1][1], "none is alike"
    assert factor(many, early, 0.7) > 5, "a curve at its knee is unlike those"
    again = Hidden(np.zeros(4000, np.int64), many.doublings, many.log_ratio, 9 * score)
    assert factor(again, late, 0.7) < 4, "one curve, however often hidden, is one curve"


def test_what_is_missing_or_odd_is_said(tmp_path: Path) -> None:
    frame, _ = table(7, curves=2)
    odd = pd.concat([frame, pd.DataFrame([{"curve": "c0", "n": 0.0, "score": 0.9}])])
    odd = odd.reset_index(drop=True)
    odd.loc[0, "score"] = np.nan
    told = curves_of(odd, named="t").told
    assert told[0].startswith("1 row without a score") and told[1].startswith("1 row at n = 0")
    path = tmp_path / "curves.csv"
    frame.rename(columns={"score": "scores"}).to_csv(path, index=False)
    with pytest.raises(InputError, match=r"no column score; did you mean scores\?"):
        read_curves(path)
    path.write_text("curve,n,score\na,1,0.5\na,two,0.4\n")
    with pytest.raises(InputError, match="row 2: n is 'two'"):
        read_curves(path)
    path.write_text("curve,n,score\na,-1,0.5\n")
    with pytest.raises(InputError, match="row 1: n is below 0"):
        read_curves(path)
    path.write_text("curve,n,score\n")
    with pytest.raises(InputError, match="holds no rows"):
        read_curves(path)
    path.write_text("curve,n,score,group\na,1,0.5,x\na,2,0.4,y\n")
    with pytest.raises(InputError, match="is in two groups"):
        read_curves(path)
    with pytest.raises(InputError, match=r"but .*curves\.csv is"):
        read_curves(tmp_path / "curve.csv")
    (tmp_path / "curves.txt").write_text("")
    with pytest.raises(InputError, match=r"is \.csv, \.tsv or \.parquet"):
        read_curves(tmp_path / "curves.txt")


def test_standard_errors_and_groups_enter_the_noise() -> None:
    frame, _ = table(11, curves=4, sizes=6, noise=0.004)
    bare = predicted(frame, 1e5)
    told = predicted(frame.assign(score_se=0.03), 1e5)
    width = {
        name: (each["high"] - each["low"]).median() for name, each in (("b", bare), ("t", told))
    }
    assert width["t"] > 2 * width["b"]
    loud, _ = table(12, curves=4, sizes=8, noise=0.03)
    loud["curve"] = "l" + loud["curve"]
    mixed = pd.concat([frame, loud])
    groups = mixed.assign(group=np.where(mixed["curve"].str.startswith("l"), "loud", "quiet"))
    apart, joined = predicted(groups, 1e5), predicted(mixed, 1e5)
    quiet = ~apart["curve"].str.startswith("l")
    widths = [(each["high"] - each["low"])[quiet].median() for each in (apart, joined)]
    assert widths[0] < widths[1], "a quiet group does not share the noise of a loud one"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("curve,n,score\na,1,000,0.5\na,2,000,0.4\n", "cannot be read as a table"),
        ("curve,n,score,score\na,1,0.5,0.4\n", "'score' is there twice"),
        ("curve,n,score\na,1,0.5\na,2,0.4\nb,1,0.5\nb,2,0.6\n", r"a falls\); say --better"),
        ("curve,n,score\na,1,0.5\nb,1,0.4\n", "do not tell whether higher scores are better"),
        ("curve,n,score\na,1,0.5\na,1e300,0.4\n", r"row 2: n is beyond 1e\+30"),
        ("curve,n,score\na,1,0.5\na,2,0.6\nb,1,50\nb,2,60\n", "shares and percent"),
    ],
)
def test_a_table_that_can_be_read_in_two_ways_is_refused(
    tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "curves.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_curves(path)


def test_headings_with_spaces_and_empty_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("curve, n, score\n,1,0.5\n,2,0.4\n")
    assert list(read_curves(path).curves) == [""]


def test_far_out_and_before_the_first_point_intervals_only_grow() -> None:
    frame, _ = table(13)
    far = predicted(frame, 1e6, 1e9, 1e20)
    width = (far["high"] - far["low"]).to_numpy().reshape(-1, 3)
    assert (np.diff(width, axis=1) >= -1e-9).all()
    before = predicted(frame, 900.0, 100.0)
    assert not before["told"].any()
    held = [one.low <= at(_LAWS[one.curve], one.n) <= one.high for one in before.itertuples()]
    assert np.mean(held) > 0.9


_LAWS = table(13)[1]
