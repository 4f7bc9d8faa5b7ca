"""`tally generate …`: input to try things with."""

import bz2
import gzip
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO, cast

import typer

from producers.cowrie.generator import Plan, lines
from tallystick.errors import UsageError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DEFAULT_SESSIONS = 1_000

_WRITE_BUFFER = 1 << 20


def register(app: typer.Typer) -> None:
    """Add `generate` to the command line."""
    commands = typer.Typer(no_args_is_help=True, help="Make input to try things with.")
    commands.command("cowrie")(generate_cowrie)
    app.add_typer(commands, name="generate")


def generate_cowrie(
    *,
    events: Annotated[int | None, typer.Option(help="Lines to write; the log ends after exactly so many.")] = None,
    sessions: Annotated[
        int | None,
        typer.Option(help=f"Sessions to write, each to its end; {DEFAULT_SESSIONS:,} if nothing is asked for."),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 1,
    sensor: Annotated[str, typer.Option(help="Name of the honeypot.")] = "honeypot",
    start: Annotated[str, typer.Option(help="Time of the first line.")] = "2026-01-01T00:00:00Z",
    hours: Annotated[
        float | None, typer.Option(help="Hours that the log spans, about; else its pace is natural.")
    ] = None,
    interleave: Annotated[int, typer.Option(help="Sessions that run at the same time, at most.")] = 20,
    output: Annotated[
        Path, typer.Option(help="File to write, compressed where its name ends in .gz, .bz2 or .zst; - for stdout.")
    ] = Path("-"),
) -> None:
    """Write a Cowrie log as Cowrie 3.1.4 would, of any size, the same for the same options."""
    if events is None and sessions is None:
        sessions = DEFAULT_SESSIONS
    plan = Plan(
        events=events,
        sessions=sessions,
        seed=seed,
        sensor=sensor,
        start=start,
        hours=hours,
        interleave=interleave,
    )
    with open_output(output) as file:
        file.writelines(lines(plan))


@contextmanager
def open_output(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write bytes to, compressed as the name of `path` says; `-` is stdout.

    What is written depends on nothing but the bytes given: no name or time is kept in a compressed file.
    Raises UsageError where the file can't be written to.
    """
    if path == Path("-"):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("wb", buffering=_WRITE_BUFFER))
        except OSError as error:
            raise UsageError(f"can't write {path}: {error.strerror}; name a file in a folder that exists") from error
        yield stack.enter_context(_compressing(file, path.suffix))


def _compressing(file: BinaryIO, suffix: str) -> BinaryIO:
    match suffix:
        case ".gz":
            return cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=file, mtime=0))
        case ".bz2":
            return cast(BinaryIO, bz2.BZ2File(file, "wb"))
        case ".zst":
            return cast(BinaryIO, zstd.ZstdFile(file, "wb"))
        case _:
            return file
