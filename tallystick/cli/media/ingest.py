"""`tally media ingest`: media in, and not done before what was found, loaded, copied and archived tallies."""

import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec
import sqlalchemy as sa
import typer
from rich.table import Table

from producers.media.identifier import Wish, ids_of
from producers.progress import Progress
from sinks.media.locks import MediumLocks
from sinks.schema import media_runs
from sinks.standing import SourceStanding, StageStanding
from tallystick.cli.deployment import prepare
from tallystick.cli.load import run_reader, with_database
from tallystick.cli.loading import LoadResult, ReaderCommand
from tallystick.cli.progress import Stage, make_view
from tallystick.cli.sources import print_trouble, standing_as_dict
from tallystick.cli.terminal import console, print_json, safe
from tallystick.cli.warm import IMPORTED_FOR_MEDIA, warm_up
from tallystick.contracts import media as contract
from tallystick.contracts.media import ExitCode
from tallystick.contracts.stages import Verdict
from tallystick.contracts.timestamps import seconds_between
from tallystick.database.engine import make_engine, snapshot
from tallystick.database.errors import told_plainly
from tallystick.local import stack
from tallystick.settings import Settings, load_settings
from tallystick.supervision.restarting import RoleSpec

MEDIA_SINKS = ("media", "media_inodes", "media_copies", "media_runs", "sources", "dead_letters")
_TELLING = frozenset({ExitCode.PRECONDITION, ExitCode.LOCKED, ExitCode.UNVERIFIED, ExitCode.MALFORMED})
_MARKS = {Verdict.SUCCEEDED: "ok", Verdict.MISMATCH: "MISMATCH", Verdict.FAILED: "FAILED", None: "…"}


class Until(StrEnum):
    """The last stage that is asked for."""

    IDENTIFIED = contract.IDENTIFIED
    IMAGED = contract.IMAGED
    ENUMERATED = contract.ENUMERATED
    LOADED = contract.LOADED
    COPIED = contract.COPIED
    ARCHIVED = contract.ARCHIVED


class Ingested(msgspec.Struct):
    """What came of an ingestion. `locked` are the targets that another run was at work on."""

    result: LoadResult
    locked: list[str]
    exit_code: int


def register(group: typer.Typer) -> None:
    """Add `ingest` to the commands of media."""
    group.command()(ingest)


def ingest(
    targets: Annotated[list[str], typer.Argument(help="Block devices, image files, folders, or `.raw` listings.")],
    *,
    message: Annotated[str, typer.Option(help="A word about the media, kept with them.")] = "",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes at work, else `media.workers`.")] = None,
    until: Annotated[Until | None, typer.Option(help="The last stage; without it, to the archive.")] = None,
    acknowledge: Annotated[
        str, typer.Option(help="Why it is accepted that a part of a medium can't be read: without it, it isn't copied.")
    ] = "",
    grow: Annotated[
        bool, typer.Option("--grow", help="Accept that a medium holds something else than when it was enumerated last.")
    ] = False,
    database: Annotated[str | None, typer.Option(help="The database to fill, else the configured one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON; progress goes to stderr.")] = False,
) -> None:
    """Identify media, enumerate, load, copy and archive them, and wait until every stage has its verdict.

    What is done already is looked at again, not done again. Nothing of a target is changed or removed.
    Exit code 0: all stages of all media succeeded. 3: so they did, with losses that are recorded. 4: something is
    missing that a stage needs. 5: another run is at work on a medium. 6: what was claimed was not found. 7: a listing
    is malformed. 1: anything else. 2: usage. 130: interrupted; the next run goes on where this one stopped.
    """
    warm_up(*IMPORTED_FOR_MEDIA)
    settings = with_database(load_settings(), database)
    wish = Wish(tuple(targets), message=message, until=until or "", acknowledged=acknowledge, grows=grow)
    done = ingest_targets(settings, wish, workers=workers, quiet=as_json)
    if as_json:
        print_json(_as_dict(done))
    else:
        print_result(done)
    raise typer.Exit(done.exit_code)


def ingest_targets(settings: Settings, wish: Wish, *, workers: int | None = None, quiet: bool = False) -> Ingested:
    """Take the targets of `wish` through their stages, and return what came of it.

    `quiet` sends progress to standard error. Raises UsageError where a target isn't there.
    """
    media = ids_of(wish.targets)
    resolved = stack.resolve(settings)
    engine = make_engine(resolved)
    with told_plainly():
        prepare(resolved, engine)
        with MediumLocks(engine, resolved.home / "locks") as locks:
            held = {medium for medium in media.values() if locks.take(medium)}
            free = [target for target, medium in media.items() if medium in held]
            locked = [target for target, medium in media.items() if medium not in held]
            result = LoadResult([], [], 0.0)
            if free:
                command = _command(
                    msgspec.structs.replace(wish, targets=tuple(free)), workers or settings.media.workers
                )
                result = run_reader(settings, command, view=make_view(sys.stderr if quiet else sys.stdout))
        codes = _codes(engine, result)
    engine.dispose()
    return Ingested(result, locked, exit_code(result, codes, locked=bool(locked)))


def exit_code(result: LoadResult, codes: Sequence[int], *, locked: bool) -> int:
    """Return the exit code that tells of an ingestion; `codes` are those of the stages that failed."""
    if result.interrupted:
        return ExitCode.INTERRUPTED
    if any(code in _TELLING for code in codes):
        return next(code for code in codes if code in _TELLING)
    if any(problem.split(": ", 1)[-1].startswith("identity_conflict") for problem in result.problems):
        return ExitCode.PRECONDITION
    if any(stage.verdict is Verdict.MISMATCH for standing in result.standings for stage in standing.stages):
        return ExitCode.UNVERIFIED
    if locked:
        return ExitCode.LOCKED
    if not result.succeeded:
        return ExitCode.OTHER
    lossy = any(stage.reason for standing in result.standings for stage in standing.stages)
    return ExitCode.LOSSES if lossy else ExitCode.DONE


def _command(wish: Wish, workers: int) -> ReaderCommand:
    options = {"--message": wish.message, "--until": wish.until, "--acknowledge": wish.acknowledged}
    return ReaderCommand(
        (
            "media-identifier",
            *(f"{name}={value}" for name, value in options.items() if value),
            *(("--grow",) if wish.grows else ()),
            "--",
            *wish.targets,
        ),
        kind=None,
        waiting=(
            RoleSpec("agents", ("agents",)),
            RoleSpec("sinks-media", ("sinks", *MEDIA_SINKS)),
            RoleSpec("verifier", ("verifier",)),
            *(RoleSpec(f"media-worker-{number}", ("media-worker",)) for number in range(1, workers + 1)),
        ),
        shown=_shown,
        service="media",
    )


def _shown(reading: Sequence[Progress], known: Sequence[SourceStanding]) -> list[Stage]:
    media = max(len(reading), 1)
    of_stage: dict[str, list[StageStanding]] = {}
    for stage in (stage for standing in known for stage in standing.stages):
        of_stage.setdefault(stage.stage, []).append(stage)
    names = list(dict.fromkeys(stage.name for standing in known for stage in standing.pipeline))
    return [
        Stage("read", sum(p.bytes_read for p in reading), sum(p.size for p in reading), "bytes"),
        *(Stage(name, sum(s.verdict is not None for s in of_stage.get(name, ())), media, "media") for name in names),
    ]


def _codes(engine: sa.Engine, result: LoadResult) -> list[int]:
    """Return the exit code of the last run of each medium that has failed."""
    failed = [
        standing.source
        for standing in result.standings
        if any(stage.verdict is Verdict.FAILED for stage in standing.stages)
    ]
    codes = []
    with snapshot(engine) as connection:
        for medium in failed:
            query = sa.select(media_runs.c.exit_code).where(media_runs.c.medium == medium)
            code = connection.scalar(query.order_by(media_runs.c.run.desc()).limit(1))
            codes.append(ExitCode.OTHER if code is None else int(code))
    return codes


def print_result(done: Ingested) -> None:
    """Print the media of an ingestion with their stages, and what did not tally."""
    result = done.result
    if result.standings:
        console().print(media_table(result.standings))
    print_trouble(result.standings)
    for standing in result.standings:
        for stage in standing.stages:
            if stage.verdict is Verdict.SUCCEEDED and stage.reason:
                typer.echo(f"{safe(standing.name)}: {stage.stage}: {safe(stage.reason)}; see `tally media show`")
    for problem in result.problems:
        typer.echo(safe(problem))
    for target in done.locked:
        typer.echo(f"{safe(target)}: another run is at work on this medium; wait for its end")
    if result.interrupted:
        typer.echo("interrupted: what was acknowledged is kept, and the next run goes on from there")
        return
    good = sum(standing.succeeded for standing in result.standings)
    number = len(result.standings) + len(done.locked)
    word = "succeeded" if done.exit_code in {ExitCode.DONE, ExitCode.LOSSES} else "NOT DONE"
    typer.echo(f"{word}: {good} of {number} media in {result.seconds:.1f} s (exit code {done.exit_code})")


def media_table(standings: Sequence[SourceStanding]) -> Table:
    """Return media as a table, a row each, a column a stage with what was observed and how long it took."""
    table = Table(box=None, pad_edge=False)
    table.add_column("medium")
    table.add_column("name", overflow="fold")
    names = list(dict.fromkeys(stage.name for standing in standings for stage in standing.pipeline))
    for name in names:
        table.add_column(name)
    for standing in standings:
        stages = {stage.stage: stage for stage in standing.stages}
        table.add_row(standing.source[:8], safe(standing.name), *(_cell(stages, name) for name in names))
    return table


def _cell(stages: Mapping[str, StageStanding], name: str) -> str:
    stage = stages.get(name)
    if stage is None:
        return "-"
    seconds = seconds_between(stage.started_at, stage.ended_at) if stage.started_at and stage.ended_at else None
    took = f" {seconds:.1f} s" if seconds is not None else ""
    number = f" {stage.observed:,}" if stage.observed else ""
    return f"{_MARKS[stage.verdict]}{number}{took}"


def _as_dict(done: Ingested) -> dict[str, object]:
    result = done.result
    return {
        "succeeded": done.exit_code in {ExitCode.DONE, ExitCode.LOSSES},
        "exit_code": done.exit_code,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 3),
        "media": [standing_as_dict(standing) for standing in result.standings],
        "problems": result.problems,
        "locked": done.locked,
    }
