"""Batched augmentation: images in, normalised float views out, every random number keyed by (seed,
purpose, epoch, view, sample id).

The order of operations: crop and flip, RandAugment, colour jitter, grey, blur, solarise,
normalisation, cutout. docs/views.md shows each and says what it draws and where it differs from
torchvision.

All gates and parameters are drawn on the host before any pixel is touched, so that work is done on
open gates alone and a GPU is not asked which these are: a batch is sorted by what its views need,
and goes through sub-batches that stay in a processor's second-level cache.

Shapes: b samples, images uint8 or float32 [b, h, w, 3] with values 0..255, zero-padded to a common
size, with true sizes int64 [b, 2]; views float32 [b, 3, s, s]. Within the package planes are
float32 [n, 3, s, s], contiguous, transposed (column, then row) and in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater import keys
from headwater.device import full_precision
from headwater.study import Augmentation
from headwater.views.blur import blur, blur_
from headwater.views.colour import (
    MEAN,
    STD,
    Jitter,
    grey_,
    jitter,
    normalise,
    solarise_,
    write_normalised,
)
from headwater.views.crops import BOX_DRAWS, Cropper, on_host, random_boxes, resample
from headwater.views.cutout import CUTOUT_DRAWS, cutout_
from headwater.views.randaugment import MAGNITUDE, SLOT_DRAWS, randaugment

__all__ = [
    "MEAN",
    "STD",
    "ViewMaker",
    "blur",
    "centre_view",
    "jitter",
    "normalise",
    "random_boxes",
    "resample",
]

_FLIP = BOX_DRAWS
_JITTER = _FLIP + 1
_GREY = _JITTER + 5
_BLUR = _GREY + 1
_SOLARISE = _BLUR + 2
_CUTOUT = _SOLARISE + 1
_RANDAUGMENT = _CUTOUT + CUTOUT_DRAWS
"""Where the uniforms of each operation start: 10 candidate crops and their offsets, flip, jitter
(gate and 4), grey, blur (gate and sigma), solarise, cutout, and RandAugment's operations. The
places are fixed, so no operation's draws depend on whether another is on.
"""

_LARGE = 128
"""Pixels from which, on a processor, sorted views are written where they belong one by one: there a
second copy costs more than calls [ours].
"""


@dataclass(frozen=True)
class ViewMaker:
    """Random training views of one method."""

    augmentation: Augmentation
    image_size: int
    seed: int
    purpose: str = "augment"
    """Separates the draws of pre-training from those of fine-tuning."""

    def __call__(
        self,
        images: torch.Tensor,
        sizes: torch.Tensor,
        hashes: NDArray[np.int64],
        epochs: NDArray[np.int64],
        view: int,
    ) -> torch.Tensor:
        """float32 [b, 3, s, s] (channels_last), normalised.

        `hashes` and `epochs` int64 [b] key the draws, `view` numbers the views of an image.
        """
        with full_precision(images):
            return self._made(images, sizes, hashes, epochs, view)

    def _made(
        self,
        images: torch.Tensor,
        sizes: torch.Tensor,
        hashes: NDArray[np.int64],
        epochs: NDArray[np.int64],
        view: int,
    ) -> torch.Tensor:
        a = self.augmentation
        u = asked = self._uniforms(hashes, epochs, view)
        order, groups = self._order(u)
        in_place = self.image_size >= _LARGE and on_host(images)
        if order is not None:
            u, sizes = u[order], sizes[order.to(sizes.device)]
        boxes = random_boxes(
            u[:, :BOX_DRAWS].to(images.device),
            sizes.to(images.device),
            crop_min=_value(a.crop_min, 1.0),
            crop_max=_value(a.crop_max, 1.0),
        )
        flip = u[:, _FLIP] < a.flip if a.flip else None
        cropper = Cropper(images, boxes, self.image_size, groups=groups, flip=flip, order=order)
        jitters = (
            None
            if order is None
            else Jitter.drawn(u[:, _JITTER + 1 : _JITTER + 5], _value(a.jitter, 0.0), images.device)
        )
        out = torch.empty(len(u), self.image_size, self.image_size, 3, device=images.device)
        for start, stop in cropper.spans:
            x = self._augmented(
                cropper.planes(start, stop),
                u[start:stop],
                jitters and jitters.rows(slice(start, stop)),
            )
            if order is None or not in_place:
                write_normalised(x, out[start:stop])
            else:
                for i, at in enumerate(order[start:stop].tolist()):
                    write_normalised(x[i : i + 1], out[at : at + 1])
        if order is not None and not in_place:
            out = out.index_select(0, order.argsort().to(out.device))
        if a.cutout:
            out = _where(
                out,
                asked[:, _CUTOUT],
                a.cutout,
                lambda part, rows: cutout_(part, asked[rows, _CUTOUT + 1 : _RANDAUGMENT]),
            )
        return out.permute(0, 3, 1, 2)

    def _augmented(self, x: torch.Tensor, u: torch.Tensor, jitters: Jitter | None) -> torch.Tensor:
        """Planes [n, 3, s, s] after the crop, through all that comes before normalisation.

        `u` [n, draws] are their uniforms; x may be overwritten.
        """
        a = self.augmentation
        if a.randaugment:
            drawn = u[:, _RANDAUGMENT : _RANDAUGMENT + SLOT_DRAWS * a.randaugment]
            upright = randaugment(
                x.transpose(2, 3), drawn, magnitude=_value(a.randaugment_magnitude, MAGNITUDE)
            )
            x = upright.transpose(2, 3).contiguous()
        if jitters is not None:
            x = _where(
                x,
                u[:, _JITTER],
                _value(a.jitter_probability, 0.0),
                lambda part, rows: (jitters if part is x else jitters.rows(rows))(part),
            )
        if a.grey:
            x = _where(x, u[:, _GREY], a.grey, lambda part, _: grey_(part))
        if a.blur:
            x = _where(
                x,
                u[:, _BLUR],
                a.blur,
                lambda part, rows: blur_(part, u[rows, _BLUR + 1].to(x.device)),
            )
        if a.solarise:
            x = _where(x, u[:, _SOLARISE], a.solarise, lambda part, _: solarise_(part))
        return x

    def _order(self, u: torch.Tensor) -> tuple[torch.Tensor | None, list[int]]:
        """(int64 [b] or None for as they come, sizes of the groups): views alike in what their
        jitter needs, and in grey, side by side.
        """
        a = self.augmentation
        if not (_value(a.jitter, 0.0) and _value(a.jitter_probability, 0.0)):
            return None, [len(u)]
        on = u[:, _JITTER] < _value(a.jitter_probability, 0.0)
        kind = torch.where(
            on, (u[:, _JITTER + 3] > 0.5).long(), 2
        )  # a saturation above 1 (u > 0.5 where strength < 1.25) takes a clamp more
        order = torch.argsort(2 * kind + (u[:, _GREY] < _value(a.grey, 0.0)), stable=True)
        return order, torch.bincount(kind, minlength=3).tolist()

    def _uniforms(
        self, hashes: NDArray[np.int64], epochs: NDArray[np.int64], view: int
    ) -> torch.Tensor:
        """float32 [b, draws], on the host: as many columns as the operations that are on reach."""
        a = self.augmentation
        draws = _SOLARISE + (1 if a.solarise else 0)
        if a.cutout:
            draws = _RANDAUGMENT
        if a.randaugment:
            draws = _RANDAUGMENT + SLOT_DRAWS * a.randaugment
        out = np.empty((len(hashes), draws), dtype=np.float32)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            out[of_epoch] = keys.uniform(
                keys.key(self.seed, self.purpose, int(epoch), view), hashes[of_epoch], draws
            )
        return torch.from_numpy(out)


def _value(given: float | None, default: float) -> float:
    return default if given is None else given


def _where(
    x: torch.Tensor,
    u: torch.Tensor,
    probability: float,
    change: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Views x [n, ...] with `change(part, rows)` made of those whose gate, a uniform of u [n], is
    open. x may be overwritten.
    """
    rows = torch.from_numpy(np.flatnonzero(u.numpy() < np.float32(probability)))
    if len(rows) == 0:
        return x
    if len(rows) == len(x):
        return change(x, rows)
    first, last = int(rows[0]), int(rows[-1])
    if last - first + 1 == len(rows):
        part = x[first : last + 1]
        changed = change(part, rows)
        if changed is not part:
            part.copy_(changed)
        return x
    at = rows.to(x.device)
    return x.index_copy_(0, at, change(x[at], rows))


def centre_view(images: torch.Tensor, sizes: torch.Tensor, image_size: int) -> torch.Tensor:
    """The test transform: the centre square of the short side, resized with antialiasing,
    normalised. float32 [b, 3, s, s] (channels_last).
    """
    side = sizes.min(dim=1).values.float()
    top_left = (sizes.float() - side[:, None]) / 2
    boxes = torch.stack([top_left[:, 0].round(), top_left[:, 1].round(), side, side], dim=1).to(
        images.device
    )
    cropper = Cropper(images, boxes, image_size)
    out = torch.empty(len(images), image_size, image_size, 3, device=images.device)
    with full_precision(images):
        for start, stop in cropper.spans:
            write_normalised(cropper.planes(start, stop), out[start:stop])
    return out.permute(0, 3, 1, 2)
