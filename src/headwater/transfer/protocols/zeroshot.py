"""Zero-shot: class names in prompts, embedded by the arm's text tower, are the classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from headwater.study.words import Misplaced, Several, default
from headwater.transfer import Choice
from headwater.transfer.protocols import Bench, ProtocolWords, TransferProtocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headwater.sources import Positions
    from headwater.study import Protocols
    from headwater.tasks import Draw, Task


def _templates(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        rest = value.replace("{}", "")
        if value.count("{}") != 1 or "{" in rest or "}" in rest:
            raise ValueError(
                f"{value!r} is no template; write one {{}} where the class name goes, and no other "
                "brace"
            )
    return values


class ZeroShot(ProtocolWords):
    """A CLIP arm's image and text towers, without an image of the task: classes by their names in
    prompts.
    """

    templates: Annotated[Several[str], AfterValidator(_templates)] | None = default(
        None, "[paper] Radford et al. 2021: the task's own, or else eight for any classes"
    )
    """Prompts with {} for the class name; when left out, those of the task where it is a published
    one that has some, otherwise eight.
    """


class ZeroShotProtocol(TransferProtocol[ZeroShot]):
    name = "zeroshot"
    version = 1
    order = 40
    title = "class names, CLIP alone"
    fits = "nothing: class names in prompts, embedded by the arm's text tower"
    chooses = "nothing"
    costs = (
        "features once; CLIP arms alone. Validation images only tell whether the names are in order"
    )
    words = ZeroShot
    rooms = ("pixels", "views", "features")

    def measure(self, bench: Bench, draws: Sequence[Draw], words: ZeroShot) -> list[Choice]:
        """Whether names and labels are in order is asked of validation images."""
        from headwater.transfer.linear import check_finite
        from headwater.transfer.metrics import accuracy
        from headwater.transfer.zeroshot import alignment

        task, tower = bench.task, bench.text
        templates = prompt_templates(bench.asked, task)
        weight = tower.class_weights(task.prompt_names, templates)

        def logits(positions: Positions) -> NDArray[np.float32]:
            features = bench.features(positions)
            check_finite(features)
            return (features @ weight.T) / tower.lengths(features)[:, None]

        on_val, labels = logits(task.val).argmax(axis=1), task.labels[task.val]
        order = alignment(on_val, labels, task.num_classes)
        chosen: dict[str, Any] = {
            "alignment": order.verdict,
            "val_names_permuted": order.permuted,
            "val_best_assignment": order.assigned,
            "unseen_tokens": tower.unseen(task.prompt_names),
        }
        equal = tower.equal(task.prompt_names, templates)
        if equal:
            chosen["equal_prompts"] = equal
        return [Choice.of_logits(chosen, accuracy(on_val, labels), logits(task.test))]

    def needs_text(self, words: ZeroShot) -> bool:
        return True

    def templates(self, words: ZeroShot, asked: Protocols, task: Task) -> tuple[str, ...]:
        return prompt_templates(asked, task)

    def check(
        self, words: ZeroShot, *, with_text: Sequence[str], without_text: Sequence[str]
    ) -> None:
        """Arms without a text tower have no such cells, but some arm must have one."""
        if not with_text:
            raise Misplaced(
                ("protocols", self.name),
                "only CLIP arms have a text tower, and clip is not among the study's methods",
            )

    def meaning(self, words: ZeroShot, asked: Protocols, task: Task) -> dict[str, Any]:
        return super().meaning(words, asked, task) | {"prompts": prompts(asked, task)}

    def grid(self, words: ZeroShot, asked: Protocols, task: Task) -> dict[str, Any]:
        return {"templates": list(prompt_templates(asked, task))}

    def head_init(self, words: ZeroShot) -> str:
        return "text"


ENTRY = ZeroShotProtocol()


def prompt_templates(asked: Protocols, task: Task) -> tuple[str, ...]:
    """What turns the class names of a task into prompts: the study's templates, else the task's
    own, else CLIP's.
    """
    from headwater.labels.captions import TEMPLATES

    words = asked.named(ENTRY.name)
    given = words.templates if isinstance(words, ZeroShot) else None
    return given or task.templates or TEMPLATES


def prompts(asked: Protocols, task: Task) -> list[tuple[str, ...]]:
    """[class names as people say them, templates]: what a head of class names is made from."""
    return [task.prompt_names, prompt_templates(asked, task)]
