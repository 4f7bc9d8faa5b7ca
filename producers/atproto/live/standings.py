"""What a stream knows of accounts besides what it reads of them: their keys, and whether they are active."""

import time
from collections.abc import Callable
from typing import TypeVar

from producers.atproto.directory import Directory, Identity, Unresolvable

K = TypeVar("K")
V = TypeVar("V")

FRESH_SECONDS = 10.0
"""An identity that was asked for so recently is not asked for anew because of a signature that doesn't hold: else
whoever sends many of those would have the directory asked as often."""
_MOST_ASKED = 20_000


class Standings:
    """Identities as the directory tells them, and which accounts are not active, in bounded memory."""

    def __init__(self, directory: Directory, *, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory, self._most, self._clock = directory, most, clock
        self._inactive: dict[str, int] = {}
        self._era = 0
        self._stale: dict[str, None] = {}
        self._asked: dict[str, float] = {}

    @property
    def era(self) -> int:
        """How often events were missing so far. What was heard before that is nothing to go by any more."""
        return self._era

    def begin_era(self) -> None:
        """Take note that events are missing from here on: they may have been about who is active."""
        self._era += 1

    def is_active(self, did: str, era: int) -> bool:
        """Return whether an account is active, as far as its host has told in this era."""
        return self._inactive.get(did) != era

    def set_status(self, did: str, era: int, *, active: bool) -> None:
        """Take note of what the host says of an account in an era."""
        self._inactive.pop(did, None)
        if not active:
            _remember(self._inactive, did, era, self._most)

    def mark_stale(self, did: str) -> None:
        """Let the identity be asked for anew before it is used the next time, as it may have changed."""
        if self._directory.cached(did) is not None:
            _remember(self._stale, did, None, self._most)
        self._asked.pop(did, None)

    def known(self, did: str) -> Identity | None:
        """Return the identity without waiting; None where the directory has to be asked."""
        return None if did in self._stale else self._directory.cached(did)

    def may_refresh(self, did: str) -> bool:
        """Return whether another answer than the last one is to be expected."""
        return self._clock() - self._asked.get(did, float("-inf")) >= FRESH_SECONDS

    async def ask(self, did: str, *, fresh: bool) -> Identity | Unresolvable:
        """Return the identity as the directory tells it now, or that it has none. Waits for as long as it takes."""
        fresh = fresh or did in self._stale
        try:
            return await self._directory.resolve(did, fresh=fresh)
        except Unresolvable as error:
            return error
        finally:
            self._stale.pop(did, None)
            _remember(self._asked, did, self._clock(), _MOST_ASKED)


def _remember(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Put something behind all that is known, and forget the oldest where that is more than `most`."""
    known.pop(key, None)
    known[key] = value
    while len(known) > most:
        del known[next(iter(known))]
