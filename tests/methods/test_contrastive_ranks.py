"""The contrastive losses over two real processes: the loss and the gradient of one process with the
whole batch, and the references' own gathering.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F

from headwater.methods import contrastive, tiles
from headwater.methods.contrastive import clip_loss, nt_xent, siglip_loss
from headwater.ranks import ALONE, Ranks
from tests.toy import normal
from tests.two_ranks import in_two_processes

PARTS = {"equal": (6, 6), "unequal": (8, 3), "one empty": (0, 5)}
WAYS = ("whole", "in tiles")
Loss = Callable[..., torch.Tensor]
LOSSES: dict[str, Loss] = {
    "nt-xent": lambda first, second, scale, bias, ranks: nt_xent(first, second, 1 / 14, ranks),
    "nt-xent of all": lambda first, second, scale, bias, ranks: nt_xent(
        first, second, 1 / 14, ranks, local=False
    ),
    "infonce": lambda first, second, scale, bias, ranks: clip_loss(first, second, scale, ranks),
    "infonce of all": lambda first, second, scale, bias, ranks: clip_loss(
        first, second, scale, ranks, local=False
    ),
    "siglip": siglip_loss,
}
CASES = [(name, parts, way) for name in LOSSES for parts in PARTS for way in WAYS]


class Towers(nn.Module):
    """Two linear towers and what the losses learn: parameters whose gradients the ranks average."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (
            nn.Parameter(0.5 * normal(6, 8, seed=1)),
            nn.Parameter(0.5 * normal(6, 8, seed=2)),
        )
        self.scale, self.bias = nn.Parameter(torch.tensor(14.0)), nn.Parameter(torch.tensor(-9.0))

    def forward(self, loss: Loss, images: torch.Tensor, ranks: Ranks) -> torch.Tensor:
        unused = 0 * sum(
            p.sum() for p in self.parameters()
        )  # NT-Xent learns no scale, and DDP wants to hear of every parameter
        return (
            loss(images @ self.first, images @ self.second, self.scale, self.bias, ranks) + unused
        )


def run(
    loss: Loss, images: torch.Tensor, ranks: Ranks, factor: float, towers: nn.Module
) -> dict[str, torch.Tensor]:
    """The loss, and the gradients of images and parameters."""
    images = images.clone().requires_grad_()
    value = towers(loss, images, ranks) * factor
    value.backward()
    assert images.grad is not None
    return {
        "loss": value,
        "images": images.grad,
        **{
            name.removeprefix("module."): p.grad
            for name, p in towers.named_parameters()
            if p.grad is not None
        },
    }


def tiled(way: str) -> Any:
    """Inside, losses are computed whole or in tiles of 4 x 4."""
    return patch.multiple(contrastive, MOST_LOGITS=0 if way == "in tiles" else 10**9)


def ours(ranks: Ranks) -> dict[str, torch.Tensor]:
    found = {}
    for name, parts, way in CASES:
        first, n = sum(PARTS[parts][: ranks.rank]), sum(PARTS[parts])
        own = PARTS[parts][ranks.rank]
        factor = 1.0 if name.endswith("of all") else own * ranks.size / n
        towers = nn.parallel.DistributedDataParallel(Towers())
        with tiled(way), patch.object(tiles, "side", lambda device: 4):
            made = run(LOSSES[name], normal(n, 6)[first : first + own], ranks, factor, towers)
        found |= {f"{name} {parts} {way} {what}": t for what, t in made.items()}
    return found


class Peers:
    """The references, which gather by themselves; they know equal parts only."""

    def __init__(self, ranks: Ranks) -> None:
        from open_clip.loss import ClipLoss, SigLipLoss

        who = {"rank": ranks.rank, "world_size": ranks.size}
        clip = {
            local: ClipLoss(local_loss=local, gather_with_grad=True, **who)
            for local in (True, False)
        }
        siglip = SigLipLoss(**who)
        self.losses: dict[str, Loss] = {
            "infonce": lambda first, second, scale, bias, ranks: clip[True](
                F.normalize(first, dim=1), F.normalize(second, dim=1), scale
            ),
            "infonce of all": lambda first, second, scale, bias, ranks: clip[False](
                F.normalize(first, dim=1), F.normalize(second, dim=1), scale
            ),
            "siglip": lambda first, second, scale, bias, ranks: siglip(
                F.normalize(first, dim=1), F.normalize(second, dim=1), scale, bias
            ),
        }
        if importlib.util.find_spec("lightly") is not None:
            from lightly.loss import NTXentLoss

            lightly = NTXentLoss(1 / 14, gather_distributed=True)
            self.losses["nt-xent"] = lambda first, second, scale, bias, ranks: lightly(
                first, second
            )


def both(ranks: Ranks) -> dict[str, torch.Tensor]:
    found = ours(ranks)
    for name, loss in Peers(ranks).losses.items():
        made = run(
            loss,
            normal(12, 6)[ranks.part(12)],
            ranks,
            1.0,
            nn.parallel.DistributedDataParallel(Towers()),
        )
        found |= {f"peer {name} {what}": t for what, t in made.items()}
    assert distributed.get_backend() == "gloo"
    return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, torch.Tensor]]:
    return in_two_processes(both, tmp_path_factory.mktemp("losses"))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parts", "way"), CASES)
def test_two_ranks_have_the_loss_and_the_gradient_of_one_process_with_the_whole_batch(
    found, name, parts, way
):
    """By the rule: each rank's loss times its share of rows times the number of ranks, gradients of
    weights averaged (DDP does that here).
    """
    with tiled("whole"):
        alone = run(LOSSES[name], normal(sum(PARTS[parts]), 6), ALONE, 1.0, Towers())
    here = []
    for of_rank in found:
        here.append({what: of_rank[f"{name} {parts} {way} {what}"] for what in alone})
    for one in here:
        for what in set(alone) - {"loss", "images"}:
            torch.testing.assert_close(
                one[what],
                alone[what],
                atol=1e-5,
                rtol=0,
                msg=lambda text, what=what: f"{what}: {text}",
            )
    assert sum(one["loss"].item() for one in here) / 2 == pytest.approx(
        alone["loss"].item(), abs=1e-5
    )
    asked = (
        torch.cat([one["images"] for one in here]) / 2
    )  # what averaging does to the gradients of weights, done for those of images
    torch.testing.assert_close(asked, alone["images"], atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["infonce", "infonce of all", "siglip", "nt-xent"])
@pytest.mark.parametrize("way", WAYS)
def test_on_each_rank_they_equal_the_references_that_gather_by_themselves(found, name, way):
    for one in found:
        for what in ("loss", "images", "first", "second", "scale", "bias"):
            torch.testing.assert_close(
                one[f"{name} equal {way} {what}"], one[f"peer {name} {what}"], atol=1e-5, rtol=0
            )
