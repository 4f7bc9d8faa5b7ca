"""`tally media …`: the media archive. One module a command."""

from importlib import import_module

import typer

COMMANDS = ("ingest", "listing", "show", "audit", "verify", "repair", "discard", "import_ntt")
"""The modules of this package that register commands, in the order in which help shows them."""


def register(app: typer.Typer) -> None:
    """Add `media` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Archive media: nothing is archived before what was found, loaded and copied tallies.",
    )
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").register(group)
    app.add_typer(group, name="media")
