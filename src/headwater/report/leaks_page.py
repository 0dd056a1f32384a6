"""Copies of test images, as a page: what each source and task share, and the pairs
to look at.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.report.shell import anchors, rendered

OWN = "its own train and val"
_KINDS = ("pixels", "hash", "crop")


def check_leaks_page(path: Path) -> None:
    """Raises InputError for a name that is no page's, and for a folder."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file in it")
    if path.suffix.lower() != ".html":
        raise InputError(f"{path}: copies are shown as a page; end the file's name in .html")


def save_leaks(facts: dict[str, Any], path: Path) -> Path:
    """Writes the page of what `headwater tasks leaks` tells (headwater.facts.leaks), one file that
    asks nothing of any network, and returns its path. Raises InputError where it cannot be written.
    """
    check_leaks_page(path)
    records = [*facts["pairs"], *facts["own"]]
    lines = [_line(record) for record in records]
    parts = [
        {"title": _title(record), "pairs": record["shown"], "line": line}
        for record, line in zip(records, lines, strict=True)
        if record.get("shown")
    ]
    names = anchors("pairs", [part["title"] for part in parts])
    for part in parts:
        part["anchor"] = names[part["title"]]
    page = rendered(
        "leaks.html",
        title=f"{facts['study']}: copies of test images",
        told=facts["told"],
        answer=_answer(lines),
        lines=lines,
        parts=parts,
        data={"panels": []},
    )
    try:
        write_atomic(path, page)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path


def _line(record: dict[str, Any]) -> dict[str, Any]:
    """A record as a line of the table; a count is None where nothing was looked for."""
    kinds = record.get("by_kind")
    share = record.get("share_flagged")
    return {
        "source": record.get("source", OWN),
        "task": record["task"],
        "images": record["images"],
        "test_images": record["test_images"],
        "equal_files": record["equal_files"],
        "kinds": [None if kinds is None else kinds[kind] for kind in _KINDS],
        "flagged": record.get("num_flagged"),
        "share": None if share is None else round(100 * share, 2),
    }


def _title(record: dict[str, Any]) -> str:
    if "source" in record:
        return f"{record['source']} and {record['task']}"
    return f"{record['task']}, {OWN}"


def _answer(lines: list[dict[str, Any]]) -> str:
    """What all of it says, in a sentence or two."""
    found = sum(bool(line["flagged"] or line["equal_files"]) for line in lines)
    unlooked = sum(line["flagged"] is None for line in lines)
    told = f"{found} of {len(lines)} searches found copies of test images."
    if not found:
        told = "No copy of a test image was found."
    if unlooked:
        told += f" In {unlooked} of {len(lines)}, only equal files were looked for."
    return told
