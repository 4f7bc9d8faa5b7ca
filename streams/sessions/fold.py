"""The fold from Cowrie events to a session: `(state, slice) -> state`, without I/O, clock or Kafka.

The same events make the same state, byte for byte, in whatever order, slices and sources they come, and however often.
"""

import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, tzinfo

import msgspec

from streams.sessions.aggregate import Aggregate
from streams.sessions.bounded import Bound, Bounded
from streams.sessions.events import read_event
from streams.sessions.kinds import add_event
from tallystick.contracts.cowrie import SessionState, UnreadableLine, event_digest

MAX_DIGESTS = 16_384
_SOURCES = Bound(max_bytes=60_000, entry_bytes=24)


class Unfoldable(msgspec.Struct, frozen=True):
    """An event that the fold could not take: where it stands in its source, and why (see `UnreadableLine`)."""

    position: int
    event: bytes
    reason: str
    detail: str = ""


class SessionFold:
    """One session while slices are folded into it. It owns, and changes, the state that it is given.

    An event is new where its digest is not known. A session of more than `MAX_DIGESTS` events keeps the lowest digests
    only, and says so by `digests_complete`. What is then promised: an event below the highest digest that is kept is
    told from a repeat as before; any other is new where its position is above its source's watermark. So repeats of
    what a source has sent before still count once, as long as each source sends a session's events in ascending
    positions, as producers do. Events that two sources share may then count once for each source.
    """

    __slots__ = ("_aggregate", "_digests", "_sources", "_state", "_undecided")

    def __init__(self, state: SessionState) -> None:
        known = array("q", state.digests)
        if sys.byteorder == "big":
            known.byteswap()
        self._state = state
        self._digests = set(known)
        self._undecided: int | None = None if state.digests_complete else known[-1]
        self._aggregate = Aggregate(state)
        # That watermarks are left out is told by `limits`; how many events they were for can't be told from repeats.
        self._sources = Bounded("sources", state.sources, _SOURCES, int, {}, state.limits)

    def apply(
        self, *, source: str, positions: Sequence[int], events: Sequence[bytes], zone: tzinfo = UTC
    ) -> list[Unfoldable]:
        """Fold a slice; `events[i]` stands at `positions[i]` of `source`, in ascending order.

        `zone` is that of timestamps that name none.
        Returns the events that are no events, which leave the state as it was; a producer lets none of them pass.
        Never raises for what an event holds. Raises ValueError where positions and events differ in number.
        """
        unfoldable = []
        digests, undecided = self._digests, self._undecided
        watermark = self._sources.entries.get(source, -1)
        for position, line in zip(positions, events, strict=True):
            try:
                event, at = read_event(line, zone)
            except UnreadableLine as error:
                unfoldable.append(Unfoldable(position, line, error.reason, error.detail))
                continue
            digest = event_digest(line)
            if digest in digests:
                new = 0
            elif undecided is None or digest < undecided:
                digests.add(digest)
                new = 1
            else:
                new = 1 if position > watermark else 0
            if position > watermark:
                watermark = position
            add_event(self._aggregate, event, at, position, new)
        self._mark(source, watermark)
        return unfoldable

    def state(self) -> SessionState:
        """Return the state in canonical form, ready to be encoded. It is the fold's own: encode it before going on."""
        self._aggregate.finish()
        self._sources.trim()
        self._keep_digests()
        self._state.revision = self._state.event_count
        return self._state

    def _mark(self, source: str, watermark: int) -> None:
        watermarks = self._sources.entries
        if source in watermarks or (watermark >= 0 and self._sources.admits(source)):
            watermarks[source] = watermark

    def _keep_digests(self) -> None:
        if len(self._digests) * 8 == len(self._state.digests):
            return
        ordered = sorted(self._digests)
        if len(ordered) > MAX_DIGESTS:
            del ordered[MAX_DIGESTS:]
            self._digests, self._undecided, self._state.digests_complete = set(ordered), ordered[-1], False
        packed = array("q", ordered)
        if sys.byteorder == "big":
            packed.byteswap()
        self._state.digests = packed.tobytes()
