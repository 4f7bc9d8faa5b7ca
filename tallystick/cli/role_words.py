"""What a role says to its supervisor: JSON lines on standard output."""

import sys

import msgspec
import orjson


def tell(kind: str, what: object) -> None:
    """Print `{kind: what}` as a line."""
    sys.stdout.buffer.write(orjson.dumps({kind: msgspec.to_builtins(what)}) + b"\n")
    sys.stdout.buffer.flush()


def tell_progress(what: object) -> None:
    """Print how far the role is."""
    tell("progress", what)
