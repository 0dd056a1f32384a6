"""Ways to divide images: shares to the image, against plain counting."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.keys import sample_hashes
from headwater.sources.splitting import (
    first_of_each,
    grouped_parts,
    proportional,
    rank_within_class,
    stratified_parts,
)

codes_of = st.lists(st.integers(0, 4), min_size=1, max_size=60).map(np.array)


def hashes(count: int) -> np.ndarray:
    return sample_hashes([f"image {i}" for i in range(count)])


@given(codes_of)
def test_ranks_count_what_stands_before(codes: np.ndarray) -> None:
    assert rank_within_class(codes).tolist() == [
        int((codes[:at] == code).sum()) for at, code in enumerate(codes)
    ]


@given(codes_of, st.floats(0, 1))
def test_proportional_shares_sum_to_the_total_and_are_within_one_of_exact(
    codes: np.ndarray, share: float
) -> None:
    counts = np.bincount(codes)
    total = round(share * len(codes))
    take = proportional(counts, total)
    assert take.sum() == total
    assert (take <= counts).all()
    assert np.abs(take - counts * total / len(codes)).max() < 1 + 1e-9
    chosen = first_of_each(codes, hashes(len(codes)), 3, take)
    assert np.bincount(codes[chosen], minlength=len(counts)).tolist() == take.tolist()


def test_ties_of_remainders_go_to_the_first_class() -> None:
    assert proportional(np.array([3, 0, 1]), 2).tolist() == [2, 0, 0]
    assert proportional(np.array([1087, 2189, 2386, 13158, 2577]), 4280).tolist() == [
        217,
        438,
        477,
        2632,
        516,
    ]


@given(codes_of, st.floats(0, 0.5), st.floats(0, 0.4))
def test_parts_are_rounded_shares_of_every_class_and_train_is_never_empty(
    codes: np.ndarray, test: float, val: float
) -> None:
    parts = stratified_parts(codes, hashes(len(codes)), 1, (test, val))
    for code, count in enumerate(np.bincount(codes).tolist()):
        if not count:
            continue
        own = np.bincount(parts[codes == code], minlength=3)
        left = count - 1
        for part, share in ((1, test), (2, val)):
            wanted = 0 if share == 0 else min(max(1, int(np.round(share * count))), left)
            assert own[part] == wanted
            left -= wanted
        assert own[0] >= 1


@given(codes_of)
def test_the_part_of_an_image_does_not_depend_on_other_classes(codes: np.ndarray) -> None:
    every = hashes(len(codes))
    parts = stratified_parts(codes, every, 1, (0.2, 0.1))
    own = np.flatnonzero(codes == codes[0])
    assert (
        stratified_parts(np.zeros(len(own), dtype=np.int64), every[own], 1, (0.2, 0.1)).tolist()
        == parts[own].tolist()
    )


def test_one_image_groups_meet_the_shares() -> None:
    codes = np.arange(1000) % 4
    parts = grouped_parts(codes, np.arange(1000), hashes(1000), 5, (0.2, 0.1))
    assert np.bincount(parts).tolist() == [700, 200, 100]
    assert np.bincount(codes[parts == 1]).tolist() == [50] * 4
