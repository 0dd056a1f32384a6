"""What an offline page is made of: Vega as one script, and scripts and data that are safe inside
HTML.

A page asks nothing of any network and runs under the strict Content-Security-Policy that it
carries: no script but the ones whose SHA-256 the policy lists, no eval, no connection. vl-convert
bundles Vega, Vega-Lite and vega-embed; vega-embed 7 holds Vega's interpreter for expressions and
uses it where `ast: true` is given.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from functools import lru_cache
from importlib.metadata import version
from typing import Any

from headwater import plain
from headwater.report.figures import VEGA_LITE
from headwater.report.kept_script import kept_script


def shown_text(value: Any) -> Any:
    """What jinja2 writes of a value: of text, nothing that a browser would obey; what is trusted
    stays as it is.
    """
    return plain.shown(value) if type(value) is str else value


def trusted(text: str) -> Any:
    """Text of ours (style, scripts, JSON with `<` escaped) that jinja2 must leave as it is."""
    from markupsafe import Markup

    return Markup(text)


@lru_cache(maxsize=1)
def bundle() -> str:
    """Vega, Vega-Lite and vega-embed as one script (0.9 MB, 2 s to make, then kept), safe to stand
    inside a script element.
    """
    return kept_script(f"vega-{version('vl-convert-python')}-{VEGA_LITE}", _bundled)


def _bundled() -> str:
    import vl_convert

    return (
        str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE))
        .replace("</script", "<\\/script")
        .replace("<!--", "<\\!--")
    )


def digest(script: str) -> str:
    """How a Content-Security-Policy names a script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def compressed_json(value: Any) -> str:
    """JSON as gzip in base64, which any browser since 2023 can open (`DecompressionStream`)."""
    text = json.dumps(
        plain.cleaned(value), ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode()
