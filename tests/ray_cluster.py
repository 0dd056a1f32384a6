"""A Ray cluster of two nodes on this machine, in a process of its own.

    RAY_TMPDIR=FOLDER python tests/ray_cluster.py

Says its address and the process of each node's raylet in one line of JSON, does what each line on
stdin says (`kill`: the second node, with all that it started, and at once; `stored`: the bytes
that the object stores ever held), and ends when stdin closes. It listens on 127.0.0.1 only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

OBJECT_STORE = 80 * 1024**2


def descendants(pid: int) -> list[int]:
    """A process and all that it started, as far as their parents live."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def end_at_once(pids: list[int]) -> None:
    """Stopped first, so that none can do anything about the end of another."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


def stored(raylets: list[int]) -> int:
    """Bytes of the files that nodes keep objects in, as far as anything was ever written there."""
    blocks = 0
    for raylet in raylets:
        for file in Path(f"/proc/{raylet}/fd").glob("*"):
            with suppress(OSError):
                if "plasma" in os.readlink(file) and file.is_file():
                    blocks += file.stat().st_blocks
    return 512 * blocks


def main() -> None:
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    (Path(os.environ["RAY_TMPDIR"]) / "ray").mkdir()  # which Ray takes for there
    from ray._private import ray_constants
    from ray.cluster_utils import Cluster

    ray_constants.ENABLE_RAY_CLUSTER = False  # 127.0.0.1
    words = {
        "num_cpus": 1,
        "object_store_memory": OBJECT_STORE,
        "node_ip_address": "127.0.0.1",
        "include_dashboard": False,
    }
    out, sys.stdout = sys.stdout, sys.stderr
    cluster = Cluster(initialize_head=True, head_node_args=words)
    try:
        other = cluster.add_node(**{k: v for k, v in words.items() if k != "include_dashboard"})
        raylets = [
            node.all_processes["raylet"][0].process.pid for node in (cluster.head_node, other)
        ]
        print(json.dumps({"address": cluster.address, "raylets": raylets}), file=out, flush=True)
        for line in sys.stdin:
            if line.strip() == "kill":
                end_at_once(descendants(raylets[1]))
                print("{}", file=out, flush=True)
            elif line.strip() == "stored":
                print(json.dumps({"bytes": stored(raylets)}), file=out, flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
