"""Shards: tars of image-text pairs, as webdataset and img2dataset write them, read where they lie.

places.py    which tars a path means
tar.py       where the members of a tar lie, and which are refused
samples.py   members as samples
fields.py    texts, classes and JSON beside images, as columns
parts.py     one shard read through
remote.py    those that lie on other machines
index.py     all of them: built once by many processes, mapped
tables.py    what the columns mean
told.py      what others' indexes say of them
manifest.py  what a folder that `headwater shard` packed says of itself
source.py    images by place
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from headwater.files import may_write, users_cache
from headwater.sources.shards.index import fits, open_index
from headwater.sources.shards.manifest import ids_of_manifest, read_manifest
from headwater.sources.shards.places import ADDRESS, Shard, holds_shards, local_shards, not_read
from headwater.sources.shards.remote import Remote, kept_limit
from headwater.sources.shards.source import ShardSource
from headwater.sources.shards.told import notes_on_counts

__all__ = ["ShardSource", "holds_shards", "open_shards"]


def open_shards(
    name: str,
    written: str,
    *,
    bases: Sequence[Path] = (),
    image: str | None = None,
    names_ids: str | None = None,
    cache: Path | None = None,
    workers: int | None = None,
) -> ShardSource:
    """The source that shards are. `written` is a folder, a tar or a pattern, absolute or below one
    of `bases`; `cache` a folder that keeps the index, the user's own when left out. The other words
    are those of `kind: shards`. Raises InputError for shards that cannot be found or used.
    """
    where = f"data.{name}.path"
    image = None if image is None else image.lower().lstrip(".")
    cache = cache or _kept_for_the_user()
    writes = may_write(cache)
    root, remote = None, None
    if ADDRESS.match(written) is None:
        root, shards = local_shards(written, list(bases), where)
        read_as = f"{root.resolve()}|{written}|{image}"
    else:
        kept = cache if writes else _kept_for_the_user()
        remote = Remote(written, where, kept / "brought", kept_limit(kept))
        shards = remote.shards()
        read_as = f"{written}|{image}"
    place = hashlib.sha256(read_as.encode()).hexdigest()[:16]
    folder = cache / f"shards-{place}"
    if not writes and not fits(folder, shards, image):
        cache = _kept_for_the_user()
        folder = cache / f"shards-{place}"
    with nullcontext() if remote is None else remote.turn():
        index = open_index(
            shards,
            folder,
            title=name,
            image=image,
            elsewhere=remote,
            workers=workers,
        )
    whole = written.endswith("/") or (root is not None and not Path(written).suffix)
    ids = names_ids or _ids_of(root, remote, shards, whole=whole)
    source = ShardSource(
        name,
        root,
        shards,
        index,
        names_ids=ids,
        remote=remote,
        packed=names_ids is None and ids is not None,
        cache=cache / f"looked-shards-{place}.hashes",
    )
    if root is not None:
        sizes = np.diff(index.starts).tolist()
        held = dict(zip((shard.name for shard in shards), sizes, strict=True))
        notes = not_read(root) if root.is_dir() and whole else []
        source.notes = (*source.notes, *notes_on_counts(root, held), *notes)
    return source


def _kept_for_the_user() -> Path:
    """Where indexes lie of shards that are read without a store: in the user's cache, or where that
    cannot be written, in a folder of this process.
    """
    try:
        folder = users_cache("shards")
        folder.mkdir(parents=True, exist_ok=True)
        if os.access(folder, os.W_OK):
            return folder
    except (OSError, RuntimeError):  # no home, say
        pass
    own = Path(tempfile.mkdtemp(prefix="headwater-shards-"))
    atexit.register(shutil.rmtree, own, ignore_errors=True)
    return own


def _ids_of(
    root: Path | None, remote: Remote | None, shards: Sequence[Shard], *, whole: bool
) -> str | None:
    """The field that names samples, where `headwater shard` packed them; `whole` says that all of a
    folder was asked for.
    """
    names = [shard.name for shard in shards]
    if root is not None:
        return read_manifest(root, names, whole=whole)
    assert remote is not None
    record = remote.record()
    return None if record is None else ids_of_manifest(record, remote.base, names, whole=whole)
