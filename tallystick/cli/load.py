"""`tally load`: the main job. Files in, and not done before every source has its verdict."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr

from producers.cowrie.formats import Format
from tallystick.cli.choosing import Asked, jobs_of, left_out
from tallystick.cli.loading import Load, LoadResult, ReaderCommand, log_reader
from tallystick.cli.progress import View, make_view
from tallystick.cli.run import DAYS_HELP, FORMAT_HELP, SENSOR_HELP
from tallystick.cli.sources import print_trouble, standing_as_dict, standings_table
from tallystick.cli.status.observer import Observer, make_observer
from tallystick.cli.terminal import console, print_json, safe
from tallystick.cli.warm import warm_up
from tallystick.logs import configure
from tallystick.settings import DatabaseSettings, Settings, load_settings

INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Add `load` to the command line."""
    app.command()(load)


def load(
    paths: Annotated[
        list[str] | None, typer.Argument(help="Log files, folders or patterns; compressed or not.")
    ] = None,
    *,
    sensor: Annotated[str | None, typer.Option(help=SENSOR_HELP)] = None,
    days: Annotated[int | None, typer.Option(min=0, help=DAYS_HELP)] = None,
    form: Annotated[Format | None, typer.Option("--format", help=FORMAT_HELP)] = None,
    database: Annotated[
        str | None, typer.Option(help="The database to fill: postgresql://… or sqlite:///…; else the configured one.")
    ] = None,
    status_dir: Annotated[
        Path | None, typer.Option(help="Write files there that say how far the load is; else `status.dir`.")
    ] = None,
    status_poll_seconds: Annotated[
        float | None, typer.Option(min=0.1, help="Write them at most this often; else `status.poll_seconds`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Load Cowrie logs into Kafka and the database, and wait until every source has its verdict.

    Without PATHS the files of configured sensors are loaded: `--sensor all`, or some names.

    Exit code 0: every source was read, persisted, aggregated and verified. 1: something did not tally; a table says
    what and why. 2: usage. 130: interrupted; the next run goes on where this one stopped.
    """
    asked = Asked(tuple(paths or ()), sensor=sensor, days=days, form=form)
    asked.check()
    warm_up()
    settings = with_status(with_database(load_settings(), database), folder=status_dir, seconds=status_poll_seconds)
    jobs = jobs_of(settings, asked)
    for line in left_out(jobs, days):
        typer.echo(safe(line), err=True)
    view = make_view(sys.stderr if as_json else sys.stdout)
    with make_observer(settings, [job.sensor for job in jobs if job.files]) as observer:
        result = run_reader(settings, log_reader(asked), view=view, observer=observer)
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


def with_status(settings: Settings, *, folder: Path | None, seconds: float | None) -> Settings:
    """Return `settings` with another folder of status files, or another time between them, where one is given."""
    given = {"dir": folder, "poll_seconds": seconds}
    update = {name: value for name, value in given.items() if value is not None}
    return settings.model_copy(update={"status": settings.status.model_copy(update=update)})


def run_reader(
    settings: Settings, reader: ReaderCommand, *, view: View, observer: Observer | None = None
) -> LoadResult:
    """Run what `reader` reads through the whole pipeline, with all its processes, and return what came of it.

    `observer` is told how it goes.
    """
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "load.log").open("a") as log_file, view:
        configure(settings, role="load", stream=log_file)
        return Load(settings, reader, view=view, observer=observer or Observer()).run()


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
