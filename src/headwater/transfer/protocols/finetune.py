"""Fine-tuning: where the whole network gets from an arm's weights in a few steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from headwater.study.words import (
    Fraction,
    Misplaced,
    NonNegative,
    Positive,
    Real,
    Several,
    Whole,
    default,
)
from headwater.transfer import Choice
from headwater.transfer.protocols import (
    Bench,
    Expense,
    OnImages,
    TransferProtocol,
    training_images,
)
from headwater.transfer.protocols.probe import ENTRY as PROBE
from headwater.transfer.protocols.probe import probe_l2
from headwater.transfer.protocols.zeroshot import ENTRY as ZERO_SHOT
from headwater.transfer.protocols.zeroshot import prompt_templates, prompts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headwater.study import Protocols
    from headwater.tasks import Draw, Task

HeadInit = Literal["zeros", "probe", "text"]


class Finetune(OnImages):
    """The whole network, one optimiser grid for all arms, learning rate and stopping point chosen
    on validation.
    """

    steps: Annotated[Whole, Field(ge=1)] = default(300, "[ours]")
    """Steps of the optimiser at each learning rate."""
    lr: Several[Positive] = default((3e-4, 3e-3), "[ours]")
    """Learning rates."""
    batch: Annotated[Whole, Field(ge=2)] = default(64, "[ours]")
    """Images of a step; all training images where they are fewer."""
    weight_decay: NonNegative = default(0.05, "[ours]")
    """AdamW's."""
    warmup: Fraction = default(0.1, "[ours]")
    """As a share of the steps, so that it cannot exceed them."""
    clip_norm: Positive = default(1.0, "[recalled]")
    """Norm that gradients are cut to."""
    looks: Annotated[Whole, Field(ge=1, le=100)] = default(3, "[ours]")
    """How often validation is looked at, at equal distances, the last at the end."""
    crop_min: Annotated[Real, Field(gt=0, le=1)] = default(0.5, "[ours]")
    """Smallest area of the random resized crop; flips have probability 1/2."""
    head_init: HeadInit = default("zeros", "[ours]")
    """The classification head starts at zero, from the linear probe of the same cell (LP-FT), or
    from class names (text), which only CLIP arms can.
    """


class FinetuneProtocol(TransferProtocol[Finetune]):
    name = "finetune"
    version = 2
    order = 50
    title = "fine-tuning"
    fits = "the whole network and a linear head"
    chooses = "learning rate and stopping point"
    costs = "`steps` for each learning rate, in each cell: by far the most expensive"
    words = Finetune
    tuned = True
    rooms = ("pixels", "views", "draws")

    def measure(self, bench: Bench, draws: Sequence[Draw], words: Finetune) -> list[Choice]:
        return [self._choice(bench, draw, words) for draw in draws]

    def _choice(self, bench: Bench, draw: Draw, words: Finetune) -> Choice:
        from headwater.transfer.finetune import finetune, finetune_choice

        model, chosen, val_value = finetune(
            bench.encoder,
            bench.pixels,
            bench.split(draw.train),
            bench.split(draw.val),
            bench.num_classes,
            words,
            head=_head(bench, draw, words),
            image_size=bench.image_size,
            seed=bench.seed,
            compute=bench.compute,
        )
        return finetune_choice(
            model,
            chosen,
            val_value,
            bench.pixels,
            bench.rows_of(bench.task.test),
            image_size=bench.image_size,
            compute=bench.compute,
        )

    def needs_text(self, words: Finetune) -> bool:
        return words.head_init == "text"

    def templates(self, words: Finetune, asked: Protocols, task: Task) -> tuple[str, ...]:
        return prompt_templates(asked, task) if self.needs_text(words) else ()

    def check(
        self, words: Finetune, *, with_text: Sequence[str], without_text: Sequence[str]
    ) -> None:
        """All arms start their heads in one way, so that every arm must be able to."""
        if self.needs_text(words) and without_text:
            raise Misplaced(
                ("protocols", self.name, "head_init"),
                f"text needs a text tower, which {', '.join(without_text)} has not; name zeros or "
                "probe",
            )

    def rests_on(self, words: Finetune) -> tuple[TransferProtocol[Any], ...]:
        """What makes the head makes the cell."""
        starts: dict[HeadInit, tuple[TransferProtocol[Any], ...]] = {
            "zeros": (),
            "probe": (PROBE,),
            "text": (ZERO_SHOT,),
        }
        return starts[words.head_init]

    def meaning(self, words: Finetune, asked: Protocols, task: Task) -> dict[str, Any]:
        meaning = super().meaning(words, asked, task)
        if words.head_init == "probe":
            meaning["l2"] = sorted(probe_l2(asked))
        elif words.head_init == "text":
            meaning["prompts"] = prompts(asked, task)
        return meaning

    def grid(self, words: Finetune, asked: Protocols, task: Task) -> dict[str, Any]:
        grid = super().grid(words, asked, task)
        return grid | {"l2": list(probe_l2(asked))} if words.head_init == "probe" else grid

    def head_init(self, words: Finetune) -> str:
        return words.head_init

    def cost(self, words: Finetune, task: Task, shots: int | None, num_features: int) -> Expense:
        batch = min(words.batch, training_images(task, shots))
        return Expense(images=words.steps * batch * len(words.lr))


def _head(
    bench: Bench, draw: Draw, words: Finetune
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    """(weight [classes, d], bias [classes]) that the head starts from; None for zeros."""
    if words.head_init == "zeros":
        return None
    import numpy as np

    if words.head_init == "probe":
        from headwater.transfer.probe import probes

        (fitted,) = probes([bench.fit(draw)], bench.num_classes, probe_l2(bench.asked))
        return fitted.head.folded()
    templates = prompt_templates(bench.asked, bench.task)
    weight = bench.text.class_weights(bench.task.prompt_names, templates)
    # zero-shot logits are divided by each image's length; a linear head can divide by the mean of
    # the training images'
    weight = weight / bench.text.lengths(bench.features(draw.train)).mean()
    return weight.astype(np.float32), np.zeros(bench.num_classes, dtype=np.float32)


ENTRY = FinetuneProtocol()
