"""Servers on this machine, of HTTP and S3, that answer ranges, count bytes, and go wrong when they
are told to.
"""

from __future__ import annotations

import contextlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
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


Answer = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""
Find = Callable[[str, dict[str, str]], Answer]
"""The answer to a path and the headers that came with it."""


def _handler(served: Served, find: Find) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            status, headers, data = find(self.path, dict(self.headers))
            kind = served.fault() if status < 300 else ""
            if kind == "fails":
                self.send_error(503)
                return
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
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
                    served.sent += len(data) if status < 300 and "list-type" not in self.path else 0
            if kind:
                self.close_connection = True

    return Handler


def _of_disk(root: Path) -> Find:
    """Files of a folder, or ranges of them."""

    def find(path: str, headers: dict[str, str]) -> Answer:
        file = root / path.lstrip("/")
        if not file.is_file():
            return 404, {}, b"not found"
        data, asked = file.read_bytes(), headers.get("Range", headers.get("range"))
        total = len(data)
        told = {
            "Last-Modified": "Wed, 01 Jul 2026 10:00:00 GMT",
            "ETag": f'"{file.stat().st_mtime_ns}-{total}"',
        }
        if asked is None:
            return 200, told, data
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or total), total - 1)
        told["Content-Range"] = f"bytes {begin}-{end}/{total}"
        return 206, told, data[begin : end + 1]

    return find


def _of_server(url: str) -> Find:
    """What another server answers to GET; of HEAD the body is left out by whoever sends it."""
    host = url.removeprefix("http://")

    def find(path: str, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(host)
        try:
            connection.request("GET", path, headers={**headers, "Connection": "close"})
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        own = ("content-length", "connection", "transfer-encoding", "date", "server")
        told = {name: value for name, value in answer.getheaders() if name.lower() not in own}
        return answer.status, told, data

    return find


@contextlib.contextmanager
def web(root: Path) -> Iterator[Served]:
    """A folder behind http://127.0.0.1."""
    with _serving(Served(root), _of_disk(root)) as served:
        yield served


@contextlib.contextmanager
def before(url: str) -> Iterator[Served]:
    """Another server, behind one that counts bytes and goes wrong."""
    with _serving(Served(Path()), _of_server(url)) as served:
        yield served


@contextlib.contextmanager
def _serving(served: Served, find: Find) -> Iterator[Served]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(served, find))
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


@contextlib.contextmanager
def s3(root: Path, bucket: str = "corpora") -> Iterator[tuple[str, dict[str, str]]]:
    """(its address, what the environment should say of it): moto's server, which speaks S3 on this
    machine, with a folder's files below BUCKET/web/.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        keys = {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
        client = boto3.client(
            "s3",
            endpoint_url=url,
            aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
            region_name=keys["AWS_REGION"],
        )
        client.create_bucket(Bucket=bucket)
        for path in root.iterdir():
            client.upload_file(str(path), bucket, f"web/{path.name}")
        yield url, {**keys, "AWS_ENDPOINT_URL": url}
    finally:
        server.stop()
