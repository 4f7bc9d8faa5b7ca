"""`tally media import-ntt`: the media of an ntt installation, brought into the archive as what ntt says they are."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table

from producers.media.ntt.bringing import Bringing, Brought
from producers.media.ntt.database import NttDatabase
from sinks.dead_letters import DeadLetters
from sinks.media.copies import Copies
from sinks.media.inodes import Inodes
from sinks.media.media import Media
from sinks.media.runs import Runs
from sinks.roles import help_sink, run_sinks
from sinks.schema import sink_offsets
from tallystick.cli.deployment import prepare
from tallystick.cli.media.audit import Json
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts.media import ExitCode
from tallystick.contracts.sources import Ends
from tallystick.database.engine import make_engine, snapshot
from tallystick.kafka.publisher import Publisher
from tallystick.local import stack
from tallystick.logs import configure
from tallystick.settings import Settings, load_settings
from tallystick.storage.store import Store

_SINKS = {sink.topic.name: sink.name for sink in (Media, Inodes, Copies, Runs, DeadLetters)}


def register(group: typer.Typer) -> None:
    """Add `import-ntt` to `tally media`."""
    group.command("import-ntt")(import_ntt)


def import_ntt(
    *,
    url: Annotated[
        str,
        typer.Option(
            envvar="NTT_DB_URL",
            help="ntt's database, postgresql://…; give one with a password in the environment. It is only read.",
        ),
    ],
    raw: Annotated[
        Path | None,
        typer.Option(envvar="NTT_RAW_ROOT", help="The folder of ntt's listings, <medium>.raw; else media.listings."),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(envvar="NTT_BY_HASH_ROOT", help="The folder of ntt's contents by digest; else media.store."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Import the media of an ntt installation, with their files, contents, and what ntt says was done with them.

    A file counts as copied where its content is in the store, with its size; nothing is read for it, and nothing of
    ntt's word becomes a verdict: `tally media audit` judges both. Import again to bring over what has come since.
    Exit code 0: all media are in the database. 3: some have no usable hash, and are dead letters. 4: there are none.
    """
    settings = stack.resolve(load_settings())
    with closing(NttDatabase(url)) as database:
        database.require()
        engine = make_engine(settings)
        try:
            folder = settings.home / "logs"
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "import-ntt.log").open("a") as log_file:
                configure(settings, role="import-ntt", stream=log_file)
                prepare(settings, engine)
                brought = _bring(settings, engine, database, store=store, raw=raw)
        finally:
            engine.dispose()
    if as_json:
        print_json([as_dict(one) for one in brought])
    else:
        console().print(table(brought))
        typer.echo("what ntt says is judged by `tally media audit`" if brought else "0 media: ntt's table has no rows")
    if not brought:
        raise typer.Exit(ExitCode.PRECONDITION)
    raise typer.Exit(ExitCode.LOSSES if any(one.refused for one in brought) else ExitCode.DONE)


def _bring(
    settings: Settings, engine: sa.Engine, database: NttDatabase, *, store: Path | None, raw: Path | None
) -> list[Brought]:
    publisher = Publisher(settings, client_id="import-ntt")
    work = Bringing(
        settings,
        publisher,
        database,
        store=Store(store or settings.media_store),
        listings=raw or settings.media_listings,
    )
    brought = list(work.run())
    store_all(settings, engine, work.ends)
    return brought


def store_all(settings: Settings, engine: sa.Engine, ends: Ends) -> None:
    """Run the sinks of media until the database holds what the log has up to `ends`. Raises as `run_sinks` does."""
    over = threading.Event()

    def ended() -> bool:
        return over.is_set() or _has_passed(engine, ends)

    names = list(_SINKS.values())
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(run_sinks, settings, names, ended, run_one=help_sink).result()
        finally:
            over.set()


def _has_passed(engine: sa.Engine, ends: Ends) -> bool:
    table = sink_offsets
    query = sa.select(table.c.sink, table.c.partition, table.c.next_offset)
    with snapshot(engine) as connection:
        passed = {(row.sink, row.partition): row.next_offset for row in connection.execute(query)}
    return all(
        passed.get((_SINKS[topic], partition), 0) >= end
        for topic, partitions in ends.items()
        for partition, end in partitions.items()
    )


def as_dict(brought: Brought) -> dict[str, object]:
    """Return what was brought as JSON shows it."""
    return {"medium": brought.medium, "name": brought.name, "refused": brought.refused, **brought.counts}


def table(brought: list[Brought]) -> Table:
    """Return what was brought as a table, a row a medium."""
    found = Table(box=None, pad_edge=False)
    for name in ("medium", "name"):
        found.add_column(name, overflow="fold")
    columns = ("paths", "inodes", "files", "blobs", "copied", "failed", "incomplete")
    for name in columns:
        found.add_column(name, justify="right")
    found.add_column("refused")
    for one in brought:
        numbers = (f"{one.counts[name]:,}" if name in one.counts else "-" for name in columns)
        found.add_row(safe(one.medium) or "''", safe(one.name), *numbers, one.refused)
    return found
