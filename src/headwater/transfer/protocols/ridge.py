"""Ridge regression of one-hot labels: for a first look at many arms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from headwater.study.words import Several, default
from headwater.transfer import Choice
from headwater.transfer.protocols import Bench, OnImages, Penalty, TransferProtocol

if TYPE_CHECKING:
    from headwater.tasks import Draw


_L2 = tuple(float(f"{10 ** (e / 4):.6g}") for e in range(-24, 21))


class Ridge(OnImages):
    """Frozen encoder, ridge regression of one-hot labels in closed form, l2 chosen on
    validation.
    """

    unordered: ClassVar[tuple[str, ...]] = ("l2",)

    l2: Several[Penalty] = default(_L2, "[ours] 45 values, four in each factor of ten")
    """Strengths of the l2 penalty: the loss is mean squared error + l2 * ||W||^2 on standardised
    features.
    """


class RidgeProtocol(TransferProtocol[Ridge]):
    name = "ridge"
    version = 2
    order = 20
    title = "ridge regression"
    fits = "ridge regression of one-hot labels on frozen features, in closed form"
    chooses = "l2, of 45 values"
    costs = "features once, one factorisation; another l2 costs next to nothing"
    words = Ridge

    def measure(self, bench: Bench, draws: Sequence[Draw], words: Ridge) -> list[Choice]:
        from headwater.transfer.probe import choices
        from headwater.transfer.ridge import ridges

        fitted = ridges([bench.fit(draw) for draw in draws], bench.num_classes, words.l2)
        return choices(fitted, bench.test_features(), probabilities=False)

    def bytes_together(self, num_images: int, num_features: int, num_classes: int) -> int:
        from headwater.transfer.linear import bytes_of_fit

        return bytes_of_fit(num_images, num_features, num_classes)


ENTRY = RidgeProtocol()
