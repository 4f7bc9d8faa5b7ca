"""`tally media …`: the media archive. One module a command, each imported only when it is asked for."""

import typer


def register(app: typer.Typer) -> None:
    """Add `media` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Archive media: nothing is archived before what was found, loaded and copied tallies.",
    )
    app.add_typer(group, name="media")
