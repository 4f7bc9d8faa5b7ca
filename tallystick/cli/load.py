"""`tally load`: the main job. Files in, and not done before every source has its verdict."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from producers.cowrie.formats import Format
from producers.cowrie.reader import check_sensor
from tallystick.cli.loading import Load, LoadResult, ReaderCommand, log_reader
from tallystick.cli.progress import View, make_view
from tallystick.cli.sources import print_trouble, standing_as_dict, standings_table
from tallystick.cli.terminal import console, print_json, safe
from tallystick.logs import configure
from tallystick.settings import DatabaseSettings, Settings, load_settings

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add `load` to the command line."""
    app.command()(load)


def load(
    paths: Annotated[list[str], typer.Argument(help="Log files, folders or patterns; compressed or not.")],
    *,
    sensor: Annotated[str | None, typer.Option(help="The sensor of events that name none.")] = None,
    form: Annotated[Format, typer.Option("--format", help="How events stand in the files.")] = Format.AUTO,
    database: Annotated[
        str | None, typer.Option(help="The database to fill: postgresql://… or sqlite:///…; else the configured one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Load Cowrie logs into Kafka and the database, and wait until every source has its verdict.

    Exit code 0: every source was read, persisted, aggregated and verified. 1: something did not tally; a table says
    what and why. 2: usage. 130: interrupted; the next run goes on where this one stopped.
    """
    check_sensor(sensor)
    settings = with_database(load_settings(), database)
    view = make_view(sys.stderr if as_json else sys.stdout)
    result = run_load(settings, paths, sensor=sensor, form=form, view=view)
    if as_json:
        print_result_as_json(result)
    else:
        print_result(result)
    raise typer.Exit(exit_code(result))


def exit_code(result: LoadResult) -> int:
    """Return the exit code that tells of `result`."""
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.succeeded else 1


def with_database(settings: Settings, url: str | None) -> Settings:
    """Return `settings` with another database, where one is given; a relative SQLite path becomes absolute."""
    if url is None:
        return settings
    if url.startswith("sqlite:///") and not url.startswith("sqlite:////"):
        url = f"sqlite:///{Path(url.removeprefix('sqlite:///')).resolve()}"
    return settings.model_copy(update={"database": DatabaseSettings(url=SecretStr(url))})


def run_load(
    settings: Settings, paths: list[str], *, sensor: str | None, view: View, form: Format = Format.AUTO
) -> LoadResult:
    """Run one load of log files with all its processes and return what came of it."""
    return run_reader(settings, log_reader(paths, sensor=sensor, form=form), view=view)


def run_reader(settings: Settings, reader: ReaderCommand, *, view: View) -> LoadResult:
    """Run what `reader` reads through the whole pipeline, with all its processes, and return what came of it."""
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "load.log").open("a") as log_file, view:
        configure(settings, role="load", stream=log_file)
        return Load(settings, reader, view=view).run()


def print_result(result: LoadResult) -> None:
    """Print the sources of a load, and what did not tally."""
    if result.standings:
        console().print(standings_table(result.standings))
    print_trouble(result.standings)
    for problem in result.problems:
        typer.echo(safe(problem))
    events = sum(standing.events for standing in result.standings)
    if result.interrupted:
        typer.echo("interrupted: what was acknowledged is kept, and the next run goes on from there")
    elif result.succeeded:
        sources = "1 source" if len(result.standings) == 1 else f"{len(result.standings)} sources"
        typer.echo(f"{sources} succeeded: {events:,} events in {result.seconds:.1f} s")
    else:
        good = sum(standing.succeeded for standing in result.standings)
        typer.echo(f"NOT DONE: {good} of {len(result.standings)} sources succeeded; what did not tally stands above")


def print_result_as_json(result: LoadResult) -> None:
    """Print what came of a load for programs."""
    print_json(
        {
            "succeeded": result.succeeded,
            "interrupted": result.interrupted,
            "seconds": round(result.seconds, 3),
            "sources": [standing_as_dict(standing) for standing in result.standings],
            "problems": result.problems,
        }
    )
