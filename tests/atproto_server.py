"""A host for tests: a real HTTP and WebSocket server on loopback, in a thread, that replays frames by a script.

With a certificate it speaks TLS.
"""

import asyncio
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import aiohttp
import trustme
from aiohttp import web

from producers.atproto.protocol.messages import seq_of

Script = Callable[["Server", web.Request], Awaitable[web.StreamResponse]]
"""What a connection gets."""


class Server:
    """Replays `frames` to each connection from its cursor on, then keeps it open; or does what `scripts` say, one for
    each connection to come.

    A cursor N gives what follows N; with `inclusive` N as well. `pace` are the seconds between two frames. `cursors`
    holds the cursors that were asked for, `documents` what is served as DID documents.
    """

    def __init__(self, frames: Iterable[bytes] = (), *, inclusive: bool = False, pace: float = 0.0) -> None:
        self.frames = list(frames)
        self.scripts: deque[Script] = deque()
        self.cursors: list[str | None] = []
        self.documents: Mapping[str, object] = {}
        self.sent = 0
        self.port = 0
        self.tls: ssl.SSLContext | None = None
        self.pace = pace
        self._inclusive = inclusive

    @property
    def url(self) -> str:
        """What `--host` is given."""
        return f"{'ws' if self.tls is None else 'wss'}://127.0.0.1:{self.port}"

    @property
    def http(self) -> str:
        """The same for what is asked without a stream."""
        return self.url.replace("ws", "http", 1)

    def certify(self, authority: trustme.CA) -> None:
        """Speak TLS from now on, by a certificate of `authority`."""
        self.tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("127.0.0.1").configure_cert(self.tls)

    def after(self, cursor: str | None) -> Sequence[bytes]:
        """Return the frames that a cursor asks for; without one all of them, as if they happened now."""
        wanted = int(cursor or 0) + (0 if self._inclusive else 1)
        return [frame for frame in self.frames if not cursor or seq_of(frame) >= wanted]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a subscription."""
        self.cursors.append(request.query.get("cursor"))
        return await (self.scripts.popleft() if self.scripts else replay())(self, request)

    async def document(self, request: web.Request) -> web.Response:
        """Answer a question for a DID document."""
        found = self.documents.get(request.match_info["did"])
        return web.json_response(found, status=404 if found is None else 200)


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    """Run a server while the block runs."""
    loop, started = asyncio.new_event_loop(), threading.Event()

    async def begin() -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/xrpc/{name}", server.handle)
        app.router.add_get("/{did}", server.document)
        runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server.tls)
        await site.start()
        server.port = runner.addresses[0][1]
        return runner

    def run() -> None:
        runner = loop.run_until_complete(begin())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def replay(*, then: Callable[[web.WebSocketResponse, web.Request], Awaitable[None]] | None = None) -> Script:
    """Send the frames from the cursor on, then do something, or stay open."""

    async def script(server: Server, request: web.Request) -> web.StreamResponse:
        return await send(*server.after(request.query.get("cursor")), then=then)(server, request)

    return script


def send(
    *frames: bytes | str, then: Callable[[web.WebSocketResponse, web.Request], Awaitable[None]] | None = None
) -> Script:
    """Send these frames, text as text, then do something, or stay open."""

    async def script(server: Server, request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False)
        await response.prepare(request)
        listening = asyncio.create_task(_listen(response))
        with suppress(ConnectionError, aiohttp.ClientError):
            for frame in frames:
                await (response.send_str(frame) if isinstance(frame, str) else response.send_bytes(frame))
                server.sent += 1
                if server.pace:
                    await asyncio.sleep(server.pace)
            await (then(response, request) if then else listening)
        listening.cancel()
        return response

    return script


def deaf(*frames: bytes) -> Script:
    """Send these frames, then neither say anything nor answer pings, as behind a half-open connection."""

    async def script(server: Server, request: web.Request) -> web.StreamResponse:
        response = web.WebSocketResponse(compress=False, autoping=False)
        await response.prepare(request)
        for frame in frames:
            await response.send_bytes(frame)
            server.sent += 1
        await asyncio.sleep(60)
        return response

    return script


def answer(status: int, headers: Mapping[str, str] | None = None) -> Script:
    """Answer by HTTP in place of a stream."""

    async def script(_server: Server, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers=headers, text="no")

    return script


def close(code: int, reason: str = "") -> Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]:
    """Close the connection with a code."""

    async def act(response: web.WebSocketResponse, _request: web.Request) -> None:
        await response.close(code=code, message=reason.encode())

    return act


async def reset(_response: web.WebSocketResponse, request: web.Request) -> None:
    """Reset the TCP connection."""
    transport = request.transport
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def fragments(frame: bytes, count: int) -> Callable[[web.WebSocketResponse, web.Request], Awaitable[None]]:
    """Send one frame as so many WebSocket fragments, and close."""

    async def act(response: web.WebSocketResponse, request: web.Request) -> None:
        size = -(-len(frame) // count)
        pieces = [frame[start : start + size] for start in range(0, len(frame), size)]
        assert request.transport is not None
        for number, piece in enumerate(pieces):
            first, last = number == 0, number == len(pieces) - 1
            request.transport.write(_raw(piece, opcode=2 if first else 0, last=last))
            await asyncio.sleep(0.01)
        await response.close()

    return act


def _raw(payload: bytes, *, opcode: int, last: bool) -> bytes:
    head = bytes((opcode | 0x80 * last,))
    if len(payload) < 126:
        return head + bytes((len(payload),)) + payload
    if len(payload) < 1 << 16:
        return head + bytes((126,)) + len(payload).to_bytes(2) + payload
    return head + bytes((127,)) + len(payload).to_bytes(8) + payload


async def _listen(response: web.WebSocketResponse) -> None:
    """Answer pings until the client has gone."""
    while (await response.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING):
        pass
