"""SimCLR: the loss against a double loop, its gradient against a double-precision one, and the head that the recipe describes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from headwater.methods import Batch, build
from headwater.methods.simclr import nt_xent
from headwater.models import build_encoder
from headwater.recipes import DEFAULTS
from headwater.study import Recipe
from tests.toy import BF16, hashes, same_bits, state


def slow_nt_xent(embeddings: torch.Tensor, temperature: float) -> torch.Tensor:
    """Equation 1 of Chen et al. 2020, one pair at a time, in double precision."""
    z = [row / row.norm() for row in embeddings.double()]
    n, total = len(z), torch.zeros((), dtype=torch.float64)
    for i in range(n):
        partner = (i + n // 2) % n
        others = torch.stack([torch.exp(z[i] @ z[k] / temperature) for k in range(n) if k != i]).sum()
        total = total - torch.log(torch.exp(z[i] @ z[partner] / temperature) / others)
    return total / n


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("b", [2, 3, 8])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_loss_and_its_gradient_equal_a_double_loop_in_double_precision(b, temperature):
    fast = normal(2 * b, 5).requires_grad_()
    slow = fast.detach().double().requires_grad_()
    ours, theirs = nt_xent(fast, temperature), slow_nt_xent(slow, temperature)
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    torch.testing.assert_close(fast.grad.double(), slow.grad, atol=1e-5, rtol=1e-4)


def test_the_double_loops_gradient_equals_finite_differences():
    assert torch.autograd.gradcheck(lambda z: slow_nt_xent(z, 0.5), normal(6, 3).double().requires_grad_())


def test_equal_embeddings_cost_the_logarithm_of_the_number_of_candidates():
    assert nt_xent(torch.ones(10, 4), 0.1).item() == pytest.approx(math.log(9), abs=1e-5)


def test_one_image_alone_costs_nothing():
    assert nt_xent(normal(2, 4), 0.1).item() == pytest.approx(0.0, abs=1e-6)


def test_the_scale_of_embeddings_and_the_order_of_images_do_not_matter():
    z = normal(12, 5)
    images = torch.tensor([3, 0, 5, 1, 4, 2])
    assert nt_xent(z * torch.rand(12, 1) * 9, 0.2).item() == pytest.approx(float(nt_xent(z, 0.2)), abs=1e-5)
    assert nt_xent(z[torch.cat([images, images + 6])], 0.2).item() == pytest.approx(float(nt_xent(z, 0.2)), abs=1e-5)
    assert nt_xent(torch.cat([z[6:], z[:6]]), 0.2).item() == pytest.approx(float(nt_xent(z, 0.2)), abs=1e-5)


def test_views_0_pair_with_views_1():
    z = normal(4, 16)
    matched = nt_xent(torch.cat([z, z]), 0.1)
    crossed = nt_xent(torch.cat([z, z.roll(1, 0)]), 0.1)
    assert matched < 0.1 < crossed


def test_the_loss_is_computed_in_float32_inside_bf16_autocast():
    z = normal(64, 32)
    with BF16.autocast():
        inside = nt_xent(z, 0.1)
    assert inside.dtype == torch.float32
    assert torch.equal(inside, nt_xent(z, 0.1))


def method(seed: int = 0, **words: object) -> nn.Module:
    recipe = Recipe(**{**DEFAULTS["simclr"], "head_width": 64, "embedding": 16, **words})
    return build("simclr", build_encoder("tiny", 32, seed=0), recipe=recipe, seed=seed, targets=None, captions=None, hashes=hashes(4))


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_the_head_has_the_layers_and_widths_of_the_recipe(layers):
    head = method(head_layers=layers).projection
    linear = [m for m in head if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == list(zip([96, *[64] * (layers - 1)], [*[64] * (layers - 1), 16], strict=True))
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
        loss = model.loss(model.encode(normal(2 * b, 3, 32, 32), batch), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
