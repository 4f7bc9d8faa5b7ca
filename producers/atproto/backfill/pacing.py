"""How much is asked of hosts at once, and how long each is left alone after it said that it is too much."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from tallystick.errors import TallyError

MAX_REMEMBERED = 10_000


class Pace(msgspec.Struct, frozen=True):
    """Waits, in seconds. A host is left alone for `host_first` seconds, then twice as long each time it is in trouble
    again without having answered in between, up to `host_longest`; after `host_tries` times it isn't waited for, but
    asked once more after each wait. A repository is tried again after `first`, then `growth` times as long each time,
    up to `longest`.
    """

    host_first: float = 10.0
    host_longest: float = 900.0
    host_tries: int = 6
    first: float = 10.0
    growth: float = 3.0
    longest: float = 3600.0

    def after_try(self, tries: int) -> float:
        """Return how long to wait after so many tries, with a jitter of a fifth."""
        return min(self.first * self.growth ** (tries - 1), self.longest) * _jitter()

    def after_trouble(self, times: int) -> float:
        """Return for how long to leave a host alone that was in trouble so many times in a row."""
        return min(self.host_first * 2.0 ** (min(times, 60) - 1), self.host_longest) * _jitter()


def _jitter() -> float:
    return random.uniform(0.8, 1.0)  # noqa: S311 - no secret


class HostGivenUp(TallyError):
    """A host has been in trouble so often in a row that it isn't waited for."""


class Host:
    """One host: who is asking it, and when it may be asked again. `troubles` is how often in a row it was none."""

    def __init__(self, at_once: int) -> None:
        self.slots = asyncio.Semaphore(at_once)
        self.users = 0
        self.troubles = 0
        self.again_at = float("-inf")


class Turn:
    """The right to ask `host`. Whoever has no more to ask says so, and another may while this one works."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._asks = True

    def over(self) -> None:
        """Let another ask the host; safe to repeat."""
        if self._asks:
            self._asks = False
            self.host.slots.release()


class Hosts:
    """All hosts that are asked, and all who work on what these have answered. Belongs to one event loop."""

    def __init__(self, *, at_once: int, per_host: int, pace: Pace) -> None:
        self._pace, self._per_host = pace, per_host
        self._slots = asyncio.Semaphore(at_once)
        self._hosts: dict[str, Host] = {}

    @asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[Turn]:
        """Wait until a host may be asked, and be the one who asks. Others are not kept waiting by one that rests.

        Raises HostGivenUp where it isn't worth waiting.
        """
        clock = asyncio.get_running_loop().time
        host = self._host(name)
        host.users += 1
        try:
            await host.slots.acquire()
            turn = Turn(host)
            try:
                while True:
                    if (seconds := host.again_at - clock()) > 0 and host.troubles >= self._pace.host_tries:
                        raise HostGivenUp(f"{name} was in trouble {host.troubles} times in a row")
                    await asyncio.sleep(seconds)
                    async with self._slots:
                        if host.again_at <= clock():
                            yield turn
                            return
            finally:
                turn.over()
        finally:
            host.users -= 1
            if not host.users and not host.troubles:
                self._hosts.pop(name, None)

    def answered(self, turn: Turn) -> None:
        """Note that a host did what it was asked for, and that nothing more is asked in this turn."""
        turn.host.troubles, turn.host.again_at = 0, float("-inf")
        turn.over()

    def troubled(self, turn: Turn, retry_after: float | None) -> None:
        """Note that a host was in trouble, and leave it alone as long as it says, else ever longer."""
        host, clock = turn.host, asyncio.get_running_loop().time
        if host.again_at <= clock():  # several who ask at once meet the same trouble
            host.troubles += 1
        seconds = self._pace.after_trouble(host.troubles) if retry_after is None else retry_after
        host.again_at = max(host.again_at, clock() + seconds)

    def _host(self, name: str) -> Host:
        if name not in self._hosts:
            if len(self._hosts) >= MAX_REMEMBERED:
                self._hosts = {known: host for known, host in self._hosts.items() if host.users}
            self._hosts[name] = Host(self._per_host)
        return self._hosts[name]
