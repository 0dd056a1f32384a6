"""What a folder of shards that `headwater shard` packed says of itself: which field names its
samples, so that they are the very samples of the folder that was packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwater import digests
from headwater.errors import InputError

NAME = "headwater-shards.json"
_FORM = 1


def manifest(shards: dict[str, int], ids: str, made_from: dict[str, Any]) -> dict[str, Any]:
    """The record of a packed folder: samples by shard, the field that names them, and what it was
    made from.
    """
    said = {"headwater": "shards", "version": _FORM, "ids": ids, "shards": shards}
    return digests.sealed({**said, "made_from": made_from})


def read_manifest(root: Path, shards: Sequence[str], *, whole: bool) -> str | None:
    """The field that names the samples of a packed folder; None of any other one.

    Raises InputError for a record that is damaged, and for shards of it that are not there.
    """
    path = root / NAME
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    return ids_of_manifest(data, str(path), shards, whole=whole)


def ids_of_manifest(data: bytes, path: str, shards: Sequence[str], *, whole: bool) -> str | None:
    """The same, of the bytes of a record."""
    try:
        said = digests.opened(data)
        missing = sorted(set(said["shards"]) - set(shards))
        ids = str(said["ids"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: is damaged ({digests.reason(error)}); pack the folder again, or remove it, "
            "and samples are called by shard and key"
        ) from None
    if missing and whole and len(missing) < len(said["shards"]):
        raise InputError(
            f"{path}: {missing[0]}.tar is missing ({len(missing):,} of {len(said['shards']):,} "
            "shards); pack the folder again, which goes on, or name the shards that are to be read"
        )
    if missing and len(missing) == len(said["shards"]):
        raise InputError(f"{path}: speaks of other shards, such as {missing[0]}.tar; remove it")
    return ids  # also where some of its shards alone were asked for
