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
    <store>/damaged/                     files of rows that were no longer what was written; a run
                                         moved them here and measured their cells again
    <store>/cache/                       decoded pixels, features and byte hashes: can be removed at
                                         any time

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
import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import digests, files, fragments
from headwater.errors import InputError
from headwater.rows import CELL_FILE, cell_file_text, check_row, read_cell_file
from headwater.store.leases import Leases

_MARK = "headwater-store"
_VERSION = 1
_FAILED = ".failed.json"
_KNOWN = 5000
"""Files of rows whose rows are kept in memory [ours]."""


def store_path(given: str | Path | None) -> Path:
    """Where a store is: as given, else HEADWATER_STORE, else headwater-store in this folder."""
    return Path(given or os.environ.get("HEADWATER_STORE") or "headwater-store")


class Store:
    """A results folder. `Store(path)` opens it; `create=True` makes it where it is missing."""

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        self.root = Path(root)
        mark = self.root / f"{_MARK}.json"
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
                f'{mark}: is damaged; it should hold {{"version": {_VERSION}}}'
            ) from None
        if version != _VERSION:
            raise InputError(
                f"{self.root}: was written by another version of headwater (store version "
                f"{version}, this one reads {_VERSION})"
            )
        self.arms, self.partial = self.root / "arms", self.root / "partial"
        self.rows, self.answers = self.root / "rows", self.root / "answers"
        self.labels, self.cache = self.root / "labels", self.root / "cache"
        self.damaged = self.root / "damaged"
        self._known: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {}
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
            files.write_atomic(mark, json.dumps({"version": _VERSION}) + "\n")
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
        if not (self.root / f"{_MARK}.json").is_file():
            raise InputError(
                f"{self.root}: the store was removed or moved while it was in use; put it back and "
                "run the same command again to go on, or name another with --store"
            )

    # leases
    @property
    def leases(self) -> Leases:
        """This process's leases of what it computes; they begin when they are first asked for."""
        if self._leases is None:
            self._leases = Leases(self.root / "leases", name=self.worker_name)
        return self._leases

    def give_back(self) -> None:
        """Gives back all leases of this process."""
        if self._leases is not None:
            self._leases.close()
            self._leases = None

    # arms
    def arm_folder(self, arm_id: str) -> Path:
        return self.arms / arm_id

    def has_arm(self, arm_id: str) -> bool:
        """Whether the arm was finished (trained, or diverged)."""
        return (self.arms / arm_id / "arm.json").is_file()

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

    def drop_labels(self, labels_id: str) -> None:
        """Forget labels, so that the next run makes them again."""
        files.remove_folder(self.labels / labels_id)

    # rows
    def write_rows(self, cell_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows of one cell, whole or not at all; a row of status failed goes beside, and is
        replaced by what succeeds.
        """
        self.check()
        checked = [check_row(row, f"cell {cell_id}") for row in rows]
        text = cell_file_text(checked)
        failed = self.rows / f"{cell_id}{_FAILED}"
        if any(row["status"] == "failed" for row in checked):
            files.write_atomic(failed, text)
            return
        files.write_atomic(self.rows / f"{cell_id}.json", text)
        failed.unlink(missing_ok=True)

    def finished_cells(self) -> set[str]:
        """Ids of cells that are done or have diverged."""
        return {name.removesuffix(".json") for name in self._names() if not _is_failed(name)}

    def has_cell(self, cell_id: str) -> bool:
        """Whether a cell is done or has diverged."""
        return (self.rows / f"{cell_id}.json").is_file()

    def failures(self) -> dict[str, tuple[int, ...]]:
        """What tells the last failure of each cell from later ones, by its id."""
        ids = [name.removesuffix(_FAILED) for name in self._names() if _is_failed(name)]
        found = {cell: self.failure(cell) for cell in ids}
        return {cell: state for cell, state in found.items() if state is not None}

    def failure(self, cell_id: str) -> tuple[int, ...] | None:
        """What tells a cell's last failure from others; None where it did not fail."""
        try:
            state = (self.rows / f"{cell_id}{_FAILED}").stat()
        except OSError:
            return None
        return (state.st_size, state.st_mtime_ns, state.st_ino)

    def reason_of_failure(self, cell_id: str) -> str:
        """Why a cell failed last, as far as its rows say."""
        with suppress(InputError):
            for row in self._read_rows(self.rows / f"{cell_id}{_FAILED}", cell_id):
                return str(row.get("reason") or "")
        return ""

    def failed_cells(self) -> set[str]:
        """Ids of cells whose last try failed and that nothing has finished since."""
        failed = {name.removesuffix(_FAILED) for name in self._names() if _is_failed(name)}
        return failed - self.finished_cells()

    def _names(self) -> set[str]:
        return {path.name for path in self.rows.glob("*.json") if CELL_FILE.fullmatch(path.name)}

    def set_aside_damaged(self, cells: Iterable[str]) -> list[str]:
        """Moves files of rows that are not what was written into `damaged`, so that their cells are
        measured again, and tells it; ids of these cells. Raises InputError where the store may
        only be read.
        """
        found = []
        for cell_id in cells:
            try:
                self.read_cell(cell_id)
            except InputError as error:
                try:
                    self._set_aside(cell_id)
                except OSError:
                    raise error from None
                digests.tell(f"{error}: done so, {self.damaged} keeps it")
                found.append(cell_id)
        return found

    def _set_aside(self, cell_id: str) -> None:
        self.damaged.mkdir(exist_ok=True)
        for name in (f"{cell_id}.json", f"{cell_id}{_FAILED}"):
            with suppress(FileNotFoundError):
                os.replace(self.rows / name, self.damaged / name)

    def read_cell(self, cell_id: str) -> list[dict[str, Any]]:
        """The rows of a cell, finished or failed; none where there are none."""
        for name in (f"{cell_id}.json", f"{cell_id}{_FAILED}"):
            if (self.rows / name).is_file():
                return self._read_rows(self.rows / name, cell_id)
        return []

    def _read_rows(self, path: Path, cell_id: str) -> list[dict[str, Any]]:
        """The rows of a file; one that is as it was when it was read before is not read again: a
        run asks for every cell four times.
        """
        try:
            now = path.stat()
        except OSError:  # gone meanwhile: whoever reads it says so
            return read_cell_file(path, cell_id)
        state = (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
        before, rows = self._known.get(path.name, (None, []))
        if before != state:
            rows = read_cell_file(path, cell_id)
            if len(self._known) < _KNOWN:
                self._known[path.name] = state, rows
        return [dict(row) for row in rows]

    def drop_cell(self, cell_id: str) -> None:
        """Forget a cell, so that the next run measures it again."""
        for name in (f"{cell_id}.json", f"{cell_id}{_FAILED}"):
            (self.rows / name).unlink(missing_ok=True)
        (self.answers / f"{cell_id}.npy").unlink(missing_ok=True)

    # answers
    def write_answers(self, cell_id: str, right: NDArray[np.bool_]) -> None:
        """Which test samples a cell got right: bool [n_test], in the order of the task's test
        split. To be written before the cell's rows.
        """
        self.check()
        with files.atomic_path(self.answers / f"{cell_id}.npy") as temp, temp.open("wb") as handle:
            digests.write_array(handle, np.packbits(right))

    def read_answers(self, cell_id: str, n_test: int) -> NDArray[np.bool_] | None:
        """bool [n_test] of a cell; None where none were kept.

        Raises InputError where the file is damaged or is of another number of samples.
        """
        path = self.answers / f"{cell_id}.npy"
        if not path.is_file():
            return None
        try:
            packed: NDArray[np.uint8] = digests.read_array(path, np.uint8, 1)
            if packed.shape != (-(-n_test // 8),) or np.unpackbits(packed)[n_test:].any():
                raise digests.Damaged(f"it does not hold {n_test} test samples")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: these answers are damaged ({error}); `headwater run --redo {cell_id}` "
                "measures the cell again"
            ) from None
        return np.unpackbits(packed, count=n_test).astype(bool)

    def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what killed runs left behind: leases that nobody has any more, checkpoints of arms
        that are finished, and temporary files a day old or older; the number removed.
        """
        with Leases(self.root / "leases") as leases:
            removed = leases.sweep()
        for folder in self.partial.iterdir() if self.partial.is_dir() else ():
            if self.has_arm(folder.name):
                self.drop_checkpoints(folder.name)
                removed += 1
        now = files.disk_time(self.root)
        for temp in self.root.glob("**/.*.tmp"):
            with suppress(OSError):
                if now - temp.stat().st_mtime > older_than_s:
                    shutil.rmtree(temp) if temp.is_dir() else temp.unlink()
                    removed += 1
        return removed


def _number(folder: Path) -> int:
    """What a folder holds, but for what is being written or left by a kill."""
    if not folder.is_dir():
        return 0
    return sum(not path.name.startswith(".") for path in folder.iterdir())


def _is_failed(name: str) -> bool:
    return name.endswith(_FAILED)
