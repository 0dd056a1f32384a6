"""What was found of images, remembered by each file's state, or by the digest of an image that is
no file, so that each is opened once.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from headwater.digests import Damaged, framed, made_again, reading, reason, unframed
from headwater.files import unless_read_only, write_atomic
from headwater.sources.file_state import STATE, State
from headwater.sources.pixels.decoding import RECIPE

_VERSION = 2
"""Raised by hand when a file is judged otherwise."""
_LEAST_BYTES = 1
"""Of the file for each row that it may hold: times of change hardly pack [ours]."""
_BETWEEN = "; "


@dataclass(frozen=True)
class Verdict:
    """What was found of one file."""

    kind: str = ""
    """What is wrong with it; '' for one that can be read."""
    converted: tuple[str, ...] = ()
    """What decoding does to it (headwater.sources.pixels.conversions)."""


@dataclass
class Verdicts:
    """Verdicts on the files of one source, by sample id.

    `path` is a file that outlives the process: Parquet behind its digest (headwater.digests). One
    that is damaged is made anew and told; so is one of other decoders, without a word.
    """

    path: Path | None
    _known: dict[str, tuple[State, Verdict]] = field(default_factory=dict)
    _new: int = 0

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            data = unframed(_kind(), self.path.read_bytes())
            if data is not None:
                self._known = reading(lambda: _taken(data))
        except FileNotFoundError:
            pass
        except (OSError, Damaged) as error:  # all that it saves is time
            made_again(self.path, reason(error), "this list of what images are")

    def __len__(self) -> int:
        return len(self._known)

    def of(self, sample: str, state: State) -> Verdict | None:
        """The verdict on an image as it is now; None where there is none."""
        known = self._known.get(sample)
        return known[1] if known is not None and known[0] == state else None

    def put(self, sample: str, state: State, verdict: Verdict) -> None:
        """Takes up a verdict on an image whose state was asked before it was opened."""
        self._known[sample] = (state, verdict)
        self._new += 1

    def save(self) -> None:
        """Written beside, then renamed; nothing where nothing is new or the folder may only be
        read.
        """
        if self.path is None or not self._new:
            return
        states = [state for state, _ in self._known.values()]
        verdicts = [verdict for _, verdict in self._known.values()]
        columns = {
            "id": pa.array(list(self._known), pa.large_string()),
            "kind": pa.array([one.kind for one in verdicts], pa.string()),
            "converted": pa.array([_BETWEEN.join(one.converted) for one in verdicts], pa.string()),
        }
        for at, name in enumerate(STATE):
            columns[name] = pa.array([state[at] for state in states], pa.int64())
        buffer = io.BytesIO()
        pq.write_table(pa.table(columns), buffer)
        with unless_read_only():
            write_atomic(self.path, framed(_kind(), buffer.getvalue()))
        self._new = 0


def _kind() -> str:
    """Who judged: verdicts of another decoder are of another kind."""
    return f"looked {_VERSION}.{RECIPE} {PIL.__version__} {simplejpeg.__version__}"


def _taken(data: bytes) -> dict[str, tuple[State, Verdict]]:
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        if file.metadata.num_rows * _LEAST_BYTES > len(data):
            raise Damaged(f"its header promises {file.metadata.num_rows} rows")
        table: Any = file.read()
    numbers = zip(*(table[name].to_pylist() for name in STATE), strict=True)
    words = (table[name].to_pylist() for name in ("id", "kind", "converted"))
    known = {}
    for (sample, kind, converted), state in zip(zip(*words, strict=True), numbers, strict=True):
        verdict = Verdict(kind, tuple(filter(None, converted.split(_BETWEEN))))
        known[sample] = ((state[0], state[1], state[2], state[3]), verdict)
    return known
