"""Features of a frozen encoder: computed once per encoder and task, whatever the number of shots and draws."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headwater.device import Compute
from headwater.sources.pixels import Images
from headwater.views import centre_view


@torch.no_grad()
def extract(encoder: nn.Module, pixels: Images, *, image_size: int, compute: Compute, batch: int = 256) -> NDArray[np.float32]:
    """float32 [n, num_features]: the encoder's pooled features of every cached image under the test transform, in evaluation mode."""
    encoder = encoder.to(compute.device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    out: list[NDArray[np.float32]] = []
    for start in range(0, len(pixels), batch):
        images, sizes = (torch.from_numpy(a).to(compute.device) for a in pixels.gather(np.arange(start, min(start + batch, len(pixels)))))
        with compute.autocast():
            out.append(encoder(centre_view(images, sizes, image_size)).float().cpu().numpy())
    return np.concatenate(out)
