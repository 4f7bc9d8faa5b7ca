"""`tally sensors`: the honeypots that are configured, and how to bring them over from elsewhere."""

import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer
from pydantic import SecretStr
from rich.table import Table

from producers.cowrie.discovery import LogFile, Problem, as_text, discover
from sinks.schema import session_sources, session_summaries, sources
from sinks.standing import read_time
from tallystick.cli.foreign_sensors import as_toml, merged, read_foreign
from tallystick.cli.terminal import console, print_json, safe
from tallystick.database.engine import make_engine
from tallystick.errors import ConfigurationError, UsageError
from tallystick.local import stack
from tallystick.local.files import replace
from tallystick.logs import without_secrets
from tallystick.settings import SensorSettings, Settings, config_path, load_settings

app = typer.Typer(no_args_is_help=True, help="The sensors that are configured, and those of other tools.")


class Heard(msgspec.Struct):
    """What the database knows of a sensor's files: the time of the newest event, and when its reader spoke last."""

    newest_event: str = ""
    last_heard: str = ""


def register(parent: typer.Typer) -> None:
    """Add the commands of this module to `parent`."""
    parent.add_typer(app, name="sensors")


@app.command("list")
def list_(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Show every configured sensor: its paths, how many files they match, and what the database has heard of them.

    No server is started for it; where the database can't be reached, a line on standard error says so.
    """
    settings = load_settings()
    found = {sensor.name: list(discover(sensor.paths)) for sensor in settings.sensor}
    files = {name: [as_text(one.path) for one in what if isinstance(one, LogFile)] for name, what in found.items()}
    heard = _heard(settings, files)
    if as_json:
        print_json([_as_dict(sensor, found[sensor.name], heard.get(sensor.name)) for sensor in settings.sensor])
        return
    if not settings.sensor:
        typer.echo(f"no sensor is configured: add [[sensor]] tables to {config_path()}, or `tally sensors import FILE`")
        return
    console().print(_table(settings.sensor, files, heard))
    for name, what in found.items():
        for one in what:
            if isinstance(one, Problem):
                typer.echo(safe(f"{name}: {as_text(one.path)}: {one.reason}"))


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The sensors.toml of cowrieprocessor.")],
    *,
    write: Annotated[bool, typer.Option("--write", help="Add them to the configuration file.")] = False,
) -> None:
    """Print the sensors of cowrieprocessor's sensors.toml as [[sensor]] tables, or add them to the configuration file.

    A sensor that is configured already stays as it is. Secrets are taken only as references (`env:NAME`, `file:PATH`);
    whatever else is left out is told on standard error.
    """
    imported = read_foreign(_read(file), origin=str(file))
    for warning in imported.warnings:
        typer.echo(safe(f"warning: {warning}"), err=True)
    if not write:
        typer.echo(as_toml(imported.sensors), nl=False)
        return
    path = config_path().resolve()
    text, there = merged(_read(path) if path.exists() else "", imported.sensors, origin=str(path))
    for name in there:
        typer.echo(safe(f"{name}: is there already, and stays as it is"), err=True)
    added = len(imported.sensors) - len(there)
    if added:
        _write(path, text)
    typer.echo(f"{added} added to {safe(str(path))}")


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} can't be read as TOML: it is no UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror or error}; check the path") from error


def _write(path: Path, text: str) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o644
        replace(path, text.encode(), mode=mode)
    except OSError as error:
        raise UsageError(f"{path} can't be written: {error.strerror or error}; nothing was changed") from error


def _heard(settings: Settings, files: dict[str, list[str]]) -> dict[str, Heard]:
    url = _database(settings)
    if url is None:
        typer.echo("the database is not there, so nothing is told of events: `tally up` starts the local one", err=True)
        return {}
    engine = make_engine(settings.model_copy(update={"database": settings.database.model_copy(update={"url": url})}))
    try:
        with engine.connect() as connection:
            return _ask(connection, files)
    except sa.exc.SQLAlchemyError as error:
        told = without_secrets(str(error)).splitlines()[0]
        typer.echo(safe(f"the database can't be asked, so nothing is told of events: {told}"), err=True)
        return {}
    finally:
        engine.dispose()


def _database(settings: Settings) -> SecretStr | None:
    """Return where the database is reached, that is configured or local and running; None where there is none."""
    if settings.database.url or not stack.local_folder(settings).exists():
        return settings.database.url
    _kafka, postgres = stack.services(settings)
    return postgres.url() if postgres.running() else None


def _ask(connection: sa.Connection, files: dict[str, list[str]]) -> dict[str, Heard]:
    newest = (
        sa.select(session_sources.c.source_id, sa.func.max(session_summaries.c.last_event_at).label("newest"))
        .join(
            session_summaries,
            sa.and_(
                session_summaries.c.sensor == session_sources.c.sensor,
                session_summaries.c.session_id == session_sources.c.session_id,
            ),
        )
        .group_by(session_sources.c.source_id)
        .subquery()
    )
    query = sa.select(sources.c.name, sources.c.heard_at, newest.c.newest).outerjoin(
        newest, newest.c.source_id == sources.c.source_id
    )
    known = {name: Heard(read_time(at), read_time(heard)) for name, heard, at in connection.execute(query)}
    return {sensor: _latest(known[name] for name in _names(paths) if name in known) for sensor, paths in files.items()}


def _names(paths: Iterable[str]) -> Iterator[str]:
    """Yield what the sources at `paths` may be called: a load takes paths as they are given, a follower whole ones."""
    for path in paths:
        yield path
        yield str(Path(path).absolute())


def _latest(found: Iterable[Heard]) -> Heard:
    result = Heard()
    for one in found:
        result.newest_event = max(result.newest_event, one.newest_event)
        result.last_heard = max(result.last_heard, one.last_heard)
    return result


def _as_dict(sensor: SensorSettings, found: Sequence[LogFile | Problem], heard: Heard | None) -> dict[str, object]:
    problems = [{"path": as_text(one.path), "reason": one.reason} for one in found if isinstance(one, Problem)]
    known = heard or Heard()
    return {
        **sensor.model_dump(mode="json"),
        "files": len(found) - len(problems),
        "problems": problems,
        "newest_event": known.newest_event or None,
        "last_heard": known.last_heard or None,
    }


def _table(configured: Sequence[SensorSettings], files: dict[str, list[str]], heard: dict[str, Heard]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("sensor", "paths", "format", "time zone", "tags"):
        table.add_column(name, overflow="fold")
    table.add_column("files", justify="right")
    for name in ("newest event", "last heard"):
        table.add_column(name)
    for sensor in configured:
        known = heard.get(sensor.name, Heard())
        table.add_row(
            safe(sensor.name),
            safe(", ".join(sensor.paths)),
            sensor.format,
            sensor.time_zone,
            safe(", ".join(sensor.tags)),
            f"{len(files[sensor.name]):,}",
            known.newest_event or "-",
            known.last_heard or "-",
        )
    return table
