"""`tally import`: what another program has stored, replayed through the log into the database."""

import sys
from typing import Annotated

import typer

from producers.cowrie.importing.database import OldDatabase
from producers.cowrie.importing.identity import bound
from producers.cowrie.reader import check_sensor
from tallystick.cli.load import exit_code, print_result, print_result_as_json, run_reader, with_database
from tallystick.cli.loading import ReaderCommand
from tallystick.cli.progress import make_view
from tallystick.cli.warm import warm_up
from tallystick.contracts.cowrie import IMPORT_KIND
from tallystick.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="Import what another program has stored; its database is only read.")


def register(parent: typer.Typer) -> None:
    """Add the commands of this module to `parent`."""
    parent.add_typer(app, name="import")


@app.callback()
def _group() -> None:
    """Keep `cowrieprocessor` a command of its own, although it is the only one."""


@app.command()
def cowrieprocessor(
    url: Annotated[
        str,
        typer.Argument(
            envvar="TALLY_IMPORT_URL",
            help="Its database: postgresql://… or sqlite:///…; give one with a password in the environment.",
        ),
    ],
    *,
    since: Annotated[str, typer.Option(help="Only events from this time on: 2026-01-31, or with a time.")] = "",
    until: Annotated[str, typer.Option(help="Only events before this time.")] = "",
    sensor: Annotated[str | None, typer.Option(help="The sensor of events that name none.")] = None,
    database: Annotated[
        str | None, typer.Option(help="The database to fill: postgresql://… or sqlite:///…; else the configured one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Import the events of a database that cowrieprocessor has filled, and wait until each table has its verdict.

    The old database is opened read-only. Import again to bring over what has come since; nothing counts twice.
    Exit codes are those of `tally load`.
    """
    check_sensor(sensor)
    warm_up()
    bounds = {"since": bound(since), "until": bound(until)}
    settings = with_database(load_settings(), database)
    _look_at(url)
    reader = ReaderCommand(
        (
            "importer",
            *(f"--{name}={moment}" for name, moment in bounds.items() if moment),
            *((f"--sensor={sensor}",) if sensor else ()),
        ),
        kind=IMPORT_KIND,
        unit="row ids",
        env={"TALLY_IMPORT_URL": url},
    )
    result = run_reader(settings, reader, view=make_view(sys.stderr if as_json else sys.stdout))
    if as_json:
        print_result_as_json(result)
    else:
        print_result(result)
    raise typer.Exit(exit_code(result))


def _look_at(url: str) -> None:
    """Raise UsageError or ServiceError where there is nothing to import, before anything is started."""
    old = OldDatabase(url, max_bytes=0)
    try:
        old.require()
    finally:
        old.close()
