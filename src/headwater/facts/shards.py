"""What `headwater shard` does and says: folders and the data of studies packed into tars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.facts.folders import opened_folder
from headwater.plan import Plan
from headwater.registry import SOURCE_KINDS
from headwater.sources import Source
from headwater.sources.shards.packing import pack
from headwater.study import Study

Watch = Callable[[str, int, int], object]


def pack_facts(
    name: str,
    folder: Path | None,
    out: Path,
    data_root: Path | None,
    *,
    per_shard: int,
    watch: Watch = lambda name, done, total: None,
) -> dict[str, Any]:
    """Packs a folder into `out`, or each data entry of the study file `name` into out/ENTRY.

    The facts: `packed`, for each its folder, shards, samples, bytes, images left out and the entry
    that reads it; and `passed_over`, entries that are not packed, with the reason. Raises
    InputError where nothing can be packed.
    """
    passed_over: dict[str, str] = {}
    if folder is not None:
        entries: list[tuple[str, Source, Path]] = [("", opened_folder(folder), out)]
    else:
        entries = list(_of_study(Study.load(Path(name)), out, data_root, passed_over))
    packed = []
    for entry, source, place in entries:
        done = pack(
            source,
            place,
            per_shard=per_shard,
            watch=partial(watch, source.name),
        )
        packed.append(
            {
                "data": entry or source.name,
                "folder": str(place),
                "shards": done.shards,
                "samples": done.samples,
                "bytes": done.bytes,
                "left_out": done.left_out,
                "entry": {"kind": "shards", "path": str(place.absolute())},
            }
        )
    if not packed:
        reasons = "; ".join(f"{entry}: {why}" for entry, why in passed_over.items())
        raise InputError(f"{name}: there is nothing to pack ({reasons})")
    return {"packed": packed, "passed_over": passed_over}


def _of_study(
    study: Study, out: Path, data_root: Path | None, passed_over: dict[str, str]
) -> Iterator[tuple[str, Source, Path]]:
    sources = Plan.opened(study, data_root=data_root).sources
    for entry, source in sources.items():
        kind = SOURCE_KINDS[study.data[entry].kind]
        if kind.compose is not None:
            passed_over[entry] = "is made of other entries, and stays as it is"
        elif source.generated:
            passed_over[entry] = "is generated, and has no files"
        elif kind.name == "shards":
            passed_over[entry] = "is in shards"
        else:
            yield entry, source, out / entry
