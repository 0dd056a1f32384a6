"""Studies that are under way in a store, for workers that are told of no study.

    <store>/studies/<name>-<digest>.json     what was asked, and where its data are

A file goes when all of its study is done.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import digests, files

FOLDER = "studies"


@dataclass(frozen=True)
class UnderWay:
    """A study that somebody has begun, or wants begun."""

    path: Path
    words: dict[str, Any]
    """As `Study.model_validate` takes them."""
    data_root: Path | None


def put(root: Path, name: str, words: Mapping[str, Any], data_root: Path | None) -> Path:
    """Says that a study is under way in the store at `root`; its file, which is the same for the
    same words.
    """
    said = {"words": dict(words), "data_root": None if data_root is None else str(data_root)}
    digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:12]
    path = root / FOLDER / f"{name}-{digest}.json"
    text = json.dumps(digests.sealed(said), indent=1) + "\n"
    if path.is_file():
        return path
    try:
        files.write_atomic(path, text)
    except FileNotFoundError:  # whoever ended the last other study removed the folder meanwhile
        files.write_atomic(path, text)
    return path


def under_way(root: Path) -> Iterator[UnderWay]:
    """All of a store, by their names; a file that is damaged is told and passed over."""
    for path in sorted((root / FOLDER).glob("[!.]*.json")):
        try:
            said = digests.read_record(path)
            where = said["data_root"]
            found = UnderWay(path, dict(said["words"]), None if where is None else Path(where))
        except FileNotFoundError:  # done meanwhile
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            digests.tell(f"{path}: is passed over ({digests.reason(error)})")
            continue
        yield found


def ended(path: Path) -> None:
    """Takes a study off: all of it is done."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()
