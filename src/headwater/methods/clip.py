"""CLIP (Radford et al. 2021): images and captions that belong together attract, with a learned
temperature; open_clip's text tower, small.

Captions come as texts. Where a source has classes and no text, labels/captions.py makes them from
templates (the field `template`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headwater import keys
from headwater.labels.captions import choose
from headwater.labels.tokens import CONTEXT
from headwater.methods import Batch, Inputs, Method
from headwater.ranks import ALONE, Ranks
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.words import Positive, Whole, default

if TYPE_CHECKING:
    import torch
    from torch import nn

SIGLIP_TEMPERATURE = 0.1
"""[paper] The default temperature where `contrast` is siglip (Zhai et al. 2023: the learned scale
starts at 10).
"""
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


class ClipRecipe(Recipe):
    """CLIP's settings."""

    contrast: Literal["infonce", "siglip"] | None = default(
        None, "[paper] InfoNCE, Entezari et al. 2023"
    )
    """Softmax over the batch (InfoNCE), or SigLIP's sigmoid of each pair."""
    temperature: Positive = default(
        0.07, "[paper] Radford et al. 2021; 0.1 where contrast is siglip (Zhai et al. 2023)"
    )
    """The initial temperature, which is learned."""
    embedding: Annotated[Whole, Field(ge=2)] = default(128, "[ours]")
    """Width of the contrastive embedding."""
    text_width: Annotated[Whole, Field(ge=8)] = default(128, "[ours]")
    """Width of the text tower."""
    text_layers: Annotated[Whole, Field(ge=1)] = default(2, "[ours]")
    """Its layers."""
    text_heads: Annotated[Whole, Field(ge=1)] = default(4, "[ours]")
    """Heads of its attention, which divide its width."""
    context: Annotated[Whole, Field(ge=3, le=4096)] | None = default(
        None, "[paper] 77, Radford et al. 2021"
    )
    """Tokens of a caption that are read, its start and its end counted; a longer one is cut."""
    augmentation: Augmentation = default(
        Augmentation(
            crop_min=0.5, flip=0.5, jitter=0.0, jitter_probability=0.0, grey=0.0, blur=0.0
        ),
        "[ours]",
    )

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        siglip = given.get("contrast") == "siglip"
        return {"temperature": SIGLIP_TEMPERATURE} if siglip else {}

    def neutral(self) -> Self:
        contrast = None if self.contrast == "infonce" else self.contrast
        context = None if self.context == CONTEXT else self.context
        return super().neutral().model_copy(update={"contrast": contrast, "context": context})

    def fault(self, given: Any) -> tuple[str, tuple[str, ...]] | None:
        if self.text_width % self.text_heads:
            reason = f"text_width {self.text_width} is no multiple of text_heads {self.text_heads}"
            return reason, ("text_width", "text_heads")
        return super().fault(given)


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

    name, title, version, order = "clip", "CLIP", 2, 20
    colour = "#D55E00"
    needs = "captions"
    recipe = ClipRecipe
    text_tower = True
    contrastive = True

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        import torch
        from open_clip.tokenizer import SimpleTokenizer
        from open_clip.transformer import TextTransformer
        from torch import nn

        from headwater.device import seeded

        recipe: ClipRecipe = inputs.recipe
        captions, seed = inputs.captions, inputs.seed
        assert captions is not None
        super().__init__(encoder, inputs)
        self._captions, self._hashes, self._seed = captions, inputs.hashes, seed
        tokenizer = SimpleTokenizer()
        texts = sorted({text for own in captions for text in own})
        tokens = tokenizer(texts, context_length=self.context(recipe))
        # the end token has the largest number; 0 is not only padding but also a token, "!"
        self._lengths = (tokens.argmax(dim=1) + 1).numpy()
        context = int(self._lengths.max())
        # in order, so that the end token keeps the largest number
        used, occurring = torch.unique(tokens[:, :context], return_inverse=True)
        self._tokens, self._vocabulary = occurring, used
        self._text_index = {text: i for i, text in enumerate(texts)}
        with seeded(keys.key(seed, "clip heads")):
            text = TextTransformer(
                context_length=context,
                vocab_size=tokenizer.vocab_size,
                width=recipe.text_width,
                heads=recipe.text_heads,
                layers=recipe.text_layers,
                output_dim=recipe.embedding,
            )
            kept = text.token_embedding.weight[used].detach().clone()
            text.token_embedding = nn.Embedding(kept.shape[0], kept.shape[1], _weight=kept)
            features = int(encoder.num_features)  # type: ignore[arg-type]
            projection = nn.Linear(features, recipe.embedding, bias=False)
        self.net.text, self.net.projection = text, projection
        self.net.logit_scale = nn.Parameter(torch.tensor(math.log(1 / recipe.temperature)))
        self._contrast = recipe.contrast or "infonce"
        if self._contrast == "siglip":
            self.net.logit_bias = nn.Parameter(torch.tensor(INITIAL_BIAS))

    @classmethod
    def context(cls, recipe: ClipRecipe) -> int:
        return recipe.context or CONTEXT

    @classmethod
    def caption_flops(cls, recipe: ClipRecipe) -> float:
        """Three forward passes of the tower's blocks: 12 w^2 weights each, which every token meets,
        and attention's two products of all tokens with all.
        """
        tokens, width = cls.context(recipe), recipe.text_width
        block = 2.0 * tokens * 12 * width**2 + 4.0 * tokens**2 * width
        return 3.0 * recipe.text_layers * block

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        (images,) = views
        return self.projection(self.encoder(images)), self._texts(batch)

    def _texts(self, batch: Batch) -> torch.Tensor:
        """Embeddings [b, e] of the captions that are drawn for a batch."""
        import torch

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
        import torch

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
        import torch

        from headwater.methods.contrastive import clip_loss, siglip_loss

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
        from headwater.methods.contrastive import at_chance

        return at_chance(loss, batch, self._contrast)

    def save_heads(self, folder: Path) -> None:
        from headwater.methods.text import save_text

        save_text(folder, self.text, self.projection, self.logit_scale, self._vocabulary)


def _attention(device: torch.device) -> AbstractContextManager[None]:
    """Attention by plain products on a processor, where the backward pass of torch's fused kernel
    is slow for sequences as short as captions. It saves the matrix of weights, [heads, context,
    context] a caption, which for long sequences costs more memory and time than it gains. On GPUs
    torch chooses.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel

    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


ENTRY = Clip
