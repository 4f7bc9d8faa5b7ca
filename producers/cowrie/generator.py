"""A generator of Cowrie logs: what Cowrie 3.1.4 would write under attack, line by line, the same for the same plan.

Everything that can be rendered once is (`synthetic/cast.py`); a line is then put together from five pieces of bytes.
Sessions run in a fixed number of slots whose next lines stand in a heap, so memory depends on `interleave` alone.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from heapq import heappop, heapreplace
from itertools import count, islice
from math import ceil
from random import Random

import msgspec

from producers.cowrie.synthetic.cast import Cast
from producers.cowrie.synthetic.session import Session, Step, tell
from tallystick.contracts import timestamps
from tallystick.errors import UsageError

_REHEARSED = 512
"""How many sessions are told beforehand, to learn how many events and seconds they have in the mean."""
_BUSY = 0.8
"""The part of a slot's time in which a session runs."""
_ID_BITS = 48
_ID_MASK = (1 << _ID_BITS) - 1
_ID_STEP = 0x9E3779B97F4B
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to generate. Exactly one of `events` and `sessions` is given.

    With `events` the log ends after that many lines, in the middle of the sessions that run then; with `sessions` each
    is carried to its end. At most `interleave` sessions run at the same time. `start` is any time that
    `timestamps.canonical` reads. Sessions keep a natural pace, or one at which the log spans about `hours` hours.
    Raises UsageError where it can't be carried out.
    """

    events: int | None = None
    sessions: int | None = None
    seed: int = 1
    sensor: str = "honeypot"
    start: str = "2026-01-01T00:00:00Z"
    hours: float | None = None
    interleave: int = 20

    def __post_init__(self) -> None:
        if (self.events is None) == (self.sessions is None):
            raise UsageError("give either a number of events or a number of sessions")
        if (self.events or 0) < 0 or (self.sessions or 0) < 0:
            raise UsageError("the number of events or sessions can't be negative")
        if not 1 <= self.interleave <= 100_000:
            raise UsageError(f"interleave must be from 1 to 100000 sessions, not {self.interleave}")
        if self.hours is not None and not 0 < self.hours <= 1_000_000:
            raise UsageError(f"hours must be above 0 and at most 1000000, not {self.hours}")
        if not self.sensor or not self.sensor.isprintable() or len(self.sensor) > 255:
            raise UsageError("the sensor's name must have 1 to 255 printable characters")
        if not 0 <= self.start_microseconds < _microseconds(_LATEST):
            raise UsageError(f"start must lie between the years 1970 and {_LATEST.year}, not {self.start}")

    @property
    def start_microseconds(self) -> int:
        """The time of the first line, in microseconds since 1970."""
        try:
            return _microseconds(datetime.fromisoformat(timestamps.canonical(self.start)))
        except ValueError as error:
            raise UsageError(f"start is no time: {error}; write it like 2026-01-31T12:00:00Z") from error


def lines(plan: Plan) -> Iterator[bytes]:
    """Yield the log's lines, each with its line end, in the order of their event time."""
    second, prefix = -1, b""
    for at, head, own, tail in islice(_interleaved(plan), plan.events):
        now, micro = divmod(at, 1_000_000)
        if now != second:
            second, prefix = now, datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode()
        yield b"%b%b%b%06dZ%b" % (head, own, prefix, micro, tail)


def _interleaved(plan: Plan) -> Iterator[Step]:
    """Yield the steps of all sessions, merged by time. Each slot runs one session after the other."""
    random = Random(plan.seed)  # noqa: S311 - nothing here is a secret
    cast = Cast(random=random, sensor=plan.sensor)
    events, seconds = _rehearse(cast, random)
    expected = max(1.0, plan.sessions if plan.sessions is not None else (plan.events or 0) / events)
    slots = min(plan.interleave, ceil(expected))
    pace = 1e6 if plan.hours is None else plan.hours * 3.6e9 * slots / expected * _BUSY / seconds
    cycle = pace * seconds / _BUSY
    first_id = random.getrandbits(_ID_BITS)

    def begin(serial: int, at: int) -> tuple[int, int, list[Step]]:
        attacker = cast.attackers[random.getrandbits(12)]
        name = b"%012x" % _scattered(first_id + serial)
        steps = tell(Session(name=name, attacker=attacker, at=at, pace=pace, random=random), cast, random)
        steps.reverse()
        return at, serial, steps

    serials: Iterator[int] = count() if plan.sessions is None else iter(range(plan.sessions))
    start = plan.start_microseconds
    running = [
        begin(serial, start + int(slot * cycle / slots)) for slot, serial in zip(range(slots), serials, strict=False)
    ]
    while running:
        at, serial, steps = running[0]
        yield steps.pop()
        if steps:
            heapreplace(running, (steps[-1][0], serial, steps))
        elif (successor := next(serials, None)) is not None:
            heapreplace(running, begin(successor, at + int((1 - _BUSY) * cycle * 2 * random.random())))
        else:
            heappop(running)


def _rehearse(cast: Cast, random: Random) -> tuple[float, float]:
    """Return the mean number of events and the mean seconds of a session at natural pace."""
    events = microseconds = 0
    for _ in range(_REHEARSED):
        attacker = cast.attackers[random.getrandbits(12)]
        steps = tell(Session(name=b"", attacker=attacker, at=0, pace=1_000_000, random=random), cast, random)
        events += len(steps)
        microseconds += steps[-1][0]
    return events / _REHEARSED, microseconds / 1_000_000 / _REHEARSED


def _scattered(number: int) -> int:
    """Map 48-bit numbers to 48-bit numbers, one to one, so that consecutive ones look unrelated."""
    number = number * _ID_STEP & _ID_MASK
    number ^= number >> 23
    return number * _ID_STEP & _ID_MASK


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)
