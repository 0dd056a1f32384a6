"""The script of Vega, kept between reports: to bundle it takes two seconds, and it is the same for
one version of vl-convert.

It lies in the user's cache (`$XDG_CACHE_HOME/headwater`, or `~/.cache/headwater`) behind its
digest; one that is damaged is made again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from headwater import digests
from headwater.files import users_cache, write_atomic


def kept_script(name: str, make: Callable[[], str]) -> str:
    """What `make` gives, made once for each `name` (a file name, versions included)."""
    path = users_cache("scripts") / f"{name}.js"
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        kept = digests.unframed(name, path.read_bytes())
        if kept is not None:
            return kept.decode("utf-8")
    script = make()
    with contextlib.suppress(OSError, RuntimeError):  # without a place to keep it, it costs seconds
        write_atomic(path, digests.framed(name, script.encode("utf-8")))
    return script
