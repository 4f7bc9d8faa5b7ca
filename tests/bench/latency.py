"""From the append of a line to its row: how long somebody who watches the database waits for what an attacker does."""

import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import sqlalchemy as sa

from producers.cowrie.generator import Plan, lines
from tallystick.cli.deployment import SINK_PROCESSES
from tallystick.contracts.cowrie import event_digest
from tallystick.database.engine import make_engine
from tallystick.settings import Settings
from tests.bench.copying import scalar
from tests.bench.processes import roles, wait_for

RATE = 200
"""Events a second."""
SECONDS = 20.0
_WARM_UP = 200
_LOOK_SECONDS = 0.01


class Latency(msgspec.Struct):
    """Milliseconds from the append of a line to the moment at which its row could be seen."""

    events: int
    rate: float
    p50: float
    p99: float
    longest: float


def measure(settings: Settings) -> Latency:
    """Run all roles with a reader that follows a log, append to it, and return what was seen of the rows.

    Rows are looked for every few milliseconds by a connection of its own, so figures are too large by up to that.
    """
    log = settings.home / "live" / "cowrie.json"
    log.parent.mkdir()
    engine = make_engine(settings)
    said = list(lines(Plan(events=_WARM_UP + int(RATE * SECONDS), seed=7, sensor="live")))
    with roles(settings, settings.home / "roles.log") as running:
        for role in (["agents"], *(["sinks", *names] for names in SINK_PROCESSES), ["verifier"]):
            running.start(*role)
        running.start("reader", "--follow", str(log))
        _append(log, said[:_WARM_UP], every=0.0)
        wait_for(lambda: scalar(engine, "SELECT count(*) FROM raw_events") == _WARM_UP, what="the warm-up's last row")
        measured = said[_WARM_UP:]
        seen: dict[int, float] = {}
        watcher = threading.Thread(target=_watch, args=(engine, seen, _WARM_UP + len(measured)))
        watcher.start()
        began = time.monotonic()
        appended = _append(log, measured, every=1 / RATE)
        took = time.monotonic() - began
        watcher.join(60.0)
    engine.dispose()
    waits = sorted(1000 * (seen[digest] - at) for digest, at in appended.items() if digest in seen)
    return Latency(
        events=len(waits),
        rate=len(measured) / took,
        p50=waits[len(waits) // 2],
        p99=waits[len(waits) * 99 // 100],
        longest=waits[-1],
    )


def _append(log: Path, said: Sequence[bytes], *, every: float) -> dict[int, float]:
    """Append lines one by one, as Cowrie does, and return when each of them was there, by its digest."""
    appended = {}
    due = time.monotonic()
    with log.open("ab", buffering=0) as file:
        for line in said:
            time.sleep(max(due - time.monotonic(), 0.0))
            due += every
            file.write(line)
            appended[event_digest(line.rstrip(b"\n"))] = time.monotonic()
    return appended


def _watch(engine: sa.Engine, seen: dict[int, float], rows: int) -> None:
    """Note when each row of `raw_events` can be seen, until there are `rows` of them."""
    deadline = time.monotonic() + SECONDS + 60.0
    # One process writes the rows, a transaction a batch, so later batches have later times.
    after = datetime(1970, 1, 1, tzinfo=UTC)
    query = sa.text("SELECT digest, ingest_at FROM raw_events WHERE ingest_at > :after")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while len(seen) < rows and time.monotonic() < deadline:
            found = connection.execute(query, {"after": after}).all()
            now = time.monotonic()
            for digest, at in found:
                seen.setdefault(digest, now)
                after = max(after, at)
            time.sleep(_LOOK_SECONDS)
