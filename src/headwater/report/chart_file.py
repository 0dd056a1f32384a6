"""A chart as a file of its own: an image by vl-convert, or one offline HTML page with numbers under
the pointer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.report.chart_page import chart_page
from headwater.report.figures import FORMATS, draw

SUFFIXES = (*FORMATS, "html")


def check_chart(path: Path) -> str:
    """The format that a file's name asks for. Raises InputError for one that is not drawn."""
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: a chart is written as {', '.join(f'.{s}' for s in SUFFIXES)}; end the file's "
            "name in one of them"
        )
    return suffix


def save_chart(spec: dict[str, Any], path: Path) -> Path:
    """Write a titled Vega-Lite specification in the format of the file's name and return its path.

    Raises InputError for a format that is not drawn, and where the file cannot be written.
    """
    suffix = check_chart(path)
    try:
        write_atomic(
            path,
            chart_page(spec, title=spec["title"]["text"])
            if suffix == "html"
            else draw(spec, suffix),
        )
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    return path
