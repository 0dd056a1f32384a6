"""The linear probe: how far a linear classifier gets on the features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from headwater.study.words import Several, default
from headwater.transfer import Choice
from headwater.transfer.protocols import (
    Bench,
    Expense,
    OnImages,
    Penalty,
    TransferProtocol,
    training_images,
)

if TYPE_CHECKING:
    from headwater.study import Protocols
    from headwater.tasks import Draw, Task

_PRODUCTS = 1600
"""Products of the Hessian with a direction on a whole path, 7 values of l2 or 45: what was counted
on 512 features of 4,770 photos; of few shots they are a quarter or less [ours].
"""


_L2 = tuple(10.0**e for e in range(-5, 2))


class Probe(OnImages):
    """Frozen encoder, multinomial logistic regression, l2 chosen on validation."""

    unordered: ClassVar[tuple[str, ...]] = ("l2",)

    l2: Several[Penalty] = default(_L2, "[ours]")
    """Strengths of the l2 penalty: the loss is mean cross-entropy + l2 / 2 * ||W||^2 on
    standardised features.
    """


class ProbeProtocol(TransferProtocol[Probe]):
    name = "probe"
    version = 4
    order = 10
    title = "logistic regression"
    fits = "multinomial logistic regression on frozen features"
    chooses = "l2"
    costs = "features once, then seconds; draws of one shot count are fitted together"
    words = Probe

    def measure(self, bench: Bench, draws: Sequence[Draw], words: Probe) -> list[Choice]:
        from headwater.transfer.probe import choices, probes

        fitted = probes([bench.fit(draw) for draw in draws], bench.num_classes, words.l2)
        return choices(fitted, bench.test_features(), probabilities=True)

    def bytes_together(self, num_images: int, num_features: int, num_classes: int) -> int:
        from headwater.transfer.linear import bytes_of_fit

        return bytes_of_fit(num_images, num_features, num_classes)

    def cost(self, words: Probe, task: Task, shots: int | None, num_features: int) -> Expense:
        """The products of the Hessian: all else is next to nothing beside the features."""
        train = training_images(task, shots)
        return Expense(flops=4.0 * train * min(train, num_features) * task.num_classes * _PRODUCTS)


ENTRY = ProbeProtocol()


def probe_l2(asked: Protocols) -> tuple[float, ...]:
    """The l2 grid of the study's probe, or the default one: also what a head that starts from a
    probe is chosen from.
    """
    words = asked.named(ENTRY.name)
    return words.l2 if isinstance(words, Probe) else Probe().l2
