"""A study that is done in a second, and what must hold of its store whatever happened to it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.rows import CELL_FILE
from tests.conftest import tiny, write_study
from tests.reliability.fork_server import Server, Setting

PATIENCE_S = 300.0


def words(steps: int = 8, **changes: Any) -> dict[str, Any]:
    """Two arms, one of which is trained, and two cells."""
    study = tiny(
        methods=["scratch", "supervised"],
        protocols={"probe": {"shots": ["full"]}},
        budget={"steps": steps},
        **changes,
    )
    for data in study["data"].values():
        data.update(train=48, val=24, test=24)
    return study


@dataclass(frozen=True)
class Place:
    """A study, and a folder for stores and for what is said of them."""

    server: Server
    folder: Path
    study: Path

    @classmethod
    def made(cls, server: Server, folder: Path, study: dict[str, Any]) -> Place:
        folder.mkdir(parents=True, exist_ok=True)
        return cls(server, folder, write_study(folder / "study.yaml", study))

    def setting(self, store: Path, *command: str, **more: Any) -> Setting:
        """`hw.run` of the study in one process unless another command is given."""
        arguments = list(command) or ["hw.run", str(self.study), str(store), "inline", "1"]
        more.setdefault("log", str(self.folder / f"{store.name}.log"))
        return Setting(arguments, folder=str(self.folder), store=str(store), **more)

    def shared(self, store: Path) -> list[str]:
        """The command for `hw.run` with two worker processes; they take `spares`."""
        return ["hw.run", str(self.study), str(store), "local", "2"]

    def whole(self, store: Path, *more: str) -> list[str]:
        """The command for `headwater run`, with its report."""
        to = ["--store", str(store), "--device", "cpu", "--engine", "inline", "--quiet"]
        return ["run", str(self.study), *to, *more]

    def run(self, store: Path, *command: str, **more: Any) -> int:
        return self.server.start(self.setting(store, *command, **more)).wait(PATIENCE_S)

    def said(self, store: Path) -> str:
        path = self.folder / f"{store.name}.log"
        return path.read_text() if path.exists() else ""


def finished_files(store: Path) -> dict[str, tuple[int, int, str]]:
    """Inode, time of modification and SHA-256 of every file of what is finished."""
    arms = [path.parent for path in store.glob("arms/[!.]*/arm.json")]
    files = [path for path in store.glob("rows/*.json") if CELL_FILE.fullmatch(path.name)]
    answers = [store / "answers" / f"{path.stem}.npy" for path in files]
    files += [path for path in answers if path.exists()]
    for arm in arms:
        files += arm.iterdir()
    found = {}
    for path in files:
        if not path.name.endswith(".failed.json"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            state = path.stat()
            found[str(path.relative_to(store))] = state.st_ino, state.st_mtime_ns, digest
    return found
