"""A process that opens hostile shards and says what came of it: what was refused, in how many
seconds of the processor, with how much more memory. Each is opened by a fork of it, so that what it
imports is there already.

    python -m tests.sources.shards.hostile     paths of folders of shards, as lines
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import InputError
from headwater.sources.looking import EVERYTHING, look
from headwater.sources.shards import index, open_shards


def opened(root: Path) -> dict[str, Any]:
    """What comes of a folder of shards that is opened, read and looked at as a plan would do it."""
    before, began = _peak(), time.process_time()
    said: dict[str, Any] = {"refused": None, "bad": {}, "notes": []}
    try:
        source = open_shards("web", str(root), cache=root.parent / f"{root.name}-cache")
        ids = source.table.ids.tolist()
        for name in source.table.texts:
            source.table.texts[name].tolist()
        bad = look(source, np.arange(len(ids)), 32, EVERYTHING).bad
        said["bad"] = {ids[at].rpartition("/")[2]: kind for at, kind in bad.items()}
        said["notes"] = list(source.notes)
    except InputError as error:
        said["refused"] = str(error)
    except BaseException as error:  # a fork must not go on as its parent
        said["refused"] = f"{type(error).__name__}: {error}"
    return {**said, "seconds": time.process_time() - began, "mb": (_peak() - before) / 1e6}


def _peak() -> int:
    """Bytes of memory that this process has held at most."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held if sys.platform == "darwin" else 1024 * held


def main() -> None:
    index._FEW_BYTES = 1 << 62  # this process reads the shards, and is measured
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            print(json.dumps(opened(Path(line.strip()))), flush=True)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status:
            print(json.dumps({"refused": f"the process ended with {status}"}), flush=True)


if __name__ == "__main__":
    main()
