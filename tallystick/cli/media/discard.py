"""`tally media discard`: removes the image of a medium that is archived; the only command that removes anything."""

import os
from typing import Annotated

import sqlalchemy as sa
import typer

from producers.media.discarding import Discardable, discardable, remove
from producers.media.errors import MediaError
from sinks.media import leases
from sinks.media.locks import MediumLocks
from sinks.standing import read_standings
from tallystick.cli.media.opening import choose_one, opened_archive
from tallystick.cli.media.stage_process import LEASE
from tallystick.cli.media.verify import shown
from tallystick.contracts import media as contract
from tallystick.contracts import timestamps
from tallystick.contracts.media import ARCHIVED, ExitCode, Medium
from tallystick.contracts.stages import Verdict
from tallystick.database.engine import snapshot
from tallystick.kafka.publisher import Publisher
from tallystick.settings import Settings

STAGE = "discarded"
"""What the run is called in the history of the medium."""


def register(group: typer.Typer) -> None:
    """Add `discard` to `tally media`."""
    group.command()(discard)


def discard(
    medium: Annotated[str, typer.Argument(help="A medium by id, the beginning of an id, or name.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Remove them; without it only their names are shown.")] = False,
) -> None:
    """Remove the image of a medium, its map and its log, once its archive was decoded and holds every byte of them.

    Exit code 4: the medium is not archived, by the verdict on its newest attempt. 5: it is being ingested. 6: the
    archive does not hold what is there, so nothing is removed.
    """
    with opened_archive() as (settings, engine):
        with snapshot(engine) as connection:
            found = choose_one(connection, medium)
            archived = _is_archived(connection, found)
        with MediumLocks(engine, settings.home / "locks") as locks:
            if not archived or not locks.take(found.medium):
                why = "is being ingested; wait for its end" if archived else "is not archived: ingest it first"
                typer.echo(f"medium {found.medium} {why}", err=True)
                raise typer.Exit(ExitCode.LOCKED if archived else ExitCode.PRECONDITION)
            try:
                files = discardable(found, listings=settings.media_listings, archives=settings.media_archives)
            except MediaError as error:
                typer.echo(str(error), err=True)
                raise typer.Exit(error.exit_code) from error
            for file in files:
                done = "removed" if yes else "would be removed"
                typer.echo(f"{done}: {shown(os.fsencode(file.path))}, {file.size:,} bytes, in the archive")
            if yes and files:
                run = leases.take(engine, found.medium, LEASE, holder=STAGE, seconds=settings.media.lease_seconds)
                _record(settings, found, files, run=run)
                remove(files)
                leases.release(engine, found.medium, LEASE, run=run)
            elif files:
                typer.echo("nothing was removed; --yes removes it")


def _is_archived(connection: sa.Connection, medium: Medium) -> bool:
    standings = read_standings(connection, [medium.medium])
    return any(
        standing.attempt == medium.attempt
        and {stage.stage: stage.verdict for stage in standing.stages}.get(ARCHIVED) is Verdict.SUCCEEDED
        for standing in standings
    )


def _record(settings: Settings, medium: Medium, files: list[Discardable], *, run: int) -> None:
    """Write into the log what is about to be removed, and wait until it is there. Raises ServiceError."""
    now = timestamps.now()
    told = contract.Run(
        medium=medium.medium,
        run=run,
        stage=STAGE,
        attempt=medium.attempt,
        worker="tally media discard",
        started_at=now,
        ended_at=now,
        exit_code=ExitCode.DONE,
        evidence={shown(os.fsencode(file.path)): file.digest for file in files},
    )
    publisher = Publisher(settings, client_id="discard")
    publisher.send(settings.kafka.topic(contract.RUNS), key=medium.medium.encode(), value=contract.encode(told))
    publisher.flush()
