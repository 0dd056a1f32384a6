"""MAE (He et al. 2022): most patches of an image are hidden, and a small decoder draws them from
what the encoder made of the rest.

Needs a ViT with absolute positions, since only such an encoder can be shown some of the patches.
Which patches of an image are hidden is drawn by the key of (seed, epoch, image), so it does not
depend on the batch or on the process that asks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from headwater import keys
from headwater.errors import InputError
from headwater.methods import Batch, Inputs, Method
from headwater.ranks import ALONE, Ranks
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.words import Flag, Fraction, Positive, Real, Whole, default

if TYPE_CHECKING:
    import torch
    from torch import nn


class MaeRecipe(Recipe):
    """MAE's settings."""

    lr: Positive = default(
        1.5e-3, "[ours] He et al. 2022: 1.5e-4 for a batch of 256, in proportion for others"
    )
    batch: Annotated[Whole, Field(ge=2, le=65536)] = default(128, "[ours] He et al. 2022: 4096")
    beta2: Fraction = default(0.95, "[paper] He et al. 2022")
    mask: Annotated[Real, Field(gt=0, lt=1)] = default(0.75, "[paper] He et al. 2022")
    """Share of the patches that are hidden; at least one is hidden and one is shown."""
    normalised_pixels: Flag = default(True, "[paper] He et al. 2022")
    """Whether a patch is to be drawn with its own mean and variance taken out."""
    decoder_width: Annotated[Whole, Field(ge=8)] = default(
        64, "[ours] He et al. 2022: 512 beside an encoder of 1024"
    )
    """Width of the decoder, a multiple of 4 and of `decoder_heads`."""
    decoder_layers: Annotated[Whole, Field(ge=1)] = default(2, "[ours] He et al. 2022: 8")
    """Its transformer blocks."""
    decoder_heads: Annotated[Whole, Field(ge=1)] = default(4, "[ours] He et al. 2022: 16")
    """Heads of its attention."""
    augmentation: Augmentation = default(
        Augmentation(
            crop_min=0.2, flip=0.5, jitter=0.0, jitter_probability=0.0, grey=0.0, blur=0.0
        ),
        "[paper] He et al. 2022: crops from 0.2 and flips alone",
    )

    def fault(self, given: Any) -> tuple[str, tuple[str, ...]] | None:
        if self.decoder_width % self.decoder_heads or self.decoder_width % 4:
            reason = (
                f"decoder_width {self.decoder_width} is no multiple of 4 and of decoder_heads "
                f"{self.decoder_heads}"
            )
            return reason, ("decoder_width", "decoder_heads")
        return super().fault(given)


class Mae(Method):
    """The encoder sees the shown patches alone. The decoder gets what it made of them, one learned
    token in the place of every hidden patch, and fixed sine-cosine positions; the loss is the mean
    squared error over the hidden patches' pixels.
    """

    name, title, version, order = "mae", "MAE", 1, 40
    colour = "#E69F00"
    needs = "images"
    recipe = MaeRecipe

    @classmethod
    def prepared(cls, encoder: nn.Module, recipe: Any, image_size: int) -> nn.Module:
        parts = ("patch_embed", "_pos_embed", "norm_pre", "blocks", "norm", "num_prefix_tokens")
        lacking = [part for part in parts if not hasattr(encoder, part)]
        if lacking or getattr(encoder, "pos_embed", None) is None:
            raise InputError(
                "backbone: mae hides patches, so it needs a ViT with learned absolute positions, "
                "such as vit_tiny_patch16_224 or test_vit",
                at=("backbone",),
            )
        if int(encoder.patch_embed.num_patches) < 2:  # type: ignore[union-attr, arg-type]
            raise InputError(
                "backbone: mae hides patches, and the encoder sees one alone; set patch_size",
                at=("backbone",),
            )
        return encoder

    @classmethod
    def image_flops(cls, recipe: Any, encoder: nn.Module, image_size: int) -> float:
        """Three times a forward pass of the encoder on the shown patches and of the decoder."""
        import torch

        from headwater.models import counted_flops

        inputs = Inputs(recipe=recipe, seed=0, hashes=np.zeros(1, dtype=np.int64))
        encoder = cls.prepared(encoder, recipe, image_size)
        method, device = cls(encoder, inputs), next(encoder.parameters()).device
        method.to(device)
        one = Batch(np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64))
        view = torch.zeros(1, 3, image_size, image_size, device=device)
        return 3.0 * counted_flops(method.net, lambda: method.encode((view,), one))

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        import torch
        from timm.models.vision_transformer import Block
        from torch import nn

        from headwater.device import seeded

        super().__init__(encoder, inputs)
        recipe: MaeRecipe = inputs.recipe
        self._hashes, self._seed = inputs.hashes, inputs.seed
        self._normalised = recipe.normalised_pixels
        embed: Any = encoder.patch_embed
        self._patches, self._side = int(embed.num_patches), int(embed.patch_size[0])
        self._shown = min(max(1, round(self._patches * (1 - recipe.mask))), self._patches - 1)
        width = recipe.decoder_width
        with seeded(keys.key(inputs.seed, "mae heads")):
            features = int(encoder.num_features)  # type: ignore[arg-type]
            self.net.decoder_embed = nn.Linear(features, width)
            blocks = [
                Block(width, recipe.decoder_heads, mlp_ratio=4.0, qkv_bias=True)
                for _ in range(recipe.decoder_layers)
            ]
            self.net.decoder_blocks = nn.Sequential(*blocks)
            self.net.decoder_norm = nn.LayerNorm(width)
            self.net.decoder_pixels = nn.Linear(width, 3 * self._side**2)
            self.net.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.net.register_buffer("decoder_positions", _positions(embed.grid_size, width))

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        """(what the decoder draws of the hidden patches, what is there), float [b, hidden, pixels]
        each.
        """
        import torch

        (images,) = views
        order = torch.from_numpy(self._orders(batch)).to(images.device)
        shown, hidden = order[:, : self._shown], order[:, self._shown :]
        encoded = self._encoded(images, shown)
        drawn = self._decoded(encoded, order)[:, self._shown :]
        return drawn, _rows(self._pixels(images), hidden)

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        drawn, there = embeddings
        return (drawn.float() - there.float()).square().mean()

    def compile(self) -> None:
        """The blocks: the encoder as a whole is never called."""
        net: Any = self.net
        for blocks in (net.encoder.blocks, net.decoder_blocks):
            blocks.compile(dynamic=False)

    def _orders(self, batch: Batch) -> np.ndarray[Any, np.dtype[np.int64]]:
        """int64 [b, patches]: each image's patches in a random order; the first ones are shown."""
        order = np.empty((len(batch), self._patches), dtype=np.int64)
        for epoch in np.unique(batch.epochs):
            of_epoch = batch.epochs == epoch
            hashes = self._hashes[batch.positions[of_epoch]]
            drawn = keys.uniform(
                keys.key(self._seed, "mae mask", int(epoch)), hashes, self._patches
            )
            order[of_epoch] = np.argsort(drawn, axis=1, kind="stable")
        return order

    def _encoded(self, images: torch.Tensor, shown: torch.Tensor) -> torch.Tensor:
        """Tokens [b, prefix + shown, features] of the encoder for the shown patches."""
        import torch

        encoder: Any = self.encoder
        prefix = int(encoder.num_prefix_tokens)
        tokens = encoder._pos_embed(encoder.patch_embed(images))
        tokens = torch.cat([tokens[:, :prefix], _rows(tokens[:, prefix:], shown)], dim=1)
        tokens = encoder.blocks(encoder.norm_pre(tokens))
        return encoder.norm(tokens)  # type: ignore[no-any-return]

    def _decoded(self, encoded: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
        """Pixels [b, patches, pixels] as the decoder draws them, patches in the given order."""
        import torch

        tokens = self.decoder_embed(encoded)
        prefix = tokens.shape[1] - self._shown
        holes = self.mask_token.to(tokens.dtype).expand(
            len(tokens), self._patches - self._shown, -1
        )
        places = self.decoder_positions[order].to(tokens.dtype)
        patches = torch.cat([tokens[:, prefix:], holes], dim=1) + places
        tokens = self.decoder_blocks(torch.cat([tokens[:, :prefix], patches], dim=1))
        return self.decoder_pixels(self.decoder_norm(tokens[:, prefix:]))  # type: ignore[no-any-return]

    def _pixels(self, images: torch.Tensor) -> torch.Tensor:
        """float32 [b, patches, 3 * side * side]: the pixels of every patch, to be drawn."""
        b, side = len(images), self._side
        grid = images.float().unfold(2, side, side).unfold(3, side, side)
        pixels = grid.permute(0, 2, 3, 4, 5, 1).reshape(b, self._patches, 3 * side * side)
        if not self._normalised:
            return pixels
        mean = pixels.mean(dim=2, keepdim=True)
        variance = pixels.var(dim=2, keepdim=True)
        return (pixels - mean) / (variance + 1e-6).sqrt()


def _rows(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Tokens [b, k, width] at int64 [b, k] places of [b, n, width]."""
    return tokens.gather(1, places[:, :, None].expand(-1, -1, tokens.shape[2]))


def _positions(grid: Sequence[int], width: int) -> torch.Tensor:
    """float32 [rows * columns, width]: sines and cosines of a patch's row and column, a quarter of
    the width each (He et al. 2022).
    """
    import torch

    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    rates = torch.exp(-math.log(10_000.0) * torch.arange(width // 4) / (width // 4))
    angles = [axis.reshape(-1, 1).float() * rates for axis in (columns, rows)]
    waves = [torch.cat([angle.sin(), angle.cos()], dim=1) for angle in angles]
    return torch.cat(waves, dim=1)


ENTRY = Mae
