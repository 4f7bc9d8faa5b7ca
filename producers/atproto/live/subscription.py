"""One endless subscription of one host's stream over a WebSocket: connect, read, look whether it is alive, and connect
again. What the frames mean is for `arrivals`. While too much waits the socket isn't read, so that TCP holds the host
back.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NoReturn

import aiohttp

from producers.atproto.http import retry_after, words_of
from producers.atproto.live.arrivals import Arrivals, Dropped
from producers.atproto.live.measures import Measure
from producers.atproto.live.reconnecting import REFUSALS, Backoff
from producers.atproto.live.stream import Stream
from producers.atproto.protocol.faults import shown
from producers.atproto.protocol.framing import MAX_FRAME_BYTES, FrameError, FrameReason
from tallystick import __version__
from tallystick.contracts.atproto import NoticeKind
from tallystick.errors import ConfigurationError
from tallystick.settings import AtprotoSettings

MAX_MESSAGE_BYTES = MAX_FRAME_BYTES + 64 * 1024
"""A little more than a frame may have, so that one which is too large can be shown, and isn't only a broken socket."""
CLOSE_SECONDS = 1.0
ROOM_SECONDS = 0.02
"""How often is looked whether there is room again."""
_TURN = 64
"""After how many messages others get their turn, where the socket always has more."""

Sleep = Callable[[float], Awaitable[None]]


class StreamRefused(ConfigurationError):
    """The host refuses the stream for good."""


class Subscription:
    """Follows `path` of a stream's host. It belongs to one event loop."""

    def __init__(
        self,
        stream: Stream,
        arrivals: Arrivals,
        settings: AtprotoSettings,
        *,
        path: str,
        backoff: Backoff | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._stream, self._arrivals, self._settings = stream, arrivals, settings
        self._url = stream.host.websocket + path
        self._backoff = backoff or Backoff(settings.reconnect_max_seconds)
        self._sleep = sleep
        self._connected_at = self._heard = self._last_event = self._pinged = 0.0
        self._is_paused = False

    async def run(self) -> NoReturn:
        """Follow the stream until it is cancelled.

        Raises StreamRefused and CursorAhead, which no other try will change, and ServiceError for a host that again and
        again sends what is no frame.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=self._settings.http_seconds)
        agent = {"User-Agent": f"tallystick/{__version__}"}
        async with aiohttp.ClientSession(timeout=timeout, headers=agent) as session:
            while True:
                dropped, lasted = await self._follow(session)
                wait = self._backoff.wait(connected_seconds=lasted, retry_after=dropped.wait)
                self._stream.measures.count(Measure.RECONNECTS, reason=dropped.kind.value)
                self._arrivals.tell(dropped, f"connects again in {wait:.1f} s")
                await self._sleep(wait)

    async def _follow(self, session: aiohttp.ClientSession) -> tuple[Dropped, float]:
        """Follow one connection to its end; return why it ended, and how many seconds it lasted."""
        self._connected_at = float("inf")
        try:
            async with await self._connect(session) as socket:
                self._stream.connected = True
                await self._attend(socket)
        except Dropped as error:
            dropped = error
        except (aiohttp.ClientError, OSError) as error:
            dropped = Dropped(NoticeKind.DISCONNECTED, words_of(error))
        finally:
            self._stream.connected = False
        return dropped, max(time.monotonic() - self._connected_at, 0.0)

    async def _connect(self, session: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        cursor = self._arrivals.cursor()
        try:
            async with asyncio.timeout(self._settings.http_seconds):
                socket = await session.ws_connect(
                    self._url,
                    params={} if cursor is None else {"cursor": str(cursor)},
                    max_msg_size=MAX_MESSAGE_BYTES,
                    compress=0,
                    autoping=False,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                )
        except aiohttp.WSServerHandshakeError as error:
            self._refused(error)
        except TimeoutError as error:
            seconds = self._settings.http_seconds
            raise Dropped(NoticeKind.DISCONNECTED, f"no answer within {seconds:g} s") from error
        self._connected_at = self._heard = self._last_event = self._pinged = time.monotonic()
        return socket

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> NoReturn:
        """Say what an answer means that came in place of a stream."""
        detail = f"HTTP {error.status} {shown(error.message)}"
        if error.status in REFUSALS:
            self._arrivals.tell(Dropped(NoticeKind.REFUSED, detail), "ends")
            raise StreamRefused(
                f"{self._url} is no stream: {detail}; check --host, and whether it lets this machine in"
            ) from error
        wait = retry_after(error.headers or {}, time.time()) or 0.0
        raise Dropped(NoticeKind.DISCONNECTED, detail, wait=wait) from error

    async def _attend(self, socket: aiohttp.ClientWebSocketResponse) -> NoReturn:
        """Read a connection, and look meanwhile whether it is alive."""
        reading = asyncio.create_task(self._read(socket))
        pause = min(1.0, self._settings.ping_seconds / 4, (self._settings.idle_seconds or 60.0) / 4)
        try:
            while not reading.done():
                await asyncio.wait((reading,), timeout=pause)
                if not reading.done() and not self._is_paused:
                    await self._look(socket)
            await reading
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        raise AssertionError("reading ends only by raising")

    async def _look(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Ask a silent connection whether it is alive. Raises Dropped where it isn't, or where it has forgotten us."""
        now, every = time.monotonic(), self._settings.ping_seconds
        if self._pinged > self._heard and now - self._pinged > every / 2:
            raise Dropped(NoticeKind.ZOMBIE, f"a ping has had no answer for {now - self._pinged:.1f} s")
        if now - max(self._heard, self._pinged) >= every:
            self._pinged = now
            await socket.ping()
        if self._settings.idle_seconds and now - self._last_event > self._settings.idle_seconds:
            raise Dropped(NoticeKind.SILENCE, f"no event for {now - self._last_event:.1f} s")

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> NoReturn:
        number = 0
        while True:
            message = await socket.receive()
            self._heard = time.monotonic()
            match message.type:
                case aiohttp.WSMsgType.BINARY:
                    if await self._arrivals.take(message.data):
                        self._last_event = self._heard
                case aiohttp.WSMsgType.PING:
                    await socket.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.TEXT:
                    self._arrivals.leave_out_text()
                case aiohttp.WSMsgType.ERROR:
                    self._broken(message.data)
                case _:
                    code = socket.close_code if message.data is None else message.data
                    reason = f" {shown(message.extra)}" if message.extra else ""
                    raise Dropped(NoticeKind.DISCONNECTED, f"closed with {code}{reason}")
            number += 1
            if number % _TURN == 0:
                await asyncio.sleep(0)
            if not self._stream.has_room:
                await self._wait_for_room()

    def _broken(self, error: object) -> NoReturn:
        """Say what an error of the connection means: some are of what was sent."""
        if not isinstance(error, aiohttp.WebSocketError):
            raise Dropped(NoticeKind.DISCONNECTED, f"{type(error).__name__}: {shown(str(error))}")
        too_large = error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        reason = FrameReason.TOO_LARGE if too_large else FrameReason.HEADER
        self._arrivals.drop_unreadable(FrameError(reason, f"WebSocket: {shown(str(error))}"), b"")

    async def _wait_for_room(self) -> None:
        """Leave the socket alone until there is room; aiohttp then stops reading from it, and TCP the host."""
        self._is_paused, since = True, time.monotonic()
        try:
            while not self._stream.has_room:
                await asyncio.sleep(ROOM_SECONDS)
                before, since = since, time.monotonic()
                self._stream.measures.count(Measure.BACKPRESSURE_SECONDS, since - before)
        finally:
            self._is_paused = False
            self._heard = self._last_event = self._pinged = time.monotonic()
