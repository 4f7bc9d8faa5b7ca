"""The roles under `tally run` that follow the streams of hosts: each imports what it needs within its function."""

import typer


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    for command in ():
        roles.command()(command)
