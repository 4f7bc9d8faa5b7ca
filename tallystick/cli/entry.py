"""How every entry point runs: an error of ours becomes one line and an exit code."""

import sys

import typer

from tallystick.errors import TallyError
from tallystick.logs import without_secrets
from tallystick.supervision.roles import error_code


def run(app: typer.Typer) -> None:
    """Run a command line. Exit codes: 0 done and verified, 1 it isn't, 2 usage, 78 configuration, 130 interrupted."""
    try:
        app()
    except TallyError as error:
        typer.echo(f"tally: {without_secrets(str(error))}", err=True)
        sys.exit(error_code(error))
