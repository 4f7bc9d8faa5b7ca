"""`tally atproto backfill`: repositories as a whole, and not done before every one has its verdicts."""

import sys
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from tallystick.cli.atproto.asking import Asked, Mode, hosts_of, with_asked
from tallystick.cli.atproto.fetching import Backfill, BackfillResult
from tallystick.cli.atproto.following import (
    Collections,
    Dids,
    Hosts,
    IngestOnly,
    MetricsPort,
    SinceRev,
    follow,
)
from tallystick.cli.load import INTERRUPTED
from tallystick.cli.progress import make_view
from tallystick.cli.terminal import console, print_json, safe
from tallystick.cli.warm import IMPORTED_FOR_ATPROTO, warm_up
from tallystick.local import stack
from tallystick.logs import configure
from tallystick.settings import Settings, load_settings
from tallystick.supervision.child import install


def register(group: typer.Typer) -> None:
    """Add `backfill` to the commands of AT Protocol."""
    group.command()(backfill)


def backfill(
    *,
    host: Hosts = None,
    did: Dids = None,
    collection: Collections = None,
    since_rev: SinceRev = "",
    follows: Annotated[
        bool, typer.Option("--follow", help="Go on: list hosts anew from time to time, until it is stopped.")
    ] = False,
    ingest_only: IngestOnly = False,
    metrics_port: MetricsPort = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Fetch all repositories that hosts have, or those of some accounts, and wait until each has its verdicts.

    With --did and no --host, each is fetched from its account's own host. A list that was broken off is gone on with.

    Exit code 0: each repository was fetched, persisted and verified. 1: something did not tally; a table says what and
    why. 2: usage. 130: interrupted; the next run goes on where this one stopped.
    """
    asked = Asked(
        Mode.BACKFILL,
        hosts=hosts_of(host),
        dids=tuple(dict.fromkeys(did or ())),
        collections=tuple(collection or ()),
        since_rev=since_rev,
        ingest_only=ingest_only,
    )
    if follows:
        follow(asked, metrics_port=metrics_port, as_json=as_json)
    asked.check()
    warm_up(*IMPORTED_FOR_ATPROTO)
    settings = with_asked(load_settings(), asked, metrics_port=metrics_port)
    result = run_backfill(settings, asked, quiet=as_json)
    if as_json:
        print_json(result_as_dict(result))
    else:
        print_result(result)
    raise typer.Exit(exit_code(result))


def run_backfill(settings: Settings, asked: Asked, *, quiet: bool) -> BackfillResult:
    """Fetch what is asked for, and return what came of it; `quiet` sends progress to standard error."""
    folder = settings.home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "atproto.log").open("a") as log_file, make_view(sys.stderr if quiet else sys.stdout) as view:
        configure(settings, role="atproto", stream=log_file)
        return Backfill(settings, stack.resolve(settings), asked, view=view).run(install())


def exit_code(result: BackfillResult) -> int:
    """Return the exit code that tells of `result`."""
    if result.interrupted:
        return INTERRUPTED
    return 0 if result.succeeded else 1


def print_result(result: BackfillResult) -> None:
    """Print what came of a backfill, and what did not tally."""
    counts = result.counts
    if result.troubles:
        table = Table(box=None, pad_edge=False)
        for name in ("repository", "stage", "verdict", "reason"):
            table.add_column(name, overflow="fold")
        for trouble in result.troubles:
            table.add_row(safe(trouble.did), trouble.stage, trouble.verdict, safe(trouble.reason))
        console().print(table)
        if (more := counts.failed + counts.mismatch - len(result.troubles)) > 0:
            typer.echo(f"and {more:,} more; `tally sources` shows all")
    for problem in result.problems:
        typer.echo(safe(problem))
    if result.interrupted:
        typer.echo("interrupted: what was acknowledged is kept, and the next run goes on from there")
    elif not result.judged and result.succeeded:
        typer.echo(f"in Kafka: all that was asked for, in {result.seconds:.1f} s; nobody has judged it (--ingest-only)")
    else:
        word = "" if result.succeeded else "NOT DONE: "
        rest = f", {counts.pending:,} without a verdict" if counts.pending else ""
        typer.echo(
            f"{word}{counts.succeeded:,} of {counts.repositories:,} repositories succeeded, {counts.failed:,} failed, "
            f"{counts.mismatch:,} do not tally{rest}; {result.seconds:.1f} s"
        )


def result_as_dict(result: BackfillResult) -> dict[str, object]:
    """Return what came of a backfill for programs."""
    counts = result.counts
    return {
        "succeeded": result.succeeded,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "repositories": {
            "all": counts.repositories,
            "succeeded": counts.succeeded,
            "failed": counts.failed,
            "mismatch": counts.mismatch,
            "pending": counts.pending,
        },
        "stages": counts.judged,
        "troubles": [msgspec.structs.asdict(trouble) for trouble in result.troubles],
        "problems": result.problems,
    }
