"""Copies in large sources: what near_duplicates finds among all pairs is the answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from headwater.curation import Matches, near_duplicates
from headwater.curation.scale import copies, near_duplicates_at_scale
from headwater.curation.windows import Coefficients, alike, coefficients
from headwater.errors import InputError
from tests.curation.test_leakage import at, part, same, scenes


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "_ALONE", 4)
    monkeypatch.setattr(copies, "_BLOCK", 48)
    monkeypatch.setattr(copies, "_MADE", 10)
    monkeypatch.setattr(copies, "_HELD", 100)


@pytest.fixture(scope="module")
def planted() -> tuple[Any, Any]:
    """(a source of 160 scenes, of which the first 60 are changed copies, two of them of one image;
    60 test scenes).
    """
    originals = scenes(60, seed=3)
    changed = [
        np.ascontiguousarray(image[:, ::-1]) if row % 3 == 0 else part(image, 0.08, 0.04, 0.95, 1)
        for row, image in enumerate(originals)
    ]
    changed[5], changed[7] = originals[5], changed[8]
    return at(changed + scenes(100, seed=4)), at(originals)


def pairs(found: Matches) -> set[tuple[int, int]]:
    return set(zip(found.test_row.tolist(), found.source_row.tolist(), strict=True))


@pytest.mark.usefixtures("_small_blocks")
def test_what_is_found_among_all_pairs_is_found(planted: tuple[Any, Any]) -> None:
    source, test = planted
    every, some = near_duplicates(source, test), near_duplicates_at_scale(source, test)
    assert len(every) >= 59
    assert pairs(some) <= pairs(every)
    assert len(some) >= 0.97 * len(every)
    assert some.kind[some.test_row == 5].tolist() == ["pixels"]
    assert {"hash", "crop"} < set(some.kind.tolist())
    assert sorted(some.source_row[some.test_row == 8].tolist()) == [7, 8]


@pytest.mark.slow
@pytest.mark.usefixtures("_small_blocks")
def test_threads_change_nothing(planted: tuple[Any, Any]) -> None:
    threads = torch.get_num_threads()
    told: list[int] = []
    try:
        torch.set_num_threads(1)
        once = near_duplicates_at_scale(*planted, progress=told.append)
        torch.set_num_threads(3)
        same(once, near_duplicates_at_scale(*planted))
    finally:
        torch.set_num_threads(threads)
    assert told == [48, 96, 144, 160]


def test_the_cosine_of_features_is_how_alike_windows_are() -> None:
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 4000, (6, 3, 40, 40), generator=draw).to(torch.int16)
    images[2] = 7  # flat
    images[3] = images[3] // 400  # faint
    banks, wholes = coefficients(images), coefficients(images, whole_only=True)
    known = copies._features(wholes, of_test=True)
    best = np.full((6, 6), -1.0)
    for mirrored in (False, True):
        asked = copies._features(banks, of_test=False, mirrored=mirrored)
        assert np.allclose(np.linalg.norm(asked, axis=1), 1, atol=1e-3)
        best = np.maximum(best, (asked @ known.T).reshape(6, -1, 6).max(axis=1))
    assert np.allclose(best, alike(banks, Coefficients(wholes.even, wholes.odd)), atol=1e-5)


def test_suggested_pairs_are_looked_at_and_empty_sets_give_nothing() -> None:
    originals = scenes(3, seed=5)
    source, test, none = at(scenes(4, seed=6) + originals[:1]), at(originals), at([])
    suggested = np.array([[0, 4], [1, 2]])
    found = near_duplicates_at_scale(source, test, suggested=suggested)
    assert pairs(found) == {(0, 4)}
    assert (
        len(near_duplicates_at_scale(none, test)) == len(near_duplicates_at_scale(test, none)) == 0
    )
    with pytest.raises(InputError, match="names a row that is not there"):
        near_duplicates_at_scale(source, test, suggested=np.array([[3, 0]]))
