"""The rows of a cell in the common schema (docs/rows.md)."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from headwater import device
from headwater.machine import processor
from headwater.rows import SCHEMA_VERSION
from headwater.store import Store
from headwater.study.words import canonical, identity
from headwater.theory.simulation.measuring import errors, responses
from headwater.theory.simulation.model import World
from headwater.theory.simulation.training import Run
from headwater.theory.work.crossing import without_hard
from headwater.theory.work.networks import RESPONSES, Network, Reading
from headwater.work.fields import attempt

Row = dict[str, Any]


@dataclass(frozen=True)
class Cell:
    """A network read in one way, for a study and a store."""

    network: Network
    reading: Reading
    study: str
    store: Store

    def rows(self, run: Run, tuned: Callable[[str, int], tuple[Run, str]]) -> list[Row]:
        """The rows of the trained network.

        `tuned(read_out, steps)` is `headwater.theory.simulation.measuring.read` of the run. A cell
        that cannot be read has failed by itself: a finite set without a sample of a superclass has
        nothing to tune, say.
        """
        if run.diverged:
            reason = f"the loss was no longer finite at step {run.step}"
            return [self._unmeasured(run, "diverged", reason)]
        if self.reading.protocol == RESPONSES:
            return self._response_rows(run)
        try:
            tested, read_out = tuned(self.reading.protocol, self.reading.tune_steps)
        except ValueError as error:
            return [self._unmeasured(run, "failed", str(error))]
        shares = errors(tested, self.reading.world, read_out, self.reading.test_samples)
        measured = self._fields(run) | {"metric": "top1", "status": "done"}
        return [
            measured | {"subset": subset, "value": 1 - error, "n_test": self.reading.test_samples}
            for subset, error in shares.items()
        ]

    def failed(self, reason: str) -> Row:
        """The row of a network that was not trained."""
        return self._unmeasured(None, "failed", reason)

    def _response_rows(self, run: Run) -> list[Row]:
        measured = self._fields(run) | {"subset": "all", "status": "done"}
        rows = []
        for name, value in responses(run).items():
            share = name.endswith(("neurons", "detected"))
            metric = name if share else f"response_{name}"
            rows.append(measured | {"metric": metric, "value": value})
        return rows

    def _unmeasured(self, run: Run | None, status: str, reason: str) -> Row:
        metric = "common_neurons" if self.reading.protocol == RESPONSES else "top1"
        return self._fields(run) | {
            "metric": metric,
            "subset": "all",
            "status": status,
            "reason": reason,
        }

    def _fields(self, run: Run | None) -> Row:
        """What all rows of the cell share; `run` is None where nothing was trained."""
        experiment, reading = self.network.experiment, self.reading
        recipe = experiment.recipe
        precision = "fp64" if experiment.dtype == torch.float64 else "fp32"
        threads = torch.get_num_threads()
        return {
            "cell": reading.id,
            "arm": self.network.id,
            "study": self.study,
            "schema": SCHEMA_VERSION,
            "method": "supervised",
            "source": _source_name(experiment.world),
            "source_fingerprint": identity(asdict(experiment.world)),
            "unique_images": recipe.train_samples,
            "labels": experiment.labels,
            "num_labels": experiment.heads,
            "label_noise": recipe.label_noise or None,
            "constants": canonical(asdict(reading.world)),
            **self._trained(run),
            "backbone": "relu-patches",
            "batch": recipe.batch,
            "optimiser": "sgd",
            "lr": recipe.lr,
            "recipe": canonical(self._recipe()),
            "loss": "softmax",
            "seed": experiment.seed,
            "task": _task(reading),
            "task_labels": "coarse",
            "task_classes": 2,
            "protocol": reading.protocol,
            "precision": precision,
            "fingerprint": f"cpu {precision} threads={threads} {processor()}",
            "versions": device.versions(),
            "commit": device.commit(),
            "host": platform.node(),
            "attempt": attempt(self.store, reading.id),
        }

    def _recipe(self) -> dict[str, Any]:
        """Training, the look and the steps of tuning."""
        experiment, reading = self.network.experiment, self.reading
        recipe = asdict(experiment.recipe) | {"width": experiment.width}
        if reading.step is not None:
            recipe["look"] = reading.step
        if reading.tune_steps:
            recipe["tune_steps"] = reading.tune_steps
        return recipe

    def _trained(self, run: Run | None) -> Row:
        """How far training had come."""
        unknown = ("images_seen", "epochs", "steps", "pretrain_flops", "pretrain_loss")
        if run is None:
            return dict.fromkeys(unknown)
        recipe = self.network.experiment.recipe
        images_seen = run.step * recipe.batch
        return {
            "images_seen": images_seen,
            "epochs": images_seen / recipe.train_samples if recipe.train_samples else None,
            "steps": run.step,
            "pretrain_flops": self.network.flops * (run.step + 1),
            "pretrain_loss": None if run.diverged else run.train_loss,
        }


def _task(reading: Reading) -> str:
    if reading.protocol == RESPONSES:
        return "neurons"
    world = reading.world
    return f"superclass sigma_star={world.sigma_star:g} alpha_dagger={world.alpha_dagger:g}"


def _source_name(world: World) -> str:
    """k, and what else of the training data is not the default: equal names are equal data."""
    usual = without_hard(World(k=world.k, d=max(World.d, 2 + 2 * world.k)))
    words = [f"simulated k={world.k}"]
    for name, value in asdict(world).items():
        if value != getattr(usual, name) and name != "k":
            words.append(f"{name}={value:g}")
    return " ".join(words)
