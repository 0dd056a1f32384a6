"""Links that data may lie behind."""

from __future__ import annotations

import os
import re
from pathlib import Path

_REPOSITORY = re.compile(r"(datasets|models|spaces)--")


def leads_out(path: Path, root: Path) -> bool:
    """Whether a path lies, by its links, outside of a folder.

    A folder in the cache of huggingface_hub (datasets--NAME/snapshots/REVISION) is links to the
    files of the same repository's `blobs`, which stand for what is in it.
    """
    real, inside = Path(os.path.realpath(path)), Path(os.path.realpath(root))
    if real.is_relative_to(inside):
        return False
    for above in inside.parents:
        if above.name == "snapshots" and _REPOSITORY.match(above.parent.name):
            return not real.is_relative_to(above.parent / "blobs")
    return True
