"""Test images that pre-training has seen, as a page: what each source and task share, and the pairs
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
    """Raises InputError for a name that is no page's."""
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
        {"title": f"{line['source']} and {line['task']}", "pairs": record["shown"], "line": line}
        for record, line in zip(records, lines, strict=True)
        if record.get("shown")
    ]
    names = anchors("pairs", [part["title"] for part in parts])
    for part in parts:
        part["anchor"] = names[part["title"]]
    page = rendered(
        "leaks.html",
        title=f"{facts['study']}: test images that pre-training has seen",
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


def _answer(lines: list[dict[str, Any]]) -> str:
    """What all of it says, in a sentence."""
    with_copies = [line for line in lines if line["flagged"] or line["equal_files"]]
    unlooked = [line for line in lines if line["flagged"] is None]
    told = (
        f"Of {len(lines)} pairs of images and a task, {len(with_copies)} share pictures"
        if with_copies
        else "No test image was found among the images that are trained on"
    )
    if unlooked:
        told += f"; for {len(unlooked)} only equal files were looked for"
    return f"{told}."
