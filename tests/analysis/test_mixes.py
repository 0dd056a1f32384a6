"""The best mix of sources: planted scores are found, what cannot be told is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.mixes import Fit, Mixes, best_mix, best_of, candidates
from headwater.errors import InputError
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row
from tests.conftest import Cli

PURE = {"photos": (1, 0, 0), "web": (0, 1, 0), "renders": (0, 0, 1)}
MIXED = {
    "pw": (0.5, 0.5, 0), "pr": (0.5, 0, 0.5), "wr": (0, 0.5, 0.5), "all": (1 / 3, 1 / 3, 1 / 3),
    "p4": (4 / 6, 1 / 6, 1 / 6), "w4": (1 / 6, 4 / 6, 1 / 6), "r4": (1 / 6, 1 / 6, 4 / 6),
}  # fmt: skip
ALL = {**PURE, **MIXED}
WEIGHTS = np.array(list(ALL.values()))


def score(w: np.ndarray, pairs: float = 16.0) -> np.ndarray:
    """Photos are better than web by 2 points, renders far below; photos and web help each other,
    so that the best of these two is 56 % photos.
    """
    return np.asarray(60 * w[:, 0] + 58 * w[:, 1] + 45 * w[:, 2] + pairs * w[:, 0] * w[:, 1])


def drawn(seed: int, *, sd: float = 0.4, pairs: float = 16.0, seeds: int = 3) -> Mixes:
    rng = np.random.default_rng(seed)
    of_seed = rng.normal(0, 1, (seeds, 1))
    scores = score(WEIGHTS, pairs) + of_seed + rng.normal(0, sd, (seeds, len(ALL)))
    return Mixes("simclr", tuple(PURE), tuple(ALL), WEIGHTS, scores)


def test_the_best_of_planted_mixes_is_found_within_its_ranges() -> None:
    found = best_of(drawn(0))
    assert found.form == "quadratic" and found.told
    assert found.best["photos"] == pytest.approx(0.55, abs=0.1) and found.best["renders"] <= 0.05
    low, high = found.ranges["photos"]
    assert low <= 0.5625 <= high < 0.9
    name, gain, low_gain, high_gain = found.over_alone or ("", 0.0, 0.0, 0.0)
    assert name == "photos" and low_gain < 3.06 < high_gain and low_gain > 0 and gain > 0


def test_intervals_over_the_best_alone_hold_as_often_as_they_say() -> None:
    held = []
    for seed in range(40):
        found = best_of(drawn(seed, sd=0.8))
        if not found.told or found.over_alone is None:
            continue
        name, _, low, high = found.over_alone
        best = np.array([[found.best[part] for part in PURE]])
        truth = float(score(best)[0] - score(np.array([ALL[name]]))[0])
        held.append(low - 1e-9 <= truth <= high + 1e-9)
    assert len(held) > 30 and np.mean(held) >= 0.93


def test_of_equal_mixes_it_is_said_that_nothing_can_be_told() -> None:
    rng = np.random.default_rng(3)
    told, proposed = [], []
    for _ in range(25):
        scores = 50 + rng.normal(0, 0.5, (3, len(ALL)))
        found = best_of(Mixes("simclr", tuple(PURE), tuple(ALL), WEIGHTS, scores))
        told.append(found.told)
        proposed.append((found.over_alone or ("", 0, -1, 0))[2] > 0)
        if not found.told:
            assert "foretells nothing of mixes that were not run" in found.sentences[-1]
    assert np.mean(told) < 0.35 and np.mean(proposed) <= 0.05


def test_a_linear_score_is_fitted_by_a_line_and_its_best_is_a_part_alone() -> None:
    found = best_of(drawn(2, sd=0.1, pairs=0.0))
    assert found.best["photos"] == 1.0 and found.over_alone is not None
    assert (
        found.over_alone[1] == 0.0
        and "By the fit it is the best part alone, photos." in found.sentences
    )


def test_the_next_mix_is_one_that_was_not_run_or_none() -> None:
    some = drawn(0)
    few = Mixes(some.name, some.parts, some.names[:7], WEIGHTS[:7], some.scores[:, :7])
    found = best_of(few)
    if found.propose is not None:
        away = np.abs(WEIGHTS[:7] - [found.propose[part] for part in PURE]).max(axis=1)
        assert away.min() >= 0.05 - 1e-9 and found.expected >= 0.1
    sure = best_of(drawn(0, sd=0.001, pairs=0.0))
    assert sure.propose is None and sure.sentences[-1].endswith("nothing to run.")


def test_too_few_mixes_are_refused_with_the_number_that_is_needed() -> None:
    some = drawn(0)
    three = Mixes(some.name, some.parts, some.names[:3], WEIGHTS[:3], some.scores[:, :3])
    with pytest.raises(InputError, match="3 mixes of 3 parts are too few; run 4 at least"):
        best_of(three)
    assert Fit.of(three, "linear") is None


def test_a_mix_without_a_seed_is_compared_on_the_seeds_that_it_has() -> None:
    some = drawn(0, sd=0.0)
    scores = some.scores.copy()
    scores[0, 2] = np.nan
    holes = Mixes(some.name, some.parts, some.names, WEIGHTS, scores)
    gaps = holes.means - some.means
    assert np.ptp(gaps) < 1e-6


@pytest.mark.parametrize(("parts", "num"), [(2, 21), (3, 231), (4, 1771), (6, 20_006)])
def test_candidates_are_shares(parts: int, num: int) -> None:
    grid = candidates(parts)
    assert grid.shape == (num, parts) and grid.min() >= 0
    assert np.allclose(grid.sum(axis=1), 1)


def rows() -> pd.DataFrame:
    made = []
    means = dict(zip(ALL, score(WEIGHTS) / 100, strict=True))
    rng = np.random.default_rng(0)
    for method in ("simclr", "supervised"):
        for name, weights in ALL.items():
            curation = None
            if name in MIXED:
                of = {part: w for part, w in zip(PURE, weights, strict=True) if w}
                curation = json.dumps({"kind": "mix", "of": of})
            for seed in range(3):
                made.append(
                    one_row(
                        cell=f"{method}{name}{seed}", arm=f"a{method}{name}{seed}", source=name,
                        method=method, labels=None if method == "simclr" else "level:0",
                        source_fingerprint=f"{name}{seed if curation else 0}", curation=curation,
                        seed=seed,
                        value=float(means[name] + rng.normal(0, 0.004)),
                    )
                )  # fmt: skip
    return to_frame(made)


def test_mixes_are_found_in_rows_with_the_parts_that_were_run_alone(
    headwater: Cli, tmp_path: Path
) -> None:
    table = rows()
    found = best_mix(table, method="simclr")
    assert found.parts == tuple(sorted(PURE)) and len(found.mixes) == len(ALL)
    assert {one["name"]: one["weights"]["web"] for one in found.mixes}["w4"] == 0.6667
    with pytest.raises(InputError, match=r"several sets of mixes .* name the method"):
        best_mix(table)
    with pytest.raises(InputError, match="these rows have no mix"):
        best_mix(table[table["curation"].isna()])
    path = tmp_path / "rows.parquet"
    table.to_parquet(path)
    code, out, _ = headwater("mixes", str(path), "--method", "supervised")
    assert code == 0 and "Best by the fit" in out and "67 %" in out
    code, out, _ = headwater("mixes", str(path), "--method", "simclr", "--json")
    assert code == 0 and json.loads(out)["told"] is True


def test_mixes_of_mixes_parts_under_other_names_and_seeds_without_scores() -> None:
    table = rows()
    table = table[table["method"] == "simclr"]
    alone = {"photos": ["p1"], "web": ["w1"], "renders": ["r1"]}

    def renamed(row: pd.Series) -> pd.Series:
        if pd.isna(row["curation"]):
            row["source"] = alone[row["source"]][0]
        else:
            row["curation"] = json.dumps(json.loads(row["curation"]) | {"alone": alone})
        return row

    named = table.apply(renamed, axis=1)
    assert len(best_mix(to_frame(named.to_dict("records"))).mixes) == len(ALL)
    inner = {"kind": "mix", "of": {"photos": 1, "web": 1}}
    outer = {"kind": "mix", "of": {"pw": 1, "renders": 1}, "made_of": {"pw": inner}}
    nested = table.copy()
    nested.loc[nested["source"] == "all", "curation"] = json.dumps(outer)
    found = best_mix(to_frame(nested.to_dict("records")))
    weights = {one["name"]: one["weights"] for one in found.mixes}
    assert found.parts == ("photos", "renders", "web")
    assert weights["all"] == {"photos": 0.25, "renders": 0.5, "web": 0.25}
    more = [
        one_row(cell=f"s{seed}", arm=f"s{seed}", seed=seed, method="scratch", source=None,
                source_fingerprint=None, size=None, unique_images=None, labels=None)
        for seed in range(5)
    ]  # fmt: skip
    found = best_mix(to_frame([*table.to_dict("records"), *more]))
    assert found.num_seeds == 3 and np.isfinite(found.predicted)


@pytest.mark.parametrize("weight", [0, -1, "x", None, float("inf"), True])
def test_weights_that_are_none_are_refused(weight: object) -> None:
    table = rows()
    bad = json.dumps({"kind": "mix", "of": {"photos": weight, "web": 1}})
    table.loc[table["source"] == "pw", "curation"] = bad
    with pytest.raises(InputError, match="a weight of its mix is"):
        best_mix(table, method="simclr")


def test_sizes_are_sets_of_their_own_and_other_numbers_of_images_are_refused() -> None:
    small = rows()
    small = small[small["method"] == "simclr"].assign(size="500", unique_images=500)
    large = small.assign(size="4000", unique_images=4000, arm=small["arm"] + "l",
                         cell=small["cell"] + "l")  # fmt: skip
    both = to_frame(pd.concat([small, large]).to_dict("records"))
    with pytest.raises(InputError, match=r"several sets .*simclr, 500 images.* or the size"):
        best_mix(both)
    assert best_mix(both, size=500).name == "simclr, 500 images"
    with pytest.raises(InputError, match="no mixes of this kind; there are"):
        best_mix(both, size=77)
    uneven = small.assign(unique_images=np.where(small["source"] == "pw", 5000, 500))
    with pytest.raises(InputError, match="they were given 500 to 5,000 images"):
        best_mix(to_frame(uneven.to_dict("records")))


def test_what_was_run_is_compared_where_no_fit_serves() -> None:
    root = WEIGHTS**0.25
    rng = np.random.default_rng(0)
    scores = 40 + 12 * root[:, 0] + 10 * root[:, 1] + 3 * root[:, 2] + rng.normal(0, 0.3, (3, 10))
    found = best_of(Mixes("simclr", tuple(PURE), tuple(ALL), WEIGHTS, scores))
    assert found.measured is not None
    mix, part, gain, low, high = found.measured
    assert mix in MIXED and part == "photos" and low > 0 and gain > 5 and high > gain
    assert any(sentence.startswith("Of those that were run") for sentence in found.sentences)
