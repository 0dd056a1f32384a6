"""A worker process: takes units as JSON lines on stdin, answers with events as JSON lines on
stdout.

Started as `python -m headwater.engines.worker`, so that a script or notebook that runs a study
needs no main guard. It ends when stdin closes, at once and wherever it is: so no worker outlives a
parent that was killed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.pretrain import Progress


def _read(messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        messages.put(json.loads(line))
    os._exit(0)


class Worker:
    """Resolves the study once, then works unit after unit."""

    def __init__(self, setting: dict[str, Any], out: TextIO) -> None:
        import torch

        from headwater import device
        from headwater.plan import Plan
        from headwater.store import Store
        from headwater.study import Study

        torch.set_num_threads(setting["threads"])
        device.be_deterministic()
        self._out = out
        self._store = Store(setting["store"])
        root = setting["data_root"]
        self._plan = Plan.make(
            Study.model_validate(setting["study"]),
            data_root=Path(root) if root else None,
            cache=self._store.cache,
        )
        self._arms = {arm.id: arm for arm in (*self._plan.arms, *self._plan.supports)}
        self._compute = dataclasses.replace(
            device.resolve(setting["device"], self._plan.study.precision),
            compiled=setting["compiled"],
        )
        self._checkpoint_every_s = float(setting["checkpoint_every_s"])

    def tell(self, event: str, **fields: Any) -> None:
        _say(self._out, event, **fields)

    def _progress(self, progress: Progress) -> None:
        self.tell("progress", **vars(progress))

    def work(self, unit: dict[str, Any]) -> None:
        """One unit: train an arm, or measure the cells of one arm on one task.

        A failure is told, not raised.
        """
        from headwater import work

        arm = self._arms[unit["arm"]]
        try:
            if unit["task"] is None:
                work.run_arm(
                    self._plan,
                    arm,
                    self._store,
                    self._compute,
                    self._progress,
                    checkpoint_every_s=self._checkpoint_every_s,
                )
            else:
                wanted = set(unit["cells"])
                cells = list(
                    {cell.id: cell for cell in self._plan.cells if cell.id in wanted}.values()
                )
                plain = dataclasses.replace(
                    self._compute, compiled=False
                )  # nothing is compiled for a measurement
                work.run_cells(
                    self._plan,
                    arm,
                    unit["task"],
                    cells,
                    self._store,
                    plain,
                    lambda cell: self.tell("cell", cell=cell),
                )
        except Exception as error:
            if not isinstance(error, InputError):
                traceback.print_exc()
            self.tell(
                "failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            )
        else:
            self.tell("finished")


class NetworkWorker:
    """Works the networks of a study of the theory."""

    def __init__(self, setting: dict[str, Any], out: TextIO) -> None:
        import torch

        from headwater import work
        from headwater.store import Store
        from headwater.study.theory import TheoryStudy

        torch.set_num_threads(setting["threads"])
        self._out, self._store = out, Store(setting["store"])
        study = TheoryStudy.model_validate(setting["theory"])
        self._study, self._networks = study.study, {one.id: one for one in work.networks(study)}

    def tell(self, event: str, **fields: Any) -> None:
        _say(self._out, event, **fields)

    def work(self, unit: dict[str, Any]) -> None:
        """One unit: networks that are trained side by side, as far as they have one shape.

        A failure is told, not raised.
        """
        from headwater import work

        try:
            wanted = [self._networks[network] for network in unit["networks"]]
            work.run_networks(
                wanted,
                self._study,
                self._store,
                lambda network: self.tell("network", network=network),
            )
        except Exception as error:
            traceback.print_exc()
            self.tell(
                "failed", reason=f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
            )
        else:
            self.tell("finished")


def _say(out: TextIO, event: str, **fields: Any) -> None:
    out.write(json.dumps({"event": event, **fields}) + "\n")
    out.flush()


def main() -> None:
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not reach the parent as an event
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    setting = messages.get()
    try:
        worker = NetworkWorker(setting, out) if "theory" in setting else Worker(setting, out)
    except InputError as error:  # data that changed since the parent looked, say
        _say(out, "refused", reason=str(error))
        return
    worker.tell("ready")
    while True:
        worker.work(messages.get())


if __name__ == "__main__":
    main()
