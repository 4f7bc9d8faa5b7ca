"""`tally dlq`: what could not be taken as an event, looked at, taken out, tried again and resolved."""

import getpass
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import orjson
import sqlalchemy as sa
import typer

from producers.cowrie.importing.identity import bound
from producers.cowrie.reader import check_sensor
from sinks import letters as stored
from sinks import migrate
from sinks.letters import Choice, Letter, Standing
from tallystick.cli import letters as shown
from tallystick.cli.load import INTERRUPTED
from tallystick.cli.progress import make_view
from tallystick.cli.retrying import Retry, print_retry, print_retry_as_json
from tallystick.cli.terminal import console, print_json, safe
from tallystick.cli.warm import warm_up
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import told_plainly
from tallystick.errors import ServiceError, UsageError
from tallystick.local import stack
from tallystick.settings import Settings, load_settings

app = typer.Typer(
    no_args_is_help=True,
    help="What could not be taken as an event: look at it, export it, try it again, resolve it.",
)

MOST_SHOWN = 50
MOST_RETRIED = 10_000
MAX_ID = 2**63 - 1

Ids = Annotated[
    list[int] | None,
    typer.Argument(metavar="[ID]...", min=1, max=MAX_ID, help="Letters by their number in `tally dlq list`."),
]
Reason = Annotated[str, typer.Option(help="Only letters with this reason.")]
Source = Annotated[str, typer.Option(help="Only letters of this source: its name or its id.")]
Since = Annotated[str, typer.Option(help="Only letters written from this time on: 2026-01-31, or with a time.")]
Until = Annotated[str, typer.Option(help="Only letters written before this time.")]
Origin = Annotated[str, typer.Option(help="Only letters of this origin: read, or an agent or a sink.")]
Resolved = Annotated[bool, typer.Option("--resolved", help="Only letters that are resolved.")]
Everything = Annotated[bool, typer.Option("--all", help="Letters that are resolved, too.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def register(parent: typer.Typer) -> None:
    """Add the commands of this module to `parent`."""
    parent.add_typer(app, name="dlq")


@app.command("list")
def list_letters(
    *,
    reason: Reason = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    origin: Origin = "",
    resolved: Resolved = False,
    everything: Everything = False,
    limit: Annotated[int, typer.Option(min=1, help="Show so many at most.")] = MOST_SHOWN,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first, and count them by reason. Those that are resolved are left out."""
    choice = _choice((), reason, source, since, until, origin, _standing(resolved=resolved, everything=everything))
    with _database() as (_, engine), snapshot(engine) as connection:
        found = stored.find(connection, choice, limit=limit)
        counts = stored.count_by_reason(connection, choice)
    if as_json:
        by_reason = [{"origin": origin, "reason": why, "letters": number} for (origin, why), number in counts.items()]
        print_json(
            {
                "letters": [shown.as_dict(letter) for letter in found],
                "total": sum(counts.values()),
                "by_reason": by_reason,
            }
        )
        return
    if found:
        console().print(shown.letters_table(found))
    if (left := sum(counts.values()) - len(found)) > 0:
        typer.echo(f"… and {left:,} more: raise --limit, or narrow it down")
    typer.echo(shown.summary(counts))


@app.command()
def show(
    letter: Annotated[
        int, typer.Argument(metavar="ID", min=1, max=MAX_ID, help="The letter's number in `tally dlq list`.")
    ],
    *,
    most: Annotated[int, typer.Option("--bytes", min=0, help="Show so many bytes of its content at most.")] = 2_048,
    as_json: Json = False,
) -> None:
    """Show one letter: all that is known of it, and its content as text with visible escapes and in hex."""
    with _database() as (_, engine), snapshot(engine) as connection:
        [found] = _by_id(connection, [letter])
        content = _content(connection, found)
    if as_json:
        print_json(shown.as_export(found, content))
        return
    for name, value in shown.description(found):
        typer.echo(f"{name:<13}{safe(value)}")
    part = content[:most]
    typer.echo(f"\n{shown.escaped(part)}\n")
    typer.echo("\n".join(shown.hex_dump(part)))
    if len(part) < len(content):
        typer.echo(f"… {len(content) - len(part):,} bytes more: raise --bytes, or use `tally dlq export`")


@app.command()
def export(
    *,
    output: Annotated[Path, typer.Option(help="The file to write.")],
    ids: Ids = None,
    reason: Reason = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    origin: Origin = "",
    resolved: Resolved = False,
    everything: Everything = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file, if it is there.")] = False,
) -> None:
    """Write letters to a file, oldest first: one JSON object a line, the content in base64 under `payload`."""
    standing = Standing.ANY if ids else _standing(resolved=resolved, everything=everything)
    choice = _choice(ids or (), reason, source, since, until, origin, standing)
    if output.exists() and not force:
        raise UsageError(f"{output} is there already: name another file, or give --force to replace it")
    with _database() as (_, engine), snapshot(engine) as connection:
        _require_all(connection, choice)
        number = _write(output, _lines(connection, choice))
    typer.echo(f"{shown.letters_in_words(number)} in {safe(str(output))}")


@app.command()
def resolve(
    ids: Ids = None,
    *,
    reason: Reason = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    origin: Origin = "",
    note: Annotated[str, typer.Option(help="Why: it is kept with the letters.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Resolve all that the options choose.")] = False,
) -> None:
    """Mark letters as resolved in this database: they have been looked into, and nothing is to be done any more."""
    choice = _choice(ids or (), reason, source, since, until, origin, Standing.ANY if ids else Standing.OPEN)
    with _database() as (_, engine), engine.begin() as connection:
        _require_all(connection, choice)
        chosen = sum(stored.count_by_reason(connection, choice).values())
        if not ids and not yes:
            raise UsageError(f"that would resolve {shown.letters_in_words(chosen)}: give --yes as well, or their ids")
        number = stored.resolve(connection, stored.each(connection, choice), by=_user(), note=note)
    before = max(chosen - number, 0)
    typer.echo(f"{shown.letters_in_words(number)} resolved" + (f"; {before:,} were already" if before else ""))


@app.command()
def retry(
    ids: Ids = None,
    *,
    reason: Reason = "",
    source: Source = "",
    since: Since = "",
    until: Until = "",
    origin: Origin = "",
    limit: Annotated[int, typer.Option(min=1, help="Retry so many at most, the oldest.")] = MOST_RETRIED,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which of them can be read now.")] = False,
    replace: Annotated[
        Path | None, typer.Option(help="Retry one letter with the line in this file instead of its content.")
    ] = None,
    sensor: Annotated[
        str | None, typer.Option(help="The sensor of events that name none, instead of the one that the letter knows.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Bring letters into the log once more, where their content can be read now, and wait until they are resolved.

    What is brought is a source of its own, with a claim and verdicts of its own. A letter is resolved once the database
    holds its event; one that still can't be read stays as it is. Exit code 0: all of them are resolved. 1: not all.
    """
    check_sensor(sensor)
    if replace is not None and len(ids or ()) != 1:
        raise UsageError("--replace takes the place of one letter's content: name that letter, and no other")
    choice = _choice(ids or (), reason, source, since, until, origin, Standing.ANY if ids else Standing.OPEN)
    replacement = None if replace is None else _line(replace)
    warm_up()
    with _database() as (settings, engine):
        with snapshot(engine) as connection:
            _require_all(connection, choice)
            chosen = list(stored.each(connection, choice, limit=limit))
            left = sum(stored.count_by_reason(connection, choice).values()) - len(chosen)
        attempt = Retry(settings, engine, chosen, sensor=sensor, replacement=replacement, left=left)
        result = attempt.rehearse() if dry_run else attempt.run(make_view(sys.stderr if as_json else sys.stdout))
    (print_retry_as_json if as_json else print_retry)(result)
    if result.load is not None and result.load.interrupted:
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(0 if result.succeeded else 1)


@contextmanager
def _database() -> Iterator[tuple[Settings, sa.Engine]]:
    """Give settings and an engine for the database, which is brought up to date first."""
    settings = stack.resolve(load_settings())
    engine = make_engine(settings)
    try:
        with told_plainly():
            migrate.upgrade(engine, settings)
            yield settings, engine
    finally:
        engine.dispose()


def _choice(
    ids: list[int] | tuple[()], reason: str, source: str, since: str, until: str, origin: str, standing: Standing
) -> Choice:
    choice = Choice(tuple(ids), reason, source, bound(since), bound(until), origin, standing)
    if ids and choice != Choice(tuple(ids), standing=standing):
        raise UsageError("give either the ids of letters or options that choose them, not both")
    return choice


def _standing(*, resolved: bool, everything: bool) -> Standing:
    if resolved and everything:
        raise UsageError("--resolved and --all exclude each other: leave one out")
    return Standing.RESOLVED if resolved else Standing.ANY if everything else Standing.OPEN


def _require_all(connection: sa.Connection, choice: Choice) -> None:
    if choice.ids:
        _by_id(connection, choice.ids)


def _by_id(connection: sa.Connection, ids: list[int] | tuple[int, ...]) -> list[Letter]:
    found = stored.find(connection, Choice(tuple(ids), standing=Standing.ANY))
    if missing := sorted(set(ids) - {letter.id for letter in found}):
        named = ", ".join(map(str, missing))
        raise UsageError(f"there is no letter {named}: `tally dlq list --all` shows those that there are")
    return found


def _content(connection: sa.Connection, letter: Letter) -> bytes:
    try:
        return stored.content(connection, letter)
    except LookupError as error:
        raise ServiceError(f"{error}: wait for the sink dead_letters, or see whether it runs") from error


def _lines(connection: sa.Connection, choice: Choice) -> Iterator[bytes]:
    for letter in stored.each(connection, choice):
        yield orjson.dumps(shown.as_export(letter, _content(connection, letter))) + b"\n"


def _write(output: Path, lines: Iterator[bytes]) -> int:
    """Write a file that is whole or not there, and return the number of its lines."""
    number = 0
    try:
        with tempfile.NamedTemporaryFile(dir=output.parent, prefix=f".{output.name}.", delete=False) as file:
            partial = Path(file.name)
            try:
                for line in lines:
                    file.write(line)
                    number += 1
                file.flush()
                os.fsync(file.fileno())
                partial.replace(output)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{output} can't be written: {error.strerror}; name another file") from error
    return number


def _line(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    return content.removesuffix(b"\n").removesuffix(b"\r")


def _user() -> str:
    with suppress(KeyError, OSError):  # an account without a name, as in some containers
        return getpass.getuser()
    return f"uid {os.getuid()}"
