"""What training samples are called: coarse, fine, and labels that do not follow the features.

    coarse                    the two superclasses
    fine                      the 2k subclasses
    merge:K                   K classes in all: neighbouring subclasses of a superclass are one,
                              K / 2 of them on each side
    random:K within fine      each subclass's samples at random into K / 2k classes
    random:K within coarse    each superclass's samples at random into K / 2 classes
    shuffle:K                 whole subclasses regrouped at random into K classes, across
                              superclasses
    random:K                  samples at random into K classes
    instance                  one class for each sample of a finite training set

The theorems are about coarse and fine. All others go beyond them. The words are those of a study's
label views (docs/study.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater import keys

_WORDS = re.compile(
    r"coarse|fine|instance|(?:merge|shuffle):(\d{1,6})|random:(\d{1,6})(?: within (coarse|fine))?"
)
PART, WRONG, OTHER = 2, 3, 4
"""Rows of `Draws.uniform` that labels use: which class of several a sample is in, whether its label
is wrong, and what it is then.
"""


@dataclass(frozen=True)
class Labels:
    """A label view of k subclasses on each side.

    Raises ValueError for words that are none, or that k does not allow.
    """

    words: str
    k: int
    samples: int | None = None
    """Size of the finite training set; None where batches are fresh."""

    def __post_init__(self) -> None:
        if not _WORDS.fullmatch(self.words):
            raise ValueError(
                f"labels {self.words!r} are none of coarse, fine, merge:K, random:K, random:K "
                "within coarse|fine, shuffle:K, instance"
            )
        kind, count, k = self.kind, self._count, self.k
        if kind == "instance" and self.samples is None:
            raise ValueError("labels 'instance' need a finite training set (train_samples)")
        refused = {
            "merge": count % 2 or not 2 <= count <= 2 * k,
            "random within coarse": count % 2 or count < 2,
            "random within fine": count < 1 or count % (2 * k),
            "shuffle": not 2 <= count <= 2 * k,
            "random": count < 2,
        }
        if refused.get(kind):
            wanted = {
                "merge": f"an even K from 2 to 2k = {2 * k}",
                "random within coarse": "an even K of 2 or more",
                "random within fine": f"a K that 2k = {2 * k} divides",
                "shuffle": f"a K from 2 to 2k = {2 * k}",
                "random": "a K of 2 or more",
            }
            raise ValueError(f"labels {self.words!r} at k = {k}: {wanted[kind]} is needed")

    @property
    def kind(self) -> str:
        """coarse, fine, instance, merge, shuffle, random, random within coarse or random within
        fine.
        """
        return re.sub(r":\d+", "", self.words)

    @property
    def _count(self) -> int:
        number = re.search(r":(\d+)", self.words)
        return int(number[1]) if number else 0

    @property
    def heads(self) -> int:
        """Classes."""
        known = {"coarse": 2, "fine": 2 * self.k, "instance": self.samples or 0}
        return known.get(self.kind, self._count)

    @property
    def aligned(self) -> bool:
        """Whether a class lies within one superclass.

        Then the largest head, or the sum of heads, tells the superclass.
        """
        return self.kind not in ("random", "shuffle")

    @property
    def groups(self) -> int | None:
        """How many of the classes on each side features can tell apart.

        None where classes follow no feature.
        """
        return {
            "coarse": 1,
            "random within coarse": 1,
            "fine": self.k,
            "random within fine": self.k,
            "merge": self._count // 2,
        }.get(self.kind)

    def targets(
        self, subclass: Tensor, uniform: Tensor, *, seed: int, noise: float = 0.0
    ) -> Tensor:
        """The label of each sample: int64 [n] in [0, heads).

        subclass: int64 [n] in [0, 2k). uniform: [8, n], of the samples' draws. noise: share of
        labels, in [0, 1], that are another class, each as likely.
        """
        kind, k, heads = self.kind, self.k, self.heads
        if kind == "instance":
            label = torch.arange(len(subclass))
        elif kind == "random":
            label = (uniform[PART] * heads).long()
        elif kind == "shuffle":
            generator = torch.Generator().manual_seed(keys.key(seed, "theory", "shuffle", k))
            label = torch.randperm(2 * k, generator=generator)[subclass] * heads // (2 * k)
        else:
            groups = self.groups
            assert groups is not None
            in_a_group = heads // (2 * groups)
            group = subclass // k * groups + subclass % k * groups // k
            label = group * in_a_group + (uniform[PART] * in_a_group).long()
        other = (label + 1 + (uniform[OTHER] * (heads - 1)).long()) % heads
        return torch.where(uniform[WRONG] < noise, other, label)

    def superclass(self, subclass: Tensor | None) -> Tensor:
        """The superclass, 0 or 1, of each class: int64 [heads].

        subclass: [n] of the training set, for instance labels. Classes that mix superclasses are
        dealt out, the first half to +, because fine-tuning needs some start.
        """
        if self.kind == "instance":
            assert subclass is not None
            return subclass // self.k
        return torch.arange(self.heads) * 2 // self.heads
