"""The data model of Hong et al. 2023, section C: features, easy and hard samples, made on the fly.

An input is P patches in R^d. An orthonormal dictionary holds a common feature for each of two
superclasses and a fine-grained feature for each of k subclasses on each side.

    easy sample of (s, c)     about s* patches carry alpha times the common feature v_s, about s*
                              carry alpha times the fine feature v_sc, the others nothing; Gaussian
                              noise on every patch
    hard sample of (s, c)     the common patches carry alpha-dagger times the WRONG superclass's
                              common feature instead, and one of the other patches strong Gaussian
                              noise; the fine patches stay

What we choose where the paper leaves it open, without loss: the dictionary is the first 2 + 2k
vectors of the standard basis (noise and initial weights are rotation invariant), and patches stand
in a fixed order (the network sums over them). Subclasses are uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater import keys

COMMON = 2
"""Common features: of superclass + (0) and - (1). They are the first vectors of the dictionary."""


@dataclass(frozen=True)
class World:
    """The constants of the data, by the paper's symbols.

    Defaults: the numerical check of Hong et al. 2023, section C. Raises ValueError outside their
    ranges.
    """

    k: int = 32
    """Subclasses of each superclass, 1 or more."""
    d: int = 512
    """Dimensions of a patch, at least 2 + 2k."""
    patches: int = 8
    """P, enough for the patches of both features and one for strong noise: 2 s* + 1 or more where
    iota is 0.
    """
    s: int = 2
    """s*: patches of each feature in a sample, 1 or more."""
    alpha: float = 1.0
    """Strength of a feature, above 0."""
    iota: float = 0.0
    """Spread, in [0, 1): strengths are uniform in [alpha sqrt(1 - iota), alpha sqrt(1 + iota)],
    patch counts are s* (1 ± iota), rounded [R].
    """
    alpha_dagger: float = 0.1
    """Strength of the wrong class's common feature in a hard sample, in [0, alpha)."""
    sigma_zeta: float = 0.25
    """Noise on every patch, in units of 1 / sqrt(d) for each coordinate, 0 or more.

    The paper: 1 / polylog d.
    """
    sigma_star: float = 0.5
    """Strong noise on one patch of a hard sample, in the same units, on top of sigma_zeta, 0 or
    more.
    """
    hard_share: float = 0.0
    """Share of TRAINING samples that are hard, in [0, 1].

    The theorems have none: above 0 it goes beyond them.
    """

    def __post_init__(self) -> None:
        limits = {
            "k": (self.k >= 1, "1 or more"),
            "s": (self.s >= 1, "1 or more"),
            "iota": (0 <= self.iota < 1, "in [0, 1)"),
            "d": (
                self.d >= COMMON + 2 * self.k,
                f"at least 2 + 2k = {COMMON + 2 * self.k}, one dimension for each feature",
            ),
            "alpha": (0 < self.alpha < math.inf, "above 0"),
            "alpha_dagger": (
                0 <= self.alpha_dagger < self.alpha,
                f"0 or more, below alpha = {self.alpha:g}",
            ),
            "sigma_zeta": (0 <= self.sigma_zeta < math.inf, "0 or more"),
            "sigma_star": (0 <= self.sigma_star < math.inf, "0 or more"),
            "hard_share": (0 <= self.hard_share <= 1, "in [0, 1]"),
        }
        for name, (holds, words) in limits.items():
            if not holds:
                raise ValueError(f"{name} = {getattr(self, name)} is outside its range: {words}")
        if round(self.s * (1 - self.iota)) < 1:
            raise ValueError(
                f"iota = {self.iota:g} leaves samples without any patch of a feature: s* (1 - "
                f"iota) = {self.s * (1 - self.iota):g} rounds to 0"
            )
        if self.patches <= 2 * self.most:
            raise ValueError(
                f"patches = {self.patches} are too few: {2 * self.most} carry features and a hard "
                "sample needs one more"
            )

    @property
    def most(self) -> int:
        """The most patches that one feature has in a sample."""
        return round(self.s * (1 + self.iota))


@dataclass(frozen=True, eq=False)
class Samples:
    """n samples."""

    x: Tensor
    """[n, P, d]."""
    subclass: Tensor
    """int64 [n], in [0, 2k): superclass times k plus the subclass in it."""
    hard: Tensor
    """bool [n]."""


@dataclass(frozen=True, eq=False)
class Draws:
    """The randomness of n samples before the constants of a world are put in.

    Worlds that differ in k or in a strength share it.
    """

    noise: Tensor
    """Standard normal [n, P, d]."""
    uniform: Tensor
    """float64 [8, n] in [0, 1), a row for each use: see `samples` and simulation.labels."""
    generator: torch.Generator
    """For what only some worlds need, after the rest."""


def draws(
    n: int,
    patches: int,
    d: int,
    *,
    seed: int,
    purpose: str,
    step: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Draws:
    """Keyed by (seed, purpose, step): the same for the same key, whatever else is drawn."""
    generator = torch.Generator().manual_seed(keys.key(seed, "theory", purpose, step))
    uniform = torch.rand(8, n, generator=generator, dtype=torch.float64)
    return Draws(torch.randn(n, patches, d, generator=generator, dtype=dtype), uniform, generator)


def samples(
    world: World, drawn: Draws, *, hard_share: float | None = None, out: Tensor | None = None
) -> Samples:
    """n samples of a world.

    `hard_share` is the world's where it is left out; `out` [n, P, d] is written and returned as x.
    """
    share = world.hard_share if hard_share is None else hard_share
    subclass, hard = (drawn.uniform[0] * (2 * world.k)).long(), drawn.uniform[1] < share
    superclass = subclass // world.k
    unit = world.d**-0.5
    x = torch.mul(drawn.noise, world.sigma_zeta * unit, out=out)
    rows = torch.arange(len(x))
    generator = torch.Generator().set_state(drawn.generator.get_state())
    strengths, carries = _spread(world, len(x), generator, x.dtype)
    faint = world.alpha_dagger / world.alpha
    common = torch.where(hard, faint, 1.0).to(x.dtype)[:, None] * strengths[0] * carries[0]
    side = torch.where(hard, 1 - superclass, superclass)
    x[rows[:, None], torch.arange(world.most), side[:, None]] += common
    x[rows[:, None], torch.arange(world.most, 2 * world.most), (COMMON + subclass)[:, None]] += (
        strengths[1] * carries[1]
    )
    strong = torch.nonzero(hard)[:, 0]
    if len(strong):
        noise = torch.randn(len(strong), world.d, generator=generator, dtype=x.dtype)
        x[strong, -1] += world.sigma_star * unit * noise
    return Samples(x, subclass, hard)


def _spread(
    world: World, n: int, generator: torch.Generator, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """(strengths, whether a patch carries the feature), both [2, n, most patches].

    The first axis is the common and the fine feature; n is 1 where all samples are alike.
    """
    if world.iota == 0:
        strengths = torch.full((2, 1, world.s), world.alpha, dtype=dtype)
        return strengths, torch.ones(2, 1, world.s, dtype=dtype)
    low, high = (1 - world.iota) ** 0.5, (1 + world.iota) ** 0.5
    strengths = world.alpha * (
        low + (high - low) * torch.rand(2, n, world.most, generator=generator, dtype=dtype)
    )
    counts = (
        world.s * (1 + world.iota * (2 * torch.rand(2, n, 1, generator=generator, dtype=dtype) - 1))
    ).round()
    return strengths, (torch.arange(world.most) < counts).to(dtype)
