"""SimCLR: the head that the recipe describes, and its two views in the loss (which
test_contrastive.py checks).
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from headwater.methods import Batch, build
from headwater.methods.contrastive import nt_xent
from headwater.methods.simclr import SimclrRecipe
from headwater.models import build_encoder
from tests.toy import BF16, hashes, normal, same_bits, state


def method(seed: int = 0, **words: object) -> nn.Module:
    recipe = SimclrRecipe(**{"head_width": 64, "embedding": 16, **words})
    return build(
        "simclr",
        build_encoder("tiny", 32, seed=0),
        recipe=recipe,
        seed=seed,
        targets=None,
        captions=None,
        hashes=hashes(4),
    )


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_head_has_the_layers_and_widths_of_the_recipe(layers):
    head = method(head_layers=layers).projection
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == list(
        zip([96, *[64] * (layers - 1)], [*[64] * (layers - 1), 16], strict=True)
    )
    assert [m.bias is not None for m in linear] == [False] * (layers - 1) + [True]
    assert sum(isinstance(m, nn.BatchNorm1d) for m in head) == layers - 1


def test_heads_follow_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    a, b, c = method(1), method(1), method(2)
    assert torch.equal(torch.get_rng_state(), before)
    assert same_bits(state(a.projection), state(b.projection))
    assert not torch.equal(a.projection[0].weight, c.projection[0].weight)


@pytest.mark.parametrize("b", [1, 2, 7])
def test_small_batches_have_finite_losses_and_gradients_in_bf16(b):
    model = method().train()
    with BF16.autocast():
        batch = Batch(np.arange(b), np.zeros(b, dtype=np.int64))
        loss = model.loss(model.encode((normal(2 * b, 3, 32, 32),), batch), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_view_0_of_an_image_meets_its_view_1_at_the_recipes_temperature():
    model, views = method(temperature=0.2).eval(), normal(6, 3, 32, 32)
    batch = Batch(np.arange(3), np.zeros(3, dtype=np.int64))
    first, second = model.encode((views,), batch)
    torch.testing.assert_close(torch.cat([first, second]), model.projection(model.encoder(views)))
    assert torch.equal(model.loss((first, second), batch), nt_xent(first, second, 0.2))


def test_collapse_is_told_by_the_number_of_candidates_of_a_view():
    model = method()
    assert "ln(255)" in (model.at_chance(math.log(255), 128) or "")
    assert model.at_chance(math.log(128), 128) is None
    assert model.loss_parameters() == []
