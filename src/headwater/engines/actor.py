"""A node's end of a worker in a Ray cluster.

Nothing but Python's own library is used, so that it can say what is wrong on a node without
Headwater.
"""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any


def worker_class() -> type:
    """The class of actors, made anew: a class that no module has at its top is sent by Ray as it
    is, to nodes that lack this module too.
    """

    class Worker:
        """A node's end of one worker: starts it, waits for it, and passes on that it should stop.

        `work` and `stop` are called at once, from two threads.
        """

        def __init__(self, setting: dict[str, Any]) -> None:
            self.setting = setting
            self.lock, self.stopped = threading.Lock(), False
            self.process: subprocess.Popen[bytes] | None = None

        def work(self) -> dict[str, Any]:
            """How the worker ended: its exit code and last words, or why it was not started."""
            wrong = self.wrong()
            if wrong is not None:
                return {"wrong": wrong, "node": socket.gethostname()}
            setting = self.setting
            environment = {**os.environ, **setting["environment"]}
            environment.pop("OMP_NUM_THREADS", None)  # Ray's, which is not ours
            name = self.log()
            with open(name, "ab") as log:
                with self.lock:
                    if self.stopped:
                        return {"code": 0, "said": "", "node": socket.gethostname()}
                    self.process = subprocess.Popen(
                        [sys.executable, "-P", "-m", "headwater", *setting["words"], "--tied"],
                        stdin=subprocess.PIPE,
                        stdout=log,
                        stderr=log,
                        env=environment,
                        start_new_session=True,
                    )
                code = self.process.wait()
            with open(name, "rb") as log:
                said = log.read()[-2000:].decode("utf-8", "replace")
            return {"code": code, "said": said, "node": socket.gethostname()}

        def stop(self) -> None:
            with self.lock:
                self.stopped = True
                if self.process is not None and self.process.poll() is None:
                    self.process.terminate()

        def log(self) -> str:
            """Where what the worker says is kept: in the store, or beside this node's copy of one
            at an address, or else among the temporary files of this node.
            """
            name = str(self.setting["log"])
            try:
                os.makedirs(os.path.dirname(name), exist_ok=True)
                with open(name, "ab"):
                    return name
            except OSError:
                return os.path.join(tempfile.gettempdir(), os.path.basename(name))

        def wrong(self) -> str | None:
            """Why this node cannot work for the run."""
            setting = self.setting
            try:
                version = importlib.metadata.version("headwater")
            except importlib.metadata.PackageNotFoundError:
                return f"has no headwater for {sys.executable}; install it there"
            if version != setting["version"]:
                return f"has headwater {version}, the run has {setting['version']}; install that"
            if "://" in setting["store"]:  # the worker will say whether it can be reached
                return None
            if not os.path.isdir(setting["store"]):
                return (
                    f"sees no folder {setting['store']}; the store must be on a disk that all "
                    "nodes have at that path (--store)"
                )
            end = time.monotonic() + setting["patience_s"]
            while True:
                try:
                    seen = os.stat(setting["study"]).st_mtime
                    break
                except OSError:
                    if time.monotonic() > end:
                        return (
                            f"has another store at {setting['store']} than the run: it lacks "
                            f"{setting['study']}; the store must be on a disk that all nodes have"
                        )
                time.sleep(0.2)
            if abs(seen - setting["changed"]) > 2.0:
                return f"has another store at {setting['store']} than the run; share one disk"
            if not os.access(setting["store"], os.W_OK):
                return f"may not write to {setting['store']}"
            return None

    return Worker
