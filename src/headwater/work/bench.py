"""The bench: one encoder on one task, opened, for protocols to measure with."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import nn

from headwater import models, recipes
from headwater.methods.text import TextTower, load_text
from headwater.plan import PlannedArm
from headwater.sources import Positions
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.study import identity
from headwater.tasks import Draw, Task
from headwater.transfer import protocols
from headwater.transfer.features import kept_features
from headwater.transfer.finetune import Split
from headwater.transfer.probe import Fit
from headwater.work.session import Session


class Bench(protocols.Bench):
    """Features are computed once, when the first cell asks for them, and kept in a file."""

    def __init__(self, session: Session, arm: PlannedArm, task_name: str) -> None:
        study = session.plan.study
        self.session, self.arm, self.task_name = session, arm, task_name
        self.plan, self.store, self.compute = session.plan, session.store, session.compute
        self.task: Task = self.plan.tasks[task_name]
        self.asked = study.protocols
        self.seed, self.image_size = arm.words.seed, study.image_size
        self.record = self.store.read_arm(arm.id)
        self.positions = np.unique(np.concatenate([self.task.train, self.task.val, self.task.test]))
        """Table positions of the images of `pixels`, ascending."""
        self.pixels = session.pixels(study.tasks[task_name].data).subset(self.positions)

    @property
    def trained(self) -> bool:
        """Whether the arm's pre-training ended well; otherwise there is no encoder to measure."""
        return bool(self.record["status"] == "done")

    @cached_property
    def encoder(self) -> nn.Module:
        folder = self.store.arm_folder(self.arm.id)
        return models.trained_encoder(folder, self.record["encoder_sha256"])

    @cached_property
    def text(self) -> TextTower:
        return load_text(self.store.arm_folder(self.arm.id))

    def rows_of(self, positions: Positions) -> NDArray[np.int64]:
        return np.searchsorted(self.positions, positions)

    def features(self, positions: Positions) -> NDArray[np.float32]:
        return self._features[self.rows_of(positions)]

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        """float32 [n, d] of the images of `pixels`."""
        meaning = {
            "arm": self.arm.id,
            "encoder": self.record["encoder_sha256"],
            "images": self.task.source.fingerprint(self.positions),
            "precision": self.compute.fingerprint,
            "rooms": recipes.versions_of(recipes.FEATURE_ROOMS, pixels=PIXELS),
        }
        return kept_features(
            self.store.cache / "features" / identity(meaning),
            self.encoder,
            self.pixels,
            image_size=self.image_size,
            compute=self.compute,
        )

    def split(self, positions: Positions) -> Split:
        return Split(
            self.rows_of(positions), self.task.labels[positions], self.task.source.hashes[positions]
        )

    def fit(self, draw: Draw) -> Fit:
        labels = self.task.labels
        return Fit(
            self.features(draw.train), labels[draw.train], self.features(draw.val), labels[draw.val]
        )
