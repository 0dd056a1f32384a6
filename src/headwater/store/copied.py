"""A store at an address, and this machine's copy of it: how files go there and come from there
(headwater.store.remote says what lies where).
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headwater import files
from headwater.errors import InputError
from headwater.objects import Head, Objects, address_of
from headwater.store.folder import MARK, VERSION, Store, another_version
from headwater.store.leases import Leases
from headwater.store.object_leases import ObjectLeases

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


class CopiedStore(Store):
    """What `ObjectStore` knows of its address and of this machine's copy, `root`."""

    def __init__(self, root: str | Path, *, create: bool = False) -> None:
        address = address_of(root)
        assert address is not None
        self._address, self.objects = address, Objects(address)
        super().__init__(kept_in(address, self._known_as(create=create)), create=True)
        self._told_at = -1e9
        self._here: Leases | None = None

    def __repr__(self) -> str:
        return f"Store({self._address!r})"

    @property
    def address(self) -> str:
        return self._address

    def _known_as(self, *, create: bool) -> str:
        """What tells this store from one that lay there before."""
        said = self.objects.get(f"{MARK}.json", tries=1)
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
        heads = self.objects.list(folder)
        there = {head.name for head in heads}
        self.objects.bring_all({name: self.root / name for name in there})
        self._date(heads)
        for path in self._copies(folder):
            if str(path.relative_to(self.root)) not in there and not self._is_unsent(path):
                path.unlink(missing_ok=True)

    def _date(self, heads: Iterable[Head]) -> None:
        """Gives copies the times of what they are copies of, by which they are told from others."""
        for head in heads:
            with suppress(OSError):
                os.utime(self.root / head.name, (head.changed, head.changed))

    def _is_other(self, head: Head) -> bool:
        """Whether the copy is none of this object, as it is now."""
        try:
            kept = (self.root / head.name).stat()
        except OSError:
            return True
        return kept.st_size != head.bytes or abs(kept.st_mtime - head.changed) > 1e-3

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
        below.sort(key=lambda each: not each.endswith(("/arm.json", "/labels.json")))
        for each in below:
            self.objects.remove(each)
        self.objects.remove(name)

    @contextmanager
    def _noted(self, path: Path) -> Iterator[None]:
        """What is being sent is noted, so that it is sent again where that is cut short."""
        note = self._note(path)
        name = str(path.relative_to(self.root))
        files.write_atomic(note, json.dumps({"name": name}) + "\n")
        yield
        note.unlink(missing_ok=True)

    def _is_unsent(self, path: Path) -> bool:
        return self._note(path).exists()

    def _note(self, path: Path) -> Path:
        digest = hashlib.sha256(str(path.relative_to(self.root)).encode()).hexdigest()
        return self.root / _UNSENT / f"{digest[:24]}.json"

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

    def now(self) -> float:
        with self.looking_at_leases() as leases:
            return leases.now()

    @abstractmethod
    def _send_arm(self, arm_id: str) -> None:
        """Sends a whole arm."""

    @abstractmethod
    def _send_labels(self, labels_id: str) -> None:
        """Sends labels."""
