"""Toys that tests of training share: images in memory whose classes a small network learns in
seconds.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater import digests, files, keys
from headwater.device import Compute
from headwater.sources.pixels import MemoryImages
from headwater.store import Store

if "OMP_NUM_THREADS" not in os.environ:  # which a run of the tests under more threads sets
    torch.set_num_threads(1)
FP32 = Compute(torch.device("cpu"), bf16=False)
BF16 = Compute(torch.device("cpu"), bf16=True)


def stripes(
    per_class: int, num_classes: int = 4, *, side: int = 40, noise: float = 30.0, seed: int = 0
) -> tuple[MemoryImages, NDArray[np.int64]]:
    """Images of class c: horizontal stripes of a period that is c's own, at a random phase and
    tint, with noise; and their classes [n].
    """
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(num_classes), per_class)
    phase, tint = (
        rng.uniform(0, 2 * np.pi, len(labels)),
        rng.uniform(0.6, 1.0, (len(labels), 1, 1, 3)),
    )
    waves = np.sin(
        np.arange(side)[None] * (2 * np.pi / (3 * 1.8 ** labels[:, None])) + phase[:, None]
    )
    images = (128 + 90 * waves[:, :, None, None]) * tint + rng.normal(
        0, noise, (len(labels), side, side, 3)
    )
    return MemoryImages(images.clip(0, 255).astype(np.uint8)), labels


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    """float32, standard normal."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def hashes(n: int, prefix: str = "") -> NDArray[np.int64]:
    return keys.sample_hashes([f"{prefix}{i}" for i in range(n)])


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().clone() for name, t in module.state_dict().items()}


def same_bits(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def keep_answers(store: Store, cell_id: str, right: NDArray[np.bool_]) -> None:
    """Answers of a cell in place of those that a store has, and no rows."""
    data = digests.array_bytes(np.packbits(right))
    files.write_atomic(store.answers / f"{cell_id}.npy", data)
