"""The entry point of `tally`: all command groups, and how an error becomes a message and an exit code."""

import sys

import typer

from tallystick import __version__
from tallystick.cli import db, demo, generate, load, run, sources, stack, topics
from tallystick.errors import TallyError
from tallystick.logs import without_secrets
from tallystick.supervision.roles import error_code

app = typer.Typer(
    name="tally",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Ingest honeypot logs through Kafka, and call nothing done until claim and observation tally.",
)


@app.callback(invoke_without_command=True)
def options(*, version: bool = typer.Option(default=False, is_eager=True, help="Print the version.")) -> None:
    """Take the options that stand before a command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


for group in (load, sources, demo, stack, run, topics, db, generate):
    group.register(app)


def main() -> None:
    """Run the command line. Exit codes: 0 done and verified, 1 it isn't, 2 usage, 78 configuration, 130 interrupted."""
    try:
        app()
    except TallyError as error:
        typer.echo(f"tally: {without_secrets(str(error))}", err=True)
        sys.exit(error_code(error))


if __name__ == "__main__":
    main()
