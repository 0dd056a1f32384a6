"""A web server on this machine that answers ranges, counts bytes, and goes wrong when it is told
to.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Served:
    """What a server has sent, and how it goes wrong."""

    root: Path
    url: str = ""
    sent: int = 0
    """Bytes of bodies."""
    requests: int = 0
    wrong: float = 0.0
    """Share of requests that fail, stall or are cut, in turn."""
    stall_s: float = 1.0
    faults: dict[str, int] = field(default_factory=dict)
    draw: random.Random = field(default_factory=lambda: random.Random(0))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self) -> str:
        with self.lock:
            self.requests += 1
            if self.draw.random() >= self.wrong:
                return ""
            kind = ("fails", "stalls", "cut")[sum(self.faults.values()) % 3]
            self.faults[kind] = self.faults.get(kind, 0) + 1
            return kind


def _handler(served: Served) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = served.root / self.path.lstrip("/")
            if not path.is_file():
                self.send_error(404)
                return
            kind = served.fault()
            if kind == "fails":
                self.send_error(503)
                return
            data, status = path.read_bytes(), 200
            total, asked = len(data), self.headers.get("Range")
            if asked is not None:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                begin, end = int(first), min(int(last or total), total - 1)
                data, status = data[begin : end + 1], 206
            self.send_response(status)
            if status == 206:
                self.send_header("Content-Range", f"bytes {begin}-{end}/{total}")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Last-Modified", "Wed, 01 Jul 2026 10:00:00 GMT")
            self.send_header("ETag", f'"{path.stat().st_mtime_ns}-{total}"')
            self.end_headers()
            if not body:
                return
            if kind == "cut":
                data = data[: len(data) // 2]
            if kind == "stalls":
                time.sleep(served.stall_s)
            with contextlib.suppress(OSError):
                self.wfile.write(data)
                with served.lock:
                    served.sent += len(data)
            if kind:
                self.close_connection = True

    return Handler


@contextlib.contextmanager
def web(root: Path) -> Iterator[Served]:
    """A folder behind http://127.0.0.1."""
    served = Served(root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served))
    server.daemon_threads = True
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
