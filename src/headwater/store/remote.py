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

import hashlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater import digests, files
from headwater.errors import InputError
from headwater.objects import Head, Objects, address_of
from headwater.rows import CELL_FILE, FAILED
from headwater.store.cells import FinishedCell
from headwater.store.folder import MARK, VERSION, Store, another_version
from headwater.store.leases import Leases
from headwater.store.object_leases import ObjectLeases
from headwater.store.sending import Sending

if TYPE_CHECKING:
    import pandas as pd

_LIST_EVERY_S = 1.0
_SHARE = 0.1
"""Of the time, what listing rows may take [ours]."""
_TELL_EVERY_S = 10.0
"""How often a run shows how far it is [ours]."""
_UNSENT = "unsent"


def kept_in(address: str, known_as: str) -> Path:
    """The folder of this machine's copy of a store; `known_as` is what its mark says."""
    stated = os.environ.get("HEADWATER_STORE_CACHE")
    base = Path(stated) if stated else files.users_cache("stores")
    last = address.rstrip("/").rpartition("/")[2] or "store"
    digest = hashlib.sha256(f"{address} {known_as}".encode()).hexdigest()[:12]
    return base / f"{last}-{digest}"


class ObjectStore(Store, at_addresses=True):
    """As `Store`, at an address; `root` is this machine's copy."""

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        address = address_of(root)
        assert address is not None
        self._address, self.objects = address, Objects(address)
        super().__init__(kept_in(address, self._known_as(create=create)), create=True)
        self._listed: dict[str, Head] = {}
        self._listed_at, self._listing_took, self._told_at = -1e9, 0.0, -1e9
        self._own = set[str]()
        """Names of rows that this process has sent, or seen there since it listed them."""
        self._sure_arms = set[str]()
        """Arms that were seen there: one that is finished stays, but for --redo."""
        self._here: Leases | None = None
        self._send_again()

    def __repr__(self) -> str:
        return f"Store({self._address!r})"

    @property
    def address(self) -> str:
        return self._address

    def _known_as(self, *, create: bool) -> str:
        """What tells this store from one that lay there before."""
        said = self.objects.get(f"{MARK}.json")
        if said is None and create:
            if not self.objects.is_empty():
                raise InputError(
                    f"{self._address}: is not empty and is no store; name another folder with "
                    "--store"
                )
            mark = {"version": VERSION, "id": uuid.uuid4().hex}
            self.objects.create(f"{MARK}.json", json.dumps(mark).encode())
            said = self.objects.get(f"{MARK}.json")
        if said is None:
            raise InputError(
                f"{self._address}: there is no store here; `headwater run` makes one, --store "
                "names another"
            )
        try:
            words = json.loads(said)
            version, known_as = words["version"], str(words.get("id", ""))
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self._address}/{MARK}.json: is damaged") from None
        if version != VERSION:
            raise InputError(f"{self._address}: {another_version(version)}")
        return known_as

    def check(self) -> None:
        """Nothing is found out by asking: what is written fails, or a new store is there."""

    # what others see of it
    def came(self, folder: str) -> None:
        there = {head.name for head in self.objects.list(folder)}
        self.objects.bring_all({name: self.root / name for name in there})
        for path in self._copies(folder):
            if str(path.relative_to(self.root)) not in there and not self._is_unsent(path):
                path.unlink(missing_ok=True)

    def _copies(self, folder: str) -> list[Path]:
        top = self.root / folder
        if not top.is_dir():
            return []
        return [path for path in top.rglob("[!.]*") if path.is_file()]

    def went(self, path: Path) -> None:
        with self._noted(path):
            self.objects.put(str(path.relative_to(self.root)), path)

    def told(self, path: Path) -> None:
        name = str(path.relative_to(self.root))
        with suppress(InputError, OSError):
            if not path.exists():
                self.objects.remove(name)
            elif time.monotonic() - self._told_at > _TELL_EVERY_S:
                self._told_at = time.monotonic()
                self.objects.put(name, path)

    def gone(self, path: Path) -> None:
        name = str(path.relative_to(self.root))
        below = [head.name for head in self.objects.list(name)]
        # a record goes first: what it names is nothing without it
        below.sort(key=lambda each: not each.endswith((f"/{_ARM}", "/labels.json")))
        for each in below:
            self.objects.remove(each)
        self.objects.remove(name)

    @contextmanager
    def _noted(self, path: Path) -> Iterator[None]:
        """What is being sent is noted, so that it is sent again where that is cut short."""
        name = str(path.relative_to(self.root))
        note = self.root / _UNSENT / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.json"
        files.write_atomic(note, json.dumps({"name": name}) + "\n")
        yield
        note.unlink(missing_ok=True)

    def _is_unsent(self, path: Path) -> bool:
        name = str(path.relative_to(self.root))
        digest = hashlib.sha256(name.encode()).hexdigest()[:24]
        return (self.root / _UNSENT / f"{digest}.json").exists()

    def _send_again(self) -> None:
        """Sends what was noted and may not have been sent."""
        for note in sorted((self.root / _UNSENT).glob("[!.]*.json")):
            try:
                name = str(json.loads(note.read_text())["name"])
            except (OSError, ValueError, KeyError, TypeError):
                note.unlink(missing_ok=True)
                continue
            path = self.root / name
            if not path.resolve().is_relative_to(self.root.resolve()) or not path.exists():
                pass
            elif name.startswith("arms/"):
                self._send_arm(path.name)
            elif name.startswith("labels/"):
                self._send_labels(path.name)
            else:
                self.objects.put(name, path)
            note.unlink(missing_ok=True)

    # leases
    @property
    def local_leases(self) -> Leases:
        if self._here is None:
            self._here = Leases(self.root / "leases", name=self.worker_name)
        return self._here

    def give_back(self) -> None:
        super().give_back()
        if self._here is not None:
            self._here.close()
            self._here = None

    def looking_at_leases(self) -> Leases:
        return ObjectLeases(self.objects, name=self.worker_name)

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
        """Keeps a whole arm here: its record says which files it has."""
        if super().has_arm(arm_id):
            return
        said = self.objects.get(f"arms/{arm_id}/{_ARM}")
        if said is None:
            return
        try:
            held = dict(digests.opened(said)["files"])
        except (ValueError, KeyError, TypeError):
            raise InputError(
                f"{self._address}/arms/{arm_id}/{_ARM}: this arm is damaged; `headwater run STUDY "
                f"--redo {arm_id}` trains it again"
            ) from None
        files.remove_folder(self.arms / arm_id)
        with files.atomic_folder(self.arms / arm_id) as folder:
            names = {_by_content(arm_id, name, str(digest)): name for name, digest in held.items()}
            self.objects.bring_all({there: folder / name for there, name in names.items()})
            (folder / _ARM).write_bytes(said)

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
        self._sure_arms.discard(arm_id)
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
        if super().has_labels(labels_id) or not self.has_labels(labels_id):
            return
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
        self._listed_at = -1e9
        self._names()
        wanted = {}
        for cell in cells:
            for name in (f"{cell}.json", f"{cell}{FAILED}"):
                head = self._listed.get(name)
                if head is None:
                    if name not in self._own:
                        (self.rows / name).unlink(missing_ok=True)
                elif name.endswith(FAILED) or not (self.rows / name).is_file():
                    wanted[head.name] = self.rows / name
        self.objects.bring_all(wanted)

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


def _by_content(arm_id: str, name: str, digest: str) -> str:
    if "/" in name or name.startswith("."):
        raise InputError(f"arm {arm_id}: its record names a file {name!r}, which is none of an arm")
    return f"arms/{arm_id}/{digest[:16]}-{name}"
