"""`tally db`: the database's schema."""

from typing import Annotated

import typer

from tallystick.database.engine import make_engine
from tallystick.database.errors import told_plainly
from tallystick.errors import UsageError
from tallystick.local import stack
from tallystick.settings import load_settings

app = typer.Typer(no_args_is_help=True, help="The database's schema: bring it up to date, compare it, show it.")


def register(parent: typer.Typer) -> None:
    """Add the commands of this module to `parent`."""
    parent.add_typer(app, name="db")


@app.command()
def upgrade() -> None:
    """Bring the database to the present schema. Safe to repeat."""
    from sinks import migrate

    settings = stack.resolve(load_settings())
    with told_plainly():
        typer.echo(migrate.upgrade(make_engine(settings), settings))


@app.command()
def check() -> None:
    """Say how the database differs from what this version needs; exit code 1 if it does."""
    from sinks import migrate

    with told_plainly():
        differences = migrate.check(make_engine(stack.resolve(load_settings())))
    typer.echo("\n".join(differences) or "the database is as it must be")
    if differences:
        raise typer.Exit(1)


@app.command()
def current() -> None:
    """Show the revision of the database."""
    from sinks import migrate

    with told_plainly():
        typer.echo(migrate.current(make_engine(stack.resolve(load_settings()))) or "none")


@app.command()
def replay(
    sinks: Annotated[list[str], typer.Argument(help="Sinks, by their names.")],
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without this, it is only said what would be deleted.")
    ] = False,
) -> None:
    """Delete all rows of sinks from their tables, and fill them again from Kafka's log.

    Sinks that run meanwhile take part, and may go on. Exit code 130: interrupted; the sinks that run then go on.
    """
    from sinks.replaying import require_known
    from tallystick.cli.replaying import Replay, print_plan, run_replay

    require_known(sinks)
    settings = stack.resolve(load_settings())
    replay = Replay(settings, sinks)
    print_plan(replay.plan())
    if not yes:
        raise UsageError("nothing was changed; give --yes to delete these rows and fill the tables again")
    raise typer.Exit(run_replay(settings, replay))
