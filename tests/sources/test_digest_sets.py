"""Equal digests are found as numpy and Python find them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headwater.sources import digest_sets
from headwater.sources.digest_sets import among, codes, num_distinct


def some(count: int, kinds: int, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    words = [f"{number:032x}" for number in draw.integers(0, 1 << 60, kinds)] + ["", "ab"]
    return np.array(draw.choice(words, count), dtype="S")


@pytest.mark.parametrize("mixed", [True, False])
def test_they_are_those_of_numpy(mixed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where all digests would share their 64 bits."""
    if not mixed:
        monkeypatch.setattr(digest_sets, "_mixed", lambda all: np.zeros(len(all), np.uint64))
    for count, kinds in ((0, 1), (1, 1), (500, 40), (500, 2000)):
        one, other = some(count, kinds, 0), some(300, kinds, 0).astype("S40")
        assert num_distinct(one) == len(set(one.tolist()))
        assert codes(one).tolist() == pd.factorize(one.astype(object))[0].tolist()
        assert among(one, other).tolist() == np.isin(one, other).tolist()
        assert among(other, one).tolist() == np.isin(other, one).tolist()


def test_digests_of_arrays_of_other_widths_are_compared() -> None:
    one, other = np.array(["a", "b"], dtype="S1"), np.array(["b", "c"], dtype="S32")
    assert among(one, other).tolist() == [False, True]
