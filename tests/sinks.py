"""What the sinks' tests share: a database that is ready, records to store, and sinks that run until a state is seen."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from sinks import migrate
from sinks.roles import run_sinks, run_verifier
from tallystick.contracts import cowrie, slices, stages
from tallystick.contracts.stages import Observed, StageEvent
from tallystick.contracts.topics import STAGES
from tallystick.database.engine import make_engine, snapshot
from tallystick.kafka.consuming import read_whole
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tests.support import eventually

SOURCE = "00000000000000aa"
Event = tuple[int, bytes]
"""Position and line."""


def ready(settings: Settings) -> sa.Engine:
    """Return an engine for the settings' database, migrated."""
    engine = make_engine(settings)
    migrate.upgrade(engine, settings)
    return engine


def line(number: int, **more: Any) -> bytes:
    """Return an event; another `number` makes another event."""
    fields = {"eventid": "cowrie.command.input", "timestamp": f"2026-01-01T00:00:00.{number:06d}Z", "n": number, **more}
    return cowrie.encode_state(fields)


def events(count: int, *, first: int = 0) -> list[Event]:
    """Return `count` events with their positions, 100 bytes apart."""
    return [(number * 100, line(number)) for number in range(first, first + count)]


def send_slice(
    publisher: Publisher,
    settings: Settings,
    found: Sequence[Event],
    *,
    session: str = "s1",
    source: str = SOURCE,
    low: int = 0,
) -> None:
    """Send one record of `cowrie.events`."""
    positions, lines = zip(*found, strict=True)
    value, headers = slices.encode(source.encode(), cowrie.SCHEMA, low, positions, lines)
    topic = settings.kafka.topic(cowrie.EVENTS)
    publisher.send(topic, key=cowrie.session_key("sensor", session), value=value, headers=headers)


@contextmanager
def running(settings: Settings, *names: str) -> Iterator[threading.Thread]:
    """Run the sinks `names` as threads of this process while the block runs; raises what they raise."""
    with stopping(lambda stop: run_sinks(settings, names, stop)) as thread:
        yield thread


@contextmanager
def verifying(settings: Settings) -> Iterator[None]:
    """Run the verifier while the block runs."""
    with stopping(lambda stop: run_verifier(settings, stop)):
        yield


def query(engine: sa.Engine, text: str) -> list[tuple[Any, ...]]:
    """Return the rows of an SQL query."""
    with snapshot(engine) as connection:
        return [tuple(row) for row in connection.execute(sa.text(text))]


def wait_for_rows(engine: sa.Engine, text: str, *rows: tuple[Any, ...]) -> None:
    """Wait until an SQL query yields `rows`."""
    eventually(lambda: query(engine, text), until=lambda seen: seen == list(rows), seconds=30)


def stage_events(settings: Settings) -> list[StageEvent]:
    """Return all that was said in `stages`."""
    topic = settings.kafka.topic(STAGES)
    return [stages.decode_event(message.value() or b"") for message in read_whole(settings, topic, client_id="test")]


def observed(settings: Settings, observer: str, source: str = SOURCE) -> tuple[int, int, int]:
    """Return inserted, present and dead of a source, as last observed over all partitions."""
    latest = {}
    for event in stage_events(settings):
        if isinstance(event, Observed) and (event.observer, event.source) == (observer, source):
            latest.update(event.partitions)
    passed = latest.values()
    return sum(p.inserted for p in passed), sum(p.present for p in passed), sum(p.dead for p in passed)


def wait_until_observed(settings: Settings, observer: str, counts: tuple[int, int, int], source: str = SOURCE) -> None:
    """Wait until inserted, present and dead of a source are observed to be `counts`."""
    eventually(lambda: observed(settings, observer, source), until=lambda seen: seen == counts, seconds=30)


@contextmanager
def stopping(work: Callable[[Callable[[], bool]], None]) -> Iterator[threading.Thread]:
    """Run `work` as a thread while the block runs, then let it stop; raises what it raises."""
    end = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work(end.is_set)
        except BaseException as error:  # noqa: BLE001 - raised below, in the test's own thread
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        end.set()
        thread.join(60)
    assert not thread.is_alive(), "it did not stop"
    if errors:
        raise errors[0]
