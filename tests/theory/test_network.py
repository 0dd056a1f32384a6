"""Gradients as autograd has them."""

from __future__ import annotations

import pytest
import torch

from headwater.theory.simulation import network
from headwater.theory.simulation.model import World, draws, samples
from headwater.theory.simulation.network import gradients, initial, outputs
from tests.toy import normal

SMALL = World(k=3, d=24, patches=6, s=2)


@pytest.mark.parametrize(("heads", "width", "bias"), [(2, 5, -0.02), (6, 3, -0.3), (7, 1, 0.0)])
@pytest.mark.parametrize("tile", [1, 20_000, 1 << 30])
def test_gradients_are_autograds(heads, width, bias, tile, monkeypatch):
    """In float64 to 1e-12, however networks and samples are cut into tiles."""
    monkeypatch.setattr(network, "TILE", tile)
    weight = initial([1, 2, 3], 24, heads * width, dtype=torch.float64) * 0.3
    x = torch.stack(
        [
            samples(SMALL, draws(40, 6, 24, seed=seed, purpose="t", dtype=torch.float64)).x
            for seed in range(3)
        ]
    )
    labels = torch.randint(heads, (3, 40), generator=torch.Generator().manual_seed(0))
    loss, slope = gradients(x, weight, labels, heads, width=width, bias=bias)
    for at in range(3):
        own = weight[at].clone().requires_grad_()
        hidden = torch.relu(x[at] @ own + bias).view(40, 6, heads, width)
        plain = torch.nn.functional.cross_entropy(hidden.mean(3).sum(1), labels[at])
        plain.backward()
        assert float(loss[at]) == pytest.approx(plain.item(), abs=1e-12)
        assert (slope[at] - own.grad).abs().max() < 1e-12
        assert own.grad.abs().max() > 1e-3
        assert torch.allclose(
            outputs(x[at], weight[at], heads, width=width, bias=bias),
            hidden.mean(3).sum(1).detach(),
            atol=1e-12,
        )


def test_a_head_with_more_neurons_than_divide_is_a_sum_of_heads():
    weight, x = normal(24, 12), normal(5, 6, 24, seed=1)
    whole, parts = (
        outputs(x, weight, 2, width=3, bias=-0.02),
        outputs(x, weight, 4, width=3, bias=-0.02),
    )
    assert torch.allclose(whole, parts.view(5, 2, 2).sum(dim=2), atol=1e-6)
