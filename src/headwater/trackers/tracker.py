"""What a tracker is, and how one is opened by its name."""

from __future__ import annotations

import difflib
import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from headwater import plain
from headwater.digests import tell
from headwater.errors import InputError


class Tracker(ABC):
    """One that is told of a run. What it raises ends the tracking, and nothing else."""

    @abstractmethod
    def __init__(self, study: str, where: str) -> None:
        """`where` is a folder or an address of its kind. Raises ImportError where its package is
        not installed.
        """

    @abstractmethod
    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        """Where an arm is after so many steps: loss, lr, knn (the online accuracy, in [0, 1]),
        grad_norm, images_per_s, images; those that are known.
        """

    @abstractmethod
    def score(self, arm: str, name: str, value: float) -> None:
        """A row: the score of an arm, in [0, 1] where its metric is; `name` says which, as
        `task/protocol/5 shots/draw 0/top1` (headwater.trackers.feed).
        """

    @abstractmethod
    def close(self) -> None:
        """The run has ended."""


TRACKERS = {
    "tensorboard": "TensorBoardTracker",
    "trackio": "TrackioTracker",
    "mlflow": "MlflowTracker",
    "wandb": "WandbTracker",
}
"""Name, which is the module's and the pip extra's too -> class."""


def opened(word: str, study: str, store: Path) -> Guarded:
    """The tracker that `NAME[:WHERE]` means; WHERE is a folder of the store when left out.

    Raises InputError for a name that is none, and for a package that is not installed.
    """
    name, _, where = word.partition(":")
    if name not in TRACKERS:
        near = difflib.get_close_matches(name, TRACKERS, n=1)
        advice = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"--tracker: {name!r} is none of {', '.join(TRACKERS)}{advice}")
    kind = getattr(importlib.import_module(f"headwater.trackers.{name}"), TRACKERS[name])
    try:
        return Guarded(name, kind(study, where or str(store / name)))
    except ImportError as error:
        raise InputError(
            f"--tracker {name}: its package cannot be imported ({plain.line(error, 120)}); "
            f"`pip install 'headwater[{name}]'` brings it"
        ) from None
    except Exception as error:
        raise InputError(f"--tracker {word}: cannot be opened ({_why(error)})") from None


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {plain.line(error, 200)}"


class Guarded:
    """A tracker that is told until it fails, which is told once; the run goes on."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        self.name = name
        self._tracker: Tracker | None = tracker

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        if self._tracker is not None:
            try:
                self._tracker.numbers(arm, step, values)
            except Exception as error:
                self._failed(error)

    def score(self, arm: str, name: str, value: float) -> None:
        if self._tracker is not None:
            try:
                self._tracker.score(arm, name, value)
            except Exception as error:
                self._failed(error)

    def close(self) -> None:
        if self._tracker is not None:
            try:
                self._tracker.close()
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        tell(f"tracker {self.name}: failed ({_why(error)}); the run goes on without it")
        self._tracker = None
