"""What of a file changes with its bytes, asked without reading them.

The time of modification can be set by anyone; that of change and the inode cannot, so that other
bytes under an equal size and time are seen.
"""

from __future__ import annotations

import os
import time

State = tuple[int, int, int, int]
STATE = ("size", "mtime_ns", "ctime_ns", "inode")
"""The names of what `state_of` returns."""
_TICK_NS = 10_000_000
"""A file that changed less long ago is read a moment later: a second change within one tick of the
clock of files would leave the same times [ours; Linux ticks 100 to 1,000 times a second].
"""


def state_of(stat: os.stat_result) -> State:
    """Size in bytes, times of modification and of change in ns, and the inode, of which 63 bits."""
    inode = stat.st_ino & ((1 << 63) - 1)
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, inode


def state_of_bytes(digest: str) -> State:
    """What stands for an image that is no file: 126 bits of a hex digest of its bytes."""
    bits = int(digest, 16)
    return bits & ((1 << 63) - 1), bits >> 63 & ((1 << 63) - 1), 0, 0


def settle(changed_ns: int) -> None:
    """Waits, 10 ms at most, until a file that changed at `changed_ns` cannot change again without
    another time. To be called after its state was asked and before its bytes are read.
    """
    age = time.time_ns() - changed_ns
    if 0 <= age < _TICK_NS:
        time.sleep((_TICK_NS - age) / 1e9)
