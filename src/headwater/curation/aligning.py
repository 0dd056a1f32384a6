"""Whether one image is a window of another: the window is looked for, and what it shows is compared
with the other image.

For each pair the window is moved along one axis at a time, over all windows of a fine lattice (1/80
of the side), first coarsely and twice, then finely; mirrored and not. What is compared are
coefficients up to 11 half waves, weighted so that fine structure counts as much as coarse: it is
fine structure that two different photos of one kind of thing do not share.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch

from headwater.curation.squares import LEVELS, SIDE, UNIT, cosines, frequencies, in_units
from headwater.curation.windows import coefficients, windows

SIMILAR = 0.9
"""The least similarity of a copy whose contrast is much above NOISE.

This and the numbers below are ours, set by hand, mostly on caltech101, noto_emoji and eurosat (seed
0 of benchmarks/leakage.py), and measured with other seeds.
"""
NOISE = 2.0
"""Levels of 255: what compression adds.

A copy of contrast c is asked for SIMILAR x c^2 / (c^2 + NOISE^2), but for LEAST at least.
"""
LEAST = 0.5
FLAT = 0.4
"""Levels: below this contrast nothing but equal pixels makes a copy.

Two blank images look alike and tell nothing.
"""
CONTRASTS = 1.33
"""The contrast of two copies differs by this factor at most."""
COLOUR, COLOUR_FAINT, FAINT = 7.0, 3.0, 6.0
"""Levels: by how much the mean luma and colour differences of copies may differ; and where the
contrast is below FAINT.
"""
_COLOUR_HOPE, _CONTRASTS_HOPE = 30.0, 2.5
"""How far colour and contrast may be off in the coarse window; pairs beyond that are not searched
further.
"""
_NUM = 12
_FINE = 80
_MOST_CUT = 17
"""Of _FINE: a fraction of 0.2 and half a step of rounding on the copy's whole pixels."""
_BLOCK = 128


_STEPS = (4, 2, 1, 1)


@functools.cache
def _spans() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of the lattice's windows along one axis: what is cut from the start and the end int64
    [num_spans, 2], in 1 / _FINE; where each is found, int64 [_MOST_CUT + 1, _MOST_CUT + 1]; and its
    cosines float64 [num_spans, _NUM, SIDE].
    """
    cuts = [(a, b) for a in range(_MOST_CUT + 1) for b in range(_MOST_CUT + 1 - a)]
    where = torch.zeros((_MOST_CUT + 1, _MOST_CUT + 1), dtype=torch.int64)
    for at, (a, b) in enumerate(cuts):
        where[a, b] = at
    return (
        torch.tensor(cuts),
        where,
        torch.stack([in_units(cosines(_NUM, SIDE, a / _FINE, 1 - b / _FINE)) for a, b in cuts]),
    )


def _neighbours(span: torch.Tensor, step: int) -> torch.Tensor:
    """int64 [num, 9]: spans around some spans, int64 [num]; the span itself where a neighbour would
    cut less than nothing or more than allowed.
    """
    cuts, where, _ = _spans()
    moves = torch.tensor([(a, b) for a in (0, -step, step) for b in (0, -step, step)])
    near = cuts[span][:, None] + moves
    allowed = (near.amin(dim=2) >= 0) & (near.sum(dim=2) <= _MOST_CUT)
    near = near.clamp(0, _MOST_CUT)
    return torch.where(allowed, where[near[..., 0], near[..., 1]], span[:, None])


@functools.cache
def _weights() -> torch.Tensor:
    """[_NUM, _NUM]: as in `windows`, but no more for what is finer than 8 half waves, where
    compression is, and nothing for the corner beyond _NUM.
    """
    f = frequencies(_NUM)
    return torch.where(f <= _NUM, f.clamp(max=8), torch.zeros_like(f))


@dataclass(frozen=True, eq=False)
class Aligned:
    """What `align` found of each pair."""

    similarity: torch.Tensor
    """float64 [num_pairs], -1 to 1: correlation of the luma of the best window and of the other
    image, coefficients weighted.
    """
    copies: torch.Tensor
    """bool [num_pairs]: whether that is enough, and contrast and colour agree."""
    flipped: torch.Tensor
    """bool [num_pairs]: whether one is the other's mirror image."""
    window: torch.Tensor
    """float64 [num_pairs, 4]: left, top, right and bottom of the window, fractions of the sides of
    the image that it is of.
    """
    contrast: torch.Tensor
    """float64 [num_pairs], levels of 255: the lower one of the two, without the mean, up to 11 half
    waves.
    """


def _start(
    big: torch.Tensor, small: torch.Tensor, pairs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(mirrored, x span, y span): the best of the coarse windows of each pair."""
    (first, of_big), (second, of_small) = (
        torch.unique(column, return_inverse=True) for column in pairs.T
    )
    banks, wholes = coefficients(big[first]), coefficients(small[second], whole_only=True)
    even = (banks.even[of_big] * wholes.even[of_small]).sum(dim=2)
    odd = (banks.odd[of_big] * wholes.odd[of_small]).sum(dim=2)
    best = (even + odd.abs()).argmax(dim=1)
    mirrored = odd.gather(1, best[:, None])[:, 0] < 0
    where = _spans()[1]
    near = torch.tensor(
        [where[round(start * _FINE), round((1 - end) * _FINE)] for start, end in windows().tolist()]
    )
    return mirrored, near[best % len(near)], near[best // len(near)]


def _search(
    big: torch.Tensor, small: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Better spans of x and y, from given ones: float64 [num_pairs, SIDE, SIDE] luma each."""
    matrices = _spans()[2]
    weights = _weights() / UNIT**2
    target = ((matrices[0] @ small @ matrices[0].T) * weights).round_()
    rows = torch.arange(len(big))
    for step in _STEPS:
        for axis in ("x", "y"):
            near = _neighbours(x if axis == "x" else y, step)
            moved = matrices[near].flatten(1, 2).transpose(1, 2)  # [num_pairs, SIDE, 9 * _NUM]
            if axis == "x":
                made = (matrices[y] @ big @ moved).view(len(big), _NUM, 9, _NUM).transpose(1, 2)
            else:
                made = (
                    (matrices[x] @ big.transpose(1, 2) @ moved)
                    .view(len(big), _NUM, 9, _NUM)
                    .permute(0, 2, 3, 1)
                )
            made = (made * weights).round_()
            score = (made * target[:, None]).sum(dim=(2, 3)) / made.square().sum(
                dim=(2, 3)
            ).sqrt().clamp(min=1.0)
            chosen = near[rows, score.argmax(dim=1)]
            x, y = (chosen, y) if axis == "x" else (x, chosen)
    return x, y


@torch.no_grad()
def align(big: torch.Tensor, small: torch.Tensor, pairs: torch.Tensor) -> Aligned:
    """Looks for the window of the first image of each pair that shows the second.

    `big` and `small` are int16 [num_images, 3, SIDE, SIDE], `pairs` int64 [num_pairs, 2] rows of
    them; fastest where pairs of one big image follow each other.
    """
    parts = [
        _align(big, small, pairs[at : at + _BLOCK]) for at in range(0, max(len(pairs), 1), _BLOCK)
    ]
    joined = {}
    for name in Aligned.__dataclass_fields__:
        joined[name] = torch.cat([getattr(part, name) for part in parts])
    return Aligned(**joined)


def _align(big: torch.Tensor, small: torch.Tensor, pairs: torch.Tensor) -> Aligned:
    flipped, x, y = _start(big, small, pairs)
    big, small = big[pairs[:, 0]].double(), small[pairs[:, 1]].double()
    small = torch.where(flipped[:, None, None, None], small.flip(-1), small)
    colour, contrasts, similarity = _compared(big, small, x, y)
    least, most = contrasts.aminmax(dim=0)
    hope = torch.nonzero(
        (colour <= _COLOUR_HOPE) & (most <= _CONTRASTS_HOPE * least) & (least >= FLAT / 2)
    )[:, 0]
    big, small = big[hope], small[hope]
    x[hope], y[hope] = _search(big[:, 0], small[:, 0], x[hope], y[hope])
    better = _compared(big, small, x[hope], y[hope])  # the windows of all others are as they were
    colour[hope], contrasts[:, hope], similarity[hope] = better
    contrast = contrasts.amin(dim=0)
    noise = contrast**2 / (contrast**2 + NOISE**2)
    copies = similarity >= (SIMILAR * noise).clamp(min=LEAST)
    copies &= (contrast >= FLAT) & (contrasts.amax(dim=0) <= CONTRASTS * contrast)
    copies &= colour <= torch.where(contrast < FAINT, COLOUR_FAINT, COLOUR)
    cut = _spans()[0].double() / _FINE
    window = torch.stack([cut[x, 0], cut[y, 0], 1 - cut[x, 1], 1 - cut[y, 1]], dim=1)
    return Aligned(similarity, copies, flipped, window, contrast)


def _compared(
    big: torch.Tensor, small: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(difference of mean colours [num_pairs], contrasts [2, num_pairs], similarity [num_pairs]) of
    windows of `big` and the whole of `small`.
    """
    matrices = _spans()[2]
    a = (matrices[y][:, None] @ big @ matrices[x][:, None].transpose(2, 3) / UNIT**2).round_()
    b = (matrices[0] @ small @ matrices[0].T / UNIT**2).round_()
    colour = (a[:, :, 0, 0] - b[:, :, 0, 0]).abs().amax(dim=1) / (LEVELS * SIDE)
    return (
        colour,
        torch.stack([_contrast(a[:, 0]), _contrast(b[:, 0])]),
        _correlation(a[:, 0] * _weights(), b[:, 0] * _weights()),
    )


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of coefficients [num_pairs, _NUM, _NUM] in whole numbers; 0 where one is flat."""
    a, b = a.round(), b.round()
    lengths = (a.square().sum(dim=(1, 2)).sqrt() * b.square().sum(dim=(1, 2)).sqrt()).clamp(min=1.0)
    return (a * b).sum(dim=(1, 2)) / lengths


def _contrast(a: torch.Tensor) -> torch.Tensor:
    return (a.square().sum(dim=(1, 2)) - a[:, 0, 0].square()).sqrt() / (LEVELS * SIDE)
