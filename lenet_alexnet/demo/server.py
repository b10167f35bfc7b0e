"""The page and the answers over HTTP, for this machine only."""

import base64
import hashlib
import json
import re
import socketserver
import sys
import webbrowser
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from lenet_alexnet.demo.reader import Readers
from lenet_alexnet.errors import LenetAlexnetError, UsageError
from lenet_alexnet.inference.open_run import TrainedRun

ADDRESS = "127.0.0.1"  # reachable from this machine only
NAMES = {ADDRESS, "localhost"}  # under which a browser may ask; others may be rebound DNS names
SIDE = 280  # of the drawing: a request has SIDE*SIDE bytes, no more
PAGE = Path(__file__).with_name("page.html")
BYTES, TEXT, JSON = "application/octet-stream", "text/plain", "application/json"


def serve(
    networks: Mapping[str, Callable[[], TrainedRun]], *, port: int = 0, browser: bool = True
) -> None:
    """Serves the page until Ctrl-C.

    Args:
      networks: the function that opens each network, by name; the first one is shown first.
      port: 0: a free one.
      browser: whether to open the page in a browser.

    Raises:
      UsageError: the port cannot be used, or the first network does not read digits.
      DataError: the first network's files are damaged.
    """
    try:
        server = Server(port, Readers(networks))
    except OSError as error:
        why = error.strerror or error
        raise UsageError(f"cannot use port {port}: {why}; --port=0 takes a free one") from error
    with server:
        server.readers[next(iter(networks))]  # Opened now, so that a mistake is reported here.
        print(f"draw a digit at {server.url} (Ctrl-C stops)", flush=True)
        try:
            if browser:
                webbrowser.open(server.url)
            server.serve_forever()
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)


class Server(ThreadingHTTPServer):
    """The page at `url`, the names at /networks, answers at /answer?network=NAME."""

    daemon_threads = True  # An answer under way does not delay the end.

    def __init__(self, port: int, readers: Readers) -> None:
        """Binds the port; OSError if it cannot."""
        self.readers = readers
        self.page = PAGE.read_bytes()
        self.policy = policy(self.page.decode())
        super().__init__((ADDRESS, port), Handler)

    def server_bind(self) -> None:
        """Binds without looking up the machine's name, which may wait for a DNS server."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """One line; nothing if the browser has closed the connection."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            print(f"error: the page's request failed: {error!r}", file=sys.stderr)


class Handler(BaseHTTPRequestHandler):
    """Answers the page's requests; refuses all others."""

    server: Server
    protocol_version = "HTTP/1.1"  # One connection serves many strokes.
    disable_nagle_algorithm = True  # Otherwise the answer waits 40 ms for an acknowledgement.
    timeout = 60

    def do_GET(self) -> None:
        """The page, or the names of the networks."""
        if not self._is_from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "only for pages of this machine")
        elif self.path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.page)
        elif self.path == "/networks":
            self._send_json(self.server.readers.names)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")

    def do_POST(self) -> None:
        """The answer to a drawing: SIDE*SIDE bytes, 255 where there is ink."""
        url = urlsplit(self.path)
        length = self.headers.get("Content-Length", "")
        if not self._is_from_here():
            self._refuse(HTTPStatus.FORBIDDEN, "only for pages of this machine")
        elif url.path != "/answer":
            self._refuse(HTTPStatus.NOT_FOUND, "no such page")
        elif self.headers.get("Content-Type") != BYTES:
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a drawing is {BYTES}")
        elif length != str(SIDE * SIDE):
            self._refuse(HTTPStatus.BAD_REQUEST, f"a drawing has {SIDE * SIDE} bytes")
        else:
            self._answer(parse_qs(url.query).get("network", [""])[0], self.rfile.read(SIDE * SIDE))

    def _answer(self, name: str, drawing: bytes) -> None:
        if len(drawing) < SIDE * SIDE:
            self._refuse(HTTPStatus.BAD_REQUEST, f"a drawing has {SIDE * SIDE} bytes")
            return
        try:
            found = self.server.readers[name](np.frombuffer(drawing, np.uint8).reshape(SIDE, SIDE))
        except LenetAlexnetError as error:
            self._refuse(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        else:
            self._send_json(found)

    def _is_from_here(self) -> bool:
        """Whether the browser asked under this machine's names, and for a page of this server.

        The port may be another one, forwarded by ssh.
        """
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        return host.partition(":")[0] in NAMES and origin in (None, f"http://{host}")

    def _send_json(self, content: Any) -> None:
        self._send(HTTPStatus.OK, JSON, json.dumps(content, allow_nan=False).encode())

    def _refuse(self, status: HTTPStatus, line: str) -> None:
        self.close_connection = True  # The body was not read.
        self._send(status, f"{TEXT}; charset=utf-8", line.encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def end_headers(self) -> None:
        """Adds what restricts the page and others' use of the answers."""
        self.send_header("Content-Security-Policy", self.server.policy)
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def version_string(self) -> str:
        """Without Python's version."""
        return "lenet_alexnet"

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not printed."""


def policy(page: str) -> str:
    """A content security policy that permits the page's own script and style and nothing else."""
    allowed = ["default-src 'none'", "connect-src 'self'", "img-src data:"]
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        allowed.append(f"{tag}-src 'sha256-{digest}'")
    return "; ".join([*allowed, "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'"])
