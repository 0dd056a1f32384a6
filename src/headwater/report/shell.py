"""What all pages have in common: one file, one style for light, dark, phone and paper, a strict
Content-Security-Policy, and the scripts that draw charts, sort tables and write them to files.

The files of a page lie in web/: templates (shell.html is the frame of the others), styles, and
scripts, which run as one.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Any

from headwater.report.charts.theme import theme
from headwater.report.offline import bundle, compressed_json, digest, shown_text, trusted

_SHARED = ("tables.js", "charts.js")
_DIGITS = 8
"""Of a digest in an anchor, in hex; more where they are another's."""
_START = '"use strict";\n(async () => {\n'
_END = """
  document.documentElement.dataset.ready = "yes";
})().catch((error) => {
  const words = document.createElement("p");
  words.textContent = "This page could not be opened whole (it needs a browser of 2023 or later): "
    + error.message;
  document.querySelector("main").prepend(words);
});
"""


def rendered(
    template: str, *, scripts: Sequence[str] = (), data: dict[str, Any], **words: Any
) -> str:
    """The HTML of a page: a template of web/ with `words`, the shared scripts and `scripts` after
    them, which read `data` (plain values; `panels` are the charts: {title, spec}).
    """
    import jinja2

    own = _START + "\n".join(map(_file, (*_SHARED, *scripts))) + _END
    drawing = bundle() if data["panels"] else ""  # it is large
    everything = {"bundle": drawing, "page": own}
    data = data | {"themes": {"light": theme(dark=False), "dark": theme(dark=True)}}
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=shown_text,
    )
    return environment.get_template(template).render(
        **words,
        style=trusted(_file("shell.css") + _file("print.css")),
        scripts={name: trusted(text) for name, text in everything.items()},
        hashes=[digest(text) for text in everything.values()],
        data=trusted(compressed_json(data)),
    )


def anchors(kind: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> the id of its place in a page, such as arm-supervised-level-0-photos: made of the
    name alone, so that a link to it holds in the next report, whatever the order. Names without
    such letters, and those that would share one, have some of the SHA-256 of the name behind it.
    """
    plain = {name: re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") for name in names}
    sharing = Counter(plain.values())
    chosen = {name: f"{kind}-{word}" for name, word in plain.items() if word and sharing[word] == 1}
    taken = set(chosen.values())
    for name in sorted(plain.keys() - chosen.keys()):
        first = f"{kind}-{plain[name]}".rstrip("-")
        digest_of = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        ends = (f"{first}-{digest_of[:length]}" for length in range(_DIGITS, 65))
        chosen[name] = next(anchor for anchor in ends if anchor not in taken)
        taken.add(chosen[name])
    return {name: chosen[name] for name in plain}


def _file(name: str) -> str:
    return files("headwater.report").joinpath("web", name).read_text(encoding="utf-8")
