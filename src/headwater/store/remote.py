"""A store that lies in an object store: s3://, gs:// or az:// and a folder.

    <address>/headwater-store.json
    <address>/rows/, answers/, studies/, decisions/      files as in a folder
    <address>/arms/<arm id>/arm.json                     as in a folder, made by a conditional put
    <address>/arms/<arm id>/<digest>-<name>              the files that it names
    <address>/labels/<id>/, partial/<arm id>/, leases/

Nothing can be renamed there, so a whole is made of files whose names say their content, and of a
record that comes last. This machine keeps a copy of what it wrote and asked for, encoders above
all, in the user's cache (HEADWATER_STORE_CACHE names another folder); processes of one machine
share it. Decoded pixels, features and logs stay on this machine. What was written here and could
not be sent (the network was away, the process was killed) is noted before, and sent when the store
is opened again.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater import digests, files
from headwater.errors import InputError
from headwater.objects import Head
from headwater.rows import CELL_FILE, FAILED
from headwater.store.cells import FinishedCell
from headwater.store.copied import CopiedStore
from headwater.store.folder import are_files
from headwater.store.sending import Sending

if TYPE_CHECKING:
    import pandas as pd

_LIST_EVERY_S = 1.0
_SHARE = 0.1
"""Of the time, what listing rows may take [ours]."""


class ObjectStore(CopiedStore, at_addresses=True):
    """As `Store`, at an address; `root` is this machine's copy."""

    rows_are_here = False

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        super().__init__(root, create=create)
        self._listed: dict[str, Head] = {}
        self._listed_at, self._listing_took = -1e9, 0.0
        self._own = set[str]()
        """Names of rows that this process has sent, or seen there since it listed them."""
        self._brought = set[str]()
        """Arms whose copies are known to be those that are there."""
        self._sure_arms = set[str]()
        """Arms that were seen there: one that is finished stays, but for --redo."""
        self._send_again()

    def gone(self, path: Path) -> None:
        super().gone(path)
        self._sure_arms.discard(path.name)
        self._brought.discard(path.name)

    # arms
    def has_arm(self, arm_id: str) -> bool:
        name = f"arms/{arm_id}/{_ARM}"
        if super().has_arm(arm_id) and arm_id in self._sure_arms:
            return True
        there = self.objects.head(name) is not None
        if there:
            self._sure_arms.add(arm_id)
        return there

    def all_arms(self) -> set[str]:
        names = [head.name for head in self.objects.list("arms")]
        arms = {name.split("/")[1] for name in names if name.endswith(f"/{_ARM}")}
        self._sure_arms |= arms
        return arms

    def read_arm(self, arm_id: str) -> dict[str, Any]:
        self._bring_arm(arm_id)
        return super().read_arm(arm_id)

    def arm_file(self, arm_id: str, name: str) -> bytes:
        self._bring_arm(arm_id)
        return super().arm_file(arm_id, name)

    def arm_folder(self, arm_id: str) -> Path:
        self._bring_arm(arm_id)
        return super().arm_folder(arm_id)

    def _bring_arm(self, arm_id: str) -> None:
        """Keeps a whole arm here, the one that is there now: once for each process. Raises
        InputError where what is there is damaged.
        """
        if arm_id in self._brought:
            return
        said = self.objects.get(f"arms/{arm_id}/{_ARM}")
        if said is None:
            if not self._is_unsent(self.arms / arm_id):
                files.remove_folder(self.arms / arm_id)  # forgotten by --redo elsewhere
            return
        held = _files_of(said)
        if held is None:
            raise self._damaged_arm(arm_id, _ARM)
        if not self._has_copy(arm_id, said, held):
            names = {_by_content(arm_id, name, sha): name for name, sha in held.items()}
            files.remove_folder(self.arms / arm_id)
            with files.atomic_folder(self.arms / arm_id) as folder:
                self.objects.bring_all({there: folder / name for there, name in names.items()})
                for name, sha in held.items():
                    if not _is_whole(folder / name, sha):
                        raise self._damaged_arm(arm_id, name)
                (folder / _ARM).write_bytes(said)
        self._brought.add(arm_id)

    def _has_copy(self, arm_id: str, said: bytes, held: Mapping[str, str]) -> bool:
        folder = self.arms / arm_id
        try:
            same = (folder / _ARM).read_bytes() == said
        except OSError:
            return False
        return same and all(_is_whole(folder / name, sha) for name, sha in held.items())

    def _damaged_arm(self, arm_id: str, name: str) -> InputError:
        return InputError(
            f"{self._address}/arms/{arm_id}: {name} of this arm is damaged there; `headwater run "
            f"STUDY --redo {arm_id}` trains it again, and `headwater gc {self._address}` removes it"
        )

    @contextmanager
    def writing_arm(self, arm_id: str) -> Iterator[Path]:
        if not self.has_arm(arm_id):
            files.remove_folder(self.arms / arm_id)
        with self._noted(self.arms / arm_id):
            with files.atomic_folder(self.arms / arm_id) as folder:
                yield folder
            self._send_arm(arm_id)

    def _send_arm(self, arm_id: str) -> None:
        """Its record last, and only where there is none: of two who trained it, one is kept."""
        folder = self.arms / arm_id
        record = (folder / _ARM).read_bytes()
        held = digests.opened(record)["files"]
        self.objects.put_all(
            {
                _by_content(arm_id, name, digest): folder / name
                for name, digest in sorted(held.items())
            }
        )
        if not self.objects.create(f"arms/{arm_id}/{_ARM}", record):
            files.remove_folder(folder)  # the other's comes when it is asked for
        self._sure_arms.add(arm_id)

    def progress_of(self, arm_id: str) -> str:
        names = [head.name for head in self.objects.list(f"partial/{arm_id}")]
        return max((name for name in names if name.endswith(".json")), default="")

    def drop_checkpoints(self, arm_id: str) -> None:
        super().drop_checkpoints(arm_id)
        self.objects.remove_all(head.name for head in self.objects.list(f"partial/{arm_id}"))

    def drop_arm(self, arm_id: str) -> None:
        self.gone(self.arms / arm_id)
        super().drop_arm(arm_id)

    @contextmanager
    def training(self, arm_id: str) -> Iterator[Path]:
        """Checkpoints that others sent are brought here first; those that are written meanwhile are
        sent.
        """
        folder = self.checkpoints(arm_id)
        sending = Sending(self.objects, self.root, folder)
        sending.bring()
        sending.start()
        try:
            yield folder
        finally:
            sending.stop()

    # labels
    def write_labels(
        self, labels_id: str, codes: NDArray[np.int64], ids: Sequence[str], about: Mapping[str, Any]
    ) -> None:
        with self._noted(self.labels / labels_id):
            super().write_labels(labels_id, codes, ids, about)
            self._send_labels(labels_id)

    def _send_labels(self, labels_id: str) -> None:
        folder = self.labels / labels_id
        for name in ("codes.npy", "ids.txt", "labels.json"):
            self.objects.put(f"labels/{labels_id}/{name}", folder / name)

    def all_labels(self) -> set[str]:
        return {labels for labels in self.objects.folders("labels") if self.has_labels(labels)}

    def labels_record(self, labels_id: str) -> dict[str, Any]:
        self._bring_labels(labels_id)
        return super().labels_record(labels_id)

    def has_labels(self, labels_id: str) -> bool:
        if super().has_labels(labels_id):
            return True
        return self.objects.head(f"labels/{labels_id}/labels.json") is not None

    def read_labels(self, labels_id: str, images: int) -> NDArray[np.int64] | None:
        self._bring_labels(labels_id)
        return super().read_labels(labels_id, images)

    def _bring_labels(self, labels_id: str) -> None:
        said = self.objects.get(f"labels/{labels_id}/labels.json")
        own = self.labels / labels_id
        if said is None or (own.is_dir() and (own / "labels.json").read_bytes() == said):
            return
        files.remove_folder(own)
        with files.atomic_folder(self.labels / labels_id) as folder:
            names = ("codes.npy", "ids.txt", "labels.json")
            self.objects.bring_all({f"labels/{labels_id}/{name}": folder / name for name in names})

    def drop_labels(self, labels_id: str) -> None:
        self.gone(self.labels / labels_id)
        super().drop_labels(labels_id)

    # rows
    def write_rows(self, cell_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        is_failed = any(row["status"] == "failed" for row in rows)
        name = f"{cell_id}{FAILED if is_failed else '.json'}"
        with self._noted(self.rows / name):
            super().write_rows(cell_id, rows)
            self.objects.put(f"rows/{name}", self.rows / name)
        self._own.add(name)
        if not is_failed and f"{cell_id}{FAILED}" in self._names():
            self.objects.remove(f"rows/{cell_id}{FAILED}")

    def write_cells(self, cells: Sequence[FinishedCell]) -> None:
        answers = [self.answers / f"{cell.id}.npy" for cell in cells if cell.right is not None]
        rows = [self.rows / f"{cell.id}.json" for cell in cells]
        with ExitStack() as noted:
            for path in (*answers, *rows):
                noted.enter_context(self._noted(path))
            super().write_cells(cells)
            for part in (answers, rows):
                names = {str(path.relative_to(self.root)): path for path in part}
                self.objects.put_all(names)
            self._date(self.objects.heads(str(path.relative_to(self.root)) for path in rows))
            for path in rows:
                self._kept.note(path.name)
        self._own |= {path.name for path in rows}
        failed = {f"{cell.id}{FAILED}" for cell in cells} & self._names()
        self.objects.remove_all(f"rows/{name}" for name in failed)

    def has_cell(self, cell_id: str) -> bool:
        name = f"{cell_id}.json"
        if name in self._own or name in self._listed:
            return True
        if self.objects.head(f"rows/{name}") is None:
            return False
        self._own.add(name)
        return True

    def failure(self, cell_id: str) -> tuple[int, ...] | None:
        self._names()
        head = self._listed.get(f"{cell_id}{FAILED}")
        if head is None:
            return None
        return head.bytes, int(head.changed * 1e9), zlib.crc32(head.tag.encode())

    def reason_of_failure(self, cell_id: str) -> str:
        self.objects.bring(f"rows/{cell_id}{FAILED}", self.rows / f"{cell_id}{FAILED}")
        return super().reason_of_failure(cell_id)

    def refresh(self) -> None:
        self._listed_at = -1e9

    def bring_everything(self) -> list[tuple[Path, str]]:
        damaged = []
        for folder in ("rows", "answers"):
            self.came(folder)
        for labels in self.all_labels():
            self._bring_labels(labels)
        for arm in sorted(self.all_arms()):
            try:
                self._bring_arm(arm)
            except InputError as error:
                damaged.append((self.arms / arm, str(error)))
        return damaged

    def _names(self) -> set[str]:
        now = time.monotonic()
        if now - self._listed_at > max(_LIST_EVERY_S, self._listing_took / _SHARE):
            heads = self.objects.list("rows")
            listed = {head.name.rpartition("/")[2]: head for head in heads}
            self._listed = {
                name: each for name, each in listed.items() if CELL_FILE.fullmatch(name)
            }
            self._listed_at, self._listing_took = time.monotonic(), time.monotonic() - now
        return set(self._listed) | self._own

    def _outdated(self, names: Iterable[str]) -> Set[str]:
        heads = {name: self._listed.get(name) for name in names}
        return {name for name, head in heads.items() if head is not None and self._is_other(head)}

    def finished_within(self, seconds: float) -> int:
        self._names()
        now = time.time()  # clocks may differ, so that the newest one is no later than now
        newest = max((head.changed for head in self._listed.values()), default=now)
        since = max(now, newest) - seconds
        return sum(head.changed > since for head in self._listed.values())

    def bring_rows(self, cells: Iterable[str]) -> None:
        """Brings here the rows of cells that are not kept, and failures, which are others each
        time.
        """
        self.refresh()
        self._names()
        wanted: dict[str, Head] = {}
        for cell in cells:
            for name in (f"{cell}.json", f"{cell}{FAILED}"):
                head = self._listed.get(name)
                if head is None:
                    if name not in self._own:
                        (self.rows / name).unlink(missing_ok=True)
                elif self._is_other(head):
                    wanted[head.name] = head
        self.objects.bring_all({name: self.root / name for name in wanted})
        self._date(wanted.values())

    def rows_of(self, cells: Iterable[str], only: Collection[str] | None = None) -> pd.DataFrame:
        asked = list(cells)
        self.bring_rows(asked)
        return super().rows_of(asked, only)

    def set_aside_damaged(self, cells: Iterable[str]) -> list[str]:
        asked = list(cells)
        self.bring_rows(asked)
        return super().set_aside_damaged(asked)

    def _read_file(self, name: str) -> list[dict[str, Any]]:
        try:
            return super()._read_file(name)
        except InputError:  # the copy may be damaged, and what it is a copy of be sound
            (self.rows / name).unlink(missing_ok=True)
            self.objects.bring(f"rows/{name}", self.rows / name)
            return super()._read_file(name)

    def _set_aside(self, cell_id: str) -> None:
        super()._set_aside(cell_id)
        self._forget_rows(cell_id)

    def read_cell(self, cell_id: str) -> list[dict[str, Any]]:
        name = f"{cell_id}.json"
        if not (self.rows / name).is_file():
            there = name if name in self._names() else f"{cell_id}{FAILED}"
            self.objects.bring(f"rows/{there}", self.rows / there)
        return super().read_cell(cell_id)

    def drop_cell(self, cell_id: str) -> None:
        super().drop_cell(cell_id)
        self._forget_rows(cell_id)
        self.objects.remove(f"answers/{cell_id}.npy")

    def _forget_rows(self, cell_id: str) -> None:
        for name in (f"{cell_id}.json", f"{cell_id}{FAILED}"):
            self.objects.remove(f"rows/{name}")
            self._listed.pop(name, None)
            self._own.discard(name)

    # answers
    def read_answers(self, cell_id: str, n_test: int) -> NDArray[np.bool_] | None:
        path = self.answers / f"{cell_id}.npy"
        if not path.is_file():
            self.objects.bring(f"answers/{path.name}", path)
        return super().read_answers(cell_id, n_test)


_ARM = "arm.json"


def _is_whole(path: Path, sha: str) -> bool:
    try:
        return files.file_sha256(path) == sha
    except OSError:
        return False


def _files_of(record: bytes) -> dict[str, str] | None:
    """The digests that an arm's record names, by file; None where it is damaged."""
    try:
        held = digests.opened(record)["files"]
    except (ValueError, KeyError):
        return None
    return dict(held) if are_files(held) else None


def _by_content(arm_id: str, name: str, digest: str) -> str:
    return f"arms/{arm_id}/{digest[:16]}-{name}"
