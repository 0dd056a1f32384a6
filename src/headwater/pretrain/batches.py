"""The images of a step: which, from where, and what they look like to the network.

Nothing here depends on who asks, or when.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from headwater import keys
from headwater.loader import Order
from headwater.methods import Batch, Crop, Method, Mix, Mixing
from headwater.ranks import Ranks
from headwater.sources.pixels import Images
from headwater.study.recipe import Augmentation, Recipe
from headwater.views import ViewMaker


@dataclass(frozen=True)
class Pixels:
    """Decoded images of some samples, with what keys their views."""

    images: torch.Tensor
    """uint8 [b, h, w, 3], zero-padded."""
    sizes: torch.Tensor
    """int64 [b, 2]"""
    hashes: NDArray[np.int64]
    epochs: NDArray[np.int64]


@dataclass(frozen=True)
class Prepared:
    """This rank's images of one step."""

    batch: Batch
    global_size: int
    """Images of the step on all ranks."""
    pixels: Pixels
    partners: Pixels | None
    box: tuple[int, int, int, int] | None
    """CutMix: the rows and columns (top, bottom, left, right) that come from the partner; None
    where images are blended whole.
    """
    views: tuple[torch.Tensor, ...]
    """Each view of each crop [b, 3, s, s] where they were made ahead (on a CPU); none where they
    are made when needed (on a GPU, in parts).
    """


@dataclass(frozen=True)
class _View:
    """One random view of every image: its number, which keys its draws, and how it is made."""

    number: int
    image_size: int
    augmentation: Augmentation


@dataclass(frozen=True)
class Batches:
    """Makes the batches of a run. `make` may be called from any thread, in any order."""

    pixels: Images
    order: Order
    crops: tuple[Crop, ...]
    augmentation: Augmentation
    """Of crops that have none of their own."""
    image_size: int
    seed: int
    device: torch.device
    ranks: Ranks
    mixing: Mixing
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019). With both, each step takes one of
    them at random, as timm does.
    """

    @classmethod
    def of(
        cls,
        pixels: Images,
        order: Order,
        recipe: Recipe,
        *,
        image_size: int,
        seed: int,
        method: type[Method],
        device: torch.device,
        ranks: Ranks,
    ) -> Batches:
        return cls(
            pixels,
            order,
            method.crops(recipe, image_size),
            recipe.augmentation,
            image_size,
            seed,
            device,
            ranks,
            method.mixing(recipe),
        )

    @cached_property
    def _views(self) -> list[_View]:
        """All views of an image, crop by crop; they are numbered through."""
        views: list[_View] = []
        for crop in self.crops:
            size, augmentation = crop.image_size, crop.augmentation
            for _ in range(crop.count):
                views.append(
                    _View(len(views), size or self.image_size, augmentation or self.augmentation)
                )
        return views

    def make(self, step: int) -> Prepared:
        """The images of a step (this rank's part) and, on a CPU, their views."""
        positions, epochs = self.order.at(step)
        size = len(positions)
        own = self.ranks.part(size)
        mix, box = self._mix(step, positions, epochs)
        batch = Batch(positions, epochs, mix).part(own)
        partners = (
            None
            if batch.mix is None
            else self._gather(batch.mix.partners, batch.mix.partner_epochs)
        )
        prepared = Prepared(
            batch, size, self._gather(batch.positions, batch.epochs), partners, box, ()
        )
        if self.device.type != "cpu":
            return prepared
        views = tuple(self._view(prepared, slice(None), view) for view in self._views)
        return Prepared(batch, size, prepared.pixels, partners, box, views)

    def views(self, prepared: Prepared, part: slice) -> tuple[torch.Tensor, ...]:
        """Views of some of the images, one tensor for each crop: float32 [count * b, 3, s, s]
        (channels_last), view 0 of all images first, then view 1.
        """
        made = [v[part] for v in prepared.views] or [
            self._view(prepared, part, view) for view in self._views
        ]
        by_crop, start = list[torch.Tensor](), 0
        for crop in self.crops:
            of_crop, start = made[start : start + crop.count], start + crop.count
            together = of_crop[0] if crop.count == 1 else torch.cat(of_crop)
            by_crop.append(together.contiguous(memory_format=torch.channels_last))
        return tuple(by_crop)

    def _gather(self, positions: NDArray[np.int64], epochs: NDArray[np.int64]) -> Pixels:
        images, sizes = (torch.from_numpy(a) for a in self.pixels.gather(positions))
        if self.device.type == "cuda":
            images, sizes = images.pin_memory(), sizes.pin_memory()
        return Pixels(images, sizes, self.order.hashes[positions], epochs)

    def _view(self, prepared: Prepared, part: slice, view: _View) -> torch.Tensor:
        own = self._made(prepared.pixels, part, view)
        if prepared.partners is None or prepared.batch.mix is None:
            return own
        partner, share = self._made(prepared.partners, part, view), prepared.batch.mix.share
        if prepared.box is None:
            return own.lerp(partner, share)
        top, bottom, left, right = prepared.box
        own[:, :, top:bottom, left:right] = partner[:, :, top:bottom, left:right]
        return own

    def _made(self, pixels: Pixels, part: slice, view: _View) -> torch.Tensor:
        maker = ViewMaker(view.augmentation, view.image_size, self.seed)
        images, sizes = (
            t[part].to(self.device, non_blocking=True) for t in (pixels.images, pixels.sizes)
        )
        return maker(images, sizes, pixels.hashes[part], pixels.epochs[part], view.number)

    def _mix(
        self, step: int, positions: NDArray[np.int64], epochs: NDArray[np.int64]
    ) -> tuple[Mix | None, tuple[int, int, int, int] | None]:
        """What a whole batch is mixed with: itself from back to front, one share for all of it
        (timm's mode `batch`).
        """
        mixup, cutmix = self.mixing.mixup, self.mixing.cutmix
        if mixup is None and cutmix is None:
            return None, None
        rng = keys.generator(self.seed, "mix", step)
        cut = mixup is None or (cutmix is not None and rng.random() < 0.5)
        alpha = cutmix if cut else mixup
        assert alpha is not None
        share, box = float(rng.beta(alpha, alpha)), None
        if cut:
            share, box = _box(rng, share, self.image_size)
        return Mix(positions[::-1].copy(), epochs[::-1].copy(), share), box


def _box(
    rng: np.random.Generator, share: float, size: int
) -> tuple[float, tuple[int, int, int, int]]:
    """CutMix's box: of the image's aspect and about `share` of its area, its centre anywhere, cut
    at the borders; and the share that is left of it.
    """
    side = int(size * share**0.5)
    centre_row, centre_column = (int(rng.integers(size)) for _ in range(2))
    top, bottom, left, right = (
        int(np.clip(c + d, 0, size))
        for c in (centre_row, centre_column)
        for d in (-(side // 2), side - side // 2)
    )
    return (bottom - top) * (right - left) / size**2, (top, bottom, left, right)
