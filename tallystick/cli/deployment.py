"""What all roles of one machine need, whoever runs them: topics, a database that is up to date, and their processes.

Shared by `tally load`, which ends, and `tally run all`, which doesn't.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence

import msgspec
import sqlalchemy as sa

from producers.progress import FileOutcome, Progress
from sinks import migrate
from sinks.projection import bind_to_log
from tallystick.contracts import stages, timestamps
from tallystick.contracts.catalogue import TOPICS
from tallystick.contracts.topics import STAGES
from tallystick.database.errors import told_plainly
from tallystick.errors import ConfigurationError
from tallystick.kafka import topics
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings
from tallystick.supervision.exits import Exit
from tallystick.supervision.restarting import RoleSpec

SINK_PROCESSES = (("raw_events",), ("session_summaries", "sources", "dead_letters"), ("inventories",))
"""Which sinks share a process: rows are most of the work, what is derived may wait, the others are threads of one."""
LOG_ROLES = (
    RoleSpec("agents", ("agents",)),
    *(RoleSpec(f"sinks-{'-'.join(names)}", ("sinks", *names)) for names in SINK_PROCESSES),
    RoleSpec("verifier", ("verifier",)),
)
"""The roles that wait for what comes of logs."""
YIELDS = {"reader": 10, "sinks-inventories": 19}
"""Who steps back where processors are short during a load: nothing else waits for them."""
_TELL_SECONDS = 5.0


class ReaderSays(msgspec.Struct):
    """A line of the reader's standard output."""

    progress: Progress | None = None
    outcome: FileOutcome | None = None


def prepare(settings: Settings, engine: sa.Engine) -> None:
    """Create the topics, and bring the database up to date. Safe to repeat.

    Raises ConfigurationError where topics or database are not those that are needed, ServiceError where one is away.
    """
    topics.create(settings, TOPICS)
    if wrong := [d for d in topics.check(settings, TOPICS) if d.what == "partitions"]:
        names = ", ".join(f"{d.topic} has {d.found} partitions instead of {d.expected}" for d in wrong)
        raise ConfigurationError(f"topics differ from the catalogue: {names}; set kafka.partitions to what is there")
    with told_plainly():
        migrate.upgrade(engine, settings)
        bind_to_log(engine, settings)


def role_specs(
    settings: Settings,
    roles: Iterable[RoleSpec],
    *,
    service: str,
    yields: Mapping[str, int],
    max_restarts: int | None,
) -> list[RoleSpec]:
    """Return `roles`, whose commands are given as they stand after `tally run`, with `settings`: they name the servers.

    `service` stands before their names in the records of their ends. `yields` says by role how far it steps back where
    processors are short, `max_restarts` how often each is restarted in a row.
    """
    url = settings.database.url
    env = {
        "TALLY_HOME": str(settings.home),
        "TALLY_KAFKA__BOOTSTRAP_SERVERS": settings.kafka.bootstrap_servers or "",
        "TALLY_DATABASE__URL": url.get_secret_value() if url else "",
    }
    return [
        msgspec.structs.replace(
            spec,
            argv=(sys.executable, "-m", "tallystick.cli.run", *spec.argv),
            max_restarts=max_restarts,
            env={**env, **spec.env},
            yields=yields.get(spec.name, 0),
            task=spec.task or f"{service}/{spec.name}",
        )
        for spec in roles
    ]


def reader_spec(paths: Sequence[str], *, sensor: str | None, options: Iterable[str] = (), one_shot: bool) -> RoleSpec:
    """Return the reader of `paths`, for `role_specs`."""
    named = ("--sensor", sensor) if sensor else ()
    return RoleSpec("reader", ("reader", *options, *named, "--", *paths), one_shot=one_shot)


def tell_of_dead_reader(settings: Settings, kind: str, reading: Iterable[Progress], ended: Exit) -> None:
    """Say of each source of `kind` that was being read that its reader is dead; only a stage's agent judges."""
    publisher = Publisher(settings, client_id="supervisor")
    for progress in reading:
        died = stages.Failed(
            source=progress.source,
            kind=kind,
            name=progress.path,
            stage="read",
            attempt=progress.attempt,
            at=timestamps.now(),
            reason=f"the reader ended: {ended.reason} {ended.signal}".strip(),
            exit_code=ended.exit_code,
            presumed=True,
        )
        publisher.send(settings.kafka.topic(STAGES), key=progress.source.encode(), value=stages.encode(died))
    publisher.flush(_TELL_SECONDS)
