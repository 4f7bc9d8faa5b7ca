"""`tally media show`: the whole history of one medium, from the log."""

from typing import Annotated

import msgspec
import typer
from rich.table import Table

from tallystick.cli.media.audit import Json
from tallystick.cli.media.history import read_history
from tallystick.cli.media.opening import choose_one, opened_archive
from tallystick.cli.media.premis import as_premis
from tallystick.cli.media.telling import Told, tell
from tallystick.cli.media.verify import as_json_path, shown
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts.media import Medium
from tallystick.database.engine import snapshot
from tallystick.errors import UsageError


def register(group: typer.Typer) -> None:
    """Add `show` to `tally media`."""
    group.command()(show)


def show(
    medium: Annotated[str, typer.Argument(help="A medium by id, the beginning of an id, or name.")],
    *,
    as_json: Json = False,
    premis: Annotated[bool, typer.Option("--premis", help="Print PREMIS 3.0, in XML.")] = False,
) -> None:
    """Show who claimed what of a medium, who observed what, when, and the verdicts: all that the log holds of it."""
    if premis and as_json:
        raise UsageError("--premis is XML, --json is not: give one of them")
    with opened_archive() as (settings, engine):
        with snapshot(engine) as connection:
            found = choose_one(connection, medium)
        history = [tell(entry) for entry in read_history(settings, found.medium)]
    if premis:
        typer.echo(as_premis(found, history), nl=False)
    elif as_json:
        print_json(as_dict(found, history))
    else:
        for name, value in description(found):
            typer.echo(f"{name:<13}{value}")
        console().print(table(history))


def as_dict(medium: Medium, history: list[Told]) -> dict[str, object]:
    """Return a medium and its history as JSON shows them; paths as bytes in base64, and as text for people."""
    about = {
        "medium": medium.medium,
        "form": medium.form,
        "name": medium.name,
        "attempt": medium.attempt,
        "size": medium.size,
        "digest": medium.digest,
        "message": medium.message,
        "acknowledged": medium.acknowledged,
        "root": as_json_path(medium.root),
        "image": as_json_path(medium.image),
    }
    return {**about, "history": [msgspec.to_builtins(told) for told in history]}


def description(medium: Medium) -> list[tuple[str, str]]:
    """Return what the medium is, as pairs of a word and text for a terminal; what is not known is left out."""
    pairs = [
        ("medium", medium.medium),
        ("name", safe(medium.name)),
        ("form", medium.form),
        ("root", shown(medium.root)),
        ("image", shown(medium.image)),
        ("size", f"{medium.size:,} bytes" if medium.size else ""),
        ("blake3", medium.digest),
        ("model", safe(" ".join(filter(None, (medium.model, medium.serial))))),
        ("message", safe(medium.message)),
        ("losses", safe(medium.acknowledged)),
    ]
    return [(name, value) for name, value in pairs if value]


def table(history: list[Told]) -> Table:
    """Return a history as a table, a row for each thing that was said."""
    found = Table(box=None, pad_edge=False)
    for name in ("at", "event", "stage", "who"):
        found.add_column(name)
    for name in ("attempt", "run", "seconds"):
        found.add_column(name, justify="right")
    found.add_column("outcome")
    found.add_column("what", overflow="fold")
    for told in history:
        counts = ", ".join(f"{number:,} {name}" for name, number in told.counts.items())
        found.add_row(
            told.at[:23] + "Z",
            told.event,
            safe(told.stage),
            safe(told.who),
            str(told.attempt or ""),
            str(told.run or ""),
            "" if told.seconds is None else f"{told.seconds:.3f}",
            safe(told.outcome),
            safe("; ".join(filter(None, (counts, told.digest, told.detail)))),
        )
    return found
