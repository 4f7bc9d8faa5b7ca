"""Text for a terminal: what attackers typed, and what files are called, must never reach it as control codes."""

import sys

import orjson
import typer
from rich.console import Console

PIPE_WIDTH = 1_000
"""Columns in a pipe: a line of a table stays one line, whatever a file is called."""


def safe(text: str) -> str:
    """Return `text` with everything that isn't printable as a visible escape."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def console() -> Console:
    """Return a console on standard output: colors on a terminal, plain and wide in a pipe."""
    return Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)


def print_json(value: object) -> None:
    """Print `value` as one JSON document for programs."""
    typer.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))
