"""A chart that shows itself in a notebook, and that other tools for Vega-Lite read."""

from __future__ import annotations

import base64
import copy
import json
import struct
from pathlib import Path
from typing import Any

from headwater import plain
from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.report.chart_file import save_chart
from headwater.report.figures import draw

_MIME = "application/vnd.vegalite.v6+json"
_SCALE = 2.0
"""Pixels of the image per unit of the chart."""


class Figure:
    """A Vega-Lite chart. In a notebook the last line of a cell shows it: drawn by the notebook
    where that knows Vega-Lite, else as the image that it brings.

    `spec` is a plain Vega-Lite specification (altair.Chart.from_dict reads it).
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec: dict[str, Any] = _without_notes(plain.cleaned(copy.deepcopy(spec)))
        # Vega's word, which Vega-Lite hands on and its schema lacks
        self.spec.get("config", {}).get("legend", {}).pop("layout", None)

    @property
    def title(self) -> str:
        title = self.spec.get("title", "")
        return str(title.get("text", "")) if isinstance(title, dict) else str(title)

    def __repr__(self) -> str:
        return f"Figure({self.title!r})"

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        png = draw(self.spec, "png", scale=_SCALE)
        width, height = struct.unpack(">II", png[16:24])
        bundle = {
            _MIME: self.spec,
            "image/png": base64.b64encode(png).decode("ascii"),
            "text/plain": repr(self),
        }
        size = {"width": round(width / _SCALE), "height": round(height / _SCALE)}
        return bundle, {"image/png": size}

    def save(self, path: str | Path) -> Path:
        """Write the chart as .svg, .png, .pdf, .html (one offline page) or .json (the
        specification) and return the path.

        Raises InputError for another format, and where the file cannot be written.
        """
        path = Path(path)
        if path.suffix.lower() != ".json":
            return save_chart(self.spec, path)
        try:
            write_atomic(path, json.dumps(self.spec, indent=1) + "\n")
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror})") from None
        return path


def _without_notes(part: Any) -> Any:
    """A specification without what the report's page notes in its parts for itself, which the
    schema of Vega-Lite has at the top alone.
    """
    if isinstance(part, dict):
        return {key: _without_notes(each) for key, each in part.items() if key != "usermeta"}
    return [_without_notes(each) for each in part] if isinstance(part, list) else part
