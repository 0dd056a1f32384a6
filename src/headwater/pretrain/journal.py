"""What a run remembers of its steps: losses, gradient norms, looks of the online probe; and the
curve that is made of them.
"""

from __future__ import annotations

import bisect
import json
from pathlib import Path

import numpy as np
import torch

from headwater import optim
from headwater.loader import Order
from headwater.study import Recipe

_POINTS = 100


class Journal:
    """The steps of one run so far.

    The curve has about 100 points, each over the stretch of steps since the one before: `step` and
    `images` at its end, the mean `loss`, the learning rate `lr` of its last step, the mean
    `grad_norm` before clipping (where gradients are clipped), `images_per_s`; and `knn` where the
    online probe looked. All but images_per_s are the same bits whatever the number of kills and
    loader workers.
    """

    def __init__(self, order: Order, recipe: Recipe, looks: int) -> None:
        self.steps, self.batch, self._images = (
            order.steps,
            round(order.images / order.steps),
            order.images,
        )
        self._lr, self._warmup, self._schedule = recipe.lr, recipe.warmup, recipe.schedule
        self._edges: list[int] = np.unique(
            np.linspace(0, order.steps, min(order.steps, _POINTS) + 1).astype(int)
        ).tolist()
        self._looks = {-(-order.steps * (i + 1) // looks) for i in range(looks)}
        self.losses: list[float] = []
        self._norms: list[float] = []
        self._seconds: dict[int, float] = {}
        self._knn: dict[int, float] = {}

    def lr(self, step: int) -> float:
        """The learning rate of a step (0-based)."""
        return self._lr * optim.lr_factor(
            step, self.steps, warmup=self._warmup, schedule=self._schedule
        )

    def note(self, loss: float, norm: float | None, seconds: float) -> None:
        """The next step's loss and gradient norm, `seconds` after the start of the run."""
        self.losses.append(loss)
        self._norms.append(np.nan if norm is None else norm)
        if self.ends_a_stretch(len(self.losses)):
            self._seconds[len(self.losses)] = seconds

    def looks_at(self, step: int) -> bool:
        """Whether the online probe looks after so many steps."""
        return step in self._looks

    def looked(self, step: int, value: float) -> None:
        self._knn[step] = value

    @property
    def last_knn(self) -> float | None:
        return self._knn[max(self._knn)] if self._knn else None

    def ends_a_stretch(self, step: int) -> bool:
        at = bisect.bisect_left(self._edges, step)
        return at < len(self._edges) and self._edges[at] == step

    def last_loss(self, step: int | None = None) -> float:
        """Mean loss over the last tenth of the first `step` steps; of all when left out."""
        losses = self.losses[:step]
        return float(np.mean(losses[-max(1, len(losses) // 10) :]))

    def curve(self) -> list[dict[str, float]]:
        points: dict[int, dict[str, float]] = {}
        for a, b in zip(self._edges, self._edges[1:], strict=False):
            if b > len(self.losses):
                break
            images = [step * self._images // self.steps for step in (a, b)]
            point = {
                "step": b,
                "images": images[1],
                "loss": float(np.mean(self.losses[a:b])),
                "lr": self.lr(b - 1),
            }
            norm = float(np.mean(self._norms[a:b]))
            if np.isfinite(norm):
                point["grad_norm"] = norm
            took = self._seconds.get(b, np.nan) - (self._seconds.get(a, np.nan) if a else 0.0)
            if took > 0:
                point["images_per_s"] = (images[1] - images[0]) / took
            points[b] = point
        for step, value in self._knn.items():
            points.setdefault(step, {"step": step, "images": step * self._images // self.steps})[
                "knn"
            ] = value
        return [points[step] for step in sorted(points)]

    def pack(self) -> dict[str, torch.Tensor]:
        """All of it as float64 tensors, for a checkpoint."""
        tables = {
            "journal.seconds": _by_step(self._seconds),
            "journal.knn": _by_step(self._knn),
        }
        lists = {"journal.losses": self.losses, "journal.norms": self._norms}
        return {
            **tables,
            **{name: torch.tensor(values, dtype=torch.float64) for name, values in lists.items()},
        }

    def unpack(self, tensors: dict[str, torch.Tensor]) -> None:
        self.losses, self._norms = (
            tensors["journal.losses"].tolist(),
            tensors["journal.norms"].tolist(),
        )
        self._seconds = _as_dict(tensors["journal.seconds"])
        self._knn = _as_dict(tensors["journal.knn"])


def write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    """The curve as JSON lines."""
    path.write_text("".join(json.dumps(point) + "\n" for point in curve))


def _by_step(values: dict[int, float]) -> torch.Tensor:
    """float64 [n, 2]: steps and their values."""
    return torch.tensor(list(values.items()), dtype=torch.float64).reshape(-1, 2)


def _as_dict(table: torch.Tensor) -> dict[int, float]:
    """The inverse of `_by_step`."""
    return {int(step): value for step, value in table.tolist()}
