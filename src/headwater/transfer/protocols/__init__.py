'''Protocols: the ways to measure transfer. Each is one file of this folder, or of another package.

A protocol declares its words (its part of a study's `protocols:` block), what it needs, what it
costs, how it is shown, and how it measures. The schema of studies, the identity of cells, the
estimate of costs and the fields of rows are made from these declarations. A whole protocol, which
classifies test images by the nearest class mean of frozen features:

    import numpy as np

    from headwater.transfer import Choice
    from headwater.transfer.protocols import OnImages, TransferProtocol


    class NearestMean(OnImages):
        """Frozen encoder, the class whose mean feature is nearest."""


    class NearestMeanProtocol(TransferProtocol[NearestMean]):
        name = "nearest-mean"
        version = 1
        order = 35
        title = "nearest class mean"
        fits = "nothing but the mean feature of each class"
        chooses = "nothing"
        costs = "features once"
        words = NearestMean

        def measure(self, bench, draws, words):
            return [self._choice(bench, bench.fit(draw)) for draw in draws]

        def _choice(self, bench, fit):
            classes = range(bench.num_classes)
            means = np.stack([fit.train[fit.train_labels == c].mean(axis=0) for c in classes])
            nearness = bench.test_features() @ means.T - (means**2).sum(axis=1) / 2
            return Choice.of_logits({}, None, nearness, probabilities=False)


    ENTRY = NearestMeanProtocol()

Another package names it under the entry point `headwater.protocols`. Nothing here imports torch at
its top: a study is read, planned and concluded from without it. Import it in `measure`.
'''

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar

from pydantic import Field

from headwater.errors import Location
from headwater.study.words import Name, Positive, Several, Whole, Words, default

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from headwater.device import Compute
    from headwater.methods.text import TextTower
    from headwater.sources import Positions
    from headwater.sources.pixels import Images
    from headwater.study import Protocols
    from headwater.tasks import Draw, Task
    from headwater.transfer import Choice
    from headwater.transfer.finetune import Split
    from headwater.transfer.probe import Fit

__all__ = [
    "Bench",
    "Expense",
    "OnImages",
    "Penalty",
    "ProtocolWords",
    "Shots",
    "TransferProtocol",
    "Validation",
    "training_images",
]

Shots = Literal["full"] | Annotated[Whole, Field(ge=1)]
Validation = Literal["matched", "full"]
Penalty = Annotated[Positive, Field(ge=1e-12, le=1e12)]
"""Beyond these the arithmetic of float32 ends, and long before them nothing changes any more."""


class ProtocolWords(Words):
    """What a study may say of any protocol. As it stands here it is for a protocol that is fitted
    to no image of the task.
    """

    unordered: ClassVar[tuple[str, ...]] = ()
    """Lists whose order means nothing: a cell is the same one in whatever order they are given."""
    on_images: ClassVar[bool] = False
    """Whether it is fitted to images of the task, so that it has shots and draws."""

    tasks: Several[Name] | None = default(None, "[ours]")
    """Tasks under this protocol; all when left out."""

    def cells(self) -> Iterator[tuple[int | None, int | None]]:
        """(shots, draw) of every cell of an arm on a task; None for full, and for no images."""
        yield None, None

    def validation(self) -> Validation:
        """Which validation images its cells are given."""
        return "full"

    def place_of(self, shots: int) -> Location:
        """Where in these words the study asks for so many shots."""
        return ()


class OnImages(ProtocolWords):
    """What a study may say of a protocol that is fitted to images of the task."""

    on_images: ClassVar[bool] = True

    shots: Several[Shots] = default(("full",), "[ours]")
    """Images of each class that a cell is fitted to: a number, or all of them."""
    draws: Annotated[Whole, Field(ge=1, le=1000)] = default(1, "[ours]")
    """Few-shot draws per seed; the full training split has one."""
    val: Validation = default("matched", "[ours]")
    """Validation of a few-shot cell: as many images per class as shots, or the whole validation
    split.
    """

    def cells(self) -> Iterator[tuple[int | None, int | None]]:
        for shots in self.shots:
            for draw in range(self.draws) if shots != "full" else (None,):
                yield None if shots == "full" else shots, draw

    def validation(self) -> Validation:
        return self.val

    def place_of(self, shots: int) -> Location:
        return ("shots", self.shots.index(shots))


@dataclass(frozen=True)
class Expense:
    """What a cell costs beside the features of its images."""

    images: int = 0
    """Images that pass forward and backward through the encoder."""
    flops: float = 0.0
    """Of fits on features."""


class Bench(ABC):
    """One encoder on one task: what a protocol is given to measure with.

    Positions are those of the task's source. What chooses is to be handed training and validation
    images only; test images are scored once, with what was chosen.
    """

    task: Task
    asked: Protocols
    """All protocols that the study asks for: one may start from what another's words choose."""
    seed: int
    """The arm's."""
    image_size: int
    compute: Compute
    pixels: Images
    """The task's images, decoded."""

    @property
    @abstractmethod
    def encoder(self) -> nn.Module:
        """The arm's encoder, to be copied before it is trained."""

    @property
    @abstractmethod
    def text(self) -> TextTower:
        """The arm's text tower. Raises InputError where it keeps none."""

    @abstractmethod
    def features(self, positions: Positions) -> NDArray[np.float32]:
        """float32 [n, d]: pooled features of the frozen encoder, computed once and kept."""

    @abstractmethod
    def fit(self, draw: Draw) -> Fit:
        """Features and labels of a draw's training and validation images."""

    @abstractmethod
    def rows_of(self, positions: Positions) -> NDArray[np.int64]:
        """int64 [n]: rows of `pixels`."""

    @abstractmethod
    def split(self, positions: Positions) -> Split:
        """Rows of `pixels` with their labels, for training on images."""

    @property
    def num_classes(self) -> int:
        return self.task.num_classes

    def test_features(self) -> NDArray[np.float32]:
        """float32 [n_test, d]."""
        return self.features(self.task.test)


W = TypeVar("W", bound=ProtocolWords)


class TransferProtocol(ABC, Generic[W]):
    """A way to measure transfer. Subclasses set the fields and say how they measure."""

    name: str
    """What a study calls it."""
    version: int
    """Raised by hand when what it measures changes. It enters the identity of its cells."""
    order: float
    """Where it stands in lists and tables, ascending."""
    title: str
    """What it is, in a few words."""
    fits: str
    """What is fitted, for the table of docs/transfer.md."""
    chooses: str
    """What validation chooses."""
    costs: str
    """What it costs, in words."""
    words: type[W]
    """Its part of a study."""
    tuned: bool = False
    """Whether the encoder is trained on the task. A frozen encoder that was pre-trained on the
    labels of the task, on the same images, favours itself: such a cell decides nothing.
    """
    room: str = ""
    """Under which name its version enters an identity: its own, where this is empty."""
    rooms: tuple[str, ...] = ("pixels", "views", "features", "draws")
    """Rooms of the house whose version numbers enter the identity of its cells."""

    @abstractmethod
    def measure(self, bench: Bench, draws: Sequence[Draw], words: W) -> list[Choice]:
        """What validation chooses for each draw, and what that predicts for the test set.

        Several draws come together only where `bytes_together` says so; each must then have the
        bits that it would have alone. Raises TransferDiverged for what will never have a number.
        """

    # what it needs
    def needs_text(self, words: W) -> bool:
        """Whether it reads class names by the arm's text tower. Other arms have no such cells."""
        return False

    def templates(self, words: W, asked: Protocols, task: Task) -> tuple[str, ...]:
        """The prompts that it makes of class names, `{}` where the name goes; none for a protocol
        that reads no class names.
        """
        return ()

    def check(self, words: W, *, with_text: Sequence[str], without_text: Sequence[str]) -> None:
        """Whether a study whose methods keep, or do not keep, a text tower can ask for it.

        Raises headwater.study.Misplaced, located in the study.
        """
        return

    # what makes a cell the one that it is
    def rests_on(self, words: W) -> tuple[TransferProtocol[Any], ...]:
        """Other protocols whose work is part of a cell: their rooms and versions identify it
        too.
        """
        return ()

    def meaning(self, words: W, asked: Protocols, task: Task) -> dict[str, Any]:
        """What of a cell's identity comes from the words and from the task's class names; images,
        labels and splits of the task are identified apart.
        """
        values = words.model_dump(
            mode="json", exclude={"shots", "draws", "tasks"}, exclude_none=True
        )
        values |= {name: sorted(values[name]) for name in words.unordered}
        return values | {"name": self.name}

    def rooms_of(self, words: W) -> tuple[str, ...]:
        """Rooms of the house whose versions identify a cell of these words, each once."""
        rooms = dict.fromkeys(self.rooms)
        for other in self.rests_on(words):
            rooms |= dict.fromkeys(other.rooms)
        return tuple(rooms)

    def versions_of(self, words: W) -> dict[str, int]:
        """Versions of the protocols that identify a cell of these words."""
        made_by: tuple[TransferProtocol[Any], ...] = (self, *self.rests_on(words))
        return {protocol.room or protocol.name: protocol.version for protocol in made_by}

    # what stands on a row
    def grid(self, words: W, asked: Protocols, task: Task) -> dict[str, Any]:
        """What a choice is made from, or what is held equal: all words but shots, draws, tasks and
        val.
        """
        return words.model_dump(mode="json", exclude={"shots", "draws", "tasks", "val"})

    def head_init(self, words: W) -> str | None:
        """How the classification head starts, where it is trained or is not fitted at all."""
        return None

    # what it costs
    def cost(self, words: W, task: Task, shots: int | None, num_features: int) -> Expense:
        """Of one cell; the features of the task's images are counted apart."""
        return Expense()

    def bytes_together(self, num_images: int, num_features: int, num_classes: int) -> int | None:
        """Memory of one draw's fit where draws of a shot count are fitted together; None where each
        is measured by itself.
        """
        return None


def training_images(task: Task, shots: int | None) -> int:
    """Training images of a cell, about: a class that has fewer than the shots counts as if it had
    them.
    """
    whole = len(task.train)
    return whole if shots is None else min(whole, shots * task.num_classes)
