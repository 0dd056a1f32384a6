"""Shards read through by a process of their own: `python -m headwater.sources.shards.jobs` is given
jobs as JSON lines, and answers each with one.
"""

from __future__ import annotations

import json
import sys

from headwater.sources.shards.answering import answer


def main() -> None:
    """Does jobs until there are none."""
    out = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
