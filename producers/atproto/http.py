"""Asking hosts over HTTP: one way to ask, bounded in time and size, that never reaches where strangers point inwards.

Whose address a host has may be what a stranger wrote into a DID document. So an address counts only where everybody can
reach it, unless the host was named by the user. What is asked for is asked for uncompressed, as a small body may else
become a very large one. Proxies of the environment are not used: they would resolve names unguarded.

HttpError
├── Transient   no answer, an unreadable one, 408, 425, 429 or 5xx: asking again may help
└── Refused     any other answer, or none that may be asked for
"""

import asyncio
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import TracebackType
from typing import TypeVar

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from producers.atproto.protocol.faults import shown
from tallystick import __version__
from tallystick.errors import TallyError
from tallystick.settings import Settings

MAX_JSON_BYTES = 16 * 1024 * 1024
MAX_ERROR_BYTES = 4096
MAX_REDIRECTS = 3
MAX_CONNECTIONS = 100
LONGEST_RETRY_AFTER = 3600.0
"""What a host may ask to be spared for, in seconds; more is taken for so much."""
PRIVATE_ADDRESS = "PrivateAddress"
"""The name that a refusal has where a host may not be asked because of its address."""

_ERROR_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,63}")
_TRANSLATED = IPv6Network("64:ff9b::/96")
_AGAIN = {408, 425, 429}
_DAY_SECONDS = 24 * 3600.0

T = TypeVar("T")


class HttpError(TallyError):
    """A host didn't give what it was asked for. `status` is that of its answer, 0 where there was none."""

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Transient(HttpError):
    """Asking again may help, after `retry_after` seconds where the host says so."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message, status=status)
        self.retry_after = retry_after


class Refused(HttpError):
    """Asking again is of no use. `error` is the name that XRPC gives the refusal, empty where there is none."""

    def __init__(self, message: str, *, status: int = 0, error: str = "") -> None:
        super().__init__(message, status=status)
        self.error = error


class Web:
    """Asks hosts. Belongs to one event loop; use it as an asynchronous context manager."""

    def __init__(self, settings: Settings, *, named: Iterable[str] = ()) -> None:
        """`named` are URLs of hosts that the user named, which are asked wherever they are."""
        self._seconds = settings.atproto.http_seconds
        self._guard = _Guard(settings.atproto.private_hosts, (settings.atproto.plc_url, *named))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Web":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._guard, limit=MAX_CONNECTIONS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._seconds),
            headers={"User-Agent": f"tallystick/{__version__}", "Accept-Encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    def allow(self, url: str) -> None:
        """Ask one more host that the user named wherever it is."""
        self._guard.allow(url)

    async def ask(
        self, url: str, type_: type[T], params: Mapping[str, str] | None = None, *, max_bytes: int = MAX_JSON_BYTES
    ) -> T:
        """Return the JSON that is the answer, as `type_`. Takes `http_seconds` at most, from the first byte sent to the
        last received. Raises Transient, also where the answer is no such JSON, and Refused.
        """
        try:
            async with asyncio.timeout(self._seconds), self.open(url, params) as response:
                body = await _body(response, max_bytes)
        except TimeoutError as error:
            raise Transient(f"{_told(url)}: no whole answer in {self._seconds:g} s") from error
        try:
            return msgspec.json.decode(body, type=type_)
        except msgspec.MsgspecError as error:
            raise Transient(f"{_told(url)}: the answer is not what is expected: {str(error)[:200]}") from error

    @asynccontextmanager
    async def open(self, url: str, params: Mapping[str, str] | None = None) -> AsyncIterator[aiohttp.ClientResponse]:
        """Give the answer of status 200, its body yet to be read, after up to MAX_REDIRECTS redirects.

        The answer must begin within `http_seconds`; how long its body takes, and how large it is, is for the caller to
        bound. Raises Transient and Refused, also for what goes wrong while the caller reads.
        """
        try:
            response = await self._answer(URL(url).update_query(params or {}))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _trouble(url, error) from error
        try:
            yield response
        except aiohttp.ClientError as error:
            raise _trouble(url, error) from error
        finally:
            response.close()

    async def _answer(self, url: URL) -> aiohttp.ClientResponse:
        for _ in range(MAX_REDIRECTS + 1):
            self._guard.check(url)
            response = await self._request(url)
            if response.status == 200 and response.headers.get("Content-Encoding", "identity") == "identity":
                return response
            try:
                if response.status not in (301, 302, 303, 307, 308):
                    raise await _refusal(url, response)
                url = _redirected(url, response.headers.get("Location", ""))
            finally:
                response.close()
        raise Refused(f"{_told(url)}: more than {MAX_REDIRECTS} redirects", status=response.status)

    async def _request(self, url: URL) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("a Web is to be entered before it asks")
        try:
            async with asyncio.timeout(self._seconds):
                return await self._session.get(url, allow_redirects=False)
        except TimeoutError as error:
            raise Transient(f"{_told(url)}: no answer in {self._seconds:g} s") from error


class _PrivateAddress(OSError):
    """A host resolves to nothing that everybody can reach."""


class _Guard(AbstractResolver):
    """Resolves names, and leaves out addresses that may not be asked."""

    def __init__(self, private: bool, named: Iterable[str]) -> None:
        self._private = private
        self._named: set[tuple[str | None, int | None]] = set()
        for url in named:
            self.allow(url)
        self._resolver: ThreadedResolver | None = None

    def allow(self, url: str) -> None:
        """Leave out nothing of a host that the user named."""
        self._named.add((URL(url).host, URL(url).port))

    def check(self, url: URL) -> None:
        """Look at a URL whose host is an address already, which nobody resolves. Raises Refused."""
        if url.scheme not in ("http", "https") or not url.host:
            raise Refused(f"{_told(url)}: only http and https are asked")
        try:
            address = ip_address(url.host)
        except ValueError:
            if url.host.replace(".", "").isdigit():  # other ways to write an address, which connecting would understand
                raise Refused(f"{_told(url)}: no usable URL") from None
            return
        if not self._may_ask(url.host, url.port or 0, address):
            raise Refused(f"{_told(url)}: {_PRIVATE}", error=PRIVATE_ADDRESS)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self._resolver = self._resolver or ThreadedResolver()
        found = await self._resolver.resolve(host, port, family)
        usable = [one for one in found if self._may_ask(host, port, ip_address(one["host"].partition("%")[0]))]
        if found and not usable:
            raise _PrivateAddress(_PRIVATE)
        return usable

    async def close(self) -> None:
        if self._resolver is not None:
            await self._resolver.close()

    def _may_ask(self, host: str, port: int, address: IPv4Address | IPv6Address) -> bool:
        return self._private or (host, port) in self._named or is_public(address)


_PRIVATE = "its address is not one that everybody can reach; if it is to be asked, set atproto.private_hosts"


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one that everybody can reach, by whichever way it is written in IPv6."""
    if isinstance(address, IPv6Address):
        if address in _TRANSLATED:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        for inner in (address.ipv4_mapped, address.sixtofour, *(address.teredo or ())):
            if inner is not None and not is_public(inner):
                return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast


async def _body(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return a whole body. Raises Refused where it is too large."""
    parts, size = [], response.content_length or 0
    if size <= max_bytes:
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            if (size := size + len(part)) > max_bytes:
                break
    if size > max_bytes:
        raise Refused(f"{_told(response.url)}: an answer of more than {max_bytes} bytes", status=response.status)
    return b"".join(parts)


class _Error(msgspec.Struct):
    error: str = ""
    message: str = ""


async def _refusal(url: URL, response: aiohttp.ClientResponse) -> HttpError:
    """Return what an answer that is no success means."""
    status = response.status
    if status == 200:
        return Refused(f"{_told(url)}: the answer is compressed, which was not asked for", status=status)
    said = await _error_of(response)
    name = said.error if _ERROR_NAME.fullmatch(said.error) else ""
    words = [f"{_told(url)}: HTTP {status}", *filter(None, (name, said.message and shown(said.message)))]
    if status in _AGAIN or status >= 500:
        return Transient(", ".join(words), status=status, retry_after=retry_after(response.headers, time.time()))
    return Refused(", ".join(words), status=status, error=name)


async def _error_of(response: aiohttp.ClientResponse) -> _Error:
    try:
        async with asyncio.timeout(5.0):
            return msgspec.json.decode(await response.content.read(MAX_ERROR_BYTES), type=_Error)
    except (TimeoutError, msgspec.MsgspecError, aiohttp.ClientError):
        return _Error()


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return for how many seconds a host asks to be spared, None where it doesn't say.

    `Retry-After` in seconds or as a date; else `RateLimit-Reset`, in seconds or, as hosts of AT Protocol have it, as a
    time since 1970. `now` is that too.
    """
    seconds: float | None = None
    if text := headers.get("Retry-After", "").strip():
        seconds = float(text) if text.isascii() and text.isdecimal() else _until(text, now)
    elif (text := headers.get("RateLimit-Reset", "").strip()).isascii() and text.isdecimal():
        seconds = float(text)
        if seconds > now - _DAY_SECONDS:
            seconds -= now
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_RETRY_AFTER)


def _until(date: str, now: float) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp() - now
    except (ValueError, OverflowError):
        return None


def _redirected(url: URL, location: str) -> URL:
    try:
        target = url.join(URL(location))
    except ValueError as error:
        raise Refused(f"{_told(url)}: a redirect to {shown(location)}") from error
    if not location or (url.scheme == "https" and target.scheme != "https"):
        raise Refused(f"{_told(url)}: a redirect to {shown(location)}")
    return target


def _trouble(url: str, error: Exception) -> HttpError:
    """Return what an error of the client means."""
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, _PrivateAddress):
        return Refused(f"{_told(url)}: {error.os_error}", error=PRIVATE_ADDRESS)
    if isinstance(error, ValueError) and not isinstance(error, aiohttp.ClientSSLError):
        return Refused(f"{_told(url)}: no usable URL")
    return Transient(f"{_told(url)}: {words_of(error)}")


def words_of(error: Exception) -> str:
    """Say what went wrong with a connection."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        # Its own words begin with the address, and reach the cause only where nobody reads on.
        cause = error.certificate_error
        reason = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
        return f"its certificate is not trusted: {shown(reason)}"
    return f"{type(error).__name__}: {shown(str(error))}"


def _told(url: URL | str) -> str:
    """Return a URL for messages, without what was asked."""
    return ascii(str(url).partition("?")[0][:200])[1:-1]
