"""A window as the records that it is sent in: slices of its events, and its dead letters. No I/O."""

from collections.abc import Iterator

from producers.cowrie.windows import Window, runs
from producers.outlet import Record
from tallystick.contracts import dead_letters, slices
from tallystick.contracts.cowrie import EVENTS, SCHEMA
from tallystick.contracts.topics import DEAD_LETTERS


def records_of(window: Window, source: str, *, max_events: int, zone: str = "") -> Iterator[Record]:
    """Yield the records of `window`, a part of `source`, with at most `max_events` events each.

    `zone` is the IANA name of the zone of timestamps that name none; empty for UTC.
    """
    key, clock = source.encode(), zone.encode()
    low = next((window.frame.positions[first] for first, *_ in window.groups.values()), 0)
    for run in runs(window, max_events=max_events):
        value, headers = slices.encode(key, SCHEMA, low, run.positions, run.events, clock)
        yield Record(EVENTS, run.key, value, headers)
    for letter in window.letters:
        yield Record(DEAD_LETTERS, key, dead_letters.encode(letter))
