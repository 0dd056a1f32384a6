"""Cutout and solarise against torchvision and PIL."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from scipy import stats
from torchvision.transforms import RandomErasing

from headwater import keys
from headwater.study import Augmentation
from headwater.views import ViewMaker
from headwater.views.colour import solarise_
from headwater.views.cutout import cutout_, erased_boxes
from tests.views.batches import sample_of, unnormalised


def drawn(n: int) -> torch.Tensor:
    return torch.from_numpy(keys.uniform(1, keys.sample_hashes([str(i) for i in range(n)]), 22))


@pytest.mark.parametrize("size", [16, 32, 224])
def test_erased_boxes_are_distributed_as_torchvisions(size):
    n = 3000
    ours = erased_boxes(drawn(n), size).double().numpy()
    torch.manual_seed(0)
    image = torch.zeros(3, size, size)
    theirs = np.array(
        [RandomErasing.get_params(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(n)],
        dtype=float,
    )
    for described in (
        lambda b: b[:, 0],
        lambda b: b[:, 1],
        lambda b: b[:, 2],
        lambda b: b[:, 3],
        lambda b: b[:, 2] * b[:, 3],
        lambda b: b[:, 2] / b[:, 3],
    ):
        assert stats.ks_2samp(described(ours), described(theirs)).pvalue > 1e-4
    assert (ours[:, :2] >= 0).all()
    assert (ours[:, :2] + ours[:, 2:] <= size).all()


def test_a_view_of_one_pixel_keeps_it():
    assert (erased_boxes(drawn(20), 1)[:, 2:] == 0).all()
    assert (cutout_(torch.ones(20, 1, 1, 3), drawn(20)) == 1).all()


def test_cutout_sets_exactly_its_box_to_the_mean_colour():
    u = drawn(50)
    x = cutout_(torch.ones(50, 32, 32, 3), u)
    for view, (top, left, h, w) in zip(x, erased_boxes(u, 32).tolist(), strict=True):
        expected = torch.ones(32, 32, 3)
        expected[top : top + h, left : left + w] = 0
        assert torch.equal(view, expected)


def test_cutout_comes_last_at_its_rate_and_leaves_the_rest_of_the_view_alone():
    images, sizes, hashes, epochs = sample_of(600, 16, 16)
    words = {"crop_min": 0.3, "flip": 0.5, "jitter": 0.5, "jitter_probability": 0.5}
    plain, cut = (
        ViewMaker(Augmentation(**words, cutout=p), 16, 0)(images, sizes, hashes, epochs, 0)
        for p in (0.0, 0.4)
    )
    erased = (cut == 0).all(dim=1)
    assert torch.equal(torch.where(erased[:, None], plain, cut), plain)
    share = erased.float().mean(dim=(1, 2))
    hit = share > 0
    assert float(hit.float().mean()) == pytest.approx(0.4, abs=4 * (0.24 / 600) ** 0.5)
    assert float(share[hit].max()) < 0.42  # a third, and rounding to whole pixels
    assert float(share[hit].mean()) == pytest.approx(0.175, abs=0.025)


def test_solarise_equals_pils_at_every_level():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    theirs = np.asarray(ImageOps.solarize(Image.fromarray(levels)))
    ours = solarise_(torch.from_numpy(levels.astype(np.float32) / 255)[None, None])[0, 0]
    torch.testing.assert_close(
        ours, torch.from_numpy(theirs.astype(np.float32) / 255), atol=1e-6, rtol=0
    )


def test_solarise_comes_at_its_rate_after_the_colours():
    images, sizes, hashes, epochs = sample_of(600, 16, 16)
    plain, solarised = (
        unnormalised(
            ViewMaker(Augmentation(grey=0.5, solarise=p), 16, 0)(images, sizes, hashes, epochs, 0)
        )
        for p in (0.0, 0.3)
    )
    changed = (plain - solarised).abs().amax(dim=(1, 2, 3)) > 1e-3
    assert float(changed.float().mean()) == pytest.approx(0.3, abs=4 * (0.21 / 600) ** 0.5)
    torch.testing.assert_close(
        solarised[changed],
        torch.where(plain[changed] > 0.5, 1 - plain[changed], plain[changed]),
        atol=1e-5,
        rtol=0,
    )
