"""Near-duplicates: planted copies are found, other images are not flagged, and the answer is the
same however it is computed.
"""

from __future__ import annotations

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.curation import (
    KINDS,
    Looks,
    Matches,
    draw_pairs,
    embedding_neighbours,
    near_duplicates,
    within,
)
from headwater.curation.aligning import FLAT, align
from headwater.curation.hashing import hash_distances, perceptual_hashes, pixel_hashes
from headwater.curation.nearest import Nearest
from headwater.curation.squares import LEVELS, SIDE, cosines, resampling, squares
from headwater.curation.windows import alike, coefficients, windows
from headwater.errors import InputError
from headwater.sources.pixels import MemoryImages, decode
from tests.needs import DATA, needs_data


def _benchmark() -> Any:
    path = Path(__file__).parents[2] / "benchmarks" / "leakage.py"
    spec = importlib.util.spec_from_file_location("leakage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


bench = _benchmark()


def scenes(
    num: int, *, seed: int = 0, height: int = 48, width: int = 60, contrast: float = 45.0
) -> list[np.ndarray]:
    """Images with the spectrum of photos (amplitude falls as 1 / f), colours that vary slowly;
    uint8 [height, width, 3] each.
    """
    rng = np.random.default_rng(seed)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    f[0, 0] = np.inf
    made = []
    for _ in range(num):
        noise = np.fft.irfft2(
            np.fft.rfft2(rng.normal(size=(3, height, width))) / f, s=(height, width)
        )
        noise = noise[:1] + 0.4 * noise
        made.append(
            (128 + contrast * noise / noise.std() + rng.normal(0, 15, (3, 1, 1)))
            .clip(0, 255)
            .astype(np.uint8)
            .transpose(1, 2, 0)
        )
    return made


def at(images: list[np.ndarray], size: int = 32) -> Any:
    return bench.Pictures([decode(image, size, "made") for image in images])


def part(image: np.ndarray, x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    height, width = image.shape[:2]
    return np.ascontiguousarray(
        image[round(y0 * height) : round(y1 * height), round(x0 * width) : round(x1 * width)]
    )


def same(a: Matches, b: Matches) -> None:
    for name in Matches.__dataclass_fields__:
        assert np.array_equal(getattr(a, name), getattr(b, name)), name


# the claims, on real photos


@pytest.mark.slow
@needs_data
def test_planted_copies_of_photos_are_found_and_photos_of_other_sets_are_not_flagged():
    """A draw that no threshold was set on.

    Recall is at least 0.95 for each kind of copy; of 75 x 600 pairs and 225 test images none is
    flagged.
    """
    counted = bench.count(
        Path(DATA or ""), ("grocery", "trashnet", "ucm_captions"), 32, 7, 25, 150, lambda _: None
    )
    for kind in bench.KINDS:
        found, planted = np.sum(
            [counted.recall[name, kind] for name in ("grocery", "trashnet", "ucm_captions")], axis=0
        )
        assert planted == 75
        assert found / planted >= 0.95, kind
    pairs, of = np.sum(list(counted.false_pairs.values()), axis=0)
    assert of > 30_000
    assert pairs / of <= 0.001
    assert sum(flagged for flagged, _ in counted.false_tests.values()) == 0
    hashed = sum(counted.by_hash[name, "crop"] for name in ("grocery", "trashnet", "ucm_captions"))
    assert hashed < 40, (
        "a perceptual hash alone misses crops: were it enough, the rest of this room would be for "
        "nothing"
    )


@pytest.mark.slow
@needs_data
@pytest.mark.parametrize("size", [24, 64])
def test_the_29_fruits_that_are_in_both_splits_are_all_found(size):
    """Equal files, as a dictionary of their bytes tells; of 900 others of train, which are frames
    of the same fruits, all pairs would be too many.
    """
    data = Path(DATA or "")
    train, test = (
        bench.files(data, "fruits360_3body", (split,), 1 << 30, 0, "split_variety")
        for split in ("train", "test")
    )
    known = set(train)
    leaked = np.array([image in known for image in test])
    assert leaked.sum() == 29
    twins = set(test)
    kept = [image for i, image in enumerate(train) if image in twins or i % 4 == 0]
    some = np.flatnonzero(leaked | (np.arange(len(test)) % 5 == 0))
    matches = near_duplicates(
        at_files(kept, size), at_files([test[i] for i in some], size), candidates=3
    )
    assert np.array_equal(matches.only(["pixels"]).flagged, leaked[some])


def at_files(files: list[bytes], size: int) -> Any:
    return bench.Pictures([decode(image, size, "file") for image in files])


# what is found, on images made here


def test_crops_mirror_images_and_resized_copies_are_found_with_the_window_and_whose_it_is():
    originals = scenes(6)
    copies = [
        part(originals[0], 0.15, 0.0, 1.0, 0.85),
        np.ascontiguousarray(originals[1][:, ::-1]),
        np.asarray(Image.fromarray(originals[2]).resize((30, 24), Image.Resampling.BICUBIC)),
        np.ascontiguousarray(part(originals[3], 0.1, 0.1, 0.9, 0.95)[:, ::-1]),
    ]
    matches = near_duplicates(at(copies + scenes(20, seed=5)), at(originals))
    assert matches.test_row.tolist() == [0, 1, 2, 3]
    assert matches.source_row.tolist() == [0, 1, 2, 3]
    assert matches.flipped.tolist() == [False, True, False, True]
    assert not matches.window_of_source[[0, 3]].any()
    assert np.abs(matches.window[0] - [0.15, 0, 1, 0.85]).max() < 0.04
    assert matches.flagged.tolist() == [True] * 4 + [False] * 2
    assert matches.summary()["num_flagged"] == 4
    turned = near_duplicates(at(originals), at(copies))  # the test image is the crop
    assert turned.test_row.tolist() == [0, 1, 2, 3]
    assert turned.window_of_source[[0, 3]].all()
    assert np.abs(turned.window[0] - [0.15, 0, 1, 0.85]).max() < 0.04


def test_half_of_an_image_a_turned_one_and_another_one_are_not_flagged():
    original = scenes(1)[0]
    others = [
        part(original, 0, 0, 0.55, 1),
        np.ascontiguousarray(original[::-1]),
        np.rot90(original).copy(),
        255 - original,
    ]
    assert len(near_duplicates(at(others + scenes(40, seed=9)), at([original]))) == 0


def test_equal_pixels_are_found_whatever_they_show_and_flat_images_in_no_other_way():
    flat = np.full((40, 40, 3), 200, dtype=np.uint8)
    almost = flat.copy()
    almost[3, 3] = 201
    matches = near_duplicates(at([flat, flat + 1, almost]), at([flat]))
    assert matches.source_row.tolist() == [0]
    assert matches.kind.tolist() == ["pixels"]
    assert matches.similarity.tolist() == [1.0]


def test_grey_images_and_images_of_one_pixels_width_are_compared_as_any_other():
    grey = [np.repeat(image[:, :, :1], 3, axis=2) for image in scenes(3)]
    assert near_duplicates(at([part(grey[1], 0.1, 0.0, 1, 1)]), at(grey)).test_row.tolist() == [1]
    thin = MemoryImages(np.random.default_rng(0).integers(0, 256, (3, 40, 1, 3), dtype=np.uint8))
    assert near_duplicates(thin, thin).only(["pixels"]).test_row.tolist() == [0, 1, 2]


def test_no_images_give_no_pairs_and_no_warning():
    none, one = MemoryImages(np.zeros((0, 40, 40, 3), dtype=np.uint8)), at(scenes(1))
    for source, test in ((none, one), (one, none), (none, none)):
        matches = near_duplicates(source, test)
        assert len(matches) == 0
        assert matches.flagged.shape == (len(test),)
        assert matches.source_flagged.shape == (len(source),)
    assert near_duplicates(none, none).summary()["share_flagged"] is None
    assert len(within(one)) == 0
    assert near_duplicates(one, one).kind.tolist() == ["pixels"]


def test_within_a_set_each_pair_is_found_once():
    images = scenes(5)
    both = [*images, part(images[3], 0.1, 0.1, 1, 1), images[0]]
    matches = within(at(both))
    assert list(zip(matches.test_row.tolist(), matches.source_row.tolist(), strict=True)) == [
        (0, 6),
        (3, 5),
    ]
    assert matches.kind[0] == "pixels"


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_answer_is_the_same_at_any_size_of_blocks_and_number_of_threads(block):
    originals = scenes(12)
    source = at(
        [part(image, 0.1, 0, 1, 0.9) for image in originals]
        + originals[:3]
        + [originals[0]] * 4
        + scenes(9, seed=2)
    )
    whole = near_duplicates(source, at(originals), candidates=3)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3 - min(threads, 2))
        parts = near_duplicates(source, at(originals), candidates=3, block=block)
    finally:
        torch.set_num_threads(threads)
    assert len(whole) >= 15
    same(whole, parts)


def test_test_sets_larger_than_a_block_are_searched_in_parts(monkeypatch):
    originals = scenes(9)
    source = at([part(image, 0, 0.1, 0.9, 1) for image in originals])
    whole = near_duplicates(source, at(originals))
    monkeypatch.setattr("headwater.curation.leakage.TEST_BLOCK", 4)
    monkeypatch.setattr("headwater.curation.leakage._ALIGNED_AT_ONCE", 5)
    same(whole, near_duplicates(source, at(originals)))
    assert whole.test_row.tolist() == list(range(9))


@pytest.mark.parametrize(("squares", "looks"), [(0, 0), (40, 0), (12, 12)])
def test_what_is_kept_of_images_changes_no_answer(monkeypatch, squares, looks):
    originals = scenes(12)
    source = at([part(image, 0.1, 0, 1, 0.9) for image in originals] + scenes(9, seed=2))
    whole = near_duplicates(source, at(originals))
    monkeypatch.setattr("headwater.curation.looks.MOST_SQUARES", squares)
    monkeypatch.setattr("headwater.curation.looks.MOST_LOOKS", looks)
    same(whole, near_duplicates(source, at(originals), block=5))
    assert len(whole) >= 10


class Counted:
    """Images that count how often their pixels are asked for."""

    def __init__(self, images):
        self.images, self.asked = images, 0

    def __len__(self):
        return len(self.images)

    def gather(self, rows):
        self.asked += len(rows)
        return self.images.gather(rows)


def test_a_large_set_is_read_once_to_align_its_pairs(monkeypatch):
    monkeypatch.setattr("headwater.curation.looks.MOST_SQUARES", 0)
    monkeypatch.setattr("headwater.curation.looks.MOST_LOOKS", 0)
    originals = scenes(10)
    source = Counted(at([part(image, 0.1, 0, 1, 0.9) for image in originals]))
    assert len(near_duplicates(source, at(originals))) == 10
    looked, sides = 2, 2
    assert source.asked <= (looked + sides) * len(source), "pixels and squares, each side aligned"


def test_test_images_that_were_looked_at_serve_the_next_search():
    originals = scenes(10)
    test = Counted(at(originals))
    sources = [
        at([part(image, 0.1, 0, 1, 0.9) for image in originals]),
        at([part(image, 0, 0.1, 1, 1) for image in originals[:4]]),
    ]
    looks = Looks(test)
    first = near_duplicates(sources[0], looks)
    asked = test.asked
    same(near_duplicates(sources[1], looks), near_duplicates(sources[1], at(originals)))
    assert test.asked == asked > 0 and len(first) == 10


def test_looks_may_be_asked_by_several_threads_at_once():
    originals = scenes(24)
    whole = Looks(at(originals)).at(0, 24, 24)
    looks = Looks(at(originals))
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: looks.at(start, start + 6, 3), [0, 6, 12, 18, 0, 12]))
    for part_of, start in zip(parts, [0, 6, 12, 18, 0, 12], strict=True):
        np.testing.assert_array_equal(part_of.hashes, whole.hashes[start : start + 6])
        assert torch.equal(part_of.banks.even, whole.banks.even[start : start + 6])
    assert torch.equal(looks.at(0, 24, 5).wholes.odd, whole.wholes.odd)


def test_pairs_that_are_given_up_early_are_no_copies(monkeypatch):
    originals = scenes(8)
    source = at(
        [part(image, 0.1, 0, 1, 0.9) for image in originals]
        + [part(image, 0.05, 0.12, 0.95, 1)[:, ::-1] for image in originals]
        + scenes(30, seed=3)
    )
    whole = near_duplicates(source, at(originals))
    monkeypatch.setattr("headwater.curation.aligning._STILL", (0.0, 0.0, 0.0, 0.0))
    same(whole, near_duplicates(source, at(originals)))
    assert len(whole) >= 14


def test_a_suggested_pair_is_looked_at_and_stands_only_if_it_is_a_copy():
    originals = scenes(3)
    source = at([scenes(1, seed=4)[0], part(originals[2], 0.1, 0.1, 1, 1)])
    suggested = np.array([[0, 0], [2, 1]])
    matches = near_duplicates(source, at(originals), suggested=suggested)
    assert list(zip(matches.test_row.tolist(), matches.source_row.tolist(), strict=True)) == [
        (2, 1)
    ]
    assert matches.kind[0] in KINDS


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"candidates": 0}, "1 or more"),
        ({"block": 0}, "1 or more"),
        ({"suggested": np.zeros((2, 3), dtype=np.int64)}, r"\[n, 2\]"),
        ({"suggested": np.zeros((2, 2))}, "whole numbers"),
        ({"suggested": np.array([[0, 9]])}, "not there"),
        ({"suggested": np.array([[-1, 0]])}, "not there"),
    ],
)
def test_what_makes_no_sense_is_refused(words, message):
    with pytest.raises(InputError, match=message):
        near_duplicates(at(scenes(2)), at(scenes(2)), **words)


# the parts


def test_a_square_is_what_pillow_makes_of_the_image():
    image = scenes(1, height=80, width=110)[0]
    made = squares(MemoryImages(image[None]), np.array([0]))[0].numpy() / LEVELS
    wanted = np.asarray(
        Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BILINEAR).convert("YCbCr"),
        dtype=float,
    )
    assert np.abs(made[0] - wanted[..., 0]).max() < 2.5
    assert np.abs(made[1] - (wanted[..., 1] - 128)).max() < 2.5
    assert np.allclose(resampling(SIDE, SIDE), np.eye(SIDE))
    waves = cosines(SIDE, SIDE)
    assert np.allclose(waves @ waves.T, np.eye(SIDE))


def test_the_coarse_product_is_a_product_of_whole_numbers_and_sees_mirror_images_alike():
    made = squares(at(scenes(4)), np.arange(4))
    banks, wholes = coefficients(made), coefficients(made.flip(-1), whole_only=True)
    even, odd = (
        np.einsum("iwd,jd->iwj", x.long().numpy(), y[:, 0].long().numpy())
        for x, y in ((banks.even, wholes.even), (banks.odd, wholes.odd))
    )
    exact = (even + np.abs(odd)).max(axis=1)
    assert np.array_equal(alike(banks, wholes).double().numpy() * 2048**2, exact)
    assert exact.max() < 1 << 24
    assert np.array_equal(alike(banks, wholes), alike(banks, coefficients(made, whole_only=True)))
    assert banks.even.shape[1] == len(windows()) ** 2 == 36


def test_aligning_finds_a_window_between_those_of_the_grid():
    image = scenes(1, height=160, width=200)[0]
    x0, y0, x1, y1 = 0.06, 0.03, 0.91, 0.94
    big, small = (squares(at([x]), np.array([0])) for x in (image, part(image, x0, y0, x1, y1)))
    found = align(big, small, torch.tensor([[0, 0]]))
    assert bool(found.copies[0])
    assert np.abs(found.window[0].numpy() - [x0, y0, x1, y1]).max() < 0.03
    assert float(found.similarity[0]) > 0.97
    assert float(found.contrast[0]) > FLAT


def test_faint_images_need_more_than_a_few_levels_in_common():
    """Two images of 2 levels' contrast that share a slow gradient are not copies; a faint image and
    its crop are.
    """
    ramp = np.linspace(-1, 1, 60)[None, :, None]
    a, b = (
        (128 + ramp + (image.astype(float) - 128) / 30).round().clip(0, 255).astype(np.uint8)
        for image in scenes(2)
    )
    assert len(near_duplicates(at([b]), at([a]))) == 0
    assert len(near_duplicates(at([part(a, 0.1, 0.1, 1, 1)]), at([a]))) == 1


def test_hashes_of_pixels_tell_sizes_apart_and_perceptual_ones_know_the_mirror_image():
    tall, wide = np.zeros((1, 4, 2, 3), dtype=np.uint8), np.zeros((1, 2, 4, 3), dtype=np.uint8)
    assert pixel_hashes(MemoryImages(tall), np.array([0])) != pixel_hashes(
        MemoryImages(wide), np.array([0])
    )
    images = at(scenes(8))
    made = squares(images, np.arange(8))
    own, mirrored = perceptual_hashes(made)
    again, _ = perceptual_hashes(made.flip(-1))
    distance = hash_distances(own, mirrored, again)
    assert np.diag(distance).max() <= 1
    assert distance[~np.eye(8, dtype=bool)].min() > 8
    flat = torch.zeros((1, 3, SIDE, SIDE), dtype=torch.int16)
    assert hash_distances(*perceptual_hashes(flat), own[:1]).item() == 64


def test_the_nearest_are_kept_whatever_the_blocks():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, (11, 40)).astype(float)  # many ties
    wanted = [
        (i, j)
        for i in range(11)
        for j in sorted(range(40), key=lambda j, i=i: (-scores[i, j], j))[:4]
        if scores[i, j] >= 2
    ]
    for step in (1, 7, 40):
        nearest = Nearest(11, 4, least=2)
        for row in rng.permutation(np.arange(0, 40, step)).tolist():
            nearest.add(scores[:6, row : row + step], 0, row)
            nearest.add(scores[6:, row : row + step], 6, row)
        images, rows, _ = nearest.pairs()
        assert list(zip(images.tolist(), rows.tolist(), strict=True)) == wanted


def test_embedding_neighbours_are_those_of_a_full_sort_and_ties_go_to_the_earlier_row(monkeypatch):
    rng = np.random.default_rng(1)
    source, test = (
        rng.normal(size=(50, 8)).astype(np.float32),
        rng.normal(size=(7, 8)).astype(np.float32),
    )
    source[20] = source[3] * 2  # a tie
    test[0] = source[3]
    rows, cosines_ = embedding_neighbours(source, test, 4)
    unit = [
        x / np.linalg.norm(x, axis=1, keepdims=True)
        for x in (source.astype(float), test.astype(float))
    ]
    exact = unit[1] @ unit[0].T
    assert np.array_equal(rows[1:], np.argsort(-exact, axis=1, kind="stable")[1:, :4])
    assert rows[0, :2].tolist() == [3, 20]
    assert np.allclose(cosines_, np.take_along_axis(exact, rows, axis=1), atol=1e-6)
    monkeypatch.setattr("headwater.curation.neighbours._AT_ONCE", 30)
    assert np.array_equal(rows, embedding_neighbours(source, test, 4)[0])
    assert embedding_neighbours(source[:2], test, 4)[0].shape == (7, 2)
    assert embedding_neighbours(source, test[:0], 4)[0].shape == (0, 4)
    assert embedding_neighbours(np.zeros((0, 8)), test, 4)[0].shape == (7, 0)


@pytest.mark.parametrize(
    ("source", "test", "k", "message"),
    [
        (np.ones((3, 4)), np.ones((2, 5)), 1, "one encoder"),
        (np.ones((3, 4)), np.full((2, 4), np.nan), 1, "no finite"),
        (np.ones(3), np.ones((2, 4)), 1, "dim"),
        (np.ones((3, 4)), np.ones((2, 4)), 0, "1 or more"),
    ],
)
def test_features_that_cannot_be_compared_are_refused(source, test, k, message):
    with pytest.raises(InputError, match=message):
        embedding_neighbours(source, test, k)


def test_pairs_are_drawn_and_those_of_other_sets_refused(tmp_path):
    originals = scenes(5)
    source, test = at([part(image, 0.1, 0.1, 1, 1) for image in originals[:3]]), at(originals)
    matches = near_duplicates(source, test)
    assert draw_pairs(matches, source, test, tmp_path / "pairs.png", across=2) == 3
    with Image.open(tmp_path / "pairs.png") as page:
        assert page.format == "PNG"
        assert (np.asarray(page) == (255, 0, 0)).all(axis=2).any(), "no window was framed"
    assert draw_pairs(matches.only(["pixels"]), source, test, tmp_path / "none.png") == 0
    with pytest.raises(InputError, match="not of"):
        draw_pairs(matches, test, source, tmp_path / "wrong.png")
