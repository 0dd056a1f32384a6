"""A command that lives no longer than whoever started it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

_PATIENCE_S = 60.0


def tie() -> None:
    """From now on the end of stdin, whose other end whoever started this process holds, stops it as
    SIGTERM does, so that what was done is kept; after a minute it ends as it is.
    """
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_S)
    os._exit(1)
