"""What was computed, by content: arms (encoders) and rows (one file per cell).

Crash-proof; there is no unlock command.

    <store>/arms/<arm id>/               encoder.safetensors, encoder.json, arm.json, metrics.jsonl;
                                         arm.json names the digest of each of the others
    <store>/partial/<arm id>/            checkpoints of an arm in training; gone when it is finished
    <store>/labels/<id>/                 labels made from features (clusters): codes.npy, ids.txt,
                                         labels.json
    <store>/rows/<cell id>.json          the rows of a finished cell (done or diverged), under their
                                         digest
    <store>/rows/<cell id>.failed.json   why a cell failed; the next run tries it again, and what
                                         succeeds removes this
    <store>/answers/<cell id>.npy        which test samples a done cell got right: numpy.packbits of
                                         bool [n_test], uint8, in the order of the task's test split
    <store>/studies/                     what is under way (headwater.store.studies)
    <store>/leases/                      who computes what (headwater.store.leases)
    <store>/slurm/                       jobs that were submitted (headwater.engines.slurm)
    <store>/damaged/                     files of rows that were no longer what was written; a run
                                         moved them here and measured their cells again
    <store>/cache/                       decoded pixels, features, byte hashes, and tables of the
                                         rows (headwater.rows.kept): can be removed at any time

A cell's answers are there before its rows. Cells of older stores have none, and nothing but
analysis by samples asks for them.

What is believed later is checked when it is read (headwater.digests); files that were written
before there were digests are read by what is there. Names that no id has (copies that a sync tool
made, say) are nobody's.

Two processes on one store are safe because an id means one content: whoever renames first wins, and
the other's copy is the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from headwater import digests, files, fragments
from headwater.errors import InputError
from headwater.objects import address_of
from headwater.store.cells import Cells
from headwater.store.leases import Leases

MARK = "headwater-store"
VERSION = 1
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
"""Names of an arm's files."""


def store_path(given: str | Path | None) -> Path:
    """Where a store is: as given, else HEADWATER_STORE, else headwater-store in this folder."""
    return Path(given or os.environ.get("HEADWATER_STORE") or "headwater-store")


def another_version(version: object) -> str:
    """What to say of a store of a layout that this code does not read. There has been one layout so
    far; code that makes another one brings stores of this one with it.
    """
    newer = isinstance(version, int) and version > VERSION
    what = "a newer headwater; update this one" if newer else "no headwater that is known"
    return f"was written by {what} (store version {version}, this one reads {VERSION})"


def is_folder(where: Path) -> bool:
    """Whether a store there is a folder, and no address."""
    return address_of(where) is None


def is_there(where: Path) -> bool:
    """Whether a store may be opened: a folder is there, or it is an address, which says so when it
    is asked.
    """
    return address_of(where) is not None or where.exists()


class Store(Cells):
    """A results folder. `Store(path)` opens it; `create=True` makes it where it is missing.

    `Store("s3://bucket/folder")` opens one in an object store (headwater.store.remote): it has a
    copy in a folder of this machine, `root`, of what was asked for.
    """

    _at_addresses: ClassVar[type[Store]]

    def __init_subclass__(cls, *, at_addresses: bool = False) -> None:
        if at_addresses:
            Store._at_addresses = cls

    def __new__(cls, root: str | Path, *, create: bool = False) -> Store:
        at_address = cls is Store and address_of(root) is not None
        return super().__new__(cls._at_addresses if at_address else cls)

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        super().__init__(Path(root))
        mark = self.root / f"{MARK}.json"
        if create and not mark.exists():
            self._make(mark)
        elif not mark.is_file():
            raise InputError(
                f"{self.root}: there is no store here; `headwater run` makes one, --store names "
                "another"
            )
        try:
            version = digests.reading(lambda: json.loads(mark.read_text())["version"])
        except (OSError, ValueError):
            raise InputError(
                f'{mark}: is damaged; it should hold {{"version": {VERSION}}}'
            ) from None
        if version != VERSION:
            raise InputError(f"{self.root}: {another_version(version)}")
        self.arms, self.partial = self.root / "arms", self.root / "partial"
        self.labels = self.root / "labels"
        self._leases: Leases | None = None
        self.worker_name: str | None = None
        """What its leases say of this process beside its machine."""

    def _make(self, mark: Path) -> None:
        half_written = f".{mark.name}."
        held = self.root.iterdir() if self.root.is_dir() else ()
        if not all(path.name.startswith(half_written) for path in held):
            raise InputError(
                f"{self.root}: is not empty and is no store; name another folder with --store"
            )
        try:
            files.write_atomic(mark, json.dumps({"version": VERSION}) + "\n")
        except OSError as error:
            raise InputError(
                f"{self.root}: cannot be written ({error.strerror}); mend that and run the same "
                "command again, or name another folder with --store"
            ) from None

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    def _repr_html_(self) -> str:
        held = {
            "arms": _number(self.arms),
            "in training": _number(self.partial),
            "cells": len(self.finished_cells()),
            "failed cells": len(self.failed_cells()) or None,
            "made labels": _number(self.labels) or None,
            "kept answers": _number(self.answers),
            "set aside as damaged": _number(self.damaged) or None,
        }
        return fragments.box("Store", str(self.root), [fragments.facts(held)])

    def check(self) -> None:
        """Raises InputError where the store was removed, or moved, since it was opened: what is
        written then would be found by nobody.
        """
        if not (self.root / f"{MARK}.json").is_file():
            raise InputError(
                f"{self.root}: the store was removed or moved while it was in use; put it back and "
                "run the same command again to go on, or name another with --store"
            )

    @property
    def address(self) -> str:
        """How another process opens it: a whole path, or where it lies in an object store."""
        return str(self.root.resolve())

    # what others see of it; nothing is to do for a folder that they share
    def came(self, folder: str) -> None:
        """Brings here what others wrote into a folder of it."""

    def went(self, path: Path) -> None:
        """Shows others a file of it that was written here."""

    def told(self, path: Path) -> None:
        """As `went`, or `gone` where it is not there, of what others may see late or never."""

    def refresh(self) -> None:
        """What others did until now is seen from here on."""

    def bring_everything(self) -> list[tuple[Path, str]]:
        """Brings all of it here, to be looked at; what cannot be had sound, and why."""
        return []

    def now(self) -> float:
        """Seconds by the clock that dates its files."""
        return files.disk_time(self.root)

    def gone(self, path: Path) -> None:
        """Removes for others too a file or folder of it that was removed here."""

    def bring_rows(self, cells: Iterable[str]) -> None:
        """Makes ready to read the rows of many cells."""

    @contextmanager
    def training(self, arm_id: str) -> Iterator[Path]:
        """The folder of an arm's checkpoints, for as long as it is trained."""
        yield self.checkpoints(arm_id)

    # leases
    @property
    def leases(self) -> Leases:
        """This process's leases of what it computes; they begin when they are first asked for."""
        if self._leases is None:
            self._leases = self.looking_at_leases()
        return self._leases

    @property
    def local_leases(self) -> Leases:
        """Leases of what is made on this machine alone, as decoded pixels are."""
        return self.leases

    def sweep_leases(self) -> int:
        """Removes leases that nobody has any more; their number. To be called when nothing is left:
        how often a unit was lost is in them.
        """
        with self.looking_at_leases() as leases:
            return leases.sweep()

    def looking_at_leases(self) -> Leases:
        """Leases of another owner, to look at what is held; to be closed."""
        return Leases(self.root / "leases", name=self.worker_name)

    def give_back(self) -> None:
        """Gives back all leases of this process."""
        if self._leases is not None:
            self._leases.close()
            self._leases = None

    def note_try(self, lease: str, title: str, reason: str) -> None:
        """Keeps why a unit is tried again; where the disk is away, so is the note."""
        path = self.root / "logs" / "tries.jsonl"
        said = {"time": time.time(), "unit": lease, "title": title, "reason": reason}
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as log:
                log.write(json.dumps({**said, "host": platform.node(), "pid": os.getpid()}) + "\n")

    # arms
    def arm_folder(self, arm_id: str) -> Path:
        return self.arms / arm_id

    def has_arm(self, arm_id: str) -> bool:
        """Whether the arm was finished (trained, or diverged)."""
        return (self.arms / arm_id / "arm.json").is_file()

    def all_arms(self) -> set[str]:
        """Ids of all finished arms."""
        if not self.arms.is_dir():
            return set()
        return {path.name for path in self.arms.iterdir() if self.has_arm(path.name)}

    def read_arm(self, arm_id: str) -> dict[str, Any]:
        """What is known of a finished arm: its words, status, steps, FLOPs, seconds."""
        path = self.arms / arm_id / "arm.json"
        try:
            record = digests.read_record(path)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: this arm is damaged ({error}); remove its folder, and the next run "
                f"trains it again, or `headwater run STUDY --redo {arm_id}` does"
            ) from None
        if (
            record.get("id") != arm_id
            or record.get("status") not in ("done", "diverged")
            or "encoder_sha256" not in record
            or not are_files(record.get("files", {}))
        ):
            raise InputError(
                f"{path}: this arm is damaged (it is no record of arm {arm_id}); remove its "
                "folder, and the next run trains it again, or `headwater run STUDY --redo "
                f"{arm_id}` does"
            )
        return record

    @staticmethod
    def write_record(folder: Path, record: Mapping[str, Any]) -> None:
        """The arm.json of a folder that `writing_arm` gave, with the digests of all files that are
        in it by now.
        """
        held = {path.name: files.file_sha256(path) for path in sorted(folder.iterdir())}
        weights = {"encoder_sha256": held["encoder.safetensors"]}
        whole = digests.sealed({**record, **weights, "files": held})
        (folder / "arm.json").write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n")

    def arm_file(self, arm_id: str, name: str) -> bytes:
        """The bytes of a file of a finished arm. Raises InputError where they are not those that
        were written; arms of before there were digests are read as they are.
        """
        digest = self.read_arm(arm_id).get("files", {}).get(name)
        path = self.arms / arm_id / name
        data = path.read_bytes()
        if digest is not None and hashlib.sha256(data).hexdigest() != digest:
            raise InputError(
                f"{path}: is damaged; `headwater run STUDY --redo {arm_id}` trains the arm again"
            )
        return data

    def writing_arm(self, arm_id: str) -> AbstractContextManager[Path]:
        """A temporary folder that becomes the arm's when the block ends.

        What lies there without an arm.json is no arm, and makes room.
        """
        self.check()
        if not self.has_arm(arm_id):
            files.remove_folder(self.arms / arm_id)
        return files.atomic_folder(self.arms / arm_id)

    def checkpoints(self, arm_id: str) -> Path:
        return self.partial / arm_id

    def progress_of(self, arm_id: str) -> str:
        """The newest checkpoint of an arm in training, by its name; empty where there is none."""
        names = [path.name for path in self.checkpoints(arm_id).glob("step-*.json")]
        return max(names, default="")

    def drop_checkpoints(self, arm_id: str) -> None:
        shutil.rmtree(self.partial / arm_id, ignore_errors=True)

    def drop_arm(self, arm_id: str) -> None:
        """Forget an arm, so that the next run trains it again."""
        files.remove_folder(self.arms / arm_id)
        self.drop_checkpoints(arm_id)

    # labels
    def write_labels(
        self, labels_id: str, codes: NDArray[np.int64], ids: Sequence[str], about: Mapping[str, Any]
    ) -> None:
        """Keep labels that were made from features: a class index and an id per image, and what
        they are. Those that are there already stay.
        """
        self.check()
        with files.atomic_folder(self.labels / labels_id) as folder:
            np.save(folder / "codes.npy", codes, allow_pickle=False)
            (folder / "ids.txt").write_text(
                "".join(f"{sample}\n" for sample in ids), encoding="utf-8"
            )
            record = digests.sealed(
                {
                    **about,
                    "images": len(codes),
                    "codes_sha256": files.file_sha256(folder / "codes.npy"),
                    "ids_sha256": files.file_sha256(folder / "ids.txt"),
                }
            )
            (folder / "labels.json").write_text(
                json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )

    def read_labels(self, labels_id: str, images: int) -> NDArray[np.int64] | None:
        """int64 [images] of kept labels; None where there are none.

        Raises InputError where they are damaged.
        """
        folder = self.labels / labels_id
        if not folder.is_dir():
            return None
        try:
            record = digests.read_record(folder / "labels.json")
            if record.get("codes_sha256") != files.file_sha256(folder / "codes.npy"):
                raise digests.Damaged("codes.npy is not what was written")
            ids = record.get("ids_sha256")  # older ones have none
            if ids is not None and ids != files.file_sha256(folder / "ids.txt"):
                raise digests.Damaged("ids.txt is not what was written")
            codes: NDArray[np.int64] = digests.read_array(
                folder / "codes.npy", np.int64, 1, trailed=False
            )
            if codes.shape != (images,):
                raise digests.Damaged(f"it holds {codes.shape} labels for {images} images")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder}: these labels are damaged ({error}); remove the folder, and the next "
                "run makes them again"
            ) from None
        return codes

    def all_labels(self) -> set[str]:
        """Ids of all labels that were made from features."""
        if not self.labels.is_dir():
            return set()
        return {path.name for path in self.labels.iterdir() if path.name[0] != "."}

    def labels_record(self, labels_id: str) -> dict[str, Any]:
        """What is known of kept labels. Raises OSError or ValueError where it cannot be read."""
        return digests.read_record(self.labels / labels_id / "labels.json")

    def has_labels(self, labels_id: str) -> bool:
        """Whether labels were made from features."""
        return (self.labels / labels_id).is_dir()

    def drop_labels(self, labels_id: str) -> None:
        """Forget labels, so that the next run makes them again."""
        files.remove_folder(self.labels / labels_id)

    def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what killed runs left behind: checkpoints of arms that are finished, and temporary
        files a day old or older; the number removed.
        """
        removed = 0
        for folder in self.partial.iterdir() if self.partial.is_dir() else ():
            if self.has_arm(folder.name):
                self.drop_checkpoints(folder.name)
                removed += 1
        now = files.disk_time(self.root)
        for temp in files.temporary(self.root):
            with suppress(OSError):
                if now - temp.stat().st_mtime > older_than_s:
                    shutil.rmtree(temp) if temp.is_dir() else temp.unlink()
                    removed += 1
        return removed


def are_files(said: object) -> bool:
    """Whether the files that an arm's record names are digests by plain names: none that leads out
    of the arm's folder.
    """
    return isinstance(said, dict) and all(
        isinstance(name, str) and _FILE.fullmatch(name) and isinstance(digest, str)
        for name, digest in said.items()
    )


def _number(folder: Path) -> int:
    """What a folder holds, but for what is being written or left by a kill."""
    if not folder.is_dir():
        return 0
    return sum(not path.name.startswith(".") for path in folder.iterdir())
