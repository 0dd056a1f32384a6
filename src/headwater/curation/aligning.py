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
from headwater.curation.windows import Coefficients, coefficients, windows

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
_STILL = (0.65, 0.85, 0.0, 0.0)
"""After each step a pair is given up whose similarity is below this share of what a copy needs
[ours]. Of 9,533 copies that are found (seed 0 of benchmarks/leakage.py) the worst had 0.84 and
0.97; with seeds 1 and 2 no copy is lost at these shares, and one of 11,200 at 0.75 and 0.9.
"""


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
    image, coefficients weighted; -1 where their colours are too far apart to ask.
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
    waves; 0 where nothing was asked.
    """


@functools.cache
def _coarse() -> torch.Tensor:
    """int64 [num_windows]: the span of each coarse window along one axis."""
    where = _spans()[1]
    cuts = [(round(start * _FINE), round((1 - end) * _FINE)) for start, end in windows().tolist()]
    return torch.tensor([int(where[cut]) for cut in cuts])


def _start(
    banks: Coefficients, wholes: Coefficients, pairs: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(mirrored bool, the best of the coarse windows int64, as _coarse() x _coarse(), vertical
    first) [num_pairs] each.
    """
    of_big, of_small = pairs.T
    even = (banks.even[of_big] * wholes.even[of_small]).sum(dim=2)
    odd = (banks.odd[of_big] * wholes.odd[of_small]).sum(dim=2)
    best = (even + odd.abs()).argmax(dim=1)
    mirrored = odd.gather(1, best[:, None])[:, 0] < 0
    return mirrored, best


def _search(
    big: torch.Tensor, small: torch.Tensor, x: torch.Tensor, y: torch.Tensor, need: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(x span, y span, int64 [num_still]: pairs that may still be copies): better spans, from given
    ones. float64 [num_pairs, SIDE, SIDE] luma each; `need` float64 [num_pairs] is the similarity of
    a copy.
    """
    best_x, best_y = x.clone(), y.clone()
    matrices = _spans()[2]
    weights = _weights() / UNIT**2
    target = ((matrices[0] @ small @ matrices[0].T) * weights).round_()
    need = need * target.square().sum(dim=(1, 2)).sqrt().clamp(min=1.0)
    still = torch.arange(len(big))
    for step, share in zip(_STEPS, _STILL, strict=True):
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
            score, place = (
                (made * target[:, None]).sum(dim=(2, 3))
                / made.square().sum(dim=(2, 3)).sqrt().clamp(min=1.0)
            ).max(dim=1)
            chosen = near.gather(1, place[:, None])[:, 0]
            x, y = (chosen, y) if axis == "x" else (x, chosen)
        best_x[still], best_y[still] = x, y
        if share:
            kept = torch.nonzero(score >= share * need)[:, 0]
            big, target, need = big[kept], target[kept], need[kept]
            x, y, still = x[kept], y[kept], still[kept]
    return best_x, best_y, still


@torch.no_grad()
def align(
    big: torch.Tensor,
    small: torch.Tensor,
    pairs: torch.Tensor,
    *,
    banks: Coefficients | None = None,
    wholes: Coefficients | None = None,
) -> Aligned:
    """Looks for the window of the first image of each pair that shows the second.

    `big` and `small` are int16 [num_images, 3, SIDE, SIDE], `pairs` int64 [num_pairs, 2] rows of
    them; `banks` of `big` and `wholes` of `small` are worked out where they are left out.
    """
    banks = coefficients(big) if banks is None else banks
    wholes = coefficients(small, whole_only=True) if wholes is None else wholes
    means = _means(big, _coarse()), _means(small, torch.tensor([0]))[:, :, 0]
    parts = []
    for at in range(0, max(len(pairs), 1), _BLOCK):
        some = pairs[at : at + _BLOCK]
        parts.append(_align(big, small, some, _start(banks, wholes, some), *means))
    joined = {}
    for name in Aligned.__dataclass_fields__:
        joined[name] = torch.cat([getattr(part, name) for part in parts])
    return Aligned(**joined)


def _means(images: torch.Tensor, spans: torch.Tensor) -> torch.Tensor:
    """float64 [num_images, 3, num_spans * num_spans]: the mean of every channel in windows of some
    spans, vertical first, as the first coefficient is: in 1 / (LEVELS * SIDE) levels.
    """
    rows = _spans()[2][spans, 0]
    return (rows @ images.double() @ rows.T / UNIT**2).round_().flatten(2)


def _align(
    big: torch.Tensor,
    small: torch.Tensor,
    pairs: torch.Tensor,
    start: tuple[torch.Tensor, torch.Tensor],
    coarse_means: torch.Tensor,
    means: torch.Tensor,
) -> Aligned:
    flipped, best = start
    x, y = _coarse()[best % len(_coarse())], _coarse()[best // len(_coarse())]
    shown = _Shown(big, small, pairs, flipped, means)
    similarity = torch.full((len(pairs),), -1.0, dtype=torch.float64)
    contrasts = torch.zeros((2, len(pairs)), dtype=torch.float64)
    colour = shown.differ(coarse_means[pairs[:, 0], :, best], pairs[:, 1])
    hope = torch.nonzero(colour <= _COLOUR_HOPE)[:, 0]
    contrasts[:, hope], similarity[hope] = shown.compared(hope, x, y)
    least, most = contrasts[:, hope].aminmax(dim=0)
    able = (most <= _CONTRASTS_HOPE * least) & (least >= FLAT / 2)
    hope, least = hope[able], least[able]
    x[hope], y[hope], still = _search(*shown.lumas(hope), x[hope], y[hope], _needed(least))
    hope = hope[still]
    colour[hope] = shown.colours(hope, x, y)
    contrasts[:, hope], similarity[hope] = shown.compared(hope, x, y)
    contrast = contrasts.amin(dim=0)
    copies = similarity >= _needed(contrast)
    copies &= (contrast >= FLAT) & (contrasts.amax(dim=0) <= CONTRASTS * contrast)
    copies &= colour <= torch.where(contrast < FAINT, COLOUR_FAINT, COLOUR)
    cut = _spans()[0].double() / _FINE
    window = torch.stack([cut[x, 0], cut[y, 0], 1 - cut[x, 1], 1 - cut[y, 1]], dim=1)
    return Aligned(similarity, copies, flipped, window, contrast)


@dataclass(frozen=True, eq=False)
class _Shown:
    """What pairs show: int16 [num_images, 3, SIDE, SIDE] each, int64 [num_pairs, 2] rows of them,
    whether the second is to be mirrored, and the `means` of the second's channels.
    """

    big: torch.Tensor
    small: torch.Tensor
    pairs: torch.Tensor
    flipped: torch.Tensor
    means: torch.Tensor

    def lumas(self, which: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """float64 [num, SIDE, SIDE] each, of some pairs."""
        of_big, of_small = self.pairs[which].T
        small = self.small[of_small, 0].double()
        mirrored = torch.where(self.flipped[which, None, None], small.flip(-1), small)
        return self.big[of_big, 0].double(), mirrored

    def differ(self, means: torch.Tensor, of_small: torch.Tensor) -> torch.Tensor:
        """float64 [num], levels: the most by which a channel's mean, of float64 [num, 3], differs
        from that of a second image.
        """
        return (means - self.means[of_small]).abs().amax(dim=1) / (LEVELS * SIDE)

    def colours(self, which: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """float64 [num], levels: as `differ`, of windows of some pairs; `x` and `y` are the spans
        of all.
        """
        rows = _spans()[2][:, 0]
        of_big, of_small = self.pairs[which].T
        bands = rows[y[which], None, None] @ self.big[of_big].double()
        means = (bands @ rows[x[which], None, :, None])[..., 0, 0] / UNIT**2
        return self.differ(means.round_(), of_small)

    def compared(
        self, which: torch.Tensor, x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(contrasts [2, num], similarity [num]) of windows of the first and the whole of the
        second, of some pairs; `x` and `y` are the spans of all.
        """
        matrices = _spans()[2]
        big, small = self.lumas(which)
        across = matrices[x[which]].transpose(1, 2)
        a = (matrices[y[which]] @ big @ across / UNIT**2).round_()
        b = (matrices[0] @ small @ matrices[0].T / UNIT**2).round_()
        similarity = _correlation(a * _weights(), b * _weights())
        return torch.stack([_contrast(a), _contrast(b)]), similarity


def _needed(contrast: torch.Tensor) -> torch.Tensor:
    """The similarity of a copy whose contrast, in levels of 255, is this."""
    noise = contrast**2 / (contrast**2 + NOISE**2)
    return (SIMILAR * noise).clamp(min=LEAST)


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Of coefficients [num_pairs, _NUM, _NUM] in whole numbers; 0 where one is flat."""
    a, b = a.round(), b.round()
    lengths = (a.square().sum(dim=(1, 2)).sqrt() * b.square().sum(dim=(1, 2)).sqrt()).clamp(min=1.0)
    return (a * b).sum(dim=(1, 2)) / lengths


def _contrast(a: torch.Tensor) -> torch.Tensor:
    return (a.square().sum(dim=(1, 2)) - a[:, 0, 0].square()).sqrt() / (LEVELS * SIDE)
