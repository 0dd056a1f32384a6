"""Exact, atomic checkpoints: weights, optimiser state and position in safetensors + JSON, found
damaged by their hashes.

Everything random in the loop is keyed by step and sample, so (weights, buffers, optimiser, step) is
the whole state: a run that goes on from a checkpoint is bit-equal to one that was never stopped.

    step-0000000300.safetensors   the tensors
    step-0000000300.json          step, count, meta, the SHA-256 of the tensors' file, and that of
                                  all this

Each file is written beside, synced and renamed, the tensors first: a checkpoint is there when its
JSON is, whenever the process was killed. `KEEP` are kept, so that there is one before the newest
should that be damaged. Newest means written last: after a damaged one was passed over, or one that
another kind of machine wrote, a run goes on from an earlier step, and its checkpoints are the ones
that count. `count` says which that is, one more than the highest that was there: clocks are set
back, and files are copied. Files of other names are nobody's: they are neither read nor removed.
"""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread
from types import TracebackType
from typing import Any, BinaryIO, Self

import torch
from safetensors.torch import load

from headwater import digests, files

KEEP = 2
Snapshot = tuple[int, dict[str, torch.Tensor], dict[str, Any]]
"""(step, tensors on the CPU that nobody else changes, meta)"""
_NUMBERS: dict[type, torch.dtype] = {bool: torch.bool, int: torch.int64, float: torch.float64}
"""Which plain numbers an optimiser's state may hold, and the tensors that hold them exactly."""

_TYPES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.int32: "I32",
    torch.int64: "I64",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float32: "F32",
    torch.float64: "F64",
}
"""What safetensors calls the types that a checkpoint may hold."""


def write(folder: Path, step: int, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
    """One checkpoint at a step: the tensors, then the JSON that names their hash; the last `KEEP`
    are kept. `meta` is what JSON can hold.
    """
    _write(folder, _snapshot(step, tensors, meta))


def latest(folder: Path) -> tuple[int, dict[str, torch.Tensor], dict[str, Any]] | None:
    """The newest whole checkpoint (step, tensors, meta), or None.

    A truncated or bit-flipped one is passed over and the one before is used.
    """
    damaged: list[Path] = []
    found = None
    for record in reversed(_records(folder, damaged)):
        try:
            found = digests.reading(lambda record=record: _read(record))  # type: ignore[misc]
            break
        except (OSError, ValueError):
            damaged.append(record.path)
    for path in sorted(damaged):
        after = "the run begins anew" if found is None else f"the run goes on from step {found[0]}"
        digests.tell(f"{path}: this checkpoint is damaged; {after}")
    return found


def _read(record: _Record) -> Snapshot:
    data = record.path.with_suffix(".safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != record.said["sha256"]:
        raise digests.Damaged("its tensors are not what was written")
    return int(record.said["step"]), load(data), dict(record.said["meta"])


class Writer:
    """Writes checkpoints into a folder while training goes on.

    What fails to be written is raised by the next `save`, or by `close`.

    `save` copies the tensors before it returns, so the loop may change them at once. One write is
    under way at most. A checkpoint that is saved meanwhile waits for its end, in place of one that
    waited already: the loop never waits for the disk, memory holds two copies of the state at most
    beside the run's own, and a slow disk gets fewer checkpoints instead of older ones.

    A folder that vanishes while it is written to is no failure: another process finished the arm,
    and removed the folder of its checkpoints. Used as a context manager, it is closed at the end of
    the block; after an exception what waits is still written, and that exception is what is raised.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._waiting: Snapshot | None = None
        self._thread: Thread | None = None
        self._writing = False
        self._failure: Exception | None = None

    def save(self, step: int, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> None:
        """Takes the state at a step, to be written soon; see `write`."""
        self._raise()
        with self._lock:
            self._waiting = None  # before the copy is made, so that there is never a third
        snapshot = _snapshot(step, tensors, meta)
        with self._lock:
            self._waiting = snapshot
            if not self._writing:
                self._writing = True
                self._thread = Thread(target=self._write, name="checkpoint")
                self._thread.start()

    def close(self) -> None:
        """Returns when everything is written; raises what failed."""
        if self._thread is not None:
            self._thread.join()
        self._raise()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            with suppress(Exception):
                self.close()

    def _write(self) -> None:
        while True:
            with self._lock:
                snapshot, self._waiting = self._waiting, None
                if snapshot is None:
                    self._writing = False
                    return
            try:
                _write(self._folder, snapshot)
            except FileNotFoundError:
                pass
            except Exception as error:
                self._failure = error
            del snapshot  # or it would be held until the next one is there

    def _raise(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


def _snapshot(step: int, tensors: dict[str, torch.Tensor], meta: dict[str, Any]) -> Snapshot:
    """Copies, contiguous and on the CPU, of tensors and of meta as JSON holds it: nothing that
    changes later reaches the file.
    """
    odd = [f"{name} is {t.dtype}" for name, t in tensors.items() if t.dtype not in _TYPES]
    if odd:
        raise TypeError(f"a checkpoint cannot hold {', '.join(odd)}")
    copies = {
        name: torch.empty(t.shape, dtype=t.dtype).copy_(t.detach()) for name, t in tensors.items()
    }
    return step, copies, json.loads(json.dumps(meta))


def _write(folder: Path, snapshot: Snapshot) -> None:
    step, tensors, meta = snapshot
    name = f"step-{step:010d}"
    with files.atomic_path(folder / f"{name}.safetensors") as temp, temp.open("wb") as file:
        sha256 = _write_safetensors(file, tensors)
    count = 1 + max((record.count for record in _records(folder)), default=0)
    said = {"step": step, "count": count, "sha256": sha256, "meta": meta}
    files.write_atomic(folder / f"{name}.json", json.dumps(digests.sealed(said)))
    _prune(folder)


def _write_safetensors(file: BinaryIO, tensors: dict[str, torch.Tensor]) -> str:
    """Writes contiguous tensors on the CPU in the safetensors format (version 0.x: length of the
    header, header, data); the SHA-256 of the file.

    Not safetensors' own `save`, which held the interpreter, and with it the loop, for 3.4 s of a
    checkpoint of 1 GB; nor its `save_file`, whose files no other user may read, and which leaves
    files of other names behind when it is killed. Here only short stretches hold it, and nothing is
    copied.
    """
    names = sorted(
        tensors, key=lambda name: (-tensors[name].element_size(), name)
    )  # large elements first, so that all lie at multiples of their size
    header, end = {}, 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.element_size() * tensor.numel()
        header[name] = {
            "dtype": _TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    parts: list[bytes | memoryview] = [len(text).to_bytes(8, "little"), text]
    parts += [tensors[name].reshape(-1).view(torch.uint8).numpy().data for name in names]
    for part in parts:
        file.write(part)
        digest.update(part)
    return digest.hexdigest()


def _prune(folder: Path) -> None:
    """Keeps the last `KEEP` whole records and their tensors. Others of our names go, and so do
    tensors without a record and temporary files that a kill left behind.

    What another process writes at this moment, which has no record yet, is told from what was left
    behind by the time of its file: an error costs a checkpoint of that process or some space.
    """
    kept = {record.path for record in _records(folder)[-KEEP:]}
    times = []
    for path in kept:
        with suppress(FileNotFoundError):
            times.append(path.with_suffix(".safetensors").stat().st_mtime_ns)
    begun = min(times, default=0)
    with suppress(FileNotFoundError):  # the folder vanished
        for path in folder.iterdir():
            record = path.with_suffix(".json")
            if _RECORD.fullmatch(path.name) and path not in kept:
                path.unlink(missing_ok=True)
                path.with_suffix(".safetensors").unlink(missing_ok=True)
            elif (
                (_TENSORS.fullmatch(path.name) and record not in kept)
                or _TEMPORARY.fullmatch(path.name)
            ) and path.stat().st_mtime_ns < begun:
                path.unlink(missing_ok=True)


_RECORD = re.compile(r"step-\d{10,}\.json")
_TENSORS = re.compile(r"step-\d{10,}\.safetensors")
_TEMPORARY = re.compile(r"\.step-\d{10,}\.(json|safetensors)\.[0-9a-f]+\.tmp")


@dataclass(frozen=True)
class _Record:
    """A record that is what was written."""

    count: int
    """0 for those of before there were counts."""
    written_ns: int
    """Time of the file: the order of those without a count."""
    path: Path
    said: dict[str, Any]

    @property
    def order(self) -> tuple[int, int, str]:
        return self.count, 0 if self.count else self.written_ns, self.path.name


def _records(folder: Path, damaged: list[Path] | None = None) -> list[_Record]:
    """The whole records of a folder, in the order in which they were written; of two with one count
    (two processes wrote at once), the later step is the later one. Those of our names that are
    damaged are added to `damaged`.
    """
    found = []
    for path in folder.glob("step-*.json"):
        if _RECORD.fullmatch(path.name):
            try:
                # another process may have removed it meanwhile
                with suppress(FileNotFoundError):
                    found.append(digests.reading(partial(_record, path)))
            except digests.Damaged:
                if damaged is not None:
                    damaged.append(path)
    return sorted(found, key=lambda record: record.order)


def _record(path: Path) -> _Record:
    """Raises whatever the reader raises where the file is damaged, or was renamed."""
    said = digests.read_record(path)
    if not isinstance(said["sha256"], str) or not isinstance(said["meta"], dict):
        raise digests.Damaged("it is no record of a checkpoint")
    if path.name != f"step-{said['step']:010d}.json":
        raise digests.Damaged(f"it is the record of step {said['step']}")
    return _Record(int(said.get("count", 0)), path.stat().st_mtime_ns, path, said)


def pack_optimiser(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimiser's state as flat tensors, of any optimiser whose state holds tensors and plain
    numbers by parameter; learning rates and the like are recomputed from the step. The tensors are
    the optimiser's own. Raises TypeError for a state that holds anything else.
    """
    packed = {}
    for index, slots in optimiser.state_dict()["state"].items():
        for name, value in slots.items():
            if isinstance(value, torch.Tensor):
                packed[f"optimiser.{index}.{name}"] = value
            elif type(value) in _NUMBERS:
                packed[f"optimiser.{index}.{name}:{type(value).__name__}"] = torch.tensor(
                    value, dtype=_NUMBERS[type(value)]
                )
            elif value is not None:
                raise TypeError(
                    f"{type(optimiser).__name__} keeps a {type(value).__name__} in {name!r}, which "
                    "a checkpoint cannot hold"
                )
    return packed


def unpack_optimiser(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    """The inverse of `pack_optimiser`.

    Moments take the memory layout of their parameter: fused kernels pair elements by address.
    """
    packed = optimiser.state_dict()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            like, (name, number, _) = parameters[int(index)], name.partition(":")
            shaped = tensor.shape == like.shape and tensor.ndim > 0
            laid_out = (
                torch.empty_like(like, dtype=tensor.dtype).copy_(tensor) if shaped else tensor
            )
            state.setdefault(int(index), {})[name] = tensor.item() if number else laid_out
    optimiser.load_state_dict({"state": state, "param_groups": packed["param_groups"]})
    for at, slots in state.items():
        for name, value in slots.items():
            loaded = optimiser.state[parameters[at]][name]
            if (
                isinstance(value, torch.Tensor) and loaded.dtype != value.dtype
            ):  # torch casts to the parameter's type, which may hold less
                optimiser.state[parameters[at]][name] = value.to(loaded.device)
