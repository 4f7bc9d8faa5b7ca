"""The fold from Cowrie events to a session: `(state, slice) -> state`, without I/O, clock or Kafka.

The same events make the same state, byte for byte, in whatever order, slices and sources they come, and however often.
"""

import sys
from array import array
from collections.abc import Sequence
from datetime import UTC, tzinfo
from typing import NamedTuple

import msgspec

from streams.sessions.aggregate import Aggregate
from streams.sessions.bounded import Bound, Bounded
from streams.sessions.events import Event, read_event, read_events
from streams.sessions.kinds import add_events
from tallystick.contracts.cowrie import SessionState, UnreadableLine, event_digests

MAX_DIGESTS = 16_384
_SOURCES = Bound(max_bytes=60_000, entry_bytes=24)


class Unfoldable(msgspec.Struct, frozen=True):
    """An event that the fold could not take: where it stands in its source, and why (see `UnreadableLine`)."""

    position: int
    event: bytes
    reason: str
    detail: str = ""


class _Read(NamedTuple):
    """What could be read of a slice, each event's parts at the same index, and what could not."""

    positions: Sequence[int]
    lines: Sequence[bytes]
    events: Sequence[Event]
    times: Sequence[str]
    unfoldable: list[Unfoldable]


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
        read = _read(positions, events, zone)
        if read.lines:
            new = self._tell_new(source, read.positions, event_digests(read.lines))
            add_events(self._aggregate, read.positions, read.events, read.times, new)
        return read.unfoldable

    def state(self) -> SessionState:
        """Return the state in canonical form, ready to be encoded. It is the fold's own: encode it before going on."""
        self._aggregate.finish()
        self._sources.trim()
        self._keep_digests()
        self._state.revision = self._state.event_count
        return self._state

    def _tell_new(self, source: str, positions: Sequence[int], digests: Sequence[int]) -> list[int]:
        """Return for each event of a slice 1 where it is new, 0 where it is a repeat; from now on all are known."""
        known, undecided = self._digests, self._undecided
        watermark = self._sources.entries.get(source, -1)
        distinct = set(digests)
        if undecided is None and len(distinct) == len(digests) and known.isdisjoint(distinct):
            known |= distinct
            self._mark(source, max(watermark, *positions))
            return [1] * len(digests)
        new = []
        for position, digest in zip(positions, digests, strict=True):
            if digest in known:
                new.append(0)
            elif undecided is None or digest < undecided:
                known.add(digest)
                new.append(1)
            else:
                new.append(1 if position > watermark else 0)
            if position > watermark:
                watermark = position
        self._mark(source, watermark)
        return new

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


def _read(positions: Sequence[int], lines: Sequence[bytes], zone: tzinfo) -> _Read:
    found = read_events(lines)
    if found is not None:
        return _Read(positions, lines, *found, [])
    kept: list[tuple[int, bytes, Event, str]] = []
    unfoldable = []
    for position, line in zip(positions, lines, strict=True):
        try:
            kept.append((position, line, *read_event(line, zone)))
        except UnreadableLine as error:
            unfoldable.append(Unfoldable(position, line, error.reason, error.detail))
    return _Read(
        [position for position, _, _, _ in kept],
        [line for _, line, _, _ in kept],
        [event for _, _, event, _ in kept],
        [at for _, _, _, at in kept],
        unfoldable,
    )
