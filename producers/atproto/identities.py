"""The directory that is asked over HTTP: PLC for `did:plc`, the host itself for `did:web`; answers are kept a while.

PLC is one service that all depends on, so its trouble is waited for as long as it lasts. A host of a `did:web` is
anybody's: it has three tries within 15 seconds.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from producers.atproto.counters import Counters
from producers.atproto.directory import Directory, Identity, Unresolvable
from producers.atproto.documents import document_url, identity_of
from producers.atproto.http import HttpError, Refused, Transient, Web
from producers.atproto.protocol.faults import shown
from tallystick.logs import get_logger
from tallystick.settings import Settings

log = get_logger(__name__)

MAX_DOCUMENT_BYTES = 256 * 1024
AT_ONCE = 32
"""How many documents are asked for at once, of PLC and of hosts each."""
WEB_TRIES = 3
WEB_SECONDS = 15.0
ABSENT_SECONDS = 60.0
"""How long it is remembered that a DID can't be resolved."""
FRESH_SECONDS = 1.0
"""An answer so new is fresh enough: else one account with a wrong signature would have PLC asked without end."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 60.0
_TELL_SECONDS = 30.0
_GONE = {400, 404, 410}
"""What PLC says of a DID that isn't one, that it doesn't know, and that was given up."""

_Document = dict[str, object]


class _Known(msgspec.Struct, gc=False):
    """An answer, why there is none, and when it came."""

    identity: Identity | None
    why_not: str
    at: float


class HttpDirectory(Directory):
    """Identities by HTTP. Concurrent questions for one DID are one request."""

    def __init__(
        self,
        settings: Settings,
        web: Web,
        counters: Counters,
        *,
        clock: Callable[[], float] | None = None,
        first_wait: float = _FIRST_WAIT,
    ) -> None:
        """`clock` tells seconds, by default those of the event loop; `first_wait` is that after the first trouble."""
        self._settings, self._web, self._counters = settings.atproto, web, counters
        self._clock = clock or asyncio.get_running_loop().time
        self._first_wait = first_wait
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._asking: dict[str, asyncio.Task[Identity]] = {}
        self._plc, self._hosts = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(AT_ONCE)
        self._plc_again_at = self._told_at = float("-inf")

    def cached(self, did: str) -> Identity | None:
        """See Directory."""
        known = self._lookup(did)
        return known.identity if known is not None else None

    async def resolve(self, did: str, *, fresh: bool = False) -> Identity:
        """See Directory."""
        known = self._lookup(did)
        if known is not None and not (fresh and self._clock() - known.at >= FRESH_SECONDS):
            if known.identity is None:
                raise Unresolvable(known.why_not)
            return known.identity
        if (task := self._asking.get(did)) is None:
            task = self._asking[did] = asyncio.create_task(self._ask(did))
            task.add_done_callback(lambda task: self._answered(did, task))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up all that is being asked."""
        for task in self._asking.values():
            task.cancel()
        await asyncio.gather(*self._asking.values(), return_exceptions=True)

    def _lookup(self, did: str) -> _Known | None:
        if (known := self._known.get(did)) is None:
            return None
        seconds = self._settings.identity_seconds if known.identity is not None else ABSENT_SECONDS
        if self._clock() - known.at >= seconds:
            del self._known[did]
            return None
        self._known.move_to_end(did)
        return known

    def _answered(self, did: str, task: asyncio.Task[Identity]) -> None:
        del self._asking[did]
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            known = _Known(task.result(), "", self._clock())
        elif isinstance(error, Unresolvable):
            known = _Known(None, str(error), self._clock())
        else:  # whoever waits for it gets it
            return
        self._counters.count("identities_resolved_total", outcome=_outcome(known))
        self._known[did] = known
        self._known.move_to_end(did)
        if len(self._known) > self._settings.identities:
            self._known.popitem(last=False)

    async def _ask(self, did: str) -> Identity:
        url, is_plc = document_url(did, self._settings.plc_url)
        if is_plc:
            return identity_of(did, await self._ask_plc(did, url))
        async with self._hosts:
            return identity_of(did, await self._ask_host(did, url))

    async def _ask_plc(self, did: str, url: str) -> _Document:
        wait = self._first_wait
        while True:
            await asyncio.sleep(self._plc_again_at - self._clock())
            try:
                async with self._plc:
                    return await self._web.ask(url, _Document, max_bytes=MAX_DOCUMENT_BYTES)
            except Refused as error:
                if error.status in _GONE or error.status == 200:
                    raise Unresolvable(f"{shown(did)}: {error}") from error
                self._tell(error)
            except Transient as error:
                if error.retry_after is not None:
                    self._plc_again_at = max(self._plc_again_at, self._clock() + error.retry_after)
                self._tell(error)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _ask_host(self, did: str, url: str) -> _Document:
        """Ask the host of a `did:web`. Raises Unresolvable where it doesn't give a document."""
        trouble: HttpError | None = None
        try:
            async with asyncio.timeout(WEB_SECONDS):
                for number in range(WEB_TRIES):
                    try:
                        async with asyncio.timeout(WEB_SECONDS / WEB_TRIES):
                            return await self._web.ask(url, _Document, max_bytes=MAX_DOCUMENT_BYTES)
                    except Refused as error:
                        raise Unresolvable(f"{shown(did)}: {error}") from error
                    except Transient as error:
                        trouble = error
                    except TimeoutError:
                        trouble = Transient(f"no answer in {WEB_SECONDS / WEB_TRIES:g} s")
                    if number + 1 < WEB_TRIES:
                        await asyncio.sleep(max(trouble.retry_after or 0.0, self._first_wait * 2**number))
        except TimeoutError:
            pass  # the last trouble says what it was about
        raise Unresolvable(f"{shown(did)}: {trouble or 'no answer'}, {WEB_TRIES} tries")

    def _tell(self, error: HttpError) -> None:
        self._counters.count("identities_resolved_total", outcome="retried")
        if self._clock() - self._told_at >= _TELL_SECONDS:
            self._told_at = self._clock()
            log.warning("the directory is waited for", error=str(error))


def _outcome(known: _Known) -> str:
    if known.identity is None:
        return "unresolvable"
    return "problem" if known.identity.problem else "resolved"
