"""The roles under `tally run` that list and fetch repositories: each imports what it needs within its function."""

import typer


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    for command in ():
        roles.command()(command)
