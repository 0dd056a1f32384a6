"""Crop, flip and resize of whole batches: which box, and how each output pixel is made of input
pixels.

An antialiased bilinear resize is separable, and each output pixel of an axis is a weighted sum of a
few input pixels (its taps: 3 where 40 px become 32). So a crop is two passes of sums of rows, in
which every sample has its own rows and weights: torch's embedding_bag, with the image as its table.
The flip and the division by 255 are in the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

CROP_TRIES = 10
CROP_RATIO = (3 / 4, 4 / 3)
BOX_DRAWS = 2 * CROP_TRIES + 2
"""Uniforms per crop: area and aspect of 10 candidates, and two offsets."""
_CACHE_BYTES = 1 << 23
_LEAST = 2
_STEP = 8
_DEVICE_BYTES = 1 << 30
"""What one sub-batch writes: on a processor, where it stays in the caches and is yet large enough
that calls do not cost more than pixels (measured at 32 px: 1 MiB is slower, by calls, and so is a
whole batch, by memory); on a GPU what its memory does not notice [ours].
"""


def random_boxes(
    u: torch.Tensor, sizes: torch.Tensor, *, crop_min: float, crop_max: float = 1.0
) -> torch.Tensor:
    """float32 [b, 4] crop boxes (top, left, height, width) in whole pixels, drawn as torchvision's
    RandomResizedCrop draws them.

    Area is uniform in [crop_min, crop_max] of the image, the logarithm of the aspect uniform in
    [3/4, 4/3]; of 10 candidates the first that fits is taken, and where none fits the largest
    centred box within the aspect range. `u` is float32 [b, 22] in [0, 1).
    """
    height, width = sizes[:, :1].float(), sizes[:, 1:].float()
    area = height * width * (crop_min + (crop_max - crop_min) * u[:, :CROP_TRIES])
    low, high = (math.log(r) for r in CROP_RATIO)
    ratio = torch.exp(low + (high - low) * u[:, CROP_TRIES : 2 * CROP_TRIES])
    w, h = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    fits = (w >= 1) & (w <= width) & (h >= 1) & (h <= height)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    w, h = w.gather(1, first), h.gather(1, first)
    top = torch.floor(u[:, 2 * CROP_TRIES : 2 * CROP_TRIES + 1] * (height - h + 1))
    left = torch.floor(u[:, 2 * CROP_TRIES + 1 : 2 * CROP_TRIES + 2] * (width - w + 1))
    found = torch.cat([top, left, h, w], dim=1)
    centre_w = torch.minimum(width, (height * CROP_RATIO[1]).round())
    centre_h = torch.minimum(height, (width / CROP_RATIO[0]).round())
    centred = torch.cat(
        [
            torch.floor((height - centre_h) / 2),
            torch.floor((width - centre_w) / 2),
            centre_h,
            centre_w,
        ],
        dim=1,
    )
    return torch.where(fits.any(dim=1, keepdim=True), found, centred)


def on_host(x: torch.Tensor) -> bool:
    """Whether a tensor can be asked for its numbers without waiting for a GPU."""
    return x.device.type == "cpu"


def spans(
    groups: Sequence[int], window: tuple[int, int], size: int, *, on_gpu: bool = False
) -> list[tuple[int, int]]:
    """Sub-batches (start, stop): each within one of the consecutive groups, as equal as can be, and
    small enough for the cache.
    """
    h, w = window
    image_bytes = 4 * 3 * (h * w + 2 * size * w + 2 * size * size)
    most = max(_LEAST, (_DEVICE_BYTES if on_gpu else _CACHE_BYTES) // image_bytes)
    out, start = [], 0
    for count in groups:
        parts = -(-count // most)
        out += [
            (start + count * i // parts, start + count * (i + 1) // parts) for i in range(parts)
        ]
        start += count
    return out


class Cropper:
    """The crops of a batch, made sub-batch by sub-batch: the taps of all samples at once, the
    pixels in `planes`.

    `boxes` float32 [b, 4] and `flip` bool [b] are in the order of the views; `order` int64 [b] says
    which image each view is of (None: its own), and `groups` how many views in a row may share a
    sub-batch. Of each image only a window is read that holds its crop: as large as the largest crop
    of the sub-batch, so that padding, and what lies beside the crops, costs nothing. (On a GPU the
    window is the image, since asking for the largest crop would wait for it.)
    """

    def __init__(
        self,
        images: torch.Tensor,
        boxes: torch.Tensor,
        size: int,
        *,
        groups: Sequence[int] | None = None,
        flip: torch.Tensor | None = None,
        order: torch.Tensor | None = None,
        scale: float = 1 / 255,
    ) -> None:
        b, height, width, _ = images.shape
        device = images.device
        self._images, self._size = images.contiguous(), size
        self._of = torch.arange(b, device=device) if order is None else order.to(device)
        h, w = (
            (height, width)
            if not on_host(images) or not b
            else map(int, boxes[:, 2:].amax(dim=0).tolist())
        )
        reach_h, reach_w = _reach(h, size), _reach(w, size)
        self.spans = spans(
            [b] if groups is None else groups, (h, w), size, on_gpu=not on_host(images)
        )
        self._windows = self._sized(boxes, (height, width))
        lengths = [stop - start for start, stop in self.spans]
        each = np.repeat(
            np.array(
                [(start, *self._windows[start, stop]) for start, stop in self.spans], dtype=np.int32
            ).reshape(-1, 3),
            lengths,
            axis=0,
        )
        each[:, 0] = np.arange(b) - each[:, 0]
        place, height_read, width_read = torch.from_numpy(each).to(device)[:, :, None].unbind(1)
        top, left = (
            torch.minimum(boxes[:, :1].int(), height - height_read),
            torch.minimum(boxes[:, 1:2].int(), width - width_read),
        )
        self._first_pixel = (self._of[:, None] * height + top) * width + left
        pixel, weight = _taps(boxes[:, 0], boxes[:, 2], size, reach_h)
        self._row, self._row_weight = (
            _bags(pixel + (place * height_read - top)),
            _bags(weight * scale),
        )
        pixel, weight = _taps(boxes[:, 1], boxes[:, 3], size, reach_w, flip=flip)
        channel = torch.arange(3, device=device, dtype=torch.int32).view(3, 1, 1)
        self._column = _bags((pixel + (place * width_read - left)) * 3)[:, None] + channel
        self._column_weight = _bags(weight)[:, None].repeat(1, 3, 1, 1)

    def _sized(
        self, boxes: torch.Tensor, full: tuple[int, int]
    ) -> dict[tuple[int, int], tuple[int, int]]:
        """Of each span, how much of an image holds any of its crops; the width in steps, since bags
        of every new width are compiled once.
        """
        if not on_host(boxes) or not self.spans:
            return dict.fromkeys(self.spans, full)
        largest = (
            np.maximum.reduceat(boxes[:, 2:].numpy(), [start for start, _ in self.spans])
            .astype(int)
            .tolist()
        )
        return {
            span: (h, min(full[1], -(-w // _STEP) * _STEP))
            for span, (h, w) in zip(self.spans, largest, strict=True)
        }

    def planes(self, start: int, stop: int) -> torch.Tensor:
        """float32 [n, 3, s, s] of one span: channel, column, row, contiguous; values 0..255 times
        the scale.
        """
        n, (h, w), size = stop - start, self._windows[start, stop], self._size
        x = self._pixels(start, stop, h, w).float()
        x = bag(x, self._row[start:stop], self._row_weight[start:stop])
        x = x.view(n, size, w * 3).transpose(1, 2).contiguous().view(n * w * 3, size)
        return bag(x, self._column[start:stop], self._column_weight[start:stop]).view(
            n, 3, size, size
        )

    def _pixels(self, start: int, stop: int, h: int, w: int) -> torch.Tensor:
        """[n * h, w * 3]: rows of pixels, as the images have them.

        They are read out of a table of all pieces of that length, which overlap in memory.
        """
        images = self._images
        _, height, width, _ = images.shape
        if (h, w) == (height, width):
            return images.index_select(0, self._of[start:stop]).view(-1, w * 3)
        pieces = images.as_strided((images.numel() // 3 - w + 1, w * 3), (3, 1))
        rows = self._first_pixel[start:stop] + width * torch.arange(h, device=images.device)
        return pieces.index_select(0, rows.view(-1))


def resample(
    images: torch.Tensor, boxes: torch.Tensor, size: int, *, flip: torch.Tensor | None = None
) -> torch.Tensor:
    """Crop `boxes` [b, 4] out of images [b, h, w, 3] and resize to [b, 3, size, size], bilinear
    with antialiasing, values 0..255 (float32).

    The same filter as torchvision's resized_crop(antialias=True): a triangle of half-width
    max(scale, 1) that sees the crop alone.
    """
    cropper = Cropper(images, boxes, size, flip=flip, scale=1.0)
    return torch.cat([cropper.planes(start, stop) for start, stop in cropper.spans]).transpose(2, 3)


def bag(table: torch.Tensor, index: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """float32 [bags, columns]: sums of rows of a table [rows, columns].

    `index` int32 [..., taps] and `weight`, contiguous, name the rows of each bag.
    """
    taps = index.shape[-1]
    out: torch.Tensor = F.embedding_bag(
        index.view(-1, taps), table, per_sample_weights=weight.view(-1, taps), mode="sum"
    )
    return out


def _reach(longest: int, size: int) -> int:
    """Taps that suffice along an axis for crops up to `longest` pixels; a shorter one's surplus
    taps weigh 0.
    """
    return math.ceil(2 * max(1.0, longest / size))


def _taps(
    start: torch.Tensor,
    length: torch.Tensor,
    size: int,
    reach: int,
    *,
    flip: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(pixel int32, weight float32), both [taps, b, size]: which input pixels of an axis give how
    much to each output pixel.
    """
    start, end = start[:, None], (start + length - 1)[:, None]
    scale = (length / size)[:, None]
    support = scale.clamp(min=1.0)
    step = torch.arange(size, device=start.device) + 0.5
    if flip is not None:
        step = torch.where(flip.to(start.device)[:, None], size - step, step)
    centre = start + step * scale
    tap = torch.arange(reach, device=start.device).view(-1, 1, 1)
    pixel = torch.floor(centre - support + 0.5) + tap
    weight = (pixel + 0.5 - centre).abs_().div_(support).neg_().add_(1).clamp_(min=0)
    within = torch.minimum(torch.maximum(pixel, start), end)
    weight.masked_fill_(within != pixel, 0)
    weight /= weight.sum(dim=0)
    return within.int(), weight


def _bags(taps: torch.Tensor) -> torch.Tensor:
    """[taps, b, size] as [b, size, taps], contiguous: the order in which bags read."""
    return taps.permute(1, 2, 0).contiguous()
