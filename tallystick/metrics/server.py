"""A small HTTP server in a thread: some pages, GET and HEAD, nothing that a client sends is kept."""

import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any, Self

import msgspec

from tallystick.errors import ConfigurationError
from tallystick.logs import get_logger

MOST_REQUESTS = 16
"""So many requests are answered at once; the connections of others are closed."""
REQUEST_SECONDS = 10.0
"""How long a client may take to say what it wants, and to take the answer."""

log = get_logger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What a page answers."""

    body: bytes
    content_type: str
    status: int = 200


Page = Callable[[], Answer]


class PageServer:
    """Serves `pages` by their paths, from when it is entered until it is left. Pages run in threads of their own."""

    def __init__(self, address: str, port: int, pages: Mapping[str, Page]) -> None:
        """Raises ConfigurationError where the address can't be had."""
        try:
            self._server = _Server((address, port), _handler(dict(pages)))
        except OSError as error:
            raise ConfigurationError(
                f"metrics can't be served at {address}:{port}: {error.strerror or error}; "
                "set another --metrics-port, metrics.port or metrics.address, or end what listens there"
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        )

    @property
    def port(self) -> int:
        """The port that it has; the one that was free where 0 was asked for."""
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 32

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._room = threading.BoundedSemaphore(MOST_REQUESTS)
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without asking for this machine's name, as `HTTPServer` does: nobody needs it, and it may take long."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002  (its base's signature)
        log.warning("a request for metrics was broken off", client=str(client_address[0]), exc_info=True)


def _handler(pages: dict[str, Page]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "tallystick", ""
        timeout = REQUEST_SECONDS

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, *_: Any) -> None:
            """Say nothing: a request every few seconds is no news."""

        def _answer(self, *, with_body: bool) -> None:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                answer = Answer(f"no such page; there are {', '.join(pages)}\n".encode(), "text/plain", 404)
            else:
                answer = page()
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(answer.body)

    return Handler
