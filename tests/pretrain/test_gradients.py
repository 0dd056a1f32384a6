"""A batch in parts has the gradient of the whole batch: added up for means over images, by
GradCache for contrastive losses.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

from headwater import methods
from headwater.labels import Targets
from headwater.loader import Order
from headwater.models import build_encoder
from headwater.pretrain.batches import Batches
from headwater.pretrain.gradients import Gradients
from headwater.pretrain.scale import Wrapped
from headwater.ranks import ALONE, Ranks
from headwater.registry import METHODS
from headwater.study.recipe import Recipe
from tests.toy import BF16, FP32, hashes, stripes
from tests.views.batches import CLOSE

PIXELS, LABELS = stripes(8)
HASHES = hashes(len(LABELS))
TARGETS = Targets(codes=LABELS, names=("a", "b", "c", "d"), view="level:0")
CAPTIONS = [[f"stripes number {c}", f"{c} stripes"] for c in LABELS]
LAYER_NORM = "test_vit"


def recipe(method: str, **words: Any) -> Recipe:
    small: dict[str, dict[str, Any]] = {
        "clip": {"embedding": 16, "text_width": 32, "text_heads": 2, "text_layers": 1},
        "simclr": {"embedding": 16, "head_width": 64, "head_layers": 1},
    }
    return METHODS[method].recipe(**{"batch": 24, **small.get(method, {}), **words})


def made(method: str, backbone: str = LAYER_NORM, **words: Any) -> tuple[methods.Method, Batches]:
    told = recipe(method, **words)
    encoder = build_encoder(backbone, 32, seed=0)
    model = methods.build(
        method, encoder, recipe=told, seed=0, targets=TARGETS, captions=CAPTIONS, hashes=HASHES
    )
    if method == "supervised":  # a head of zeros asks nothing of the encoder
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    order = Order(HASHES, 48, 24, 0)
    return model.train(), Batches.of(
        PIXELS,
        order,
        told,
        image_size=32,
        seed=0,
        method=type(model),
        device=torch.device("cpu"),
        ranks=ALONE,
    )


def gradients(
    model: methods.Method, batches: Batches, micro_batch: int | None, compute: Any = FP32
) -> tuple[float, dict[str, torch.Tensor]]:
    model = copy.deepcopy(model)
    loss = Gradients(Wrapped(model, ALONE), batches, micro_batch, 0, compute)(1, batches.make(1))
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    return float(loss), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("supervised", {}),
        ("supervised", {"mixup": 0.4}),
        ("supervised", {"cutmix": 1.0}),
        ("supervised", {"mixup": 0.2, "cutmix": 1.0}),
        ("clip", {}),
        ("clip", {"contrast": "siglip"}),
        ("simclr", {}),
    ],
)
@pytest.mark.parametrize("micro_batch", [8, 5, 2])
def test_a_batch_in_parts_has_the_loss_and_the_gradient_of_the_whole(method, micro_batch, words):
    """24 images in parts of 8; of 5 at most (4, 5, 5, 5 and 5, which count by their size); of 2."""
    model, batches = made(method, **words)
    loss, whole = gradients(model, batches, None)
    loss_in_parts, in_parts = gradients(model, batches, micro_batch)
    assert loss_in_parts == pytest.approx(loss, rel=1e-5)
    assert whole.keys() == in_parts.keys()
    for name in whole:
        scale = float(whole[name].abs().max()) + 1e-6
        assert float((whole[name] - in_parts[name]).abs().max()) < 2e-4 * scale, name


@pytest.mark.parametrize("method", ["clip", "simclr"])
def test_adding_up_the_losses_of_parts_would_be_another_loss(method):
    """What GradCache is for: the mean of the parts' own losses has fewer negatives."""
    model, batches = made(method)
    loss, _ = gradients(model, batches, None)
    prepared = batches.make(1)
    with torch.no_grad():
        apart = [
            float(
                model.loss(
                    model.encode(batches.views(prepared, part), prepared.batch.part(part)),
                    prepared.batch.part(part),
                )
            )
            for part in (slice(0, 12), slice(12, 24))
        ]
    assert np.mean(apart) < loss - 0.1


def test_simclrs_default_head_feels_the_parts():
    """It has batch normalisation, which sees one part at a time: the only reason, since a head of
    one layer has the gradient of the whole.
    """
    model, batches = made("simclr", head_layers=3)
    loss, _ = gradients(model, batches, None)
    in_parts, _ = gradients(model, batches, 8)
    assert abs(loss - in_parts) > 1e-3


@pytest.mark.parametrize(("own", "global_size", "size", "micro_batch", "expected"), [
    (3, 3, 1, 2, [3]), (5, 5, 1, 2, [2, 3]), (11, 23, 2, 11, [5, 6]), (12, 23, 2, 11, [6, 6]), (24,
    24, 1, None, [24]), (24, 24, 1, 10, [8, 8, 8]),
    (1, 2, 2, 2, [1]),
])  # fmt: skip
def test_parts_are_as_many_on_every_rank_and_hold_two_images_at_least(
    own, global_size, size, micro_batch, expected
):
    model, batches = made("supervised")
    taken = Gradients(Wrapped(model, ALONE), batches, micro_batch, 0, FP32)
    taken._wrapped.ranks = Ranks(0, size)
    parts = taken._parts(own, global_size)
    assert [part.stop - part.start for part in parts] == expected
    assert (parts[0].start, parts[-1].stop) == (0, own)


@pytest.mark.parametrize("method", ["clip", "simclr"])
def test_cached_gradients_move_the_statistics_of_batch_normalisation_once(method):
    model, batches = made(method, backbone="tiny")
    wrapped = Wrapped(model, ALONE)
    Gradients(wrapped, batches, 12, 0, FP32)(1, batches.make(1))
    counts = {
        int(b) for name, b in model.encoder.named_buffers() if name.endswith("num_batches_tracked")
    }
    assert counts == {2}  # two parts, each once


def test_parts_work_in_bf16():
    model, batches = made("simclr")
    loss, whole = gradients(model, batches, None, BF16)
    again, in_parts = gradients(model, batches, 8, BF16)
    assert again == pytest.approx(loss, rel=2e-2)
    cosine = [
        float(
            torch.nn.functional.cosine_similarity(whole[n].flatten(), in_parts[n].flatten(), dim=0)
        )
        for n in whole
        if whole[n].norm() > 1e-3
    ]
    assert np.mean(cosine) > 0.98


def test_mixed_images_are_what_the_share_says():
    """Mixup blends the batch with itself from back to front; CutMix pastes a box of the share's
    area.
    """
    _, plain = made("supervised")
    (own,) = plain.views(plain.make(1), slice(None))
    for words in ({"mixup": 0.4}, {"cutmix": 1.0}):
        _, batches = made("supervised", **words)
        seen = set()
        for step in (0, 1):
            prepared = batches.make(step)
            mix = prepared.batch.mix
            assert mix is not None
            assert (mix.partners == prepared.batch.positions[::-1]).all()
            seen.add(mix.share)
            if step == 1:
                (mixed,) = batches.views(prepared, slice(None))
                if "mixup" in words:
                    expected = own.lerp(own.flip(0), mix.share)
                    torch.testing.assert_close(mixed, expected, atol=CLOSE, rtol=0)
                else:
                    top, bottom, left, right = prepared.box or (0, 0, 0, 0)
                    assert mix.share == (bottom - top) * (right - left) / 32**2
                    expected = own.clone()
                    expected[:, :, top:bottom, left:right] = own.flip(0)[
                        :, :, top:bottom, left:right
                    ]
                    torch.testing.assert_close(mixed, expected, atol=CLOSE, rtol=0)
        assert len(seen) == 2


def test_shares_of_mixup_are_beta_distributed_and_boxes_of_cutmix_cover_the_image():
    from scipy import stats

    _, batches = made("supervised", mixup=0.4)
    shares = [
        batches._mix(step, np.arange(4), np.zeros(4, dtype=np.int64))[0].share
        for step in range(600)
    ]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 1e-3
    _, batches = made("supervised", cutmix=1.0)
    covered = np.zeros((32, 32))
    for step in range(600):
        _, box = batches._mix(step, np.arange(4), np.zeros(4, dtype=np.int64))
        top, bottom, left, right = box
        covered[top:bottom, left:right] += 1
    assert covered.min() > 0.1 * 600
    _, both = made("supervised", mixup=0.4, cutmix=1.0)
    cut = sum(
        both._mix(step, np.arange(4), np.zeros(4, dtype=np.int64))[1] is not None
        for step in range(600)
    )
    assert 240 < cut < 360
