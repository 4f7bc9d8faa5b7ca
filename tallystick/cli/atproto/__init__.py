"""`tally atproto …`: streams and repositories of AT Protocol, and the roles behind them."""

from importlib import import_module

import typer

COMMANDS = ("following", "backfill", "looking")
"""The modules of this package that register commands, in the order in which help shows them."""


def register(app: typer.Typer) -> None:
    """Add `atproto` to the command line."""
    group = typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help="Take in streams and repositories of AT Protocol: firehoses, labelers, whole repositories.",
    )
    for name in COMMANDS:
        import_module(f"{__name__}.{name}").register(group)
    app.add_typer(group, name="atproto")
