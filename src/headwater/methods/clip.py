"""CLIP (Radford et al. 2021): images and captions that belong together attract, with a learned
temperature; open_clip's text tower, small.

Captions come as texts. Where a source has classes and no text, labels/captions.py makes them from
templates (the field `template`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from headwater import keys
from headwater.device import seeded
from headwater.labels.captions import choose
from headwater.methods import Batch, Method
from headwater.methods.contrastive import Contrast, at_chance, clip_loss, siglip_loss
from headwater.methods.text import save_text
from headwater.ranks import ALONE, Ranks
from headwater.study import Recipe

MAX_LOGIT_SCALE = math.log(100.0)
"""CLIP's bound on the learned inverse temperature."""


INITIAL_BIAS = -10.0
"""SigLIP's learned bias at the start (Zhai et al. 2023): of b pairs of an image one is positive, so
that most logits should start far below 0.
"""


_GROUPS = 4
"""Groups by length in which the captions of a batch are encoded on a processor: human captions are
about half as long on average as the longest of a batch [ours]. On a GPU, where a small text tower
waits for launches, all captions are one group.
"""


class Clip(Method):
    """Image tower, linear projection, and open_clip's TextTransformer.

    The text tower's context is trimmed to the longest caption of a group of captions of about the
    same length, which is exact under its causal mask. A caption that occurs more than once in a
    batch is encoded once: the tower is a function of the tokens alone, so values and gradients are
    those of encoding each copy. Of the 49,408 rows of the token embedding only those that occur in
    the captions are kept: the others would get no gradient and change nothing.

    The loss is InfoNCE, or SigLIP's where the recipe's `contrast` says so. Both learn a scale,
    which starts at 1 / `temperature`; SigLIP learns a bias as well (`logit_bias`, as open_clip
    calls it).
    """

    contrastive = True

    def __init__(
        self,
        encoder: nn.Module,
        captions: Sequence[list[str]],
        hashes: NDArray[np.int64],
        *,
        recipe: Recipe,
        seed: int,
    ) -> None:
        super().__init__(encoder)
        from open_clip.tokenizer import SimpleTokenizer
        from open_clip.transformer import TextTransformer

        assert (
            recipe.text_width
            and recipe.text_layers
            and recipe.text_heads
            and recipe.embedding
            and recipe.temperature
        )
        self._captions, self._hashes, self._seed = captions, hashes, seed
        tokenizer = SimpleTokenizer()
        texts = sorted({text for own in captions for text in own})
        tokens = tokenizer(texts)
        self._lengths = (tokens.argmax(dim=1) + 1).numpy()
        context = int(
            self._lengths.max()
        )  # the end token has the largest number; 0 is not only padding but also a token, "!"
        used, occurring = torch.unique(
            tokens[:, :context], return_inverse=True
        )  # in order, so that the end token keeps the largest number
        self._tokens, self._vocabulary = occurring, used
        self._text_index = {text: i for i, text in enumerate(texts)}
        with seeded(keys.key(seed, "clip heads")):
            self.text = TextTransformer(
                context_length=context,
                vocab_size=tokenizer.vocab_size,
                width=recipe.text_width,
                heads=recipe.text_heads,
                layers=recipe.text_layers,
                output_dim=recipe.embedding,
            )
            kept = self.text.token_embedding.weight[used].detach().clone()
            self.text.token_embedding = nn.Embedding(kept.shape[0], kept.shape[1], _weight=kept)
            self.projection = nn.Linear(int(encoder.num_features), recipe.embedding, bias=False)  # type: ignore[arg-type]
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / recipe.temperature)))
        self._contrast: Contrast = recipe.contrast or "infonce"
        if self._contrast == "siglip":
            self.logit_bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    def encode(self, views: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
        return self.projection(self.encoder(views)), self._texts(batch)

    def _texts(self, batch: Batch) -> torch.Tensor:
        """Embeddings [b, e] of the captions that are drawn for a batch."""
        chosen = np.empty(len(batch), dtype=np.int64)
        for epoch in np.unique(batch.epochs):
            of_epoch = batch.epochs == epoch
            positions = batch.positions[of_epoch]
            own = [self._captions[p] for p in positions]
            chosen[of_epoch] = [
                self._text_index[t]
                for t in choose(own, int(epoch), self._seed, self._hashes[positions])
            ]
        distinct, inverse = np.unique(chosen, return_inverse=True)
        by_length = np.argsort(self._lengths[distinct], kind="stable")
        place = np.empty_like(by_length)
        place[by_length] = np.arange(len(by_length))
        device = self.logit_scale.device
        groups = min(_GROUPS, max(1, len(distinct))) if device.type == "cpu" else 1
        with _attention(device):
            texts = torch.cat(
                [
                    self._encoded(some, device)
                    for some in np.array_split(distinct[by_length], groups)
                ]
            )
        return texts[torch.from_numpy(place[inverse]).to(device)]

    def _encoded(self, texts: NDArray[np.int64], device: torch.device) -> torch.Tensor:
        """Embeddings of some captions, in a context that ends with the longest of them."""
        longest = int(self._lengths[texts].max(initial=1))
        whole = self.text.attn_mask
        self.text.attn_mask = whole[:longest, :longest]
        try:
            return self.text(self._tokens[torch.from_numpy(texts), :longest].to(device))  # type: ignore[no-any-return]
        finally:
            self.text.attn_mask = whole

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        with torch.no_grad():
            self.logit_scale.clamp_(
                max=MAX_LOGIT_SCALE
            )  # the parameter, as the reference does: beyond a clamped value there is no way back
        images, texts = embeddings
        if self._contrast == "siglip":
            return siglip_loss(images, texts, self.logit_scale.exp(), self.logit_bias, ranks)
        return clip_loss(images, texts, self.logit_scale.exp(), ranks)

    def loss_parameters(self) -> list[nn.Parameter]:
        return [self.logit_scale, *([self.logit_bias] if self._contrast == "siglip" else [])]

    def at_chance(self, loss: float, batch: int) -> str | None:
        return at_chance(loss, batch, self._contrast)

    def save_heads(self, folder: Path) -> None:
        save_text(folder, self.text, self.projection, self.logit_scale, self._vocabulary)


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Attention by plain products on a processor, where the backward pass of torch's fused kernel
    is slow for sequences as short as captions. It saves the matrix of weights, [heads, context,
    context] a caption, which for long sequences costs more memory and time than it gains. On GPUs
    torch chooses.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()
