"""What a process does that runs sinks, or the verifier."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa

from sinks import migrate
from sinks.announcing import Announcer
from sinks.atproto.accounts import Accounts
from sinks.atproto.commits import Commits
from sinks.atproto.identities import Identities
from sinks.atproto.labels import Labels
from sinks.atproto.notices import Notices
from sinks.atproto.repositories import Repositories
from sinks.atproto.snapshots import Snapshots
from sinks.dead_letters import DeadLetters
from sinks.inventories import Inventories
from sinks.loop import Place, SinkLoop
from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.media import Media
from sinks.media.runs import Runs
from sinks.projection import bind_to_log, projection_id
from sinks.raw_events import RawEvents
from sinks.sessions import Sessions
from sinks.sink import AnySink
from sinks.sources import Sources
from sinks.verifier import Verifier
from sinks.writers import make_writer
from tallystick.database.engine import make_engine
from tallystick.database.errors import is_transient
from tallystick.kafka.consuming import PROMPT, make_consumer
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
    Media.name: lambda engine, _: Media(make_writer(engine)),
    Inodes.name: lambda engine, _: Inodes(make_writer(engine)),
    Copies.name: lambda engine, _: Copies(make_writer(engine)),
    Runs.name: lambda engine, _: Runs(make_writer(engine)),
    Commits.name: lambda engine, _: Commits(make_writer(engine)),
    Snapshots.name: lambda engine, _: Snapshots(make_writer(engine)),
    Repositories.name: lambda engine, _: Repositories(make_writer(engine)),
    Accounts.name: lambda engine, _: Accounts(make_writer(engine)),
    Identities.name: lambda engine, _: Identities(make_writer(engine)),
    Labels.name: lambda engine, _: Labels(make_writer(engine)),
    Notices.name: lambda engine, _: Notices(make_writer(engine)),
}
"""Every sink, by its name."""

_START_SECONDS = 60.0


Runner = Callable[[Settings, str, Callable[[], bool]], None]
"""Runs one sink with the settings, by its name, until the function returns True: `run_sink` or `help_sink`."""


def run_sinks(
    settings: Settings, names: Sequence[str], stop: Callable[[], bool], *, run_one: Runner | None = None
) -> None:
    """Run the sinks `names`, one thread each, until `stop` returns True; each by `run_one`, else by `run_sink`.

    When one of them fails all are stopped, and its error is raised: none ever ends in silence.
    Raises ConfigurationError where the database is not at the revision that this code needs.
    """
    run_one = run_one or run_sink
    failures: list[BaseException] = []

    def ended() -> bool:
        return stop() or bool(failures)

    def run(name: str) -> None:
        try:
            run_one(settings, name, ended)
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
    with _engine(settings) as engine:
        place = find_place(settings, engine, stop)
        with member_name(settings.home / "slots", settings.kafka.group(_group(name, place))) as member:
            _loop(settings, name, engine=engine, place=place, member=member).run(stop)


def help_sink(settings: Settings, name: str, stop: Callable[[], bool]) -> None:
    """Run one sink for a while: as `run_sink`, but as a member whose part goes to the others as soon as it leaves.

    Its coming makes all members look up again where the database says that they go on.
    """
    with _engine(settings) as engine:
        place = find_place(settings, engine, stop)
        _loop(settings, name, engine=engine, place=place, member=None).run(stop)


def _loop(settings: Settings, name: str, *, engine: sa.Engine, place: Place, member: str | None) -> SinkLoop:
    client, sink = f"sink-{name}", SINKS[name](engine, place)
    return SinkLoop(
        settings,
        sink,
        place=place,
        engine=engine,
        consumer=make_consumer(
            settings, client_id=client, group=_group(name, place), member=member, fetching=sink.fetching
        ),
        announcer=Announcer(settings, Publisher(settings, client_id=client, linger_ms=5)),
    )


def _group(name: str, place: Place) -> str:
    return f"sink-{name}-{place.projection}"


@contextmanager
def _engine(settings: Settings) -> Iterator[sa.Engine]:
    engine = make_engine(settings)
    try:
        yield engine
    finally:
        engine.dispose()


def run_verifier(settings: Settings, stop: Callable[[], bool]) -> None:
    """Run the verifier until `stop` returns True. Raises as `run_sinks` does."""
    with _engine(settings) as engine:
        place = find_place(settings, engine, stop)
        group = f"verifier-{place.projection}"
        with member_name(settings.home / "slots", settings.kafka.group(group)) as member:
            Verifier(
                settings,
                place=place,
                engine=engine,
                consumer=make_consumer(settings, client_id="verifier", group=group, member=member, fetching=PROMPT),
                announcer=Announcer(settings, Publisher(settings, client_id="verifier", linger_ms=5)),
            ).run(stop)


def find_place(settings: Settings, engine: sa.Engine, stop: Callable[[], bool]) -> Place:
    """Return the names of the cluster and the database. Waits for a database that is starting.

    Raises ConfigurationError where the database is not at the revision that this code needs, or is of another log.
    """

    def look() -> Place:
        migrate.require_head(engine)
        return Place(cluster=bind_to_log(engine, settings), projection=projection_id(engine))

    return retry(look, what="find the database", on=is_transient, give_up_after=_START_SECONDS, stop=stop)
