"""Nearest neighbours: how well a frozen encoder puts images of a class side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from headwater.study.words import Real, Several, Whole, default
from headwater.transfer import Choice
from headwater.transfer.protocols import Bench, OnImages, TransferProtocol

if TYPE_CHECKING:
    from headwater.tasks import Draw


class Knn(OnImages):
    """Frozen encoder, weighted nearest neighbours by cosine; their number and the temperature
    chosen on validation.
    """

    unordered: ClassVar[tuple[str, ...]] = ("neighbours", "temperature")

    neighbours: Several[Annotated[Whole, Field(ge=1, le=100_000)]] = default((1, 5, 20), "[ours]")
    """Numbers of neighbours; one above the training images means all of them."""
    temperature: Several[Annotated[Real, Field(ge=1e-3, le=1e3)]] = default(
        (0.07,), "[recalled] Wu et al. 2018"
    )
    """Of the weights exp(similarity / temperature)."""


class KnnProtocol(TransferProtocol[Knn]):
    name = "knn"
    version = 1
    order = 30
    title = "nearest neighbours"
    fits = "nothing: neighbours vote by cosine, with weights exp(similarity / temperature)"
    chooses = "neighbours, temperature"
    costs = "features once, one matrix product"
    words = Knn

    def measure(self, bench: Bench, draws: Sequence[Draw], words: Knn) -> list[Choice]:
        return [self._choice(bench, draw, words) for draw in draws]

    def _choice(self, bench: Bench, draw: Draw, words: Knn) -> Choice:
        from headwater.transfer.neighbours import choose_knn

        fit = bench.fit(draw)
        knn = choose_knn(
            fit.train,
            fit.train_labels,
            fit.val,
            fit.val_labels,
            bench.num_classes,
            words.neighbours,
            words.temperature,
        )
        votes = knn.votes(bench.test_features())
        return Choice(
            {"neighbours": knn.neighbours, "temperature": knn.temperature},
            knn.val_value,
            votes.argmax(axis=1),
            votes.max(axis=1),
        )


ENTRY = KnnProtocol()
