"""Studies that are under way in a store, for workers that are told of no study.

    <store>/studies/<name>-<digest>.json     what was asked, where its data are, and which arms are
                                             wanted so far, of a study that is run by steps

A file goes when all of its study is done, or by the run by steps when it ends.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import digests, files
from headwater.store.folder import Store

FOLDER = "studies"
_NAME = re.compile(r"[^/]+-[0-9a-f]{12}\.json")


@dataclass(frozen=True)
class UnderWay:
    """A study that somebody has begun, or wants begun."""

    path: Path
    words: dict[str, Any]
    """As `Study.model_validate` takes them."""
    data_root: Path | None
    arms: frozenset[str] | None = None
    """Ids of the arms that are wanted so far, of a study that is run by steps; None: all."""


def put(
    store: Store,
    name: str,
    words: Mapping[str, Any],
    data_root: Path | None,
    arms: Collection[str] | None = None,
) -> Path:
    """Says that a study is under way in a store; its file, which is the same for the
    same words, run as a whole or by steps (with the `arms` that are wanted so far).
    """
    path = path_of(store, name, words, data_root, arms is not None)
    said = {"words": dict(words), "data_root": None if data_root is None else str(data_root)}
    if arms is None and path.is_file():
        return path
    known = {} if arms is None else {"arms": sorted(arms)}
    text = json.dumps(digests.sealed({**said, **known}), indent=1) + "\n"
    try:
        files.write_atomic(path, text)
    except FileNotFoundError:  # whoever ended the last other study removed the folder meanwhile
        files.write_atomic(path, text)
    store.went(path)
    return path


def path_of(
    store: Store, name: str, words: Mapping[str, Any], data_root: Path | None, by_steps: bool
) -> Path:
    """The file that says that a study is under way, run as a whole or by steps."""
    said = {"words": dict(words), "data_root": None if data_root is None else str(data_root)}
    key = {**said, "by_steps": True} if by_steps else said
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
    return store.root / FOLDER / f"{name}-{digest}.json"


def is_name(name: str) -> bool:
    """Whether a word is as `put` calls files: such a study was under way, or is."""
    return _NAME.fullmatch(name) is not None


def under_way(store: Store) -> Iterator[UnderWay]:
    """All of a store, by their names; a file that is damaged is told and passed over."""
    store.came(FOLDER)
    for path in sorted((store.root / FOLDER).glob("[!.]*.json")):
        try:
            said = digests.read_record(path)
            where, arms = said["data_root"], said.get("arms")
            found = UnderWay(
                path,
                dict(said["words"]),
                None if where is None else Path(where),
                None if arms is None else frozenset(arms),
            )
        except FileNotFoundError:  # done meanwhile
            continue
        except (OSError, ValueError, KeyError, TypeError) as error:
            digests.tell(f"{path}: is passed over ({digests.reason(error)})")
            continue
        yield found


def ended(store: Store, path: Path) -> None:
    """Takes a study off: all of it is done."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
        store.gone(path)
        path.parent.rmdir()
