"""Checkpoints of an arm go to an object store while it is trained, and come from there."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

from headwater import digests
from headwater.errors import InputError
from headwater.objects import Objects

SEND_EVERY_S = 5.0
"""How often it is looked whether there is a new checkpoint to send [ours]."""


class Sending:
    """Sends checkpoints of one arm while it is trained."""

    def __init__(self, objects: Objects, root: Path, folder: Path) -> None:
        """`folder` lies below `root`, as the objects below their address."""
        self._objects, self._folder = objects, folder
        self._top = str(folder.relative_to(root))
        self._sent: dict[str, tuple[int, int]] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go, name="checkpoints", daemon=True)

    def bring(self) -> None:
        """Those that are there and not here, or were written later than what is here."""
        heads = {head.name.rpartition("/")[2]: head for head in self._objects.list(self._top)}
        here = {path.name for path in self._files()}
        lacking = {name: head for name, head in heads.items() if name not in here}
        self._objects.bring_all(
            {
                head.name: self._folder / name
                for name, head in sorted(lacking.items(), key=lambda each: _last(each[0]))
            }
        )
        self._sent = {path.name: _state(path) for path in self._files() if path.name in heads}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends what is left; where the object store is away, the next one begins earlier."""
        self._ended.set()
        self._thread.join()
        with suppress(InputError):
            self._send()

    def _go(self) -> None:
        while not self._ended.wait(SEND_EVERY_S):
            try:
                self._send()
            except InputError as error:
                digests.tell(f"{error}; checkpoints are sent later")

    def _send(self) -> None:
        present = {path.name: path for path in self._files()}
        for name in sorted(present, key=_last):
            with suppress(FileNotFoundError):  # made room for a newer one
                state = _state(present[name])
                if self._sent.get(name) != state:
                    self._objects.put(f"{self._top}/{name}", present[name])
                    self._sent[name] = state
        for name in sorted(self._sent.keys() - present.keys(), key=_last, reverse=True):
            self._objects.remove(f"{self._top}/{name}")
            del self._sent[name]

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.iterdir() if path.name[0] != "." and path.is_file()]


def _last(name: str) -> tuple[bool, str]:
    """Records after the tensors that they name."""
    return name.endswith(".json"), name


def _state(path: Path) -> tuple[int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns
