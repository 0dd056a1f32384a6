"""What views owe to the batch that they come in: nothing.

And against another way to the same views.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch

from headwater import keys, views
from headwater.registry import METHODS
from headwater.study import Augmentation
from headwater.views import ViewMaker, blur, centre_view, crops, jitter
from tests.needs import needs_cuda
from tests.views.batches import CLOSE, padded, photo, sample_of, unnormalised
from tests.views.dense import dense_views

BLURRED = {
    "crop_min": 0.08,
    "flip": 0.5,
    "jitter": 1.0,
    "jitter_probability": 0.5,
    "grey": 0.3,
    "blur": 0.5,
}
ALL = Augmentation(**BLURRED, solarise=0.3, randaugment=2, cutout=0.5)


@pytest.mark.parametrize("size", [24, 32, 96, 144])
@pytest.mark.parametrize(
    "words",
    [
        *(METHODS[m].recipe().augmentation.words() for m in ("supervised", "clip", "simclr")),
        BLURRED,
    ],
)
def test_views_equal_those_of_dense_matrices(words, size):
    augmentation = Augmentation(**words)
    images, sizes = padded([photo(30 + 3 * (i % 5), 30 + 7 * (i % 4), i) for i in range(24)])
    hashes, epochs = keys.sample_hashes([str(i) for i in range(24)]), np.zeros(24, dtype=np.int64)
    maker = ViewMaker(augmentation, size, seed=3)
    theirs = dense_views(augmentation, images, sizes, maker._uniforms(hashes, epochs, 1), size)
    ours = maker(images, sizes, hashes, epochs, 1)
    assert ((ours - theirs) * 0.225).abs().max() < 5e-6 * max(
        1, size / 32
    )  # float32 taps at pixel 50 are right to 4e-6 of a pixel, and noise is steep


@pytest.mark.parametrize("cache", [0, 1 << 19])
@pytest.mark.parametrize("augmentation", [Augmentation(**BLURRED), ALL])
def test_a_view_does_not_depend_on_how_its_batch_is_cut(augmentation, cache, monkeypatch):
    images, sizes, hashes, epochs = sample_of(50, 40, 47)
    maker = ViewMaker(augmentation, 32, seed=4)
    whole = maker(images, sizes, hashes, epochs, 0)
    centred = centre_view(images, sizes, 32)
    monkeypatch.setattr(crops, "_CACHE_BYTES", cache)
    assert max(stop - start for start, stop in crops.spans([50], (40, 47), 32)) < 10
    torch.testing.assert_close(maker(images, sizes, hashes, epochs, 0), whole, atol=CLOSE, rtol=0)
    torch.testing.assert_close(centre_view(images, sizes, 32), centred, atol=CLOSE, rtol=0)


def test_a_long_image_in_the_batch_changes_no_other_view():
    """The window that is read of each image grows with the largest crop; crops at the far corner of
    an image without padding are at its end.
    """
    images, sizes, hashes, epochs = sample_of(12, 40, 47)
    maker = ViewMaker(Augmentation(**BLURRED), 32, seed=4)
    for long in (photo(40, 300), photo(300, 40), photo(41, 48)):
        wide, wide_sizes = padded([*(image for image in images), long])
        theirs = maker(wide, wide_sizes, np.append(hashes, 5), np.append(epochs, 0), 0)
        torch.testing.assert_close(
            theirs[:12], maker(images, sizes, hashes, epochs, 0), atol=CLOSE, rtol=0
        )
        torch.testing.assert_close(
            centre_view(wide, wide_sizes, 32)[:12],
            centre_view(images, sizes, 32),
            atol=CLOSE,
            rtol=0,
        )


@pytest.mark.parametrize("size", [32, 144])
def test_the_way_of_a_gpu_gives_the_same_views(size, monkeypatch):
    """Its branches, run here: whole images instead of windows, large sub-batches, blurs all at
    once. `make test` has no GPU.
    """
    images, sizes = padded([photo(40 + 9 * (i % 3), 40 + 5 * (i % 2), i) for i in range(12)])
    hashes, epochs = keys.sample_hashes([str(i) for i in range(12)]), np.zeros(12, dtype=np.int64)
    maker = ViewMaker(Augmentation(**BLURRED, solarise=0.3, cutout=0.5), size, seed=4)
    host, centred = maker(images, sizes, hashes, epochs, 0), centre_view(images, sizes, size)
    for module in (views, crops, importlib.import_module("headwater.views.blur")):
        monkeypatch.setattr(module, "on_host", lambda _: False)
    torch.testing.assert_close(maker(images, sizes, hashes, epochs, 0), host, atol=CLOSE, rtol=0)
    torch.testing.assert_close(centre_view(images, sizes, size), centred, atol=CLOSE, rtol=0)


@needs_cuda
@pytest.mark.parametrize("augmentation", [Augmentation(**BLURRED), ALL])
def test_a_gpu_gives_the_same_views(augmentation):
    images, sizes, hashes, epochs = sample_of(12)
    maker = ViewMaker(augmentation, 32, seed=4)
    there = maker(images.cuda(), sizes.cuda(), hashes, epochs, 0)
    assert there.is_contiguous(memory_format=torch.channels_last)
    close = (there.cpu() - maker(images, sizes, hashes, epochs, 0)).abs() < 1e-4
    assert (
        close.all() if augmentation is not ALL else close.float().mean() > 0.95
    )  # RandAugment has thresholds between bytes
    assert torch.equal(maker(images.cuda(), sizes.cuda(), hashes, epochs, 0), there)


def test_spans_cover_each_group_by_itself():
    most = max(stop - start for start, stop in crops.spans([100_000], (40, 40), 32))
    cut = crops.spans([0, 3, 2 * most + 1, 0, most], (40, 40), 32)
    assert [start for start, _ in cut] == [0, *(stop for _, stop in cut[:-1])]
    assert {3, 2 * most + 4, 3 * most + 4} <= {stop for _, stop in cut}
    assert all(0 < stop - start <= most for start, stop in cut)


@pytest.mark.parametrize("augmentation", [Augmentation(**BLURRED), ALL, Augmentation()])
def test_float_images_give_the_views_of_the_same_bytes(augmentation):
    images, sizes, hashes, epochs = sample_of(9)
    maker = ViewMaker(augmentation, 32, seed=4)
    assert torch.equal(
        maker(images.float(), sizes, hashes, epochs, 0), maker(images, sizes, hashes, epochs, 0)
    )
    assert torch.equal(centre_view(images.float(), sizes, 32), centre_view(images, sizes, 32))


def test_images_are_left_as_they_were():
    images, sizes, hashes, epochs = sample_of(9)
    images = images.float()
    before = images.clone()
    ViewMaker(ALL, 40, seed=4)(images, sizes, hashes, epochs, 0)
    assert torch.equal(images, before)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, 3, 16, 16, generator=generator)
    u = torch.rand(3, 4, generator=generator)
    before = x.clone()
    jitter(x, u, strength=1.0, on=torch.ones(3, dtype=torch.bool))
    blur(x, u[:, 0], on=torch.ones(3, dtype=torch.bool))
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "never",
    [
        {"solarise": 0.0},
        {"cutout": 0.0},
        {"randaugment": 0},
        {"randaugment": 0, "randaugment_magnitude": 5.0},
    ],
)
def test_an_operation_that_is_off_changes_no_bit(never):
    images, sizes, hashes, epochs = sample_of(9)
    plain, with_it = (
        ViewMaker(Augmentation(**BLURRED, **more), 32, 0)(images, sizes, hashes, epochs, 0)
        for more in ({}, never)
    )
    assert torch.equal(plain, with_it)


def test_an_operations_draws_do_not_depend_on_which_others_are_on():
    _, _, hashes, epochs = sample_of(9)
    most = ViewMaker(Augmentation(randaugment=8), 32, 0)._uniforms(hashes, epochs, 0)
    for words, draws in (
        ({}, 31),
        ({"solarise": 0.1}, 32),
        ({"cutout": 0.1}, 55),
        ({"randaugment": 2}, 59),
        ({"solarise": 0.1, "randaugment": 3}, 61),
    ):
        drawn = ViewMaker(Augmentation(**words), 32, 0)._uniforms(hashes, epochs, 0)
        assert drawn.shape == (9, draws)
        assert torch.equal(drawn, most[:, :draws])


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("size", [32, 160])
def test_one_image_is_a_batch_and_so_is_none(n, size):
    images, sizes, hashes, epochs = sample_of(1)
    view = ViewMaker(ALL, size, 0)(images[:n], sizes[:n], hashes[:n], epochs[:n], 0)
    assert view.shape == (n, 3, size, size)
    assert centre_view(images[:n], sizes[:n], size).shape == view.shape
    assert view.is_contiguous(memory_format=torch.channels_last)


def test_all_operations_together_stay_within_the_range_of_colours():
    images, sizes, hashes, epochs = sample_of(60)
    x = unnormalised(ViewMaker(ALL, 32, 0)(images, sizes, hashes, epochs, 0))
    assert x.isfinite().all()
    assert x.min() > -1e-5
    assert x.max() < 1 + 1e-5
