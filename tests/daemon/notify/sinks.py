"""HTTP servers on this machine that take messages, refuse them, redirect them or hang."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink(ThreadingHTTPServer):
    """Keeps what it is sent; its path says how it answers: /ok, /500, /302, /hang."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got: list[dict[str, Any]] = []
        self.release = threading.Event()

    @property
    def place(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Sink

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.got.append(json.loads(body))
        if "hang" in self.path:
            self.server.release.wait(60)
        code = next((int(c) for c in ("500", "302", "401") if c in self.path), 200)
        self.send_response(code)
        self.send_header("Location", "/ok")
        self.end_headers()
        login = self.headers.get("Authorization", "")
        self.wfile.write(
            f'{{"description": "no such chat", "you": "{login} {self.path}"}}'.encode()
        )

    def do_GET(self) -> None:
        self.server.got.append({"title": "a redirect was followed"})
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@contextmanager
def sink() -> Iterator[Sink]:
    """Run one on a free port."""
    server = Sink()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    try:
        yield server
    finally:
        server.release.set()
        server.shutdown()
        server.server_close()
