"""How sources stand, as the database holds it: what `tally sources` and `tally load` show."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy.engine import RowMapping

from sinks.schema import source_stages, sources
from tallystick.contracts.atproto import REPOSITORY_KIND
from tallystick.contracts.catalogue import PIPELINES
from tallystick.contracts.pipelines import Inspected, Recount, Stage
from tallystick.contracts.stages import Verdict
from tallystick.contracts.timestamps import render, seconds_between


class StageStanding(msgspec.Struct, frozen=True):
    """One stage of a source. No verdict: it is running or waiting, and `reason` says for what."""

    stage: str
    attempt: int
    verdict: Verdict | None
    reason: str
    claimed: int
    observed: int
    started_at: str
    ended_at: str


class LiveStanding(msgspec.Struct, frozen=True):
    """How far a source that is still written to was behind when its follower was heard of last, at `heard_at`.

    What was `behind` (bytes of a log, records of a topic) Kafka had not acknowledged yet; the oldest of it was there
    for `seconds_behind`, at least.
    """

    position: int
    behind: int
    seconds_behind: float
    heard_at: str


class SourceStanding(msgspec.Struct, frozen=True):
    """One source with its counts and its stages, in the order of its pipeline.

    While it is `live` nothing is claimed of it, so no verdict is due.
    """

    source: str
    kind: str
    name: str
    attempt: int
    lines: int
    events: int
    dead_letters: int
    bytes: int
    stages: list[StageStanding]
    live: LiveStanding | None = None
    heard_at: str = ""
    until: str = ""

    @property
    def pipeline(self) -> tuple[Stage, ...]:
        """The stages that its newest attempt goes through."""
        stages = PIPELINES[self.kind].stages
        names = [stage.name for stage in stages]
        return stages[: names.index(self.until) + 1] if self.until in names else stages

    @property
    def followed(self) -> StageStanding | None:
        """The stage that shows cursor and lag, where this is an endless source that nobody has read to an end."""
        if PIPELINES[self.kind].endless and self.stages and self.stages[0].verdict is not Verdict.SUCCEEDED:
            return self.stages[0]
        return None

    @property
    def succeeded(self) -> bool:
        """Whether every stage that the newest attempt goes through has succeeded."""
        verdicts = [stage.verdict for stage in self.stages]
        return len(verdicts) == len(self.pipeline) and set(verdicts) == {Verdict.SUCCEEDED}

    def is_final(self, *, claimed: bool) -> bool:
        """Whether no further verdict can come without a new attempt; `claimed` tells whether its reader made a claim.

        So it is where every stage has its verdict, where reading failed without a claim, and where a stage is not
        going to be commanded because the one before it did not succeed.
        """
        standing = {stage.stage: stage for stage in self.stages}
        before: Verdict | None = None
        for stage in self.pipeline:
            found = standing.get(stage.name)
            if found is None or found.verdict is None:
                if isinstance(stage.rule, Recount | Inspected):
                    return before is not None and before is not Verdict.SUCCEEDED
                return not claimed and before is Verdict.FAILED
            before = found.verdict
        return True

    @property
    def trouble(self) -> str:
        """Why it has not succeeded: the reasons of its stages, or what they wait for."""
        stages = [self.followed] if self.followed else self.stages
        return "; ".join(
            f"{stage.stage}: {stage.verdict or 'waiting'}{': ' + stage.reason if stage.reason else ''}"
            for stage in stages
            if stage.verdict is not Verdict.SUCCEEDED
        )


class Crowd(msgspec.Struct, frozen=True):
    """Sources of one kind, of which there may be millions: how many, and a few of those that have not succeeded."""

    kind: str
    sources: int
    succeeded: int
    failed: int
    named: list[SourceStanding]


def read_repositories(connection: sa.Connection, *, most: int) -> Crowd:
    """Return how the repositories of AT Protocol stand, and `most` of them: all, or those that have not succeeded."""
    last = PIPELINES[REPOSITORY_KIND].stages[-1].name
    of_attempt = sa.and_(source_stages.c.source_id == sources.c.source_id, source_stages.c.attempt == sources.c.attempt)

    def with_verdict(verdicts: Collection[Verdict], *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
        return sa.exists().where(of_attempt, source_stages.c.verdict.in_(verdicts), *conditions)

    succeeded = with_verdict([Verdict.SUCCEEDED], source_stages.c.stage == last)
    failed = with_verdict([Verdict.FAILED, Verdict.MISMATCH])
    counted = sa.select(sa.func.count()).select_from(sources).where(sources.c.kind == REPOSITORY_KIND)
    number = int(connection.scalar(counted) or 0)
    named = sa.select(sources.c.source_id).where(sources.c.kind == REPOSITORY_KIND)
    if number > most:
        # Those that have failed first: there may be more that are at work than are shown.
        named = named.where(sa.not_(succeeded)).order_by(sa.case((failed, 0), else_=1))
    ids = connection.scalars(named.order_by(sources.c.first_seen, sources.c.source_id).limit(most)).all()
    return Crowd(
        REPOSITORY_KIND,
        number,
        int(connection.scalar(counted.where(succeeded)) or 0),
        int(connection.scalar(counted.where(failed)) or 0),
        read_standings(connection, ids),
    )


def read_standings(
    connection: sa.Connection, ids: Collection[str] | None = None, *, but: str = ""
) -> list[SourceStanding]:
    """Return the sources with the given ids, or all but those of the kind `but`, in the order of their first sight."""
    query = sa.select(sources).order_by(sources.c.first_seen, sources.c.source_id)
    stages_query = sa.select(source_stages).order_by(source_stages.c.source_id, source_stages.c.ordinal)
    if but:
        query = query.where(sources.c.kind != but)
        others = sa.select(sources.c.source_id).where(sources.c.kind != but)
        stages_query = stages_query.where(source_stages.c.source_id.in_(others))
    if ids is not None:
        query = query.where(sources.c.source_id.in_(ids))
        stages_query = stages_query.where(source_stages.c.source_id.in_(ids))
    stages: dict[str, list[StageStanding]] = {}
    for row in connection.execute(stages_query).mappings():
        stages.setdefault(row["source_id"], []).append(
            StageStanding(
                stage=row["stage"],
                attempt=row["attempt"],
                verdict=Verdict(row["verdict"]) if row["verdict"] else None,
                reason=row["reason"] or "",
                claimed=row["claimed"],
                observed=row["observed"],
                started_at=read_time(row["started_at"]),
                ended_at=read_time(row["ended_at"]),
            )
        )
    return [
        SourceStanding(
            source=row["source_id"],
            kind=row["kind"],
            name=row["name"],
            attempt=row["attempt"],
            lines=row["lines"],
            events=row["events"],
            dead_letters=row["dead_letters"],
            bytes=row["bytes"],
            stages=stages.get(row["source_id"], []),
            live=_live(row),
            heard_at=read_time(row["heard_at"]),
            until=row["until"],
        )
        for row in connection.execute(query).mappings()
    ]


def _live(row: RowMapping) -> LiveStanding | None:
    if row["live_position"] is None:
        return None
    heard_at, since = read_time(row["heard_at"]), read_time(row["live_since"])
    return LiveStanding(
        position=row["live_position"],
        behind=max(row["live_end"] - row["live_position"], 0),
        seconds_behind=max(seconds_between(since, heard_at), 0.0) if since else 0.0,
        heard_at=heard_at,
    )


def read_time(value: Any) -> str:
    """Return a point in time, as either database gives it, in canonical form; empty where there is none."""
    if isinstance(value, datetime):
        return render(value)
    return value or ""
