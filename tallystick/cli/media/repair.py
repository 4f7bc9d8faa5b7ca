"""`tally media repair`: what an audit found is mended from what is there. Nothing is ever deleted."""

import os
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from producers.media.healing import Healed, Unhealed
from producers.media.identifier import Wish
from tallystick.cli.media.audit import Media
from tallystick.cli.media.ingest import ingest_targets, print_result
from tallystick.cli.media.mending import Plan, Repair
from tallystick.cli.media.opening import choose, could_not_look, opened_archive
from tallystick.cli.media.verify import shown
from tallystick.cli.terminal import safe
from tallystick.contracts.media import ExitCode
from tallystick.contracts.text import printable
from tallystick.database.engine import snapshot
from tallystick.settings import Settings


def register(group: typer.Typer) -> None:
    """Add `repair` to `tally media`."""
    group.command()(repair)


def repair(
    media: Media = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every blob first, as `tally media verify --all` does.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Mend what an audit finds, from what is there. Nothing is ever deleted.

    A content that is missing or corrupt is copied once more from a medium that has it. Where more than that is missing
    the medium is ingested again. Exit code 0: everything holds. 6: something is left, and what to do about it is said.
    """
    with could_not_look("0 media repaired"), opened_archive() as (settings, engine):
        with snapshot(engine) as connection:
            ids = choose(connection, media or ())
        work = Repair(settings, engine, ids, ingest=ingest_again)
        plan = work.plan(verify=verify)
        for line in described(plan):
            typer.echo(line)
        if dry_run:
            raise typer.Exit(ExitCode.UNVERIFIED if plan.left else ExitCode.DONE)
        unhealed = 0
        for done in work.heal(plan):
            unhealed += isinstance(done, Unhealed)
            typer.echo(told(done))
        work.ingest(plan)
        left = work.left()
    for violation in left:
        typer.echo(f"left: {violation.code}  {safe(violation.what)}  {safe(violation.where)}  {safe(violation.advice)}")
    raise typer.Exit(ExitCode.UNVERIFIED if left or unhealed else ExitCode.DONE)


def ingest_again(settings: Settings, targets: Sequence[bytes]) -> None:
    """Ingest media once more, by their paths, and wait for the verdicts; the audit afterwards says what is left."""
    print_result(ingest_targets(settings, Wish(tuple(map(os.fsdecode, targets)))))


def described(plan: Plan) -> Iterator[str]:
    """Yield what is to be done, in lines."""
    for blobid in plan.heal:
        yield f"heal {blobid}"
    for medium, target in plan.ingest.items():
        yield f"ingest {safe(medium)} again: tally media ingest {shown(target)}"
    for violation in plan.left:
        yield f"not to be mended here: {violation.code}  {safe(violation.what)}  {safe(violation.advice)}"
    if not plan.heal and not plan.ingest:
        yield "nothing to mend"


def told(done: Healed | Unhealed) -> str:
    """Return what became of a content, in a line."""
    if isinstance(done, Healed):
        return f"healed {done.blobid} from {done.medium}: {shown(done.path)}"
    reasons = "; ".join(done.reasons) or "no medium has it"
    return f"not healed: {done.blobid}: {safe(printable(reasons))}"
