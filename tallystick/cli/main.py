"""The entry point of `tally`: all command groups."""

import typer

from tallystick import __version__
from tallystick.cli import db, demo, entry, generate, load, run, sources, stack, topics

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
    """Run the command line."""
    entry.run(app)


if __name__ == "__main__":
    main()
