"""The contrastive losses on one process: against a double loop, lightly and open_clip; in tiles as
well as whole; and what chance costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from headwater.methods import contrastive, tiles
from headwater.methods.contrastive import (
    AT_CHANCE,
    at_chance,
    chance,
    clip_loss,
    nt_xent,
    siglip_loss,
)
from tests.toy import BF16, normal

Loss = Callable[..., torch.Tensor]
LOSSES: dict[str, Loss] = {
    "nt-xent": lambda first, second, scale, bias: nt_xent(first, second, 1 / 14),
    "infonce": lambda first, second, scale, bias: clip_loss(first, second, scale),
    "siglip": siglip_loss,
}


@pytest.fixture(params=["whole", "in tiles"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of computing a loss.

    Tiles of 3 x 3 do not divide most batches, and the diagonals cross them anywhere.
    """
    if request.param == "in tiles":
        in_tiles(monkeypatch)
    return str(request.param)


def in_tiles(monkeypatch: pytest.MonkeyPatch, side: int = 3) -> None:
    monkeypatch.setattr(contrastive, "MOST_LOGITS", 0)
    monkeypatch.setattr(tiles, "side", lambda device: side)


def numbers(
    b: int, e: int = 8, scale: float = 14.0, dtype: torch.dtype = torch.float32
) -> list[torch.Tensor]:
    """Embeddings of two kinds that somewhat belong together, a scale and a bias; leaves."""
    first = normal(b, e)
    given = (first, 0.7 * first + normal(b, e, seed=1), torch.tensor(scale), torch.tensor(-9.0))
    return [t.to(dtype).clone().requires_grad_() for t in given]


def assert_equal_in_value_and_gradient(
    ours: Loss, theirs: Loss, make: Callable[[], list[torch.Tensor]], tolerance: float = 1e-5
) -> None:
    mine, others = make(), make()
    one, other = ours(*mine), theirs(*others)
    one.backward()
    other.backward()
    assert one.item() == pytest.approx(other.item(), abs=tolerance)
    for a, t in zip(mine, others, strict=True):
        assert (a.grad is None) == (t.grad is None)
        if a.grad is not None:
            torch.testing.assert_close(a.grad, t.grad, atol=tolerance, rtol=0)


# against others
def slow_nt_xent(embeddings: torch.Tensor, temperature: float) -> torch.Tensor:
    """Equation 1 of Chen et al. 2020, one pair at a time, in double precision."""
    z = [row / row.norm() for row in embeddings.double()]
    n, total = len(z), torch.zeros((), dtype=torch.float64)
    for i in range(n):
        partner = (i + n // 2) % n
        others = torch.stack(
            [torch.exp(z[i] @ z[k] / temperature) for k in range(n) if k != i]
        ).sum()
        total = total - torch.log(torch.exp(z[i] @ z[partner] / temperature) / others)
    return total / n


@pytest.mark.parametrize("b", [2, 3, 8])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_nt_xent_equals_a_double_loop_in_double_precision(way, b, temperature):
    fast = normal(2 * b, 5).requires_grad_()
    slow = fast.detach().double().requires_grad_()
    ours, theirs = nt_xent(*fast.chunk(2), temperature), slow_nt_xent(slow, temperature)
    ours.backward()
    theirs.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    torch.testing.assert_close(fast.grad.double(), slow.grad, atol=1e-5, rtol=1e-4)


def test_the_double_loops_gradient_equals_finite_differences():
    assert torch.autograd.gradcheck(
        lambda z: slow_nt_xent(z, 0.5), normal(6, 3).double().requires_grad_()
    )


@pytest.mark.parametrize("b", [2, 7, 32])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_nt_xent_equals_lightlys(way, b, temperature):
    from lightly.loss import NTXentLoss

    assert_equal_in_value_and_gradient(
        lambda first, second: nt_xent(first, second, temperature),
        NTXentLoss(temperature),
        lambda: numbers(b)[:2],
    )


@pytest.mark.parametrize("b", [1, 2, 9, 32])
@pytest.mark.parametrize("scale", [1.0, 14.0, 100.0])
def test_infonce_equals_open_clips(way, b, scale):
    from open_clip.loss import ClipLoss

    def theirs(images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        return ClipLoss()(F.normalize(images, dim=1), F.normalize(texts, dim=1), scale)

    assert_equal_in_value_and_gradient(clip_loss, theirs, lambda: numbers(b, scale=scale)[:3])


@pytest.mark.parametrize("b", [1, 2, 9, 32])
@pytest.mark.parametrize("scale", [1.0, 10.0, 30.0])
def test_the_sigmoid_loss_equals_open_clips(way, b, scale):
    from open_clip.loss import SigLipLoss

    def theirs(images: torch.Tensor, texts: torch.Tensor, *learned: torch.Tensor) -> torch.Tensor:
        return SigLipLoss()(F.normalize(images, dim=1), F.normalize(texts, dim=1), *learned)

    assert_equal_in_value_and_gradient(siglip_loss, theirs, lambda: numbers(b, scale=scale))


# properties
def test_equal_embeddings_cost_the_logarithm_of_the_number_of_candidates(way):
    assert nt_xent(torch.ones(5, 4), torch.ones(5, 4), 0.1).item() == pytest.approx(
        math.log(9), abs=1e-5
    )
    assert clip_loss(
        torch.ones(5, 4), torch.ones(5, 4), torch.tensor(14.0)
    ).item() == pytest.approx(math.log(5), abs=1e-5)


def test_one_image_alone_costs_nothing(way):
    assert nt_xent(normal(1, 4), normal(1, 4, seed=1), 0.1).item() == pytest.approx(0.0, abs=1e-6)
    assert clip_loss(
        normal(1, 4), normal(1, 4, seed=1), torch.tensor(14.0)
    ).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_the_length_of_embeddings_and_the_order_of_images_do_not_matter(way, name):
    first, second, *learned = numbers(6)
    there = LOSSES[name](first, second, *learned).item()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert LOSSES[name](
        first * (1 + 9 * torch.arange(6.0)[:, None]), second * 0.01, *learned
    ).item() == pytest.approx(there, abs=1e-5)
    assert LOSSES[name](first[order], second[order], *learned).item() == pytest.approx(
        there, abs=1e-5
    )
    assert LOSSES[name](second, first, *learned).item() == pytest.approx(there, abs=1e-5)


def test_views_0_pair_with_views_1(way):
    z = normal(2, 16)
    assert nt_xent(z, z, 0.1) < 0.1 < nt_xent(z, z.roll(1, 0), 0.1)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_are_computed_in_float32_inside_bf16_autocast(way, name):
    inside, outside = numbers(40, 32), numbers(40, 32)
    with BF16.autocast():
        loss = LOSSES[name](*inside)
        loss.backward()
    plain = LOSSES[name](*outside)
    plain.backward()
    assert loss.dtype == torch.float32
    assert torch.equal(loss, plain)
    # torch runs the backward pass of its own products in the mode of the moment, and the loop
    # calls it outside autocast
    if way == "in tiles":
        assert all(
            torch.equal(a.grad, b.grad)
            for a, b in zip(inside, outside, strict=True)
            if b.grad is not None
        )


@pytest.mark.parametrize("name", LOSSES)
def test_embeddings_in_bf16_cost_what_they_are_in_float32_and_get_their_gradient_in_bf16(way, name):
    first, second, *learned = numbers(10)
    rounded = [t.detach().bfloat16().requires_grad_() for t in (first, second)]
    wide = [t.detach().float().requires_grad_() for t in rounded]
    loss, expected = LOSSES[name](*rounded, *learned), LOSSES[name](*wide, *learned)
    loss.backward()
    expected.backward()
    assert torch.equal(loss, expected)
    assert all(torch.equal(a.grad, b.grad.bfloat16()) for a, b in zip(rounded, wide, strict=True))


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_no_number_is_not_hidden(way, name):
    first, second, *learned = numbers(7)
    with torch.no_grad():
        first[4, 2] = math.nan
    assert math.isnan(LOSSES[name](first, second, *learned).item())


# tiles
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(("b", "side"), [(1, 3), (4, 3), (4, 16), (7, 1)])
def test_the_gradients_of_tiles_equal_finite_differences(monkeypatch, name, b, side):
    in_tiles(monkeypatch, side)
    assert torch.autograd.gradcheck(LOSSES[name], numbers(b, 3, scale=3.0, dtype=torch.float64))


@pytest.mark.parametrize("name", LOSSES)
def test_tiles_and_whole_are_the_same_in_double_precision(monkeypatch, name):
    whole = LOSSES[name]

    def tiled(*given: torch.Tensor) -> torch.Tensor:
        with monkeypatch.context() as patch:
            in_tiles(patch, 5)
            return whole(*given)

    assert_equal_in_value_and_gradient(
        tiled, whole, lambda: numbers(33, dtype=torch.float64), tolerance=1e-13
    )


@pytest.mark.parametrize("name", LOSSES)
def test_a_batch_beyond_the_limit_is_tiled_at_the_shipped_sizes_to_the_same_result(
    monkeypatch, name
):
    b = 1100 if name == "nt-xent" else 2100
    assert_equal_in_value_and_gradient(
        LOSSES[name], in_double(LOSSES[name], monkeypatch), lambda: numbers(b, 16)
    )


def in_double(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> Loss:
    def wide(*given: torch.Tensor) -> torch.Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(contrastive, "MOST_LOGITS", 10**9)
            return loss(*(t.double() for t in given))

    return wide


class Largest(TorchDispatchMode):
    """The numbers of the largest tensor that any operation made."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return made


@pytest.mark.parametrize("name", LOSSES)
def test_beyond_the_limit_no_tensor_is_larger_than_the_embeddings_or_a_tile(name):
    """Double the batch, and the largest tensor at most doubles, where the matrix of logits would be
    four times as large.
    """
    largest = []
    for b in (2100, 4200):
        given = numbers(b, 128)
        with Largest() as mode:
            LOSSES[name](*given).backward()
        largest.append(mode.numbers)
        assert mode.numbers <= max(2 * b * 128, 512 * 512)
    assert largest[1] == 2 * largest[0]


@pytest.mark.parametrize("name", LOSSES)
def test_the_number_of_logits_alone_decides_what_is_tiled(monkeypatch, name):
    monkeypatch.setattr(contrastive, "MOST_LOGITS", 400)
    largest = []
    for b in (10, 11) if name == "nt-xent" else (20, 21):
        with Largest() as mode:
            monkeypatch.setattr(tiles, "side", lambda device: 4)
            LOSSES[name](*numbers(b, 2))
        largest.append(mode.numbers)
    assert largest[0] >= 400 > 100 > largest[1]


@pytest.mark.parametrize("name", LOSSES)
def test_a_second_derivative_of_tiles_is_refused(monkeypatch, name):
    in_tiles(monkeypatch)
    given = numbers(4)
    loss = LOSSES[name](*given)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, given[:2], create_graph=True)


# chance
def best_constant(b: int) -> float:
    """The least that b x b pairs cost an image when all get one logit, by trying many."""
    x = torch.linspace(-15, 5, 200_001, dtype=torch.float64)
    return float((F.softplus(-x) + (b - 1) * F.softplus(x)).min())


@pytest.mark.parametrize("b", [2, 16, 4096])
def test_chance_is_what_embeddings_cost_that_tell_nothing(b):
    assert chance(b, "nt-xent") == pytest.approx(math.log(2 * b - 1))
    assert chance(b, "infonce") == pytest.approx(math.log(b))
    assert chance(b, "siglip") == pytest.approx(best_constant(b), rel=1e-6)


def test_collapsed_embeddings_are_told_and_others_are_not():
    collapsed = [normal(1, 8).expand(32, 8) + 1e-4 * normal(32, 8, seed=s) for s in (1, 2)]
    scale, bias = (
        torch.tensor(14.0),
        torch.tensor(-14.0 - math.log(31)),
    )  # the bias that is best for one logit: sigmoid(14 + bias) = 1 / 32
    apart = numbers(32, 64)[:2]
    for name in LOSSES:
        note = at_chance(LOSSES[name](*collapsed, scale, bias).item(), 32, name)
        assert note is not None
        assert {"nt-xent": "ln(63)", "infonce": "ln(32)", "siglip": "32 x 32"}[name] in note
        assert at_chance(LOSSES[name](*apart, scale, torch.tensor(-10.0)).item(), 32, name) is None


def test_the_edges_of_chance():
    for factor, told in (
        (1 - 1.1 * AT_CHANCE, False),
        (1 - 0.9 * AT_CHANCE, True),
        (1.0, True),
        (1 + 0.9 * AT_CHANCE, True),
        (1 + 1.1 * AT_CHANCE, False),
    ):
        assert (at_chance(factor * math.log(64), 64, "infonce") is not None) == told
    assert at_chance(math.nan, 64, "infonce") is None
    for name in LOSSES:
        assert at_chance(0.0, 1, name) is None  # nothing to compare


def test_an_image_without_partners_on_this_rank_costs_nothing_and_breaks_nothing():
    empty = [np.zeros((0, 4), dtype=np.float32)] * 2
    for name in LOSSES:
        assert (
            LOSSES[name](
                *map(torch.from_numpy, empty), torch.tensor(14.0), torch.tensor(-10.0)
            ).item()
            == 0
        )
