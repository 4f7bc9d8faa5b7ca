"""`tally sources`: every source with its stages, counts, times and verdict; of an endless one, how far it is read."""

from collections.abc import Callable, Sequence
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from sinks import migrate
from sinks.refills import read_refills
from sinks.standing import Crowd, SourceStanding, StageStanding, read_repositories, read_standings
from tallystick.cli.terminal import console, print_json, safe
from tallystick.contracts.stages import Verdict
from tallystick.contracts.timestamps import now, seconds_between
from tallystick.database.engine import make_engine
from tallystick.database.errors import told_plainly
from tallystick.local import stack
from tallystick.settings import load_settings

_MOST_REPOSITORIES = 50
_MARKS = {Verdict.SUCCEEDED: "ok", Verdict.MISMATCH: "MISMATCH", Verdict.FAILED: "FAILED", None: "…"}


def register(app: typer.Typer) -> None:
    """Add `sources` to the command line."""
    app.command()(sources)


def sources(*, as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False) -> None:
    """Show every source: what was read, what arrived, and the verdict on each stage.

    Of a source that is still written to it shows how far behind its follower was when it was heard of last. Of more
    than 50 repositories of AT Protocol it counts all, and shows 50 that have not succeeded.
    """
    settings = stack.resolve(load_settings())
    engine = make_engine(settings)
    with told_plainly():
        migrate.upgrade(engine, settings)
        with engine.connect() as connection:
            repositories = read_repositories(connection, most=_MOST_REPOSITORIES)
            standings = read_standings(connection, but=repositories.kind) + repositories.named
            refills = read_refills(connection)
    engine.dispose()
    if as_json:
        print_json([standing_as_dict(standing) for standing in standings])
    elif standings:
        if ending := [standing for standing in standings if not standing.followed]:
            console().print(standings_table(ending))
        if endless := [standing for standing in standings if standing.followed]:
            console().print(streams_table(endless, now=now()))
        print_trouble([*ending, *(standing for standing in endless if standing.followed and standing.followed.verdict)])
    else:
        typer.echo("no sources yet: `tally load PATH…` reads some")
    if repositories.sources > len(repositories.named):
        typer.echo(crowd_line(repositories), err=as_json)
    for sink, refill in refills.items():
        typer.echo(f"the tables of {sink} are being filled again: {refill}", err=as_json)


def standing_as_dict(standing: SourceStanding) -> dict[str, object]:
    """Return a source as JSON shows it."""
    return {**msgspec.to_builtins(standing), "succeeded": standing.succeeded, "trouble": standing.trouble}


def crowd_line(crowd: Crowd) -> str:
    """Return in words how sources stand of which not all are shown."""
    working = crowd.sources - crowd.succeeded - crowd.failed
    return (
        f"{crowd.kind}: {crowd.sources:,} sources, of which {crowd.succeeded:,} succeeded, {crowd.failed:,} failed,"
        f" {working:,} are at work; {len(crowd.named):,} that have not succeeded are shown"
    )


def standings_table(standings: Sequence[SourceStanding]) -> Table:
    """Return the sources as a table, a row each, a column a stage; and their kinds, where they differ."""
    table = Table(box=None, pad_edge=False)
    kinds = _add_kinds(table, standings)
    table.add_column("source", overflow="fold")
    for name in ("lines", "events", "dead"):
        table.add_column(name, justify="right")
    stages = list(dict.fromkeys(stage.stage for standing in standings for stage in standing.stages))
    for name in stages:
        table.add_column(name)
    table.add_column("verdict")
    for standing in standings:
        by_name = {stage.stage: stage for stage in standing.stages}
        table.add_row(
            *kinds(standing),
            safe(standing.name),
            f"{standing.lines:,}",
            f"{standing.events:,}",
            f"{standing.dead_letters:,}",
            *(_cell(by_name.get(name)) for name in stages),
            _verdict(standing),
        )
    return table


def streams_table(standings: Sequence[SourceStanding], *, now: str) -> Table:
    """Return endless sources as a table: how far each is read at the canonical time `now`, and when it was heard of."""
    table = Table(box=None, pad_edge=False)
    kinds = _add_kinds(table, standings)
    late = any(standing.live and standing.live.seconds_behind for standing in standings)
    table.add_column("stream", overflow="fold")
    for name in ("at", "end", "behind", *(["lag"] if late else []), "heard"):
        table.add_column(name, justify="right")
    table.add_column("state")
    for standing in standings:
        if stage := standing.followed:
            table.add_row(
                *kinds(standing),
                safe(standing.name),
                f"{stage.observed:,}",
                f"{stage.claimed:,}",
                f"{max(0, stage.claimed - stage.observed):,}",
                *([f"{standing.live.seconds_behind:.1f} s" if standing.live else "-"] if late else []),
                f"{seconds_between(standing.heard_at, now):.0f} s ago" if standing.heard_at else "-",
                stage.verdict or "following",
            )
    return table


def print_trouble(standings: Sequence[SourceStanding]) -> None:
    """Print for each source that has not succeeded, and is not live, what did not tally, and why."""
    for standing in standings:
        if not standing.succeeded and standing.live is None:
            typer.echo(f"{safe(standing.name)}: {safe(standing.trouble) or 'nothing is known of it yet'}")


def _add_kinds(table: Table, standings: Sequence[SourceStanding]) -> Callable[[SourceStanding], list[str]]:
    """Add a column of kinds where the sources are of several; return what stands in it of each."""
    several = len({standing.kind for standing in standings}) > 1
    if several:
        table.add_column("kind")
    return lambda standing: [standing.kind] if several else []


def _cell(stage: StageStanding | None) -> str:
    if stage is None:
        return "-"
    took = seconds_between(stage.started_at, stage.ended_at) if stage.started_at and stage.ended_at else None
    return _MARKS[stage.verdict] + (f" {took:.1f} s" if took is not None else "")


def _verdict(standing: SourceStanding) -> str:
    if standing.succeeded:
        return "succeeded"
    if (live := standing.live) is not None:
        return f"live, {live.behind:,} bytes and {live.seconds_behind:.1f} s behind at {live.heard_at[11:19]}Z"
    worst = {stage.verdict for stage in standing.stages}
    for verdict in (Verdict.FAILED, Verdict.MISMATCH):
        if verdict in worst:
            return str(verdict)
    return "running"
