"""The roles under `tally run` that follow the streams of hosts: each imports what it needs within its function."""

from collections.abc import Callable

import typer


def register(roles: typer.Typer) -> None:
    """Add them to `tally run`."""
    commands: tuple[Callable[..., None], ...] = ()
    for command in commands:
        roles.command()(command)
