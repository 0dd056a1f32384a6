"""The text side of a CLIP arm, kept beside its encoder: what turns class names into a
classification head.

    text.safetensors    the text tower, the image projection, the temperature, and the numbers of
                        the tokens that it was trained on
    text.json           its sizes

Only tokens that occurred in the captions have an embedding (headwater.methods.clip). A prompt's
other tokens are embedded as zeros [ours]: the arm knows nothing of them, and `unseen` says how many
there are.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from headwater import digests
from headwater.errors import InputError
from headwater.files import file_sha256

_WEIGHTS, _ABOUT = "text.safetensors", "text.json"
_PROMPTS = 256
"""Prompts that are embedded at a time: 10,000 classes in eight templates would not fit in memory
together.
"""
_SIZES = ("context_length", "width", "heads", "layers", "output_dim")


class TextTower:
    """Embeds prompts as the captions of an arm were embedded, and its image features beside
    them.
    """

    def __init__(
        self, text: nn.Module, projection: torch.Tensor, logit_scale: float, tokens: torch.Tensor
    ) -> None:
        """`text` is open_clip's TextTransformer over an unseen token, its number 0, and those of
        `tokens`, int64 [v] ascending, numbered from 1.
        """
        self._text = text.eval()
        self._projection, self.logit_scale, self._tokens = projection, logit_scale, tokens

    @torch.no_grad()
    def embed(self, prompts: Sequence[str]) -> NDArray[np.float32]:
        """float32 [n, e], each of length 1.

        A prompt that is longer than the longest caption in training is cut to it, its end token
        kept.
        """
        parts = [
            self._text(self._tokenised(prompts[at : at + _PROMPTS])[0])
            for at in range(0, len(prompts), _PROMPTS)
        ]
        embeddings: NDArray[np.float32] = F.normalize(torch.cat(parts), dim=1).numpy()
        return embeddings

    def unseen(self, prompts: Sequence[str]) -> float:
        """Share of the prompts' tokens, start and end apart, that no caption in training had, in
        [0, 1].
        """
        _, known, counted = self._tokenised(prompts)
        return float(1 - known.sum() / counted.sum().clamp_min(1))

    def equal(self, names: Sequence[str], templates: Sequence[str]) -> int:
        """How many class names have the prompts of another one, as this tower reads them: cut to
        its longest caption, and with nothing in place of tokens that no caption had.
        """
        if len(names) < 2:
            return 0
        each = [self._tokenised(list(map(form.format, names)))[0] for form in templates]
        _, counts = torch.unique(torch.cat(each, dim=1), dim=0, return_counts=True)
        return int(counts[counts > 1].sum())

    def class_weights(self, names: Sequence[str], templates: Sequence[str]) -> NDArray[np.float32]:
        """float32 [classes, d]: weights on image features whose logits, over `lengths` of the
        features, are CLIP's.

        A class is the mean, brought to length 1, of the embeddings of its name in every template
        (Radford et al. 2021), times the learned scale.
        """
        prompts = [template.format(name) for name in names for template in templates]
        mean = self.embed(prompts).reshape(len(names), len(templates), -1).mean(axis=1)
        embeddings = mean / np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
        weight: NDArray[np.float32] = (
            (self.logit_scale * embeddings) @ self._projection.numpy()
        ).astype(np.float32)
        return weight

    def lengths(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n]: lengths of the projections of image features [n, d], at least 1e-12."""
        projected = features @ self._projection.numpy().T
        lengths: NDArray[np.float32] = np.maximum(np.linalg.norm(projected, axis=1), 1e-12).astype(
            np.float32
        )
        return lengths

    def _tokenised(self, prompts: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(tokens as this tower numbers them, int64 [n, context]; which were trained on, bool;
        which are words, not start, end or padding, bool).
        """
        context = int(self._text.context_length)  # type: ignore[arg-type]
        # cuts long ones and ends them with the end token
        rows = _tokenizer()(list(prompts), context_length=context)
        ends = rows.argmax(dim=1, keepdim=True)
        at = torch.arange(context)[None]
        place = torch.searchsorted(self._tokens, rows).clamp_max(len(self._tokens) - 1)
        known = (self._tokens[place] == rows) & (at <= ends)
        words = (at > 0) & (at < ends)
        # 0 is the unseen token and what follows the end, so that the end token keeps the largest
        # number, by which the tower finds it
        return (place + 1).where(known, torch.zeros_like(place)), known & words, words


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    """CLIP's tokenizer, which takes a tenth of a second to make."""
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer()


def save_text(
    folder: Path,
    text: nn.Module,
    projection: nn.Linear,
    logit_scale: torch.Tensor,
    tokens: torch.Tensor,
) -> None:
    """Write what `load_text` reads.

    `text` is the trained tower over `tokens`, int64 [v] ascending: open_clip's numbers of those
    that were kept.
    """
    tensors = {f"text.{name}": t for name, t in text.state_dict().items()}
    tensors |= {"projection": projection.weight, "logit_scale": logit_scale, "tokens": tokens}
    save_file(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, folder / _WEIGHTS
    )
    tower: Any = text
    about: dict[str, Any] = {
        "context_length": tower.context_length,
        "width": tower.width,
        "heads": tower.heads,
        "layers": len(tower.transformer.resblocks),
        "output_dim": tower.output_dim,
        "sha256": file_sha256(folder / _WEIGHTS),
    }
    (folder / _ABOUT).write_text(json.dumps(digests.sealed(about), sort_keys=True) + "\n")


def _check_sizes(sizes: dict[str, int], tensors: dict[str, torch.Tensor]) -> None:
    """Raises ValueError for sizes that are not those of the tensors: what a record promises would
    be allocated.
    """
    blocks = {name.split(".")[3] for name in tensors if ".resblocks." in name}
    held = {
        "context_length": len(tensors["text.positional_embedding"]),
        "width": tensors["text.positional_embedding"].shape[1],
        "layers": len(blocks),
        "output_dim": tensors["text.text_projection"].shape[-1],
    }
    wrong = [name for name, size in held.items() if sizes[name] != size]
    if wrong or sizes["heads"] > sizes["width"]:
        raise ValueError(f"sizes {sizes}")


def load_text(folder: str | Path) -> TextTower:
    """The text side of a CLIP arm's folder. Raises InputError where there is none or it is
    damaged.
    """
    folder = Path(folder)
    if not (folder / _ABOUT).is_file():
        raise InputError(
            f"{folder}: keeps no text tower (it is no CLIP arm, or one that was trained before "
            "text towers were kept); run it again with --redo"
        )
    try:
        from open_clip.transformer import TextTransformer

        about = digests.read_record(folder / _ABOUT)
        sizes = {name: about[name] for name in _SIZES}
        if not all(type(size) is int and 0 < size < 1 << 20 for size in sizes.values()):
            raise ValueError(f"sizes {sizes}")
        if file_sha256(folder / _WEIGHTS) != about["sha256"]:
            raise ValueError(f"{_WEIGHTS} is not what was written")
        digests.check_safetensors(folder / _WEIGHTS)
        tensors = load_file(folder / _WEIGHTS)
        tokens, rows = tensors["tokens"], tensors["text.token_embedding.weight"]
        _check_sizes(sizes, tensors)
        tower = TextTransformer(vocab_size=1, **sizes)
        tower.token_embedding = nn.Embedding(
            len(rows) + 1, rows.shape[1], _weight=torch.cat([torch.zeros_like(rows[:1]), rows])
        )
        state = {
            name.removeprefix("text."): t for name, t in tensors.items() if name.startswith("text.")
        }
        tower.load_state_dict({**state, "token_embedding.weight": tower.token_embedding.weight})
        return TextTower(tower, tensors["projection"], float(tensors["logit_scale"].exp()), tokens)
    except Exception as error:  # torch's and safetensors' are of many kinds
        raise InputError(
            f"{folder}: the text tower is damaged ({' '.join(str(error).split())[:200]}); remove "
            "the folder to train the arm again"
        ) from None
