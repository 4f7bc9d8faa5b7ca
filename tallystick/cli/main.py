"""The entry point of `tally`: all command groups, each imported only when it is asked for."""

import sys
from importlib import import_module

import typer

from tallystick import __version__
from tallystick.cli import entry

COMMANDS = {
    "load": "load",
    "import": "importing",
    "sources": "sources",
    "sensors": "sensors",
    "demo": "demo",
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "doctor": "stack",
    "run": "run",
    "topics": "topics",
    "db": "db",
    "dlq": "dlq",
    "media": "media",
    "atproto": "atproto",
    "generate": "generate",
}
"""Each command and the module of this package that registers it."""


def make_app(arguments: list[str]) -> typer.Typer:
    """Return the command line for `arguments`: with the group of the command that they begin with, else with all."""
    app = typer.Typer(
        name="tally",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Ingest logs, streams and media through Kafka, and call nothing done until claim and observation tally.",
    )
    app.callback(invoke_without_command=True)(options)
    asked = COMMANDS.get(arguments[0]) if arguments else None
    for module in dict.fromkeys([asked] if asked else COMMANDS.values()):
        import_module(f"tallystick.cli.{module}").register(app)
    return app


def options(*, version: bool = typer.Option(default=False, is_eager=True, help="Print the version.")) -> None:
    """Take the options that stand before a command."""
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line."""
    entry.run(make_app(sys.argv[1:]))


if __name__ == "__main__":
    main()
