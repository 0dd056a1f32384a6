"""Batches of noise, which is the hardest image for a resampling filter, as the pixel cache gives
them.
"""

from __future__ import annotations

import numpy as np
import torch

from headwater import keys

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
CLOSE = 2e-6 / 0.224
"""Two computations of one view may differ so much, in normalised units: their sums may be added in
another order.
"""


def photo(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """uint8 [height, width, 3] of noise."""
    return torch.randint(
        0, 256, (height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


def padded(images: list[torch.Tensor], fill: int = 255) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch padded at the bottom and right, as the pixel cache gives it; `fill` shows whether
    padding leaks into views.
    """
    sizes = torch.tensor([image.shape[:2] for image in images])
    batch = torch.full(
        (len(images), int(sizes[:, 0].max()), int(sizes[:, 1].max()), 3), fill, dtype=torch.uint8
    )
    for i, image in enumerate(images):
        batch[i, : image.shape[0], : image.shape[1]] = image
    return batch, sizes


def sample_of(
    n: int, height: int = 40, width: int = 40, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor, np.ndarray, np.ndarray]:
    images, sizes = padded([photo(height, width, seed + i) for i in range(n)])
    return (
        images,
        sizes,
        keys.sample_hashes([f"{seed + i}" for i in range(n)]),
        np.zeros(n, dtype=np.int64),
    )


def unnormalised(view: torch.Tensor) -> torch.Tensor:
    return view * STD + MEAN
