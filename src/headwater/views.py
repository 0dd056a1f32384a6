"""Batched augmentation: uint8 images in, normalised float views out, every random number keyed by (seed, epoch, view, sample id).

Crop, flip, resize and blur are linear along each axis, so a view is  Wy @ image @ Wx'  with one small matrix per sample and axis: one batched
matrix product whatever the crop boxes, with antialiasing, on the CPU and on a GPU, and exact at the borders of padded images.

Shapes: b samples, images uint8 [b, h, w, 3] zero-padded to a common size with true sizes int64 [b, 2]; views float32 [b, 3, s, s].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater import keys
from headwater.study import Augmentation

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Channel statistics of ImageNet: timm's default, so that encoders load there without a word about normalisation."""
_LUMA = (0.299, 0.587, 0.114)
_CROP_TRIES = 10
_CROP_RATIO = (3 / 4, 4 / 3)
_DRAWS = 2 * _CROP_TRIES + 2 + 1 + 5 + 1 + 2
"""Uniforms per view: area and aspect of 10 candidate crops, their offsets, flip, jitter (gate and 4), grey, blur (gate and sigma)."""


@dataclass(frozen=True)
class ViewMaker:
    """Random training views of one method."""

    augmentation: Augmentation
    image_size: int
    seed: int
    purpose: str = "augment"
    """Separates the draws of pre-training from those of fine-tuning."""

    def __call__(self, images: torch.Tensor, sizes: torch.Tensor, hashes: NDArray[np.int64], epochs: NDArray[np.int64], view: int) -> torch.Tensor:
        """float32 [b, 3, s, s] (channels_last), normalised. `hashes` and `epochs` int64 [b] key the draws, `view` numbers the views of an image."""
        u = self._uniforms(hashes, epochs, view).to(images.device)
        a = self.augmentation
        boxes = random_boxes(u[:, : 2 * _CROP_TRIES + 2], sizes, crop_min=_value(a.crop_min, 1.0))
        u = u[:, 2 * _CROP_TRIES + 2 :]
        x = resample(images, boxes, self.image_size, flip=u[:, 0] < _value(a.flip, 0.0))
        x = x * (1 / 255)
        if _value(a.jitter, 0.0) > 0 and _value(a.jitter_probability, 0.0) > 0:
            x = jitter(x, u[:, 2:6], strength=_value(a.jitter, 0.0), on=u[:, 1] < _value(a.jitter_probability, 0.0))
        if _value(a.grey, 0.0) > 0:
            x = torch.where((u[:, 6] < _value(a.grey, 0.0))[:, None, None, None], _luma(x), x)
        if _value(a.blur, 0.0) > 0:
            x = blur(x, u[:, 8], on=u[:, 7] < _value(a.blur, 0.0))
        return normalise(x)

    def _uniforms(self, hashes: NDArray[np.int64], epochs: NDArray[np.int64], view: int) -> torch.Tensor:
        out = np.empty((len(hashes), _DRAWS), dtype=np.float32)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            out[of_epoch] = keys.uniform(keys.key(self.seed, self.purpose, int(epoch), view), hashes[of_epoch], _DRAWS)
        return torch.from_numpy(out)


def _value(given: float | None, default: float) -> float:
    return default if given is None else given


def centre_view(images: torch.Tensor, sizes: torch.Tensor, image_size: int) -> torch.Tensor:
    """The test transform: the centre square of the short side, resized with antialiasing, normalised. float32 [b, 3, s, s]."""
    side = sizes.min(dim=1).values.float()
    top_left = (sizes.float() - side[:, None]) / 2
    boxes = torch.stack([top_left[:, 0].round(), top_left[:, 1].round(), side, side], dim=1)
    return normalise(resample(images, boxes, image_size) * (1 / 255))


def normalise(x: torch.Tensor) -> torch.Tensor:
    """(x - mean) / std per channel, in channels_last memory format."""
    mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def random_boxes(u: torch.Tensor, sizes: torch.Tensor, *, crop_min: float) -> torch.Tensor:
    """float32 [b, 4] crop boxes (top, left, height, width) in whole pixels, drawn as torchvision's RandomResizedCrop draws them.

    Area is uniform in [crop_min, 1] of the image, the logarithm of the aspect uniform in [3/4, 4/3]; of 10 candidates the first that fits is
    taken, and where none fits the largest centred box within the aspect range. `u` is float32 [b, 22] in [0, 1).
    """
    height, width = sizes[:, :1].float(), sizes[:, 1:].float()
    area = height * width * (crop_min + (1 - crop_min) * u[:, :_CROP_TRIES])
    low, high = (math.log(r) for r in _CROP_RATIO)
    ratio = torch.exp(low + (high - low) * u[:, _CROP_TRIES : 2 * _CROP_TRIES])
    w, h = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    w, h = w.gather(1, first), h.gather(1, first)
    top = torch.floor(u[:, 2 * _CROP_TRIES : 2 * _CROP_TRIES + 1] * (height - h + 1))
    left = torch.floor(u[:, 2 * _CROP_TRIES + 1 : 2 * _CROP_TRIES + 2] * (width - w + 1))
    found = torch.cat([top, left, h, w], dim=1)
    centre_w = torch.minimum(width, (height * _CROP_RATIO[1]).round())
    centre_h = torch.minimum(height, (width / _CROP_RATIO[0]).round())
    centred = torch.cat([torch.floor((height - centre_h) / 2), torch.floor((width - centre_w) / 2), centre_h, centre_w], dim=1)
    return torch.where(fits.any(dim=1, keepdim=True), found, centred)


def resample(images: torch.Tensor, boxes: torch.Tensor, size: int, *, flip: torch.Tensor | None = None) -> torch.Tensor:
    """Crop `boxes` [b, 4] out of uint8 images [b, h, w, 3] and resize to [b, 3, size, size], bilinear with antialiasing, values 0..255 (float32).

    The same filter as torchvision's resized_crop(antialias=True): a triangle of half-width max(scale, 1) that sees the crop alone.
    """
    rows = _weights(boxes[:, 0], boxes[:, 2], images.shape[1], size)
    columns = _weights(boxes[:, 1], boxes[:, 3], images.shape[2], size)
    if flip is not None:
        columns = torch.where(flip[:, None, None], columns.flip(1), columns)
    b, h, w, _ = images.shape
    x = torch.bmm(rows, images.reshape(b, h, w * 3).float()).view(b, size, w, 3)
    return torch.einsum("bjw,biwc->bcij", columns, x)


def _weights(start: torch.Tensor, length: torch.Tensor, full: int, size: int) -> torch.Tensor:
    """float32 [b, size, full]: how much each input pixel gives to each output pixel along one axis."""
    scale = (length / size)[:, None]
    support = scale.clamp(min=1.0)[:, :, None]
    centre = start[:, None] + (torch.arange(size, device=start.device) + 0.5) * scale
    pixel = torch.arange(full, device=start.device) + 0.5
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])
    weight = (1 - (pixel - centre[:, :, None]).abs() / support).clamp(min=0) * inside[:, None, :]
    return weight / weight.sum(dim=2, keepdim=True)


def _luma(x: torch.Tensor) -> torch.Tensor:
    r, g, b = (x[:, i : i + 1] * weight for i, weight in enumerate(_LUMA))
    return (r + g + b).expand_as(x)


def jitter(x: torch.Tensor, u: torch.Tensor, *, strength: float, on: torch.Tensor) -> torch.Tensor:
    """Colour jitter of views in [0, 1]: brightness, contrast, saturation, hue in this order, each factor uniform as torchvision draws it.

    Factors lie in 1 +- 0.8 s (from 0 where that is negative), hue in +- 0.2 s turns. Hue turns the chroma plane of YIQ, a linear map that
    keeps luma, where torchvision shifts the H of HSV; torchvision also shuffles the order of the four.
    """
    low, high = max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength
    drawn = (low + high) / 2 + (high - low) / 2 * (2 * u[:, :3] - 1)
    factors = torch.where(on[:, None], drawn, torch.ones_like(drawn))
    angle = torch.where(on, 2 * math.pi * 0.2 * strength * (2 * u[:, 3] - 1), torch.zeros_like(u[:, 3]))
    brightness, contrast, saturation = (factors[:, i].view(-1, 1, 1, 1) for i in range(3))
    x = (x * brightness).clamp(0, 1)
    x = (contrast * x + (1 - contrast) * _luma(x).mean(dim=(1, 2, 3), keepdim=True)).clamp(0, 1)
    x = (saturation * x + (1 - saturation) * _luma(x)).clamp(0, 1)
    return torch.einsum("bdc,bcij->bdij", _hue_matrices(angle), x).clamp(0, 1)


def _hue_matrices(angle: torch.Tensor) -> torch.Tensor:
    """float32 [b, 3, 3]: turn I and Q of NTSC's YIQ by `angle` (radians), as a map from RGB to RGB."""
    to_yiq = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]], device=angle.device)
    cos, sin, zero, one = torch.cos(angle), torch.sin(angle), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    turned: torch.Tensor = torch.linalg.inv(to_yiq) @ turn @ to_yiq
    return turned


def blur(x: torch.Tensor, u: torch.Tensor, *, on: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of some views: sigma uniform in [0.1, 2] px at 224 px, scaled with the image size; borders renormalised."""
    size = x.shape[-1]
    sigma = ((0.1 + 1.9 * u) * size / 224).clamp(min=1e-3)
    pixel = torch.arange(size, device=x.device)
    distance = (pixel[:, None] - pixel[None, :]).float()
    weight = torch.exp(-0.5 * (distance[None] / sigma[:, None, None]) ** 2)
    weight = weight / weight.sum(dim=2, keepdim=True)
    matrix = torch.where(on[:, None, None], weight, torch.eye(size, device=x.device))
    blurred: torch.Tensor = torch.einsum("bij,bcjk,blk->bcil", matrix, x, matrix)
    return blurred
