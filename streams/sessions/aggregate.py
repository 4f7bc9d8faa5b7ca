"""A session's state while events are added to it: what all kinds of events share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from streams.sessions.bounded import Bound, Bounded
from streams.sessions.events import Event
from streams.sessions.values import earlier, fit, port
from tallystick.contracts.cowrie import CommandSeen, Seen, SessionState

S = TypeVar("S", bound=Seen)

# With the digests, the watermarks and the single values, these stay under 1 MB.
BOUNDS = {
    "commands": Bound(max_bytes=380_000, entry_bytes=330),
    "logins": Bound(max_bytes=120_000, entry_bytes=250),
    "files": Bound(max_bytes=90_000, entry_bytes=250),
    "tunnels": Bound(max_bytes=40_000, entry_bytes=210),
    "keys": Bound(max_bytes=48_000, entry_bytes=210),
    "injected": Bound(max_bytes=40_000, entry_bytes=380),
    "kinds": Bound(max_bytes=30_000, entry_bytes=24),
}
_CONTENT: dict[str, Callable[[Any], str]] = {
    "commands": lambda seen: seen.normalized,
    "logins": lambda seen: f"{seen.username}\0{seen.password}\0{seen.fingerprint}\0{'1' if seen.succeeded else '0'}",
    "files": lambda seen: f"{seen.how}\0{seen.shasum}\0{seen.url}\0{seen.filename}",
    "tunnels": lambda seen: f"{seen.dst_ip}\0{seen.dst_port}",
    "keys": lambda seen: f"{seen.fingerprint}\0{seen.type}\0{seen.username}",
    "injected": lambda seen: f"{seen.blob}\0{seen.comment}\0{seen.method}\0{seen.path}",
}
"""What makes two things of a list the same one. NUL can't occur in a storable text, so it separates."""

_NEVER = "~"


class Aggregate:
    """The state of a session, which it changes in place, and the indexes that make this fast.

    Every step is a minimum, a maximum, or a sum over new events. A repeat is added like any other event with `new` 0,
    so order and number of deliveries leave no trace, not even where two sources disagree about an event's position.
    """

    __slots__ = ("_kinds", "_lists", "_settled", "state")

    def __init__(self, state: SessionState) -> None:
        self.state = state
        self._lists: dict[str, Bounded[Any]] = {}
        self._kinds = Bounded("kinds", state.kinds, BOUNDS["kinds"], int, state.cut, state.limits)
        self._settle()

    def count(self, events: Sequence[Event], times: Sequence[str], news: Sequence[int]) -> None:
        """Add what all events tell: that they happened, when, of which kind they are, and who talks to whom."""
        state = self.state
        state.event_count += sum(news)
        in_order = sorted(times)  # they usually are, so this is less than a minimum and a maximum
        first, last = in_order[0], in_order[-1]
        if last > state.last_event_at:
            state.last_event_at = last
        if first < state.first_event_at or not state.first_event_at:
            state.first_event_at = first
        kinds = self._kinds.entries
        for event, at, new in zip(events, times, news, strict=True):
            eventid = event.eventid
            if eventid in kinds:
                kinds[eventid] += new
            elif new and self._kinds.admits(eventid):
                kinds[eventid] = 1
            # The addresses of a tunnel's events are its target and, in Cowrie 2, whatever origin the client made up.
            if at <= self._settled and not eventid.startswith("cowrie.direct-tcpip."):
                self._add_addresses(event, at)

    def risk(self, points: int) -> None:
        """Take the score of an event."""
        if points > self.state.risk:
            self.state.risk = points

    def see(self, name: str, seen: S, new: int) -> S | None:
        """Add what was seen once to the list `name`; return the list's own entry for it, None where it is kept out."""
        bounded = self._lists.get(name) or self._open(name)
        key = _CONTENT[name](seen)
        known: S | None = bounded.entries.get(key)
        if known is None:
            if not new or not bounded.admits(key):
                return None
            bounded.entries[key] = seen
            return seen
        known.occurrences += new
        if seen.first < known.first or (seen.first == known.first and seen.position < known.position):
            known.first, known.position = seen.first, seen.position
        if seen.last > known.last:
            known.last = seen.last
        return known

    def finish(self) -> None:
        """Restore the bounds, and put the lists that may have changed in order."""
        self._kinds.trim()
        for name, bounded in self._lists.items():
            bounded.trim()
            in_order = [*bounded.entries.values()]
            if len(in_order) > 1:
                ranked = sorted([(seen.first, seen.position, key, seen) for key, seen in bounded.entries.items()])
                in_order = [seen for _, _, _, seen in ranked]
            setattr(self.state, name, in_order)

    def _settle(self) -> None:
        """Note the time after which no event can change an address, so that most events cost one comparison."""
        state = self.state
        addresses = (state.src_ip, state.src_port, state.dst_ip, state.dst_port, state.protocol)
        self._settled = _NEVER if None in addresses else max([first.at for first in addresses if first is not None])

    def _add_addresses(self, event: Event, at: str) -> None:
        state = self.state
        state.src_ip = earlier(state.src_ip, at, fit(event.src_ip)[0])
        state.src_port = earlier(state.src_port, at, port(event.src_port))
        state.dst_ip = earlier(state.dst_ip, at, fit(event.dst_ip)[0])
        state.dst_port = earlier(state.dst_port, at, port(event.dst_port))
        state.protocol = earlier(state.protocol, at, fit(event.protocol)[0])
        self._settle()

    def _open(self, name: str) -> Bounded[Any]:
        content, state = _CONTENT[name], self.state
        known = getattr(state, name)
        entries = {content(seen): seen for seen in known} if known else {}
        opened = self._lists[name] = Bounded(name, entries, BOUNDS[name], _events, state.cut, state.limits)
        return opened


def _events(seen: Seen) -> int:
    return seen.typed + seen.reported if isinstance(seen, CommandSeen) else seen.occurrences
