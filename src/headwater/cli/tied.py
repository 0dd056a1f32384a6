"""A `headwater` command that lives no longer than whoever started it.

    python -P -m headwater.cli.tied worker STORE ...

When stdin closes, whoever held it is gone: the command is told to stop, as by SIGTERM, so that what
was done is kept. One that does not end within a minute ends at once.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

from headwater.cli import main

_PATIENCE_S = 60.0


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE_S)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_watch, daemon=True).start()
    main()
