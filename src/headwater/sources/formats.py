"""Which files count as images where a folder is walked, by the ending of their names.

What a file really holds is decided by its bytes (pixels.FORMATS).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

IMAGE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".jfi",
        ".pjpeg",
        ".pjp",
        ".mpo",
        ".png",
        ".apng",
        ".webp",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".ppm",
        ".pgm",
        ".pbm",
        ".pnm",
        ".jp2",
        ".j2k",
        ".avif",
    ]
)
"""Endings of the formats that are opened; they are met in any case."""
MAX_FILE_BYTES = 1 << 28
"""256 MiB: far above any photo, and a limit on what one file can take of memory [ours]."""
_TEXTS = frozenset(
    [
        ".txt",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".xml",
        ".yaml",
        ".yml",
        ".html",
        ".htm",
        ".py",
        ".ipynb",
        ".log",
        ".db",
        ".ini",
        ".cfg",
        ".toml",
        ".parquet",
        ".npy",
        ".npz",
        ".md5",
        ".sha256",
        ".sha1",
        ".license",
        ".pdf",
        ".bib",
        ".url",
        ".lnk",
        ".sh",
    ]
)
"""Endings of what lies beside images and is none; their files are not spoken of."""
_TEXT_NAMES = frozenset({"license", "licence", "readme", "copying", "notice", "makefile", "icon\r"})


def is_image(name: str) -> bool:
    """Whether a file counts as an image by the ending of its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def unread_ending(name: str) -> str | None:
    """The ending of a file that is left out and may be an image; None of texts and tables."""
    ending = os.path.splitext(name)[1].lower()
    if ending in _TEXTS or name.lower() in _TEXT_NAMES:
        return None
    return ending or "no ending"


def told_endings(counts: Mapping[str, int]) -> str:
    """'3 .heic, 2 .avif', the most frequent first, six at most."""
    ordered = sorted(counts, key=lambda ending: (-counts[ending], ending))
    shown = [f"{counts[ending]:,} {ending}" for ending in ordered[:6]]
    rest = sum(counts[ending] for ending in ordered[6:])
    return ", ".join([*shown, *([f"{rest:,} others"] if rest else [])])


def counted(number: int, one: str, several: str | None = None) -> str:
    """'1 image', '2 images'."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"
