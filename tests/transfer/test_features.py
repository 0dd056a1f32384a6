"""Features of a frozen encoder: in evaluation mode, under the test transform, whatever the batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from headwater.models import build_encoder
from headwater.transfer.features import extract
from headwater.views import centre_view
from tests.toy import BF16, FP32, same_bits, state, stripes


def test_features_are_those_of_the_test_transform_whatever_the_batch_size():
    images, _ = stripes(5)
    encoder = build_encoder("tiny", 32, seed=0)
    before = state(encoder)
    whole = extract(encoder, images, image_size=32, compute=FP32)
    assert whole.dtype == np.float32
    with torch.no_grad():
        pixels, sizes = (torch.from_numpy(a) for a in images.gather(np.arange(20)))
        by_hand = encoder.eval()(centre_view(pixels, sizes, 32)).numpy()
    assert np.array_equal(whole, by_hand)
    for batch in (1, 7):
        assert extract(encoder, images, image_size=32, compute=FP32, batch=batch) == pytest.approx(whole, abs=1e-5)
    assert same_bits(before, state(encoder))


def test_bf16_features_are_float32_and_near_the_exact_ones():
    images, _ = stripes(5)
    encoder = build_encoder("tiny", 32, seed=0)
    exact, fast = (extract(encoder, images, image_size=32, compute=compute) for compute in (FP32, BF16))
    assert fast.dtype == np.float32
    assert np.abs(fast - exact).max() < 0.05 * np.abs(exact).max()
