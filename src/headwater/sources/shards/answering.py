"""A job of reading one shard through, as it is asked of another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources.shards.parts import read_part, write_part


def answer(job: dict[str, Any], room: bytearray | None = None) -> dict[str, Any]:
    """Reads the shard of a job, into `room`, and writes its part."""
    beside = None if job["beside"] is None else Path(job["beside"])
    try:
        part = read_part(Path(job["path"]), job["stem"], beside, job["image"], job["where"], room)
        write_part(part, Path(job["part"]), Path(job["fields"]))
    except InputError as error:
        return {"wrong": str(error)}
    except (OSError, MemoryError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"samples": len(part.samples)}
