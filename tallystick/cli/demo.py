"""`tally demo`: the main job from end to end, on a log that is made for it."""

import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer
from rich.table import Table

from producers.cowrie.generator import Plan, lines
from sinks.schema import command_stats, login_attempts, session_summaries
from tallystick.cli.choosing import Asked
from tallystick.cli.load import print_result, run_reader
from tallystick.cli.loading import log_reader
from tallystick.cli.progress import make_view
from tallystick.cli.terminal import console, safe
from tallystick.cli.warm import warm_up
from tallystick.database.engine import make_engine
from tallystick.local import stack
from tallystick.settings import Settings, load_settings

SENSOR = "demo"


def register(app: typer.Typer) -> None:
    """Add `demo` to the command line."""
    app.command()(demo)


def demo(
    *,
    events: Annotated[int, typer.Option(help="How many events to make and load.")] = 50_000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the local Kafka and PostgreSQL running.")] = False,
) -> None:
    """Make a Cowrie log, load it through Kafka into the database, and show what a researcher would ask for."""
    warm_up()
    asked = load_settings()
    typer.echo("starting (the first time, Kafka is fetched and a database is made) …")
    started = stack.up(asked).started
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cowrie.json"
            with path.open("wb") as file:
                file.writelines(lines(Plan(events=events, seed=1, sensor=SENSOR)))
            typer.echo(f"made {path.name}: {events:,} events, {path.stat().st_size:,} bytes")
            result = run_reader(asked, log_reader(Asked((str(path),))), view=make_view(sys.stdout))
        print_findings(stack.resolve(asked))
        typer.echo("\nThe tally")
        print_result(result)
    finally:
        if started and not keep:
            stack.down(asked)
            typer.echo("stopped the local stack; `tally up` starts it again with this data, `tally sources` shows it")
    raise typer.Exit(0 if result.succeeded else 1)


def print_findings(settings: Settings) -> None:
    """Print the sessions, the top commands and the top credentials of the demo's sensor."""
    engine = make_engine(settings)
    s, c, a = session_summaries.c, command_stats.c, login_attempts.c
    with engine.connect() as connection:
        sessions = connection.execute(
            sa.select(sa.func.count(), sa.func.sum(s.event_count), sa.func.count(s.source_ip.distinct())).where(
                s.sensor == SENSOR
            )
        ).one()
        busiest = connection.execute(
            sa.select(s.session_id, s.source_ip, s.event_count, s.command_count, s.file_downloads, s.login_attempts)
            .where(s.sensor == SENSOR)
            .order_by(s.event_count.desc(), s.session_id)
            .limit(5)
        ).all()
        commands = connection.execute(
            sa.select(c.command_normalized, sa.func.sum(c.occurrences).label("times"), sa.func.count())
            .where(c.sensor == SENSOR)
            .group_by(c.command_normalized)
            .order_by(sa.desc("times"), c.command_normalized)
            .limit(5)
        ).all()
        credentials = connection.execute(
            sa.select(a.username, a.password, sa.func.sum(a.occurrences).label("times"))
            .where(a.sensor == SENSOR)
            .group_by(a.username, a.password)
            .order_by(sa.desc("times"), a.username, a.password)
            .limit(5)
        ).all()
    engine.dispose()
    typer.echo(f"\n{sessions[0]:,} sessions of {sessions[1]:,} events from {sessions[2]:,} addresses\n")
    _print("Busiest sessions", ("session", "address", "events", "commands", "files", "logins"), busiest)
    _print("Top commands", ("command", "times", "sessions"), commands)
    _print("Top credentials", ("user", "password", "times"), credentials)


def _print(title: str, names: tuple[str, ...], rows: Iterable[Iterable[object]]) -> None:
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for name in names:
        table.add_column(name, overflow="ellipsis", no_wrap=True, max_width=72)
    for row in rows:
        table.add_row(*(safe(str(value)) for value in row))
    console().print(table)
    typer.echo("")
