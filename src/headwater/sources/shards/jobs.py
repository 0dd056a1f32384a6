"""Shards read through by a process of their own: `python -m headwater.sources.shards.jobs` is given
jobs as JSON lines, and answers each with one.
"""

from __future__ import annotations

import gc
import json
import sys

from headwater.sources.shards.answering import answer

_OBJECTS = 200_000
"""Objects after which garbage is looked for: a shard's samples make tens of thousands that are none
[ours]; the usual 700 cost a tenth of the time.
"""


def main() -> None:
    """Does jobs until there are none."""
    gc.set_threshold(_OBJECTS)
    out, room = sys.stdout, bytearray()
    sys.stdout = sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line), room)) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
