"""`tally media list`: every medium with its stages, and how it stands by what is there."""

from typing import Annotated

import typer
from rich.table import Table

from sinks.media.audit.holdings import Holding, count, find_holdings
from sinks.media.audit.rules import Found, classify
from tallystick.cli.media.opening import opened_archive, places
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts.stages import Verdict
from tallystick.contracts.text import printable
from tallystick.database.engine import snapshot

_MARKS = {Verdict.SUCCEEDED: "ok", Verdict.MISMATCH: "MISMATCH", Verdict.FAILED: "FAILED", None: "…"}


def register(group: typer.Typer) -> None:
    """Add `list` to `tally media`."""
    group.command("list")(list_media)


def list_media(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """List every medium: what is on it, the verdict on each stage, and how it stands.

    Of the store it believes the database: whether the contents are there is what `tally media audit` looks at.
    """
    with opened_archive() as (settings, engine), snapshot(engine) as connection:
        folders = places(settings)
        found = [
            Found(holding, count(connection, holding), archive=folders.archive_of(holding.medium))
            for holding in find_holdings(connection)
        ]
    if as_json:
        print_json([as_dict(one) for one in found])
    elif found:
        console().print(_table(found))
    else:
        typer.echo("no media yet: `tally media ingest TARGET…` takes some in")


def as_dict(found: Found) -> dict[str, object]:
    """Return a medium as JSON shows it."""
    held, rows = found.holding, found.tally
    return {
        "medium": held.medium,
        "name": held.name,
        "form": held.form,
        "paths": rows.paths,
        "inodes": rows.inodes,
        "files": rows.wanted,
        "pending": rows.pending,
        "failed": rows.failed,
        "archive": printable(found.archive),
        "imported": held.claims_of_others is not None,
        "working": held.working,
        "stages": {name: stage.verdict for name, stage in held.stages.items()},
        "class": classify(found),
    }


def _table(media: list[Found]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("medium", "name", "form"):
        table.add_column(name, overflow="fold")
    for name in ("paths", "files", "pending", "failed"):
        table.add_column(name, justify="right")
    for name in ("stages", "class"):
        table.add_column(name)
    for found in media:
        rows = found.tally
        table.add_row(
            found.holding.medium,
            safe(found.holding.name),
            found.holding.form,
            *(f"{number:,}" for number in (rows.paths, rows.wanted, rows.pending, rows.failed)),
            _stages(found.holding),
            classify(found),
        )
    return table


def _stages(held: Holding) -> str:
    if held.claims_of_others:
        return "imported"
    return ", ".join(f"{name} {_MARKS[stage.verdict]}" for name, stage in held.stages.items()) or "-"
