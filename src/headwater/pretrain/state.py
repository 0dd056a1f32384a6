"""The state of a run on disk: from where it goes on, and when it is written."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch

from headwater import checkpoint
from headwater.device import Compute
from headwater.optim import Ema
from headwater.pretrain.journal import Journal, write_curve
from headwater.pretrain.scale import Wrapped, spread

LIVE = "metrics.jsonl"
_LIVE_EVERY_S = 1.0
_ASK_EVERY = 10
"""Steps after which several ranks agree whether a checkpoint is due: their clocks differ."""


class State:
    """Weights, optimiser, average and journal of one run.

    As a context manager it ends when all that was to be written is on disk.
    """

    def __init__(
        self,
        wrapped: Wrapped,
        optimiser: torch.optim.Optimizer,
        ema: Ema | None,
        journal: Journal,
        folder: Path,
        compute: Compute,
    ) -> None:
        self._wrapped, self._optimiser, self._ema, self._journal = wrapped, optimiser, ema, journal
        self._folder, self._compute = folder, compute
        self._writer = checkpoint.Writer(folder)
        self._before = 0.0
        self._began = self._saved = self._shown = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, that of earlier attempts included."""
        return self._before + time.monotonic() - self._began

    def resume(self) -> int:
        """The step to go on at.

        What another kind of machine began is begun anew, since its bits would be neither's.
        """
        found, ranks = checkpoint.latest(self._folder), self._wrapped.ranks
        if ranks.size > 1:  # the first rank's look at the disk counts
            (step,) = ranks.agreed([-1 if found is None else found[0]])
            if step != (-1 if found is None else found[0]):
                if step >= 0:
                    raise RuntimeError(
                        f"{self._folder}: rank {ranks.rank} does not see the checkpoint of step "
                        f"{step} that rank 0 sees; all need one disk"
                    )
                found = None
        if found is None or found[2].get("fingerprint") != self._compute.fingerprint:
            return 0
        step, tensors, meta = found
        self._wrapped.load_full_state(
            {name[len("model.") :]: t for name, t in tensors.items() if name.startswith("model.")}
        )
        checkpoint.unpack_optimiser(self._optimiser, self._spread_moments(tensors))
        if self._ema is not None:
            like = self._ema.state_dict()
            self._ema.load_state_dict(
                {name: spread(tensors[f"ema.{name}"], t) for name, t in like.items()}
            )
        self._journal.unpack(tensors)
        self._before = float(meta["seconds"])
        return step

    def _spread_moments(self, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """An optimiser's moments, spread as their parameters are."""
        parameters = [p for group in self._optimiser.param_groups for p in group["params"]]
        found = {}
        for name, t in tensors.items():
            if name.startswith("optimiser."):
                like = parameters[int(name.split(".")[1])]
                found[name] = spread(t, like) if t.shape == like.shape and t.ndim else t
        return found

    def due(self, step: int, every_s: float, every_steps: int | None) -> bool:
        """Whether a checkpoint should be written after so many steps: the same answer on every
        rank.
        """
        due = time.monotonic() - self._saved > every_s
        ranks = self._wrapped.ranks
        if ranks.size > 1 and step % _ASK_EVERY == 0:
            due = ranks.total(float(due and ranks.rank == 0)) > 0
        elif ranks.size > 1:
            due = False
        return due or (every_steps is not None and step % every_steps == 0)

    def told_to_stop(self, step: int, stop: Callable[[], bool]) -> bool:
        """Whether training is to end after so many steps: the same answer on every rank."""
        ranks = self._wrapped.ranks
        if ranks.size == 1:
            return stop()
        return step % _ASK_EVERY == 0 and ranks.total(float(stop())) > 0

    def save(self, step: int) -> None:
        """The state after so many steps, all of whose losses were noted."""
        assert len(self._journal.losses) == step
        tensors = {f"model.{name}": t for name, t in self._wrapped.method.net.state_dict().items()}
        tensors |= checkpoint.pack_optimiser(self._optimiser)
        if self._ema is not None:
            tensors |= {f"ema.{name}": t for name, t in self._ema.state_dict().items()}
        tensors = self._wrapped.gathered(tensors)
        if self._wrapped.ranks.rank == 0:
            self._writer.save(
                step,
                {**tensors, **self._journal.pack()},
                {"seconds": self.seconds, "fingerprint": self._compute.fingerprint},
            )
        self._saved = time.monotonic()

    def write_live(self, *, now: bool = False) -> None:
        """The curve so far, beside the checkpoints: for people who look while it runs, so once a
        second is enough and a lost one is no loss.
        """
        if self._wrapped.ranks.rank == 0 and (
            now or time.monotonic() - self._shown > _LIVE_EVERY_S
        ):
            self._shown = time.monotonic()
            with contextlib.suppress(
                OSError
            ):  # a full disk; or another process finished this arm, and removed the folder
                self._folder.mkdir(parents=True, exist_ok=True)
                write_curve(self._folder / f".{LIVE}.tmp", self._journal.curve())
                (self._folder / f".{LIVE}.tmp").replace(self._folder / LIVE)

    def __enter__(self) -> State:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)
