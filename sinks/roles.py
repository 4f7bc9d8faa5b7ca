"""What a process does that runs sinks, or the verifier."""

import threading
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from sinks import migrate
from sinks.announcing import Announcer
from sinks.dead_letters import DeadLetters
from sinks.inventories import Inventories
from sinks.loop import Place, SinkLoop
from sinks.projection import bind_to_log, projection_id
from sinks.raw_events import RawEvents
from sinks.sessions import Sessions
from sinks.sink import AnySink
from sinks.sources import Sources
from sinks.verifier import Verifier
from sinks.writers import make_writer
from tallystick.database.engine import make_engine
from tallystick.database.errors import is_transient
from tallystick.kafka.consuming import make_consumer
from tallystick.kafka.publisher import Publisher
from tallystick.logs import get_logger
from tallystick.retry import retry
from tallystick.settings import Settings
from tallystick.slots import member_name

log = get_logger(__name__)

SINKS: dict[str, Callable[[sa.Engine, Place], AnySink]] = {
    RawEvents.name: lambda engine, _: RawEvents(make_writer(engine)),
    Sessions.name: lambda engine, _: Sessions(make_writer(engine)),
    Inventories.name: lambda engine, _: Inventories(make_writer(engine)),
    Sources.name: lambda engine, place: Sources(make_writer(engine), projection=place.projection),
    DeadLetters.name: lambda engine, _: DeadLetters(make_writer(engine)),
}
"""Every sink, by its name."""

_START_SECONDS = 60.0


def run_sinks(settings: Settings, names: Sequence[str], stop: Callable[[], bool]) -> None:
    """Run the sinks `names`, one thread each, until `stop` returns True.

    When one of them fails all are stopped, and its error is raised: none ever ends in silence.
    Raises ConfigurationError where the database is not at the revision that this code needs.
    """
    failures: list[BaseException] = []

    def ended() -> bool:
        return stop() or bool(failures)

    def run(name: str) -> None:
        try:
            run_sink(settings, name, ended)
        except BaseException as error:
            log.exception("sink failed", sink=name)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(name,), name=f"sink-{name}") for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def run_sink(settings: Settings, name: str, stop: Callable[[], bool]) -> None:
    """Run one sink in this thread until `stop` returns True. Raises as `run_sinks` does."""
    engine = make_engine(settings)
    try:
        place = find_place(settings, engine, stop)
        group = f"sink-{name}-{place.projection}"
        with member_name(settings.home / "slots", settings.kafka.group(group)) as member:
            SinkLoop(
                settings,
                SINKS[name](engine, place),
                place=place,
                engine=engine,
                consumer=make_consumer(settings, client_id=f"sink-{name}", group=group, member=member),
                announcer=Announcer(settings, Publisher(settings, client_id=f"sink-{name}", linger_ms=5)),
            ).run(stop)
    finally:
        engine.dispose()


def run_verifier(settings: Settings, stop: Callable[[], bool]) -> None:
    """Run the verifier until `stop` returns True. Raises as `run_sinks` does."""
    engine = make_engine(settings)
    try:
        place = find_place(settings, engine, stop)
        group = f"verifier-{place.projection}"
        with member_name(settings.home / "slots", settings.kafka.group(group)) as member:
            Verifier(
                settings,
                place=place,
                engine=engine,
                consumer=make_consumer(settings, client_id="verifier", group=group, member=member),
                announcer=Announcer(settings, Publisher(settings, client_id="verifier", linger_ms=5)),
            ).run(stop)
    finally:
        engine.dispose()


def find_place(settings: Settings, engine: sa.Engine, stop: Callable[[], bool]) -> Place:
    """Return the names of the cluster and the database. Waits for a database that is starting.

    Raises ConfigurationError where the database is not at the revision that this code needs, or is of another log.
    """

    def look() -> Place:
        migrate.require_head(engine)
        return Place(cluster=bind_to_log(engine, settings), projection=projection_id(engine))

    return retry(look, what="find the database", on=is_transient, give_up_after=_START_SECONDS, stop=stop)
